/* A digest of many numbers: their percentiles with a stated error, in memory that does not grow.
 *
 * Numbers are counted in buckets.  Those below 2^(LSC_DIGEST_BITS + 1) have one each; above, each
 * power of two is split into 2^LSC_DIGEST_BITS buckets of one width, and a percentile is the middle
 * of its bucket: off by 1/256 of itself at most (the buckets of Gil Tene's HdrHistogram).  Count,
 * mean, least and most are exact.
 */
#ifndef LSC_LOAD_DIGEST_H
#define LSC_LOAD_DIGEST_H

#include <stdint.h>

#define LSC_DIGEST_BITS    7
#define LSC_DIGEST_BUCKETS ((64 - LSC_DIGEST_BITS + 1) << LSC_DIGEST_BITS)
#define LSC_DIGEST_ERROR   (1.0 / (2 << LSC_DIGEST_BITS))

struct lsc_digest {
	uint64_t n, least, most;
	double sum;
	uint64_t counts[LSC_DIGEST_BUCKETS];
};

#define LSC_DIGEST_INIT                                                                            \
	{                                                                                          \
		0                                                                                  \
	}

void lsc_digest_add(struct lsc_digest *digest, uint64_t value);

/* The smallest number that at least share (0 to 1) of all are not above; 0 where there is none. */
uint64_t lsc_digest_at(const struct lsc_digest *digest, double share);

double lsc_digest_mean(const struct lsc_digest *digest);

/* Walks the buckets that hold something, upwards: sets *ret_value to the middle of the next one and
 * *ret_below to how many numbers are in it and below.  bucket is 0 at first; 0: that was all. */
int lsc_digest_next(const struct lsc_digest *digest, uint32_t *bucket, uint64_t *ret_value,
		    uint64_t *ret_below);

#endif
