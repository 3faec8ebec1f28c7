/* Random numbers that a seed repeats, and the distributions that arrivals and lengths have.
 *
 * The generator is a counter that is mixed (Steele, Lea and Flood, "Fast Splittable Pseudorandom
 * Number Generators", 2014), so a pair of seed and number names a stream of its own without a
 * state that was kept: what one request draws does not depend on what others drew.
 */
#ifndef LSC_LOAD_RANDOM_H
#define LSC_LOAD_RANDOM_H

#include <stdint.h>

struct lsc_random {
	uint64_t state;
};

/* The stream that belongs to these numbers. */
struct lsc_random lsc_random_of(uint64_t seed, uint64_t a, uint64_t b);

uint64_t lsc_random_next(struct lsc_random *random);

/* From 0 to n - 1; n > 0. */
uint32_t lsc_random_below(struct lsc_random *random, uint32_t n);

/* Between 0 and 1, neither of them. */
double lsc_random_unit(struct lsc_random *random);

/* Gamma of this shape and mean (shape 1: exponential), by Marsaglia and Tsang, "A Simple Method
 * for Generating Gamma Variables", 2000. */
double lsc_random_gamma(struct lsc_random *random, double shape, double mean);

/* Lognormal of this mean and coefficient of variation. */
double lsc_random_lognormal(struct lsc_random *random, double mean, double cv);

#endif
