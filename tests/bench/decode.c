/* How fast the engine decodes and reads prompts, against reading the weights and nothing else.
 *
 *	build/release/bench/decode [SHAPE [THREADS [FORMAT [exact]]]]
 *
 * One JSON line a run: tokens/s, the bytes of weights a second that means, and the share of what
 * plain reading reaches with as many threads.  THREADS 0 is all counts there are.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "exec/engine.h"
#include "exec/pool.h"
#include "toy.h"

#define PROMPT 512
#define BATCH  16

struct reading {
	const uint64_t *words;
	size_t n; /* words of each task */
	uint64_t sums[LSC_POOL_MAX_THREADS * 8];
};

static void read_part(void *data, uint32_t task, unsigned thread)
{
	struct reading *reading = data;
	const uint64_t *p = reading->words + task * reading->n;
	uint64_t a = 0, b = 0, c = 0, d = 0;

	for (size_t i = 0; i + 4 <= reading->n; i += 4) {
		a += p[i];
		b += p[i + 1];
		c += p[i + 2];
		d += p[i + 3];
	}
	reading->sums[thread * 8] += a + b + c + d;
}

/* Bytes a second: the best of five. */
static double read_speed(const struct toy *toy, unsigned threads)
{
	enum { TASKS = 64 };
	struct reading reading = {(const uint64_t *)toy->data, toy->image.bytes / 8 / TASKS, {0}};
	struct lsc_pool *pool;
	double best = 0;

	if (lsc_pool_new(&pool, threads, NULL) < 0)
		return 1;
	for (int i = 0; i < 5; i++) {
		uint64_t start = lsc_clock_ns();

		lsc_pool_run(pool, read_part, &reading, TASKS);
		best = fmax(best,
			    (double)toy->image.bytes * 1e9 / (double)(lsc_clock_ns() - start));
	}
	lsc_pool_free(pool);
	return best;
}

struct subject {
	const char *shape, *kernels, *format;
	bool exact;
	struct toy toy;
	struct lsc_engine *engine;
	unsigned threads;
	double reading;
	float *logits; /* [batch][vocab] */
};

static void say(const struct subject *s, const char *what, uint32_t batch, uint32_t at,
		double tokens_s, double passes_s)
{
	double bytes_s = passes_s * (double)s->toy.image.bytes;

	printf("{\"name\":\"exec-%s\",\"shape\":\"%s\",\"format\":\"%s\",\"kernels\":\"%s\","
	       "\"exact\":%s,\"threads\":%u,\"batch\":%u,\"position\":%u,\"tokens_s\":%.1f,"
	       "\"weights_gb_s\":%."
	       "2f,"
	       "\"read_gb_s\":%.2f,\"of_reading\":%.2f}\n",
	       what, s->shape, s->format, s->kernels, s->exact ? "true" : "false", s->threads,
	       batch, at, tokens_s, bytes_s / 1e9, s->reading / 1e9, bytes_s / s->reading);
	fflush(stdout);
}

/* One pass for a batch of requests at pos; seconds. */
static double pass(struct subject *s, uint32_t batch, uint32_t pos, uint32_t n)
{
	static uint32_t ids[PROMPT];
	struct lsc_work works[BATCH];
	uint64_t start = lsc_clock_ns();

	for (uint32_t i = 0; i < batch; i++)
		works[i] =
			(struct lsc_work){.key = {{0}, i},
					  .last = s->toy.image.config.layers + 1,
					  .pos = pos,
					  .n = n,
					  .ids = ids,
					  .out = s->logits + (size_t)i * s->toy.image.config.vocab};
	lsc_engine_run(s->engine, works, batch, NULL);
	return (double)(lsc_clock_ns() - start) / 1e9;
}

static void bench_decode(struct subject *s, uint32_t batch, uint32_t at)
{
	enum { TOKENS = 24 };
	double best = 1e9, sum = 0;

	for (uint32_t pos = 0; pos < at; pos += PROMPT)
		pass(s, batch, pos, LSC_MIN(PROMPT, at - pos));
	for (uint32_t i = 0; i < TOKENS; i++) {
		double seconds = pass(s, batch, at + i, 1);

		best = fmin(best, seconds);
		sum += seconds;
	}
	say(s, "decode", batch, at, batch * TOKENS / sum, TOKENS / sum);
	say(s, "decode-best", batch, at, batch / best, 1 / best);
}

static void bench_threads(struct subject *s, unsigned threads)
{
	struct lsc_engine_options options = {.threads = threads, .exact = s->exact};
	double seconds;

	s->threads = threads;
	s->reading = read_speed(&s->toy, threads);
	if (lsc_engine_open(&s->engine, &s->toy.image, s->toy.data, &options, NULL) < 0)
		return;
	bench_decode(s, 1, 8);
	bench_decode(s, 1, 1024);
	bench_decode(s, BATCH, 64);
	seconds = pass(s, 1, 0, PROMPT);
	seconds = fmin(seconds, pass(s, 1, 0, PROMPT));
	say(s, "prompt", 1, 0, PROMPT / seconds, 1 / seconds);
	lsc_engine_close(s->engine);
}

/* Weights of the right size: 64 Ki random ones again and again. */
static void fill(struct toy *toy, const struct lsc_tensor *t)
{
	enum { N = 1 << 16 };
	static float values[N];
	uint64_t n = (uint64_t)t->rows * t->cols, size = lsc_dtype_block_bytes(t->dtype);
	float scale = t->rows == 1 ? 1 : 1.7f / sqrtf((float)t->cols);
	uint8_t *to = toy->data + t->offset;

	for (size_t i = 0; i < N; i++)
		values[i] = toy_uniform(toy) * scale;
	lsc_dtype_from_f32(t->dtype, values, to, LSC_MIN(n, N));
	for (uint64_t at = N; at < n; at += N)
		memcpy(to + at * size, to, LSC_MIN(n - at, N) * size);
}

static void make(struct toy *toy, const struct lsc_model_config *config, enum lsc_dtype dtype)
{
	toy->state = 1;
	toy->image.config = *config;
	toy->image.dtype = dtype;
	toy->image.tensors = toy->tensors;
	toy->image.units = toy->units;
	toy->image.n_units = config->layers + 2;
	toy_layout(toy);
	toy->data = aligned_alloc(64, lsc_align_up(toy->image.bytes, 64));
	toy->image.data = toy->data;
	for (uint32_t i = 0; toy->data && i < toy->image.n_tensors; i++)
		fill(toy, &toy->tensors[i]);
}

int main(int argc, char **argv)
{
	static struct subject s;
	const struct lsc_model_config *config;
	unsigned only = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	enum lsc_dtype dtype = LSC_DTYPE_BF16;

	s.shape = argc > 1 ? argv[1] : "smollm2-135m";
	s.format = argc > 3 ? argv[3] : "bf16";
	s.exact = argc > 4 && !strcmp(argv[4], "exact");
	s.kernels = lsc_kernels()->name;
	config = lsc_model_shape(s.shape);
	if (!config || lsc_dtype_parse(s.format, &dtype) < 0) {
		fprintf(stderr, "decode: no shape '%s', or no format '%s'\n", s.shape, s.format);
		return 64;
	}
	make(&s.toy, config, dtype);
	s.logits = malloc(BATCH * (size_t)config->vocab * sizeof(*s.logits));
	if (!s.toy.data || !s.logits) {
		fprintf(stderr, "decode: no memory for '%s'\n", s.shape);
		return 71;
	}
	for (unsigned threads = 1; threads <= lsc_pool_cpus(); threads++)
		if (!only || threads == only)
			bench_threads(&s, threads);
	free(s.logits);
	toy_release(&s.toy);
	return 0;
}
