/* Starting a kernel, with what kernels are written in. */
#ifndef LSC_CUDA_LAUNCH_H
#define LSC_CUDA_LAUNCH_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>

/* The block's memory that was asked for at the launch.  tests/gpu/emulated has its own. */
#ifndef LSC_SHARED
#define LSC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#endif

/* Whether this kernel could be started.  cudaGetLastError(), which kernel<<<>>> needs, would also
 * tell of an allocation that failed long ago and was dealt with. */
template <typename... Params, typename... Args>
static cudaError_t lsc_launch(void (*kernel)(Params...), dim3 grid, unsigned threads, size_t shared,
			      cudaStream_t stream, Args... args)
{
	cudaLaunchConfig_t config = {};

	config.gridDim = grid;
	config.blockDim = dim3(threads);
	config.dynamicSmemBytes = shared;
	config.stream = stream;
	if (shared > 48 * 1024) {
		cudaError_t e = cudaFuncSetAttribute((const void *)kernel,
						     cudaFuncAttributeMaxDynamicSharedMemorySize,
						     (int)shared);

		if (e != cudaSuccess)
			return e;
	}
	return cudaLaunchKernelEx(&config, kernel, args...);
}

#endif
