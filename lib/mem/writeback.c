/* writeback - a thread that starts the writing of what is whole
 *
 * The kernel starts by itself after 30 s, or when a tenth of the memory is dirty; a cast is over by
 * then, and its end would wait for a whole image.  sync_file_range() starts writing and waits only
 * where the disk's queue is full: so it has a thread, which shares with the caller what is under
 * the lock.
 *
 * The file is cut into chunks as large as the largest page there is: one that is written while a
 * part of it is missing would be written again.  Runs of whole chunks go out together, BATCH_BYTES
 * at least, as long as there is more to come.
 */
#include "mem/writeback.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macros.h"

#define CHUNK_BYTES (2u << 20)
#define BATCH_BYTES (8u << 20)

struct lsc_writeback {
	pthread_mutex_t lock;
	pthread_cond_t more;
	int fd;
	unsigned users; /* the caller, the thread */
	bool stopped;
	uint64_t bytes, here, done;
	uint64_t waiting; /* bytes of whole chunks that are not written */
	uint64_t n_chunks;
	uint32_t missing[]; /* bytes, by chunk; WRITTEN */
};

#define WRITTEN UINT32_MAX

static void drop(struct lsc_writeback *w)
{
	bool last;

	pthread_mutex_lock(&w->lock);
	last = --w->users == 0;
	pthread_mutex_unlock(&w->lock);
	if (!last)
		return;
	close(w->fd);
	pthread_cond_destroy(&w->more);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static uint64_t chunk_bytes(const struct lsc_writeback *w, uint64_t chunk)
{
	return LSC_MIN(w->bytes - chunk * CHUNK_BYTES, (uint64_t)CHUNK_BYTES);
}

/* Writes the whole chunks from here on; returns the first behind them. */
static uint64_t write_run(struct lsc_writeback *w, uint64_t first)
{
	uint64_t end = first, len = 0;

	while (end < w->n_chunks && w->missing[end] == 0) {
		w->missing[end] = WRITTEN;
		len += chunk_bytes(w, end++);
	}
	if (len == 0)
		return first + 1;
	w->waiting -= len;
	pthread_mutex_unlock(&w->lock);
	sync_file_range(w->fd, (off_t)(first * CHUNK_BYTES), (off_t)len, SYNC_FILE_RANGE_WRITE);
	pthread_mutex_lock(&w->lock);
	w->done += len;
	return end;
}

static bool is_worth_it(const struct lsc_writeback *w)
{
	return w->waiting >= BATCH_BYTES || (w->waiting && w->here >= w->bytes);
}

static void *run(void *arg)
{
	struct lsc_writeback *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->stopped) {
		if (!is_worth_it(w)) {
			pthread_cond_wait(&w->more, &w->lock);
			continue;
		}
		for (uint64_t i = 0; i < w->n_chunks && !w->stopped;)
			i = write_run(w, i);
	}
	pthread_mutex_unlock(&w->lock);
	drop(w);
	return NULL;
}

/* The program's signals are for its other threads. */
static int start_thread(struct lsc_writeback *w)
{
	pthread_t thread;
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		pthread_detach(thread);
	return -r;
}

struct lsc_writeback *lsc_writeback_start(int fd, uint64_t bytes)
{
	uint64_t n = lsc_div_up(bytes, CHUNK_BYTES);
	struct lsc_writeback *w;

	if (lsc_fd_in_memory(fd))
		return NULL;
	w = calloc(1, sizeof(*w) + n * sizeof(w->missing[0]));
	if (!w)
		return NULL;
	w->bytes = bytes;
	w->n_chunks = n;
	for (uint64_t i = 0; i < n; i++)
		w->missing[i] = (uint32_t)chunk_bytes(w, i);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	w->users = 2;
	w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (w->fd < 0 || start_thread(w) < 0) {
		w->users = 1;
		drop(w);
		return NULL;
	}
	return w;
}

void lsc_writeback_add(struct lsc_writeback *w, uint64_t offset, uint64_t len)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	len = LSC_MIN(len, w->bytes - LSC_MIN(offset, w->bytes));
	w->here += len;
	while (len) {
		uint64_t chunk = offset / CHUNK_BYTES;
		uint32_t part = LSC_MIN(len, CHUNK_BYTES - offset % CHUNK_BYTES);

		if (w->missing[chunk] != WRITTEN && w->missing[chunk]) {
			w->missing[chunk] -= LSC_MIN(part, w->missing[chunk]);
			if (w->missing[chunk] == 0)
				w->waiting += chunk_bytes(w, chunk);
		}
		offset += part;
		len -= part;
	}
	if (is_worth_it(w))
		pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
}

uint64_t lsc_writeback_done(struct lsc_writeback *w)
{
	uint64_t done = 0;

	if (w) {
		pthread_mutex_lock(&w->lock);
		done = w->done;
		pthread_mutex_unlock(&w->lock);
	}
	return done;
}

void lsc_writeback_stop(struct lsc_writeback *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopped = true;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	drop(w);
}
