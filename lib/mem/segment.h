/* A segment: an image's memory while it arrives, shared by who receives and who executes.
 *
 * While it arrives, the image NAME lies in DIR/NAME.part/ as three files: `manifest` and `image`
 * as they will be, and `arrivals`, a small mapped table that says which pieces are there.  When
 * all are, the directory is renamed to DIR/NAME and `arrivals` goes; mappings stay good.
 *
 * One process (the receiver) writes pieces and marks them; any number may map and wait.  Marking
 * is a release store, seeing a mark an acquire load: who sees a piece marked sees its bytes.
 *
 * Where DIR is `unix:PATH`, the tier that listens there keeps images, on disk and in memory that
 * it lends (lsc-tier(5)), and what is below works on those.
 */
#ifndef LSC_MEM_SEGMENT_H
#define LSC_MEM_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct lsc_claims;    /* mem/claims.h */
struct lsc_hash;      /* base/hash.h */
struct lsc_loan;      /* mem/segment_tier.c */
struct lsc_marks;     /* mem/marks.h */
struct lsc_tree;      /* base/tree.h */
struct lsc_writeback; /* mem/writeback.h */

#define LSC_SEGMENT_NAME 201 /* a name's longest, and the 0 behind it */

struct lsc_segment {
	char *dir; /* where NAME or NAME.part is now */
	char *name;
	uint8_t *data; /* the image; writable in the receiver alone */
	uint64_t bytes;
	const uint8_t *manifest;
	size_t manifest_len;
	struct lsc_marks *arrivals;      /* NULL once an image is complete when mapped */
	uint32_t n_pieces;               /* 0 likewise */
	size_t arrivals_len;             /* of the mapping */
	int lock_fd;                     /* the receiver's; -1 */
	struct lsc_claims *claims;       /* the receiver's, where others fill data, too; NULL */
	int image_fd;                    /* the receiver's, of what data maps; -1 */
	struct lsc_writeback *writeback; /* the receiver's; may be NULL */
	struct lsc_loan *loan;           /* where a tier lends it; NULL */

	/* while it is made */
	uint64_t allocated;
	bool by_piece; /* allocated as pieces come: clearing it all first would take long */
	const void *new_manifest;
	bool made; /* its directory */

	/* where what arrives is files (segment_tree.c) */
	struct lsc_tree *tree; /* its own; NULL: an image */
	uint32_t grown;        /* entries of it */
};

#define LSC_SEGMENT_INIT                                                                           \
	{                                                                                          \
		.lock_fd = -1, .image_fd = -1                                                      \
	}

/* A name from outside that is safe to make a directory of: no '/', no leading '.', not NAME.part,
 * 200 bytes at most.  -EINVAL. */
int lsc_segment_check_name(const char *name, struct lsc_err *err);

/* Whether images can be served from there: a directory that can be read, or a tier that answers. */
int lsc_segment_check_dir(const char *dir, struct lsc_err *err);

/* The receiver's side.  Makes DIR/NAME.part of bytes with this manifest; where it is there already
 * with the same manifest it is taken up again with the pieces it has (they were verified before
 * they were marked).  -EEXIST where DIR/NAME exists.  -ENOSPC before anything is written where the
 * disk cannot hold it; -EBUSY while another process receives it. */
int lsc_segment_create(struct lsc_segment *segment, const char *dir, const char *name,
		       const void *manifest, size_t manifest_len, uint64_t bytes, uint32_t n_pieces,
		       struct lsc_err *err);

/* The same in steps, for who has others to serve meanwhile: allocating much, or many files, takes a
 * while.  After begin(), grow() allocates a part and returns 1 while there is more to do, 0 when
 * the segment is as create() leaves it; the manifest is borrowed till then.  What fails leaves the
 * segment closed, and nothing that was not there. */
int lsc_segment_begin(struct lsc_segment *segment, const char *dir, const char *name,
		      const void *manifest, size_t manifest_len, uint64_t bytes, uint32_t n_pieces,
		      struct lsc_err *err);
int lsc_segment_grow(struct lsc_segment *segment, struct lsc_err *err);

/* The same of files that are cast as they are: DIR/NAME will be the tree, and its manifest lie in
 * DIR/.lsc/NAME.manifest.  Until then all is in NAME.part: `image` holds the small files alone, and
 * large ones lie in `tree`, from where they are mapped to their places in data. */
int lsc_segment_begin_tree(struct lsc_segment *segment, const char *dir, const char *name,
			   const void *manifest, size_t manifest_len, const struct lsc_tree *tree,
			   uint32_t n_pieces, struct lsc_err *err);

/* A part of the image is about to be written: its pages are made in one go, which is cheaper than a
 * fault for each.  -ENOSPC where the file system is in memory, which is taken only now, and there
 * is none left. */
int lsc_segment_prepare(struct lsc_segment *segment, uint64_t offset, uint64_t len,
			struct lsc_err *err);

/* A part was written, for the first time: it may go to the disk, in the background, so that
 * lsc_segment_commit() has little left to wait for. */
void lsc_segment_wrote(struct lsc_segment *segment, uint64_t offset, uint64_t len);

/* Marks a piece as there and wakes those who wait. */
void lsc_segment_mark(struct lsc_segment *segment, uint32_t piece);

/* When all pieces are marked: syncs, and renames NAME.part to NAME. */
int lsc_segment_commit(struct lsc_segment *segment, struct lsc_err *err);

/* Removes what is there of an image that did not arrive (closing keeps it, to be taken up). */
int lsc_segment_discard(struct lsc_segment *segment, struct lsc_err *err);

/* Removes the rest of files that have their name, where a receiver was killed in between; nothing
 * where one is at work. */
void lsc_segment_sweep(const char *dir, const char *name);

/* The user's side, read-only: DIR/NAME, or DIR/NAME.part.  -ENOENT when there is neither. */
int lsc_segment_open(struct lsc_segment *segment, const char *dir, const char *name,
		     struct lsc_err *err);

/* The same, to know of it alone: what a tier has on disk and not in memory does not come for that,
 * and has a manifest and no data then. */
int lsc_segment_look(struct lsc_segment *segment, const char *dir, const char *name,
		     struct lsc_err *err);

/* The same of the image whose manifest has this hash. */
int lsc_segment_find(struct lsc_segment *segment, const char *dir, const struct lsc_hash *id,
		     struct lsc_err *err);

/* Names of images in dir, arrived (NAME) or arriving (NAME.part), without the suffix: calls fn for
 * each until it returns other than 0, and returns that. */
int lsc_segment_each(const char *dir, int (*fn)(void *data, const char *name, bool arriving),
		     void *data, struct lsc_err *err);

bool lsc_segment_has(const struct lsc_segment *segment, uint32_t first, uint32_t n);
uint32_t lsc_segment_count(const struct lsc_segment *segment); /* pieces there */

/* Waits until the pieces are there: 0, -ETIMEDOUT (timeout_ms < 0: forever), -EPIPE when the
 * receiver gave up (discarded). */
int lsc_segment_wait(struct lsc_segment *segment, uint32_t first, uint32_t n, int timeout_ms);

/* A number that changes with each mark, and a wait until it is no longer seen (for those who wait
 * for several things): lsc_segment_wait() is made of these. */
uint32_t lsc_segment_generation(const struct lsc_segment *segment);
int lsc_segment_wait_change(struct lsc_segment *segment, uint32_t seen, int timeout_ms);

void lsc_segment_close(struct lsc_segment *segment);

#endif
