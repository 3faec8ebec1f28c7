/* digest: percentiles of many kinds of numbers against those of the sorted numbers themselves */
#include "tap.h"

#include <math.h>

#include "load/digest.h"
#include "load/random.h"

#define N 20000

static struct lsc_digest digest;
static uint64_t values[N];

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The worst error of any percentile, as a share of the exact one. */
static double worst_error(size_t n)
{
	double worst = 0;

	for (int i = 0; i <= 1000; i++) {
		size_t rank = (size_t)ceil(i / 1000.0 * (double)n);
		double exact = (double)values[rank ? rank - 1 : 0];
		double got = (double)lsc_digest_at(&digest, i / 1000.0);

		worst = fmax(worst, exact > 0 ? fabs(got - exact) / exact : got);
	}
	return worst;
}

static void fill(const char *what, uint64_t (*draw)(struct lsc_random *random))
{
	struct lsc_random random = lsc_random_of(1, 2, 3);
	double sum = 0;

	digest = (struct lsc_digest)LSC_DIGEST_INIT;
	for (size_t i = 0; i < N; i++) {
		values[i] = draw(&random);
		lsc_digest_add(&digest, values[i]);
		sum += (double)values[i];
	}
	qsort(values, N, sizeof(values[0]), compare);
	ok(worst_error(N) <= LSC_DIGEST_ERROR, "%s: off by %.5f at most, the bound is %.5f", what,
	   worst_error(N), LSC_DIGEST_ERROR);
	ok(digest.least == values[0] && digest.most == values[N - 1] && digest.n == N,
	   "%s: least, most and count are exact", what);
	ok(fabs(lsc_digest_mean(&digest) / (sum / N) - 1) < 1e-12, "%s: so is the mean", what);
}

static uint64_t small(struct lsc_random *random)
{
	return lsc_random_below(random, 256);
}

static uint64_t even(struct lsc_random *random)
{
	return lsc_random_next(random) >> 34;
}

static uint64_t tailed(struct lsc_random *random)
{
	return (uint64_t)lsc_random_lognormal(random, 5e7, 4);
}

static uint64_t any_size(struct lsc_random *random)
{
	unsigned shift = lsc_random_below(random, 64);

	return lsc_random_next(random) >> shift;
}

static uint64_t alike(struct lsc_random *random)
{
	(void)random;
	return 123456789;
}

static void test_walk(void)
{
	uint64_t value = 0, below = 0, last = 0, last_below = 0;
	uint32_t bucket = 0;
	bool rises = true;

	fill("for a walk", tailed);
	while (lsc_digest_next(&digest, &bucket, &value, &below)) {
		rises = rises && value > last && below > last_below;
		last = value;
		last_below = below;
	}
	ok(rises, "a walk goes up");
	is_int(last_below, N, "and comes by all");
}

int main(void)
{
	is_int(lsc_digest_at(&digest, 0.5), 0, "nothing has no percentile");
	ok(lsc_digest_mean(&digest) == 0, "and no mean");
	fill("small numbers", small);
	ok(worst_error(N) == 0, "which are exact");
	fill("even numbers", even);
	fill("a long tail", tailed);
	fill("any size", any_size);
	fill("all alike", alike);
	lsc_digest_add(&digest, UINT64_MAX);
	ok(lsc_digest_at(&digest, 1) == UINT64_MAX, "the largest there is");
	test_walk();
	return done_testing();
}
