/* What the parts of the stock share; for stock*.c alone. */
#ifndef LSC_TIER_STOCK_OWN_H
#define LSC_TIER_STOCK_OWN_H

#include "plan/evict.h"
#include "tier/stock.h"
#include "tier/wishes.h"

struct lsc_stock {
	struct lsc_loop *loop;
	struct lsc_stock_options o;
	struct lsc_holding *holdings;
	struct lsc_cell *cells;   /* of holdings */
	struct lsc_cell *leaving; /* of none any more, and still lent */
	struct lsc_keep *keep;
	struct lsc_watch *holder; /* whether it lives */
	bool keeping;             /* all is just being kept again */
	int lock_fd;              /* its lock: one tier a directory */
	struct lsc_timer *sweep;
	struct lsc_wishes wishes;
	uint64_t events[LSC_STOCK_EVENTS];

	/* of the directory (stock_disk.c) */
	struct lsc_holding *saving; /* one at a time */
	int inotify_fd;
	struct lsc_chore *chore; /* one at a time */
	lsc_chore_fn *chore_fn;
	void *chore_data;
	bool share;         /* what is on disk has changed since blocks were last shared */
	uint64_t disk_used; /* bytes, when that was last looked at; 0: never */
	struct lsc_watch *change;
	struct lsc_timer *later;
	uint64_t later_ns;
};

/* --- stock.c --- */

void lsc_stock_tell(struct lsc_stock *stock, const struct lsc_holding *holding,
		    enum lsc_stock_event event, const char *why);

/* A cell that is whole, by its key; NULL. */
struct lsc_cell *lsc_stock_cell(struct lsc_stock *stock, const struct lsc_hash *key);
void lsc_stock_add_cell(struct lsc_stock *stock, struct lsc_cell *cell);
void lsc_stock_release_cell(struct lsc_stock *stock, struct lsc_cell *cell);

void lsc_stock_add(struct lsc_stock *stock, struct lsc_holding *holding);

/* Makes room, and cells for what others have not, of one that is in the list and not in memory. */
int lsc_stock_begin(struct lsc_stock *stock, struct lsc_holding *holding, struct lsc_err *err);

/* Takes it out of memory, and its memory out of the holder; and out of the list, where it is not on
 * disk. */
void lsc_stock_empty(struct lsc_stock *stock, struct lsc_holding *holding);

/* Takes it out of the list, which is all there is of it. */
void lsc_stock_drop(struct lsc_stock *stock, struct lsc_holding *holding);

/* The same as empty, and says so. */
void lsc_stock_unload(struct lsc_stock *stock, struct lsc_holding *holding, const char *why);

/* -EBUSY, with words, where it is in use, arrives, or is pinned. */
int lsc_stock_may_leave(const struct lsc_holding *holding, struct lsc_err *err);

/* Bytes of its tables. */
uint64_t lsc_stock_tables(const struct lsc_holding *holding);

/* --- stock_disk.c --- */

/* Reads the directory, and watches it. */
int lsc_stock_open_disk(struct lsc_stock *stock, struct lsc_err *err);
int lsc_stock_scan(struct lsc_stock *stock, struct lsc_err *err);
void lsc_stock_close_disk(struct lsc_stock *stock);

/* The load of it ends, as far as it came. */
void lsc_stock_end_fetch(struct lsc_holding *holding);

/* Begins to write what is not on disk, if it may, and nothing else is being written. */
void lsc_stock_save(struct lsc_stock *stock);
void lsc_stock_share(struct lsc_stock *stock); /* if there is reason to */
void lsc_stock_end_save(struct lsc_stock *stock, struct lsc_holding *holding);
uint64_t lsc_stock_on_disk(const struct lsc_stock *stock); /* bytes of images */

/* --- room.c --- */

/* Has images leave memory so that need bytes are free, for one that is to come, and is not in the
 * stock yet: -ENOSPC, with words on what stands in the way; -EAGAIN where something is on its way
 * to disk, and may leave then. */
int lsc_stock_make_room(struct lsc_stock *stock, const struct lsc_holding *coming, uint64_t need,
			struct lsc_err *err);

/* --- stock_keep.c: what is kept outside of the daemon --- */

/* Opens the holder, and makes holdings of what is there. */
int lsc_stock_adopt(struct lsc_stock *stock, struct lsc_err *err);

/* The holder ended: another one gets all that this stock has. */
int lsc_stock_keep_again(struct lsc_stock *stock, struct lsc_err *err);

int lsc_stock_keep_tables(struct lsc_stock *stock, const struct lsc_holding *holding,
			  struct lsc_err *err);
int lsc_stock_keep_cell(struct lsc_stock *stock, const struct lsc_holding *holding, uint32_t block,
			struct lsc_err *err);

/* A block's cell is whole: it is kept under its key, and not as a part of that image any more. */
int lsc_stock_keep_whole(struct lsc_stock *stock, const struct lsc_holding *holding, uint32_t block,
			 struct lsc_err *err);

void lsc_stock_forget_marks(struct lsc_stock *stock, const struct lsc_holding *holding);
void lsc_stock_forget_tables(struct lsc_stock *stock, const struct lsc_holding *holding);
void lsc_stock_forget_part(struct lsc_stock *stock, const struct lsc_holding *holding,
			   uint32_t block);

/* A cell that no image has, and somebody still maps: the next daemon is to count it, too. */
void lsc_stock_keep_leaving(struct lsc_stock *stock, const struct lsc_cell *cell);
void lsc_stock_forget_leaving(struct lsc_stock *stock, const struct lsc_cell *cell);

void lsc_stock_forget_cell(struct lsc_stock *stock, const struct lsc_cell *cell);

#endif
