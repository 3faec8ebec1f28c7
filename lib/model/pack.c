/* pack - writes an image
 *
 * Tensors are asked for row by row through one buffer and leave in the order of the file through
 * another, of one piece, where they are hashed: memory does not grow with the model.  The file is
 * written in chunks as large as the largest page: so the kernel keeps it in such pages, where it
 * can, and who executes it reads half as much again in the same time.
 */
#include "model/pack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "model/layout.h"
#include "model/pack_dir.h"
#include "model/q8.h"

#define CHUNK_BYTES (2u << 20)
#define ROWS_BYTES  (4u << 20) /* of the f32 rows made at once; or one row, or a tile of q8 */

struct packer {
	struct lsc_image image;
	const struct lsc_pack_origin *origin;
	struct lsc_pack_dir dir;
	const volatile sig_atomic_t *stop;

	uint8_t *piece; /* being filled */
	uint32_t fill;
	uint32_t index;
	uint64_t written; /* bytes of the file, the piece's included */
	uint8_t *chunk;   /* what comes before the piece and is not in the file yet */
	uint32_t chunk_fill;

	float *rows;
	uint8_t *converted;
	uint8_t *blocks; /* as many rows, of Q8_0 */
	size_t rows_values;
};

/* --- the file, piece by piece --- */

static int flush_chunk(struct packer *packer, struct lsc_err *err)
{
	int r = lsc_write_full(packer->dir.fd, packer->chunk, packer->chunk_fill);

	packer->chunk_fill = 0;
	if (r < 0)
		return lsc_err_set(err, -r, "cannot write '%s/image': %m", packer->dir.temp);
	return 0;
}

static int flush_piece(struct packer *packer, struct lsc_err *err)
{
	uint32_t at = 0;
	int r = 0;

	if (packer->fill == 0)
		return 0;
	packer->image.pieces[packer->index++] = lsc_hash_of(packer->piece, packer->fill);
	while (r == 0 && at < packer->fill) {
		uint32_t n = LSC_MIN(packer->fill - at, CHUNK_BYTES - packer->chunk_fill);

		memcpy(packer->chunk + packer->chunk_fill, packer->piece + at, n);
		packer->chunk_fill += n;
		at += n;
		if (packer->chunk_fill == CHUNK_BYTES)
			r = flush_chunk(packer, err);
	}
	packer->fill = 0;
	return r;
}

/* data NULL: zeros */
static int put(struct packer *packer, const void *data, uint64_t len, struct lsc_err *err)
{
	const uint8_t *at = data;

	while (len > 0) {
		uint32_t n = (uint32_t)LSC_MIN(len, packer->image.piece_bytes - packer->fill);
		int r;

		if (at)
			memcpy(packer->piece + packer->fill, at, n);
		else
			memset(packer->piece + packer->fill, 0, n);
		packer->fill += n;
		packer->written += n;
		len -= n;
		at = at ? at + n : NULL;
		if (packer->fill == packer->image.piece_bytes && (r = flush_piece(packer, err)) < 0)
			return r;
	}
	return 0;
}

/* A weight that f16 cannot hold would be infinite, and the model's answers nonsense; one that is no
 * number would make its whole block of q8 none. */
static int check_range(const struct lsc_tensor *tensor, const float *rows, size_t values,
		       struct lsc_err *err)
{
	bool q8 = tensor->dtype == LSC_DTYPE_Q8, infinite = false;
	float largest = 0;

	if (!q8 && tensor->dtype != LSC_DTYPE_F16)
		return 0;
	for (size_t i = 0; i < values; i++)
		if (isfinite(rows[i]))
			largest = LSC_MAX(largest, fabsf(rows[i]));
		else
			infinite = true;
	if (q8 && infinite)
		return lsc_err_set(err, EOPNOTSUPP,
				   "'%s' of unit %u has a value that is infinite or no number, "
				   "which q8 cannot hold",
				   lsc_tensor_role_name(tensor->role), tensor->unit);
	if (q8 ? largest <= LSC_Q8_MAX : largest < 65520) /* what rounds to 65504 */
		return 0;
	return lsc_err_set(err, EOPNOTSUPP,
			   "'%s' of unit %u has a value of %g, and %s ends at %.0f: want bf16 or "
			   "f32",
			   lsc_tensor_role_name(tensor->role), tensor->unit, (double)largest,
			   lsc_dtype_name(tensor->dtype), q8 ? (double)LSC_Q8_MAX : 65504.0);
}

static int check_stop(const struct packer *packer, struct lsc_err *err)
{
	if (packer->stop && *packer->stop)
		return lsc_err_set(err, ECANCELED, "stopped, and '%s' removed", packer->dir.temp);
	return 0;
}

/* The tensor's rows first .. first+n-1, checked, in packer->rows. */
static int get_rows(struct packer *packer, const struct lsc_tensor *tensor, uint64_t first,
		    uint64_t n, struct lsc_err *err)
{
	int r = packer->origin->rows(packer->origin, tensor, first, n, packer->rows, err);

	return r < 0 ? r : check_range(tensor, packer->rows, n * tensor->cols, err);
}

/* Row r of the tile that is being made, of Q8_0. */
static int tile_blocks(struct packer *packer, const struct lsc_tensor *tensor, uint32_t r,
		       const uint8_t *blocks, struct lsc_err *err)
{
	int e;

	if (lsc_q8_put_blocks(packer->converted, r, tensor->cols, blocks))
		return 0;
	lsc_dtype_to_f32(LSC_DTYPE_Q8_0, blocks, packer->rows, tensor->cols);
	e = check_range(tensor, packer->rows, tensor->cols, err);
	if (e == 0)
		lsc_q8_put_row(packer->converted, r, tensor->cols, packer->rows);
	return e;
}

/* Rows of a part's tiles: n from the part's row `at` on, of `end` in all, from packer->blocks or
 * packer->rows. */
static int put_tile_rows(struct packer *packer, const struct lsc_tensor *tensor, uint64_t at,
			 uint64_t n, uint64_t end, bool in_blocks, struct lsc_err *err)
{
	const size_t bytes = lsc_q8_tile_bytes(tensor->cols);
	const size_t row_bytes = (size_t)lsc_q8_blocks(tensor->cols) * LSC_Q8_BLOCK_BYTES;
	int e = 0;

	for (uint64_t i = 0; e == 0 && i < n; i++) {
		const uint32_t r = (at + i) % LSC_Q8_ROWS;

		if (r == 0)
			memset(packer->converted, 0, bytes);
		if (in_blocks)
			e = tile_blocks(packer, tensor, r, packer->blocks + i * row_bytes, err);
		else
			lsc_q8_put_row(packer->converted, r, tensor->cols,
				       packer->rows + i * tensor->cols);
		if (e == 0 && (r == LSC_Q8_ROWS - 1 || at + i + 1 == end))
			e = put(packer, packer->converted, bytes, err);
	}
	return e;
}

/* As it is where it is in Q8_0. */
static int put_part_q8(struct packer *packer, const struct lsc_tensor *tensor, uint64_t first,
		       uint64_t end, struct lsc_err *err)
{
	const struct lsc_pack_origin *origin = packer->origin;
	const uint64_t step = packer->rows_values / tensor->cols;
	uint64_t n;
	int r = 0;

	for (uint64_t row = first; r == 0 && row < end; row += n) {
		int64_t got;

		n = LSC_MIN(step, end - row);
		got = origin->blocks ? origin->blocks(origin, tensor, row, n, packer->blocks)
				     : -(int64_t)n;
		n = (uint64_t)llabs(got);
		r = check_stop(packer, err);
		if (r == 0 && got < 0)
			r = get_rows(packer, tensor, row, n, err);
		if (r == 0)
			r = put_tile_rows(packer, tensor, row - first, n, end - first, got > 0,
					  err);
	}
	return r;
}

/* The tensor's rows first .. end-1: a part of it, whose tiles are its own. */
static int put_part(struct packer *packer, const struct lsc_tensor *tensor, uint64_t first,
		    uint64_t end, struct lsc_err *err)
{
	const uint64_t step = LSC_MAX(packer->rows_values / tensor->cols, 1);
	int r = 0;

	if (tensor->dtype == LSC_DTYPE_Q8)
		return put_part_q8(packer, tensor, first, end, err);
	for (uint64_t row = first; r == 0 && row < end; row += step) {
		const uint64_t n = LSC_MIN(step, end - row);

		r = check_stop(packer, err);
		if (r == 0)
			r = get_rows(packer, tensor, row, n, err);
		if (r < 0)
			break;
		lsc_dtype_from_f32(tensor->dtype, packer->rows, packer->converted,
				   n * tensor->cols);
		r = put(packer, packer->converted,
			lsc_dtype_matrix_bytes(tensor->dtype, n, tensor->cols), err);
	}
	return r;
}

static int put_tensor(struct packer *packer, const struct lsc_tensor *tensor, struct lsc_err *err)
{
	uint64_t rows = tensor->rows / tensor->parts;
	int r = put(packer, NULL, tensor->offset - packer->written, err);

	for (uint64_t part = 0; r == 0 && part < tensor->parts; part++)
		r = put_part(packer, tensor, part * rows, (part + 1) * rows, err);
	return r;
}

static int put_block(struct packer *packer, const struct lsc_block *block, struct lsc_err *err)
{
	const struct lsc_image *image = &packer->image;
	int r = 0;

	for (uint32_t u = block->first_unit; u < block->first_unit + block->n_units; u++)
		for (uint32_t i = 0; r == 0 && i < image->units[u].n_tensors; i++)
			r = put_tensor(packer, &image->tensors[image->units[u].first_tensor + i],
				       err);
	if (r == 0)
		r = put(packer, NULL, block->offset + block->bytes - packer->written, err);
	return r < 0 ? r : flush_piece(packer, err);
}

/* --- the whole --- */

static void packer_release(struct packer *packer)
{
	lsc_pack_dir_release(&packer->dir);
	free(packer->piece);
	free(packer->chunk);
	free(packer->rows);
	free(packer->converted);
	free(packer->blocks);
	lsc_image_close(&packer->image);
}

static int layout(struct packer *packer, const struct lsc_image_options *options,
		  struct lsc_err *err)
{
	const struct lsc_model_config *config = packer->origin->config;
	struct lsc_image *image = &packer->image;
	uint64_t widest, least;
	int r;

	image->config = *config;
	image->dtype = options->dtype;
	image->tokenizer_len = packer->origin->tokenizer_len;
	if ((r = lsc_layout_tensors(image, err)) < 0 ||
	    (r = lsc_layout_blocks(image, options->blocks, options->piece_bytes, err)) < 0)
		return r;
	widest = LSC_MAX(LSC_MAX(config->hidden, LSC_MAX(config->ffn, config->expert_ffn)),
			 (config->heads + 2 * config->kv_heads) * config->head_dim);
	least = image->dtype == LSC_DTYPE_Q8 ? widest * LSC_Q8_ROWS : widest;
	packer->rows_values = LSC_MAX(ROWS_BYTES / sizeof(float), least);
	packer->piece = malloc(image->piece_bytes);
	packer->chunk = malloc(CHUNK_BYTES);
	packer->rows = malloc(packer->rows_values * sizeof(float));
	packer->converted = malloc(packer->rows_values * sizeof(float));
	packer->blocks = malloc((packer->rows_values / LSC_Q8_COLS + 1) * LSC_Q8_BLOCK_BYTES);
	if (!packer->piece || !packer->chunk || !packer->rows || !packer->converted ||
	    !packer->blocks)
		return lsc_err_set(err, ENOMEM, "cannot pack: %m");
	return 0;
}

static int write_image(struct packer *packer, const char *dir, struct lsc_err *err)
{
	int r = lsc_pack_dir_start(&packer->dir, dir, packer->image.bytes, err);

	if (r == 0)
		r = put(packer, packer->origin->tokenizer, packer->origin->tokenizer_len, err);
	for (uint32_t i = 0; r == 0 && i < packer->image.n_blocks; i++)
		r = put_block(packer, &packer->image.blocks[i], err);
	return r < 0 ? r : flush_chunk(packer, err);
}

/* The image borrows chat from the origin while its manifest is built. */
static int build_manifest(struct packer *packer, struct lsc_buf *manifest, struct lsc_err *err)
{
	const struct lsc_pack_origin *origin = packer->origin;
	struct lsc_image image = packer->image;

	if (origin->chat)
		image.chat = *origin->chat;
	return lsc_manifest_pack(&image, origin->sources, origin->n_sources, manifest, err);
}

int lsc_pack_image(const struct lsc_pack_origin *origin, const char *dir,
		   const struct lsc_image_options *options, struct lsc_err *err)
{
	LSC_CLEANUP(packer_release)
	struct packer packer = {.origin = origin, .dir = LSC_PACK_DIR_INIT, .stop = options->stop};
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf manifest = LSC_BUF_INIT;
	int r;

	if ((r = layout(&packer, options, err)) < 0 || (r = write_image(&packer, dir, err)) < 0 ||
	    (r = build_manifest(&packer, &manifest, err)) < 0)
		return r;
	return lsc_pack_dir_finish(&packer.dir, &manifest, err);
}
