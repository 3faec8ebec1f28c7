/* Starting a kernel: the one thing here that only nvcc can say.  tests/gpu/emulated has another. */
#ifndef LSC_CUDA_LAUNCH_H
#define LSC_CUDA_LAUNCH_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>

/* The block's memory that was asked for at the launch. */
#define LSC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]

template <typename... Params, typename... Args>
static cudaError_t lsc_launch(void (*kernel)(Params...), dim3 grid, unsigned threads, size_t shared,
			      cudaStream_t stream, Args... args)
{
	if (shared > 48 * 1024) {
		cudaError_t e = cudaFuncSetAttribute((const void *)kernel,
						     cudaFuncAttributeMaxDynamicSharedMemorySize,
						     (int)shared);

		if (e != cudaSuccess)
			return e;
	}
	kernel<<<grid, threads, shared, stream>>>(args...);
	return cudaGetLastError();
}

#endif
