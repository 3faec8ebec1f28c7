/* sample - from logits to a token, a block of threads a row
 *
 * The rules are lsc_sampler_draw()'s: the highest logit (the lowest id among equals), or a draw
 * from exp((logit - max) / temp), cut to the smallest set of probability >= top_p.  Nothing is
 * sorted: the order of floats >= 0 is that of their bits, so the weight at which a sum over the
 * likeliest is reached is found by bisection, 32 sums over the vocabulary, and where equals meet
 * their ids decide. Sums are doubles in a fixed order.  Both cuts, by top_p and by the random
 * number, are such sums.
 */
#include "cuda/launchers.h"
#include "cuda/number.cuh"

#define THREADS 1024u

struct room {
	double sums[THREADS / WARP];
	uint32_t ids[THREADS / WARP];
	float highs[THREADS / WARP];
	uint32_t counts[THREADS];
	double parts[THREADS];
	uint32_t token;
};

static __device__ double block_sum_double(double v, room *at)
{
	for (unsigned step = WARP / 2; step; step /= 2)
		v += __shfl_xor_sync(ALL, v, step);
	if (threadIdx.x % WARP == 0)
		at->sums[threadIdx.x / WARP] = v;
	__syncthreads();
	v = 0;
	for (uint32_t i = 0; i < THREADS / WARP; i++)
		v += at->sums[i];
	__syncthreads();
	return v;
}

/* The highest logit and its id; id 0 and -infinity where no logit is above that. */
static __device__ void find_best(const float *logits, uint32_t vocab, room *at, float *ret_high,
				 uint32_t *ret_id)
{
	float high = -INFINITY;
	uint32_t id = UINT32_MAX;

	for (uint32_t i = threadIdx.x; i < vocab; i += THREADS)
		if (logits[i] > high) {
			high = logits[i];
			id = i;
		}
	for (unsigned step = WARP / 2; step; step /= 2) {
		const float other = __shfl_xor_sync(ALL, high, step);
		const uint32_t other_id = __shfl_xor_sync(ALL, id, step);

		if (other > high || (other == high && other_id < id)) {
			high = other;
			id = other_id;
		}
	}
	if (threadIdx.x % WARP == 0) {
		at->highs[threadIdx.x / WARP] = high;
		at->ids[threadIdx.x / WARP] = id;
	}
	__syncthreads();
	for (uint32_t i = 0; i < THREADS / WARP; i++)
		if (at->highs[i] > high || (at->highs[i] == high && at->ids[i] < id)) {
			high = at->highs[i];
			id = at->ids[i];
		}
	__syncthreads();
	*ret_high = high;
	*ret_id = id == UINT32_MAX ? 0 : id;
}

/* What is drawn from: a row's logits. */
struct source {
	const float *logits;
	uint32_t vocab;
	float high, temp;
};

/* 0 for what is not a number, which is never drawn. */
static __device__ float weight(const source &from, uint32_t i)
{
	const float logit = from.logits[i];

	return logit >= -INFINITY ? expf((logit - from.high) / from.temp) : 0.0f;
}

/* Sum of the weights whose bits are at least `bits`, to every thread. */
static __device__ double sum_from(const source &from, uint32_t bits, room *at)
{
	double sum = 0;

	for (uint32_t i = threadIdx.x; i < from.vocab; i += THREADS) {
		const float w = weight(from, i);

		if (__float_as_uint(w) >= bits)
			sum += w;
	}
	return block_sum_double(sum, at);
}

/* The likeliest weights whose sum passes `want` (reaches it, with `or_equal`): their least weight's
 * bits, the sum of those above it, and how many of that weight are among them, 1 at least. */
struct cut {
	uint32_t bits, n;
	double above;
};

static __device__ cut find_cut(const source &from, double want, bool or_equal, room *at)
{
	uint32_t low = 1, high = __float_as_uint(1.0f), equal = 0; /* weights are 0 < w <= 1 */
	cut found;
	double more, w;

	while (low < high) { /* the highest bits whose sum passes; all, where none does */
		const uint32_t middle = low + (high - low + 1) / 2;
		const double sum = sum_from(from, middle, at);

		if (or_equal ? sum >= want : sum > want)
			low = middle;
		else
			high = middle - 1;
	}
	found.bits = low;
	found.above = sum_from(from, low + 1, at);
	for (uint32_t i = threadIdx.x; i < from.vocab; i += THREADS)
		equal += __float_as_uint(weight(from, i)) == low;
	equal = (uint32_t)block_sum_double(equal, at);
	w = __uint_as_float(low);
	more = (want - found.above) / w;
	more = or_equal ? ceil(more) : floor(more) + 1;
	found.n = more < 1 ? 1 : more < equal ? (uint32_t)more : equal;
	return found;
}

/* The n-th id, from 1, whose weight has these bits; threads have neighbouring ids each. */
static __device__ void find_nth(const source &from, uint32_t bits, uint32_t n, room *at)
{
	const uint32_t each = (from.vocab + THREADS - 1) / THREADS;
	const uint32_t first = min(from.vocab, threadIdx.x * each);
	const uint32_t last = min(from.vocab, first + each);
	uint32_t count = 0, before = 0;

	for (uint32_t i = first; i < last; i++)
		count += __float_as_uint(weight(from, i)) == bits;
	at->counts[threadIdx.x] = count;
	__syncthreads();
	for (uint32_t t = 0; t < threadIdx.x; t++)
		before += at->counts[t];
	if (before < n && n <= before + count)
		for (uint32_t i = first; i < last && before < n; i++)
			if (__float_as_uint(weight(from, i)) == bits && ++before == n)
				at->token = i;
	__syncthreads();
}

/* Without a cut the order is that of ids: the first where the sum so far is beyond left. */
static __device__ void find_by_id(const source &from, double left, room *at)
{
	const uint32_t each = (from.vocab + THREADS - 1) / THREADS;
	const uint32_t first = min(from.vocab, threadIdx.x * each);
	const uint32_t last = min(from.vocab, first + each);
	double sum = 0, before = 0;
	uint32_t seen = UINT32_MAX;

	for (uint32_t i = first; i < last; i++)
		sum += weight(from, i);
	at->parts[threadIdx.x] = sum;
	__syncthreads();
	for (uint32_t t = 0; t < threadIdx.x; t++)
		before += at->parts[t];
	if (before <= left && left < before + sum) {
		for (uint32_t i = first; i < last; i++) {
			const double w = weight(from, i);

			if (w > 0)
				seen = i;
			before += w;
			if (before > left)
				break;
		}
		at->token = seen;
	}
	__syncthreads();
}

__global__ void sample(const float *logits, size_t stride, uint32_t vocab,
		       const lsc_cuda_draw *draws, uint32_t *tokens)
{
	__shared__ room shared;
	const lsc_cuda_draw draw = draws[blockIdx.x];
	source from = {logits + blockIdx.x * stride, vocab, 0, draw.temp};
	double sum;
	uint32_t best;

	if (draw.temp < 0)
		return;
	find_best(from.logits, vocab, &shared, &from.high, &best);
	if (threadIdx.x == 0)
		shared.token = best;
	__syncthreads();
	if (draw.temp > 0 && from.high > -INFINITY && from.high < INFINITY) {
		sum = sum_from(from, 1, &shared);
		if (draw.top_p < 1) {
			cut kept = find_cut(from, draw.top_p * sum, true, &shared);

			sum = kept.above + (double)__uint_as_float(kept.bits) * kept.n;
			kept = find_cut(from, draw.uniform * sum, false, &shared);
			find_nth(from, kept.bits, kept.n, &shared);
		} else {
			find_by_id(from, draw.uniform * sum, &shared);
		}
	}
	if (threadIdx.x == 0)
		tokens[blockIdx.x] = shared.token;
}

extern "C" cudaError_t lsc_cuda_sample(cudaStream_t stream, const float *logits, size_t stride,
				       uint32_t vocab, const struct lsc_cuda_draw *draws,
				       uint32_t n, uint32_t *tokens)
{
	return lsc_launch(sample, dim3(n), THREADS, 0, stream, logits, stride, vocab, draws,
			  tokens);
}
