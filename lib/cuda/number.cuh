/* Numbers of each format as floats, one at a time or eight, and what a warp and a block add up. */
#ifndef LSC_CUDA_NUMBER_CUH
#define LSC_CUDA_NUMBER_CUH

#include "cuda/launch.h"

#include <stdint.h>
#include <type_traits>

#define WARP 32u
#define ALL  0xffffffffu /* lanes of a warp */

static __device__ inline float to_float(float v)
{
	return v;
}

static __device__ inline float to_float(__half v)
{
	return __half2float(v);
}

static __device__ inline float to_float(__nv_bfloat16 v)
{
	return __bfloat162float(v);
}

template <typename T> static __device__ inline T from_float(float v);

template <> __device__ inline float from_float<float>(float v)
{
	return v;
}

/* Beyond f16's range the largest that it has: a query meets keys, not infinities. */
template <> __device__ inline __half from_float<__half>(float v)
{
	return __float2half(v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v);
}

template <> __device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float v)
{
	return __float2bfloat16(v);
}

/* Eight in a row, from an address that is a multiple of 16 bytes. */
template <typename T> static __device__ inline void load8(const T *from, float to[8])
{
	const uint4 bits = *(const uint4 *)from;
	const T *v = (const T *)&bits;

#pragma unroll
	for (int i = 0; i < 8; i++)
		to[i] = to_float(v[i]);
}

template <> __device__ inline void load8(const float *from, float to[8])
{
	const float4 a = ((const float4 *)from)[0], b = ((const float4 *)from)[1];

	to[0] = a.x;
	to[1] = a.y;
	to[2] = a.z;
	to[3] = a.w;
	to[4] = b.x;
	to[5] = b.y;
	to[6] = b.z;
	to[7] = b.w;
}

/* Over `lanes` neighbours (a power of two), to each of them. */
static __device__ inline float warp_sum(float v, unsigned lanes)
{
	for (unsigned step = lanes / 2; step; step /= 2)
		v += __shfl_xor_sync(ALL, v, step);
	return v;
}

static __device__ inline float warp_max(float v, unsigned lanes)
{
	for (unsigned step = lanes / 2; step; step /= 2)
		v = fmaxf(v, __shfl_xor_sync(ALL, v, step));
	return v;
}

/* Over a block of whole warps, to each thread; room: a float for each warp. */
static __device__ inline float block_sum(float v, float *room)
{
	const unsigned warps = blockDim.x / WARP, lane = threadIdx.x % WARP;

	v = warp_sum(v, WARP);
	if (lane == 0)
		room[threadIdx.x / WARP] = v;
	__syncthreads();
	v = 0;
	for (unsigned i = 0; i < warps; i++)
		v += room[i];
	__syncthreads();
	return v;
}

/* Calls a generic lambda with a null pointer of the type that half stands for. */
#define BY_HALF(half, call)                                                                        \
	((half) == LSC_CUDA_F16    ? call((__half *)0)                                             \
	 : (half) == LSC_CUDA_BF16 ? call((__nv_bfloat16 *)0)                                      \
				   : call((float *)0))

/* The first position that `pos` sees; window 0: all. */
static __device__ inline uint32_t sees_from(uint32_t pos, uint32_t window)
{
	return window && pos >= window ? pos - window + 1 : 0;
}

/* --- the image's 8 bits --- */

struct q8_tile {
	const int8_t *quants;
	const __half *scales;
};

static __device__ __host__ inline size_t q8_cols(uint32_t cols)
{
	return ((size_t)cols + 31) / 32 * 32;
}

static __device__ __host__ inline size_t q8_tile_bytes(uint32_t cols)
{
	return q8_cols(cols) * 16 + (q8_cols(cols) + 63) / 64 * 64;
}

/* The tile of rows 16 * tile and on. */
static __device__ inline q8_tile q8_tile_at(const void *data, uint32_t cols, uint32_t tile)
{
	const int8_t *base = (const int8_t *)data + tile * q8_tile_bytes(cols);
	q8_tile t = {base, (const __half *)(base + q8_cols(cols) * 16)};

	return t;
}

#endif
