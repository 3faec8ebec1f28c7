/* tokenizer_compile - finds a tokenizer at a path and compiles it
 *
 * Beside a tokenizer.json lie tokenizer_config.json, which may override whether a BOS is added,
 * and the chat template: in that file, or in chat_template.jinja.
 */
#include "model/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "model/gguf.h"
#include "model/tokenizer_build.h"
#include "stream/jansson.h"

#define MAX_JSON     (256u << 20)
#define MAX_CONFIG   (16u << 20)
#define MAX_TEMPLATE (1u << 20)

static int json_read(const char *path, size_t limit, json_t **ret_json, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	json_error_t error;
	int r = lsc_file_read(path, limit, &text, err);

	if (r < 0)
		return r;
	*ret_json = json_loadb((const char *)text.data, text.len, 0, &error);
	if (!*ret_json)
		return lsc_err_set(err, EBADMSG, "'%s' line %d: %s", path, error.line, error.text);
	if (!json_is_object(*ret_json))
		return lsc_err_set(err, EBADMSG, "'%s' is not a JSON object", path);
	return 0;
}

/* dir/name in memory of its own. */
static char *path_join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

/* The template's text: a string, or of a list of named ones the default. */
static const char *template_in(const json_t *config)
{
	const json_t *value = json_object_get(config, "chat_template");
	json_t *item;
	size_t i;

	json_array_foreach(value, i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));

		if (name && !strcmp(name, "default"))
			return json_string_value(json_object_get(item, "template"));
	}
	return json_string_value(value);
}

/* A special token in a config is its text, or an object with it. */
static const char *token_in(const json_t *config, const char *key)
{
	const json_t *value = json_object_get(config, key);

	return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

static int apply_config(struct lsc_tokenizer_build *build, const json_t *config, char **ret_chat,
			struct lsc_err *err)
{
	const json_t *add_bos = json_object_get(config, "add_bos_token");
	const char *bos = token_in(config, "bos_token");
	const char *template_text = template_in(config);

	if (json_is_false(add_bos))
		build->bos = LSC_MODEL_NO_TOKEN;
	else if (json_is_true(add_bos) && bos)
		build->bos = lsc_tokenizer_build_find(build, bos, strlen(bos));
	if (template_text && strlen(template_text) <= MAX_TEMPLATE && !*ret_chat) {
		*ret_chat = strdup(template_text);
		if (!*ret_chat)
			return lsc_err_set(err, ENOMEM, "%m");
	}
	return 0;
}

static int read_template(const char *path, char **ret_chat, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	int r = lsc_file_read(path, MAX_TEMPLATE, &text, err);

	if (r < 0)
		return r;
	*ret_chat = strndup(text.data ? (const char *)text.data : "", text.len);
	return *ret_chat ? 0 : lsc_err_set(err, ENOMEM, "%m");
}

/* What lies beside the tokenizer in dir. */
static int apply_dir(struct lsc_tokenizer_build *build, const char *dir, char **ret_chat,
		     struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *config_path = path_join(dir, "tokenizer_config.json");
	LSC_CLEANUP_FREE char *template_path = path_join(dir, "chat_template.jinja");
	LSC_CLEANUP(lsc_json_put) json_t *config = NULL;
	int r = 0;

	if (!config_path || !template_path)
		return lsc_err_set(err, ENOMEM, "%m");
	if (access(template_path, F_OK) == 0)
		r = read_template(template_path, ret_chat, err);
	if (r == 0 && access(config_path, F_OK) == 0) {
		r = json_read(config_path, MAX_CONFIG, &config, err);
		if (r == 0)
			r = apply_config(build, config, ret_chat, err);
	}
	return r;
}

/* dir is NULL where the tokenizer.json was named itself. */
static int compile_json(struct lsc_buf *blob, const char *path, const char *dir, char **ret_chat,
			struct lsc_err *err)
{
	LSC_CLEANUP(lsc_tokenizer_build_release)
	struct lsc_tokenizer_build build = LSC_TOKENIZER_BUILD_INIT;
	LSC_CLEANUP(lsc_json_put) json_t *root = NULL;
	int r = json_read(path, MAX_JSON, &root, err);

	if (r < 0)
		return r;
	r = lsc_tokenizer_build_json(&build, root, err);
	if (r == 0 && dir)
		r = apply_dir(&build, dir, ret_chat, err);
	if (r == 0)
		r = lsc_tokenizer_build_emit(&build, blob, err);
	return r < 0 ? lsc_err_prefix(err, "'%s': ", path) : 0;
}

static int compile_gguf_data(struct lsc_buf *blob, const struct lsc_map *map, char **ret_chat,
			     struct lsc_err *err)
{
	LSC_CLEANUP(lsc_tokenizer_build_release)
	struct lsc_tokenizer_build build = LSC_TOKENIZER_BUILD_INIT;
	LSC_CLEANUP(lsc_gguf_release) struct lsc_gguf gguf = LSC_GGUF_INIT;
	const char *text;
	size_t len;
	int r = lsc_gguf_parse(&gguf, map->data, map->len, err);

	if (r == 0)
		r = lsc_tokenizer_build_gguf(&build, &gguf, err);
	if (r == 0)
		r = lsc_tokenizer_build_emit(&build, blob, err);
	if (r < 0)
		return r;
	r = lsc_gguf_str(&gguf, "tokenizer.chat_template", &text, &len, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (len > MAX_TEMPLATE)
		return 0;
	*ret_chat = strndup(text, len);
	return *ret_chat ? 0 : lsc_err_set(err, ENOMEM, "%m");
}

static int compile_gguf(struct lsc_buf *blob, const char *path, char **ret_chat,
			struct lsc_err *err)
{
	LSC_CLEANUP(lsc_map_close) struct lsc_map map = LSC_MAP_INIT;
	int r = lsc_map_open(&map, path, err);

	if (r < 0)
		return r;
	r = compile_gguf_data(blob, &map, ret_chat, err);
	return r < 0 ? lsc_err_prefix(err, "'%s': ", path) : 0;
}

static int is_gguf(const char *path, struct lsc_err *err)
{
	char magic[4] = "";
	FILE *file = fopen(path, "re");
	bool is;

	if (!file)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	is = fread(magic, 1, 4, file) == 4 && !memcmp(magic, "GGUF", 4);
	fclose(file);
	return is;
}

static int compile_dir(struct lsc_buf *blob, const char *dir, char **ret_chat, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *path = path_join(dir, "tokenizer.json");

	if (!path)
		return lsc_err_set(err, ENOMEM, "%m");
	if (access(path, F_OK) < 0)
		return lsc_err_set(err, ENOENT, "there is no tokenizer.json in '%s'", dir);
	return compile_json(blob, path, dir, ret_chat, err);
}

int lsc_tokenizer_compile(struct lsc_buf *blob, const char *path, char **ret_chat,
			  struct lsc_err *err)
{
	size_t before = blob->len;
	char *chat = NULL;
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	if (S_ISDIR(st.st_mode)) {
		r = compile_dir(blob, path, &chat, err);
	} else {
		r = is_gguf(path, err);
		if (r >= 0)
			r = r ? compile_gguf(blob, path, &chat, err)
			      : compile_json(blob, path, NULL, &chat, err);
	}
	if (r < 0) {
		free(chat);
		blob->len = before;
		return r;
	}
	if (ret_chat)
		*ret_chat = chat;
	else
		free(chat);
	return 0;
}
