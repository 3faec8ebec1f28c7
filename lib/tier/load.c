/* load - a thread that claims blocks, gives them to a reader, and says what became of them
 *
 * Pieces that lie side by side are read together (load_group.c); a group that cannot be read
 * is read again piece by piece, to know which.  The reader's threads hash what they have read while
 * the disk goes on, and hand the group to the load's thread, which alone knows how blocks stand.
 *
 * No more blocks are claimed than what keeps the disk busy: who fills the other end of the image is
 * to find as many as possible free.
 */
#include "tier/load.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/macros.h"
#include "tier/load_own.h"

#define AHEAD_S     0.02 /* of a rate */
#define LOOK_MS     50   /* at what others do, where they say nothing */
#define BURY_NS     100000000u
#define THROTTLE_NS 1000000

static bool is_stopped(struct lsc_load *load)
{
	bool stopped;

	pthread_mutex_lock(&load->lock);
	stopped = load->stopped;
	pthread_mutex_unlock(&load->lock);
	return stopped;
}

/* --- what became of a block --- */

static void count(struct lsc_load *load, uint32_t *counter)
{
	pthread_mutex_lock(&load->lock);
	++*counter;
	load->progress.blocks_left--;
	pthread_mutex_unlock(&load->lock);
}

static void be_whole(struct lsc_load *load, uint32_t block, bool ours)
{
	load->blocks[block].state = LSC_LOAD_OVER;
	count(load, ours ? &load->progress.blocks_ours : &load->progress.blocks_others);
	if (load->events.on_block)
		load->events.on_block(load->o.data_of_events, block, ours);
}

static void fail(struct lsc_load *load, uint32_t block, uint32_t piece, const struct lsc_err *err)
{
	load->blocks[block].state = LSC_LOAD_OVER;
	if (load->o.claims)
		lsc_claims_drop(load->o.claims, block);
	count(load, &load->progress.blocks_failed);
	if (load->events.on_failed)
		load->events.on_failed(load->o.data_of_events, block, piece, err);
}

static void fail_bad(struct lsc_load *load, uint32_t block)
{
	const struct lsc_load_block *b = &load->blocks[block];
	struct lsc_err err = LSC_ERR_INIT;
	char more[40] = "";

	if (b->bad > 1)
		snprintf(more, sizeof(more), ", with %u more of its block", b->bad - 1);
	if (b->damaged)
		lsc_err_set(&err, EUCLEAN,
			    "piece %u was brought by someone else, and damaged by a late read",
			    b->first_bad);
	else if (b->code == -EBADMSG)
		lsc_err_set(&err, EBADMSG, "piece %u on the disk has a wrong hash%s", b->first_bad,
			    more);
	else if (b->code == -ENODATA)
		lsc_err_set(&err, EIO, "piece %u is not on the disk, which ends before it%s",
			    b->first_bad, more);
	else
		lsc_err_set(&err, -b->code, "piece %u cannot be read from the disk%s: %m",
			    b->first_bad, more);
	fail(load, block, b->first_bad, &err);
}

static void end_if_over(struct lsc_load *load, uint32_t block)
{
	if (load->blocks[block].groups)
		return;
	if (load->blocks[block].bad)
		fail_bad(load, block);
	else
		be_whole(load, block, true);
}

void lsc_load_note_bad(struct lsc_load *load, uint32_t block, uint32_t piece, uint32_t n, int code)
{
	struct lsc_load_block *b = &load->blocks[block];

	if (!b->bad || piece < b->first_bad) {
		b->first_bad = piece;
		b->code = code;
	}
	b->bad += n;
	pthread_mutex_lock(&load->lock);
	load->progress.bad_pieces += n;
	pthread_mutex_unlock(&load->lock);
}

static void settle(struct lsc_load *load, struct lsc_load_group *group)
{
	struct lsc_load_block *b = &load->blocks[group->block];
	int result = atomic_load(&group->result);
	uint32_t block = group->block;

	load->on_their_way -= group->bytes;
	load->groups--;
	b->groups--;
	if (result < 0 && result != -ECANCELED && group->n > 1) {
		for (uint32_t i = 0; i < group->n; i++)
			lsc_load_read(load, block, group->first + i, 1);
	} else {
		b->damaged = b->damaged || group->damaged;
		if (group->bad)
			lsc_load_note_bad(load, block, group->first_bad, group->bad, -EBADMSG);
		else if (result < 0 && !lsc_marks_has(load->o.marks, group->first))
			lsc_load_note_bad(load, block, group->first, group->n, result);
	}
	free(group);
	if (!is_stopped(load))
		end_if_over(load, block);
}

/* --- which block --- */

static bool is_whole(const struct lsc_load *load, uint32_t block)
{
	const struct lsc_block *b = &load->o.image->blocks[block];

	for (uint32_t i = 0; i < b->n_pieces; i++)
		if (!lsc_marks_has(load->o.marks, b->first_piece + i))
			return false;
	return true;
}

static void read_block(struct lsc_load *load, uint32_t block)
{
	const struct lsc_block *b = &load->o.image->blocks[block];
	uint32_t piece = b->first_piece, end = b->first_piece + b->n_pieces, n;

	load->blocks[block].state = LSC_LOAD_READING;
	load->blocks[block].groups++; /* until all of it is asked for */
	for (; piece < end && !is_stopped(load); piece += LSC_MAX(n, 1u)) {
		n = lsc_load_group_from(load, piece, end);
		if (n)
			lsc_load_read(load, block, piece, n);
	}
	load->blocks[block].groups--;
	if (!is_stopped(load))
		end_if_over(load, block);
}

static void try_block(struct lsc_load *load, uint32_t block)
{
	struct lsc_err err = LSC_ERR_INIT;
	bool foreign = load->o.claims && !lsc_claims_take(load->o.claims, block);

	if (is_whole(load, block)) {
		if (!foreign && load->o.claims)
			lsc_claims_drop(load->o.claims, block);
		be_whole(load, block, false);
	} else if (!foreign) {
		if (load->events.on_begin &&
		    load->events.on_begin(load->o.data_of_events, block, &err) < 0)
			fail(load, block, LSC_LOAD_NO_PIECE, &err);
		else
			read_block(load, block);
	}
}

/* Bytes that are enough to keep the disk busy. */
static uint64_t enough(struct lsc_load *load)
{
	struct lsc_reader_totals totals;
	double rate;

	lsc_reader_totals(load->reader, &totals);
	pthread_mutex_lock(&load->lock);
	rate = load->rate;
	pthread_mutex_unlock(&load->lock);
	return rate > 0 ? LSC_MIN(2 * totals.depth_bytes, (uint64_t)(rate * AHEAD_S))
			: 2 * totals.depth_bytes;
}

/* Whether someone who begins at the front is at work: we stay out of his way. */
static bool is_cast_to(const struct lsc_load *load)
{
	for (uint32_t i = 0; load->o.claims && i < load->o.image->n_blocks; i++)
		if (lsc_claims_of(load->o.marks, i, NULL) == LSC_CLAIM_CAST)
			return true;
	return false;
}

static void feed(struct lsc_load *load)
{
	if (load->low == 0 && load->high == load->o.image->n_blocks)
		load->seen = lsc_marks_generation(load->o.marks);
	while (load->low < load->high &&
	       (!load->on_their_way || load->on_their_way < enough(load)) && !is_stopped(load)) {
		bool last = load->o.backwards || is_cast_to(load);
		uint32_t block = last ? --load->high : load->low++;

		if (load->blocks[block].state == LSC_LOAD_WAITING)
			try_block(load, block);
	}
}

static void bury(struct lsc_load *load)
{
	uint64_t now = lsc_clock_ns();

	if (!load->o.claims || now - load->buried_ns < BURY_NS)
		return;
	load->buried_ns = now;
	lsc_claims_bury(load->o.claims);
}

/* Nothing of ours is on its way.  Waits for what others do with the rest: false where there is
 * none, or it was given up. */
static bool look_again(struct lsc_load *load)
{
	struct timespec throttle = {0, THROTTLE_NS};
	bool waiting = false;

	for (uint32_t i = 0; i < load->o.image->n_blocks && !waiting; i++)
		waiting = load->blocks[i].state == LSC_LOAD_WAITING;
	if (!waiting)
		return false;
	bury(load);
	if (lsc_marks_wait(load->o.marks, load->seen, LOOK_MS) == -EPIPE)
		return false;
	nanosleep(&throttle, NULL);
	load->low = 0;
	load->high = load->o.image->n_blocks;
	return true;
}

/* --- the thread --- */

static void settle_done(struct lsc_load *load, bool wait)
{
	struct lsc_load_group *done, *next;

	pthread_mutex_lock(&load->lock);
	while (wait && !load->done)
		pthread_cond_wait(&load->more, &load->lock);
	done = load->done;
	load->done = NULL;
	pthread_mutex_unlock(&load->lock);
	for (; done; done = next) {
		next = done->next;
		settle(load, done);
	}
}

static void *run(void *arg)
{
	struct lsc_load *load = arg;

	while (!is_stopped(load)) {
		feed(load);
		if (load->groups)
			settle_done(load, true);
		else if (load->low == load->high && !look_again(load))
			break;
	}
	while (load->groups)
		settle_done(load, true);
	pthread_mutex_lock(&load->lock);
	load->ended_ns = lsc_clock_ns();
	pthread_mutex_unlock(&load->lock);
	if (!is_stopped(load) && load->events.on_end)
		load->events.on_end(load->o.data_of_events);
	return NULL;
}

/* --- life --- */

static void release(struct lsc_load *load)
{
	lsc_reader_stop(load->reader);
	pthread_cond_destroy(&load->more);
	pthread_mutex_destroy(&load->lock);
	free(load->blocks);
	free(load);
}

/* The program's signals are for its other threads. */
static int start_thread(struct lsc_load *load)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&load->thread, NULL, run, load);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int lsc_load_start(struct lsc_load **ret_load, const struct lsc_load_options *options,
		   struct lsc_err *err)
{
	const struct lsc_image *image = options->image;
	struct lsc_load *load = calloc(1, sizeof(*load));
	int r;

	if (!load)
		return lsc_err_set(err, ENOMEM, "cannot load: %m");
	load->o = *options;
	if (options->events)
		load->events = *options->events;
	load->rate = options->reader.rate;
	load->high = image->n_blocks;
	load->began_ns = lsc_clock_ns();
	pthread_mutex_init(&load->lock, NULL);
	pthread_cond_init(&load->more, NULL);
	load->blocks = calloc(image->n_blocks + (size_t)1, sizeof(load->blocks[0]));
	r = load->blocks ? 0 : lsc_err_set(err, ENOMEM, "cannot load: %m");
	for (uint32_t i = 0; r == 0 && i < image->n_blocks; i++) {
		bool wanted = !options->wanted || lsc_bits_has(options->wanted, i);

		load->blocks[i].state = wanted ? LSC_LOAD_WAITING : LSC_LOAD_OVER;
		load->progress.blocks_left += wanted;
	}
	if (r == 0)
		r = lsc_reader_start(&load->reader, &options->reader, err);
	if (r == 0) {
		r = start_thread(load);
		if (r < 0)
			lsc_err_set(err, -r, "cannot start a thread: %m");
	}
	if (r < 0)
		release(load);
	else
		*ret_load = load;
	return r;
}

void lsc_load_set_rate(struct lsc_load *load, double bytes_per_s)
{
	pthread_mutex_lock(&load->lock);
	load->rate = bytes_per_s;
	pthread_mutex_unlock(&load->lock);
	lsc_reader_set_rate(load->reader, bytes_per_s);
}

void lsc_load_progress(struct lsc_load *load, struct lsc_load_progress *ret)
{
	struct lsc_reader_totals totals;
	uint64_t end;

	lsc_reader_totals(load->reader, &totals);
	pthread_mutex_lock(&load->lock);
	*ret = load->progress;
	end = load->ended_ns ? load->ended_ns : lsc_clock_ns();
	pthread_mutex_unlock(&load->lock);
	ret->seconds = (double)(end - load->began_ns) / 1e9;
	ret->direct = totals.direct;
	ret->cached = totals.cached;
	ret->other = totals.other;
	ret->depth_bytes = totals.depth_bytes;
	ret->path = totals.path;
}

void lsc_load_stop(struct lsc_load *load)
{
	if (!load)
		return;
	pthread_mutex_lock(&load->lock);
	load->stopped = true;
	pthread_mutex_unlock(&load->lock);
	lsc_marks_note(load->o.marks, true);
	while (pthread_tryjoin_np(load->thread, NULL) == EBUSY) {
		struct timespec pause = {0, THROTTLE_NS};

		lsc_reader_cancel(load->reader);
		nanosleep(&pause, NULL);
	}
	for (uint32_t i = 0; load->o.claims && i < load->o.image->n_blocks; i++)
		if (load->blocks[i].state == LSC_LOAD_READING)
			lsc_claims_drop(load->o.claims, i);
	release(load);
}
