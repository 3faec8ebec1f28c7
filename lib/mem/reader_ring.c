/* reader_ring - a thread of the reader that asks by io_uring and waits for what is ready
 *
 * What the page cache has is copied at once; before the thread takes its time, for that or for a
 * range's fn, what it has to ask for is asked.
 */
#include "mem/reader_own.h"

#ifdef LSC_HAVE_URING

#include <liburing.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/macros.h"

#define SLOTS 128

struct slot {
	struct lsc_chunk chunk;
	struct slot *next; /* that is free */
};

struct lsc_reader_lane {
	struct lsc_reader *reader;
	struct io_uring ring;
	uint32_t flying, unsent; /* reads, and of those that are not submitted */
	uint64_t flying_bytes;
	bool over;
	struct lsc_read *done; /* whose fn is to be called */
	struct slot *free;
	struct slot slots[SLOTS];
};

int lsc_reader_lane_new(struct lsc_reader_lane **ret_lane, struct lsc_reader *reader)
{
	struct lsc_reader_lane *lane = calloc(1, sizeof(*lane));
	struct io_uring_probe *probe;
	int r;

	if (!lane)
		return -ENOMEM;
	r = io_uring_queue_init(SLOTS, &lane->ring, 0);
	if (r < 0) {
		free(lane);
		return r;
	}
	lane->reader = reader;
	for (uint32_t i = 0; i < SLOTS; i++) {
		lane->slots[i].next = lane->free;
		lane->free = &lane->slots[i];
	}
	probe = io_uring_get_probe_ring(&lane->ring);
	r = probe && io_uring_opcode_supported(probe, IORING_OP_READ) ? 0 : -EOPNOTSUPP;
	io_uring_free_probe(probe);
	if (r < 0)
		lsc_reader_lane_free(lane);
	else
		*ret_lane = lane;
	return r;
}

void lsc_reader_lane_free(struct lsc_reader_lane *lane)
{
	if (!lane)
		return;
	io_uring_queue_exit(&lane->ring);
	free(lane);
}

/* A kernel that has no memory for it now may have it later. */
static void submit(struct lsc_reader_lane *lane)
{
	while (lane->unsent) {
		int n = io_uring_submit(&lane->ring);

		if (n > 0)
			lane->unsent -= LSC_MIN((uint32_t)n, lane->unsent);
		else if (n != -EINTR)
			usleep(1000);
	}
}

static void run_done(struct lsc_reader_lane *lane)
{
	while (lane->done) {
		struct lsc_read *read = lane->done;

		lane->done = read->next;
		read->fn(read->data, read);
	}
}

static void end(struct lsc_reader_lane *lane, const struct lsc_chunk *chunk)
{
	struct lsc_read *read = lsc_reader_end(lane->reader, chunk);

	if (read) {
		read->next = lane->done;
		lane->done = read;
	}
}

static void copy(struct lsc_reader_lane *lane, struct lsc_chunk *chunk)
{
	submit(lane);
	run_done(lane);
	lsc_reader_file_read(chunk);
	end(lane, chunk);
	run_done(lane); /* while it is in the processor's cache */
}

/* There is an entry for each slot. */
static void ask(struct lsc_reader_lane *lane, struct slot *slot, int fd, uint32_t bytes)
{
	struct lsc_chunk *chunk = &slot->chunk;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&lane->ring);

	if (!sqe) {
		submit(lane);
		sqe = io_uring_get_sqe(&lane->ring);
	}
	io_uring_prep_read(sqe, fd, chunk->to + chunk->done, bytes, chunk->offset + chunk->done);
	io_uring_sqe_set_data(sqe, slot);
	lane->unsent++;
}

static void give_back(struct lsc_reader_lane *lane, struct slot *slot)
{
	lane->flying--;
	lane->flying_bytes -= slot->chunk.bytes;
	slot->next = lane->free;
	lane->free = slot;
}

static void fill(struct lsc_reader_lane *lane)
{
	while (!lane->over && lane->free && lane->flying_bytes < lsc_reader_share(lane->reader)) {
		struct slot *slot = lane->free;
		uint32_t bytes;
		int fd, r = lsc_reader_take(lane->reader, !lane->flying && !lane->done,
					    &slot->chunk);

		lane->over = r < 0;
		if (r <= 0)
			return;
		lsc_reader_file_choose(&slot->chunk);
		if (slot->chunk.way == LSC_CHUNK_CACHED) {
			copy(lane, &slot->chunk);
			continue;
		}
		lane->free = slot->next;
		lane->flying++;
		lane->flying_bytes += slot->chunk.bytes;
		fd = lsc_reader_file_fd(&slot->chunk, &bytes);
		ask(lane, slot, fd, bytes);
	}
}

/* Takes what is ready; asks again for what came short. */
static void reap(struct lsc_reader_lane *lane)
{
	struct io_uring_cqe *cqe;

	while (lane->flying && io_uring_peek_cqe(&lane->ring, &cqe) == 0) {
		struct slot *slot = io_uring_cqe_get_data(cqe);
		bool over = lsc_reader_file_took(&slot->chunk, cqe->res);
		uint32_t bytes;
		int fd;

		io_uring_cqe_seen(&lane->ring, cqe);
		if (!over) {
			fd = lsc_reader_file_fd(&slot->chunk, &bytes);
			if (bytes) {
				ask(lane, slot, fd, bytes);
				continue;
			}
			lsc_reader_file_read(&slot->chunk);
		}
		end(lane, &slot->chunk);
		give_back(lane, slot);
	}
}

void lsc_reader_lane_run(struct lsc_reader_lane *lane)
{
	struct io_uring_cqe *cqe;

	while (!lane->over || lane->flying) {
		fill(lane);
		submit(lane);
		run_done(lane);
		if (lane->flying)
			io_uring_wait_cqe(&lane->ring, &cqe);
		reap(lane);
	}
	run_done(lane);
}

#else

int lsc_reader_lane_new(struct lsc_reader_lane **ret_lane, struct lsc_reader *reader)
{
	(void)ret_lane;
	(void)reader;
	return -EOPNOTSUPP;
}

void lsc_reader_lane_free(struct lsc_reader_lane *lane)
{
	(void)lane;
}

void lsc_reader_lane_run(struct lsc_reader_lane *lane)
{
	(void)lane;
}

#endif
