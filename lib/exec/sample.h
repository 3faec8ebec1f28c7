/* From logits to a token.
 *
 * The random number is a hash of (seed, position), so a sampled answer does not depend on where,
 * or how often, a position was computed.
 */
#ifndef LSC_EXEC_SAMPLE_H
#define LSC_EXEC_SAMPLE_H

#include <stdint.h>

/* temp 0: the highest logit, the lowest id among equals.  Else softmax(logits/temp) cut to the
 * smallest set with probability >= top_p.  scratch: [vocab] pairs, allocated by the caller. */
struct lsc_candidate {
	float p;
	uint32_t id;
};

uint32_t lsc_sample(const float *logits, uint32_t vocab, float temp, float top_p, uint64_t seed,
		    uint32_t pos, struct lsc_candidate *scratch);

/* The random number of a position, in [0, 1): for what draws elsewhere by the same rules. */
double lsc_sample_uniform(uint64_t seed, uint32_t pos);

#endif
