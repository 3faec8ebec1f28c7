/* layout - tensors in order of use, blocks of nearly equal size, offsets */
#include "model/layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define DEFAULT_BLOCKS 16
#define PIECES_WANTED  1024 /* at most twice as many; tests/bench/results/cast.md */
#define UNIT_TENSORS   11   /* of one layer, at most */

static const char *const role_names[LSC_TENSOR_ROLES] = {
	[LSC_TENSOR_EMBED] = "embed",
	[LSC_TENSOR_ATTN_NORM] = "attn_norm",
	[LSC_TENSOR_QKV] = "qkv",
	[LSC_TENSOR_QKV_BIAS] = "qkv_bias",
	[LSC_TENSOR_Q_NORM] = "q_norm",
	[LSC_TENSOR_K_NORM] = "k_norm",
	[LSC_TENSOR_O] = "o",
	[LSC_TENSOR_FFN_NORM] = "ffn_norm",
	[LSC_TENSOR_GATE_UP] = "gate_up",
	[LSC_TENSOR_DOWN] = "down",
	[LSC_TENSOR_FINAL_NORM] = "final_norm",
	[LSC_TENSOR_HEAD] = "head",
};

const char *lsc_tensor_role_name(enum lsc_tensor_role role)
{
	return role < LSC_TENSOR_ROLES ? role_names[role] : "?";
}

/* --- tensors --- */

static void add(struct lsc_image *image, uint32_t unit, enum lsc_tensor_role role, uint32_t rows,
		uint32_t cols, uint32_t parts)
{
	enum lsc_dtype dtype = rows == 1 ? LSC_DTYPE_F32 : image->dtype;

	image->tensors[image->n_tensors++] = (struct lsc_tensor){
		.role = role,
		.dtype = dtype,
		.unit = unit,
		.rows = rows,
		.cols = cols,
		.parts = parts,
		.bytes = parts * lsc_dtype_matrix_bytes(dtype, rows / parts, cols),
	};
}

static void add_layer(struct lsc_image *image, uint32_t unit)
{
	const struct lsc_model_config *config = &image->config;
	uint32_t q = config->heads * config->head_dim;
	uint32_t qkv = q + 2 * config->kv_heads * config->head_dim;

	add(image, unit, LSC_TENSOR_ATTN_NORM, 1, config->hidden, 1);
	add(image, unit, LSC_TENSOR_QKV, qkv, config->hidden, 1);
	if (config->qkv_bias)
		add(image, unit, LSC_TENSOR_QKV_BIAS, 1, qkv, 1);
	if (config->qk_norm) {
		add(image, unit, LSC_TENSOR_Q_NORM, 1, config->head_dim, 1);
		add(image, unit, LSC_TENSOR_K_NORM, 1, config->head_dim, 1);
	}
	add(image, unit, LSC_TENSOR_O, config->hidden, q, 1);
	add(image, unit, LSC_TENSOR_FFN_NORM, 1, config->hidden, 1);
	add(image, unit, LSC_TENSOR_GATE_UP, 2 * config->ffn, config->hidden, 2);
	add(image, unit, LSC_TENSOR_DOWN, config->hidden, config->ffn, 1);
}

int lsc_layout_tensors(struct lsc_image *image, struct lsc_err *err)
{
	const struct lsc_model_config *config = &image->config;
	uint32_t head = config->layers + 1;

	image->n_units = config->layers + 2;
	image->units = calloc(image->n_units, sizeof(*image->units));
	image->tensors = calloc((size_t)image->n_units * UNIT_TENSORS, sizeof(*image->tensors));
	if (!image->units || !image->tensors)
		return lsc_err_set(err, ENOMEM, "cannot lay out %u units: %m", image->n_units);
	if (!config->tied)
		add(image, 0, LSC_TENSOR_EMBED, config->vocab, config->hidden, 1);
	for (uint32_t unit = 1; unit <= config->layers; unit++)
		add_layer(image, unit);
	add(image, head, LSC_TENSOR_FINAL_NORM, 1, config->hidden, 1);
	add(image, head, config->tied ? LSC_TENSOR_EMBED : LSC_TENSOR_HEAD, config->vocab,
	    config->hidden, 1);

	for (uint32_t i = image->n_tensors; i-- > 0;) {
		struct lsc_unit *unit = &image->units[image->tensors[i].unit];

		unit->first_tensor = i;
		unit->n_tensors++;
	}
	return 0;
}

/* --- blocks --- */

static uint64_t unit_bytes(const struct lsc_image *image, uint32_t unit)
{
	const struct lsc_unit *u = &image->units[unit];
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < u->n_tensors; i++)
		bytes += lsc_align_up(image->tensors[u->first_tensor + i].bytes, LSC_TENSOR_ALIGN);
	return bytes;
}

/* Cuts the units into n runs with the least sum of squared sizes: as even as whole units allow,
 * also where one of them outweighs the rest.  best[b][u] is that sum for the first u units in b
 * runs; from[b][u] the unit the last of these runs starts with.  An empty unit 0 (of a tied
 * embedding) keeps to unit 1, so no run is empty. */
struct cut {
	const uint64_t *before; /* bytes of the units before u */
	uint32_t units, runs;
	double *best;   /* [2][units + 1] */
	uint32_t *from; /* [runs][units + 1] */
};

static void cut_run(struct cut *cut, uint32_t run)
{
	const double *shorter = cut->best + (run + 1) % 2 * (cut->units + 1);
	double *best = cut->best + run % 2 * (cut->units + 1);
	uint32_t *from = cut->from + (size_t)run * (cut->units + 1);

	for (uint32_t end = 1; end <= cut->units; end++) {
		best[end] = -1;
		for (uint32_t start = run; start < end; start++) {
			double size = (double)(cut->before[end] - cut->before[start]);
			double sum = size * size + (run ? shorter[start] : 0);

			if ((run ? shorter[start] < 0 : start > 0) || size == 0)
				continue;
			if (best[end] < 0 || sum < best[end]) {
				best[end] = sum;
				from[end] = start;
			}
		}
	}
}

static int cut_units(struct lsc_image *image, uint32_t runs, struct lsc_err *err)
{
	LSC_CLEANUP_FREE uint64_t *before = calloc(image->n_units + 1, sizeof(*before));
	LSC_CLEANUP_FREE double *best = calloc(2 * (image->n_units + 1), sizeof(*best));
	LSC_CLEANUP_FREE uint32_t *from =
		calloc((size_t)runs * (image->n_units + 1), sizeof(*from));
	struct cut cut = {before, image->n_units, runs, best, from};

	image->blocks = calloc(runs, sizeof(*image->blocks));
	if (!before || !best || !from || !image->blocks)
		return lsc_err_set(err, ENOMEM, "cannot lay out %u blocks: %m", runs);
	for (uint32_t u = 0; u < image->n_units; u++)
		before[u + 1] = before[u] + unit_bytes(image, u);
	for (uint32_t run = 0; run < runs; run++)
		cut_run(&cut, run);

	image->n_blocks = runs;
	for (uint32_t run = runs, end = image->n_units; run-- > 0;) {
		uint32_t start = from[(size_t)run * (image->n_units + 1) + end];

		image->blocks[run].first_unit = start;
		image->blocks[run].n_units = end - start;
		end = start;
	}
	return 0;
}

/* From at on, which lies in the block. */
static uint64_t place_tensors(struct lsc_image *image, const struct lsc_block *block, uint64_t at)
{
	for (uint32_t u = block->first_unit; u < block->first_unit + block->n_units; u++) {
		for (uint32_t i = 0; i < image->units[u].n_tensors; i++) {
			struct lsc_tensor *tensor =
				&image->tensors[image->units[u].first_tensor + i];

			tensor->offset = lsc_align_up(at, LSC_TENSOR_ALIGN);
			at = tensor->offset + tensor->bytes;
		}
	}
	return at;
}

uint32_t lsc_layout_piece_bytes(uint64_t bytes)
{
	uint32_t piece = LSC_PIECE_MIN_BYTES;

	while (piece < LSC_PIECE_MAX_BYTES && bytes / piece >= 2 * PIECES_WANTED)
		piece *= 2;
	return piece;
}

static int cut_pieces(struct lsc_image *image, struct lsc_err *err)
{
	uint64_t pieces = 0;

	for (uint32_t b = 0; b < image->n_blocks; b++) {
		uint64_t n = lsc_div_up(image->blocks[b].bytes, image->piece_bytes);

		if (pieces + n > LSC_IMAGE_MAX_PIECES)
			return lsc_err_set(err, EINVAL,
					   "pieces of %u bytes would be more than %u of them",
					   image->piece_bytes, LSC_IMAGE_MAX_PIECES);
		image->blocks[b].first_piece = (uint32_t)pieces;
		image->blocks[b].n_pieces = (uint32_t)n;
		pieces += n;
	}
	image->n_pieces = (uint32_t)pieces;
	image->pieces = calloc(pieces, sizeof(*image->pieces));
	if (!image->pieces)
		return lsc_err_set(err, ENOMEM, "cannot lay out %u pieces: %m", image->n_pieces);
	return 0;
}

int lsc_layout_blocks(struct lsc_image *image, uint32_t blocks, uint32_t piece_bytes,
		      struct lsc_err *err)
{
	uint32_t most = image->n_units - image->config.tied;
	uint64_t total = image->tokenizer_len, at = 0;
	int r;

	for (uint32_t u = 0; u < image->n_units; u++)
		total += unit_bytes(image, u);
	image->align = total >= LSC_IMAGE_LARGE ? LSC_BLOCK_ALIGN_LARGE : LSC_BLOCK_ALIGN_SMALL;
	image->piece_bytes = piece_bytes ? piece_bytes : lsc_layout_piece_bytes(total);
	r = cut_units(image, LSC_MIN(blocks ? blocks : DEFAULT_BLOCKS, most), err);
	if (r < 0)
		return r;
	for (uint32_t b = 0; b < image->n_blocks; b++) {
		struct lsc_block *block = &image->blocks[b];

		block->offset = at;
		at = place_tensors(image, block, b ? at : image->tokenizer_len);
		if (b + 1 < image->n_blocks)
			at = lsc_align_up(at, image->align);
		block->bytes = at - block->offset;
	}
	image->bytes = at;
	lsc_layout_needs(image);
	return cut_pieces(image, err);
}

void lsc_layout_needs(struct lsc_image *image)
{
	for (uint32_t b = 0; b < image->n_blocks; b++)
		for (uint32_t u = 0; u < image->blocks[b].n_units; u++)
			image->units[image->blocks[b].first_unit + u].needs[0] =
				(struct lsc_need){b, 1};
	if (image->config.tied)
		image->units[0].needs[0] = (struct lsc_need){image->n_blocks - 1, 1};
}
