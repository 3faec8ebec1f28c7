/* attend_tile - attention of neighbouring positions of one request, on tensor cores
 *
 * A prompt's positions read the same keys.  A block of threads takes 64 queries of one kv head, the
 * heads of its group at each of several positions, and goes through the pages once (FlashAttention,
 * Dao et al. 2022): scores of 16 queries and a page are a warp's, as are their softmax and what is
 * added up of values; keys and values of the page are shared.  wmma's fragments do not say which
 * element a lane has, so sums are rescaled in shared memory.
 */
#include "cuda/launchers.h"
#include "cuda/number.cuh"

#define WARPS   4u
#define THREADS (WARPS * WARP)
#define ROWS    16u /* queries of a warp */
#define QUERIES (WARPS * ROWS)
#define PAGE    ((uint32_t)LSC_CUDA_PAGE)

/* Lengths of rows in shared memory, moved by some elements against bank conflicts; wmma wants
 * multiples of 8 (16 bits) and 4 (floats), and rows of 16 at multiples of 32 bytes. */
#define SCORE_STRIDE  (PAGE + 4)
#define WEIGHT_STRIDE (PAGE + 8)

struct tile_room {
	uint32_t dim;                         /* head_dim rounded up to 16 */
	uint32_t stride, sum_stride;          /* of queries, keys, values; of what is added up */
	size_t keys, values, scores, weights; /* where they begin, in bytes; queries are first */
	size_t sums, stats, bytes;
};

static __device__ __host__ inline tile_room room_of(const lsc_cuda_shape &shape)
{
	tile_room room;

	room.dim = (shape.head_dim + 15) / 16 * 16;
	room.stride = room.dim + 8;
	room.sum_stride = room.dim + 4;
	room.keys = (size_t)QUERIES * room.stride * 2;
	room.values = room.keys + (size_t)PAGE * room.stride * 2;
	room.scores = room.values + (size_t)PAGE * room.stride * 2;
	room.weights = room.scores + (size_t)QUERIES * SCORE_STRIDE * 4;
	room.sums = room.weights + (size_t)QUERIES * WEIGHT_STRIDE * 2;
	room.stats = room.sums + (size_t)QUERIES * room.sum_stride * 4;
	room.bytes = room.stats + (size_t)QUERIES * 3 * 4;
	return room;
}

extern "C" uint32_t lsc_cuda_tile_rows(const struct lsc_cuda_shape *shape)
{
	const uint32_t group = shape->heads / shape->kv_heads;

	return shape->half == LSC_CUDA_F32 ? 0 : QUERIES / group;
}

extern "C" size_t lsc_cuda_tile_shared(const struct lsc_cuda_shape *shape)
{
	return room_of(*shape).bytes;
}

/* Query r of the tile is head r % group at position r / group; what is beyond n is zero. */
template <typename H>
static __device__ void load_queries(const lsc_cuda_attend &job, const tile_room &room,
				    lsc_cuda_tile tile, uint32_t kv_head, H *to)
{
	const uint32_t group = job.shape.heads / job.shape.kv_heads, dim = job.shape.head_dim;

	for (uint32_t i = threadIdx.x; i < QUERIES * room.dim; i += THREADS) {
		const uint32_t r = i / room.dim, d = i % room.dim;
		float v = 0;

		if (r < tile.n * group && d < dim)
			v = job.qkv[(size_t)(tile.row + r / group) * job.qkv_stride +
				    (size_t)(kv_head * group + r % group) * dim + d];
		to[r * room.stride + d] = from_float<H>(v);
	}
}

/* A page's keys or values, 8 elements a thread; the page's own stride is a multiple of that.  What
 * was never written, or is of the page's last user, is zero: nothing times it is nothing. */
template <typename H>
static __device__ void load_page(const H *from, uint32_t stride, uint32_t filled,
				 const tile_room &room, H *to)
{
	const uint32_t eights = room.dim / 8;

	for (uint32_t i = threadIdx.x; i < PAGE * eights; i += THREADS) {
		const uint32_t slot = i / eights, d = i % eights * 8;
		uint4 bits = {0, 0, 0, 0};

		if (slot < filled && d < stride)
			bits = *(const uint4 *)(from + (size_t)slot * stride + d);
		*(uint4 *)(to + slot * room.stride + d) = bits;
	}
}

/* scores [16][page] = queries [16][dim] x keys [page][dim]. */
template <typename H>
static __device__ void warp_scores(const H *queries, const H *keys, const tile_room &room,
				   float *scores)
{
	using namespace nvcuda;

	for (uint32_t t = 0; t < PAGE; t += 16) {
		wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;

		wmma::fill_fragment(sum, 0.0f);
		for (uint32_t d = 0; d < room.dim; d += 16) {
			wmma::fragment<wmma::matrix_a, 16, 16, 16, H, wmma::row_major> a;
			wmma::fragment<wmma::matrix_b, 16, 16, 16, H, wmma::col_major> b;

			wmma::load_matrix_sync(a, queries + d, room.stride);
			wmma::load_matrix_sync(b, keys + (size_t)t * room.stride + d, room.stride);
			wmma::mma_sync(sum, a, b, sum);
		}
		wmma::store_matrix_sync(scores + t, sum, SCORE_STRIDE, wmma::mem_row_major);
	}
	__syncwarp();
}

/* Two lanes a query: weights of the page's positions that it sees, from `from` to before `seen`,
 * and what was added up so far rescaled to the new maximum, -infinity while none was seen. */
template <typename H>
static __device__ void warp_softmax(const float *scores, uint32_t from, uint32_t seen, float scale,
				    const tile_room &room, H *weights, float *sums, float *max,
				    float *sum)
{
	const uint32_t lane = threadIdx.x % WARP, r = lane / 2, first = lane % 2 * (PAGE / 2);
	const float *score = scores + r * SCORE_STRIDE + first;
	H *to = weights + r * WEIGHT_STRIDE + first;
	float high = max[r], old = high, add = 0, alpha;

	for (uint32_t t = 0; t < PAGE / 2; t++)
		if (first + t >= from && first + t < seen)
			high = fmaxf(high, score[t] * scale);
	high = warp_max(high, 2);
	for (uint32_t t = 0; t < PAGE / 2; t++) {
		const bool sees = first + t >= from && first + t < seen;
		const float p = sees ? expf(score[t] * scale - high) : 0;

		to[t] = from_float<H>(p);
		add += to_float(to[t]);
	}
	add = warp_sum(add, 2);
	alpha = old == high ? 1 : expf(old - high);
	for (uint32_t d = lane % 2; d < room.dim; d += 2)
		sums[r * room.sum_stride + d] *= alpha;
	if (lane % 2 == 0) {
		max[r] = high;
		sum[r] = sum[r] * alpha + add;
	}
	__syncwarp();
}

/* sums [16][dim] += weights [16][page] x values [page][dim]. */
template <typename H>
static __device__ void warp_values(const H *weights, const H *values, const tile_room &room,
				   float *sums)
{
	using namespace nvcuda;

	for (uint32_t d = 0; d < room.dim; d += 16) {
		wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;

		wmma::load_matrix_sync(sum, sums + d, room.sum_stride, wmma::mem_row_major);
		for (uint32_t t = 0; t < PAGE; t += 16) {
			wmma::fragment<wmma::matrix_a, 16, 16, 16, H, wmma::row_major> a;
			wmma::fragment<wmma::matrix_b, 16, 16, 16, H, wmma::row_major> b;

			wmma::load_matrix_sync(a, weights + t, WEIGHT_STRIDE);
			wmma::load_matrix_sync(b, values + (size_t)t * room.stride + d,
					       room.stride);
			wmma::mma_sync(sum, a, b, sum);
		}
		wmma::store_matrix_sync(sums + d, sum, room.sum_stride, wmma::mem_row_major);
	}
	__syncwarp();
}

/* blockIdx: tile, kv head. */
template <typename H> __global__ void attend_tiles(lsc_cuda_attend job, const lsc_cuda_tile *tiles)
{
	LSC_SHARED(shared);
	const lsc_cuda_shape &shape = job.shape;
	const tile_room room = room_of(shape);
	const lsc_cuda_tile tile = tiles[blockIdx.x];
	const lsc_cuda_row first = job.rows[tile.row];
	const uint32_t kv_head = blockIdx.y, group = shape.heads / shape.kv_heads;
	const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	const uint32_t last = first.pos + tile.n - 1, dim = shape.head_dim;
	const size_t page_head = (size_t)PAGE * shape.head_stride;
	const float scale = rsqrtf((float)dim);
	/* The lane's query's own position; of those beyond the tile, the last. */
	const uint32_t pos = min(first.pos + (warp * ROWS + lane / 2) / group, last);
	const uint32_t oldest = sees_from(pos, job.window);
	H *queries = (H *)shared + (size_t)warp * ROWS * room.stride;
	H *keys = (H *)(shared + room.keys), *values = (H *)(shared + room.values);
	float *scores = (float *)(shared + room.scores) + (size_t)warp * ROWS * SCORE_STRIDE;
	H *weights = (H *)(shared + room.weights) + (size_t)warp * ROWS * WEIGHT_STRIDE;
	float *sums = (float *)(shared + room.sums);
	float *max = (float *)(shared + room.stats), *sum = max + QUERIES;
	void *const *table = first.table + (size_t)job.layer * shape.max_pages;

	load_queries(job, room, tile, kv_head, (H *)shared);
	for (uint32_t i = threadIdx.x; i < QUERIES * room.sum_stride; i += THREADS)
		sums[i] = 0;
	if (threadIdx.x < QUERIES) {
		max[threadIdx.x] = -INFINITY;
		sum[threadIdx.x] = 0;
	}
	for (uint32_t page = sees_from(first.pos, job.window) / PAGE; page <= last / PAGE; page++) {
		const H *from = (const H *)table[page] + kv_head * page_head;
		const uint32_t begin = page * PAGE;

		load_page(from, shape.head_stride, last - begin + 1, room, keys);
		load_page(from + shape.kv_heads * page_head, shape.head_stride, last - begin + 1,
			  room, values);
		__syncthreads();
		warp_scores(queries, keys, room, scores);
		warp_softmax(scores, oldest < begin ? 0 : oldest - begin,
			     pos < begin ? 0 : pos - begin + 1, scale, room, weights,
			     sums + (size_t)warp * ROWS * room.sum_stride, max + warp * ROWS,
			     sum + warp * ROWS);
		warp_values(weights, values, room, sums + (size_t)warp * ROWS * room.sum_stride);
		__syncthreads();
	}
	for (uint32_t i = threadIdx.x; i < tile.n * group * dim; i += THREADS) {
		const uint32_t r = i / dim, d = i % dim;

		((H *)job.out)[(size_t)(tile.row + r / group) * job.out_stride +
			       (size_t)(kv_head * group + r % group) * dim + d] =
			from_float<H>(sums[r * room.sum_stride + d] / sum[r]);
	}
}

template <typename H>
static cudaError_t start(cudaStream_t stream, const struct lsc_cuda_attend *job,
			 const struct lsc_cuda_tile *tiles, uint32_t n_tiles)
{
	return lsc_launch(attend_tiles<H>, dim3(n_tiles, job->shape.kv_heads), THREADS,
			  room_of(job->shape).bytes, stream, *job, tiles);
}

extern "C" cudaError_t lsc_cuda_attend_tiles(cudaStream_t stream, const struct lsc_cuda_attend *job,
					     const struct lsc_cuda_tile *tiles, uint32_t n_tiles)
{
	return job->shape.half == LSC_CUDA_F16 ? start<__half>(stream, job, tiles, n_tiles)
					       : start<__nv_bfloat16>(stream, job, tiles, n_tiles);
}
