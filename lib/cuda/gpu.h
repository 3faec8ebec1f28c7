/* The decoder on a GPU: what backend, buffers and units share.  For lib/cuda alone.
 *
 * gpu.c opens it and checks tensors, step.c takes the rows of a chunk to the device, forward.c puts
 * units into the stream, gpu_run.c runs a chunk: at once, or as a graph that was captured before.
 */
#ifndef LSC_CUDA_GPU_H
#define LSC_CUDA_GPU_H

#include <stdbool.h>
#include <stdint.h>

#include "cuda/launchers.h"
#include "cuda/pages.h"
#include "cuda/runtime.h"
#include "cuda/weights.h"
#include "exec/backend.h"
#include "exec/rope.h"

#define LSC_GPU_MAX_ROWS   1024 /* of a chunk: enough for GEMMs to run at their speed */
#define LSC_GPU_HEAD_ROWS  64   /* rows of logits at once */
#define LSC_GPU_GRAPH_ROWS 64   /* rows of a batch that is run as a graph, at most */
#define LSC_GPU_GRAPHS     7    /* of 1, 2, 4 .. 64 rows */

/* A tensor's shape, and where it is once its block was loaded. */
struct lsc_gpu_tensor {
	struct lsc_cuda_matrix matrix; /* data: NULL */
	uint32_t block;
	uint64_t offset;
	bool is_there; /* in the model */
};

struct lsc_gpu_layer {
	struct lsc_gpu_tensor attn_norm, qkv, qkv_bias, q_norm, k_norm, o;
	struct lsc_gpu_tensor ffn_norm, gate_up, down;
	struct lsc_gpu_tensor up; /* where q8 has it in tiles of its own; else in gate_up */
};

/* The rows of a chunk, as kernels read them.  One copy takes it all to the device: it lies in one
 * piece, in places that only depend on `padded`. */
struct lsc_gpu_step {
	uint32_t first, last; /* units */
	uint32_t n, padded;   /* rows; with those that fill up the batch of a graph */
	uint32_t n_singles, n_tiles, n_heads;
	uint32_t splits; /* of singles */
	bool draws;      /* somebody wants a token of it */

	/* offsets, in bytes */
	size_t rows, now, singles, tiles, heads, draw, bytes;
};

struct lsc_gpu_graph {
	cudaGraphExec_t exec; /* NULL: none yet */
	bool warm;            /* ran once without: kernels that load then cannot be captured */
	uint32_t first, last;
};

struct lsc_gpu {
	const struct lsc_image *image;
	const struct lsc_model_config *config;
	unsigned index;
	int cores;
	cudaStream_t stream;
	cublasHandle_t blas;
	void *blas_room; /* which a graph needs to own */

	struct lsc_cuda_weights *weights;
	struct lsc_gpu_layer *layers;
	struct lsc_gpu_tensor embed, head, final_norm;
	struct lsc_cuda_shape shape;
	uint32_t tile_rows; /* 0: there are no tiles */
	uint32_t qkv_rows;
	struct lsc_cuda_pages pages;

	struct lsc_rope rope;
	void *rope_table; /* the device's */
	uint32_t rope_len;

	/* sized by reserve */
	uint32_t max_rows;
	size_t hidden_stride, qkv_stride, att_stride, gate_up_stride, ffn_stride, vocab_stride;
	void *x, *normed, *qkv, *att, *gate_up, *act, *logits, *partial;
	void *expanded; /* for matrices that a GEMM does not take as they are */
	uint8_t *step_host, *step_device;
	uint32_t *tokens_host, *tokens;

	struct lsc_gpu_graph graphs[LSC_GPU_GRAPHS];
};

/* --- step.c --- */

/* The chunk's rows, in gpu->step_host: -ENOMEM. */
int lsc_gpu_step_fill(struct lsc_gpu *gpu, const struct lsc_chunk *chunk, bool graph,
		      struct lsc_gpu_step *step, struct lsc_err *err);

/* Bytes of a step of so many rows. */
size_t lsc_gpu_step_bytes(const struct lsc_gpu *gpu, uint32_t rows);

/* Parts into which the positions of n rows are cut, for as many blocks as keep a GPU busy. */
uint32_t lsc_gpu_splits(const struct lsc_gpu *gpu, uint32_t n);

/* --- forward.c --- */

/* Bytes of the matrices' rows that are expanded at once. */
#define LSC_GPU_EXPAND_BYTES (64ull << 20)

/* Puts the step's units into the stream, each after its blocks; activations are in x. */
int lsc_gpu_forward(struct lsc_gpu *gpu, const struct lsc_gpu_step *step, struct lsc_err *err);

/* Logits of n <= LSC_GPU_HEAD_ROWS rows of the step's heads, from `at` on, and tokens. */
int lsc_gpu_head(struct lsc_gpu *gpu, const struct lsc_gpu_step *step, uint32_t at, uint32_t n,
		 struct lsc_err *err);

/* --- gpu_run.c --- */

int lsc_gpu_run(struct lsc_gpu *gpu, const struct lsc_chunk *chunk, struct lsc_err *err);

/* Graphs hold pointers: when buffers move they go. */
void lsc_gpu_drop_graphs(struct lsc_gpu *gpu);

#endif
