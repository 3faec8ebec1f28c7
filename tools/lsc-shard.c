/* lsc-shard - packs models into images, lists and verifies them, and runs their tokenizers
 *
 * The work is in lib/model: checkpoint.h reads what was published, image.h packs and opens,
 * describe.h lists, tokenizer.h turns text into ids and back.
 */
#include <signal.h>
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
#include "model/describe.h"
#include "model/files.h"
#include "model/image.h"
#include "model/tokenizer_source.h"

/* --- pack --- */

struct pack_options {
	const char *args[2];
	unsigned n_args;
	const char *dummy;
	const char *only_dummy; /* an option that makes sense for a dummy alone */
	uint64_t layers, vocab; /* of a dummy; 0: the shape's */
	bool untied;            /* its head has weights of its own */
	uint64_t blocks, piece;
	struct lsc_image_options image;
};

enum { KEY_LAYERS = 0x2000, KEY_SEED, KEY_PIECE, KEY_VOCAB, KEY_UNTIED };

static const struct argp_option pack_table[] = {
	{"dtype", 'd', "TYPE", 0, "Store matrices as bf16 (the default), f16, f32 or q8", 0},
	{"blocks", 'b', "N", 0, "Cut the image into N blocks (default 16; at most one a unit)", 0},
	{"piece", KEY_PIECE, "SIZE", 0,
	 "Size of pieces, a power of two (default: by the image's size)", 0},
	{"dummy", 'D', "SHAPE", 0, "Random weights of a known model's shape; there is no SRC then",
	 0},
	{"layers", KEY_LAYERS, "N", 0, "Give the dummy N layers", 0},
	{"vocab", KEY_VOCAB, "N", 0, "Give it a vocabulary of N tokens", 0},
	{"untied", KEY_UNTIED, NULL, 0, "Give its head weights of its own", 0},
	{"seed", KEY_SEED, "N", 0, "Seed of the dummy's weights (default 0)", 0},
	{0},
};

static void parse_dtype(struct argp_state *state, const char *arg, enum lsc_dtype *ret_dtype)
{
	if (lsc_dtype_parse(arg, ret_dtype) < 0)
		argp_failure(state, LSC_EXIT_USAGE, 0, "no type '%s': want bf16, f16, f32 or q8",
			     arg);
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
			       lsc_parse_uint(arg, 1, LSC_MODEL_MAX_BLOCKS, &opt->blocks, &err),
			       &err);
		return 0;
	case KEY_PIECE:
		parse_piece(state, arg, opt);
		return 0;
	case 'D':
		opt->dummy = arg;
		return 0;
	case KEY_LAYERS:
		opt->only_dummy = "layers";
		lsc_tool_check(state,
			       lsc_parse_uint(arg, 1, LSC_MODEL_MAX_LAYERS, &opt->layers, &err),
			       &err);
		return 0;
	case KEY_VOCAB:
		opt->only_dummy = "vocab";
		lsc_tool_check(state,
			       lsc_parse_uint(arg, 256, LSC_MODEL_MAX_VOCAB, &opt->vocab, &err),
			       &err);
		return 0;
	case KEY_UNTIED:
		opt->only_dummy = "untied";
		opt->untied = true;
		return 0;
	case KEY_SEED:
		opt->only_dummy = "seed";
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
		if (opt->only_dummy && !opt->dummy)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--%s is for a --dummy alone",
				     opt->only_dummy);
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
	if (opt->vocab)
		config.vocab = (uint32_t)opt->vocab;
	config.tied = config.tied && !opt->untied;
	return lsc_image_pack_dummy(&config, opt->args[0], &opt->image, err);
}

/* A model that can be cast and not be asked is seldom what was wanted. */
static int check_tokenizer(const struct pack_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	int r = lsc_image_open(&image, opt->args[1], err);

	if (r == 0 && !image.tokenizer_len)
		lsc_warning("'%s' has no tokenizer.json or vocabulary: its image has no tokenizer",
			    opt->args[0]);
	return r;
}

static int run_pack(const struct pack_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_checkpoint_close) struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
	int r;

	if (opt->dummy)
		return run_dummy(opt, err);
	if ((r = lsc_checkpoint_open(&checkpoint, opt->args[0], err)) < 0 ||
	    (r = lsc_image_pack(&checkpoint, opt->args[1], &opt->image, err)) < 0)
		return r;
	return check_tokenizer(opt, err);
}

/* The first signal has the pack remove what it wrote; a second one ends it at once. */
static volatile sig_atomic_t stop_signal;

static void on_stop(int number)
{
	stop_signal = number;
}

static void catch_signals(void)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
	const struct sigaction action = {.sa_handler = on_stop,
					 .sa_flags = (int)SA_RESETHAND | SA_RESTART};
	struct sigaction was;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(numbers); i++)
		if (sigaction(numbers[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
	signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error like a full disk */
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
	struct pack_options opt = {.image = {.dtype = LSC_DTYPE_BF16, .stop = &stop_signal}};
	struct lsc_err err = LSC_ERR_INIT;
	int status;

	lsc_tool_parse(&argp, argc, argv, &opt);
	opt.image.blocks = (uint32_t)opt.blocks;
	opt.image.piece_bytes = (uint32_t)opt.piece;
	catch_signals();
	status = lsc_tool_finish(run_pack(&opt, &err), &err);
	if (err.code == ECANCELED) /* end as the signal would have it */
		raise(stop_signal);
	return status;
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
	default:
		return lsc_tool_argument(state, key, arg, &opt->path, "IMAGE");
	}
}

static int write_out(const struct lsc_buf *out, struct lsc_err *err)
{
	int r = lsc_write_full(STDOUT_FILENO, out->data, out->len);

	return r < 0 ? lsc_err_set(err, -r, "cannot write the output: %m") : 0;
}

/* An image, or files that a cast brought as they are, which are read. */
static int open_any(struct lsc_image *image, const char *path, bool map, struct lsc_err *err)
{
	return !lsc_image_is(path) && lsc_files_is(path)
		       ? lsc_files_open_cast(image, path, map, err)
		       : lsc_image_open(image, path, err);
}

static int ls_image(const struct ls_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
	int r;

	if ((r = open_any(&image, opt->path, false, err)) < 0 ||
	    (r = lsc_describe_image(&image, opt->json, &out, err)) < 0)
		return r;
	return write_out(&out, err);
}

/* Tensors alone can be listed; why they make no model we can run is said in passing. */
static int ls_checkpoint(const struct ls_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_checkpoint_close) struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
	struct lsc_err why = LSC_ERR_INIT;
	struct lsc_model_config config;
	bool whole;
	int r = lsc_checkpoint_open(&checkpoint, opt->path, err);

	if (r < 0)
		return r;
	whole = lsc_checkpoint_config(&checkpoint, &config, &why) == 0;
	if (!whole)
		lsc_info("%s", why.text);
	r = lsc_describe_checkpoint(&checkpoint, whole ? &config : NULL, opt->json, &out, err);
	return r < 0 ? r : write_out(&out, err);
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
	return lsc_tool_finish(lsc_image_is(opt.path) || lsc_files_is(opt.path)
				       ? ls_image(&opt, &err)
				       : ls_checkpoint(&opt, &err),
			       &err);
}

/* --- verify --- */

static const struct argp_option verify_table[] = {{0}};

static int run_verify(const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t bad;
	int r = open_any(&image, path, true, err);

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
	default:
		return lsc_tool_argument(state, key, arg, &opt->path, "IMAGE");
	}
}

static int run_tokenize(const struct text_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_tokenizer_source_close)
	struct lsc_tokenizer_source source = LSC_TOKENIZER_SOURCE_INIT;
	LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens tokens = LSC_TOKENS_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
	int r;

	if ((r = lsc_tokenizer_source_open(&source, opt->path, err)) < 0 ||
	    (r = lsc_fd_read(STDIN_FILENO, "standard input", MAX_TEXT, &text, err)) < 0 ||
	    (r = lsc_tokenizer_encode(source.tokenizer, (const char *)text.data, text.len,
				      opt->flags, &tokens, err)) < 0 ||
	    (r = lsc_tokens_print(&tokens, &out, err)) < 0)
		return r;
	return write_out(&out, err);
}

static int run_detokenize(const struct text_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_tokenizer_source_close)
	struct lsc_tokenizer_source source = LSC_TOKENIZER_SOURCE_INIT;
	LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens tokens = LSC_TOKENS_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
	int r;

	if ((r = lsc_tokenizer_source_open(&source, opt->path, err)) < 0 ||
	    (r = lsc_fd_read(STDIN_FILENO, "standard input", MAX_TEXT, &text, err)) < 0 ||
	    (r = lsc_tokens_parse(&tokens, (const char *)text.data, text.len, err)) < 0 ||
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
