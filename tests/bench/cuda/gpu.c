/* How fast the GPU executes, beside what its memory, its bus and cuBLAS reach.
 *
 *	build/release/bench/gpu [SHAPE [PROMPT]]
 *
 * One JSON line a run.  Ratios are to the ceilings measured first: decoding to copying device
 *memory (each weight is read once a step), a prompt to a GEMM of bf16, loading to copies from
 *pinned memory.  Last comes a prompt that runs while blocks arrive at half that speed: how long
 *after the last of them its first token is there, and how long after it where nothing ran before.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "cuda/runtime.h"
#include "exec/engine.h"
#include "subject.h"

#define RUNS   5
#define TOKENS 32

static double seconds(uint64_t since)
{
	return (double)(lsc_clock_ns() - since) / 1e9;
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "gpu: %s: %s\n", what, why);
	exit(71);
}

static void need(cudaError_t e, const char *what)
{
	if (e != cudaSuccess)
		die(what, cudaGetErrorString(e));
}

/* --- ceilings --- */

struct ceilings {
	double memory; /* bytes a second, read and written */
	double bus;    /* bytes a second, pinned to device */
	double gemm;   /* operations a second, bf16 */
};

/* Best of RUNS: bytes a second of one copy. */
static double copy_speed(cudaStream_t stream, void *to, const void *from, size_t bytes,
			 enum cudaMemcpyKind kind)
{
	double best = 0;

	for (int i = 0; i <= RUNS; i++) {
		uint64_t start = lsc_clock_ns();

		need(cudaMemcpyAsync(to, from, bytes, kind, stream), "copy");
		need(cudaStreamSynchronize(stream), "copy");
		best = fmax(best, i ? (double)bytes / seconds(start) : 0);
	}
	return best;
}

static double gemm_speed(cudaStream_t stream, int n)
{
	const size_t bytes = (size_t)n * (size_t)n * 2;
	const float one = 1, zero = 0;
	void *a, *b, *c;
	cublasHandle_t blas;
	double best = 0;

	if (cublasCreate(&blas) || cublasSetStream(blas, stream))
		die("gemm", "cuBLAS does not open");
	need(cudaMalloc(&a, bytes), "gemm");
	need(cudaMalloc(&b, bytes), "gemm");
	need(cudaMalloc(&c, 2 * bytes), "gemm");
	need(cudaMemsetAsync(a, 0, bytes, stream), "gemm");
	need(cudaMemsetAsync(b, 0, bytes, stream), "gemm");
	for (int i = 0; i <= RUNS; i++) {
		uint64_t start = lsc_clock_ns();

		if (cublasGemmEx(blas, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one, a, CUDA_R_16BF, n,
				 b, CUDA_R_16BF, n, &zero, c, CUDA_R_32F, n, CUBLAS_COMPUTE_32F,
				 CUBLAS_GEMM_DEFAULT))
			die("gemm", "cuBLAS does not multiply");
		need(cudaStreamSynchronize(stream), "gemm");
		best = fmax(best, i ? 2.0 * n * n * n / seconds(start) : 0);
	}
	cudaFree(a);
	cudaFree(b);
	cudaFree(c);
	cublasDestroy(blas);
	return best;
}

static struct ceilings measure_ceilings(void)
{
	const char *size = getenv("LSC_BENCH_GEMM");
	size_t left, total, bytes;
	struct ceilings found;
	cudaStream_t stream;
	void *a, *b, *host;

	need(cudaMemGetInfo(&left, &total), "memory");
	bytes = LSC_MIN(left / 8, 1ul << 30);
	need(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
	need(cudaMalloc(&a, bytes), "memory");
	need(cudaMalloc(&b, bytes), "memory");
	need(cudaHostAlloc(&host, bytes / 4, cudaHostAllocDefault), "pinned memory");
	found.memory = 2 * copy_speed(stream, a, b, bytes, cudaMemcpyDeviceToDevice);
	found.bus = copy_speed(stream, a, host, bytes / 4, cudaMemcpyHostToDevice);
	cudaFree(a);
	cudaFree(b);
	cudaFreeHost(host);
	found.gemm = gemm_speed(stream, size ? LSC_MAX(atoi(size), 1) : 8192);
	cudaStreamDestroy(stream);
	printf("{\"name\":\"gpu-ceilings\",\"memory_gb_s\":%.1f,\"pinned_to_gpu_gb_s\":%.2f,"
	       "\"gemm_bf16_tflop_s\":%.2f}\n",
	       found.memory / 1e9, found.bus / 1e9, found.gemm / 1e12);
	return found;
}

/* --- the engine --- */

struct bench {
	struct subject subject;
	const char *shape;
	struct lsc_engine *engine;
	struct ceilings ceilings;
	uint32_t *ids;
	float *out; /* [vocab] */
	uint32_t prompt;
};

static struct lsc_engine *open_engine(struct bench *bench)
{
	const struct lsc_engine_options options = {.device = &bench->subject.device};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_engine *engine = NULL;

	if (lsc_engine_open(&engine, &bench->subject.toy.image, bench->subject.toy.data, &options,
			    &err) < 0)
		die("engine", err.text);
	return engine;
}

/* One step of `batch` requests, n positions each; the token is drawn on the device. */
static double step(struct bench *bench, uint32_t batch, uint32_t pos, uint32_t n)
{
	static struct lsc_work works[64];
	static struct lsc_draw draws[64];
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t start = lsc_clock_ns();

	for (uint32_t i = 0; i < batch; i++) {
		draws[i] = (struct lsc_draw){.top_p = 1, .pos = pos + n};
		works[i] = (struct lsc_work){
			.key = {{0}, i},
			.last = lsc_model_head_unit(&bench->subject.toy.image.config),
			.pos = pos,
			.n = n,
			.ids = bench->ids,
			.out = bench->out,
			.draw = &draws[i],
		};
	}
	if (lsc_engine_run(bench->engine, works, batch, &err) < 0)
		die("run", err.text);
	for (uint32_t i = 0; i < batch; i++)
		if (works[i].result)
			die("run", strerror(-works[i].result));
	return seconds(start);
}

/* Bytes of matrices that a step reads, and operations that a position takes. */
static double matrix_bytes(const struct bench *bench, bool operations)
{
	const struct lsc_image *image = &bench->subject.toy.image;
	double sum = 0;

	for (uint32_t i = 0; i < image->n_tensors; i++) {
		const struct lsc_tensor *tensor = &image->tensors[i];

		if (tensor->rows == 1 || (tensor->role == LSC_TENSOR_EMBED && !image->config.tied))
			continue;
		sum += operations ? 2.0 * tensor->rows * tensor->cols : (double)tensor->bytes;
	}
	return sum;
}

static void bench_loading(struct bench *bench)
{
	const double bytes = (double)bench->subject.toy.image.bytes;
	double all, again;

	bench->engine = open_engine(bench);
	all = step(bench, 1, 0, 1);
	again = step(bench, 1, 1, 1);
	printf("{\"name\":\"gpu-load\",\"shape\":\"%s\",\"bytes\":%.0f,\"seconds\":%.4f,"
	       "\"gb_s\":%.2f,\"of_pinned\":%.3f}\n",
	       bench->shape, bytes, all - again, bytes / (all - again) / 1e9,
	       bytes / (all - again) / bench->ceilings.bus);
}

static void bench_decode(struct bench *bench, uint32_t batch, uint32_t at)
{
	const double bytes = matrix_bytes(bench, false);
	double sum = 0;

	for (uint32_t pos = 0; pos < at; pos += LSC_MIN(at - pos, bench->prompt))
		step(bench, batch, pos, LSC_MIN(at - pos, bench->prompt));
	for (uint32_t i = 0; i < TOKENS + 2; i++) {
		double took = step(bench, batch, at + i, 1);

		sum += i < 2 ? 0 : took; /* the first two warm up and capture */
	}
	printf("{\"name\":\"gpu-decode\",\"shape\":\"%s\",\"batch\":%u,\"position\":%u,"
	       "\"tokens_s\":%.1f,\"weights_gb_s\":%.1f,\"of_memory\":%.3f}\n",
	       bench->shape, batch, at, batch * TOKENS / sum, bytes * TOKENS / sum / 1e9,
	       bytes * TOKENS / sum / bench->ceilings.memory);
}

static void bench_prompt(struct bench *bench)
{
	const double operations = matrix_bytes(bench, true) * bench->prompt;
	double best = 1e9;

	for (int i = 0; i < 3; i++)
		best = fmin(best, step(bench, 1, 0, bench->prompt));
	printf("{\"name\":\"gpu-prompt\",\"shape\":\"%s\",\"tokens\":%u,\"seconds\":%.4f,"
	       "\"tokens_s\":%.0f,\"tflop_s\":%.2f,\"of_gemm\":%.3f}\n",
	       bench->shape, bench->prompt, best, bench->prompt / best, operations / best / 1e12,
	       operations / best / bench->ceilings.gemm);
}

/* --- execute while load --- */

static void sleep_until(uint64_t ns)
{
	const struct timespec at = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

/* Seconds from the arrival of the last block to the first token: units run as they come, or all
 * when all are there. */
static double after_arrival(struct bench *bench, uint32_t n, bool meanwhile)
{
	const struct lsc_image *image = &bench->subject.toy.image;
	const uint32_t last = image->n_units - 1;
	const double rate = bench->ceilings.bus / 2;
	float *x = malloc((size_t)n * image->config.hidden * sizeof(*x));
	struct lsc_engine *engine = open_engine(bench);
	uint64_t start = lsc_clock_ns(), arrived = start;
	struct lsc_err err = LSC_ERR_INIT;
	double bytes = 0;
	int r = 0;

	for (uint32_t unit = 0; unit <= last && r == 0; unit++) {
		struct lsc_draw draw = {.top_p = 1, .pos = n};
		struct lsc_work work = {.first = meanwhile ? unit : 0,
					.last = unit,
					.n = n,
					.ids = bench->ids,
					.in = x,
					.out = unit == last ? bench->out : x,
					.draw = unit == last ? &draw : NULL};

		bytes += (double)bench->subject.blocks[unit].bytes;
		arrived = start + (uint64_t)(bytes / rate * 1e9);
		sleep_until(arrived);
		if (meanwhile || unit == last)
			r = lsc_engine_run(engine, &work, 1, &err);
		if (r == 0 && work.result < 0)
			r = lsc_err_set(&err, -work.result, "unit %u: %m", unit);
	}
	if (r < 0)
		die("run", err.text);
	free(x);
	lsc_engine_close(engine);
	return seconds(arrived);
}

static void bench_arriving(struct bench *bench)
{
	enum { PROMPT = 16 };
	double meanwhile = 1e9, after = 1e9;

	/* Untied: unit 0 needs no block that comes last. */
	for (int i = 0; i < 3; i++) {
		meanwhile = fmin(meanwhile, after_arrival(bench, PROMPT, true));
		after = fmin(after, after_arrival(bench, PROMPT, false));
	}
	printf("{\"name\":\"gpu-arriving\",\"shape\":\"%s\",\"tokens\":%d,\"rate_gb_s\":%.2f,"
	       "\"first_token_after_last_block_seconds\":%.4f,\"loading_then_seconds\":%.4f,"
	       "\"of_loading_then\":%.3f}\n",
	       bench->shape, PROMPT, bench->ceilings.bus / 2e9, meanwhile, after,
	       meanwhile / after);
}

int main(int argc, char **argv)
{
	static struct bench bench;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_model_config config;
	const struct lsc_model_config *shape;

	if (lsc_cuda_probe(0, &err) < 0) {
		printf("{\"name\":\"gpu\",\"skipped\":\"%s\"}\n", err.text);
		return 0;
	}
	bench.shape = argc > 1 ? argv[1] : "llama-3.2-1b";
	bench.prompt = argc > 2 ? (uint32_t)LSC_MAX(atoi(argv[2]), 1) : 2048;
	shape = lsc_model_shape(bench.shape);
	if (!shape) {
		fprintf(stderr, "gpu: no shape '%s'\n", bench.shape);
		return 64;
	}
	config = *shape;
	config.tied = false; /* so that unit 0 does not wait for the last block */
	bench.ceilings = measure_ceilings();
	subject_init(&bench.subject, &config, LSC_DTYPE_BF16);
	bench.ids = calloc(bench.prompt, sizeof(*bench.ids));
	bench.out = malloc(config.vocab * sizeof(*bench.out));
	bench_loading(&bench);
	bench_decode(&bench, 1, LSC_MIN(64u, bench.prompt));
	bench_decode(&bench, 1, bench.prompt);
	bench_decode(&bench, 8, LSC_MIN(64u, bench.prompt));
	bench_decode(&bench, 32, LSC_MIN(64u, bench.prompt));
	bench_prompt(&bench);
	lsc_engine_close(bench.engine);
	bench_arriving(&bench);
	free(bench.ids);
	free(bench.out);
	subject_release(&bench.subject);
	return 0;
}
