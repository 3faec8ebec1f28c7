/* lsc-exec - executes images: `run` answers one prompt on this node, `serve` is a stage worker
 *
 * lib/exec/session.h computes a prompt; here are its text, the loop over tokens and their text.
 * What a stage worker does is in lib/stage/worker.h.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cli/serve.h"
#include "cli/tool.h"
#include "exec/arrival.h"
#include "exec/session.h"
#include "model/tokenizer.h"
#include "net/access.h"
#include "net/loop.h"
#include "stage/worker.h"

#define MAX_PROMPT (64u << 20)

struct run_options {
	const char *path;
	const char *prompt;
	const char *system;
	bool chat, ids, have_n;
	uint64_t n, seed, threads;
	double temp, top_p, timeout_s;
};

enum { KEY_TEMP = 0x2000, KEY_TOP_P, KEY_SEED, KEY_IDS, KEY_CHAT, KEY_SYSTEM, KEY_TIMEOUT };

static const struct argp_option run_table[] = {
	{"prompt", 'p', "TEXT", 0, "The prompt; - or none: standard input", 0},
	{"tokens", 'n', "N", 0,
	 "Stop after N tokens (default: at the end of text, or of the context)", 0},
	{"temp", KEY_TEMP, "T", 0, "Sampling temperature (default 0: greedy)", 0},
	{"top-p", KEY_TOP_P, "P", 0, "Sample from the likeliest tokens that make up P (default 1)",
	 0},
	{"seed", KEY_SEED, "N", 0, "Seed of the sampling (default 0)", 0},
	{"ids", KEY_IDS, NULL, 0, "Print the answer's token ids on one line", 0},
	{"chat", 'c', NULL, 0, "Ask the prompt as a question, in the model's chat format", 0},
	{"system", KEY_SYSTEM, "TEXT", 0, "The chat's system message", 0},
	{"threads", 't', "N", 0, "Compute with N threads (default: the CPUs there are)", 0},
	{"timeout", KEY_TIMEOUT, "TIME", 0,
	 "Give up when a unit takes longer to arrive (default: never)", 0},
	{0},
};

static error_t parse_number(int key, char *arg, struct run_options *opt, struct argp_state *state)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	switch (key) {
	case 'n':
		opt->have_n = true;
		r = lsc_parse_uint(arg, 0, UINT32_MAX, &opt->n, &err);
		break;
	case 't':
		r = lsc_parse_uint(arg, 1, 1024, &opt->threads, &err);
		break;
	case KEY_TEMP:
		r = lsc_parse_real(arg, 0, 100, &opt->temp, &err);
		break;
	case KEY_TOP_P:
		r = lsc_parse_real(arg, 0, 1, &opt->top_p, &err);
		break;
	case KEY_SEED:
		r = lsc_parse_uint(arg, 0, UINT64_MAX, &opt->seed, &err);
		break;
	case KEY_TIMEOUT:
		r = lsc_parse_duration(arg, &opt->timeout_s, &err);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	lsc_tool_check(state, r, &err);
	return 0;
}

static error_t parse_run(int key, char *arg, struct argp_state *state)
{
	struct run_options *opt = state->input;

	switch (key) {
	case 'p':
		opt->prompt = arg;
		return 0;
	case 'c':
		opt->chat = true;
		return 0;
	case KEY_SYSTEM:
		opt->system = arg;
		opt->chat = true;
		return 0;
	case KEY_IDS:
		opt->ids = true;
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
		return parse_number(key, arg, opt, state);
	}
}

/* --- an image, whole or arriving, and what runs it --- */

struct runner {
	struct lsc_segment segment;
	struct lsc_image image;
	struct lsc_tokenizer *tokenizer;
	struct lsc_engine *engine;
	struct lsc_session session;
};

static void runner_release(struct runner *runner)
{
	lsc_session_release(&runner->session);
	lsc_engine_close(runner->engine);
	lsc_tokenizer_close(runner->tokenizer);
	lsc_image_close(&runner->image);
	lsc_segment_close(&runner->segment);
}

/* DIR/NAME: the image, or NAME.part while it arrives.  What is there already may be named in any
 * way, as '.' too. */
static int open_segment(struct runner *runner, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *real = realpath(path, NULL);
	LSC_CLEANUP_FREE char *dir = real ? strdup(real) : strdup(path);
	size_t len;
	char *slash;

	if (!dir)
		return lsc_err_set(err, ENOMEM, "cannot open '%s': %m", path);
	for (len = strlen(dir); len > 1 && dir[len - 1] == '/'; len--)
		dir[len - 1] = 0;
	slash = strrchr(dir, '/');
	if (!slash)
		return lsc_segment_open(&runner->segment, ".", dir, err);
	*slash = 0;
	return lsc_segment_open(&runner->segment, slash == dir ? "/" : dir, slash + 1, err);
}

/* A cast may take its time, or have died: only people can tell. */
static void on_wait(void *data, uint32_t unit)
{
	const struct runner *runner = data;

	lsc_notice("waiting for unit %u of '%s': %u of %u pieces are here", unit,
		   runner->segment.name, lsc_segment_count(&runner->segment),
		   runner->image.n_pieces);
}

static int open_tokenizer(struct runner *runner, const char *path, int timeout_ms,
			  struct lsc_err *err)
{
	const struct lsc_image *image = &runner->image;
	struct lsc_segment *segment = &runner->segment;
	bool long_wait;
	int r;

	if (!image->tokenizer_len)
		return lsc_err_set(err, EOPNOTSUPP, "'%s' has no tokenizer", path);
	long_wait = timeout_ms < 0 || timeout_ms > LSC_ARRIVAL_LONG_MS;
	r = lsc_arrival_wait_tokenizer(image, segment, long_wait ? LSC_ARRIVAL_LONG_MS : timeout_ms,
				       err);
	if (r == -ETIMEDOUT && long_wait) {
		lsc_notice("waiting for the tokenizer of '%s'", segment->name);
		r = lsc_arrival_wait_tokenizer(
			image, segment, timeout_ms < 0 ? -1 : timeout_ms - LSC_ARRIVAL_LONG_MS,
			err);
	}
	return r < 0 ? r
		     : lsc_tokenizer_open(&runner->tokenizer, segment->data, image->tokenizer_len,
					  err);
}

static int runner_open(struct runner *runner, const struct run_options *opt, struct lsc_err *err)
{
	const struct lsc_engine_options options = {.threads = (unsigned)opt->threads};
	const struct lsc_session_options sampling = {
		.temp = (float)opt->temp,
		.top_p = (float)opt->top_p,
		.seed = opt->seed,
		.timeout_ms = opt->timeout_s > 0 ? (int)LSC_MIN(opt->timeout_s * 1000, 1e9) : -1,
		.on_wait = on_wait,
		.data = runner,
	};
	struct lsc_image *image = &runner->image;
	int r = open_segment(runner, opt->path, err);

	if (r < 0)
		return r;
	r = lsc_image_parse(image, runner->segment.manifest, runner->segment.manifest_len, err);
	if (r == 0)
		r = lsc_arrival_check(image, &runner->segment, err);
	if (r < 0)
		return lsc_err_prefix(err, "'%s': ", opt->path);
	r = open_tokenizer(runner, opt->path, sampling.timeout_ms, err);
	if (r == 0)
		r = lsc_engine_open(&runner->engine, image, runner->segment.data, &options, err);
	return r < 0 ? r
		     : lsc_session_init(&runner->session, image, &runner->segment, runner->engine,
					&sampling, err);
}

/* --- the prompt --- */

static int read_prompt(const struct run_options *opt, struct lsc_buf *text, struct lsc_err *err)
{
	if (opt->prompt && strcmp(opt->prompt, "-"))
		return lsc_buf_add_str(text, opt->prompt) < 0
			       ? lsc_err_set(err, ENOMEM, "cannot hold the prompt: %m")
			       : 0;
	return lsc_fd_read(STDIN_FILENO, "standard input", MAX_PROMPT, text, err);
}

static int encode_prompt(const struct runner *runner, const struct run_options *opt,
			 struct lsc_tokens *ids, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf chat = LSC_BUF_INIT;
	const struct lsc_buf *prompt = &text;
	unsigned flags = LSC_ENCODE_BOS;
	int r = read_prompt(opt, &text, err);

	if (r == 0 && opt->chat) {
		const char *question = text.data ? (const char *)text.data : "";
		const struct lsc_chat_message messages[] = {{"system", opt->system},
							    {"user", question}};

		r = lsc_chat_render(&runner->image.chat, opt->system ? messages : messages + 1,
				    opt->system ? 2 : 1, &chat, err);
		prompt = &chat;
		flags |= LSC_ENCODE_SPECIAL;
	}
	if (r == 0)
		r = lsc_tokenizer_encode(runner->tokenizer, (const char *)prompt->data, prompt->len,
					 flags, ids, err);
	return r;
}

/* --- the answer --- */

static bool is_end(const struct lsc_model_config *config, uint32_t token)
{
	for (uint32_t i = 0; i < config->n_eos; i++)
		if (config->eos[i] == token)
			return true;
	return false;
}

static int flush_text(struct lsc_buf *text, struct lsc_err *err)
{
	int r = lsc_write_full(STDOUT_FILENO, text->data, text->len);

	text->len = 0;
	return r < 0 ? lsc_err_set(err, -r, "cannot write the answer: %m") : 0;
}

static int print_token(const struct run_options *opt, struct lsc_detokenizer *detokenizer,
		       uint64_t index, uint32_t token, struct lsc_buf *text, struct lsc_err *err)
{
	int r;

	if (opt->ids)
		r = lsc_buf_printf(text, "%s%u", index ? " " : "", token);
	else
		r = lsc_detokenizer_add(detokenizer, token, text, err);
	return r < 0 ? r : flush_text(text, err);
}

static int generate(struct runner *runner, const struct run_options *opt,
		    const struct lsc_tokens *prompt, uint64_t start_ns, struct lsc_err *err)
{
	const struct lsc_model_config *config = &runner->image.config;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	struct lsc_detokenizer detokenizer;
	uint64_t limit = opt->have_n ? opt->n : UINT64_MAX, n = 0, first_ns = 0;
	uint32_t token = 0;
	int r = 0;

	if (prompt->n == 0)
		return lsc_err_set(err, EINVAL,
				   "the prompt is empty, and the model has no token "
				   "to begin with");
	if (prompt->n > config->context)
		return lsc_err_set(err, EINVAL, "the prompt has %zu tokens, the context %u",
				   prompt->n, config->context);
	lsc_detokenizer_init(&detokenizer, runner->tokenizer);
	/* The answer ends with the context, as it does over a pipeline. */
	for (; r == 0 && n < limit && (n == 0 || prompt->n + n < config->context); n++) {
		r = lsc_session_feed(&runner->session, n ? &token : prompt->ids,
				     n ? 1 : (uint32_t)prompt->n, &token, err);
		if (r < 0 || is_end(config, token))
			break;
		r = print_token(opt, &detokenizer, n, token, &text, err);
		if (n == 0)
			first_ns = lsc_clock_ns();
	}
	if (r == 0 && !opt->ids)
		r = lsc_detokenizer_end(&detokenizer, &text);
	if (r == 0)
		r = lsc_buf_add_str(&text, "\n");
	if (r == 0)
		r = flush_text(&text, err);
	if (r == 0 && n > 1)
		lsc_info("%zu prompt tokens, first token after %.3f s, then %.1f tokens/s",
			 prompt->n, (double)(first_ns - start_ns) / 1e9,
			 (double)(n - 1) / ((double)(lsc_clock_ns() - first_ns) / 1e9));
	return r;
}

static int run(const struct run_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(runner_release) struct runner runner = {.engine = NULL};
	LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens prompt = LSC_TOKENS_INIT;
	uint64_t start_ns = lsc_clock_ns();
	int r;

	if ((r = runner_open(&runner, opt, err)) < 0 ||
	    (r = encode_prompt(&runner, opt, &prompt, err)) < 0)
		return r;
	return generate(&runner, opt, &prompt, start_ns, err);
}

static int main_run(int argc, char **argv)
{
	static const struct argp argp = {
		run_table,
		parse_run,
		"IMAGE",
		"Answer one prompt on this node, with an image that is here or arriving.",
		NULL,
		NULL,
		NULL};
	struct run_options opt = {.top_p = 1};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(run(&opt, &err), &err);
}

/* --- serve --- */

struct serve_options {
	const char *dir;
	const char *listen;
	uint64_t threads;
	struct lsc_access access;
	int ready_fd; /* -1: none */
};

static const struct argp_option serve_table[] = {
	{"dir", 'd', "DIR", 0, "Run the images that are in DIR, or arrive there", 0},
	LSC_ACCESS_ROWS,
	{"listen", 'l', "HOST:PORT", 0, "Listen there (default 127.0.0.1:7001)", 0},
	{"threads", 't', "N", 0, "Compute with N threads (default: the CPUs there are)", 0},
	{"ready-fd", 'R', "N", 0, "Write the address to descriptor N once listening", 0},
	{0},
};

static error_t parse_serve(int key, char *arg, struct argp_state *state)
{
	struct serve_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t fd;

	switch (key) {
	case 'd':
		opt->dir = arg;
		return 0;
	case 'l':
		opt->listen = arg;
		return 0;
	case 't':
		lsc_tool_check(state, lsc_parse_uint(arg, 1, 1024, &opt->threads, &err), &err);
		return 0;
	case 'R':
		lsc_tool_check(state, lsc_parse_uint(arg, 0, 1 << 20, &fd, &err), &err);
		opt->ready_fd = (int)fd;
		return 0;
	case ARGP_KEY_END:
		if (!opt->dir)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--dir is missing");
		return 0;
	default:
		return lsc_access_option(&opt->access, key, arg) ? 0 : ARGP_ERR_UNKNOWN;
	}
}

static void stop_serving(void *data, int number)
{
	lsc_info("ended by signal %d", number);
	lsc_loop_stop(data, 0);
}

static int serve(const struct serve_options *opt, struct lsc_loop *loop, struct lsc_err *err)
{
	const struct lsc_worker_options options = {
		.dir = opt->dir,
		.engine = {.threads = (unsigned)opt->threads},
		.access = &opt->access,
	};
	struct lsc_worker *worker = NULL;
	struct lsc_endpoint at;
	int r;

	if ((r = lsc_endpoint_parse(&at, opt->listen, err)) < 0 ||
	    (r = lsc_access_check(&opt->access, &at, err)) < 0 ||
	    (r = lsc_loop_signals(loop, (int[]){SIGTERM, SIGINT, SIGHUP}, 3, stop_serving, loop,
				  err)) < 0 ||
	    (r = lsc_worker_open(&worker, loop, &at, &options, err)) < 0)
		return r;
	lsc_info("executing what is in '%s' at %s", opt->dir, lsc_worker_address(worker));
	if (!opt->access.key)
		lsc_serve_warn(lsc_worker_address(worker), "have requests computed here");
	r = lsc_serve_ready(opt->ready_fd, lsc_worker_address(worker), err);
	if (r == 0)
		r = lsc_loop_run(loop, err);
	lsc_worker_close(worker);
	return r;
}

static int main_serve(int argc, char **argv)
{
	static const struct argp argp = {
		serve_table, parse_serve,
		NULL,        "Run any units of the images that are here, for any route.",
		NULL,        NULL,
		NULL};
	struct serve_options opt = {.listen = "127.0.0.1:7001", .ready_fd = -1};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_loop *loop = NULL;
	int r;

	lsc_tool_parse(&argp, argc, argv, &opt);
	r = lsc_access_open(&opt.access, &err);
	if (r == 0)
		r = lsc_loop_new(&loop, &err);
	if (r == 0)
		r = serve(&opt, loop, &err);
	lsc_loop_free(loop);
	lsc_access_close(&opt.access);
	return lsc_tool_finish(r, &err);
}

static const struct lsc_command commands[] = {
	{"run", main_run, "answer one prompt on this node"},
	{"serve", main_serve, "be a stage worker for pipelines"},
};

int main(int argc, char **argv)
{
	return lsc_tool_dispatch("lsc-exec", "Execute images.", commands, LSC_ARRAY_SIZE(commands),
				 argc, argv);
}
