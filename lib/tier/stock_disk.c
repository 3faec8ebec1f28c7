/* stock_disk - what of the stock is on disk: found, and found again when the directory changes
 *
 * Images come to the directory and go by other hands too: by a pack, a cast without a tier, a
 * person.  The kernel tells of that (inotify(7)); a moment later the directory is read again, in
 * one go, however much has changed; and some more times, as what has a name already may still be
 * growing.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "tier/fetch.h"
#include "tier/save.h"
#include "tier/stock_own.h"

#define LATER_NS  50000000ull /* the first look; each one after that comes ten times as late */
#define LATEST_NS 50000000000ull
#define CHANGES   (IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_ONLYDIR)

struct scan {
	struct lsc_stock *stock;
	struct lsc_err *err;
};

/* Whether all of it is there; a copy that is being made is not yet. */
static bool is_all_there(const struct lsc_stock *stock, const struct lsc_holding *holding)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/%s", stock->o.dir, holding->name) < PATH_MAX &&
	       lsc_image_open(&image, path, NULL) == 0;
}

static int open_manifest(const struct lsc_stock *stock, const char *name)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s/manifest", stock->o.dir, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* One that is there: it is marked as seen, or new. */
static int on_image(void *data, const char *name, bool arriving)
{
	struct scan *scan = data;
	struct lsc_stock *stock = scan->stock;
	struct lsc_holding *holding = lsc_stock_find(stock, name), *found;
	struct lsc_err err = LSC_ERR_INIT;
	LSC_CLEANUP_FD int fd = -1;

	if (arriving)
		return 0;
	if (holding && holding->on_disk) {
		holding->seen = true;
		return 0;
	}
	fd = open_manifest(stock, name);
	if (fd < 0)
		return 0; /* it is just going */
	if (lsc_holding_new(&found, name, fd, &err) < 0) {
		lsc_debug("tier", "'%s' on disk is no image: %s", name, err.text);
		return 0;
	}
	if (!is_all_there(stock, found)) {
		lsc_holding_free(found);
		return 0;
	}
	if (holding) { /* in memory alone, until now */
		holding->on_disk = lsc_hash_equal(&holding->image.id, &found->image.id);
		holding->seen = holding->on_disk;
		lsc_holding_free(found);
		return 0;
	}
	found->on_disk = true;
	found->seen = true;
	stock->share = true;
	lsc_stock_add(stock, found);
	lsc_stock_tell(stock, found, LSC_STOCK_FOUND, NULL);
	return 0;
}

int lsc_stock_scan(struct lsc_stock *stock, struct lsc_err *err)
{
	struct scan scan = {stock, err};
	struct lsc_holding *next;
	int r;

	for (struct lsc_holding *h = stock->holdings; h; h = h->next)
		h->seen = false;
	r = lsc_segment_each(stock->o.dir, on_image, &scan, err);
	for (struct lsc_holding *h = stock->holdings; r == 0 && h; h = next) {
		next = h->next;
		if (!h->on_disk || h->seen)
			continue;
		h->on_disk = false;
		lsc_stock_tell(stock, h, LSC_STOCK_REMOVED, NULL);
		if (!h->cells)
			lsc_stock_drop(stock, h);
	}
	return r;
}

/* --- changes --- */

static void on_later(void *data)
{
	struct lsc_stock *stock = data;
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_stock_scan(stock, &err) < 0)
		lsc_warning("%s", err.text);
	for (struct lsc_holding *h = stock->holdings; h; h = h->next)
		h->no_save = false; /* there may be room now */
	lsc_stock_save(stock);
	lsc_stock_share(stock);
	stock->later_ns *= 10;
	if (stock->later_ns <= LATEST_NS)
		lsc_timer_arm(stock->later, stock->later_ns);
}

static void on_change(void *data, uint32_t events)
{
	struct lsc_stock *stock = data;
	char many[4096];

	(void)events;
	while (read(stock->inotify_fd, many, sizeof(many)) > 0)
		;
	stock->later_ns = LATER_NS;
	lsc_timer_arm(stock->later, stock->later_ns);
}

/* --- from disk --- */

/* What came of it: all, with what others brought; or too little, and nobody else brings the rest.
 */
static void on_fetched(void *data, struct lsc_holding *holding, int result,
		       const struct lsc_err *why)
{
	struct lsc_stock *stock = data;
	struct lsc_err err = *why; /* what it came in goes */

	lsc_stock_end_fetch(holding);
	if (result < 0) {
		holding->damaged = true;
		lsc_warning("'%s' on disk is damaged: %s", holding->name, err.text);
	}
	if (lsc_holding_is_filled(holding))
		return;
	if (!lsc_holding_is_full(holding) || lsc_stock_commit(stock, holding, &err) < 0)
		lsc_stock_discard(stock, holding, err.text);
}

int lsc_stock_fetch(struct lsc_stock *stock, struct lsc_holding *holding, double rate,
		    struct lsc_err *err)
{
	int r = 0;

	if (holding->fetch) {
		lsc_fetch_set_rate(holding->fetch, rate);
		return 0;
	}
	if (!holding->on_disk)
		return lsc_err_set(err, ENOENT, "'%s' is not on disk", holding->name);
	if (holding->damaged)
		return lsc_err_set(err, EBADMSG, "'%s' on disk is damaged", holding->name);
	if (!holding->cells)
		r = lsc_stock_begin(stock, holding, err);
	if (r < 0)
		return r;
	r = lsc_fetch_start(&holding->fetch, stock->loop, stock->o.dir, holding, rate, on_fetched,
			    stock, err);
	if (r < 0 && !lsc_holding_is_filled(holding))
		lsc_stock_discard(stock, holding, err->text);
	return r;
}

int lsc_stock_want(struct lsc_stock *stock, struct lsc_holding *holding, struct lsc_err *err)
{
	if (holding->whole || holding->fetch ||
	    (holding->cells && (!holding->on_disk || holding->damaged)))
		return 0;
	return lsc_stock_fetch(stock, holding, 0, err);
}

void lsc_stock_end_fetch(struct lsc_holding *holding)
{
	lsc_fetch_stop(holding->fetch);
	holding->fetch = NULL;
}

/* --- to disk --- */

uint64_t lsc_stock_on_disk(const struct lsc_stock *stock)
{
	uint64_t bytes = 0;

	for (const struct lsc_holding *h = stock->holdings; h; h = h->next)
		if (h->on_disk || h->save)
			bytes += h->image.bytes + h->image.manifest_len;
	return bytes;
}

static void on_saved(void *data, int result, uint64_t used, const struct lsc_err *why)
{
	struct lsc_stock *stock = data;
	struct lsc_holding *holding = stock->saving;
	struct lsc_err copy = *why, *err = &copy; /* what it came in goes */

	stock->disk_used = used;
	lsc_stock_end_save(stock, holding);
	holding->on_disk = result == 0;
	stock->share = true;
	holding->no_save = result < 0;
	if (result < 0)
		lsc_warning("'%s' cannot be written to disk: %s", holding->name, err->text);
	lsc_stock_tell(stock, holding, result < 0 ? LSC_STOCK_UNSAVED : LSC_STOCK_SAVED,
		       result < 0 ? err->text : NULL);
	lsc_stock_save(stock);
	lsc_stock_share(stock);
}

void lsc_stock_save(struct lsc_stock *stock)
{
	struct lsc_err err = LSC_ERR_INIT;

	for (struct lsc_holding *h = stock->holdings; h && !stock->saving && !stock->chore;
	     h = h->next) {
		if (!stock->o.disk_bytes || !h->whole || h->on_disk || h->no_save)
			continue;
		if (lsc_save_start(&h->save, stock->loop, stock->o.dir, h, stock->o.disk_bytes,
				   on_saved, stock, &err) == 0) {
			stock->saving = h;
			return;
		}
		h->no_save = true;
		lsc_warning("'%s' stays in memory alone: %s", h->name, err.text);
		lsc_stock_tell(stock, h, LSC_STOCK_UNSAVED, err.text);
	}
}

void lsc_stock_end_save(struct lsc_stock *stock, struct lsc_holding *holding)
{
	lsc_save_stop(holding->save);
	holding->save = NULL;
	if (stock->saving == holding)
		stock->saving = NULL;
}

/* --- the whole --- */

int lsc_stock_open_disk(struct lsc_stock *stock, struct lsc_err *err)
{
	int r = lsc_timer_new(stock->loop, on_later, stock, &stock->later, err);

	if (r < 0)
		return r;
	stock->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (stock->inotify_fd < 0 ||
	    inotify_add_watch(stock->inotify_fd, stock->o.dir, CHANGES) < 0)
		return lsc_err_set(err, errno, "cannot watch '%s': %m", stock->o.dir);
	r = lsc_loop_watch(stock->loop, stock->inotify_fd, EPOLLIN, on_change, stock,
			   &stock->change, err);
	if (r == 0)
		r = lsc_stock_scan(stock, err);
	if (r == 0) {
		lsc_stock_save(stock);
		lsc_stock_share(stock);
	}
	return r;
}

void lsc_stock_close_disk(struct lsc_stock *stock)
{
	lsc_chore_stop(stock->chore);
	stock->chore = NULL;
	lsc_watch_remove(stock->change);
	lsc_timer_free(stock->later);
	if (stock->inotify_fd >= 0)
		close(stock->inotify_fd);
}
