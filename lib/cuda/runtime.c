/* runtime - errors of CUDA, and what is asked of a device before anything else */
#include "cuda/runtime.h"

/* What wmma with bf16 and 16-byte loads take for granted. */
#define MIN_MAJOR 8

static int code_of(cudaError_t e)
{
	switch (e) {
	case cudaErrorMemoryAllocation:
		return ENOMEM;
	case cudaErrorNoDevice:
	case cudaErrorInvalidDevice:
	case cudaErrorInsufficientDriver:
		return ENODEV;
	default:
		return EREMOTEIO;
	}
}

int lsc_cuda_check(cudaError_t e, const char *what, struct lsc_err *err)
{
	if (e == cudaSuccess)
		return 0;
	return lsc_err_set(err, code_of(e), "%s: %s", what, cudaGetErrorString(e));
}

int lsc_cuda_check_blas(cublasStatus_t s, const char *what, struct lsc_err *err)
{
	if (s == CUBLAS_STATUS_SUCCESS)
		return 0;
	return lsc_err_set(err, EREMOTEIO, "%s: %s", what, cublasGetStatusString(s));
}

int lsc_cuda_probe(unsigned index, struct lsc_err *err)
{
	int count = 0, major = 0;
	cudaError_t e = cudaGetDeviceCount(&count);

	if (e != cudaSuccess)
		return lsc_err_set(err, ENODEV, "no device: %s", cudaGetErrorString(e));
	if (index >= (unsigned)count)
		return lsc_err_set(err, ENODEV, "no device %u: there are %d", index, count);
	e = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, (int)index);
	if (e == cudaSuccess && major < MIN_MAJOR)
		return lsc_err_set(err, ENODEV,
				   "device %u has compute capability %d, and %d is needed", index,
				   major, MIN_MAJOR);
	return lsc_cuda_check(e, "cannot ask the device", err);
}

int lsc_cuda_zeros(void **ret, size_t bytes, cudaStream_t stream, struct lsc_err *err)
{
	cudaError_t e = cudaMalloc(ret, bytes);

	if (e == cudaSuccess)
		e = cudaMemsetAsync(*ret, 0, bytes, stream);
	return e == cudaSuccess ? 0
				: lsc_err_set(err, code_of(e), "no %zu bytes of GPU memory: %s",
					      bytes, cudaGetErrorString(e));
}
