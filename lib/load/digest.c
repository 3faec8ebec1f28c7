/* digest - numbers counted in buckets whose width grows with them */
#include "load/digest.h"

#include <math.h>

#include "base/macros.h"

static uint32_t bucket_of(uint64_t value)
{
	unsigned high = value ? 63 - (unsigned)__builtin_clzll(value) : 0;
	unsigned shift = high > LSC_DIGEST_BITS ? high - LSC_DIGEST_BITS : 0;

	return (shift << LSC_DIGEST_BITS) + (uint32_t)(value >> shift);
}

/* The middle of a bucket, within what was seen. */
static uint64_t value_of(const struct lsc_digest *digest, uint32_t bucket)
{
	const uint32_t per_power = 1u << LSC_DIGEST_BITS;
	unsigned shift = bucket < 2 * per_power ? 0 : (bucket >> LSC_DIGEST_BITS) - 1;
	uint64_t low = (uint64_t)(bucket - shift * per_power) << shift;
	uint64_t middle = low + (shift ? UINT64_C(1) << (shift - 1) : 0);

	return LSC_MIN(LSC_MAX(middle, digest->least), digest->most);
}

void lsc_digest_add(struct lsc_digest *digest, uint64_t value)
{
	digest->least = digest->n ? LSC_MIN(digest->least, value) : value;
	digest->most = LSC_MAX(digest->most, value);
	digest->sum += (double)value;
	digest->counts[bucket_of(value)]++;
	digest->n++;
}

uint64_t lsc_digest_at(const struct lsc_digest *digest, double share)
{
	uint64_t rank = (uint64_t)ceil(share * (double)digest->n), below = 0;

	if (!digest->n)
		return 0;
	if (rank >= digest->n)
		return digest->most;
	for (uint32_t i = 0; i < LSC_DIGEST_BUCKETS; i++)
		if ((below += digest->counts[i]) >= LSC_MAX(rank, 1))
			return value_of(digest, i);
	return digest->most;
}

double lsc_digest_mean(const struct lsc_digest *digest)
{
	return digest->n ? digest->sum / (double)digest->n : 0;
}

int lsc_digest_next(const struct lsc_digest *digest, uint32_t *bucket, uint64_t *ret_value,
		    uint64_t *ret_below)
{
	uint64_t below = *bucket ? *ret_below : 0;

	for (; *bucket < LSC_DIGEST_BUCKETS; ++*bucket) {
		if (!digest->counts[*bucket])
			continue;
		*ret_value = value_of(digest, *bucket);
		*ret_below = below + digest->counts[*bucket];
		++*bucket;
		return 1;
	}
	return 0;
}
