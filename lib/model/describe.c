/* describe - the listings of images and checkpoints */
#include "model/describe.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/tree.h"
#include "base/macros.h"

static int no_memory(struct lsc_err *err)
{
	return lsc_err_set(err, ENOMEM, "cannot list: %m");
}

/* --- both --- */

static int config_lines(const struct lsc_model_config *config, struct lsc_buf *out)
{
	char window[64] = "", experts[64] = "";

	if (config->window && config->window_first)
		snprintf(window, sizeof(window), ", window %u from layer %u on", config->window,
			 config->window_first);
	else if (config->window)
		snprintf(window, sizeof(window), ", window %u", config->window);
	if (config->experts)
		snprintf(experts, sizeof(experts), "%u experts (%u used) of ", config->experts,
			 config->experts_used);
	return lsc_buf_printf(out,
			      "%s, %u layers, hidden %u, %sffn %u, %u heads of %u (%u for keys and "
			      "values), vocabulary %u, context %u%s%s\n",
			      config->arch, config->layers, config->hidden, experts,
			      config->experts ? config->expert_ffn : config->ffn, config->heads,
			      config->head_dim, config->kv_heads, config->vocab, config->context,
			      window, config->tied ? ", tied embedding" : "");
}

static json_t *config_json(const struct lsc_model_config *config)
{
	const struct {
		const char *key;
		uint32_t value;
	} counts[] = {
		{"hidden", config->hidden},     {"ffn", config->ffn},
		{"layers", config->layers},     {"heads", config->heads},
		{"kv_heads", config->kv_heads}, {"head_dim", config->head_dim},
		{"vocab", config->vocab},       {"context", config->context},
	};
	json_t *model = json_object(), *eos = json_array();

	for (uint32_t i = 0; i < config->n_eos; i++)
		json_array_append_new(eos, json_integer(config->eos[i]));
	for (size_t i = 0; i < LSC_ARRAY_SIZE(counts); i++)
		json_object_set_new(model, counts[i].key, json_integer(counts[i].value));
	if (config->window)
		json_object_set_new(model, "window", json_integer(config->window));
	if (config->window_first)
		json_object_set_new(model, "window_first", json_integer(config->window_first));
	if (config->experts) {
		json_object_set_new(model, "experts", json_integer(config->experts));
		json_object_set_new(model, "experts_used", json_integer(config->experts_used));
		json_object_set_new(model, "expert_ffn", json_integer(config->expert_ffn));
		json_object_set_new(model, "norm_topk", json_boolean(config->norm_topk));
	}
	json_object_set_new(model, "arch", json_string(config->arch));
	json_object_set_new(model, "tied", json_boolean(config->tied));
	json_object_set_new(model, "eos", eos);
	return model;
}

static int add_chunk(const char *chunk, size_t len, void *out)
{
	return lsc_buf_add(out, chunk, len) < 0 ? -1 : 0;
}

/* Takes root, which is NULL where there was no memory for it. */
static int json_line(json_t *root, struct lsc_buf *out, struct lsc_err *err)
{
	int r = root ? json_dump_callback(root, add_chunk, out, JSON_COMPACT | JSON_SORT_KEYS) : -1;

	json_decref(root);
	return r < 0 || lsc_buf_add_str(out, "\n") < 0 ? no_memory(err) : 0;
}

/* --- images --- */

static json_t *blocks_json(const struct lsc_image *image)
{
	json_t *blocks = json_array();

	for (uint32_t b = 0; b < image->n_blocks; b++) {
		const struct lsc_block *block = &image->blocks[b];

		json_array_append_new(blocks,
				      json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "block",
						(json_int_t)b, "offset", (json_int_t)block->offset,
						"bytes", (json_int_t)block->bytes, "first_unit",
						(json_int_t)block->first_unit, "units",
						(json_int_t)block->n_units, "first_piece",
						(json_int_t)block->first_piece, "pieces",
						(json_int_t)block->n_pieces));
	}
	return blocks;
}

static json_t *image_json(const struct lsc_image *image)
{
	char id[LSC_HASH_TEXT];

	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:s, s:b}", "id",
			 lsc_hash_text(&image->id, id), "dtype", lsc_dtype_name(image->dtype),
			 "bytes", (json_int_t)image->bytes, "units", (json_int_t)image->n_units,
			 "align", (json_int_t)image->align, "pieces", (json_int_t)image->n_pieces,
			 "piece_bytes", (json_int_t)image->piece_bytes, "model",
			 config_json(&image->config), "blocks", blocks_json(image), "chat",
			 lsc_chat_family_name(image->chat.family), "tokenizer",
			 image->tokenizer_len > 0);
}

static int image_lines(const struct lsc_image *image, struct lsc_buf *out)
{
	char id[LSC_HASH_TEXT];
	int r = lsc_buf_printf(out, "image %s\n", lsc_hash_text(&image->id, id));

	if (r == 0)
		r = config_lines(&image->config, out);
	if (r == 0)
		r = lsc_buf_printf(out,
				   "%s, %" PRIu64 " bytes, %u units in %u blocks, %u pieces of "
				   "%u, %s, chat %s\n%5s %9s %14s %14s %7s\n",
				   lsc_dtype_name(image->dtype), image->bytes, image->n_units,
				   image->n_blocks, image->n_pieces, image->piece_bytes,
				   image->tokenizer_len ? "with tokenizer" : "no tokenizer",
				   lsc_chat_family_name(image->chat.family), "block", "units",
				   "offset", "bytes", "pieces");
	for (uint32_t b = 0; r == 0 && b < image->n_blocks; b++) {
		const struct lsc_block *block = &image->blocks[b];
		char units[32];

		snprintf(units, sizeof(units), "%u-%u", block->first_unit,
			 block->first_unit + block->n_units - 1);
		r = lsc_buf_printf(out, "%5u %9s %14" PRIu64 " %14" PRIu64 " %7u\n", b, units,
				   block->offset, block->bytes, block->n_pieces);
	}
	return r;
}

/* --- files that were cast as they are --- */

static const char *const kind_names[] = {
	[LSC_TREE_DIR] = "dir", [LSC_TREE_FILE] = "file", [LSC_TREE_LINK] = "link"};

static json_t *files_json(const struct lsc_image *image)
{
	json_t *files = json_array();
	char id[LSC_HASH_TEXT];

	for (uint32_t i = 0; i < image->tree->n; i++) {
		const struct lsc_tree_entry *entry = &image->tree->entries[i];

		/* A name that is no UTF-8 is none in JSON. */
		json_array_append_new(files, json_pack("{s:s, s:s*, s:I, s:s*}", "kind",
						       kind_names[entry->kind], "path", entry->path,
						       "bytes", (json_int_t)entry->bytes, "target",
						       entry->target));
	}
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "id", lsc_hash_text(&image->id, id),
			 "bytes", (json_int_t)image->bytes, "blocks", (json_int_t)image->n_blocks,
			 "pieces", (json_int_t)image->n_pieces, "piece_bytes",
			 (json_int_t)image->piece_bytes, "files", files);
}

static int files_lines(const struct lsc_image *image, struct lsc_buf *out)
{
	const struct lsc_tree *tree = image->tree;
	char id[LSC_HASH_TEXT];
	int r = lsc_buf_printf(out,
			       "files %s\n%u entries, %" PRIu64 " bytes, %u blocks, %u pieces of "
			       "%u\n%-5s %4s %14s  %s\n",
			       lsc_hash_text(&image->id, id), tree->n, image->bytes,
			       image->n_blocks, image->n_pieces, image->piece_bytes, "kind", "mode",
			       "bytes", "path");

	for (uint32_t i = 0; r == 0 && i < tree->n; i++) {
		const struct lsc_tree_entry *entry = &tree->entries[i];

		r = lsc_buf_printf(out, "%-5s %04o %14" PRIu64 "  %s%s%s\n",
				   kind_names[entry->kind], entry->mode, entry->bytes,
				   *entry->path ? entry->path : ".", entry->target ? " -> " : "",
				   entry->target ? entry->target : "");
	}
	return r;
}

int lsc_describe_image(const struct lsc_image *image, bool json, struct lsc_buf *out,
		       struct lsc_err *err)
{
	if (image->tree && json)
		return json_line(files_json(image), out, err);
	if (image->tree)
		return files_lines(image, out) < 0 ? no_memory(err) : 0;
	if (json)
		return json_line(image_json(image), out, err);
	return image_lines(image, out) < 0 ? no_memory(err) : 0;
}

/* --- checkpoints --- */

static const char *type_name(const struct lsc_tensor_source *tensor)
{
	return tensor->dtype == LSC_DTYPE_COUNT ? "other" : lsc_dtype_name(tensor->dtype);
}

static json_t *tensor_json(const struct lsc_tensor_source *tensor)
{
	json_t *shape = json_array();

	for (uint32_t d = 0; d < tensor->n_dims; d++)
		json_array_append_new(shape, json_integer((json_int_t)tensor->dims[d]));
	return json_pack("{s:s, s:s, s:o, s:I}", "name", tensor->name, "dtype", type_name(tensor),
			 "shape", shape, "bytes", (json_int_t)tensor->bytes);
}

static json_t *checkpoint_json(const struct lsc_checkpoint *checkpoint,
			       const struct lsc_model_config *config)
{
	json_t *root = json_object(), *tensors = json_array();

	for (size_t i = 0; i < checkpoint->n_tensors; i++)
		json_array_append_new(tensors, tensor_json(&checkpoint->tensors[i]));
	if (config)
		json_object_set_new(root, "model", config_json(config));
	json_object_set_new(root, "tensors", tensors);
	return root;
}

static int tensor_line(const struct lsc_tensor_source *tensor, struct lsc_buf *out)
{
	int r = lsc_buf_printf(out, "%-6s %12" PRIu64 "  ", type_name(tensor), tensor->bytes);

	for (uint32_t d = 0; r == 0 && d < tensor->n_dims; d++)
		r = lsc_buf_printf(out, "%s%" PRIu64, d ? "x" : "", tensor->dims[d]);
	return r < 0 ? r : lsc_buf_printf(out, "  %s\n", tensor->name);
}

int lsc_describe_checkpoint(const struct lsc_checkpoint *checkpoint,
			    const struct lsc_model_config *config, bool json, struct lsc_buf *out,
			    struct lsc_err *err)
{
	int r = 0;

	if (json)
		return json_line(checkpoint_json(checkpoint, config), out, err);
	if (config)
		r = config_lines(config, out);
	for (size_t i = 0; r == 0 && i < checkpoint->n_tensors; i++)
		r = tensor_line(&checkpoint->tensors[i], out);
	return r < 0 ? no_memory(err) : 0;
}
