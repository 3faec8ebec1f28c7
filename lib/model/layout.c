/* layout - tensors in order of use, blocks of nearly equal size, offsets */
#include "model/layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define DEFAULT_BLOCKS 16
#define PIECES_WANTED  1024 /* at most twice as many; tests/bench/results/cast.md */
#define UNIT_TENSORS   11   /* of one layer, at most */
#define EXPERT_TENSORS 2
#define EXACT_UNITS    (LSC_MODEL_MAX_LAYERS + 2)

static const char *const role_names[LSC_TENSOR_ROLES] = {
	[LSC_TENSOR_EMBED] = "embed",   [LSC_TENSOR_ATTN_NORM] = "attn_norm",
	[LSC_TENSOR_QKV] = "qkv",       [LSC_TENSOR_QKV_BIAS] = "qkv_bias",
	[LSC_TENSOR_Q_NORM] = "q_norm", [LSC_TENSOR_K_NORM] = "k_norm",
	[LSC_TENSOR_O] = "o",           [LSC_TENSOR_FFN_NORM] = "ffn_norm",
	[LSC_TENSOR_ROUTER] = "router", [LSC_TENSOR_GATE_UP] = "gate_up",
	[LSC_TENSOR_DOWN] = "down",     [LSC_TENSOR_FINAL_NORM] = "final_norm",
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
	bool wide = rows == 1 || role == LSC_TENSOR_ROUTER;
	enum lsc_dtype dtype = wide ? LSC_DTYPE_F32 : image->dtype;

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
	if (config->experts == 0) {
		add(image, unit, LSC_TENSOR_GATE_UP, 2 * config->ffn, config->hidden, 2);
		add(image, unit, LSC_TENSOR_DOWN, config->hidden, config->ffn, 1);
		return;
	}
	add(image, unit, LSC_TENSOR_ROUTER, config->experts, config->hidden, 1);
	for (uint32_t i = 1; i <= config->experts; i++) {
		add(image, unit + i, LSC_TENSOR_GATE_UP, 2 * config->expert_ffn, config->hidden, 2);
		add(image, unit + i, LSC_TENSOR_DOWN, config->hidden, config->expert_ffn, 1);
	}
}

int lsc_layout_tensors(struct lsc_image *image, struct lsc_err *err)
{
	const struct lsc_model_config *config = &image->config;
	uint32_t head = lsc_model_head_unit(config);
	size_t each = UNIT_TENSORS + (size_t)config->experts * EXPERT_TENSORS;

	image->n_units = head + 1;
	image->units = calloc(image->n_units, sizeof(*image->units));
	image->tensors = calloc((config->layers + 2) * each, sizeof(*image->tensors));
	if (!image->units || !image->tensors)
		return lsc_err_set(err, ENOMEM, "cannot lay out %u units: %m", image->n_units);
	if (!config->tied)
		add(image, 0, LSC_TENSOR_EMBED, config->vocab, config->hidden, 1);
	for (uint32_t layer = 0; layer < config->layers; layer++)
		add_layer(image, lsc_model_layer_unit(config, layer));
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

/* Cuts the units, or the layers where blocks are no more than those, into n runs with the least sum
 * of squared sizes: as even as whole units allow, also where one of them outweighs the rest.
 * best[b][u] is that sum for the first u units in b runs; from[b][u] the unit the last of these
 * runs starts with.  An empty unit 0 (of a tied embedding) keeps to unit 1, so no run is empty. */
struct cut {
	const uint64_t *before; /* bytes of the units before u */
	uint32_t units, runs;
	double *best;   /* [2][units + 1] */
	uint32_t *from; /* [runs][units + 1] */
};

/* The best start, from low to high, of a run that ends before `end`. */
static void cut_end(struct cut *cut, uint32_t run, uint32_t end, uint32_t low, uint32_t high)
{
	const double *shorter = cut->best + (run + 1) % 2 * (cut->units + 1);
	double *best = cut->best + run % 2 * (cut->units + 1);
	uint32_t *from = cut->from + (size_t)run * (cut->units + 1);

	best[end] = -1;
	for (uint32_t start = low; start <= high && start < end; start++) {
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

/* The same for all ends from first to last.  A later end never has an earlier best start, so each
 * half of them has to look at its side of the middle one's alone. */
static void cut_ends(struct cut *cut, uint32_t run, uint32_t first, uint32_t last, uint32_t low,
		     uint32_t high)
{
	const double *best = cut->best + run % 2 * (cut->units + 1);
	const uint32_t *from = cut->from + (size_t)run * (cut->units + 1);

	while (first <= last) {
		uint32_t middle = first + (last - first) / 2;

		cut_end(cut, run, middle, low, high);
		if (best[middle] >= 0) {
			cut_ends(cut, run, first, middle - 1, low, from[middle]);
			low = from[middle];
		} else {
			cut_ends(cut, run, first, middle - 1, low, high);
		}
		first = middle + 1;
	}
}

/* Halving takes time that grows little faster than the units.  Few units are looked at one by one:
 * where sums differ by less than a double can tell, halving may decide otherwise, and an image has
 * the blocks it always had. */
static void cut_run(struct cut *cut, uint32_t run)
{
	if (cut->units > EXACT_UNITS) {
		cut_ends(cut, run, 1, cut->units, run, cut->units - 1);
		return;
	}
	for (uint32_t end = 1; end <= cut->units; end++)
		cut_end(cut, run, end, run, end - 1);
}

/* The unit that the i-th of what is cut begins with; i may be how many there are. */
static uint32_t unit_of(const struct lsc_image *image, bool layers, uint32_t i)
{
	uint32_t unit = layers && i > 0 ? lsc_model_layer_unit(&image->config, i - 1) : i;

	return LSC_MIN(unit, image->n_units);
}

/* Blocks that hold whole layers can run where their neighbours have not come yet. */
static int cut_units(struct lsc_image *image, uint32_t runs, struct lsc_err *err)
{
	const bool layers = runs <= image->config.layers + 2 - image->config.tied;
	const uint32_t n = layers ? image->config.layers + 2 : image->n_units;
	LSC_CLEANUP_FREE uint64_t *before = calloc(n + 1, sizeof(*before));
	LSC_CLEANUP_FREE double *best = calloc(2 * ((size_t)n + 1), sizeof(*best));
	LSC_CLEANUP_FREE uint32_t *from = calloc((size_t)runs * (n + 1), sizeof(*from));
	struct cut cut = {before, n, runs, best, from};

	image->blocks = calloc(runs, sizeof(*image->blocks));
	if (!before || !best || !from || !image->blocks)
		return lsc_err_set(err, ENOMEM, "cannot lay out %u blocks: %m", runs);
	for (uint32_t i = 0; i < n; i++) {
		before[i + 1] = before[i];
		for (uint32_t u = unit_of(image, layers, i); u < unit_of(image, layers, i + 1); u++)
			before[i + 1] += unit_bytes(image, u);
	}
	for (uint32_t run = 0; run < runs; run++)
		cut_run(&cut, run);

	image->n_blocks = runs;
	for (uint32_t run = runs, end = n; run-- > 0;) {
		uint32_t start = from[(size_t)run * (n + 1) + end];
		uint32_t first = unit_of(image, layers, start);

		image->blocks[run].first_unit = first;
		image->blocks[run].n_units = unit_of(image, layers, end) - first;
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
	uint32_t most = LSC_MIN(image->n_units - image->config.tied, LSC_MODEL_MAX_BLOCKS);
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
