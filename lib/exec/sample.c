/* sample - from logits to a token */
#include "exec/sample.h"

#include <math.h>
#include <stdlib.h>

#include "exec/kernels.h"

/* The best logit's id; what is not a number never wins. */
static uint32_t best(const float *logits, uint32_t vocab)
{
	uint32_t id = 0;
	float max = -INFINITY;

	for (uint32_t i = 0; i < vocab; i++)
		if (logits[i] > max) {
			max = logits[i];
			id = i;
		}
	return id;
}

/* splitmix64's finaliser. */
double lsc_sample_uniform(uint64_t seed, uint32_t pos)
{
	uint64_t z = seed + 0x9e3779b97f4a7c15u * ((uint64_t)pos + 1);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	return (double)(z >> 11) * 0x1p-53;
}

/* Likely first, then by id, so that equals have an order too. */
static int by_probability(const void *left, const void *right)
{
	const struct lsc_candidate *a = left, *b = right;

	if (a->p != b->p)
		return a->p > b->p ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

/* The candidates' exp(logit/temp), unnormalised; returns how many, and their sum. */
static uint32_t weigh(const float *logits, uint32_t vocab, float temp,
		      struct lsc_candidate *scratch, double *ret_sum)
{
	enum { STEP = 256 };
	const struct lsc_kernels *kernels = lsc_kernels();
	float max = logits[best(logits, vocab)], part[STEP + 1];
	uint32_t n = 0;

	*ret_sum = 0;
	for (uint32_t at = 0; at < vocab; at += STEP) {
		uint32_t count = vocab - at < STEP ? vocab - at : STEP;

		part[0] = 0; /* the largest of all, so that softmax subtracts nothing more */
		for (uint32_t i = 0; i < count; i++)
			part[i + 1] = (logits[at + i] - max) / temp;
		kernels->softmax(part, count + 1);
		for (uint32_t i = 0; i < count; i++) {
			if (!(logits[at + i] >= -INFINITY))
				continue;
			scratch[n++] = (struct lsc_candidate){part[i + 1], at + i};
			*ret_sum += part[i + 1];
		}
	}
	return n;
}

/* Keeps the smallest set of probability >= top_p, sorted; returns its size, and its sum.  Tokens
 * below (1 - top_p) / (n - 1) cannot be in it, and most are: only the rest is sorted. */
static uint32_t cut(struct lsc_candidate *scratch, uint32_t n, float top_p, double *sum)
{
	double want = top_p * *sum, floor = (1.0 - top_p) * *sum / (n > 1 ? n - 1 : 1), got = 0;
	uint32_t kept = 0, i = 0;

	for (uint32_t at = 0; at < n; at++)
		if (scratch[at].p >= floor)
			scratch[kept++] = scratch[at];
	qsort(scratch, kept, sizeof(*scratch), by_probability);
	while (i < kept && (got < want || i == 0))
		got += scratch[i++].p;
	*sum = got;
	return i;
}

uint32_t lsc_sample(const float *logits, uint32_t vocab, float temp, float top_p, uint64_t seed,
		    uint32_t pos, struct lsc_candidate *scratch)
{
	double sum, left;
	uint32_t n, i;

	if (!(temp > 0))
		return best(logits, vocab);
	n = weigh(logits, vocab, temp, scratch, &sum);
	if (n == 0)
		return 0;
	if (top_p < 1)
		n = cut(scratch, n, top_p, &sum);
	left = lsc_sample_uniform(seed, pos) * sum;
	for (i = 0; i + 1 < n; i++) {
		left -= scratch[i].p;
		if (left < 0)
			break;
	}
	return scratch[i].id;
}
