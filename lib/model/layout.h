/* How an image is laid out: which tensors, in which blocks, at which offsets.
 *
 * Pure arithmetic on a configuration, shared by the packer, which follows it, and the parser of
 * manifests, which holds what it is told against it.
 */
#ifndef LSC_MODEL_LAYOUT_H
#define LSC_MODEL_LAYOUT_H

#include "base/err.h"
#include "model/image.h"

/* Alignment of tensors in the image: a cache line for the CPU is 64, GPUs want 256. */
#define LSC_TENSOR_ALIGN 256u

/* Alignment of blocks: huge pages and O_DIRECT want 2 MiB, small images would be all padding. */
#define LSC_BLOCK_ALIGN_LARGE (2u << 20)
#define LSC_BLOCK_ALIGN_SMALL 4096u
#define LSC_IMAGE_LARGE       (64ull << 20)

#define LSC_PIECE_MIN_BYTES (16u << 10)
#define LSC_PIECE_MAX_BYTES (16u << 20)

/* What pieces of so many bytes have by default. */
uint32_t lsc_layout_piece_bytes(uint64_t bytes);

const char *lsc_tensor_role_name(enum lsc_tensor_role role); /* "gate_up" */

/* Sets image->tensors and units from config and dtype: every tensor in the order of use, with
 * role, unit, rows, cols, dtype and bytes, but no offsets. */
int lsc_layout_tensors(struct lsc_image *image, struct lsc_err *err);

/* Then chooses blocks (of nearly equal size, 0: 16), offsets, align and pieces; the first block
 * begins with the tokenizer_len bytes of the tokenizer. */
int lsc_layout_blocks(struct lsc_image *image, uint32_t blocks, uint32_t piece_bytes,
		      struct lsc_err *err);

/* What follows from tensors and blocks: which blocks each unit needs. */
void lsc_layout_needs(struct lsc_image *image);

#endif
