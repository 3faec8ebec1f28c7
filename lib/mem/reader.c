/* reader - cuts ranges into chunks, and gives them to threads when the rate allows
 *
 * A chunk is 256 KiB: smaller ones cost processor time, larger ones won nothing
 * (tests/bench/results/load.md).
 */
#include "mem/reader.h"

#include <assert.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"
#include "mem/reader_own.h"

#define CHUNK_BYTES    (256u << 10)
#define FIRST_DEPTH    (2ull << 20)
#define PREAD_DEPTH    (4ull << 20) /* a thread a chunk */
#define MAX_RING_LANES 4

/* --- chunks --- */

static void wait_for_more(struct lsc_reader *reader, uint64_t ns)
{
	uint64_t until = lsc_clock_ns() + ns;
	struct timespec at = {(time_t)(until / 1000000000), (long)(until % 1000000000)};

	if (ns)
		pthread_cond_timedwait(&reader->more, &reader->lock, &at);
	else
		pthread_cond_wait(&reader->more, &reader->lock);
}

static void cut(struct lsc_reader *reader, uint32_t bytes, struct lsc_chunk *ret)
{
	struct lsc_read *read = reader->first;

	*ret = (struct lsc_chunk){
		.read = read,
		.offset = read->offset + read->given,
		.to = read->to + read->given,
		.bytes = bytes,
	};
	read->given += bytes;
	if (read->given < read->bytes)
		return;
	reader->first = read->next;
	if (!reader->first)
		reader->last = &reader->first;
}

int lsc_reader_take(struct lsc_reader *reader, bool wait, struct lsc_chunk *ret)
{
	int r = -1;

	pthread_mutex_lock(&reader->lock);
	while (r == -1) {
		struct lsc_read *read = reader->first;
		uint64_t ns = 0;

		if (reader->stopped) {
			r = -ESHUTDOWN;
		} else if (read) {
			uint64_t left = read->bytes - read->given;
			uint32_t bytes =
				(uint32_t)LSC_MIN(left, (uint64_t)lsc_reader_chunk_bytes(reader));

			ns = lsc_reader_pace(reader, bytes);
			if (ns == 0) {
				cut(reader, bytes, ret);
				r = 1;
			}
		}
		reader->starved = reader->starved || r == -1;
		if (r == -1 && !wait)
			r = 0;
		if (r == -1)
			wait_for_more(reader, ns);
	}
	pthread_mutex_unlock(&reader->lock);
	return r;
}

/* Leaves out what was not begun of a range that failed. */
static void leave_out(struct lsc_reader *reader, struct lsc_read *read)
{
	struct lsc_read **at = &reader->first;

	if (read->given == read->bytes)
		return;
	read->left -= read->bytes - read->given;
	read->given = read->bytes;
	while (*at != read)
		at = &(*at)->next;
	*at = read->next;
	if (!*at)
		reader->last = at;
}

struct lsc_read *lsc_reader_end(struct lsc_reader *reader, const struct lsc_chunk *chunk)
{
	struct lsc_read *read = chunk->read;
	bool over;

	pthread_mutex_lock(&reader->lock);
	if (chunk->way == LSC_CHUNK_CACHED) {
		reader->totals.cached += chunk->done;
		read->cached += chunk->done;
	} else if (chunk->way == LSC_CHUNK_DIRECT) {
		reader->totals.direct += chunk->done;
	} else {
		reader->totals.other += chunk->done;
	}
	if (!reader->settled && reader->o.rate <= 0 && !reader->stopped)
		lsc_reader_tune(reader);
	read->left -= chunk->bytes;
	if (chunk->result < 0) {
		read->result = read->result ? read->result : chunk->result;
		leave_out(reader, read);
	}
	over = read->left == 0;
	pthread_mutex_unlock(&reader->lock);
	return over ? read : NULL;
}

int lsc_reader_add(struct lsc_reader *reader, struct lsc_read *read)
{
	struct lsc_reader_file *file;
	int r = 0;

	assert(read->bytes > 0);
	read->result = 0;
	read->cached = read->given = 0;
	read->left = read->bytes;
	read->next = NULL;
	pthread_mutex_lock(&reader->lock);
	file = lsc_reader_file_find(reader->files, read->fd);
	if (!file)
		r = lsc_reader_file_open(&file, read->fd, reader->o.path != LSC_READER_BUFFERED,
					 &reader->files);
	if (r == 0) {
		read->file = file;
		*reader->last = read;
		reader->last = &read->next;
		pthread_cond_signal(&reader->more);
	}
	pthread_mutex_unlock(&reader->lock);
	return r;
}

void lsc_reader_cancel(struct lsc_reader *reader)
{
	struct lsc_read *read, *next;

	pthread_mutex_lock(&reader->lock);
	read = reader->first;
	reader->first = NULL;
	reader->last = &reader->first;
	for (struct lsc_read *r = read, **at = &read; r; r = next) {
		next = r->next;
		r->left -= r->bytes - r->given;
		r->given = r->bytes;
		r->result = r->result ? r->result : -ECANCELED;
		if (r->left) /* its last chunk's thread ends it */
			*at = next;
		else
			at = &r->next;
	}
	pthread_mutex_unlock(&reader->lock);
	for (; read; read = next) {
		next = read->next;
		read->fn(read->data, read);
	}
}

/* --- threads --- */

static void *run_ring(void *arg)
{
	lsc_reader_lane_run(arg);
	return NULL;
}

static void *run_pread(void *arg)
{
	struct lsc_reader *reader = arg;
	struct lsc_chunk chunk;

	while (lsc_reader_take(reader, true, &chunk) > 0) {
		struct lsc_read *read;

		lsc_reader_file_choose(&chunk);
		lsc_reader_file_read(&chunk);
		read = lsc_reader_end(reader, &chunk);
		if (read)
			read->fn(read->data, read);
	}
	return NULL;
}

/* The program's signals are for its other threads. */
static int start_threads(struct lsc_reader *reader, uint32_t n)
{
	bool ring = reader->totals.path == LSC_READER_URING;
	sigset_t all, before;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (uint32_t i = 0; i < n && r == 0; i++) {
		r = -pthread_create(&reader->threads[i], NULL, ring ? run_ring : run_pread,
				    ring ? (void *)reader->lanes[i] : reader);
		reader->n_started += r == 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static uint32_t n_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

/* Rings for all threads, or for none. */
static int make_lanes(struct lsc_reader *reader)
{
	uint32_t n = reader->o.threads ? reader->o.threads : LSC_MIN(n_cpus(), MAX_RING_LANES);
	int r = 0;

	n = LSC_MIN(n, LSC_READER_MAX_THREADS);
	for (uint32_t i = 0; i < n && r == 0; i++)
		r = lsc_reader_lane_new(&reader->lanes[i], reader);
	if (r == 0) {
		reader->totals.path = LSC_READER_URING;
		reader->totals.depth_bytes =
			reader->o.depth_bytes ? reader->o.depth_bytes : FIRST_DEPTH;
		reader->n_threads = n;
		return 0;
	}
	for (uint32_t i = 0; i < n; i++) {
		lsc_reader_lane_free(reader->lanes[i]);
		reader->lanes[i] = NULL;
	}
	return r;
}

static void make_waiters(struct lsc_reader *reader)
{
	uint64_t depth = reader->o.depth_bytes ? reader->o.depth_bytes : PREAD_DEPTH;
	uint64_t n =
		reader->o.threads ? reader->o.threads : lsc_div_up(depth, reader->o.chunk_bytes);

	reader->n_threads = (uint32_t)LSC_MIN(n, (uint64_t)LSC_READER_MAX_THREADS);
	reader->totals.path =
		reader->o.path == LSC_READER_BUFFERED ? LSC_READER_BUFFERED : LSC_READER_PREAD;
	reader->totals.depth_bytes = (uint64_t)reader->n_threads * reader->o.chunk_bytes;
	reader->settled = true;
}

static const char *const path_names[] = {
	[LSC_READER_AUTO] = "auto",
	[LSC_READER_URING] = "uring",
	[LSC_READER_PREAD] = "pread",
	[LSC_READER_BUFFERED] = "buffered",
};

const char *lsc_reader_path_name(enum lsc_reader_path path)
{
	return path_names[path];
}

static int choose_path(struct lsc_reader *reader, struct lsc_err *err)
{
	const char *name = getenv("LSC_READER");
	int r;

	for (uint32_t i = 0; reader->o.path == LSC_READER_AUTO && name && *name; i++) {
		if (i == LSC_ARRAY_SIZE(path_names))
			return lsc_err_set(err, EINVAL,
					   "LSC_READER is '%.32s'; there are uring, "
					   "pread and buffered",
					   name);
		if (!strcmp(name, path_names[i])) {
			reader->o.path = (enum lsc_reader_path)i;
			break;
		}
	}
	r = reader->o.path <= LSC_READER_URING ? make_lanes(reader) : 1;
	if (r < 0 && reader->o.path == LSC_READER_URING)
		return lsc_err_set(err, -r, "cannot read by io_uring: %m");
	if (r != 0)
		make_waiters(reader);
	return 0;
}

static void release(struct lsc_reader *reader)
{
	pthread_mutex_lock(&reader->lock);
	reader->stopped = true;
	pthread_cond_broadcast(&reader->more);
	pthread_mutex_unlock(&reader->lock);
	for (uint32_t i = 0; i < reader->n_started; i++)
		pthread_join(reader->threads[i], NULL);
	for (uint32_t i = 0; i < LSC_READER_MAX_THREADS; i++)
		lsc_reader_lane_free(reader->lanes[i]);
	lsc_reader_file_close(reader->files);
	pthread_cond_destroy(&reader->more);
	pthread_mutex_destroy(&reader->lock);
	free(reader);
}

int lsc_reader_start(struct lsc_reader **ret_reader, const struct lsc_reader_options *options,
		     struct lsc_err *err)
{
	struct lsc_reader *reader = calloc(1, sizeof(*reader));
	pthread_condattr_t attr;
	int r;

	if (!reader)
		return lsc_err_set(err, ENOMEM, "cannot read: %m");
	if (options)
		reader->o = *options;
	if (!reader->o.chunk_bytes)
		reader->o.chunk_bytes = CHUNK_BYTES;
	assert(reader->o.chunk_bytes % LSC_READER_MIN_CHUNK == 0);
	reader->last = &reader->first;
	reader->settled = reader->o.depth_bytes > 0;
	pthread_mutex_init(&reader->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&reader->more, &attr);
	pthread_condattr_destroy(&attr);
	lsc_reader_set_rate(reader, reader->o.rate);
	r = choose_path(reader, err);
	if (r == 0) {
		r = start_threads(reader, reader->n_threads);
		if (r < 0)
			lsc_err_set(err, -r, "cannot start a thread: %m");
	}
	if (r < 0)
		release(reader);
	else
		*ret_reader = reader;
	return r;
}

void lsc_reader_totals(struct lsc_reader *reader, struct lsc_reader_totals *ret)
{
	pthread_mutex_lock(&reader->lock);
	*ret = reader->totals;
	pthread_mutex_unlock(&reader->lock);
}

/* A callback may add while we cancel: what came after is cancelled, too. */
void lsc_reader_stop(struct lsc_reader *reader)
{
	if (!reader)
		return;
	lsc_reader_cancel(reader);
	pthread_mutex_lock(&reader->lock);
	reader->stopped = true;
	pthread_cond_broadcast(&reader->more);
	pthread_mutex_unlock(&reader->lock);
	while (reader->n_started) {
		pthread_join(reader->threads[--reader->n_started], NULL);
	}
	while (reader->first)
		lsc_reader_cancel(reader);
	release(reader);
}
