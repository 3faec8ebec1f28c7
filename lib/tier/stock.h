/* The stock: a node's images, in memory and on disk, and what happens to them.
 *
 * It knows holdings and cells, and keeps within its capacities; who asks for what, and may, is the
 * server's to know (tier/server.h).  One thread, on an event loop.
 */
#ifndef LSC_TIER_STOCK_H
#define LSC_TIER_STOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"
#include "tier/chore.h"
#include "tier/holding.h"
#include "tier/keep.h"

struct lsc_stock;

enum lsc_stock_event {
	LSC_STOCK_FOUND,   /* it is on disk */
	LSC_STOCK_BEGUN,   /* it begins to arrive in memory */
	LSC_STOCK_WHOLE,   /* it is in memory */
	LSC_STOCK_SAVED,   /* it was written to disk */
	LSC_STOCK_UNSAVED, /* it could not be */
	LSC_STOCK_EVICTED, /* it left memory */
	LSC_STOCK_FAILED,  /* it did not arrive */
	LSC_STOCK_CHANGED, /* pinned, or not any more; its priority */
	LSC_STOCK_REMOVED, /* it is gone from disk, too */
	LSC_STOCK_EVENTS,
};

const char *lsc_stock_event_name(enum lsc_stock_event event);

struct lsc_stock_options {
	const char *dir;        /* images on disk; borrowed, like all of this */
	const char *hold;       /* the holder's socket; NULL: systemd's store */
	uint64_t host_bytes;    /* capacity */
	uint64_t keep_alive_ns; /* images stay so long after their last use, if they can */
	uint64_t disk_bytes; /* capacity; 0: nothing is written there, and images may leave memory
			      * that are not on disk */
	bool huge;           /* large pages from the system's reserve, where there are enough */

	/* Something happened; room that was waited for may be there. */
	void (*changed)(void *data, const struct lsc_holding *holding, enum lsc_stock_event event,
			const char *why);
	void *data;
};

/* Adopts what is kept there from before. */
int lsc_stock_open(struct lsc_stock **ret_stock, struct lsc_loop *loop,
		   const struct lsc_stock_options *options, struct lsc_err *err);

/* leave: memory stays with the holder.  NULL is fine. */
void lsc_stock_close(struct lsc_stock *stock, bool leave);

/* Holdings, by name, by id, or all: the first, then by ->next. */
struct lsc_holding *lsc_stock_find(struct lsc_stock *stock, const char *name);
struct lsc_holding *lsc_stock_find_id(struct lsc_stock *stock, const struct lsc_hash *id);
struct lsc_holding *lsc_stock_first(struct lsc_stock *stock);

/* An image begins to arrive, or goes on, in memory: cells that others have are shared.  -EEXIST
 * where it is whole, or another one has its name; -EBUSY while somebody brings it; -ENOSPC where
 * there is no room, and none can be made; -EAGAIN where some may be after an event. */
int lsc_stock_receive(struct lsc_stock *stock, const char *name, int manifest_fd,
		      struct lsc_holding **ret_holding, struct lsc_err *err);

/* It begins to come from disk to memory, at rate bytes a second at most (0: as fast as it can);
 * where it does already, the rate changes.  -ENOENT where it is not on disk, -EBADMSG where that is
 * damaged; -ENOSPC, -EAGAIN. */
int lsc_stock_fetch(struct lsc_stock *stock, struct lsc_holding *holding, double rate,
		    struct lsc_err *err);

/* It is wanted in memory: comes from disk, if it is there, and is not whole or coming already.
 * -ENOENT where it is nowhere. */
int lsc_stock_want(struct lsc_stock *stock, struct lsc_holding *holding, struct lsc_err *err);

/* All of it is there, and verified, by whoever brought it: it is sealed. */
int lsc_stock_commit(struct lsc_stock *stock, struct lsc_holding *holding, struct lsc_err *err);

/* It does not arrive: what there is of it goes. */
void lsc_stock_discard(struct lsc_stock *stock, struct lsc_holding *holding, const char *why);

/* Whoever brought it brings no more: what came stays for the next who does, if there is some. */
void lsc_stock_leave(struct lsc_stock *stock, struct lsc_holding *holding);

/* It leaves memory: -EBUSY while it is used or arrives, or is pinned. */
int lsc_stock_evict(struct lsc_stock *stock, struct lsc_holding *holding, struct lsc_err *err);

/* It leaves memory and disk, or the directory is cleaned (tier/chore.h).  fn is called when that is
 * done, unless this fails: -EBUSY likewise, -EAGAIN while another one is at work. */
int lsc_stock_remove(struct lsc_stock *stock, struct lsc_holding *holding, lsc_chore_fn *fn,
		     void *data, struct lsc_err *err);
int lsc_stock_clean(struct lsc_stock *stock, enum lsc_chore_kind kind, lsc_chore_fn *fn, void *data,
		    struct lsc_err *err);

/* fn is not called any more. */
void lsc_stock_leave_chore(struct lsc_stock *stock);

/* Pins it, or not any more, and says how much it matters; that stays so when it comes and goes. */
int lsc_stock_wish(struct lsc_stock *stock, struct lsc_holding *holding, bool pinned, int priority,
		   struct lsc_err *err);

/* One sentence on why it stays, or when it goes; "" where it is not in memory. */
void lsc_stock_explain(struct lsc_stock *stock, const struct lsc_holding *holding, char *ret_text,
		       size_t room);

/* It was lent. */
void lsc_stock_touch(struct lsc_stock *stock, struct lsc_holding *holding);

struct lsc_stock_usage {
	uint64_t host_capacity, host_bytes; /* of cells and tables */
	uint64_t host_leaving;              /* of these, not ours any more and still used */
	uint64_t disk_capacity, disk_bytes;
	unsigned images, cells, disk_images; /* in memory; cells of them; on disk */
	uint64_t events[LSC_STOCK_EVENTS];   /* how often, since it was opened */
};

void lsc_stock_usage(const struct lsc_stock *stock, struct lsc_stock_usage *ret_usage);

#endif
