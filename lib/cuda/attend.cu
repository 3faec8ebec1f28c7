/* attend - keys and values to their pages, and attention of rows that stand alone
 *
 * Decoding reads all keys and values of a request for one position, so memory is what it takes: a
 * block of threads serves all query heads of a kv head (eight at most), and positions are cut into
 * parts for enough blocks to keep the memory busy.  The parts' sums are put together at the end, by
 * the maximum and the sum that each kept (online softmax, Milakov and Gimelshein 2018; split over
 * positions as in Flash-Decoding, Dao et al. 2023).
 */
#include "cuda/launchers.h"
#include "cuda/number.cuh"

#define WARPS   4u
#define THREADS (WARPS * WARP)
#define GROUP   8u                      /* query heads that a block serves */
#define TILE    (WARPS * LSC_CUDA_PAGE) /* positions between two looks at the maximum */

static_assert(LSC_CUDA_PAGE == 32, "a warp has a lane for each position of a page");

/* --- before attention --- */

/* x / rms(x) * weight of one head, by a warp. */
static __device__ float head_scale(const float *head, uint32_t n, float eps)
{
	float sum = 0;

	for (uint32_t i = threadIdx.x % WARP; i < n; i += WARP)
		sum += head[i] * head[i];
	return 1.0f / sqrtf(warp_sum(sum, WARP) / (float)n + eps);
}

/* A warp for each head of a row: queries, then keys, then values. */
template <typename H>
__global__ void prepare(const lsc_cuda_row *rows, lsc_cuda_shape shape, uint32_t layer,
			void *const *now, float *qkv, size_t qkv_stride, const float *q_norm,
			const float *k_norm, const float *rope)
{
	const lsc_cuda_row row = rows[blockIdx.y];
	const uint32_t lane = threadIdx.x % WARP, h = blockIdx.x * WARPS + threadIdx.x / WARP;
	const uint32_t dim = shape.head_dim, half = dim / 2;
	const uint32_t all = shape.heads + 2 * shape.kv_heads;
	float *head = qkv + blockIdx.y * qkv_stride + (size_t)h * dim;
	const float *cosines = rope + (size_t)row.pos * 2 * half, *sines = cosines + half;
	const bool is_key = h >= shape.heads, is_value = h >= shape.heads + shape.kv_heads;
	const float *weight = is_key ? k_norm : q_norm;
	const uint32_t kv_head = (h - shape.heads) % shape.kv_heads;
	float scale = 1;
	H *to = NULL;

	if (h >= all || !row.table) /* a whole warp */
		return;
	if (h == 0 && lane == 0)
		row.table[(size_t)layer * shape.max_pages + row.pos / LSC_CUDA_PAGE] =
			now[blockIdx.y];
	if (is_key)
		to = (H *)now[blockIdx.y] +
		     ((size_t)(is_value ? shape.kv_heads + kv_head : kv_head) * LSC_CUDA_PAGE +
		      row.pos % LSC_CUDA_PAGE) *
			     shape.head_stride;
	if (is_value) {
		for (uint32_t i = lane; i < dim; i += WARP)
			to[i] = from_float<H>(head[i]);
		return;
	}
	if (weight)
		scale = head_scale(head, dim, shape.eps);
	for (uint32_t i = lane; i < half; i += WARP) {
		float a = head[i] * scale, b = head[half + i] * scale, turned[2];

		if (weight) {
			a *= weight[i];
			b *= weight[half + i];
		}
		turned[0] = a * cosines[i] - b * sines[i];
		turned[1] = b * cosines[i] + a * sines[i];
		if (is_key) {
			to[i] = from_float<H>(turned[0]);
			to[half + i] = from_float<H>(turned[1]);
		} else {
			head[i] = turned[0];
			head[half + i] = turned[1];
		}
	}
}

extern "C" cudaError_t lsc_cuda_prepare(cudaStream_t stream, const struct lsc_cuda_attend *job,
					const float *q_norm, const float *k_norm, const float *rope)
{
	const lsc_cuda_shape *shape = &job->shape;
	const uint32_t heads = shape->heads + 2 * shape->kv_heads;
	auto start = [&](auto *type) {
		using H = std::remove_pointer_t<decltype(type)>;

		return lsc_launch(prepare<H>, dim3((heads + WARPS - 1) / WARPS, job->n), THREADS, 0,
				  stream, job->rows, *shape, job->layer, job->now, job->qkv,
				  job->qkv_stride, q_norm, k_norm, rope);
	};

	return BY_HALF(shape->half, start);
}

/* --- rows alone --- */

/* What a block keeps, in shared memory: sizes in floats. */
struct rows_room {
	uint32_t value_lanes,
		value_groups; /* threads that share a value's elements; how many such */
	size_t q, p, parts, floats;
};

static __device__ __host__ inline rows_room room_of(const lsc_cuda_shape &shape)
{
	rows_room room;

	room.value_lanes = shape.head_stride / 2;
	room.value_groups = THREADS / room.value_lanes;
	room.q = (size_t)GROUP * shape.head_stride;
	room.p = (size_t)GROUP * TILE;
	room.parts = (size_t)room.value_groups * GROUP * shape.head_stride;
	room.floats = room.q + room.p + room.parts + 3 * GROUP;
	return room;
}

/* One of the pages of a tile: a warp's positions against the group's queries.  Eight lanes share a
 * key, four keys go at once. */
template <typename H>
static __device__ void page_scores(const H *keys, const float *q, uint32_t group, uint32_t stride,
				   uint32_t from, uint32_t seen, float *p)
{
	const uint32_t lane = threadIdx.x % WARP, part = lane % 8;

	for (uint32_t slot = lane / 8; slot < LSC_CUDA_PAGE; slot += 4) {
		float sum[GROUP] = {0};

		for (uint32_t d = part * 8; d < stride; d += 64) {
			float k[8];

			load8(keys + (size_t)slot * stride + d, k);
#pragma unroll
			for (uint32_t h = 0; h < GROUP; h++) {
				if (h >= group)
					break;
#pragma unroll
				for (int i = 0; i < 8; i++)
					sum[h] = fmaf(q[h * stride + d + i], k[i], sum[h]);
			}
		}
#pragma unroll
		for (uint32_t h = 0; h < GROUP; h++) {
			if (h >= group)
				break;
			sum[h] = warp_sum(sum[h], 8);
			if (part == 0)
				p[h * TILE + slot] =
					slot >= from && slot < seen ? sum[h] : -INFINITY;
		}
	}
}

/* A head's scores of the tile become weights; what was added up before is worth alpha of itself.
 * By a warp; some position of a tile is always seen. */
static __device__ void tile_softmax(float *p, float *max, float *sum, float *alpha)
{
	const uint32_t lane = threadIdx.x % WARP;
	const float old = *max;
	float high = old, add = 0, by;

	for (uint32_t t = lane; t < TILE; t += WARP)
		high = fmaxf(high, p[t]);
	high = warp_max(high, WARP);
	for (uint32_t t = lane; t < TILE; t += WARP) {
		p[t] = expf(p[t] - high);
		add += p[t];
	}
	add = warp_sum(add, WARP);
	by = expf(old - high);
	if (lane == 0) {
		*max = high;
		*alpha = by;
		*sum = *sum * by + add;
	}
}

/* Two elements of a value for a thread, of every value_groups-th position. */
template <typename H>
static __device__ void add_values(void *const *table, size_t values, uint32_t stride, uint32_t from,
				  uint32_t n, const float *p, uint32_t group, const rows_room &room,
				  float (&sum)[GROUP][2])
{
	const uint32_t d = threadIdx.x % room.value_lanes * 2;
	const uint32_t first = threadIdx.x / room.value_lanes;

	if (first >= room.value_groups)
		return;
	for (uint32_t t = from + first; t < n; t += room.value_groups) {
		const H *page = (const H *)table[t / LSC_CUDA_PAGE] + values;
		const H *value = page + (size_t)(t % LSC_CUDA_PAGE) * stride + d;
		const float2 v = load2(value);

#pragma unroll
		for (uint32_t h = 0; h < GROUP; h++) {
			if (h >= group)
				break;
			sum[h][0] = fmaf(p[h * TILE + t], v.x, sum[h][0]);
			sum[h][1] = fmaf(p[h * TILE + t], v.y, sum[h][1]);
		}
	}
}

struct rows_job : lsc_cuda_attend {
	const uint32_t *index;
	float *partial;
	uint32_t splits, chunks; /* chunks of GROUP heads to a kv head */
};

/* The block's result: out, or its part. */
template <typename H>
static __device__ void give(const rows_job &job, uint32_t i, uint32_t row, uint32_t head,
			    uint32_t group, const float *parts, const float *max, const float *sum)
{
	const rows_room room = room_of(job.shape);
	const uint32_t dim = job.shape.head_dim, stride = job.shape.head_stride;

	for (uint32_t at = threadIdx.x; at < group * dim; at += blockDim.x) {
		const uint32_t h = at / dim, d = at % dim;
		float v = 0;

		for (uint32_t g = 0; g < room.value_groups; g++)
			v += parts[((size_t)g * GROUP + h) * stride + d];
		if (job.splits == 1) {
			((H *)job.out)[row * job.out_stride + (size_t)(head + h) * dim + d] =
				from_float<H>(v / sum[h]);
		} else {
			float *to = job.partial +
				    (((size_t)i * job.shape.heads + head + h) * job.splits +
				     blockIdx.x) *
					    (dim + 2);

			to[2 + d] = v;
			if (d == 0) {
				to[0] = max[h];
				to[1] = sum[h];
			}
		}
	}
}

/* blockIdx: part, chunk of a kv head, row. */
template <typename H> __global__ void attend_rows(rows_job job)
{
	LSC_SHARED(shared);
	const lsc_cuda_shape &shape = job.shape;
	const rows_room room = room_of(shape);
	const uint32_t i = blockIdx.z, row = job.index ? job.index[i] : i;
	const lsc_cuda_row at = job.rows[row];
	const uint32_t kv_head = blockIdx.y / job.chunks, chunk = blockIdx.y % job.chunks;
	const uint32_t of_key = shape.heads / shape.kv_heads, stride = shape.head_stride;
	const uint32_t group = min(GROUP, of_key - chunk * GROUP);
	const uint32_t head = kv_head * of_key + chunk * GROUP;
	const uint32_t n = at.pos + 1, pages = (n + LSC_CUDA_PAGE - 1) / LSC_CUDA_PAGE;
	const uint32_t from = sees_from(at.pos, job.window), begin = from / LSC_CUDA_PAGE;
	const uint32_t each = (pages - begin + job.splits - 1) / job.splits;
	const uint32_t first = min(pages, begin + blockIdx.x * each);
	const uint32_t last = min(pages, first + each);
	const uint32_t warp = threadIdx.x / WARP;
	const size_t keys = (size_t)kv_head * LSC_CUDA_PAGE * stride;
	const size_t values = keys + (size_t)shape.kv_heads * LSC_CUDA_PAGE * stride;
	float *q = (float *)shared, *p = q + room.q, *parts = p + room.p;
	float *max = parts + room.parts, *sum = max + GROUP, *alpha = sum + GROUP;
	float acc[GROUP][2] = {{0}};
	void *const *table;

	if (!at.table)
		return;
	table = at.table + (size_t)job.layer * shape.max_pages;
	for (uint32_t k = threadIdx.x; k < GROUP * stride; k += blockDim.x) {
		const uint32_t h = k / stride, d = k % stride;

		q[k] = h < group && d < shape.head_dim
			       ? job.qkv[row * job.qkv_stride +
					 (size_t)(head + h) * shape.head_dim + d] *
					 rsqrtf((float)shape.head_dim)
			       : 0;
	}
	if (threadIdx.x < GROUP) {
		max[threadIdx.x] = -INFINITY;
		sum[threadIdx.x] = 0;
	}
	__syncthreads();
	for (uint32_t page = first; page < last; page += WARPS) {
		const uint32_t seen = n - page * LSC_CUDA_PAGE; /* from the tile's first on */
		const uint32_t tile = min(min(seen, TILE), (last - page) * LSC_CUDA_PAGE);
		const uint32_t skip = page == begin ? from % LSC_CUDA_PAGE : 0;

		if (page + warp < last)
			page_scores((const H *)table[page + warp] + keys, q, group, stride,
				    warp ? 0 : skip, seen - warp * LSC_CUDA_PAGE,
				    p + warp * LSC_CUDA_PAGE);
		else
			for (uint32_t h = 0; h < group; h++)
				p[h * TILE + threadIdx.x] = -INFINITY;
		__syncthreads();
		for (uint32_t h = warp; h < group; h += WARPS)
			tile_softmax(p + h * TILE, max + h, sum + h, alpha + h);
		__syncthreads();
#pragma unroll
		for (uint32_t h = 0; h < GROUP; h++) {
			if (h >= group)
				break;
			acc[h][0] *= alpha[h];
			acc[h][1] *= alpha[h];
		}
		add_values<H>(table + page, values, stride, skip, tile, p, group, room, acc);
		__syncthreads();
	}
	if (threadIdx.x / room.value_lanes < room.value_groups)
#pragma unroll
		for (uint32_t h = 0; h < GROUP; h++) {
			float *to =
				parts +
				((size_t)(threadIdx.x / room.value_lanes) * GROUP + h) * stride +
				threadIdx.x % room.value_lanes * 2;

			to[0] = acc[h][0];
			to[1] = acc[h][1];
		}
	__syncthreads();
	give<H>(job, i, row, head, group, parts, max, sum);
}

/* The parts of one head of one row; those that had no positions have a sum of 0. */
template <typename H> __global__ void attend_join(rows_job job)
{
	const uint32_t i = blockIdx.y, row = job.index ? job.index[i] : i, head = blockIdx.x;
	const uint32_t dim = job.shape.head_dim;
	const float *parts =
		job.partial + ((size_t)i * job.shape.heads + head) * job.splits * (dim + 2);
	float max = -INFINITY, sum = 0;

	if (!job.rows[row].table)
		return;
	for (uint32_t s = 0; s < job.splits; s++)
		max = fmaxf(max, parts[(size_t)s * (dim + 2)]);
	for (uint32_t s = 0; s < job.splits; s++) {
		const float *part = parts + (size_t)s * (dim + 2);

		sum += part[1] * expf(part[0] - max);
	}
	for (uint32_t d = threadIdx.x; d < dim; d += blockDim.x) {
		float v = 0;

		for (uint32_t s = 0; s < job.splits; s++) {
			const float *part = parts + (size_t)s * (dim + 2);

			v = fmaf(part[2 + d], expf(part[0] - max), v);
		}
		((H *)job.out)[row * job.out_stride + (size_t)head * dim + d] =
			from_float<H>(v / sum);
	}
}

extern "C" cudaError_t lsc_cuda_attend_rows(cudaStream_t stream, const struct lsc_cuda_attend *job,
					    const uint32_t *index, uint32_t n_index,
					    uint32_t splits, float *partial)
{
	const lsc_cuda_shape *shape = &job->shape;
	const uint32_t chunks = (shape->heads / shape->kv_heads + GROUP - 1) / GROUP;
	const rows_job rows = {*job, index, partial, splits, chunks};
	const size_t shared = room_of(*shape).floats * sizeof(float);
	auto start = [&](auto *type) {
		using H = std::remove_pointer_t<decltype(type)>;
		cudaError_t e =
			lsc_launch(attend_rows<H>, dim3(splits, shape->kv_heads * chunks, n_index),
				   THREADS, shared, stream, rows);

		if (e != cudaSuccess || splits == 1)
			return e;
		return lsc_launch(attend_join<H>, dim3(shape->heads, n_index), THREADS, 0, stream,
				  rows);
	};

	return BY_HALF(shape->half, start);
}
