/* checkpoint_hf - a Hugging Face directory: one safetensors file, or an index and its shards */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "model/checkpoint_files.h"
#include "model/safetensors.h"
#include "stream/jansson.h"

#define MAX_SHARDS 4096

/* Small files that say something of the model; those that are there are mapped, so that an
 * image can name them. */
static const char *const companions[] = {"generation_config.json", "tokenizer.json",
					 "tokenizer_config.json"};

static int read_tensors(struct lsc_checkpoint *checkpoint, const char *name,
			const struct lsc_map *map, struct lsc_err *err)
{
	int r = lsc_safetensors_parse(map->data, map->len, &checkpoint->tensors,
				      &checkpoint->n_tensors, err);

	return r < 0 ? lsc_err_prefix(err, "'%s/%s': ", checkpoint->path, name) : 0;
}

/* A shard is a plain file beside the index: a name with a slash could lead anywhere. */
static bool is_plain_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, "..") && strlen(name) < 256;
}

static int read_shard(struct lsc_checkpoint *checkpoint, const char *name, struct lsc_err *err)
{
	struct lsc_map map;
	int r;

	if (!is_plain_name(name))
		return lsc_err_set(err, EBADMSG, "'%s': shard '%.80s' is no plain file name",
				   checkpoint->path, name);
	if (lsc_checkpoint_mapped(checkpoint->files, name))
		return 0;
	if (checkpoint->files->n >= MAX_SHARDS)
		return lsc_err_set(err, EBADMSG, "'%s': more than %d shards", checkpoint->path,
				   MAX_SHARDS);
	r = lsc_checkpoint_map(checkpoint->files, checkpoint->path, name, &map, err);
	return r < 0 ? r : read_tensors(checkpoint, name, &map, err);
}

static int read_shards(struct lsc_checkpoint *checkpoint, const struct lsc_map *index,
		       struct lsc_err *err)
{
	LSC_CLEANUP(lsc_json_put) json_t *root = NULL;
	json_error_t error;
	const char *tensor;
	json_t *shard, *map;

	root = json_loadb((const char *)index->data, index->len, JSON_REJECT_DUPLICATES, &error);
	map = json_object_get(root, "weight_map");
	if (!json_is_object(map))
		return lsc_err_set(err, EBADMSG,
				   "'%s/model.safetensors.index.json': it has no weight_map",
				   checkpoint->path);
	json_object_foreach(map, tensor, shard)
	{
		int r;

		if (!json_is_string(shard))
			return lsc_err_set(err, EBADMSG,
					   "'%s/model.safetensors.index.json': tensor '%.80s' has "
					   "no shard",
					   checkpoint->path, tensor);
		r = read_shard(checkpoint, json_string_value(shard), err);
		if (r < 0)
			return r;
	}
	return 0;
}

int lsc_checkpoint_open_hf(struct lsc_checkpoint *checkpoint, struct lsc_err *err)
{
	struct lsc_checkpoint_files *files = checkpoint->files;
	struct lsc_map map;
	int r = lsc_checkpoint_map(files, checkpoint->path, "config.json", &map, err);

	for (size_t i = 0; r == 0 && i < LSC_ARRAY_SIZE(companions); i++) {
		r = lsc_checkpoint_map(files, checkpoint->path, companions[i], &map, err);
		if (r == -ENOENT)
			r = 0;
	}
	if (r < 0)
		return r;
	r = lsc_checkpoint_map(files, checkpoint->path, "model.safetensors.index.json", &map, err);
	if (r == 0)
		return read_shards(checkpoint, &map, err);
	if (r != -ENOENT)
		return r;
	r = lsc_checkpoint_map(files, checkpoint->path, "model.safetensors", &map, err);
	return r < 0 ? r : read_tensors(checkpoint, "model.safetensors", &map, err);
}
