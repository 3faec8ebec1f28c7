/* Sampling: against a plain reference that sorts everything; the distribution of draws; that a draw
 * depends on seed and position alone; what is told of it. */
#include "exec/sample.h"

#include <math.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "tap.h"

#define VOCAB 3000

static struct lsc_sampler sampler;

/* Draws from a copy: logits stay. */
static struct lsc_drawn draw(const float *logits, uint32_t n, const struct lsc_sampling *how,
			     const uint32_t *past, uint32_t n_past, uint32_t pos)
{
	static float copy[VOCAB];
	struct lsc_drawn drawn;
	uint32_t whole = sampler.vocab;

	memcpy(copy, logits, n * sizeof(*copy));
	sampler.vocab = n;
	lsc_sampler_draw(&sampler, copy, how, past, n_past, pos, &drawn);
	sampler.vocab = whole;
	return drawn;
}

static uint32_t state = 1;

static uint32_t next(uint32_t below)
{
	state = state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)(state >> 4) * below >> 28);
}

/* --- the reference: each step as the page says it, over a sorted list --- */

struct entry {
	double logit, weight;
	uint32_t id;
};

static int by_weight(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;

	if (a->logit != b->logit)
		return a->logit > b->logit ? -1 : 1;
	return a->id < b->id ? -1 : 1;
}

static double hash_uniform(uint64_t seed, uint32_t pos)
{
	uint64_t z = seed + 0x9e3779b97f4a7c15u * (pos + 1ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return ldexp((double)((z ^ z >> 31) >> 11), -53);
}

static double total(const struct entry *list, uint32_t n)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += list[i].weight;
	return sum;
}

static uint32_t refer(const float *logits, uint32_t n, const struct lsc_sampling *how,
		      const uint32_t *past, uint32_t n_past, uint32_t pos)
{
	LSC_CLEANUP_FREE struct entry *list = calloc(n, sizeof(*list));
	bool cuts = (how->top_k && how->top_k < n) || how->top_p < 1 || how->min_p > 0;
	double max = -INFINITY, left, got = 0, all;
	uint32_t kept = n, i;

	for (i = 0; i < n; i++) {
		bool seen = false;

		for (uint32_t k = 0; k < n_past; k++)
			seen |= past[k] == i;
		list[i] = (struct entry){logits[i], 0, i};
		if (seen && how->penalty > 0)
			list[i].logit =
				logits[i] > 0 ? logits[i] / how->penalty : logits[i] * how->penalty;
		max = fmax(max, list[i].logit);
	}
	if (how->temp == 0 || cuts)
		qsort(list, n, sizeof(*list), by_weight);
	if (how->temp == 0)
		return list[0].id;
	for (i = 0; i < n; i++)
		list[i].weight = exp((list[i].logit - max) / how->temp);
	if (how->top_k)
		kept = LSC_MIN(kept, how->top_k);
	all = total(list, kept);
	if (how->top_p < 1) {
		for (i = 0; i < kept && got < how->top_p * all; i++)
			got += list[i].weight;
		kept = i;
	}
	for (i = 0; how->min_p > 0 && i < kept && list[i].weight >= how->min_p; i++)
		;
	kept = how->min_p > 0 ? i : kept;
	left = hash_uniform(how->seed, pos) * total(list, kept);
	for (i = 0; i + 1 < kept && left >= list[i].weight; i++)
		left -= list[i].weight;
	return list[i].id;
}

static void fill(float *logits, uint32_t n, int kind)
{
	for (uint32_t i = 0; i < n; i++)
		switch (kind) {
		case 0: /* a few that stand out, as of a model */
			logits[i] = (float)next(1 << 20) / (1 << 18) + (next(100) ? 0 : 9) - 6;
			break;
		case 1: /* nearly flat */
			logits[i] = (float)next(1 << 20) / (1 << 24);
			break;
		case 2: /* many equals */
			logits[i] = (float)next(7) - 3;
			break;
		default: /* sorted already */
			logits[i] = (float)i / 300;
		}
}

static struct lsc_sampling some_sampling(void)
{
	static const float temps[] = {0, 0.2f, 0.7f, 1, 1.9f}, top_ps[] = {1, 0.95f, 0.5f, 1e-6f},
			   min_ps[] = {0, 0, 0.05f, 0.7f}, penalties[] = {0, 1, 1.3f, 0.8f};
	static const uint32_t ks[] = {0, 0, 1, 7, 50, 1000, VOCAB, 100000};

	return (struct lsc_sampling){.temp = temps[next(5)],
				     .top_p = top_ps[next(4)],
				     .min_p = min_ps[next(4)],
				     .penalty = penalties[next(4)],
				     .top_k = ks[next(8)],
				     .seed = next(1000)};
}

static void test_reference(void)
{
	static float logits[VOCAB];
	uint32_t past[200], same = 0, count = 0;

	for (uint32_t i = 0; i < LSC_ARRAY_SIZE(past); i++)
		past[i] = next(VOCAB + 10); /* some are none of its tokens */
	for (int kind = 0; kind < 4; kind++)
		for (int i = 0; i < 500; i++) {
			struct lsc_sampling how = some_sampling();
			uint32_t n = i % 5 ? VOCAB : 1 + next(60), n_past = next(200);
			uint32_t got, want;

			fill(logits, n, kind);
			got = draw(logits, n, &how, past, n_past, (uint32_t)i).token;
			want = refer(logits, n, &how, past, n_past, (uint32_t)i);
			count++;
			same += got == want;
			if (got != want)
				printf("# kind %d of %u: temp %g top_k %u top_p %g min_p %g "
				       "penalty %g: %u, not %u\n",
				       kind, n, how.temp, how.top_k, how.top_p, how.min_p,
				       how.penalty, got, want);
		}
	is_int(same, count, "%u draws are those of a reference that sorts", count);
}

/* --- greedy, and what is no number --- */

static void test_greedy(void)
{
	float logits[6] = {-3, 5, 5, NAN, 4, -INFINITY}, none[3] = {NAN, NAN, -INFINITY};
	struct lsc_sampling how = {.top_p = 1}, cold = {.temp = 1e-3f, .top_p = 1},
			    hot = {.temp = 1000, .top_p = 0.99f, .top_k = 5};
	const uint32_t past[] = {1, 2};
	bool good = true;

	is_int(draw(logits, 6, &how, NULL, 0, 9).token, 1, "the first of equals");
	logits[2] = 5.5f;
	is_int(draw(logits, 6, &how, NULL, 0, 2).token, 2, "the highest");
	is_int(draw(logits, 1, &how, NULL, 0, 0).token, 0, "of one");
	is_int(draw(logits, 6, &cold, NULL, 0, 4).token, 2, "a cold draw is the highest");
	how.penalty = 2;
	is_int(draw(logits, 6, &how, past, 2, 4).token, 4, "the penalty weighs in greedy draws");
	is_int(draw(logits, 6, &how, NULL, 0, 4).token, 2, "and is forgotten by the next");
	for (uint32_t pos = 0; pos < 200; pos++)
		good &= draw(logits, 6, &hot, NULL, 0, pos).token % 4 != 3 &&
			draw(logits, 6, &hot, NULL, 0, pos).token != 5;
	ok(good, "what is no number, or minus infinity, is not drawn");
	is_int(draw(none, 3, &hot, NULL, 0, 1).token, 0,
	       "where nothing can be drawn it is the first");
	logits[3] = INFINITY;
	is_int(draw(logits, 6, &hot, NULL, 0, 1).token, 3, "infinity is drawn");
}

/* --- the distribution --- */

/* Pearson's chi-square of draws at count positions against weights: the draws that are seen. */
static double chi_square(const float *logits, uint32_t n, const struct lsc_sampling *how,
			 const double *want, uint32_t count)
{
	LSC_CLEANUP_FREE double *seen = calloc(n, sizeof(*seen));
	double sum = 0, chi = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += want[i];
	for (uint32_t pos = 0; pos < count; pos++)
		seen[draw(logits, n, how, NULL, 0, pos).token]++;
	for (uint32_t i = 0; i < n; i++) {
		double expected = want[i] / sum * count;

		if (want[i] > 0)
			chi += (seen[i] - expected) * (seen[i] - expected) / expected;
		else if (seen[i])
			return INFINITY;
	}
	return chi;
}

/* Critical values are those of p = 0.001. */
static void test_distribution(void)
{
	const float logits[10] = {1, 0, -1, 2, 0.5f, 1.5f, -0.5f, 0.25f, 1.75f, -2};
	struct lsc_sampling how = {.temp = 0.7f, .top_p = 1, .seed = 77};
	double want[10], chi;

	for (int i = 0; i < 10; i++)
		want[i] = exp(logits[i] / 0.7);
	chi = chi_square(logits, 10, &how, want, 50000);
	ok(chi < 27.9, "50000 draws follow softmax(logits / temp): chi-square %.1f of 9", chi);
	how.top_k = 4; /* ids 3, 8, 5, 0 */
	for (int i = 0; i < 10; i++)
		want[i] = i == 3 || i == 8 || i == 5 || i == 0 ? want[i] : 0;
	chi = chi_square(logits, 10, &how, want, 50000);
	ok(chi < 16.3, "top_k 4: chi-square %.1f of 3, and no others", chi);
	how = (struct lsc_sampling){.temp = 1, .top_p = 0.6f, .seed = 5};
	/* Shares .27 .21 .16 .10: .6 needs three */
	for (int i = 0; i < 10; i++)
		want[i] = i == 3 || i == 8 || i == 5 ? exp(logits[i]) : 0;
	chi = chi_square(logits, 10, &how, want, 50000);
	ok(chi < 13.9, "top_p .6: chi-square %.1f of 2, and no others", chi);
	how = (struct lsc_sampling){.temp = 1, .top_p = 1, .min_p = 0.3f, .seed = 6};
	for (int i = 0; i < 10; i++) /* within log .3 = -1.2 of 2 */
		want[i] = logits[i] >= 0.8f ? exp(logits[i]) : 0;
	chi = chi_square(logits, 10, &how, want, 50000);
	ok(chi < 16.3, "min_p .3: chi-square %.1f of 3, and no others", chi);
}

static void test_repeats(void)
{
	static float logits[VOCAB];
	struct lsc_sampling how = {.temp = 1, .top_p = 0.9f, .seed = 5};
	uint32_t first[64], different = 0;
	bool same = true;

	fill(logits, VOCAB, 1);
	for (uint32_t pos = 0; pos < 64; pos++) {
		first[pos] = draw(logits, VOCAB, &how, NULL, 0, pos).token;
		different += pos && first[pos] != first[pos - 1];
	}
	for (uint32_t pos = 64; pos-- > 0;)
		same &= draw(logits, VOCAB, &how, NULL, 0, pos).token == first[pos];
	ok(same, "seed and position decide, whatever was drawn before");
	ok(different > 32, "positions differ");
	how.seed = 6;
	for (uint32_t pos = 0; pos < 64; pos++)
		same &= draw(logits, VOCAB, &how, NULL, 0, pos).token == first[pos];
	ok(!same, "another seed draws differently");
}

/* --- what is told --- */

static void test_logprobs(void)
{
	static float logits[VOCAB];
	struct lsc_sampling how = {.temp = 0.6f,
				   .top_p = 0.8f,
				   .penalty = 1.5f,
				   .logprobs = true,
				   .top = LSC_SAMPLING_MAX_TOP};
	struct lsc_sampling silent = how;
	double sum = 0, off = 0;
	bool sorted = true, same = true;
	uint32_t past[VOCAB];

	fill(logits, VOCAB, 0);
	for (uint32_t i = 0; i < VOCAB; i++)
		past[i] = i;
	silent.logprobs = false;
	for (uint32_t i = 0; i < VOCAB; i++)
		sum += exp(logits[i]);
	for (uint32_t pos = 0; pos < 50; pos++) {
		struct lsc_drawn drawn = draw(logits, VOCAB, &how, past, VOCAB, pos);

		off = fmax(off, fabs(drawn.logprob - (logits[drawn.token] - log(sum))));
		for (uint32_t i = 0; i < drawn.n_top; i++) {
			const struct lsc_logprob *top = &drawn.top[i];

			off = fmax(off, fabs(top->logprob - (logits[top->token] - log(sum))));
			sorted &= i == 0 || top[-1].logprob >= top->logprob;
		}
		sorted &= drawn.n_top == LSC_SAMPLING_MAX_TOP;
		same &= drawn.token == draw(logits, VOCAB, &silent, past, VOCAB, pos).token;
	}
	ok(off < 1e-4, "logprobs are those of the model's own logits, within %.1g", off);
	ok(sorted, "the %d likeliest come in order", LSC_SAMPLING_MAX_TOP);
	ok(same, "telling them changes no draw");
	how.top = 0;
	is_int(draw(logits, VOCAB, &how, past, 1, 1).n_top, 0, "none but the token's own");
}

int main(void)
{
	if (lsc_sampler_init(&sampler, VOCAB, NULL) < 0)
		return 1;
	test_reference();
	test_greedy();
	test_distribution();
	test_repeats();
	test_logprobs();
	lsc_sampler_release(&sampler);
	return done_testing();
}
