/* products_q8 - a matrix of 8 bits times a few vectors
 *
 * A block of threads takes a tile of 16 rows; its warps share out the tile's blocks of 32 columns,
 * which are 512 bytes in a row: 16 a lane, 4 rows of 4 columns.  Sums are f32, scaled once a block.
 * Columns that pad the tile have quants of zero, and meet activations that are zero.
 */
#include "cuda/launchers.h"
#include "cuda/number.cuh"

#define WARPS 8u

template <typename H> static __device__ inline void load4(const H *from, float to[4])
{
	const uint2 bits = *(const uint2 *)from;
	const H *v = (const H *)&bits;

#pragma unroll
	for (int i = 0; i < 4; i++)
		to[i] = to_float(v[i]);
}

template <> __device__ inline void load4(const float *from, float to[4])
{
	const float4 v = *(const float4 *)from;

	to[0] = v.x;
	to[1] = v.y;
	to[2] = v.z;
	to[3] = v.w;
}

template <typename H, int M>
__global__ void matvec_q8(const void *matrix, uint32_t rows, uint32_t cols, const H *x,
			  size_t x_stride, uint32_t n, float *y, size_t y_stride, int add)
{
	__shared__ float part[WARPS][M][16];
	const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
	const uint32_t blocks = (uint32_t)(q8_cols(cols) / 32);
	const q8_tile tile = q8_tile_at(matrix, cols, blockIdx.x);
	float sum[M][4] = {{0}};

	for (uint32_t b = warp; b < blocks; b += WARPS) {
		const uint4 bits = ((const uint4 *)(tile.quants + (size_t)b * 512))[lane];
		const int8_t *q = (const int8_t *)&bits;
		float scale[4], a[4];

		load4(tile.scales + (size_t)b * 16 + lane % 4 * 4, scale);
#pragma unroll
		for (int p = 0; p < M; p++) {
			if ((uint32_t)p >= n)
				break;
			load4(x + p * x_stride + (size_t)b * 32 + lane / 4 * 4, a);
#pragma unroll
			for (int r = 0; r < 4; r++) {
				float dot = q[r * 4] * a[0];

				dot = fmaf(q[r * 4 + 1], a[1], dot);
				dot = fmaf(q[r * 4 + 2], a[2], dot);
				dot = fmaf(q[r * 4 + 3], a[3], dot);
				sum[p][r] = fmaf(scale[r], dot, sum[p][r]);
			}
		}
	}
#pragma unroll
	for (int p = 0; p < M; p++)
#pragma unroll
		for (int r = 0; r < 4; r++) {
			float v = sum[p][r];

			for (unsigned step = 4; step < WARP; step *= 2)
				v += __shfl_xor_sync(ALL, v, step);
			if (lane < 4)
				part[warp][p][lane * 4 + r] = v;
		}
	__syncthreads();
	for (uint32_t i = threadIdx.x; i < 16 * n; i += blockDim.x) {
		const uint32_t p = i / 16, r = i % 16, row = blockIdx.x * 16 + r;
		float v = 0, *to = y + p * y_stride + row;

		for (uint32_t w = 0; w < WARPS; w++)
			v += part[w][p][r];
		if (row < rows)
			*to = add ? *to + v : v;
	}
}

extern "C" cudaError_t lsc_cuda_matvec_q8(cudaStream_t stream, enum lsc_cuda_format half,
					  const struct lsc_cuda_matrix *matrix, const void *x,
					  size_t x_stride, uint32_t n, float *y, size_t y_stride,
					  int add)
{
	auto start = [&](auto *type) {
		using H = std::remove_pointer_t<decltype(type)>;
		auto *kernel = n == 1   ? matvec_q8<H, 1>
			       : n <= 4 ? matvec_q8<H, 4>
					: matvec_q8<H, LSC_CUDA_MATVEC_ROWS>;

		return lsc_launch(kernel, dim3((matrix->rows + 15) / 16), WARPS * WARP, 0, stream,
				  matrix->data, matrix->rows, matrix->cols, (const H *)x, x_stride,
				  n, y, y_stride, add);
	};

	return BY_HALF(half, start);
}
