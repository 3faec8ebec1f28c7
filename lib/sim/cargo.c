/* cargo - bytes cut into blocks and pieces */
#include "sim/cargo.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "model/layout.h"

void lsc_cargo_release(struct lsc_cargo *cargo)
{
	free(cargo->blocks);
	free(cargo->block_of);
	*cargo = (struct lsc_cargo)LSC_CARGO_INIT;
}

/* Room for the blocks, which are to be filled in, and for so many pieces. */
static int make_room(struct lsc_cargo *cargo, uint32_t blocks, uint64_t pieces, struct lsc_err *err)
{
	if (pieces > LSC_IMAGE_MAX_PIECES)
		return lsc_err_set(err, EINVAL, "%llu pieces are more than %u",
				   (unsigned long long)pieces, LSC_IMAGE_MAX_PIECES);
	cargo->blocks = calloc(LSC_MAX(blocks, 1u), sizeof(cargo->blocks[0]));
	cargo->block_of = calloc(pieces + 1, sizeof(cargo->block_of[0]));
	if (!cargo->blocks || !cargo->block_of)
		return lsc_err_set(err, ENOMEM, "cannot cut %llu bytes: %m",
				   (unsigned long long)cargo->bytes);
	return 0;
}

static void add_block(struct lsc_cargo *cargo, uint64_t offset, uint64_t bytes)
{
	struct lsc_block *block = &cargo->blocks[cargo->n_blocks];

	block->offset = offset;
	block->bytes = bytes;
	block->first_piece = cargo->n_pieces;
	block->n_pieces = (uint32_t)lsc_div_up(bytes, cargo->piece_bytes);
	for (uint32_t i = 0; i < block->n_pieces; i++)
		cargo->block_of[cargo->n_pieces++] = cargo->n_blocks;
	cargo->n_blocks++;
}

int lsc_cargo_init(struct lsc_cargo *cargo, uint64_t bytes, uint32_t blocks, uint64_t piece_bytes,
		   struct lsc_err *err)
{
	struct lsc_cargo made = {.bytes = bytes};
	uint64_t at = 0, most;
	int r;

	if (!bytes || !blocks || blocks > LSC_IMAGE_MAX_BLOCKS || blocks > bytes)
		return lsc_err_set(err, EINVAL, "%llu bytes cannot be cut into %u blocks",
				   (unsigned long long)bytes, blocks);
	most = lsc_div_up(bytes, blocks);
	made.piece_bytes = LSC_MIN(piece_bytes ? piece_bytes : lsc_layout_piece_bytes(bytes), most);
	r = make_room(&made, blocks, lsc_div_up(most, made.piece_bytes) * blocks, err);
	for (uint32_t i = 0; r == 0 && i < blocks; i++) {
		uint64_t size = bytes / blocks + (i < bytes % blocks);

		add_block(&made, at, size);
		at += size;
	}
	if (r < 0)
		lsc_cargo_release(&made);
	else
		*cargo = made;
	return r;
}

int lsc_cargo_of(struct lsc_cargo *cargo, const struct lsc_image *image, struct lsc_err *err)
{
	struct lsc_cargo made = {.bytes = image->bytes, .piece_bytes = image->piece_bytes};
	int r;

	if (!image->n_pieces)
		return lsc_err_set(err, EINVAL, "an image without a byte is not cast");
	r = make_room(&made, image->n_blocks, image->n_pieces, err);
	for (uint32_t i = 0; r == 0 && i < image->n_blocks; i++)
		add_block(&made, image->blocks[i].offset, image->blocks[i].bytes);
	if (r < 0)
		lsc_cargo_release(&made);
	else
		*cargo = made;
	return r;
}

int lsc_cargo_of_shape(struct lsc_cargo *cargo, const char *shape, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	const struct lsc_model_config *config = lsc_model_shape(shape);
	int r;

	if (!config)
		return lsc_err_set(err, EINVAL, "'%s' is no model that is known by name", shape);
	image.config = *config;
	image.dtype = LSC_DTYPE_BF16;
	r = lsc_layout_tensors(&image, err);
	if (r == 0)
		r = lsc_layout_blocks(&image, 0, 0, err);
	return r < 0 ? r : lsc_cargo_of(cargo, &image, err);
}

uint64_t lsc_cargo_piece_bytes(const struct lsc_cargo *cargo, uint32_t piece)
{
	const struct lsc_block *block = &cargo->blocks[cargo->block_of[piece]];
	uint64_t before = (uint64_t)(piece - block->first_piece) * cargo->piece_bytes;

	return LSC_MIN(cargo->piece_bytes, block->bytes - before);
}
