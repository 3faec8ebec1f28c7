/* compute - the compute thread of a stage
 *
 * The thread sleeps until jobs come, pieces arrive, or a deadline passes; then it makes steps of
 * what waits until nothing can run.  Only `incoming`, `finished`, `stats` and two flags are shared
 * with other threads, under one lock.
 */
#include "stage/compute.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"
#include "stage/batch.h"
#include "stage/carry.h"
#include "stage/pace.h"
#include "stage/queue.h"
#include "stage/room.h"
#include "stage/speed.h"

#define CARRY_JOBS 8 /* from one step to the next: some 2 MiB, less than a millisecond */

struct lsc_compute {
	uint64_t wait_ns;
	void (*notify)(void *data);
	void *data;
	pthread_t thread;
	uint64_t progress; /* read and written atomically, as is: */
	bool works;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct lsc_jobs incoming, finished; /* under lock, as are: */
	struct lsc_stage_stats stats;
	bool changed, stop;

	/* the thread's own */
	struct lsc_queue queue;
	struct lsc_pace pace;
	struct lsc_speed speed;
	struct lsc_batch batch;
	struct lsc_jobs carrying; /* keys and values that come or go, in order */
	struct lsc_stage_stats count;
};

/* Hands over what is over, and what was counted so far. */
static void hand_over(struct lsc_compute *compute)
{
	bool any = compute->queue.over.first != NULL;

	compute->count.kv_bytes = lsc_queue_kv_used(&compute->queue);
	compute->count.guests = compute->queue.roster.guests.n - compute->queue.roster.n_resting;
	pthread_mutex_lock(&compute->lock);
	compute->stats = compute->count;
	lsc_jobs_move(&compute->finished, &compute->queue.over);
	pthread_mutex_unlock(&compute->lock);
	if (any)
		compute->notify(compute->data);
}

/* --- a step --- */

static int by_age(const void *left, const void *right)
{
	const struct lsc_pick *a = left, *b = right;

	return lsc_guest_is_older(a->guest, b->guest) ? -1 : 1;
}

/* What a step runs.  Requests may have few of its units: what they have of it is counted in passes
 * through all. */
struct load {
	uint32_t units;         /* of the step */
	uint32_t decodes, rows; /* of answers and of prompts: positions */
	uint64_t decoded, read; /* the same, each for each of its units */
};

static uint32_t units_of(const struct lsc_pick *pick)
{
	const struct lsc_frame_stage *stage = lsc_job_stage(pick->job);

	return stage->last - stage->first + 1;
}

static struct load load_of(const struct lsc_batch *batch)
{
	uint32_t first = UINT32_MAX, last = 0;
	struct load load = {0};

	for (unsigned i = 0; i < batch->n; i++) {
		const struct lsc_pick *pick = &batch->picks[i];
		const struct lsc_frame_stage *stage = lsc_job_stage(pick->job);

		first = LSC_MIN(first, stage->first);
		last = LSC_MAX(last, stage->last);
		if (lsc_job_left(pick->job) == 1) {
			load.decodes++;
			load.decoded += units_of(pick);
		} else {
			load.rows += pick->rows;
			load.read += (uint64_t)pick->rows * units_of(pick);
		}
	}
	load.units = batch->n ? last - first + 1 : 0; /* they touch */
	return load;
}

static uint32_t passes(const struct load *load, uint64_t runs)
{
	return (uint32_t)lsc_div_up(runs, load->units);
}

/* Whether the step has the beginning of a prompt. */
static bool begins(const struct lsc_batch *batch)
{
	for (unsigned i = 0; i < batch->n; i++) {
		const struct lsc_job *job = batch->picks[i].job;

		if (job->run.pos == 0 && job->n_done == 0 && lsc_job_left(job) > 1)
			return true;
	}
	return false;
}

/* Passes of prompts beside the decodes: what the pace has found.  Short prompts are over before it
 * has found much, so where one begins it is at least what takes no longer than the decodes
 * themselves, by all that steps took. */
static uint32_t rows_beside(const struct lsc_compute *compute, const struct load *load)
{
	uint32_t decodes = passes(load, load->decoded);
	uint32_t rows = lsc_pace_rows(&compute->pace, decodes,
				      lsc_queue_count_others(&compute->queue), load->units);

	if (!rows || !begins(&compute->batch))
		return rows;
	return LSC_MAX(rows, (uint32_t)((LSC_PACE_STRETCH - 1) *
					lsc_speed_rows(&compute->speed, decodes)));
}

/* One position for each that decodes; the oldest prompts get what is left. */
static void share_rows(struct lsc_compute *compute)
{
	struct lsc_batch *batch = &compute->batch;
	struct load load = load_of(batch);
	uint64_t left;

	for (unsigned i = 0; i < batch->n; i++)
		batch->picks[i].rows = lsc_job_left(batch->picks[i].job) == 1;
	if (load.decodes == batch->n)
		return;
	left = rows_beside(compute, &load) * (uint64_t)load.units;
	for (unsigned i = 0; i < batch->n; i++) {
		struct lsc_pick *pick = &batch->picks[i];

		if (pick->rows)
			continue;
		pick->rows =
			(uint32_t)LSC_MIN((uint64_t)lsc_job_left(pick->job), left / units_of(pick));
		left -= (uint64_t)pick->rows * units_of(pick);
	}
}

/* A guest that is not here any more has no part in the step. */
static void leave_out(struct lsc_batch *batch, const struct lsc_guest *guest)
{
	for (unsigned i = 0; i < batch->n; i++)
		if (batch->picks[i].guest == guest)
			batch->picks[i] = (struct lsc_pick){.rows = 0};
}

static void evict(void *data, struct lsc_guest *guest)
{
	struct lsc_compute *compute = data;

	leave_out(&compute->batch, guest);
	lsc_queue_evict(&compute->queue, guest);
	compute->count.gave_way++;
}

/* The oldest first, so that whoever gives way to one has not been given room before. */
static void admit(struct lsc_compute *compute)
{
	struct lsc_batch *batch = &compute->batch;
	uint64_t taken = 0;

	for (unsigned i = 0; i < batch->n; i++) {
		struct lsc_pick *pick = &batch->picks[i];
		struct lsc_err err = LSC_ERR_INIT;
		struct lsc_guest *guest = pick->guest;

		if (!pick->rows || lsc_room_make(&compute->queue.roster, guest, pick->job,
						 pick->rows, &taken, evict, compute, &err) == 0)
			continue;
		leave_out(batch, guest);
		lsc_queue_refuse(&compute->queue, guest, &err);
	}
}

static void drop_idle(struct lsc_batch *batch)
{
	unsigned n = 0;

	for (unsigned i = 0; i < batch->n; i++)
		if (batch->picks[i].rows)
			batch->picks[n++] = batch->picks[i];
	batch->n = n;
}

static void on_through(void *data)
{
	struct lsc_compute *compute = data;

	if (lsc_queue_settle(&compute->queue))
		hand_over(compute);
}

/* What a step took, for whoever plans with this stage.  A prompt's positions cost less each than
 * an answer's, so they say nothing about those. */
static void measure(struct lsc_compute *compute, const struct load *load, uint64_t took_ns)
{
	struct lsc_stage_stats *count = &compute->count;

	count->step_ns = LSC_MAX(took_ns, count->step_ns - count->step_ns / 64);
	if (load->rows == 0) {
		lsc_speed_add(&compute->speed, load->units, (uint32_t)load->decoded, took_ns);
		count->unit_ns = lsc_speed_unit_ns(&compute->speed);
	}
	__atomic_fetch_add(&compute->progress, 1, __ATOMIC_RELAXED);
}

/* Whether there was something to do. */
static bool make_step(struct lsc_compute *compute)
{
	struct lsc_batch *batch = &compute->batch;
	struct lsc_store_image *image = NULL;
	struct load load;
	uint64_t start, took;
	bool failed = lsc_queue_pick(&compute->queue, batch, &image);

	if (batch->n == 0) {
		if (failed)
			hand_over(compute);
		return failed;
	}
	qsort(batch->picks, batch->n, sizeof(batch->picks[0]), by_age);
	share_rows(compute);
	admit(compute);
	drop_idle(batch);
	if (compute->queue.over.first)
		hand_over(compute);
	load = load_of(batch);
	compute->count.steps++;
	compute->count.decodes += load.decodes;
	compute->count.rows += load.rows;
	start = lsc_clock_ns();
	lsc_roster_step(&compute->queue.roster);
	if (batch->n) {
		lsc_batch_run(batch, image, on_through, compute);
		took = lsc_clock_ns() - start;
		lsc_pace_step(&compute->pace, passes(&load, load.decoded), passes(&load, load.read),
			      load.units, took);
		compute->queue.roster.soon_ns = lsc_pace_soon_ns(&compute->pace);
		measure(compute, &load, took);
	}
	batch->n = 0;
	hand_over(compute);
	return true;
}

/* --- keys and values on their way --- */

/* A part of what waits, so that steps are not kept waiting.  Whether there was some. */
static bool carry(struct lsc_compute *compute)
{
	struct lsc_job *job;
	unsigned n = 0;

	while (n < CARRY_JOBS && (job = lsc_jobs_take(&compute->carrying))) {
		lsc_carry(&compute->queue, job, evict, compute);
		n++;
	}
	if (n)
		hand_over(compute);
	return n > 0;
}

/* --- what comes in --- */

static void take_run(struct lsc_compute *compute, struct lsc_job *job)
{
	uint64_t away_ns;

	lsc_queue_add(&compute->queue, job, &away_ns);
	if (away_ns)
		lsc_pace_trip(&compute->pace, away_ns);
}

/* What came after an image was found to be gone is not swept with it: it looks again. */
static void sort_in(struct lsc_compute *compute, struct lsc_jobs *came)
{
	bool dropped = false;
	struct lsc_job *job;

	lsc_queue_sweep(&compute->queue);
	while ((job = lsc_jobs_take(came))) {
		if (job->kind == LSC_JOB_RUN) {
			take_run(compute, job);
			continue;
		}
		if (job->kind == LSC_JOB_ADOPT || job->kind == LSC_JOB_PAGES ||
		    job->kind == LSC_JOB_FETCH) {
			lsc_jobs_add(&compute->carrying, job);
			continue;
		}
		lsc_queue_drop(&compute->queue, job);
		lsc_job_free(job);
		dropped = true;
	}
	if (dropped || compute->queue.over.first)
		hand_over(compute);
}

/* --- the thread --- */

/* Sleeps until there is something to look at; takes what came.  False: stop. */
static bool await(struct lsc_compute *compute, struct lsc_jobs *came)
{
	uint64_t deadline = lsc_queue_deadline(&compute->queue);
	struct timespec until;
	bool stop;
	int r = 0;

	until.tv_sec = (time_t)(deadline / 1000000000);
	until.tv_nsec = (long)(deadline % 1000000000);
	pthread_mutex_lock(&compute->lock);
	while (!compute->incoming.first && !compute->changed && !compute->stop && r == 0)
		r = deadline == UINT64_MAX
			    ? pthread_cond_wait(&compute->wake, &compute->lock)
			    : pthread_cond_timedwait(&compute->wake, &compute->lock, &until);
	compute->changed = false;
	stop = compute->stop;
	lsc_jobs_move(came, &compute->incoming);
	pthread_mutex_unlock(&compute->lock);
	return !stop;
}

/* Takes what came meanwhile; where tokens were given out that come back soon, waits for these, and
 * carries meanwhile what is to be carried. */
static void gather(struct lsc_compute *compute)
{
	uint64_t until = lsc_clock_ns() + lsc_pace_linger_ns(&compute->pace);
	struct timespec at = {(time_t)(until / 1000000000), (long)(until % 1000000000)};
	bool more = true;

	for (struct lsc_store_image *image = compute->queue.store.images; image;
	     image = image->next)
		lsc_engine_prepare(image->engine);
	do {
		struct lsc_jobs came = LSC_JOBS_INIT;

		pthread_mutex_lock(&compute->lock);
		while (!compute->incoming.first && !compute->carrying.first && !compute->stop &&
		       compute->queue.roster.n_away && more)
			more = pthread_cond_timedwait(&compute->wake, &compute->lock, &at) == 0;
		more = more && compute->queue.roster.n_away && !compute->stop;
		lsc_jobs_move(&came, &compute->incoming);
		pthread_mutex_unlock(&compute->lock);
		sort_in(compute, &came);
		carry(compute);
		more = more && compute->queue.roster.n_away && lsc_clock_ns() < until;
	} while (more);
}

static void *run(void *data)
{
	struct lsc_compute *compute = data;
	struct lsc_jobs came = LSC_JOBS_INIT;

	while (await(compute, &came)) {
		sort_in(compute, &came);
		/* Opening an image on a device can take long, too. */
		__atomic_store_n(&compute->works, true, __ATOMIC_RELAXED);
		while (make_step(compute) || carry(compute))
			gather(compute);
		__atomic_store_n(&compute->works, false, __ATOMIC_RELAXED);
		lsc_queue_unwatch(&compute->queue);
	}
	lsc_jobs_release(&came);
	return NULL;
}

static void on_change(void *data)
{
	struct lsc_compute *compute = data;

	pthread_mutex_lock(&compute->lock);
	compute->changed = true;
	pthread_cond_signal(&compute->wake);
	pthread_mutex_unlock(&compute->lock);
}

int lsc_compute_start(struct lsc_compute **ret_compute, const struct lsc_compute_options *options,
		      void (*notify)(void *data), void *data, struct lsc_err *err)
{
	struct lsc_compute *compute = calloc(1, sizeof(*compute));
	pthread_condattr_t attr;
	int r;

	if (!compute)
		return lsc_err_set(err, ENOMEM, "no memory for a stage");
	compute->queue.store.dir = options->dir;
	compute->queue.store.engine = options->engine;
	compute->queue.store.engine.progress = &compute->progress;
	compute->queue.store.changed = on_change;
	compute->queue.store.data = compute;
	compute->wait_ns = options->wait_ns;
	compute->pace = (struct lsc_pace)LSC_PACE_INIT;
	compute->notify = notify;
	compute->data = data;
	pthread_mutex_init(&compute->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&compute->wake, &attr);
	pthread_condattr_destroy(&attr);
	r = pthread_create(&compute->thread, NULL, run, compute);
	if (r) {
		pthread_mutex_destroy(&compute->lock);
		pthread_cond_destroy(&compute->wake);
		free(compute);
		return lsc_err_set(err, r, "cannot start the compute thread: %m");
	}
	*ret_compute = compute;
	return 0;
}

void lsc_compute_stop(struct lsc_compute *compute)
{
	if (!compute)
		return;
	pthread_mutex_lock(&compute->lock);
	compute->stop = true;
	pthread_cond_signal(&compute->wake);
	pthread_mutex_unlock(&compute->lock);
	pthread_join(compute->thread, NULL);
	lsc_queue_release(&compute->queue); /* ends the watchers, which use the lock */
	lsc_batch_release(&compute->batch);
	lsc_jobs_release(&compute->carrying);
	lsc_jobs_release(&compute->incoming);
	lsc_jobs_release(&compute->finished);
	pthread_mutex_destroy(&compute->lock);
	pthread_cond_destroy(&compute->wake);
	free(compute);
}

void lsc_compute_submit(struct lsc_compute *compute, struct lsc_job *job)
{
	job->came_ns = lsc_clock_ns();
	job->deadline_ns = job->came_ns + compute->wait_ns;
	pthread_mutex_lock(&compute->lock);
	lsc_jobs_add(&compute->incoming, job);
	pthread_cond_signal(&compute->wake);
	pthread_mutex_unlock(&compute->lock);
}

struct lsc_stage_stats lsc_compute_stats(struct lsc_compute *compute)
{
	struct lsc_stage_stats stats;

	pthread_mutex_lock(&compute->lock);
	stats = compute->stats;
	pthread_mutex_unlock(&compute->lock);
	stats.works = __atomic_load_n(&compute->works, __ATOMIC_RELAXED);
	stats.progress = __atomic_load_n(&compute->progress, __ATOMIC_RELAXED);
	return stats;
}

void lsc_compute_take(struct lsc_compute *compute, struct lsc_jobs *jobs)
{
	pthread_mutex_lock(&compute->lock);
	lsc_jobs_move(jobs, &compute->finished);
	pthread_mutex_unlock(&compute->lock);
}
