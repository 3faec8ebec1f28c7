/* Starting a kernel in the emulation: stands in for lib/cuda/launch.h. */
#ifndef LSC_CUDA_LAUNCH_H
#define LSC_CUDA_LAUNCH_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <functional>
#include <mma.h>

#define LSC_SHARED(name) unsigned char *name = emulated_shared()

unsigned char *emulated_shared(void);

/* Puts a grid into the stream; fn is what one thread does. */
cudaError_t emulated_launch(dim3 grid, unsigned threads, size_t shared, cudaStream_t stream,
			    std::function<void()> fn);

template <typename... Params, typename... Args>
static cudaError_t lsc_launch(void (*kernel)(Params...), dim3 grid, unsigned threads, size_t shared,
			      cudaStream_t stream, Args... args)
{
	std::function<void(Params...)> typed = kernel;

	return emulated_launch(grid, threads, shared, stream, [=] { typed(args...); });
}

#endif
