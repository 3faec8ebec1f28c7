/* random - a mixed counter, and distributions of it */
#include "load/random.h"

#include <math.h>

#define STEP UINT64_C(0x9e3779b97f4a7c15)

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

struct lsc_random lsc_random_of(uint64_t seed, uint64_t a, uint64_t b)
{
	return (struct lsc_random){mix(mix(mix(seed + STEP) + a + STEP) + b + STEP)};
}

uint64_t lsc_random_next(struct lsc_random *random)
{
	return mix(random->state += STEP);
}

uint32_t lsc_random_below(struct lsc_random *random, uint32_t n)
{
	return (uint32_t)((lsc_random_next(random) >> 32) * n >> 32);
}

double lsc_random_unit(struct lsc_random *random)
{
	return ((double)(lsc_random_next(random) >> 12) + 0.5) * 0x1p-52;
}

static double normal(struct lsc_random *random)
{
	double r = sqrt(-2 * log(lsc_random_unit(random)));

	return r * cos(2 * M_PI * lsc_random_unit(random));
}

double lsc_random_gamma(struct lsc_random *random, double shape, double mean)
{
	double d, c, x, v, less = 1, full = shape < 1 ? shape + 1 : shape;

	if (shape == 1)
		return -mean * log(lsc_random_unit(random));
	if (shape < 1)
		less = pow(lsc_random_unit(random), 1 / shape);
	d = full - 1.0 / 3;
	c = 1 / sqrt(9 * d);
	do {
		do {
			x = normal(random);
			v = 1 + c * x;
		} while (v <= 0);
		v = v * v * v;
	} while (log(lsc_random_unit(random)) >= x * x / 2 + d - d * v + d * log(v));
	return d * v * less * mean / shape;
}

double lsc_random_lognormal(struct lsc_random *random, double mean, double cv)
{
	double variance = log1p(cv * cv);

	return mean * exp(sqrt(variance) * normal(random) - variance / 2);
}
