/* How a token is to be drawn, and what is told of a draw: what requests, frames and samplers share.
 *
 * All zero is greedy, but for top_p, which is 1.  What each number does, and in which order, is in
 * lsc-wire(5), Tokens; exec/sample.h does it.
 */
#ifndef LSC_BASE_SAMPLING_H
#define LSC_BASE_SAMPLING_H

#include <stdbool.h>
#include <stdint.h>

#define LSC_SAMPLING_MAX_TEMP    1000
#define LSC_SAMPLING_MIN_TOP_P   1e-6
#define LSC_SAMPLING_MAX_TOP_K   0x7fffffff
#define LSC_SAMPLING_MIN_PENALTY 0.01
#define LSC_SAMPLING_MAX_PENALTY 100
#define LSC_SAMPLING_MAX_TOP     20 /* of the likeliest tokens that are told */

struct lsc_sampling {
	float temp;     /* 0: greedy */
	float top_p;    /* 1: all */
	float min_p;    /* 0: all */
	float penalty;  /* of tokens that were there before; 0 or 1: none */
	uint32_t top_k; /* 0: all */
	uint64_t seed;
	bool logprobs; /* tell the token's probability */
	uint32_t top;  /* and the likeliest, so many */
};

#define LSC_SAMPLING_INIT                                                                          \
	{                                                                                          \
		.top_p = 1                                                                         \
	}

/* Natural logarithms of probabilities, by the model's own logits. */
struct lsc_logprob {
	uint32_t token;
	float logprob;
};

struct lsc_drawn {
	uint32_t token;
	float logprob; /* of token, where it was asked for */
	uint32_t n_top;
	struct lsc_logprob top[LSC_SAMPLING_MAX_TOP]; /* the likeliest first */
};

static inline bool lsc_sampling_penalises(const struct lsc_sampling *sampling)
{
	return sampling->penalty > 0 && sampling->penalty != 1;
}

/* Whether temperature and top_p are all there is to it. */
static inline bool lsc_sampling_is_plain(const struct lsc_sampling *sampling)
{
	return !lsc_sampling_penalises(sampling) && !sampling->logprobs && !sampling->top_k &&
	       !(sampling->min_p > 0);
}

#endif
