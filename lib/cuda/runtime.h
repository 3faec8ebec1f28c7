/* Errors of CUDA and cuBLAS as the rest of lsc has them: errno, and that library's own words. */
#ifndef LSC_CUDA_RUNTIME_H
#define LSC_CUDA_RUNTIME_H

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include "base/err.h"

/* "WHAT: the runtime's words"; 0 for cudaSuccess. */
int lsc_cuda_check(cudaError_t e, const char *what, struct lsc_err *err);
int lsc_cuda_check_blas(cublasStatus_t s, const char *what, struct lsc_err *err);

/* Whether device `index` is there and new enough: 0 or -ENODEV. */
int lsc_cuda_probe(unsigned index, struct lsc_err *err);

/* Device memory that is full of zeros once the stream is there. */
int lsc_cuda_zeros(void **ret, size_t bytes, cudaStream_t stream, struct lsc_err *err);

#endif
