/* What a draw costs over a large vocabulary: microseconds, by what is cut and how flat it is.
 *
 *	build/release/bench/sample [VOCAB]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "exec/sample.h"

#define DRAWS 200

static const struct {
	const char *name;
	struct lsc_sampling how;
} cases[] = {
	{"greedy", {.top_p = 1}},
	{"temp", {.temp = 1, .top_p = 1}},
	{"top_k", {.temp = 1, .top_p = 1, .top_k = 40}},
	{"top_p", {.temp = 1, .top_p = 0.95f}},
	{"min_p", {.temp = 1, .top_p = 1, .min_p = 0.05f}},
	{"all", {.temp = 0.8f, .top_p = 0.95f, .top_k = 40, .min_p = 0.05f, .penalty = 1.1f}},
	{"logprobs", {.temp = 1, .top_p = 0.95f, .logprobs = true, .top = 20}},
};

/* peak 0: flat, as of a model that was never taught; 12: as of one that was. */
static void fill(float *logits, uint32_t n, float peak)
{
	uint32_t state = 1;

	for (uint32_t i = 0; i < n; i++) {
		state = state * 1664525u + 1013904223u;
		logits[i] = (float)(state >> 8) / (1 << 24) * 4 - (i % 997 ? peak : 0);
	}
}

int main(int argc, char **argv)
{
	uint32_t vocab = argc > 1 ? (uint32_t)atoi(argv[1]) : 151936, past[2000];
	float *logits = calloc(vocab, sizeof(*logits)), *copy = calloc(vocab, sizeof(*copy));
	struct lsc_sampler sampler;
	struct lsc_drawn drawn;

	if (!logits || !copy || lsc_sampler_init(&sampler, vocab, NULL) < 0)
		return 71;
	for (uint32_t i = 0; i < LSC_ARRAY_SIZE(past); i++)
		past[i] = i * 71 % vocab;
	for (unsigned flat = 0; flat < 2; flat++)
		for (unsigned i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
			uint64_t took = 0, best = UINT64_MAX;

			fill(logits, vocab, flat ? 0 : 12);
			for (uint32_t pos = 0; pos < DRAWS; pos++) {
				uint64_t start;

				memcpy(copy, logits, vocab * sizeof(*copy));
				start = lsc_clock_ns();
				lsc_sampler_draw(&sampler, copy, &cases[i].how, past,
						 LSC_ARRAY_SIZE(past), pos, &drawn);
				start = lsc_clock_ns() - start;
				took += start;
				best = LSC_MIN(best, start);
			}
			printf("{\"name\":\"sample\",\"case\":\"%s\",\"logits\":\"%s\",\"vocab\":%"
			       "u,"
			       "\"draw_us\":%.1f,\"best_us\":%.1f}\n",
			       cases[i].name, flat ? "flat" : "peaked", vocab,
			       (double)took / DRAWS / 1e3, (double)best / 1e3);
		}
	lsc_sampler_release(&sampler);
	free(logits);
	free(copy);
	return 0;
}
