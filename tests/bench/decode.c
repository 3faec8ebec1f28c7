/* How fast the engine decodes and reads prompts, against reading the weights and nothing else.
 *
 *	build/release/bench/decode [SHAPE [THREADS]]
 *
 * One JSON line a run: tokens/s, the bytes of weights a second that means, and the share of what
 * plain reading reaches with as many threads.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "exec/engine.h"
#include "exec/pool.h"
#include "toy.h"

#define PROMPT 256

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
	const char *shape, *kernels;
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

	printf("{\"name\":\"exec-%s\",\"shape\":\"%s\",\"kernels\":\"%s\","
	       "\"threads\":%u,\"batch\":%u,\"position\":%u,\"tokens_s\":%.1f,\"weights_gb_s\":%."
	       "2f,"
	       "\"read_gb_s\":%.2f,\"of_reading\":%.2f}\n",
	       what, s->shape, s->kernels, s->threads, batch, at, tokens_s, bytes_s / 1e9,
	       s->reading / 1e9, bytes_s / s->reading);
	fflush(stdout);
}

/* One pass for a batch of requests at pos; seconds. */
static double pass(struct subject *s, uint32_t batch, uint32_t pos, uint32_t n)
{
	static uint32_t ids[PROMPT];
	struct lsc_work works[16];
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
	struct lsc_engine_options options = {.threads = threads};
	double seconds;

	s->threads = threads;
	s->reading = read_speed(&s->toy, threads);
	if (lsc_engine_open(&s->engine, &s->toy.image, s->toy.data, &options, NULL) < 0)
		return;
	bench_decode(s, 1, 8);
	bench_decode(s, 1, 1024);
	bench_decode(s, 8, 64);
	seconds = pass(s, 1, 0, PROMPT);
	seconds = fmin(seconds, pass(s, 1, 0, PROMPT));
	say(s, "prompt", 1, 0, PROMPT / seconds, 1 / seconds);
	lsc_engine_close(s->engine);
}

int main(int argc, char **argv)
{
	static struct subject s;
	const struct lsc_model_config *config;

	s.shape = argc > 1 ? argv[1] : "smollm2-135m";
	s.kernels = lsc_kernels()->name;
	config = lsc_model_shape(s.shape);
	if (!config) {
		fprintf(stderr, "decode: no shape '%s'\n", s.shape);
		return 64;
	}
	toy_init(&s.toy, config, LSC_DTYPE_BF16, 1);
	s.logits = malloc(16 * (size_t)config->vocab * sizeof(*s.logits));
	for (unsigned threads = 1; threads <= lsc_pool_cpus(); threads++)
		if (argc <= 2 || threads == (unsigned)atoi(argv[2]))
			bench_threads(&s, threads);
	free(s.logits);
	toy_release(&s.toy);
	return 0;
}
