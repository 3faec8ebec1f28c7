/* lsc-exec bench - how fast this node executes an image, and how fast it could
 *
 * lib/exec/measure.h measures; here is what to measure, and the table or the JSON of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cli/tool.h"
#include "commands.h"
#include "exec/arrival.h"
#include "exec/measure.h"
#include "exec/pool.h"
#include "options.h"
#include "subject.h"

#define MAX_LIST 16

struct list {
	uint32_t values[MAX_LIST];
	unsigned n;
};

struct bench_options {
	const char *path;
	struct lsc_engine_options engine;
	struct list threads, batch;
	uint64_t prompt, tokens, depth, runs;
	bool json;
};

enum { KEY_PROMPT = 0x2000, KEY_DEPTH, KEY_RUNS, KEY_JSON, KEY_BATCH };

static const struct argp_option bench_table[] = {
	{"batch", KEY_BATCH, "N,...", 0, "Requests that generate together (default 1,8,16)", 0},
	{"depth", KEY_DEPTH, "N", 0, "Positions that they begin after (default 64)", 0},
	EXEC_EXACT_ROW,
	{"json", KEY_JSON, NULL, 0, "Print a JSON object a line", 0},
	{"prompt-tokens", KEY_PROMPT, "N", 0, "Tokens of the prompt (default 512; 0: none)", 0},
	{"runs", KEY_RUNS, "N", 0, "Measure each N times (default 3)", 0},
	{"threads", 't', "N,...", 0, "Compute with N threads (default: the CPUs there are)", 0},
	{"tokens", 'n', "N", 0, "Generate N tokens for each request (default 32; 0: none)", 0},
	{0},
};

static int parse_list(const char *text, uint64_t max, struct list *list, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *copy = strdup(text);
	char *rest = copy, *each;
	uint64_t value;
	int r = 0;

	list->n = 0;
	while (r == 0 && (each = strsep(&rest, ","))) {
		if (list->n == MAX_LIST)
			return lsc_err_set(err, EINVAL, "'%.40s' has more than %u numbers", text,
					   MAX_LIST);
		r = lsc_parse_uint(each, 1, max, &value, err);
		if (r == 0)
			list->values[list->n++] = (uint32_t)value;
	}
	return copy ? r : lsc_err_set(err, ENOMEM, "cannot hold '%s': %m", text);
}

static error_t parse_number(int key, char *arg, struct bench_options *opt, struct argp_state *state)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	switch (key) {
	case 'n':
		r = lsc_parse_uint(arg, 0, 1 << 20, &opt->tokens, &err);
		break;
	case 't':
		r = parse_list(arg, LSC_POOL_MAX_THREADS, &opt->threads, &err);
		break;
	case KEY_BATCH:
		r = parse_list(arg, LSC_MEASURE_MAX_BATCH, &opt->batch, &err);
		break;
	case KEY_DEPTH:
		r = lsc_parse_uint(arg, 0, 1 << 24, &opt->depth, &err);
		break;
	case KEY_PROMPT:
		r = lsc_parse_uint(arg, 0, 1 << 24, &opt->prompt, &err);
		break;
	case KEY_RUNS:
		r = lsc_parse_uint(arg, 1, 1000, &opt->runs, &err);
		break;
	default:
		return exec_engine_option(&opt->engine, key, arg, state) ? 0 : ARGP_ERR_UNKNOWN;
	}
	lsc_tool_check(state, r, &err);
	return 0;
}

static error_t parse_bench(int key, char *arg, struct argp_state *state)
{
	struct bench_options *opt = state->input;

	switch (key) {
	case KEY_JSON:
		opt->json = true;
		return 0;
	case ARGP_KEY_ARG:
	case ARGP_KEY_END:
		return lsc_tool_argument(state, key, arg, &opt->path, "IMAGE");
	default:
		return parse_number(key, arg, opt, state);
	}
}

/* --- what was measured --- */

struct bench {
	const struct bench_options *opt;
	struct exec_subject subject;
	struct lsc_engine_options engine; /* the one that is open */
	double reading;                   /* bytes a second, with its threads */
};

static void bench_release(struct bench *bench)
{
	exec_subject_close(&bench->subject);
}

static void put_head(const struct bench *bench)
{
	const struct lsc_image *image = &bench->subject.image;

	if (bench->opt->json)
		return;
	printf("%s: %s of %u layers, %s, %.1f MB of weights; %s kernels\n\n",
	       bench->subject.segment.name, image->config.arch, image->config.layers,
	       lsc_dtype_name(image->dtype), (double)lsc_measure_weights(image) / 1e6,
	       lsc_kernels()->name);
	printf("%-22s %7s %5s %17s %11s %9s\n", "", "threads", "batch", "tokens/s", "of reading",
	       "GFLOP/s");
}

static void put_reading(const struct bench *bench)
{
	unsigned threads = bench->engine.threads;

	if (bench->opt->json)
		printf("{\"name\":\"exec-reading\",\"threads\":%u,\"gb_s\":%.3f}\n", threads,
		       bench->reading / 1e9);
	else
		printf("%-22s %7u %5s %12.2f GB/s\n", "reading", threads, "", bench->reading / 1e9);
	fflush(stdout);
}

static void put_first(const struct bench *bench, double seconds)
{
	unsigned threads = bench->engine.threads;

	if (bench->opt->json)
		printf("{\"name\":\"exec-first-token\",\"threads\":%u,\"tokens\":%llu,"
		       "\"seconds\":%.6f}\n",
		       threads, (unsigned long long)bench->opt->prompt, seconds);
	else
		printf("first token of %-7llu %7u %5d %12.1f ms\n",
		       (unsigned long long)bench->opt->prompt, threads, 1, seconds * 1e3);
	fflush(stdout);
}

static void put_rate(const struct bench *bench, const char *what, uint32_t batch, uint64_t tokens,
		     uint64_t depth, const struct lsc_measured *measured)
{
	const struct lsc_image *image = &bench->subject.image;
	double bytes_s = measured->passes_s * (double)lsc_measure_weights(image);
	double gflop_s = measured->passes_s * (double)measured->flop / 1e9;
	char label[64], rate[64];

	if (bench->opt->json) {
		printf("{\"name\":\"exec-%s\",\"dtype\":\"%s\",\"kernels\":\"%s\",\"threads\":%u,"
		       "\"batch\":%u,\"tokens\":%llu,\"depth\":%llu,\"runs\":%llu,"
		       "\"tokens_s\":%.3f,\"deviation_tokens_s\":%.3f,\"weights_gb_s\":%.3f,"
		       "\"read_gb_s\":%.3f,\"of_reading\":%.4f,\"gflop_s\":%.2f}\n",
		       what, lsc_dtype_name(image->dtype), lsc_kernels()->name,
		       bench->engine.threads, batch, (unsigned long long)tokens,
		       (unsigned long long)depth, (unsigned long long)bench->opt->runs,
		       measured->tokens_s, measured->deviation_s, bytes_s / 1e9,
		       bench->reading / 1e9, bytes_s / bench->reading, gflop_s);
	} else {
		snprintf(label, sizeof(label), "%s %llu%s", what, (unsigned long long)tokens, "");
		snprintf(rate, sizeof(rate), "%.2f +- %.2f", measured->tokens_s,
			 measured->deviation_s);
		printf("%-22s %7u %5u %17s %11.2f %9.1f\n", label, bench->engine.threads, batch,
		       rate, bytes_s / bench->reading, gflop_s);
	}
	fflush(stdout);
}

/* --- measuring --- */

/* From an engine that is not there yet to the logits of the prompt's last token. */
static int bench_first(struct bench *bench, struct lsc_err *err)
{
	struct exec_subject *subject = &bench->subject;
	struct lsc_measured once;
	uint64_t start = lsc_clock_ns();
	double seconds;
	int r = exec_subject_engine(subject, &bench->engine, err);

	if (r < 0 || !bench->opt->prompt)
		return r;
	r = lsc_measure_prompt(subject->engine, &subject->image, (uint32_t)bench->opt->prompt, 0,
			       &once, err);
	seconds = (double)(lsc_clock_ns() - start) / 1e9;
	if (r == 0)
		put_first(bench, seconds);
	return r;
}

static int bench_threads(struct bench *bench, unsigned threads, struct lsc_err *err)
{
	const struct bench_options *opt = bench->opt;
	struct exec_subject *subject = &bench->subject;
	struct lsc_measured measured;
	int r;

	bench->engine = opt->engine;
	bench->engine.threads = threads;
	r = lsc_measure_reading(subject->segment.data, subject->segment.bytes, threads,
				&bench->reading, err);
	if (r < 0)
		return r;
	put_reading(bench);
	r = bench_first(bench, err);
	if (r == 0 && opt->prompt) {
		r = lsc_measure_prompt(subject->engine, &subject->image, (uint32_t)opt->prompt,
				       (unsigned)opt->runs, &measured, err);
		if (r == 0)
			put_rate(bench, "prompt", 1, opt->prompt, 0, &measured);
	}
	for (unsigned i = 0; i < opt->batch.n && opt->tokens && r == 0; i++) {
		r = lsc_measure_tokens(subject->engine, &subject->image, opt->batch.values[i],
				       (uint32_t)opt->depth, (uint32_t)opt->tokens,
				       (unsigned)opt->runs, &measured, err);
		if (r == 0)
			put_rate(bench, "generate", opt->batch.values[i], opt->tokens, opt->depth,
				 &measured);
	}
	lsc_engine_close(subject->engine);
	subject->engine = NULL;
	return r;
}

/* Before anything takes its time: what is asked fits the context, and the image is all there. */
static int check(const struct bench *bench, struct lsc_err *err)
{
	const struct bench_options *opt = bench->opt;
	const struct lsc_image *image = &bench->subject.image;
	uint64_t most = opt->prompt;

	for (unsigned i = 0; i < opt->batch.n && opt->tokens; i++)
		most = LSC_MAX(most, lsc_measure_reach(opt->batch.values[i], (uint32_t)opt->depth,
						       (uint32_t)opt->tokens));
	if (most > image->config.context)
		return lsc_err_set(err, EINVAL, "that takes %llu positions, the context has %u",
				   (unsigned long long)most, image->config.context);
	if (lsc_arrival_ready(image, &bench->subject.segment, 0, image->n_units - 1) <
	    image->n_units)
		return lsc_err_set(err, EBUSY, "'%s' is still arriving", opt->path);
	return 0;
}

static int run(const struct bench_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(bench_release) struct bench bench = {.opt = opt};
	int r = exec_subject_open(&bench.subject, opt->path, err);

	if (r == 0)
		r = check(&bench, err);
	if (r < 0)
		return r;
	put_head(&bench);
	for (unsigned i = 0; i < opt->threads.n && r == 0; i++)
		r = bench_threads(&bench, opt->threads.values[i], err);
	return r;
}

int lsc_exec_bench_main(int argc, char **argv)
{
	static const struct argp argp = {
		bench_table,
		parse_bench,
		"IMAGE",
		"Measure how fast this node reads prompts and generates tokens with an image.",
		NULL,
		NULL,
		NULL};
	struct bench_options opt = {
		.threads = {{0}, 1},
		.batch = {{1, 8, 16}, 3},
		.prompt = 512,
		.tokens = 32,
		.depth = 64,
		.runs = 3,
	};
	struct lsc_err err = LSC_ERR_INIT;

	opt.threads.values[0] = lsc_pool_cpus();
	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(run(&opt, &err), &err);
}
