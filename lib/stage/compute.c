/* compute - the compute thread of a stage
 *
 * The thread sleeps until jobs come, pieces arrive, or a deadline passes; then it makes steps of
 * what waits until nothing can run.  Only `incoming`, `finished`, `stats` and two flags are shared
 * with other threads, under one lock.
 */
#include "stage/compute.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"
#include "exec/arrival.h"
#include "stage/batch.h"
#include "stage/pace.h"
#include "stage/room.h"
#include "stage/roster.h"
#include "stage/store.h"

#define LIVE_NS 1000000000u /* a request that decoded so recently may be back any moment */

struct lsc_compute {
	struct lsc_store store;
	uint64_t wait_ns;
	void (*notify)(void *data);
	void *data;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct lsc_jobs incoming, finished; /* under lock, as are: */
	struct lsc_stage_stats stats;
	bool changed, stop;

	/* the thread's own */
	struct lsc_jobs waiting;
	struct lsc_roster roster;
	struct lsc_pace pace;
	struct lsc_batch batch;
	struct lsc_stage_stats count;
	uint64_t visit; /* the mark of this look through what waits */
	uint64_t step;  /* the latest, and how many got a token in it and are not back: */
	unsigned n_away;
};

/* --- finishing --- */

/* Hands jobs over that are done with, if any, and what was counted so far. */
static void hand_over(struct lsc_compute *compute, struct lsc_jobs *jobs)
{
	bool any = jobs->first != NULL;
	uint64_t bytes = 0;

	for (const struct lsc_store_image *image = compute->store.images; image;
	     image = image->next)
		bytes += lsc_engine_kv_used(image->engine);
	compute->count.kv_bytes = bytes;
	compute->count.guests = compute->roster.guests.n;
	pthread_mutex_lock(&compute->lock);
	compute->stats = compute->count;
	lsc_jobs_move(&compute->finished, jobs);
	pthread_mutex_unlock(&compute->lock);
	if (any)
		compute->notify(compute->data);
}

static void tell_count(struct lsc_compute *compute)
{
	struct lsc_jobs none = LSC_JOBS_INIT;

	hand_over(compute, &none);
}

static void finish(struct lsc_compute *compute, struct lsc_job *job)
{
	struct lsc_jobs jobs = LSC_JOBS_INIT;

	lsc_jobs_add(&jobs, job);
	hand_over(compute, &jobs);
}

static void fail(struct lsc_compute *compute, struct lsc_job *job, const struct lsc_err *err)
{
	job->err = *err;
	finish(compute, job);
}

/* --- guests --- */

static struct lsc_guest *guest_of(const struct lsc_compute *compute, const struct lsc_job *job)
{
	return lsc_roster_find(&compute->roster, &job->run.client, job->run.request);
}

static void come_back(struct lsc_compute *compute, struct lsc_guest *guest)
{
	if (guest->away_ns && guest->away_step == compute->step && compute->n_away)
		compute->n_away--;
	guest->away_ns = 0;
}

/* Its KV and what is known of it. */
static void forget(struct lsc_compute *compute, struct lsc_guest *guest)
{
	come_back(compute, guest);
	for (struct lsc_store_image *image = compute->store.images; image; image = image->next)
		lsc_engine_drop(image->engine, &guest->entry.key);
	for (unsigned i = 0; i < compute->batch.n; i++)
		if (compute->batch.picks[i].guest == guest)
			compute->batch.picks[i] = (struct lsc_pick){.rows = 0};
	lsc_roster_drop(&compute->roster, guest);
}

static bool belongs(const struct lsc_job *job, const struct lsc_guest *guest)
{
	return job->run.request == guest->entry.key.request &&
	       !memcmp(job->run.client.bytes, guest->entry.key.client,
		       sizeof(guest->entry.key.client));
}

/* What waits of a guest comes back with err; whether something did. */
static bool fail_waiting(struct lsc_compute *compute, const struct lsc_guest *guest,
			 const struct lsc_err *err)
{
	struct lsc_job **at = &compute->waiting.first, *job;
	bool any = false;

	while ((job = *at)) {
		if (!belongs(job, guest)) {
			at = &job->next;
			continue;
		}
		fail(compute, lsc_jobs_take_at(&compute->waiting, at), err);
		any = true;
	}
	return any;
}

/* A guest gives way.  If no memory is left to say so, its next run finds out. */
static void evict(void *data, struct lsc_guest *guest)
{
	struct lsc_compute *compute = data;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_job *job;

	lsc_err_set(&err, ENOSPC, "its KV had to give way to that of an older request");
	if (!fail_waiting(compute, guest, &err) && (job = lsc_job_new(LSC_JOB_LOST))) {
		memcpy(job->run.client.bytes, guest->entry.key.client,
		       sizeof(guest->entry.key.client));
		job->run.request = guest->entry.key.request;
		job->run.pos = guest->pos;
		fail(compute, job, &err);
	}
	compute->count.gave_way++;
	forget(compute, guest);
}

/* --- what waits --- */

/* Whether the frame fits the image: its units, and the bytes that came with it. */
static int check(const struct lsc_job *job, const struct lsc_image *image, struct lsc_err *err)
{
	const struct lsc_run_frame *run = &job->run;
	const struct lsc_frame_stage *stage = lsc_job_stage(job);
	uint32_t head = lsc_model_head_unit(&image->config), context = image->config.context;
	uint64_t each =
		stage->first ? (uint64_t)image->config.hidden * sizeof(float) : sizeof(uint32_t);

	if (stage->first > stage->last || stage->last > head)
		return lsc_err_set(err, EINVAL, "units %u to %u are not this image's 0 to %u",
				   stage->first, stage->last, head);
	if (!lsc_model_may_begin(&image->config, stage->first) ||
	    !lsc_model_may_end(&image->config, stage->last))
		return lsc_err_set(err, EINVAL, "units %u to %u part a layer from its experts",
				   stage->first, stage->last);
	if ((stage->first == 0) != (run->stage == 0) ||
	    (stage->last == head) != lsc_job_is_last(job))
		return lsc_err_set(err, EINVAL,
				   "a route of %u stages that gives stage %u units %u "
				   "to %u",
				   run->n_stages, run->stage, stage->first, stage->last);
	if (job->body_len != each * run->n)
		return lsc_err_set(err, EINVAL, "%u bytes for %u positions of %llu", job->body_len,
				   run->n, (unsigned long long)each);
	if (!lsc_job_is_last(job) &&
	    (uint64_t)run->n * image->config.hidden * sizeof(float) > LSC_BODY_MAX_BYTES)
		return lsc_err_set(err, EINVAL, "%u positions are more than a body holds", run->n);
	if (run->n > context || run->pos > context - run->n)
		return lsc_err_set(err, ERANGE, "position %u is past the model's context",
				   run->pos + run->n - 1);
	if (run->reach > context)
		return lsc_err_set(err, ERANGE, "%u positions are more than the model's context",
				   run->reach);
	return 0;
}

/* Ready: 1; to wait: 0; not to be run: negative errno. */
static int look(struct lsc_compute *compute, const struct lsc_job *job,
		struct lsc_store_image **ret_image, struct lsc_err *err)
{
	const struct lsc_frame_stage *stage = lsc_job_stage(job);
	struct lsc_store_image *image;
	uint32_t ready;
	int r = lsc_store_find(&compute->store, &job->run.image, &image, err);

	if (r == 0)
		r = check(job, &image->image, err);
	if (r < 0)
		return r;
	*ret_image = image;
	ready = lsc_arrival_ready(&image->image, &image->segment, stage->first, stage->last);
	if (ready == stage->last - stage->first + 1)
		return 1;
	r = lsc_store_watch(image, true, err);
	if (r < 0)
		return r;
	if (lsc_clock_ns() < job->deadline_ns)
		return 0;
	/* What is mapped may be what somebody removed: who asks next gets what is there then. */
	image->gone = true;
	return lsc_err_set(err, ETIMEDOUT, "unit %u did not arrive in time", stage->first + ready);
}

/* The last stage keeps a request's tokens where they weigh in draws. */
static int remember(struct lsc_job *job, struct lsc_guest *guest, struct lsc_err *err)
{
	const struct lsc_run_frame *run = &job->run;
	int r;

	if (!lsc_job_is_last(job) || !lsc_sampling_penalises(&run->sampling) || job->n_done)
		return 0;
	r = lsc_guest_remember(guest, job->ids, run->pos, run->n);
	if (r == -ESTALE)
		return lsc_err_set(err, ESTALE, "the tokens here do not reach position %u",
				   run->pos);
	return r < 0 ? lsc_err_set(err, -r, "no memory for %u tokens", run->n) : 0;
}

/* Picks what can run whose units touch: of whoever there is a place for, in the order in which it
 * came.  Whether something was found that cannot, and failed. */
static bool pick_ready(struct lsc_compute *compute, struct lsc_store_image **ret_image)
{
	struct lsc_job **at = &compute->waiting.first, *job;
	struct lsc_batch *batch = &compute->batch;
	uint32_t first = UINT32_MAX, last = 0;
	bool failed = false;

	compute->visit++;
	batch->n = 0;
	while ((job = *at)) {
		struct lsc_guest *guest = guest_of(compute, job);
		const struct lsc_frame_stage *stage = lsc_job_stage(job);
		struct lsc_store_image *image = NULL;
		struct lsc_err err = LSC_ERR_INIT;
		bool behind = guest->visit == compute->visit; /* an earlier job of it waits */
		int r = 0;

		guest->visit = compute->visit;
		if (!behind && lsc_batch_has_place(batch, job, guest))
			r = look(compute, job, &image, &err);
		if (r > 0 && batch->n &&
		    (image != *ret_image || stage->first > last || stage->last < first))
			r = 0;
		if (r > 0) {
			lsc_guest_follow(guest, &job->run);
			r = remember(job, guest, &err) < 0 ? -err.code : 1;
		}
		if (r < 0) {
			fail(compute, lsc_jobs_take_at(&compute->waiting, at), &err);
			failed = true;
			continue;
		}
		at = &job->next;
		if (r == 0)
			continue;
		guest->image = *ret_image = image;
		lsc_batch_add(batch, job, guest);
		first = LSC_MIN(first, stage->first);
		last = LSC_MAX(last, stage->last);
	}
	return failed;
}

/* --- a step --- */

static int by_age(const void *left, const void *right)
{
	const struct lsc_pick *a = left, *b = right;

	return lsc_guest_is_older(a->guest, b->guest) ? -1 : 1;
}

/* Requests that decode and of which nothing waits here: they are on their way. */
static unsigned count_away(const struct lsc_compute *compute)
{
	uint64_t now = lsc_clock_ns();
	const struct lsc_guest *guest = NULL;
	unsigned n = 0;

	while ((guest = lsc_roster_next(&compute->roster, guest)))
		n += guest->decodes && guest->visit != compute->visit &&
		     now - guest->seen_ns < LIVE_NS;
	return n;
}

/* One position for each that decodes; the oldest prompts get what is left. */
static void share_rows(struct lsc_compute *compute)
{
	struct lsc_batch *batch = &compute->batch;
	unsigned decodes = 0;
	uint32_t rows;

	for (unsigned i = 0; i < batch->n; i++) {
		batch->picks[i].rows = lsc_job_left(batch->picks[i].job) == 1;
		decodes += batch->picks[i].rows;
	}
	if (decodes == batch->n)
		return;
	rows = lsc_pace_rows(&compute->pace, decodes, count_away(compute));
	for (unsigned i = 0; i < batch->n && rows; i++) {
		struct lsc_pick *pick = &batch->picks[i];

		if (pick->rows)
			continue;
		pick->rows = LSC_MIN(lsc_job_left(pick->job), rows);
		rows -= pick->rows;
	}
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

		if (!pick->rows || lsc_room_make(&compute->roster, guest, pick->job, pick->rows,
						 &taken, evict, compute, &err) == 0)
			continue;
		fail_waiting(compute, guest, &err);
		forget(compute, guest);
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

/* Jobs that ended go; the others stay where they are in the order. */
static void on_through(void *data)
{
	struct lsc_compute *compute = data;
	struct lsc_job **at = &compute->waiting.first, *job;
	struct lsc_jobs done = LSC_JOBS_INIT;
	uint64_t now = lsc_clock_ns();

	while ((job = *at)) {
		struct lsc_guest *guest;

		if (!job->finished) {
			at = &job->next;
			continue;
		}
		guest = guest_of(compute, job);
		guest->seen_ns = now;
		if (job->run.n == 1 && !job->err.code) {
			guest->away_ns = now;
			guest->away_step = compute->step;
			compute->n_away++;
		}
		lsc_jobs_add(&done, lsc_jobs_take_at(&compute->waiting, at));
	}
	if (done.first)
		hand_over(compute, &done);
}

/* Whether there was something to do. */
static bool make_step(struct lsc_compute *compute)
{
	struct lsc_batch *batch = &compute->batch;
	struct lsc_store_image *image = NULL;
	uint32_t decodes = 0, rows = 0;
	uint64_t start;
	bool failed = pick_ready(compute, &image);

	if (batch->n == 0)
		return failed;
	qsort(batch->picks, batch->n, sizeof(batch->picks[0]), by_age);
	share_rows(compute);
	admit(compute);
	drop_idle(batch);
	for (unsigned i = 0; i < batch->n; i++)
		if (lsc_job_left(batch->picks[i].job) == 1)
			decodes++;
		else
			rows += batch->picks[i].rows;
	compute->count.steps++;
	compute->count.decodes += decodes;
	compute->count.rows += rows;
	start = lsc_clock_ns();
	compute->step++;
	compute->n_away = 0;
	if (batch->n)
		lsc_batch_run(batch, image, on_through, compute);
	if (batch->n)
		lsc_pace_step(&compute->pace, decodes, rows, lsc_clock_ns() - start);
	batch->n = 0;
	tell_count(compute);
	return true;
}

/* --- what comes in --- */

/* Forgets a request, or all of a client: what waits of it, and its KV. */
static void drop(struct lsc_compute *compute, const struct lsc_job *dropped)
{
	const struct lsc_err err = {ECANCELED, "dropped"};
	bool all = dropped->kind == LSC_JOB_DROP_CLIENT;
	struct lsc_guest *guest = guest_of(compute, dropped), *next;

	if (!all && guest) {
		fail_waiting(compute, guest, &err);
		forget(compute, guest);
	}
	guest = all ? lsc_roster_next(&compute->roster, NULL) : NULL;
	for (; guest; guest = next) {
		next = lsc_roster_next(&compute->roster, guest);
		if (memcmp(guest->entry.key.client, dropped->run.client.bytes,
			   sizeof(guest->entry.key.client)))
			continue;
		fail_waiting(compute, guest, &err);
		forget(compute, guest);
	}
	tell_count(compute);
}

/* Runs that wait for units of an image nobody receives any more will not be run. */
static void sweep(struct lsc_compute *compute)
{
	struct lsc_job **at = &compute->waiting.first, *job;
	struct lsc_err err = LSC_ERR_INIT;

	lsc_err_set(&err, EPIPE, "the image is no longer arriving");
	while ((job = *at)) {
		const struct lsc_store_image *image = compute->store.images;

		while (image && !(image->gone && lsc_hash_equal(&image->image.id, &job->run.image)))
			image = image->next;
		if (image)
			fail(compute, lsc_jobs_take_at(&compute->waiting, at), &err);
		else
			at = &job->next;
	}
	for (const struct lsc_store_image *image = compute->store.images; image;
	     image = image->next)
		if (image->gone)
			lsc_roster_leave(&compute->roster, image);
	lsc_store_sweep(&compute->store);
}

static void take_run(struct lsc_compute *compute, struct lsc_job *job)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_guest *guest = guest_of(compute, job);
	uint64_t now = lsc_clock_ns();

	if (guest && guest->away_ns) {
		lsc_pace_trip(&compute->pace, now - guest->away_ns);
		come_back(compute, guest);
	}
	if (lsc_roster_take(&compute->roster, &job->run, &guest, &err) < 0) {
		fail(compute, job, &err);
		return;
	}
	guest->seen_ns = now;
	lsc_jobs_add(&compute->waiting, job);
}

/* What came after an image was found to be gone is not swept with it: it looks again. */
static void sort_in(struct lsc_compute *compute, struct lsc_jobs *came)
{
	struct lsc_job *job;

	sweep(compute);
	while ((job = lsc_jobs_take(came))) {
		if (job->kind == LSC_JOB_RUN) {
			take_run(compute, job);
			continue;
		}
		drop(compute, job);
		lsc_job_free(job);
	}
}

/* --- the thread --- */

/* Sleeps until there is something to look at; takes what came.  False: stop. */
static bool await(struct lsc_compute *compute, struct lsc_jobs *came)
{
	uint64_t deadline = UINT64_MAX;
	struct timespec until;
	bool stop;
	int r = 0;

	for (struct lsc_job *job = compute->waiting.first; job; job = job->next)
		deadline = LSC_MIN(deadline, job->deadline_ns);
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

/* Nobody waits for an image once all that remains waits for others. */
static void unwatch(struct lsc_compute *compute)
{
	for (struct lsc_store_image *image = compute->store.images; image; image = image->next) {
		const struct lsc_job *job = compute->waiting.first;

		while (job && !lsc_hash_equal(&job->run.image, &image->image.id))
			job = job->next;
		if (!job)
			lsc_store_watch(image, false, NULL);
	}
}

/* Takes what came meanwhile; where tokens were given out that come back soon, waits for these. */
static void gather(struct lsc_compute *compute)
{
	uint64_t until = lsc_clock_ns() + lsc_pace_linger_ns(&compute->pace);
	struct timespec at = {(time_t)(until / 1000000000), (long)(until % 1000000000)};
	bool more = true;

	do {
		struct lsc_jobs came = LSC_JOBS_INIT;

		pthread_mutex_lock(&compute->lock);
		while (!compute->incoming.first && !compute->stop && compute->n_away && more)
			more = pthread_cond_timedwait(&compute->wake, &compute->lock, &at) == 0;
		more = more && compute->n_away && !compute->stop;
		lsc_jobs_move(&came, &compute->incoming);
		pthread_mutex_unlock(&compute->lock);
		sort_in(compute, &came);
		more = more && compute->n_away;
	} while (more);
}

static void *run(void *data)
{
	struct lsc_compute *compute = data;
	struct lsc_jobs came = LSC_JOBS_INIT;

	while (await(compute, &came)) {
		sort_in(compute, &came);
		while (make_step(compute))
			gather(compute);
		unwatch(compute);
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
	compute->store.dir = options->dir;
	compute->store.engine = options->engine;
	compute->store.changed = on_change;
	compute->store.data = compute;
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
	lsc_roster_release(&compute->roster);
	lsc_batch_release(&compute->batch);
	lsc_store_release(&compute->store); /* ends the watchers, which use the lock */
	lsc_jobs_release(&compute->incoming);
	lsc_jobs_release(&compute->waiting);
	lsc_jobs_release(&compute->finished);
	pthread_mutex_destroy(&compute->lock);
	pthread_cond_destroy(&compute->wake);
	free(compute);
}

void lsc_compute_submit(struct lsc_compute *compute, struct lsc_job *job)
{
	job->deadline_ns = lsc_clock_ns() + compute->wait_ns;
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
	return stats;
}

void lsc_compute_take(struct lsc_compute *compute, struct lsc_jobs *jobs)
{
	pthread_mutex_lock(&compute->lock);
	lsc_jobs_move(jobs, &compute->finished);
	pthread_mutex_unlock(&compute->lock);
}
