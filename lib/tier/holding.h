/* A holding: an image that this node has, in memory or on disk.
 *
 * In memory it is a manifest, a cell for each block, and while it fills a table of arrivals
 * (mem/marks.h), each a memfd.  Who fills it holds a lock on the table, by a description of its
 * own that it maps, so that there is one who does, and the kernel knows whether.
 */
#ifndef LSC_TIER_HOLDING_H
#define LSC_TIER_HOLDING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "mem/segment.h"
#include "model/image.h"
#include "tier/cell.h"

struct lsc_marks; /* mem/marks.h */

struct lsc_holding {
	char name[LSC_SEGMENT_NAME];
	char key[LSC_HASH_TEXT]; /* of the name, for what is kept (tier/keep.h) */
	struct lsc_image image;  /* its tables */

	/* in memory */
	int manifest_fd, marks_fd; /* -1 */
	uint8_t *manifest;         /* mapped; the image's tables point into it */
	struct lsc_marks *marks;   /* mapped; NULL once it is whole */
	struct lsc_cell **cells;   /* by block; NULL where it is not in memory */
	bool whole;                /* all of them are */

	/* on disk */
	bool on_disk;            /* all of it */
	bool seen;               /* when the directory was last read */
	bool damaged;            /* what is there cannot be read, or is not what it should be */
	struct lsc_fetch *fetch; /* while it comes from there (tier/fetch.h) */
	struct lsc_save *save;   /* while it goes there (tier/save.h) */
	bool no_save;            /* it could not; not to be tried again */

	/* what the policy knows of it (plan/evict.h) */
	bool pinned;
	int priority;
	uint64_t used_ns; /* when it was last lent, or found to be */
	uint64_t keep_ns; /* it stays until then, if it can */

	struct lsc_holding *next;
};

/* A holding of this name; takes a copy of the manifest that fd holds, and parses it.  It has no
 * cells. */
int lsc_holding_new(struct lsc_holding **ret_holding, const char *name, int manifest_fd,
		    struct lsc_err *err);

/* The same of descriptors that were kept, which are its own from now on; marks_fd may be -1. */
int lsc_holding_adopt(struct lsc_holding **ret_holding, const char *name, int manifest_fd,
		      int marks_fd, struct lsc_err *err);

/* The hash of a block: of its pieces' hashes, and its length. */
struct lsc_hash lsc_holding_block(const struct lsc_holding *holding, uint32_t block);

/* An empty table of arrivals; then the pieces of blocks whose cells are whole are marked. */
int lsc_holding_begin(struct lsc_holding *holding, struct lsc_err *err);
void lsc_holding_mark_whole(struct lsc_holding *holding);

/* Whether all pieces are marked. */
bool lsc_holding_is_full(const struct lsc_holding *holding);

/* A descriptor of the table: to be looked at, or to fill the image by it, which one at a time can:
 * -EBUSY. */
int lsc_holding_lend_marks(const struct lsc_holding *holding, bool fill, struct lsc_err *err);
bool lsc_holding_is_filled(const struct lsc_holding *holding);

/* Whether fd is the description of the table that its lock belongs to: the proof of who fills it.
 */
bool lsc_holding_is_filler(const struct lsc_holding *holding, int fd);

/* Processes that use it now, at least: 1, 0. */
bool lsc_holding_is_lent(const struct lsc_holding *holding);

/* The table goes, as committed or not: who waits for pieces is told. */
void lsc_holding_end_marks(struct lsc_holding *holding, bool committed);

/* Closes all but the cells, which are the caller's.  NULL is fine. */
void lsc_holding_free(struct lsc_holding *holding);

#endif
