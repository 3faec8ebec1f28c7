/* rows - what is done to each row of activations alone: a block a row, or a thread an element */
#include "cuda/launchers.h"
#include "cuda/number.cuh"

#define THREADS 256

extern "C" size_t lsc_cuda_half_bytes(enum lsc_cuda_format half)
{
	return half == LSC_CUDA_F32 ? 4 : 2;
}

extern "C" size_t lsc_cuda_matrix_bytes(enum lsc_cuda_format format, uint32_t rows, uint32_t cols)
{
	if (format == LSC_CUDA_Q8)
		return ((size_t)rows + 15) / 16 * q8_tile_bytes(cols);
	return (size_t)rows * cols * lsc_cuda_half_bytes(format);
}

/* --- embedding --- */

template <typename W>
__global__ void embed(const W *matrix, uint32_t cols, const lsc_cuda_row *rows, float *x,
		      size_t x_stride)
{
	const W *from = matrix + (size_t)rows[blockIdx.x].id * cols;
	float *to = x + blockIdx.x * x_stride;

	for (uint32_t c = threadIdx.x; c < cols; c += blockDim.x)
		to[c] = to_float(from[c]);
}

__global__ void embed_q8(const void *matrix, uint32_t cols, const lsc_cuda_row *rows, float *x,
			 size_t x_stride)
{
	const uint32_t id = rows[blockIdx.x].id, r = id % 16;
	const q8_tile tile = q8_tile_at(matrix, cols, id / 16);
	float *to = x + blockIdx.x * x_stride;

	for (uint32_t c = threadIdx.x; c < cols; c += blockDim.x)
		to[c] = tile.quants[(size_t)(c / 4) * 64 + r * 4 + c % 4] *
			to_float(tile.scales[(size_t)(c / 32) * 16 + r]);
}

extern "C" cudaError_t lsc_cuda_embed(cudaStream_t stream, const struct lsc_cuda_matrix *matrix,
				      const struct lsc_cuda_row *rows, uint32_t n, float *x,
				      size_t x_stride)
{
	const uint32_t cols = matrix->cols;

	switch (matrix->format) {
	case LSC_CUDA_F16:
		return lsc_launch(embed<__half>, dim3(n), THREADS, 0, stream,
				  (const __half *)matrix->data, cols, rows, x, x_stride);
	case LSC_CUDA_BF16:
		return lsc_launch(embed<__nv_bfloat16>, dim3(n), THREADS, 0, stream,
				  (const __nv_bfloat16 *)matrix->data, cols, rows, x, x_stride);
	case LSC_CUDA_Q8:
		return lsc_launch(embed_q8, dim3(n), THREADS, 0, stream, matrix->data, cols, rows,
				  x, x_stride);
	default:
		return lsc_launch(embed<float>, dim3(n), THREADS, 0, stream,
				  (const float *)matrix->data, cols, rows, x, x_stride);
	}
}

/* --- norm --- */

template <typename H>
__global__ void norm(const float *x, size_t x_stride, const uint32_t *index, const float *weight,
		     uint32_t cols, float eps, H *out, size_t out_stride)
{
	__shared__ float room[THREADS / WARP];
	const float *from = x + (index ? index[blockIdx.x] : blockIdx.x) * x_stride;
	H *to = out + blockIdx.x * out_stride;
	float sum = 0, scale;

	for (uint32_t c = threadIdx.x; c < cols; c += blockDim.x)
		sum += from[c] * from[c];
	scale = 1.0f / sqrtf(block_sum(sum, room) / (float)cols + eps);
	for (uint32_t c = threadIdx.x; c < cols; c += blockDim.x)
		to[c] = from_float<H>(from[c] * scale * weight[c]);
}

extern "C" cudaError_t lsc_cuda_norm(cudaStream_t stream, enum lsc_cuda_format half, const float *x,
				     size_t x_stride, const uint32_t *index, const float *weight,
				     uint32_t cols, float eps, uint32_t n, void *out,
				     size_t out_stride)
{
	auto start = [&](auto *type) {
		using H = std::remove_pointer_t<decltype(type)>;

		return lsc_launch(norm<H>, dim3(n), THREADS, 0, stream, x, x_stride, index, weight,
				  cols, eps, (H *)out, out_stride);
	};

	return BY_HALF(half, start);
}

/* --- elements --- */

__global__ void bias_rows(const float *bias, uint32_t cols, float *y, size_t y_stride)
{
	const uint32_t c = blockIdx.x * blockDim.x + threadIdx.x;

	if (c < cols)
		y[blockIdx.y * y_stride + c] = bias[c];
}

extern "C" cudaError_t lsc_cuda_bias(cudaStream_t stream, const float *bias, uint32_t cols,
				     uint32_t n, float *y, size_t y_stride)
{
	return lsc_launch(bias_rows, dim3((cols + THREADS - 1) / THREADS, n), THREADS, 0, stream,
			  bias, cols, y, y_stride);
}

template <typename H>
__global__ void swiglu(const float *in, size_t in_stride, uint32_t ffn, H *out, size_t out_stride)
{
	const uint32_t c = blockIdx.x * blockDim.x + threadIdx.x;
	const float *from = in + blockIdx.y * in_stride;

	if (c < ffn) {
		const float gate = from[c];

		out[blockIdx.y * out_stride + c] =
			from_float<H>(gate / (1.0f + expf(-gate)) * from[ffn + c]);
	}
}

extern "C" cudaError_t lsc_cuda_swiglu(cudaStream_t stream, enum lsc_cuda_format half,
				       const float *in, size_t in_stride, uint32_t ffn, uint32_t n,
				       void *out, size_t out_stride)
{
	auto start = [&](auto *type) {
		using H = std::remove_pointer_t<decltype(type)>;

		return lsc_launch(swiglu<H>, dim3((ffn + THREADS - 1) / THREADS, n), THREADS, 0,
				  stream, in, in_stride, ffn, (H *)out, out_stride);
	};

	return BY_HALF(half, start);
}
