/* stock_move - images come into memory, are sealed there, and leave it */
#include <errno.h>
#include <stdlib.h>

#include "base/macros.h"
#include "mem/marks.h"
#include "tier/stock_own.h"

/* --- arriving --- */

/* The cells of an image that is to arrive: those that others have whole, and new ones. */
static int make_cells(struct lsc_stock *stock, struct lsc_holding *holding, struct lsc_err *err)
{
	uint32_t n = holding->image.n_blocks;

	holding->cells = calloc(n + 1, sizeof(struct lsc_cell *));
	if (!holding->cells)
		return lsc_err_set(err, ENOMEM, "no memory for an image");
	for (uint32_t i = 0; i < n; i++) {
		struct lsc_hash key = lsc_holding_block(holding, i);
		struct lsc_cell *cell = lsc_stock_cell(stock, &key);
		int r = 0;

		if (!cell) {
			r = lsc_cell_new(&cell, &key, holding->image.blocks[i].bytes, stock->o.huge,
					 err);
			if (r == 0)
				lsc_stock_add_cell(stock, cell);
		}
		if (r < 0)
			return r;
		cell->users++;
		holding->cells[i] = cell;
		if (!cell->whole)
			r = lsc_stock_keep_cell(stock, holding, i, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Bytes that it needs and nobody has. */
static uint64_t need_of(struct lsc_stock *stock, const struct lsc_holding *holding)
{
	uint64_t need = holding->image.manifest_len +
			lsc_marks_bytes(holding->image.n_pieces, holding->image.n_blocks);

	for (uint32_t i = 0; i < holding->image.n_blocks; i++) {
		struct lsc_hash key = lsc_holding_block(holding, i);

		if (!lsc_stock_cell(stock, &key))
			need += lsc_cell_room(holding->image.blocks[i].bytes, stock->o.huge);
	}
	return need;
}

/* Tables first: cells are kept as parts of an image that is known. */
static int fill(struct lsc_stock *stock, struct lsc_holding *holding, struct lsc_err *err)
{
	int r = lsc_stock_make_room(stock, holding, need_of(stock, holding), err);

	if (r == 0)
		r = lsc_holding_begin(holding, err);
	if (r == 0)
		r = make_cells(stock, holding, err);
	if (r < 0)
		return r;
	lsc_holding_mark_whole(holding);
	return lsc_stock_keep_tables(stock, holding, err);
}

int lsc_stock_begin(struct lsc_stock *stock, struct lsc_holding *holding, struct lsc_err *err)
{
	int r = fill(stock, holding, err);

	if (r < 0) {
		lsc_stock_empty(stock, holding);
		return r;
	}
	lsc_stock_touch(stock, holding);
	lsc_stock_tell(stock, holding, LSC_STOCK_BEGUN, NULL);
	return 0;
}

/* What is there of this name, where the same image may go on to arrive in it: 1; 0 for nothing. */
static int look_for(struct lsc_stock *stock, const struct lsc_holding *like,
		    struct lsc_holding **ret_holding, struct lsc_err *err)
{
	struct lsc_holding *holding = lsc_stock_find(stock, like->name);

	if (!holding)
		return 0;
	if (holding->whole ||
	    (holding->on_disk && !lsc_hash_equal(&holding->image.id, &like->image.id)))
		return lsc_err_set(err, EEXIST, "'%s' is there already%s", like->name,
				   lsc_hash_equal(&holding->image.id, &like->image.id)
					   ? ""
					   : ", and is another image");
	if (lsc_holding_is_filled(holding))
		return lsc_err_set(err, EBUSY, "'%s' is being received already", like->name);
	if (!lsc_hash_equal(&holding->image.id, &like->image.id)) {
		lsc_stock_discard(stock, holding, "another image of its name arrives");
		return 0;
	}
	*ret_holding = holding;
	return 1;
}

int lsc_stock_receive(struct lsc_stock *stock, const char *name, int manifest_fd,
		      struct lsc_holding **ret_holding, struct lsc_err *err)
{
	struct lsc_holding *holding, *there = NULL;
	int r = lsc_segment_check_name(name, err);

	if (r == 0)
		r = lsc_holding_new(&holding, name, manifest_fd, err);
	if (r < 0)
		return r;
	r = look_for(stock, holding, &there, err);
	if (r != 0) {
		lsc_holding_free(holding);
		holding = there;
	} else {
		lsc_stock_add(stock, holding);
	}
	if (r >= 0 && !holding->cells)
		r = lsc_stock_begin(stock, holding, err);
	if (r < 0)
		return r;
	*ret_holding = holding;
	return 0;
}

/* Where the same block arrived twice, in two images at once, one cell is enough. */
static int settle_cell(struct lsc_stock *stock, struct lsc_holding *holding, uint32_t block,
		       struct lsc_err *err)
{
	struct lsc_cell *cell = holding->cells[block], *other = lsc_stock_cell(stock, &cell->key);
	int r;

	if (cell->whole)
		return 0;
	if (other) {
		holding->cells[block] = other;
		other->users++;
		lsc_stock_forget_part(stock, holding, block);
		lsc_stock_release_cell(stock, cell);
		return 0;
	}
	r = lsc_cell_seal(cell, err);
	return r < 0 ? r : lsc_stock_keep_whole(stock, holding, block, err);
}

int lsc_stock_commit(struct lsc_stock *stock, struct lsc_holding *holding, struct lsc_err *err)
{
	int r = 0;

	if (holding->whole)
		return 0;
	if (!lsc_holding_is_full(holding))
		return lsc_err_set(err, EINVAL, "not all of '%s' is there", holding->name);
	lsc_stock_end_fetch(holding); /* it has them mapped to write */
	for (uint32_t i = 0; r == 0 && i < holding->image.n_blocks; i++)
		r = settle_cell(stock, holding, i, err);
	if (r < 0)
		return r;
	holding->whole = true;
	lsc_stock_forget_marks(stock, holding);
	lsc_holding_end_marks(holding, true);
	lsc_stock_touch(stock, holding);
	lsc_stock_tell(stock, holding, LSC_STOCK_WHOLE, NULL);
	lsc_stock_save(stock);
	return 0;
}

/* --- leaving --- */

void lsc_stock_discard(struct lsc_stock *stock, struct lsc_holding *holding, const char *why)
{
	lsc_stock_tell(stock, holding, LSC_STOCK_FAILED, why);
	lsc_stock_empty(stock, holding);
}

void lsc_stock_leave(struct lsc_stock *stock, struct lsc_holding *holding)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r = 0;

	/* The disk brings the rest; or who goes has not let go of it yet, and we look again. */
	if (!holding->marks || holding->fetch || lsc_holding_is_filled(holding))
		return;
	if (lsc_marks_count(holding->marks) == 0)
		lsc_stock_discard(stock, holding, "nothing of it came");
	else if (lsc_holding_is_full(holding))
		r = lsc_stock_commit(stock, holding, &err);
	if (r < 0 && r != -EBUSY)
		lsc_stock_discard(stock, holding, err.text);
}

void lsc_stock_unload(struct lsc_stock *stock, struct lsc_holding *holding, const char *why)
{
	lsc_stock_tell(stock, holding, LSC_STOCK_EVICTED, why);
	lsc_stock_empty(stock, holding);
}

int lsc_stock_may_leave(const struct lsc_holding *holding, struct lsc_err *err)
{
	const char *why = holding->pinned                  ? "is pinned"
			  : !holding->cells                ? "is not in memory"
			  : lsc_holding_is_filled(holding) ? "is being received"
			  : holding->save                  ? "is being written to disk"
			  : lsc_holding_is_lent(holding)   ? "is in use"
							   : NULL;

	return why ? lsc_err_set(err, EBUSY, "'%s' %s", holding->name, why) : 0;
}

int lsc_stock_evict(struct lsc_stock *stock, struct lsc_holding *holding, struct lsc_err *err)
{
	int r = lsc_stock_may_leave(holding, err);

	if (r == 0)
		lsc_stock_unload(stock, holding, "as somebody wanted");
	return r;
}
