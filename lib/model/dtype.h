/* Number formats of weights: what checkpoints store, and the three that images store.
 *
 * Quantised formats are GGUF's blocks (ggml's layouts); they are only ever read.  Conversion to
 * bf16 and f16 rounds to nearest even; f32 to bf16 keeps NaN a NaN.
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
	LSC_DTYPE_COUNT
};

const char *lsc_dtype_name(enum lsc_dtype dtype); /* "bf16" */

/* The image formats by name: f32, f16, bf16.  0 or -EINVAL. */
int lsc_dtype_parse(const char *name, enum lsc_dtype *ret_dtype);

/* Elements a block holds (1, 32 or 256) and the bytes it takes. */
uint32_t lsc_dtype_block_elements(enum lsc_dtype dtype);
uint32_t lsc_dtype_block_bytes(enum lsc_dtype dtype);

/* n is a multiple of the block's elements.  src needs no alignment. */
void lsc_dtype_to_f32(enum lsc_dtype dtype, const void *src, float *dst, size_t n);

/* dtype is one of the image's three. */
void lsc_dtype_from_f32(enum lsc_dtype dtype, const float *src, void *dst, size_t n);

#endif
