/* lsc-exec run - answers one prompt on this node
 *
 * lib/exec/session.h computes the prompt; here are its text and the loop over tokens,
 * which tools/exec/printer.c prints.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cli/tool.h"
#include "commands.h"
#include "exec/arrival.h"
#include "exec/session.h"
#include "logits.h"
#include "model/tokenizer.h"
#include "options.h"
#include "printer.h"
#include "sampling.h"
#include "subject.h"

#define MAX_PROMPT (64u << 20)

struct run_options {
	const char *path;
	const char *prompt;
	const char *system;
	const char *logits;
	bool chat, ids, have_n;
	uint64_t n;
	struct exec_sampling sampling;
	struct lsc_engine_options engine;
	struct exec_device device;
	double timeout_s;
};

enum { KEY_IDS = 0x2000, KEY_CHAT, KEY_SYSTEM, KEY_TIMEOUT, KEY_LOGITS };

static const struct argp_option run_table[] = {
	{"prompt", 'p', "TEXT", 0, "The prompt; - or none: standard input", 0},
	{"tokens", 'n', "N", 0,
	 "Stop after N tokens (default: at the end of text, or of the context)", 0},
	{"temp", EXEC_KEY_TEMP, "T", 0, "Sampling temperature (default 0: greedy)", 0},
	{"top-k", EXEC_KEY_TOP_K, "K", 0, "Sample from the K likeliest tokens (default 0: all)", 0},
	{"top-p", EXEC_KEY_TOP_P, "P", 0,
	 "Sample from the likeliest tokens that make up P (default 1)", 0},
	{"min-p", EXEC_KEY_MIN_P, "P", 0,
	 "Sample from tokens P times as likely as the likeliest (default 0: all)", 0},
	{"repetition-penalty", EXEC_KEY_PENALTY, "R", 0,
	 "Make tokens that were there less likely (default 1: no)", 0},
	{"seed", EXEC_KEY_SEED, "N", 0, "Seed of the sampling (default 0)", 0},
	{"stop", EXEC_KEY_STOP, "TEXT", 0, "End the answer before TEXT; can be given several times",
	 0},
	{"stop-token", EXEC_KEY_STOP_ID, "ID", 0,
	 "End the answer before a token; can be given several times", 0},
	{"logprobs", EXEC_KEY_LOGPROBS, "N", 0,
	 "Print a line for each token: id, logprob, those of the N likeliest", 0},
	{"ids", KEY_IDS, NULL, 0, "Print the answer's token ids on one line", 0},
	{"logits", KEY_LOGITS, "FILE", 0, "Write the logits of all positions to FILE, as f32", 0},
	{"chat", 'c', NULL, 0, "Ask the prompt as a question, in the model's chat format", 0},
	{"system", KEY_SYSTEM, "TEXT", 0, "The chat's system message", 0},
	EXEC_ENGINE_ROWS,
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
	case KEY_TIMEOUT:
		r = lsc_parse_duration(arg, &opt->timeout_s, &err);
		break;
	default:
		if (exec_engine_option(&opt->engine, key, arg, state) ||
		    exec_device_option(&opt->device, key, arg, state) ||
		    exec_sampling_option(&opt->sampling, key, arg, state))
			return 0;
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
	case KEY_LOGITS:
		opt->logits = arg;
		return 0;
	case KEY_IDS:
		opt->ids = true;
		return 0;
	case ARGP_KEY_ARG:
	case ARGP_KEY_END:
		return lsc_tool_argument(state, key, arg, &opt->path, "IMAGE");
	default:
		return parse_number(key, arg, opt, state);
	}
}

/* --- an image, whole or arriving, and what runs it --- */

struct runner {
	struct exec_subject subject;
	struct lsc_tokenizer *tokenizer;
	struct lsc_session session;
	struct exec_logits logits;
};

static void runner_release(struct runner *runner)
{
	exec_logits_close(&runner->logits);
	lsc_session_release(&runner->session);
	lsc_tokenizer_close(runner->tokenizer);
	exec_subject_close(&runner->subject);
}

/* A cast may take its time, or have died: only people can tell. */
static void on_wait(void *data, uint32_t unit)
{
	const struct runner *runner = data;

	lsc_notice("waiting for unit %u of '%s': %u of %u pieces are here", unit,
		   runner->subject.segment.name, lsc_segment_count(&runner->subject.segment),
		   runner->subject.image.n_pieces);
}

static int open_tokenizer(struct runner *runner, const char *path, int timeout_ms,
			  struct lsc_err *err)
{
	const struct lsc_image *image = &runner->subject.image;
	struct lsc_segment *segment = &runner->subject.segment;
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
	const struct lsc_session_options options = {
		.sampling = opt->sampling.how,
		.timeout_ms = opt->timeout_s > 0 ? (int)LSC_MIN(opt->timeout_s * 1000, 1e9) : -1,
		.on_wait = on_wait,
		.data = runner,
	};
	struct exec_subject *subject = &runner->subject;
	int r;

	if ((r = exec_subject_open(subject, opt->path, err)) < 0 ||
	    (r = open_tokenizer(runner, opt->path, options.timeout_ms, err)) < 0 ||
	    (r = exec_subject_engine(subject, &opt->engine, err)) < 0)
		return r;
	return lsc_session_init(&runner->session, &subject->image, &subject->segment,
				subject->engine, &options, err);
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

		r = lsc_chat_render(&runner->subject.image.chat,
				    opt->system ? messages : messages + 1, opt->system ? 2 : 1,
				    &chat, err);
		prompt = &chat;
		flags |= LSC_ENCODE_SPECIAL;
	}
	if (r == 0)
		r = lsc_tokenizer_encode(runner->tokenizer, (const char *)prompt->data, prompt->len,
					 flags, ids, err);
	return r;
}

/* --- the answer --- */

/* Whether a token ends the answer without being part of it. */
static bool ends(const struct lsc_model_config *config, const struct lsc_tokens *stop_ids,
		 uint32_t token)
{
	for (size_t i = 0; i < stop_ids->n; i++)
		if (stop_ids->ids[i] == token)
			return true;
	return lsc_model_is_end(config, token);
}

static int check_prompt(const struct lsc_model_config *config, const struct lsc_tokens *prompt,
			struct lsc_err *err)
{
	if (prompt->n == 0)
		return lsc_err_set(err, EINVAL,
				   "the prompt is empty, and the model has no token "
				   "to begin with");
	if (prompt->n > config->context)
		return lsc_err_set(err, EINVAL, "the prompt has %zu tokens, the context %u",
				   prompt->n, config->context);
	return 0;
}

static int generate(struct runner *runner, const struct run_options *opt,
		    const struct lsc_tokens *prompt, uint64_t start_ns, struct lsc_err *err)
{
	const struct lsc_model_config *config = &runner->subject.image.config;
	LSC_CLEANUP(exec_printer_release) struct exec_printer printer = EXEC_PRINTER_INIT;
	uint64_t limit = opt->have_n ? opt->n : UINT64_MAX, n = 0, first_ns = 0;
	struct lsc_drawn drawn = {0};
	int r = check_prompt(config, prompt, err);

	if (r < 0)
		return r;
	if (opt->ids)
		printer.form = EXEC_PRINT_IDS;
	else if (opt->sampling.how.logprobs)
		printer.form = EXEC_PRINT_LOGPROBS;
	exec_printer_begin(&printer, runner->tokenizer, &opt->sampling.stops);
	/* The answer ends with the context, as it does over a pipeline. */
	for (; r == 0 && n < limit && (n == 0 || prompt->n + n < config->context); n++) {
		r = exec_logits_feed(&runner->logits, &runner->session,
				     n ? &drawn.token : prompt->ids, n ? 1 : (uint32_t)prompt->n,
				     &drawn, err);
		if (r < 0 || ends(config, &opt->sampling.stop_ids, drawn.token))
			break;
		r = exec_printer_add(&printer, &drawn, err);
		if (n == 0)
			first_ns = lsc_clock_ns();
	}
	if (r >= 0)
		r = exec_printer_end(&printer, err);
	if (r == 0 && n > 1)
		lsc_info("%zu prompt tokens, first token after %.3f s, then %.1f tokens/s",
			 prompt->n, (double)(first_ns - start_ns) / 1e9,
			 (double)(n - 1) / ((double)(lsc_clock_ns() - first_ns) / 1e9));
	return r;
}

static int run(const struct run_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(runner_release) struct runner runner = {.logits = EXEC_LOGITS_INIT};
	LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens prompt = LSC_TOKENS_INIT;
	uint64_t start_ns = lsc_clock_ns();
	int r;

	if ((r = runner_open(&runner, opt, err)) < 0 ||
	    (r = encode_prompt(&runner, opt, &prompt, err)) < 0 ||
	    (r = exec_logits_open(&runner.logits, opt->logits, runner.subject.image.config.vocab,
				  err)) < 0 ||
	    (r = generate(&runner, opt, &prompt, start_ns, err)) < 0)
		return r;
	return exec_logits_end(&runner.logits, err);
}

int lsc_exec_run_main(int argc, char **argv)
{
	static const struct argp argp = {
		run_table,
		parse_run,
		"IMAGE",
		"Answer one prompt on this node, with an image that is here or arriving.",
		NULL,
		NULL,
		NULL};
	struct run_options opt = {.sampling.how = LSC_SAMPLING_INIT};
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	lsc_tool_parse(&argp, argc, argv, &opt);
	r = exec_device_find(&opt.device, &opt.engine, &err);
	if (r == 0)
		r = run(&opt, &err);
	exec_sampling_release(&opt.sampling);
	return lsc_tool_finish(r, &err);
}
