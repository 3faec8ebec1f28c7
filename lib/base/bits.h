/* Sets of small numbers: number i is bit i % 64 of word i / 64. */
#ifndef LSC_BASE_BITS_H
#define LSC_BASE_BITS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define LSC_BITS_NONE UINT32_MAX

static inline uint32_t lsc_bits_words(uint32_t n)
{
	return n / 64 + (n % 64 != 0);
}

/* An empty set for numbers below n, which free() ends; NULL when out of memory. */
static inline uint64_t *lsc_bits_new(uint32_t n)
{
	return calloc(lsc_bits_words(n) + (size_t)1, sizeof(uint64_t));
}

static inline bool lsc_bits_has(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static inline void lsc_bits_add(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void lsc_bits_remove(uint64_t *bits, uint32_t i)
{
	bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static inline uint32_t lsc_bits_count(const uint64_t *bits, uint32_t n)
{
	uint32_t count = 0;

	for (uint32_t w = 0; w < lsc_bits_words(n); w++)
		count += (uint32_t)__builtin_popcountll(bits[w]);
	return count;
}

#endif
