/* A load: an image's blocks come from the disk into memory, while others use what is there.
 *
 * Blocks are read in order, first to last or last to first, by mem/reader.h: from behind in any
 * case as long as a cast has claims on others, since that begins at the front.  Pieces are held
 * against their hashes and marked (mem/marks.h), so that who executes goes on with each.  Where
 * others fill the same memory (a cast), a block is claimed before it is read (mem/claims.h): what
 * others have claimed is left to them, and what they give up, or die with, is read after all.
 *
 * A piece that cannot be read, or is not what it was, fails its block alone: the claim is dropped,
 * its other pieces stay marked, and the load goes on.
 *
 * A load has a thread of its own, from which all its events come, one after another, and those of
 * its reader, which hash.
 */
#ifndef LSC_TIER_LOAD_H
#define LSC_TIER_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/runs.h"
#include "mem/claims.h"
#include "mem/marks.h"
#include "mem/reader.h"
#include "model/image.h"

struct lsc_load;

/* From the load's thread; NULL is fine. An event may call lsc_load_set_rate() and _progress(). */
struct lsc_load_events {
	/* A block is its own now and about to be read: its memory may be made.  Negative errno with
	 * words fails it. */
	int (*on_begin)(void *data, uint32_t block, struct lsc_err *err);
	/* Once for each block that is wanted, unless the load is stopped before: all of it is there
	 * (ours: from the disk; else someone else brought it, or it was there), or it failed. piece
	 * is the first that was bad, LSC_LOAD_NO_PIECE where it is not about one. */
	void (*on_block)(void *data, uint32_t block, bool ours);
	void (*on_failed)(void *data, uint32_t block, uint32_t piece, const struct lsc_err *err);
	/* Nothing is left to do; the load waits to be stopped. */
	void (*on_end)(void *data);
};

#define LSC_LOAD_NO_PIECE UINT32_MAX

/* All of it is borrowed until lsc_load_stop(). */
struct lsc_load_options {
	const struct lsc_image *image; /* its tables */
	const struct lsc_run *runs;    /* where it lies in files; in order (lsc_runs_check()) */
	size_t n_runs;
	uint8_t *data; /* the image's range: a block is writable from on_begin to its end */
	struct lsc_marks *marks;
	struct lsc_claims *claims;        /* for the disk; NULL: nobody else fills this memory */
	const uint64_t *wanted;           /* a set of blocks (base/bits.h); NULL: all */
	bool backwards;                   /* the last block first */
	bool blind;                       /* hashes are not looked at: to measure what they cost */
	struct lsc_reader_options reader; /* its rate among them */
	const struct lsc_load_events *events;
	void *data_of_events;
};

int lsc_load_start(struct lsc_load **ret_load, const struct lsc_load_options *options,
		   struct lsc_err *err);

/* Bytes a second; 0: as fast as it can. */
void lsc_load_set_rate(struct lsc_load *load, double bytes_per_s);

struct lsc_load_progress {
	uint64_t direct, cached, other; /* bytes read, as in struct lsc_reader_totals */
	double seconds;                 /* since it began, until its end */
	uint32_t blocks_ours, blocks_others, blocks_failed, blocks_left;
	uint32_t bad_pieces;
	uint64_t depth_bytes;
	enum lsc_reader_path path;
};

void lsc_load_progress(struct lsc_load *load, struct lsc_load_progress *ret);

/* Ends it, some milliseconds later: blocks that are not whole are dropped, their pieces stay.  No
 * event comes any more.  Not from inside an event.  NULL is fine. */
void lsc_load_stop(struct lsc_load *load);

#endif
