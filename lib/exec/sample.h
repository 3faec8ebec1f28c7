/* From logits to a token, in the order of Hugging Face's generate(): the repetition penalty, then
 * temperature, top_k, top_p and min_p (lsc-wire(5), Tokens).
 *
 * The random number is a hash of (seed, position), so a sampled answer does not depend on where,
 * or how often, a position was computed.  Nothing is allocated by a draw, and nothing sorts the
 * vocabulary: what is cut off is found by selection, in a time that grows with the vocabulary alone
 * (C. A. R. Hoare, Algorithm 65: FIND, 1961; here by weight as well).
 */
#ifndef LSC_EXEC_SAMPLE_H
#define LSC_EXEC_SAMPLE_H

#include <stdint.h>

#include "base/err.h"
#include "base/sampling.h"

struct lsc_candidate {
	float p;
	uint32_t id;
};

struct lsc_sampler { /* scratch for one thread's draws */
	uint32_t vocab;
	struct lsc_candidate *candidates; /* [vocab] */
	struct lsc_candidate *saved;      /* [vocab] */
	uint64_t *seen;                   /* a bit for each id; zero between draws */
};

#define LSC_SAMPLER_INIT                                                                           \
	{                                                                                          \
		0                                                                                  \
	}

int lsc_sampler_init(struct lsc_sampler *sampler, uint32_t vocab, struct lsc_err *err);
void lsc_sampler_release(struct lsc_sampler *sampler);

/* Draws the token at position pos, which follows those in past; these matter to the penalty alone,
 * in whatever order.  Changes logits [vocab].  What is not a number is never drawn, if anything
 * is. */
void lsc_sampler_draw(struct lsc_sampler *sampler, float *logits,
		      const struct lsc_sampling *sampling, const uint32_t *past, uint32_t n_past,
		      uint32_t pos, struct lsc_drawn *ret_drawn);

/* The random number of a position, in [0, 1): for what draws elsewhere by the same rules. */
double lsc_sample_uniform(uint64_t seed, uint32_t pos);

#endif
