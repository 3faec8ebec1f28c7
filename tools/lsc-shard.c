/* lsc-shard - packs models into images, lists and verifies them, and runs their tokenizers
 *
 * The work is in lib/model: checkpoint.h reads what was published, image.h packs and opens.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cli/tool.h"
#include "model/checkpoint.h"
#include "model/image.h"
#include "model/tokenizer.h"

/* --- pack --- */

struct pack_options {
	const char *args[2];
	unsigned n_args;
	const char *dummy;
	uint64_t layers; /* of a dummy; 0: the shape's */
	uint64_t blocks, piece;
	struct lsc_image_options image;
};

enum { KEY_LAYERS = 0x2000, KEY_SEED, KEY_PIECE };

static const struct argp_option pack_table[] = {
	{"dtype", 'd', "TYPE", 0, "Store matrices as bf16 (the default), f16 or f32", 0},
	{"blocks", 'b', "N", 0, "Cut the image into N blocks (default 16; at most one a unit)", 0},
	{"piece", KEY_PIECE, "SIZE", 0,
	 "Size of pieces, a power of two (default: by the image's size)", 0},
	{"dummy", 'D', "SHAPE", 0, "Random weights of a known model's shape; there is no SRC then",
	 0},
	{"layers", KEY_LAYERS, "N", 0, "Give the dummy N layers", 0},
	{"seed", KEY_SEED, "N", 0, "Seed of the dummy's weights (default 0)", 0},
	{0},
};

static void parse_dtype(struct argp_state *state, const char *arg, enum lsc_dtype *ret_dtype)
{
	if (lsc_dtype_parse(arg, ret_dtype) < 0)
		argp_failure(state, LSC_EXIT_USAGE, 0, "no type '%s': want bf16, f16 or f32", arg);
}

static void parse_piece(struct argp_state *state, const char *arg, struct pack_options *opt)
{
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_check(state, lsc_parse_size(arg, &opt->piece, &err), &err);
	if (opt->piece < 4096 || opt->piece > 1u << 28 || (opt->piece & (opt->piece - 1)))
		argp_failure(state, LSC_EXIT_USAGE, 0,
			     "a piece has a power of two of bytes from 4K to 256M");
}

static error_t parse_pack(int key, char *arg, struct argp_state *state)
{
	struct pack_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;

	switch (key) {
	case 'd':
		parse_dtype(state, arg, &opt->image.dtype);
		return 0;
	case 'b':
		lsc_tool_check(state,
			       lsc_parse_uint(arg, 1, LSC_IMAGE_MAX_BLOCKS, &opt->blocks, &err),
			       &err);
		return 0;
	case KEY_PIECE:
		parse_piece(state, arg, opt);
		return 0;
	case 'D':
		opt->dummy = arg;
		return 0;
	case KEY_LAYERS:
		lsc_tool_check(state,
			       lsc_parse_uint(arg, 1, LSC_MODEL_MAX_LAYERS, &opt->layers, &err),
			       &err);
		return 0;
	case KEY_SEED:
		lsc_tool_check(state, lsc_parse_uint(arg, 0, UINT64_MAX, &opt->image.seed, &err),
			       &err);
		return 0;
	case ARGP_KEY_ARG:
		if (opt->n_args == 2)
			return ARGP_ERR_UNKNOWN;
		opt->args[opt->n_args++] = arg;
		return 0;
	case ARGP_KEY_END:
		if (opt->n_args != (opt->dummy ? 1 : 2))
			argp_failure(state, LSC_EXIT_USAGE, 0,
				     opt->dummy ? "want IMAGE" : "want SRC and IMAGE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int unknown_shape(const char *name, struct lsc_err *err)
{
	char known[400] = "";
	const char *shape;

	for (unsigned i = 0; (shape = lsc_model_shape_name(i)); i++)
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
			 i ? ", " : "", shape);
	return lsc_err_set(err, EINVAL, "no shape '%.40s': want one of %s", name, known);
}

static int run_dummy(const struct pack_options *opt, struct lsc_err *err)
{
	const struct lsc_model_config *shape = lsc_model_shape(opt->dummy);
	struct lsc_model_config config;

	if (!shape)
		return unknown_shape(opt->dummy, err);
	config = *shape;
	if (opt->layers)
		config.layers = (uint32_t)opt->layers;
	return lsc_image_pack_dummy(&config, opt->args[0], &opt->image, err);
}

static int run_pack(const struct pack_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_checkpoint_close) struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
	int r;

	if (opt->dummy)
		return run_dummy(opt, err);
	r = lsc_checkpoint_open(&checkpoint, opt->args[0], err);
	return r < 0 ? r : lsc_image_pack(&checkpoint, opt->args[1], &opt->image, err);
}

static int main_pack(int argc, char **argv)
{
	static const struct argp argp = {
		pack_table,
		parse_pack,
		"SRC IMAGE\n--dummy SHAPE IMAGE",
		"Pack a Hugging Face directory or a GGUF file into an image.",
		NULL,
		NULL,
		NULL};
	struct pack_options opt = {.image = {.dtype = LSC_DTYPE_BF16}};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	opt.image.blocks = (uint32_t)opt.blocks;
	opt.image.piece_bytes = (uint32_t)opt.piece;
	return lsc_tool_finish(run_pack(&opt, &err), &err);
}

/* --- ls --- */

struct ls_options {
	const char *path;
	bool json;
};

static const struct argp_option ls_table[] = {
	{"json", 'j', NULL, 0, "Print one JSON object", 0},
	{0},
};

static error_t parse_ls(int key, char *arg, struct argp_state *state)
{
	struct ls_options *opt = state->input;

	switch (key) {
	case 'j':
		opt->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (opt->path)
			return ARGP_ERR_UNKNOWN;
		opt->path = arg;
		return 0;
	case ARGP_KEY_END:
		if (!opt->path)
			argp_failure(state, LSC_EXIT_USAGE, 0, "want IMAGE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void print_config(const struct lsc_model_config *config)
{
	printf("%s, %u layers, hidden %u, ffn %u, %u heads of %u (%u for keys and values), "
	       "vocabulary %u, context %u%s\n",
	       config->arch, config->layers, config->hidden, config->ffn, config->heads,
	       config->head_dim, config->kv_heads, config->vocab, config->context,
	       config->tied ? ", tied embedding" : "");
}

static json_t *config_json(const struct lsc_model_config *config)
{
	json_t *eos = json_array();

	for (uint32_t i = 0; i < config->n_eos; i++)
		json_array_append_new(eos, json_integer(config->eos[i]));
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:o}", "arch",
			 config->arch, "hidden", config->hidden, "ffn", config->ffn, "layers",
			 config->layers, "heads", config->heads, "kv_heads", config->kv_heads,
			 "head_dim", config->head_dim, "vocab", config->vocab, "context",
			 config->context, "tied", config->tied, "eos", eos);
}

static int print_json(json_t *root, struct lsc_err *err)
{
	int r = root ? json_dumpf(root, stdout, JSON_COMPACT | JSON_SORT_KEYS) : -1;

	json_decref(root);
	if (r < 0)
		return lsc_err_set(err, root ? EIO : ENOMEM, "cannot print: %m");
	putchar('\n');
	return 0;
}

static json_t *blocks_json(const struct lsc_image *image)
{
	json_t *blocks = json_array();

	for (uint32_t b = 0; b < image->n_blocks; b++) {
		const struct lsc_block *block = &image->blocks[b];

		json_array_append_new(
			blocks,
			json_pack("{s:i, s:I, s:I, s:i, s:i, s:i, s:i}", "block", b, "offset",
				  (json_int_t)block->offset, "bytes", (json_int_t)block->bytes,
				  "first_unit", block->first_unit, "units", block->n_units,
				  "first_piece", block->first_piece, "pieces", block->n_pieces));
	}
	return blocks;
}

static int image_json(const struct lsc_image *image, struct lsc_err *err)
{
	char id[LSC_HASH_TEXT];

	return print_json(json_pack("{s:s, s:s, s:I, s:i, s:I, s:i, s:o, s:o, s:s, s:b}", "id",
				    lsc_hash_text(&image->id, id), "dtype",
				    lsc_dtype_name(image->dtype), "bytes", (json_int_t)image->bytes,
				    "units", image->n_units, "align", (json_int_t)image->align,
				    "pieces", image->n_pieces, "model", config_json(&image->config),
				    "blocks", blocks_json(image), "chat",
				    lsc_chat_family_name(image->chat.family), "tokenizer",
				    image->tokenizer != NULL),
			  err);
}

static void image_table(const struct lsc_image *image)
{
	char id[LSC_HASH_TEXT];

	printf("image %s\n", lsc_hash_text(&image->id, id));
	print_config(&image->config);
	printf("%s, %llu bytes, %u units in %u blocks, %u pieces of %u, %s, chat %s\n",
	       lsc_dtype_name(image->dtype), (unsigned long long)image->bytes, image->n_units,
	       image->n_blocks, image->n_pieces, image->piece_bytes,
	       image->tokenizer ? "with tokenizer" : "no tokenizer",
	       lsc_chat_family_name(image->chat.family));
	printf("%5s %9s %14s %14s %7s\n", "block", "units", "offset", "bytes", "pieces");
	for (uint32_t b = 0; b < image->n_blocks; b++) {
		const struct lsc_block *block = &image->blocks[b];
		char units[32];

		snprintf(units, sizeof(units), "%u-%u", block->first_unit,
			 block->first_unit + block->n_units - 1);
		printf("%5u %9s %14llu %14llu %7u\n", b, units, (unsigned long long)block->offset,
		       (unsigned long long)block->bytes, block->n_pieces);
	}
}

static int ls_image(const struct ls_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	int r = lsc_image_open(&image, opt->path, err);

	if (r < 0)
		return r;
	if (opt->json)
		return image_json(&image, err);
	image_table(&image);
	return 0;
}

static const char *type_name(const struct lsc_tensor_source *tensor)
{
	return tensor->dtype == LSC_DTYPE_COUNT ? "other" : lsc_dtype_name(tensor->dtype);
}

static int checkpoint_json(const struct lsc_checkpoint *checkpoint,
			   const struct lsc_model_config *config, struct lsc_err *err)
{
	json_t *root = json_object(), *tensors = json_array();

	for (size_t i = 0; i < checkpoint->n_tensors; i++) {
		const struct lsc_tensor_source *tensor = &checkpoint->tensors[i];
		json_t *shape = json_array();

		for (uint32_t d = 0; d < tensor->n_dims; d++)
			json_array_append_new(shape, json_integer((json_int_t)tensor->dims[d]));
		json_array_append_new(tensors,
				      json_pack("{s:s, s:s, s:o, s:I}", "name", tensor->name,
						"dtype", type_name(tensor), "shape", shape, "bytes",
						(json_int_t)tensor->bytes));
	}
	if (config)
		json_object_set_new(root, "model", config_json(config));
	json_object_set_new(root, "tensors", tensors);
	return print_json(root, err);
}

static void checkpoint_table(const struct lsc_checkpoint *checkpoint)
{
	for (size_t i = 0; i < checkpoint->n_tensors; i++) {
		const struct lsc_tensor_source *tensor = &checkpoint->tensors[i];

		printf("%-6s %12llu  ", type_name(tensor), (unsigned long long)tensor->bytes);
		for (uint32_t d = 0; d < tensor->n_dims; d++)
			printf("%s%llu", d ? "x" : "", (unsigned long long)tensor->dims[d]);
		printf("  %s\n", tensor->name);
	}
}

/* Tensors alone can be listed; why they make no model we can run is said in passing. */
static int ls_checkpoint(const struct ls_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_checkpoint_close) struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
	struct lsc_err why = LSC_ERR_INIT;
	struct lsc_model_config config;
	bool whole;
	int r = lsc_checkpoint_open(&checkpoint, opt->path, err);

	if (r < 0)
		return r;
	whole = lsc_checkpoint_config(&checkpoint, &config, &why) == 0;
	if (!whole)
		lsc_info("%s", why.text);
	if (opt->json)
		return checkpoint_json(&checkpoint, whole ? &config : NULL, err);
	if (whole)
		print_config(&config);
	checkpoint_table(&checkpoint);
	return 0;
}

static int main_ls(int argc, char **argv)
{
	static const struct argp argp = {
		ls_table,
		parse_ls,
		"IMAGE|SRC",
		"List an image's blocks, or the tensors of a model that is to be packed.",
		NULL,
		NULL,
		NULL};
	struct ls_options opt = {0};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(
		lsc_image_is(opt.path) ? ls_image(&opt, &err) : ls_checkpoint(&opt, &err), &err);
}

/* --- verify --- */

static const struct argp_option verify_table[] = {{0}};

static int run_verify(const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t bad;
	int r = lsc_image_open(&image, path, err);

	if (r < 0 || (r = lsc_image_verify(&image, cpus > 0 ? (unsigned)cpus : 1, &bad, err)) < 0)
		return r;
	if (bad < image.n_pieces)
		return lsc_err_set(err, EBADMSG,
				   "'%s': piece %u (block %u, offset %llu) does not match its hash",
				   path, bad, lsc_image_piece_block(&image, bad),
				   (unsigned long long)lsc_image_piece_offset(&image, bad));
	return 0;
}

static int main_verify(int argc, char **argv)
{
	static const struct argp argp = {
		verify_table, parse_ls, "IMAGE", "Check every piece of an image against its hash.",
		NULL,         NULL,     NULL};
	struct ls_options opt = {0};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(run_verify(opt.path, &err), &err);
}

/* --- tokenize, detokenize --- */

#define MAX_TEXT (1u << 30)

struct text_options {
	const char *path;
	unsigned flags; /* enum lsc_encode_flags */
	bool special;
};

enum { KEY_BOS = 0x3000, KEY_SPECIAL };

static const struct argp_option tokenize_table[] = {
	{"bos", KEY_BOS, NULL, 0, "Begin with the model's begin-of-text token, if it has one", 0},
	{"special", KEY_SPECIAL, NULL, 0, "Take special tokens written in the text as such", 0},
	{0},
};

static const struct argp_option detokenize_table[] = {
	{"special", KEY_SPECIAL, NULL, 0, "Print special tokens as well", 0},
	{0},
};

static error_t parse_text(int key, char *arg, struct argp_state *state)
{
	struct text_options *opt = state->input;

	switch (key) {
	case KEY_BOS:
		opt->flags |= LSC_ENCODE_BOS;
		return 0;
	case KEY_SPECIAL:
		opt->flags |= LSC_ENCODE_SPECIAL;
		opt->special = true;
		return 0;
	case ARGP_KEY_ARG:
		if (opt->path)
			return ARGP_ERR_UNKNOWN;
		opt->path = arg;
		return 0;
	case ARGP_KEY_END:
		if (!opt->path)
			argp_failure(state, LSC_EXIT_USAGE, 0, "want IMAGE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* The tokenizer of an image, or one compiled from what images are made of. */
struct text_source {
	struct lsc_image image;
	struct lsc_buf blob;
	struct lsc_tokenizer *tokenizer;
};

static void text_source_release(struct text_source *source)
{
	lsc_tokenizer_close(source->tokenizer);
	lsc_image_close(&source->image);
	lsc_buf_release(&source->blob);
}

static int text_source_open(struct text_source *source, const char *path, struct lsc_err *err)
{
	int r;

	if (!lsc_image_is(path)) {
		r = lsc_tokenizer_compile(&source->blob, path, NULL, err);
		return r < 0 ? r
			     : lsc_tokenizer_open(&source->tokenizer, source->blob.data,
						  source->blob.len, err);
	}
	r = lsc_image_open(&source->image, path, err);
	if (r < 0)
		return r;
	if (!source->image.tokenizer)
		return lsc_err_set(err, EOPNOTSUPP, "'%s' has no tokenizer", path);
	return lsc_tokenizer_open(&source->tokenizer, source->image.tokenizer,
				  source->image.tokenizer_len, err);
}

static int write_out(const struct lsc_buf *out, struct lsc_err *err)
{
	int r = lsc_write_full(STDOUT_FILENO, out->data, out->len);

	return r < 0 ? lsc_err_set(err, -r, "cannot write the output: %m") : 0;
}

static int run_tokenize(const struct text_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(text_source_release) struct text_source source = {.tokenizer = NULL};
	LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens tokens = LSC_TOKENS_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
	int r;

	if ((r = text_source_open(&source, opt->path, err)) < 0 ||
	    (r = lsc_file_read("/dev/stdin", MAX_TEXT, &text, err)) < 0 ||
	    (r = lsc_tokenizer_encode(source.tokenizer, (const char *)text.data, text.len,
				      opt->flags, &tokens, err)) < 0)
		return r;
	for (size_t i = 0; r == 0 && i < tokens.n; i++)
		r = lsc_buf_printf(&out, "%s%u", i ? " " : "", tokens.ids[i]);
	if (r == 0)
		r = lsc_buf_add_str(&out, "\n");
	return r < 0 ? lsc_err_set(err, -r, "cannot hold the ids: %m") : write_out(&out, err);
}

static int parse_ids(const struct lsc_buf *text, struct lsc_tokens *tokens, struct lsc_err *err)
{
	const char *at = (const char *)text->data;
	const char *end = at + text->len;

	while (at < end) {
		uint64_t id = 0;
		const char *start;

		at += strspn(at, " \t\r\n");
		for (start = at; at < end && *at >= '0' && *at <= '9'; at++)
			id = LSC_MIN(id * 10 + (uint64_t)(*at - '0'), UINT32_MAX);
		if (at == start && at < end)
			return lsc_err_set(err, EBADMSG, "byte %zu of the input is no token id",
					   (size_t)(at - (const char *)text->data));
		if (at > start && lsc_tokens_add(tokens, (uint32_t)id) < 0)
			return lsc_err_set(err, ENOMEM, "cannot hold the ids: %m");
	}
	return 0;
}

static int run_detokenize(const struct text_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(text_source_release) struct text_source source = {.tokenizer = NULL};
	LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens tokens = LSC_TOKENS_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
	int r;

	if ((r = text_source_open(&source, opt->path, err)) < 0 ||
	    (r = lsc_file_read("/dev/stdin", MAX_TEXT, &text, err)) < 0 ||
	    (r = parse_ids(&text, &tokens, err)) < 0 ||
	    (r = lsc_tokenizer_decode(source.tokenizer, tokens.ids, tokens.n, opt->special, &out,
				      err)) < 0)
		return r;
	return write_out(&out, err);
}

static int main_tokenize(int argc, char **argv)
{
	static const struct argp argp = {
		tokenize_table,
		parse_text,
		"IMAGE|SRC",
		"Read text from standard input, print its token ids on one line.",
		NULL,
		NULL,
		NULL};
	struct text_options opt = {0};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(run_tokenize(&opt, &err), &err);
}

static int main_detokenize(int argc, char **argv)
{
	static const struct argp argp = {detokenize_table,
					 parse_text,
					 "IMAGE|SRC",
					 "Read token ids from standard input, print their text.",
					 NULL,
					 NULL,
					 NULL};
	struct text_options opt = {0};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(run_detokenize(&opt, &err), &err);
}

static const struct lsc_command commands[] = {
	{"pack", main_pack, "pack a model into an image"},
	{"ls", main_ls, "list an image or a model"},
	{"verify", main_verify, "check an image's hashes"},
	{"tokenize", main_tokenize, "turn text into token ids"},
	{"detokenize", main_detokenize, "turn token ids into text"},
};

int main(int argc, char **argv)
{
	return lsc_tool_dispatch("lsc-shard", "Pack models into images, list and verify them.",
				 commands, LSC_ARRAY_SIZE(commands), argc, argv);
}
