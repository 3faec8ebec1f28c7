/* Sampling: greedy, the distribution, the nucleus, and that it repeats. */
#include "exec/sample.h"

#include <math.h>

#include "tap.h"

#define VOCAB 1000

static struct lsc_candidate pairs[VOCAB];

static void test_greedy(void)
{
	float logits[6] = {-3, 5, 5, NAN, 4, -INFINITY};

	is_int(lsc_sample(logits, 6, 0, 1, 9, 9, pairs), 1, "the first of equals");
	logits[2] = 5.5f;
	is_int(lsc_sample(logits, 6, 0, 0.1f, 1, 2, pairs), 2, "the highest");
	is_int(lsc_sample(logits, 1, 0, 1, 0, 0, pairs), 0, "of one");
	is_int(lsc_sample(logits, 6, 1e-3f, 1, 3, 4, pairs), 2, "a cold draw is the highest");
}

/* How often each of n tokens is drawn over many positions. */
static void draw(const float *logits, uint32_t n, float temp, float top_p, uint32_t draws,
		 double *ret_share)
{
	for (uint32_t i = 0; i < n; i++)
		ret_share[i] = 0;
	for (uint32_t pos = 0; pos < draws; pos++)
		ret_share[lsc_sample(logits, n, temp, top_p, 77, pos, pairs)] += 1.0 / draws;
}

static void test_distribution(void)
{
	const float logits[5] = {1, 0, -1, 2, 0.5f};
	double share[5], want[5], sum = 0, off = 0;

	draw(logits, 5, 0.7f, 1, 40000, share);
	for (int i = 0; i < 5; i++)
		sum += want[i] = exp(logits[i] / 0.7);
	for (int i = 0; i < 5; i++)
		off = fmax(off, fabs(share[i] - want[i] / sum));
	ok(off < 0.01, "40000 draws follow softmax(logits / temp) within %.4f", off);

	/* Probabilities at temp 1: .563 .207 .126 .076 .028, by rank 3 0 4 1 2. */
	draw(logits, 5, 1, 0.75f, 40000, share);
	ok(share[3] > 0 && share[0] > 0 && share[4] == 0 && share[1] == 0 && share[2] == 0,
	   "top-p .75 keeps .563 and .207");
	ok(fabs(share[3] - 0.7311) < 0.01, "and draws them in proportion (%.4f)", share[3]);
	draw(logits, 5, 1, 0.78f, 4000, share);
	ok(share[4] > 0 && share[1] == 0, "top-p .78 needs a third");
	draw(logits, 5, 1, 1e-6f, 100, share);
	ok(share[3] > 0.999, "a tiny top-p keeps the best");
}

static void test_large(void)
{
	float logits[VOCAB];
	uint32_t first[64], different = 0;
	bool same = true, inside = true;

	for (uint32_t i = 0; i < VOCAB; i++)
		logits[i] = sinf((float)i * 1.7f) * 4 + (i % 13 == 0 ? -INFINITY : 0);
	for (uint32_t pos = 0; pos < 64; pos++) {
		first[pos] = lsc_sample(logits, VOCAB, 1, 0.9f, 5, pos, pairs);
		inside &= first[pos] < VOCAB && first[pos] % 13;
		different += pos && first[pos] != first[pos - 1];
	}
	for (uint32_t pos = 64; pos-- > 0;)
		same &= lsc_sample(logits, VOCAB, 1, 0.9f, 5, pos, pairs) == first[pos];
	ok(same, "seed and position decide, whatever was drawn before");
	ok(inside, "a logit of minus infinity is not drawn");
	ok(different > 32, "positions differ");
	for (uint32_t pos = 0; pos < 64; pos++)
		same &= lsc_sample(logits, VOCAB, 1, 0.9f, 6, pos, pairs) == first[pos];
	ok(!same, "another seed draws differently");
}

int main(void)
{
	test_greedy();
	test_distribution();
	test_large();
	return done_testing();
}
