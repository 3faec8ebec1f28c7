/* stock - images in memory: made, shared, sealed, let go
 *
 * What is lent is not ours to free: a cell that no image has any more waits until its last lease
 * ends, and counts till then.
 */
#include "tier/stock.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
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
	const struct lsc_wish *wish = lsc_wishes_find(&stock->wishes, holding->name);

	if (wish) {
		holding->pinned = wish->pinned;
		holding->priority = wish->priority;
	}
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

int lsc_stock_wish(struct lsc_stock *stock, struct lsc_holding *holding, bool pinned, int priority,
		   struct lsc_err *err)
{
	int r = lsc_wishes_set(&stock->wishes, holding->name, pinned, priority, err);
	char why[64];

	if (r < 0)
		return r;
	holding->pinned = pinned;
	holding->priority = priority;
	snprintf(why, sizeof(why), "%s, priority %d", pinned ? "pinned" : "not pinned", priority);
	lsc_stock_tell(stock, holding, LSC_STOCK_CHANGED, why);
	return 0;
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
		r = lsc_wishes_open(&stock->wishes, options->dir, err);
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
	lsc_wishes_close(&stock->wishes);
	free(stock);
}
