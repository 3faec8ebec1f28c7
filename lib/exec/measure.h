/* How fast an engine is on this machine, and against what: rates of prompts and of generation, and
 * of reading the weights and nothing else, which no generation can beat.
 *
 * What is asked is made up: the arithmetic takes as long whatever the tokens say.  Nothing is
 * sampled and nothing printed in between; one run more than was asked for warms up.  With runs 0
 * that is all there is, and nothing is returned.
 */
#ifndef LSC_EXEC_MEASURE_H
#define LSC_EXEC_MEASURE_H

#include <stdint.h>

#include "base/err.h"
#include "exec/engine.h"

#define LSC_MEASURE_MAX_BATCH 1024

/* Requests of a batch stand at different positions, as in life: this far apart. */
#define LSC_MEASURE_STEP 8

struct lsc_measured {
	double tokens_s;    /* mean of the runs */
	double deviation_s; /* of tokens_s, over the runs */
	double passes_s;    /* through the model; generation: tokens_s / batch */
	uint64_t flop;      /* a pass: additions and multiplications of its products */
};

/* What of an image a pass for one token reads, in bytes. */
uint64_t lsc_measure_weights(const struct lsc_image *image);

/* Bytes a second of reading data with that many threads: the best of several times over it. */
int lsc_measure_reading(const uint8_t *data, uint64_t bytes, unsigned threads, double *ret_bytes_s,
			struct lsc_err *err);

/* One prompt of n tokens. */
int lsc_measure_prompt(struct lsc_engine *engine, const struct lsc_image *image, uint32_t n,
		       unsigned runs, struct lsc_measured *ret, struct lsc_err *err);

/* n tokens for each of batch requests, which have depth positions behind them, and
 * LSC_MEASURE_STEP more each than the one before. */
int lsc_measure_tokens(struct lsc_engine *engine, const struct lsc_image *image, uint32_t batch,
		       uint32_t depth, uint32_t n, unsigned runs, struct lsc_measured *ret,
		       struct lsc_err *err);

/* Positions that the last of them comes to. */
uint64_t lsc_measure_reach(uint32_t batch, uint32_t depth, uint32_t n);

#endif
