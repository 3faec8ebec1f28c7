/* stock - images in memory: made, shared, sealed, let go
 *
 * What is lent is not ours to free: a cell that no image has any more waits until its last lease
 * ends, and counts till then.
 */
#include "tier/stock.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "mem/marks.h"
#include "tier/stock_own.h"

#define SWEEP_NS      1000000000ull
#define LOCK_TRIES    20
#define LOCK_PAUSE_NS 50000000

const char *lsc_stock_event_name(enum lsc_stock_event event)
{
	static const char *const names[] = {
		[LSC_STOCK_FOUND] = "found",     [LSC_STOCK_BEGUN] = "begun",
		[LSC_STOCK_WHOLE] = "whole",     [LSC_STOCK_SAVED] = "saved",
		[LSC_STOCK_UNSAVED] = "unsaved", [LSC_STOCK_EVICTED] = "evicted",
		[LSC_STOCK_FAILED] = "failed",   [LSC_STOCK_CHANGED] = "changed",
		[LSC_STOCK_REMOVED] = "removed",
	};

	return names[event];
}

void lsc_stock_tell(struct lsc_stock *stock, const struct lsc_holding *holding,
		    enum lsc_stock_event event, const char *why)
{
	lsc_info("'%s' %s%s%s", holding->name, lsc_stock_event_name(event), why ? ": " : "",
		 why ? why : "");
	stock->events[event]++;
	if (stock->o.changed)
		stock->o.changed(stock->o.data, holding, event, why);
}

/* --- cells --- */

struct lsc_cell *lsc_stock_cell(struct lsc_stock *stock, const struct lsc_hash *key)
{
	struct lsc_cell *cell = stock->cells;

	while (cell && !(cell->whole && lsc_hash_equal(&cell->key, key)))
		cell = cell->next;
	return cell;
}

void lsc_stock_add_cell(struct lsc_stock *stock, struct lsc_cell *cell)
{
	cell->next = stock->cells;
	stock->cells = cell;
}

static void unlink_cell(struct lsc_cell **at, struct lsc_cell *cell)
{
	while (*at != cell)
		at = &(*at)->next;
	*at = cell->next;
}

void lsc_stock_release_cell(struct lsc_stock *stock, struct lsc_cell *cell)
{
	bool lent;

	if (--cell->users)
		return;
	unlink_cell(&stock->cells, cell);
	lent = lsc_cell_is_lent(cell);
	if (lent) {
		cell->next = stock->leaving;
		stock->leaving = cell;
		lsc_stock_keep_leaving(stock, cell);
	}
	if (cell->whole && !lsc_stock_cell(stock, &cell->key))
		lsc_stock_forget_cell(stock, cell);
	if (!lent)
		lsc_cell_free(cell);
}

/* --- holdings --- */

struct lsc_holding *lsc_stock_first(struct lsc_stock *stock)
{
	return stock->holdings;
}

struct lsc_holding *lsc_stock_find(struct lsc_stock *stock, const char *name)
{
	struct lsc_holding *holding = stock->holdings;

	while (holding && strcmp(holding->name, name))
		holding = holding->next;
	return holding;
}

struct lsc_holding *lsc_stock_find_id(struct lsc_stock *stock, const struct lsc_hash *id)
{
	struct lsc_holding *holding = stock->holdings;

	while (holding && !lsc_hash_equal(&holding->image.id, id))
		holding = holding->next;
	return holding;
}

void lsc_stock_add(struct lsc_stock *stock, struct lsc_holding *holding)
{
	holding->next = stock->holdings;
	stock->holdings = holding;
}

uint64_t lsc_stock_tables(const struct lsc_holding *holding)
{
	return holding->image.manifest_len +
	       (holding->marks ? lsc_marks_bytes(holding->image.n_pieces, holding->image.n_blocks)
			       : 0);
}

void lsc_stock_drop(struct lsc_stock *stock, struct lsc_holding *holding)
{
	struct lsc_holding **at = &stock->holdings;

	while (*at != holding)
		at = &(*at)->next;
	*at = holding->next;
	lsc_holding_free(holding);
}

void lsc_stock_empty(struct lsc_stock *stock, struct lsc_holding *holding)
{
	lsc_stock_end_save(stock, holding);
	lsc_stock_end_fetch(holding);
	lsc_stock_forget_tables(stock, holding);
	for (uint32_t i = 0; holding->cells && i < holding->image.n_blocks; i++) {
		struct lsc_cell *cell = holding->cells[i];

		holding->cells[i] = NULL;
		if (cell && !cell->whole)
			lsc_stock_forget_part(stock, holding, i);
		if (cell)
			lsc_stock_release_cell(stock, cell);
	}
	free(holding->cells);
	holding->cells = NULL;
	holding->whole = false;
	lsc_holding_end_marks(holding, false);
	if (!holding->on_disk)
		lsc_stock_drop(stock, holding);
}

void lsc_stock_touch(struct lsc_stock *stock, struct lsc_holding *holding)
{
	holding->used_ns = lsc_clock_ns();
	holding->keep_ns = holding->used_ns + stock->o.keep_alive_ns;
}

void lsc_stock_pin(struct lsc_stock *stock, struct lsc_holding *holding, bool pinned)
{
	holding->pinned = pinned;
	lsc_stock_tell(stock, holding, LSC_STOCK_CHANGED, pinned ? "pinned" : "unpinned");
}

void lsc_stock_usage(const struct lsc_stock *stock, struct lsc_stock_usage *ret)
{
	struct statvfs vfs;

	*ret = (struct lsc_stock_usage){.host_capacity = stock->o.host_bytes};
	memcpy(ret->events, stock->events, sizeof(ret->events));
	for (const struct lsc_cell *cell = stock->cells; cell; cell = cell->next) {
		ret->cells++;
		ret->host_bytes += cell->room;
	}
	for (const struct lsc_cell *cell = stock->leaving; cell; cell = cell->next) {
		ret->host_bytes += cell->room;
		ret->host_leaving += cell->room;
	}
	ret->disk_capacity = stock->o.disk_bytes;
	if (statvfs(stock->o.dir, &vfs) == 0)
		ret->disk_capacity = LSC_MIN(ret->disk_capacity, vfs.f_blocks * vfs.f_frsize);
	ret->disk_bytes = stock->disk_used ? stock->disk_used : lsc_stock_on_disk(stock);
	for (const struct lsc_holding *h = stock->holdings; h; h = h->next) {
		ret->images += h->cells != NULL;
		ret->disk_images += h->on_disk;
		ret->host_bytes += lsc_stock_tables(h);
	}
}

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

/* --- the whole --- */

/* Leases end without a word. */
static void on_sweep(void *data)
{
	struct lsc_stock *stock = data;
	struct lsc_cell **at = &stock->leaving;
	struct lsc_holding *h, *next;

	if (!stock->holder && stock->o.hold) /* it could not be started */
		lsc_stock_keep_again(stock, NULL);
	while (*at) {
		struct lsc_cell *cell = *at;

		if (lsc_cell_is_lent(cell)) {
			at = &cell->next;
			continue;
		}
		*at = cell->next;
		lsc_stock_forget_leaving(stock, cell);
		lsc_cell_free(cell);
	}
	for (h = stock->holdings; h; h = next) {
		next = h->next;
		if (lsc_holding_is_lent(h))
			lsc_stock_touch(stock, h);
		lsc_stock_leave(stock, h);
	}
	lsc_timer_arm(stock->sweep, SWEEP_NS);
}

/* DIR/.lsc/tier, which is there for its lock alone: the directory's own is for who changes it. */
static int open_lock(const char *dir, struct lsc_err *err)
{
	char path[PATH_MAX];
	int fd = -1, n = snprintf(path, sizeof(path), "%s/.lsc", dir);

	if (n + (int)sizeof("/tier") > PATH_MAX)
		return lsc_err_set(err, ENAMETOOLONG, "'%s': %m", dir);
	if (mkdir(path, 0777) == 0 || errno == EEXIST) {
		strcat(path, "/tier");
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	}
	return fd < 0 ? lsc_err_set(err, errno, "cannot open '%s': %m", path) : fd;
}

/* One tier a directory.  A daemon that was killed may take a moment to be gone. */
static int lock_dir(struct lsc_stock *stock, struct lsc_err *err)
{
	const struct timespec pause = {0, LOCK_PAUSE_NS};
	int r = -1;

	stock->lock_fd = open_lock(stock->o.dir, err);
	if (stock->lock_fd < 0)
		return stock->lock_fd;
	for (int i = 0; i < LOCK_TRIES; i++) {
		r = flock(stock->lock_fd, LOCK_EX | LOCK_NB);
		if (r == 0 || errno != EWOULDBLOCK)
			break;
		nanosleep(&pause, NULL);
	}
	return r == 0 ? 0
		      : lsc_err_set(err, errno == EWOULDBLOCK ? EADDRINUSE : errno,
				    errno == EWOULDBLOCK ? "a tier serves '%s' already"
							 : "cannot lock '%s': %m",
				    stock->o.dir);
}

int lsc_stock_open(struct lsc_stock **ret_stock, struct lsc_loop *loop,
		   const struct lsc_stock_options *options, struct lsc_err *err)
{
	struct lsc_stock *stock = calloc(1, sizeof(*stock));
	int r;

	if (!stock)
		return lsc_err_set(err, ENOMEM, "no memory for a tier");
	stock->loop = loop;
	stock->o = *options;
	stock->inotify_fd = stock->lock_fd = -1;
	r = lock_dir(stock, err);
	if (r == 0)
		r = lsc_timer_new(loop, on_sweep, stock, &stock->sweep, err);
	if (r == 0)
		r = lsc_stock_adopt(stock, err);
	if (r == 0)
		r = lsc_stock_open_disk(stock, err);
	if (r < 0) {
		lsc_stock_close(stock, true);
		return r;
	}
	lsc_timer_arm(stock->sweep, SWEEP_NS);
	*ret_stock = stock;
	return 0;
}

void lsc_stock_close(struct lsc_stock *stock, bool leave)
{
	struct lsc_holding *holding, *next;
	struct lsc_cell *cell;

	if (!stock)
		return;
	lsc_stock_close_disk(stock);
	for (holding = stock->holdings; holding; holding = next) {
		next = holding->next;
		lsc_stock_end_save(stock, holding);
		lsc_stock_end_fetch(holding);
		if (!leave)
			lsc_stock_empty(stock, holding);
	}
	while ((holding = stock->holdings)) {
		stock->holdings = holding->next;
		lsc_holding_free(holding);
	}
	while ((cell = stock->cells)) {
		stock->cells = cell->next;
		lsc_cell_free(cell);
	}
	while ((cell = stock->leaving)) {
		stock->leaving = cell->next;
		if (!leave)
			lsc_stock_forget_leaving(stock, cell);
		lsc_cell_free(cell);
	}
	lsc_watch_remove(stock->holder);
	lsc_keep_close(stock->keep, leave);
	lsc_timer_free(stock->sweep);
	if (stock->lock_fd >= 0)
		close(stock->lock_fd);
	free(stock);
}
