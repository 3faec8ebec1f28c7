/* What the tests of lib/cuda share: memory to and from the device, real or emulated. */
#ifndef LSC_TESTS_GPU_H
#define LSC_TESTS_GPU_H

#include <cuda_runtime_api.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "exec/sample.h"
#include "model/dtype.h"
#include "tap.h"

#ifdef LSC_EMULATED
#include "emulate.h"
#define GPU_WHERE "emulated"
#else
#define GPU_WHERE "on the device"
#endif

static cudaStream_t gpu_stream;

/* Whether there is a device; where it must be there, LSC_TEST_REQUIRE has the word gpu. */
static inline bool gpu_start(void)
{
	const char *require = getenv("LSC_TEST_REQUIRE");
	int count = 0;

	if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
		if (require && strstr(require, "gpu"))
			ok(false, "there is a GPU");
		else
			printf("1..0 # SKIP no GPU here\n");
		return false;
	}
	return cudaStreamCreateWithFlags(&gpu_stream, cudaStreamNonBlocking) == cudaSuccess;
}

static inline void gpu_check(cudaError_t e, const char *what)
{
	if (e == cudaSuccess)
		return;
	printf("Bail out! %s: %s\n", what, cudaGetErrorString(e));
	exit(71);
}

#define GPU(call) gpu_check((call), #call)

/* bytes of device memory, from data where it is not NULL. */
static inline void *gpu_new(const void *data, size_t bytes)
{
	void *memory = NULL;

	GPU(cudaMalloc(&memory, bytes));
	if (data) {
		GPU(cudaMemcpyAsync(memory, data, bytes, cudaMemcpyHostToDevice, gpu_stream));
		GPU(cudaStreamSynchronize(gpu_stream));
	}
	return memory;
}

static inline void gpu_get(void *to, const void *from, size_t bytes)
{
	GPU(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, gpu_stream));
	GPU(cudaStreamSynchronize(gpu_stream));
}

/* --- numbers --- */

static uint32_t gpu_seed = 1;

static inline float gpu_uniform(void)
{
	gpu_seed = gpu_seed * 1664525u + 1013904223u;
	return (float)(gpu_seed >> 8) / (1 << 23) - 1;
}

static inline float *gpu_floats(size_t n, float scale)
{
	float *v = malloc(n * sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = gpu_uniform() * scale;
	return v;
}

/* Rounds to a format and back, in place; the packed form is returned. */
static inline void *gpu_pack(enum lsc_dtype dtype, float *v, size_t n)
{
	void *packed = malloc(n * 4);

	lsc_dtype_from_f32(dtype, v, packed, n);
	lsc_dtype_to_f32(dtype, packed, v, n);
	return packed;
}

/* Largest |a - b| over the largest |b|. */
static inline double gpu_off(const float *a, const double *b, size_t n)
{
	double worst = 0, scale = 1e-30;

	for (size_t i = 0; i < n; i++) {
		double off = fabs((double)a[i] - b[i]);

		worst = off > worst || isnan(off) ? off : worst;
		scale = fmax(scale, fabs(b[i]));
		if (isnan(off))
			return INFINITY;
	}
	return worst / scale;
}

/* The token that the CPU draws by temperature and top_p alone, for which logits stay as they are.
 */
static inline uint32_t gpu_cpu_token(struct lsc_sampler *sampler, const float *logits, float temp,
				     float top_p, uint64_t seed, uint32_t pos)
{
	const struct lsc_sampling how = {.temp = temp, .top_p = top_p, .seed = seed};
	struct lsc_drawn drawn;

	lsc_sampler_draw(sampler, (float *)logits, &how, NULL, 0, pos, &drawn);
	return drawn.token;
}

#endif
