/* What reader.c shares with reader_file.c, reader_ring.c and reader_pace.c, and nobody else. */
#ifndef LSC_MEM_READER_OWN_H
#define LSC_MEM_READER_OWN_H

#include <pthread.h>
#include <stdatomic.h>

#include "mem/reader.h"

#define LSC_READER_MAX_THREADS 64
#define LSC_READER_MIN_CHUNK   4096u

enum lsc_chunk_way {
	LSC_CHUNK_CACHED,
	LSC_CHUNK_DIRECT,
	LSC_CHUNK_OTHER, /* through the page cache, which has not got it */
};

/* A part of a range, on its way. */
struct lsc_chunk {
	struct lsc_read *read;
	uint64_t offset; /* in the file */
	uint8_t *to;
	uint32_t bytes, done;
	enum lsc_chunk_way way;
	int result;
};

struct lsc_reader {
	struct lsc_reader_options o;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t more;
	struct lsc_read *first, **last;
	struct lsc_reader_file *files;
	bool stopped;
	uint64_t next_ns; /* when the next chunk may begin, where there is a rate */
	struct lsc_reader_totals totals;

	/* the search for a depth */
	bool starved, settled;
	uint64_t good_bytes, window_bytes, window_ns;
	double best;

	uint32_t n_threads, n_started;
	pthread_t threads[LSC_READER_MAX_THREADS];
	struct lsc_reader_lane *lanes[LSC_READER_MAX_THREADS]; /* of reader_ring.c */
};

/* The next chunk: 1, 0 where there is none now and it is not to wait, -ESHUTDOWN. */
int lsc_reader_take(struct lsc_reader *reader, bool wait, struct lsc_chunk *ret_chunk);

/* One is over: returns its range where that is, too, for fn to be called. */
struct lsc_read *lsc_reader_end(struct lsc_reader *reader, const struct lsc_chunk *chunk);

/* --- reader_pace.c --- */

/* Bytes that one thread may have on their way. */
uint64_t lsc_reader_share(struct lsc_reader *reader);

/* The next three with the lock held.  How large a chunk is, by the rate; how long until one may
 * begin (0: now, and it is counted); and, after one, whether there should be more on their way. */
uint32_t lsc_reader_chunk_bytes(const struct lsc_reader *reader);
uint64_t lsc_reader_pace(struct lsc_reader *reader, uint32_t bytes);
void lsc_reader_tune(struct lsc_reader *reader);

/* --- reader_file.c --- */

/* The file of a descriptor, opened anew: for direct reads, and to look into its page cache.  It is
 * put in front of a list, all of which close() ends. */
int lsc_reader_file_open(struct lsc_reader_file **ret_file, int fd, bool direct,
			 struct lsc_reader_file **files);
void lsc_reader_file_close(struct lsc_reader_file *files);
struct lsc_reader_file *lsc_reader_file_find(struct lsc_reader_file *files, int fd);

/* Says which way a chunk is to take. */
void lsc_reader_file_choose(struct lsc_chunk *chunk);

/* The descriptor for the rest of a chunk, and how much of it may go that way: 0 means that what is
 * left is for lsc_reader_file_read(). */
int lsc_reader_file_fd(const struct lsc_chunk *chunk, uint32_t *ret_bytes);

/* What a read of a chunk came to (bytes or negative errno): true where that was all of it. */
bool lsc_reader_file_took(struct lsc_chunk *chunk, int64_t n);

/* Reads the rest of a chunk, and waits for it. */
void lsc_reader_file_read(struct lsc_chunk *chunk);

/* --- reader_ring.c --- */

int lsc_reader_lane_new(struct lsc_reader_lane **ret_lane, struct lsc_reader *reader);
void lsc_reader_lane_free(struct lsc_reader_lane *lane);
void lsc_reader_lane_run(struct lsc_reader_lane *lane);

#endif
