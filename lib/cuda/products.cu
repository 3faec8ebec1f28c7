/* products - a matrix times a few vectors, at the speed of memory
 *
 * A warp takes one row of the matrix and reads it once, 16 bytes a lane, for all vectors.  Rows
 * whose length is no multiple of 8 are read one element a lane.
 */
#include "cuda/launchers.h"
#include "cuda/number.cuh"

#define WARPS 8u

template <typename W, typename H, int M, bool WIDE>
__global__ void matvec(const W *matrix, uint32_t rows, uint32_t cols, const H *x, size_t x_stride,
		       uint32_t n, float *y, size_t y_stride, int add)
{
	const uint32_t row = blockIdx.x * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
	const W *w = matrix + (size_t)row * cols;
	float sum[M] = {0};

	if (row >= rows) /* a whole warp */
		return;
	if (WIDE) {
#pragma unroll 4
		for (uint32_t c = lane * 8; c < cols; c += WARP * 8) {
			float a[8], b[8];

			load8(w + c, a);
#pragma unroll
			for (int p = 0; p < M; p++) {
				if ((uint32_t)p >= n)
					break;
				load8(x + p * x_stride + c, b);
#pragma unroll
				for (int i = 0; i < 8; i++)
					sum[p] = fmaf(a[i], b[i], sum[p]);
			}
		}
	} else {
		for (uint32_t c = lane; c < cols; c += WARP)
#pragma unroll
			for (int p = 0; p < M; p++)
				if ((uint32_t)p < n)
					sum[p] = fmaf(to_float(w[c]), to_float(x[p * x_stride + c]),
						      sum[p]);
	}
#pragma unroll
	for (int p = 0; p < M; p++) {
		const float all = warp_sum(sum[p], WARP);

		if (lane == 0 && (uint32_t)p < n) {
			float *to = y + p * y_stride + row;

			*to = add ? *to + all : all;
		}
	}
}

struct product {
	cudaStream_t stream;
	const struct lsc_cuda_matrix *matrix;
	const void *x;
	size_t x_stride;
	uint32_t n;
	float *y;
	size_t y_stride;
	int add;
};

template <typename W, typename H, int M> static cudaError_t start_m(const product &p)
{
	const uint32_t rows = p.matrix->rows, cols = p.matrix->cols;
	auto *kernel = cols % 8 ? matvec<W, H, M, false> : matvec<W, H, M, true>;

	return lsc_launch(kernel, dim3((rows + WARPS - 1) / WARPS), WARPS * WARP, 0, p.stream,
			  (const W *)p.matrix->data, rows, cols, (const H *)p.x, p.x_stride, p.n,
			  p.y, p.y_stride, p.add);
}

template <typename W, typename H> static cudaError_t start(const product &p)
{
	return p.n == 1   ? start_m<W, H, 1>(p)
	       : p.n <= 4 ? start_m<W, H, 4>(p)
			  : start_m<W, H, LSC_CUDA_MATVEC_ROWS>(p);
}

template <typename H> static cudaError_t start_half(const product &p)
{
	switch (p.matrix->format) {
	case LSC_CUDA_F16:
		return start<__half, H>(p);
	case LSC_CUDA_BF16:
		return start<__nv_bfloat16, H>(p);
	default:
		return start<float, H>(p);
	}
}

extern "C" cudaError_t lsc_cuda_matvec(cudaStream_t stream, enum lsc_cuda_format half,
				       const struct lsc_cuda_matrix *matrix, const void *x,
				       size_t x_stride, uint32_t n, float *y, size_t y_stride,
				       int add)
{
	const product p = {stream, matrix, x, x_stride, n, y, y_stride, add};

	if (matrix->format == LSC_CUDA_Q8)
		return lsc_cuda_matvec_q8(stream, half, matrix, x, x_stride, n, y, y_stride, add);
	return half == LSC_CUDA_F16    ? start_half<__half>(p)
	       : half == LSC_CUDA_BF16 ? start_half<__nv_bfloat16>(p)
				       : start_half<float>(p);
}

/* --- for a GEMM --- */

template <typename W, typename H> __global__ void expand(const W *from, size_t n, H *to)
{
	const size_t step = (size_t)gridDim.x * blockDim.x;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
		to[i] = from_float<H>(to_float(from[i]));
}

/* A block is 32 columns of 16 rows, a lane 4 of each: what a warp writes of a row is one run. */
template <typename H>
__global__ void expand_q8(const void *matrix, uint32_t rows, uint32_t cols, H *to)
{
	const uint32_t tile = blockIdx.x, lane = threadIdx.x % WARP;
	const uint32_t blocks = (uint32_t)(q8_cols(cols) / 32);
	const q8_tile from = q8_tile_at(matrix, cols, tile);
	const uint32_t first_row = lane % 4 * 4;

	for (uint32_t b = threadIdx.x / WARP; b < blocks; b += blockDim.x / WARP) {
		const uint4 bits = ((const uint4 *)(from.quants + (size_t)b * 512))[lane];
		const int8_t *q = (const int8_t *)&bits;
		const uint32_t first_col = b * 32 + lane / 4 * 4;

		for (uint32_t r = 0; r < 4; r++) {
			const float scale = to_float(from.scales[(size_t)b * 16 + first_row + r]);
			const uint32_t row = tile * 16 + first_row + r;

			for (uint32_t c = 0; c < 4 && row < rows; c++)
				if (first_col + c < cols)
					to[(size_t)row * cols + first_col + c] =
						from_float<H>(q[r * 4 + c] * scale);
		}
	}
}

template <typename H>
static cudaError_t start_expand(cudaStream_t stream, const struct lsc_cuda_matrix *matrix, H *to)
{
	const size_t n = (size_t)matrix->rows * matrix->cols;
	const unsigned threads = WARPS * WARP;
	const dim3 grid((unsigned)(n / threads < 65535 ? n / threads + 1 : 65535));

	switch (matrix->format) {
	case LSC_CUDA_Q8:
		return lsc_launch(expand_q8<H>, dim3((matrix->rows + 15) / 16), threads, 0, stream,
				  matrix->data, matrix->rows, matrix->cols, to);
	case LSC_CUDA_F16:
		return lsc_launch(expand<__half, H>, grid, threads, 0, stream,
				  (const __half *)matrix->data, n, to);
	case LSC_CUDA_BF16:
		return lsc_launch(expand<__nv_bfloat16, H>, grid, threads, 0, stream,
				  (const __nv_bfloat16 *)matrix->data, n, to);
	default:
		return lsc_launch(expand<float, H>, grid, threads, 0, stream,
				  (const float *)matrix->data, n, to);
	}
}

extern "C" cudaError_t lsc_cuda_expand(cudaStream_t stream, enum lsc_cuda_format half,
				       const struct lsc_cuda_matrix *matrix, void *out)
{
	return half == LSC_CUDA_F16    ? start_expand(stream, matrix, (__half *)out)
	       : half == LSC_CUDA_BF16 ? start_expand(stream, matrix, (__nv_bfloat16 *)out)
				       : start_expand(stream, matrix, (float *)out);
}
