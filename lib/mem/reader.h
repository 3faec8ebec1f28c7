/* A reader: many ranges of files into memory, as fast as the disk gives them.
 *
 * What the page cache has is copied from there; the rest is read past the cache (O_DIRECT), in
 * chunks of which so many are on their way that the disk is never idle: by io_uring, or, where the
 * kernel refuses that, by threads that wait.  Ranges are begun in the order in which they were
 * added, and end in any.
 *
 * A range's place in memory is the reader's until its fn is called.  Addresses, offsets and lengths
 * may be any; those that are multiples of 4096 are fast.
 */
#ifndef LSC_MEM_READER_H
#define LSC_MEM_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct lsc_reader;

/* How what is not in the page cache is read. */
enum lsc_reader_path {
	LSC_READER_AUTO,  /* what LSC_READER in the environment says ("uring", "pread", "buffered"),
			   * or the first of these that works */
	LSC_READER_URING, /* -EOPNOTSUPP where it is not built in, or errno where it is refused */
	LSC_READER_PREAD,
	LSC_READER_BUFFERED, /* through the page cache, by threads */
};

struct lsc_reader_options {
	enum lsc_reader_path path;
	uint32_t chunk_bytes; /* a multiple of 4096; 0: 256 KiB */
	uint64_t depth_bytes; /* on their way at once; 0: found out while it reads */
	uint32_t threads;     /* 0: by processors, or by what is on its way */
	double rate;          /* bytes a second; 0: no limit */
};

/* A range, whose memory is the caller's and stays until fn is called. */
struct lsc_read {
	int fd;          /* a file's; the same file for as long as the reader lives */
	uint64_t offset; /* in it */
	uint8_t *to;
	uint64_t bytes; /* 1 at least */
	void (*fn)(void *data, struct lsc_read *read);
	void *data;

	/* when fn is called */
	int result;      /* 0, or negative errno: -ENODATA where the file ends before, -ECANCELED.
			  * Then what is in memory is undefined. */
	uint64_t cached; /* bytes that came from the page cache */

	/* the reader's */
	struct lsc_reader_file *file;
	struct lsc_read *next;
	uint64_t given, left;
};

int lsc_reader_start(struct lsc_reader **ret_reader, const struct lsc_reader_options *options,
		     struct lsc_err *err);

/* fn is called once, in one of the reader's threads (or inside lsc_reader_cancel() and _stop()): it
 * may add, and may take its time, since other threads go on and the disk does too.  -ENOMEM, and
 * errno of a descriptor that is no file's. */
int lsc_reader_add(struct lsc_reader *reader, struct lsc_read *read);

/* From now on no more than so many bytes a second are begun, over any half second; 0: no limit.  It
 * keeps a few per cent below, and 64 KiB a second is the least that it can do. */
void lsc_reader_set_rate(struct lsc_reader *reader, double bytes_per_s);

/* Ends what was added by then with -ECANCELED; what is on its way comes in first. */
void lsc_reader_cancel(struct lsc_reader *reader);

/* The same, and waits for what is on its way: some milliseconds.  NULL is fine. */
void lsc_reader_stop(struct lsc_reader *reader);

struct lsc_reader_totals {
	uint64_t direct; /* bytes past the page cache */
	uint64_t cached; /* bytes from it */
	uint64_t other;  /* bytes through it, because of where they lie */
	uint64_t depth_bytes;
	enum lsc_reader_path path;
};

void lsc_reader_totals(struct lsc_reader *reader, struct lsc_reader_totals *ret);
const char *lsc_reader_path_name(enum lsc_reader_path path); /* "uring" */

#endif
