/* The words that kernels are written in, for a C++ compiler. */
#ifndef EMULATED_CUDA_RUNTIME_H
#define EMULATED_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>
#include <functional>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <type_traits>

#include <cuda_fp16.h>

#define __global__
#define __device__
#define __host__
#define __shared__   static /* blocks run one after another */
#define __align__(n) __attribute__((aligned(n)))

struct uint3 {
	unsigned x, y, z;
};

struct dim3 {
	unsigned x, y, z;
	dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
	{
	}
};

struct alignas(16) uint4 {
	unsigned x, y, z, w;
};

struct alignas(8) uint2 {
	unsigned x, y;
};

struct alignas(8) float2 {
	float x, y;
};

struct alignas(16) float4 {
	float x, y, z, w;
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

/* --- launching --- */

#define LSC_SHARED(name) unsigned char *name = emulated_shared()

unsigned char *emulated_shared(void);

struct cudaLaunchConfig_t {
	dim3 gridDim, blockDim;
	size_t dynamicSmemBytes;
	cudaStream_t stream;
};

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute, int value);

/* Puts a grid into the stream; fn is what one thread does. */
cudaError_t emulated_launch(const cudaLaunchConfig_t *config, const void *kernel,
			    std::function<void()> fn);

template <typename... Params, typename... Args>
static cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(Params...),
				      Args... args)
{
	std::function<void(Params...)> typed = kernel;

	return emulated_launch(config, (const void *)kernel, [=] { typed(args...); });
}

/* --- what a thread says --- */

extern "C" {
void emulated_sync_block(void);
void emulated_sync_warp(void);
/* The 8 bytes of lane `from` of this warp. */
uint64_t emulated_exchange(uint64_t bits, unsigned from);
}

static inline void __syncthreads(void)
{
	emulated_sync_block();
}

static inline void __syncwarp(void)
{
	emulated_sync_warp();
}

template <typename T> static inline T __shfl_xor_sync(unsigned mask, T v, unsigned step)
{
	uint64_t bits = 0;

	static_assert(sizeof(T) <= sizeof(bits));
	if (mask != 0xffffffff || step > 31)
		__builtin_trap();
	memcpy(&bits, &v, sizeof(v));
	bits = emulated_exchange(bits, (threadIdx.x % 32) ^ step);
	memcpy(&v, &bits, sizeof(v));
	return v;
}

static inline unsigned min(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static inline float rsqrtf(float v)
{
	return 1.0f / sqrtf(v);
}

static inline unsigned __float_as_uint(float f)
{
	return emulated_bits(f);
}

static inline float __uint_as_float(unsigned bits)
{
	return emulated_float(bits);
}

#endif
