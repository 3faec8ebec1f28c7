/* sample - from logits to a token */
#include "exec/sample.h"

#include <math.h>
#include <stdlib.h>

#include "base/macros.h"
#include "exec/kernels.h"

#define FEW 24 /* candidates that are sorted rather than divided */

int lsc_sampler_init(struct lsc_sampler *sampler, uint32_t vocab, struct lsc_err *err)
{
	*sampler = (struct lsc_sampler){
		.vocab = vocab,
		.candidates = calloc(vocab, sizeof(*sampler->candidates)),
		.saved = calloc(vocab, sizeof(*sampler->saved)),
		.seen = calloc(lsc_div_up(vocab, 64), sizeof(*sampler->seen)),
	};
	if (sampler->candidates && sampler->saved && sampler->seen)
		return 0;
	lsc_sampler_release(sampler);
	return lsc_err_set(err, ENOMEM, "no memory for %u candidates", vocab);
}

void lsc_sampler_release(struct lsc_sampler *sampler)
{
	free(sampler->candidates);
	free(sampler->saved);
	free(sampler->seen);
	*sampler = (struct lsc_sampler)LSC_SAMPLER_INIT;
}

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

/* --- selection: likely first, then by id, so that equals have an order too --- */

static bool is_before(const struct lsc_candidate *a, const struct lsc_candidate *b)
{
	return a->p > b->p || (a->p == b->p && a->id < b->id);
}

static void sort_few(struct lsc_candidate *at, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		struct lsc_candidate one = at[i];
		uint32_t k = i;

		for (; k > 0 && is_before(&one, &at[k - 1]); k--)
			at[k] = at[k - 1];
		at[k] = one;
	}
}

static void swap(struct lsc_candidate *a, struct lsc_candidate *b)
{
	struct lsc_candidate old = *a;

	*a = *b;
	*b = old;
}

/* Puts those before one of them in front of it, and the others behind: how many are before it, and
 * their sum.  Which one is arbitrary, and always the same. */
static uint32_t divide(struct lsc_candidate *at, uint32_t n, double *ret_sum)
{
	struct lsc_candidate pivot, *a = &at[n / 4], *b = &at[n / 2], *c = &at[n / 4 * 3];
	struct lsc_candidate *middle = is_before(a, b) ? (is_before(b, c)   ? b
							  : is_before(a, c) ? c
									    : a)
						       : (is_before(a, c)   ? a
							  : is_before(b, c) ? c
									    : b);
	uint32_t before = 0;
	double sum = 0;

	swap(middle, &at[n - 1]);
	pivot = at[n - 1];
	for (uint32_t i = 0; i + 1 < n; i++) {
		struct lsc_candidate one = at[i];
		bool is = is_before(&one, &pivot);

		at[i] = at[before];
		at[before] = one;
		before += is;
		sum += is ? (double)one.p : 0;
	}
	swap(&at[before], &at[n - 1]);
	*ret_sum = sum;
	return before;
}

/* Brings the first k to the front, the last of them last. */
static void select_first(struct lsc_candidate *at, uint32_t n, uint32_t k)
{
	uint32_t from = 0, to = n;
	double sum;

	while (to - from > FEW) {
		uint32_t middle = from + divide(at + from, to - from, &sum);

		if (middle >= k)
			to = middle;
		else
			from = middle + 1;
		if (from == k)
			return;
	}
	sort_few(at + from, to - from);
}

/* Brings the fewest of the first to the front whose sum is at least want, the last of them last:
 * how many, and their sum.  All where that is not reached. */
static uint32_t select_sum(struct lsc_candidate *at, uint32_t n, double want, double *ret_sum)
{
	uint32_t from = 0, to = n;
	double got = 0, sum;

	while (to - from > FEW) {
		uint32_t middle = from + divide(at + from, to - from, &sum);

		if (got + sum >= want) {
			to = middle;
			continue;
		}
		got += sum + at[middle].p;
		from = middle + 1;
		if (got >= want)
			break;
	}
	if (got < want)
		sort_few(at + from, to - from);
	while (from < to && got < want)
		got += at[from++].p;
	*ret_sum = got;
	return from;
}

/* The k best logits, the last of them last; how many there are. */
static uint32_t best_few(const float *logits, uint32_t vocab, uint32_t k, struct lsc_candidate *at)
{
	uint32_t room = (uint32_t)LSC_MIN((uint64_t)vocab, 2 * (uint64_t)k + 256), n = 0;
	float least = -INFINITY;

	for (uint32_t i = 0; i < vocab; i++) {
		if (!(logits[i] > least))
			continue; /* of equals the first stay */
		at[n++] = (struct lsc_candidate){logits[i], i};
		if (n < room || i + 1 == vocab)
			continue;
		select_first(at, n, k);
		n = k;
		least = at[k - 1].p;
	}
	if (n > k)
		select_first(at, n, k);
	return LSC_MIN(n, k);
}

/* --- weights --- */

/* Makes exp((p - max) / temp) of each p; returns the sum. */
static double weigh(struct lsc_candidate *at, uint32_t n, float max, float temp)
{
	enum { STEP = 256 };
	const struct lsc_kernels *kernels = lsc_kernels();
	float part[STEP + 1];
	double sum = 0;

	for (uint32_t from = 0; from < n; from += STEP) {
		uint32_t count = LSC_MIN(n - from, (uint32_t)STEP);

		part[0] = 0; /* the largest of all, so that softmax subtracts nothing more */
		for (uint32_t i = 0; i < count; i++)
			part[i + 1] = (at[from + i].p - max) / temp;
		kernels->softmax(part, count + 1);
		for (uint32_t i = 0; i < count; i++)
			sum += at[from + i].p = part[i + 1];
	}
	return sum;
}

static uint32_t take_all(const float *logits, uint32_t vocab, struct lsc_candidate *at)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < vocab; i++) {
		at[n] = (struct lsc_candidate){logits[i], i};
		n += logits[i] >= -INFINITY;
	}
	return n;
}

/* --- the steps of a draw --- */

/* As CTRL has it (Keskar et al. 2019), over prompt and answer.  What the logits were is saved: so
 * many of them. */
static uint32_t penalise(struct lsc_sampler *sampler, float *logits, float penalty,
			 const uint32_t *past, uint32_t n_past)
{
	struct lsc_candidate *saved = sampler->saved;
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_past; i++) {
		uint32_t id = past[i];

		if (id >= sampler->vocab || (sampler->seen[id / 64] >> id % 64 & 1))
			continue;
		sampler->seen[id / 64] |= 1ull << id % 64;
		saved[n++] = (struct lsc_candidate){logits[id], id};
		logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
	}
	for (uint32_t i = 0; i < n; i++)
		sampler->seen[saved[i].id / 64] = 0;
	return n;
}

/* The likeliest tokens by the model's logits; returns what makes a logit a logprob. */
static double tell_top(struct lsc_sampler *sampler, const float *logits, uint32_t top,
		       struct lsc_drawn *drawn)
{
	struct lsc_candidate *at = sampler->candidates;
	uint32_t vocab = sampler->vocab, n = take_all(logits, vocab, at);
	double max = logits[best(logits, vocab)], less = max + log(weigh(at, n, (float)max, 1));

	n = top ? best_few(logits, vocab, LSC_MIN(top, LSC_SAMPLING_MAX_TOP), at) : 0;
	sort_few(at, n);
	for (uint32_t i = 0; i < n; i++)
		drawn->top[i] = (struct lsc_logprob){at[i].id, (float)(at[i].p - less)};
	drawn->n_top = n;
	return less;
}

/* Cuts n candidates with weights down; how many are left, and their sum. */
static uint32_t cut(struct lsc_candidate *at, uint32_t n, const struct lsc_sampling *sampling,
		    double *sum)
{
	/* Lighter ones cannot be among those that make up top_p, and most are. */
	double least = (1.0 - sampling->top_p) * *sum / n;
	uint32_t kept = 0;

	if (sampling->top_p < 1) {
		for (uint32_t i = 0; i < n; i++) {
			struct lsc_candidate one = at[i];

			at[kept] = one;
			kept += one.p >= least;
		}
		n = select_sum(at, kept, sampling->top_p * *sum, sum);
	}
	if (sampling->min_p <= 0)
		return n;
	kept = 0;
	*sum = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (!(at[i].p >= sampling->min_p)) /* the likeliest has weight 1 */
			continue;
		*sum += at[i].p;
		at[kept++] = at[i];
	}
	return kept;
}

/* Without a cut, in the order of ids. */
static uint32_t draw_any(const struct lsc_candidate *at, uint32_t n, double left)
{
	uint32_t i = 0;

	for (; i + 1 < n; i++) {
		left -= at[i].p;
		if (left < 0)
			break;
	}
	return at[i].id;
}

static uint32_t draw(struct lsc_sampler *sampler, const float *logits,
		     const struct lsc_sampling *sampling, uint32_t pos)
{
	struct lsc_candidate *at = sampler->candidates;
	uint32_t vocab = sampler->vocab, first = best(logits, vocab), n;
	bool few = sampling->top_k && sampling->top_k < vocab;
	double sum, u;

	if (!(sampling->temp > 0) || !isfinite(logits[first]))
		return first;
	n = few ? best_few(logits, vocab, sampling->top_k, at) : take_all(logits, vocab, at);
	sum = weigh(at, n, logits[first], sampling->temp);
	if (!few && !(sampling->top_p < 1) && !(sampling->min_p > 0))
		return draw_any(at, n, lsc_sample_uniform(sampling->seed, pos) * sum);
	n = cut(at, n, sampling, &sum);
	u = lsc_sample_uniform(sampling->seed, pos);
	/* the first at which the sum is above that */
	n = select_sum(at, n, nextafter(u * sum, INFINITY), &sum);
	return at[n - 1].id;
}

void lsc_sampler_draw(struct lsc_sampler *sampler, float *logits,
		      const struct lsc_sampling *sampling, const uint32_t *past, uint32_t n_past,
		      uint32_t pos, struct lsc_drawn *ret_drawn)
{
	struct lsc_drawn *drawn = ret_drawn;
	double less = 0;
	uint32_t n = 0;
	float own;

	drawn->n_top = 0;
	if (sampling->logprobs)
		less = tell_top(sampler, logits, sampling->top, drawn);
	if (lsc_sampling_penalises(sampling))
		n = penalise(sampler, logits, sampling->penalty, past, n_past);
	drawn->token = draw(sampler, logits, sampling, pos);
	own = logits[drawn->token];
	for (uint32_t i = 0; i < n; i++)
		if (sampler->saved[i].id == drawn->token)
			own = sampler->saved[i].p;
	drawn->logprob = sampling->logprobs ? (float)(own - less) : 0;
}
