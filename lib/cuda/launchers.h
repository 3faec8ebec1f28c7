/* The kernels of a decoder on a GPU, as functions that start them on a stream.
 *
 * Activations are rows.  What is added up (the residual x, products) is f32; what a product reads
 * (normed, attended, activated) is of the type `half`: bf16 or f16, or f32 where the matrices are.
 * Every stride is in elements and a multiple of 32; what pads a row to it is zero and stays zero.
 * Pointers are the device's and aligned to 64 bytes at least.  n may be 0 nowhere.
 *
 * A KV page holds LSC_PAGE_POSITIONS positions of one layer: keys [kv_heads][positions][stride],
 * then values likewise, of the type half.  A request's table is [layers][max_pages] of pages.
 */
#ifndef LSC_CUDA_LAUNCHERS_H
#define LSC_CUDA_LAUNCHERS_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LSC_CUDA_PAGE        32  /* LSC_PAGE_POSITIONS */
#define LSC_CUDA_MAX_HEAD    256 /* elements of a head at most */
#define LSC_CUDA_MATVEC_ROWS 8   /* rows of activations that lsc_cuda_matvec() takes at once */
#define LSC_CUDA_MAX_SPLITS  32

/* Formats of matrices: lsc_dtype's f32, f16, bf16, and the image's tiles of 8 bits. */
enum lsc_cuda_format { LSC_CUDA_F32, LSC_CUDA_F16, LSC_CUDA_BF16, LSC_CUDA_Q8 };

struct lsc_cuda_matrix {
	enum lsc_cuda_format format;
	uint32_t rows, cols;
	const void *data; /* row-major; q8 in tiles of 16 rows: quants [cols/4][16][4], then scales
			   * f16 [cols/32][16], cols rounded up to 32, each part to 64 bytes */
};

struct lsc_cuda_row {
	void **table; /* of its request; NULL: a row that only fills up a batch */
	uint32_t pos;
	uint32_t id;
};

struct lsc_cuda_shape {
	enum lsc_cuda_format half; /* not q8 */
	uint32_t heads, kv_heads, head_dim;
	uint32_t head_stride; /* in a page: head_dim rounded up to 8 */
	uint32_t max_pages;   /* of a layer in a table */
	float eps;
};

size_t lsc_cuda_half_bytes(enum lsc_cuda_format half);
size_t lsc_cuda_matrix_bytes(enum lsc_cuda_format format, uint32_t rows, uint32_t cols);

/* --- rows (rows.cu) --- */

/* x[i] = row rows[i].id of the matrix. */
cudaError_t lsc_cuda_embed(cudaStream_t stream, const struct lsc_cuda_matrix *matrix,
			   const struct lsc_cuda_row *rows, uint32_t n, float *x, size_t x_stride);

/* out[i] = x[index ? index[i] : i] / rms * weight. */
cudaError_t lsc_cuda_norm(cudaStream_t stream, enum lsc_cuda_format half, const float *x,
			  size_t x_stride, const uint32_t *index, const float *weight,
			  uint32_t cols, float eps, uint32_t n, void *out, size_t out_stride);

/* y[i] = bias. */
cudaError_t lsc_cuda_bias(cudaStream_t stream, const float *bias, uint32_t cols, uint32_t n,
			  float *y, size_t y_stride);

/* out[i][c] = silu(in[i][c]) * in[i][ffn + c]. */
cudaError_t lsc_cuda_swiglu(cudaStream_t stream, enum lsc_cuda_format half, const float *in,
			    size_t in_stride, uint32_t ffn, uint32_t n, void *out,
			    size_t out_stride);

/* --- products (products.cu, products_q8.cu) --- */

/* y[i] (+)= matrix x[i], i < n <= LSC_CUDA_MATVEC_ROWS: reads the matrix once. */
cudaError_t lsc_cuda_matvec(cudaStream_t stream, enum lsc_cuda_format half,
			    const struct lsc_cuda_matrix *matrix, const void *x, size_t x_stride,
			    uint32_t n, float *y, size_t y_stride, int add);
cudaError_t lsc_cuda_matvec_q8(cudaStream_t stream, enum lsc_cuda_format half,
			       const struct lsc_cuda_matrix *matrix, const void *x, size_t x_stride,
			       uint32_t n, float *y, size_t y_stride, int add);

/* The matrix as row-major `half`, for a GEMM. */
cudaError_t lsc_cuda_expand(cudaStream_t stream, enum lsc_cuda_format half,
			    const struct lsc_cuda_matrix *matrix, void *out);

/* --- attention (attend.cu, attend_tile.cu) --- */

/* Kernels get it as it is. */
struct lsc_cuda_attend {
	struct lsc_cuda_shape shape;
	const struct lsc_cuda_row *rows;
	uint32_t n;
	uint32_t layer;
	uint32_t window;  /* positions that one sees, its own the last; 0: all before it */
	void *const *now; /* [n]: the page that holds the row's own position */
	float *qkv;       /* [n][qkv_stride]: queries, keys, values of all heads */
	size_t qkv_stride;
	void *out; /* half [n][out_stride] */
	size_t out_stride;
};

/* Norms (where there are weights) and turns queries, in place, and keys; keys and values go to
 * their pages, the pages into their tables.  rope is [positions][2][head_dim / 2]. */
cudaError_t lsc_cuda_prepare(cudaStream_t stream, const struct lsc_cuda_attend *job,
			     const float *q_norm, const float *k_norm, const float *rope);

/* Attention of rows index[0 .. n_index-1] (NULL: all), each alone over the pages of its positions,
 * cut into so many parts.  partial: [n_index][heads][splits][head_dim + 2]; unused for 1. */
cudaError_t lsc_cuda_attend_rows(cudaStream_t stream, const struct lsc_cuda_attend *job,
				 const uint32_t *index, uint32_t n_index, uint32_t splits,
				 float *partial);

/* Rows that are neighbouring positions of one request share what they read. */
struct lsc_cuda_tile {
	uint32_t row, n; /* n <= lsc_cuda_tile_rows() */
};

/* Positions in a tile; 0 where the shape has none: f32, or too many heads to a key. */
uint32_t lsc_cuda_tile_rows(const struct lsc_cuda_shape *shape);

/* Shared memory that tiles need, in bytes. */
size_t lsc_cuda_tile_shared(const struct lsc_cuda_shape *shape);

cudaError_t lsc_cuda_attend_tiles(cudaStream_t stream, const struct lsc_cuda_attend *job,
				  const struct lsc_cuda_tile *tiles, uint32_t n_tiles);

/* --- sampling (sample.cu) --- */

struct lsc_cuda_draw {
	float temp, top_p; /* as lsc_sampling; temp < 0: nothing is wanted of this row */
	double uniform;    /* lsc_sample_uniform() */
};

/* tokens[i] of logits[i], which are not changed. */
cudaError_t lsc_cuda_sample(cudaStream_t stream, const float *logits, size_t stride, uint32_t vocab,
			    const struct lsc_cuda_draw *draws, uint32_t n, uint32_t *tokens);

#ifdef __cplusplus
}
#endif

#endif
