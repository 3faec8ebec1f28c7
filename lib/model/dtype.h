/* Number formats of weights: what checkpoints store, and the four that images store.
 *
 * Quantised formats are GGUF's blocks (ggml's layouts), which are only ever read, and q8, the
 * image's own (model/q8.h).  Conversion to bf16 and f16 rounds to nearest even; f32 to bf16 keeps
 * NaN a NaN.
 */
#ifndef LSC_MODEL_DTYPE_H
#define LSC_MODEL_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lsc_dtype {
	LSC_DTYPE_F32,
	LSC_DTYPE_F16,
	LSC_DTYPE_BF16,
	LSC_DTYPE_Q8_0,
	LSC_DTYPE_Q4_0,
	LSC_DTYPE_Q4_1,
	LSC_DTYPE_Q4_K,
	LSC_DTYPE_Q6_K,
	LSC_DTYPE_Q8, /* blocks as in Q8_0, matrices in tiles */
	LSC_DTYPE_COUNT
};

const char *lsc_dtype_name(enum lsc_dtype dtype); /* "bf16" */

/* The image formats by name: f32, f16, bf16, q8.  0 or -EINVAL. */
int lsc_dtype_parse(const char *name, enum lsc_dtype *ret_dtype);

/* Elements a block holds (1, 32 or 256) and the bytes it takes. */
uint32_t lsc_dtype_block_elements(enum lsc_dtype dtype);
uint32_t lsc_dtype_block_bytes(enum lsc_dtype dtype);

/* n is a multiple of the block's elements.  src needs no alignment.  Not q8, whose rows do not lie
 * by themselves. */
void lsc_dtype_to_f32(enum lsc_dtype dtype, const void *src, float *dst, size_t n);

/* dtype is f32, f16 or bf16. */
void lsc_dtype_from_f32(enum lsc_dtype dtype, const float *src, void *dst, size_t n);

/* --- matrices, [rows][cols], of any type of an image --- */

uint64_t lsc_dtype_matrix_bytes(enum lsc_dtype dtype, uint64_t rows, uint32_t cols);
void lsc_dtype_matrix_row(enum lsc_dtype dtype, const void *matrix, uint64_t row, uint32_t cols,
			  float *ret_row);

#endif
