/* A cargo: what of an image matters where it is only moved: how many bytes, in which pieces, and
 * the blocks that these make up. */
#ifndef LSC_SIM_CARGO_H
#define LSC_SIM_CARGO_H

#include <stdint.h>

#include "base/err.h"
#include "model/image.h"

struct lsc_cargo {
	uint64_t bytes;
	struct lsc_block *blocks; /* offset, bytes, first_piece and n_pieces alone */
	uint32_t *block_of;       /* by piece */
	uint32_t n_blocks, n_pieces;
	uint64_t piece_bytes; /* but of a block's last piece, which may be shorter */
};

#define LSC_CARGO_INIT                                                                             \
	{                                                                                          \
		0                                                                                  \
	}

void lsc_cargo_release(struct lsc_cargo *cargo);

/* So many bytes in blocks of nearly the same size, each of pieces of piece_bytes (0: of the size
 * that images have by default; UINT64_MAX: one a block). */
int lsc_cargo_init(struct lsc_cargo *cargo, uint64_t bytes, uint32_t blocks, uint64_t piece_bytes,
		   struct lsc_err *err);

/* As an image is cut. */
int lsc_cargo_of(struct lsc_cargo *cargo, const struct lsc_image *image, struct lsc_err *err);

/* As the image of a shape (model/config.h) would be cut, without a tokenizer. */
int lsc_cargo_of_shape(struct lsc_cargo *cargo, const char *shape, struct lsc_err *err);

uint64_t lsc_cargo_piece_bytes(const struct lsc_cargo *cargo, uint32_t piece);

#endif
