/* queue - what waits at a stage, and what of it can run */
#include "stage/queue.h"

#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "exec/arrival.h"

#define LIVE_NS 1000000000u /* a request that decoded so recently may be back any moment */

void lsc_queue_release(struct lsc_queue *queue)
{
	lsc_roster_release(&queue->roster);
	lsc_store_release(&queue->store);
	lsc_jobs_release(&queue->waiting);
	lsc_jobs_release(&queue->over);
}

static void fail(struct lsc_queue *queue, struct lsc_job *job, const struct lsc_err *err)
{
	job->err = *err;
	lsc_jobs_add(&queue->over, job);
}

uint64_t lsc_queue_deadline(const struct lsc_queue *queue)
{
	uint64_t deadline = UINT64_MAX;

	for (const struct lsc_job *job = queue->waiting.first; job; job = job->next)
		deadline = LSC_MIN(deadline, job->deadline_ns);
	return deadline;
}

uint64_t lsc_queue_kv_used(const struct lsc_queue *queue)
{
	const struct lsc_store_image *image = queue->store.images;
	uint64_t bytes = 0;

	for (; image; image = image->next)
		bytes += lsc_engine_kv_used(image->engine);
	return bytes;
}

/* --- guests --- */

static struct lsc_guest *guest_of(const struct lsc_queue *queue, const struct lsc_job *job)
{
	return lsc_roster_find(&queue->roster, &job->run.client, job->run.request);
}

/* Its KV and what is known of it. */
static void forget(struct lsc_queue *queue, struct lsc_guest *guest)
{
	for (struct lsc_store_image *image = queue->store.images; image; image = image->next)
		lsc_engine_drop(image->engine, &guest->entry.key);
	lsc_roster_drop(&queue->roster, guest);
}

static bool belongs(const struct lsc_job *job, const struct lsc_guest *guest)
{
	return job->run.request == guest->entry.key.request &&
	       !memcmp(job->run.client.bytes, guest->entry.key.client,
		       sizeof(guest->entry.key.client));
}

/* What waits of a guest comes back with err; whether something did. */
static bool fail_waiting(struct lsc_queue *queue, const struct lsc_guest *guest,
			 const struct lsc_err *err)
{
	struct lsc_job **at = &queue->waiting.first, *job;
	bool any = false;

	while ((job = *at)) {
		if (!belongs(job, guest)) {
			at = &job->next;
			continue;
		}
		fail(queue, lsc_jobs_take_at(&queue->waiting, at), err);
		any = true;
	}
	return any;
}

void lsc_queue_refuse(struct lsc_queue *queue, struct lsc_guest *guest, const struct lsc_err *err)
{
	fail_waiting(queue, guest, err);
	forget(queue, guest);
}

/* If no memory is left to say so, its next run finds out. */
void lsc_queue_evict(struct lsc_queue *queue, struct lsc_guest *guest)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_job *job;

	lsc_err_set(&err, ENOSPC, "its KV had to give way to that of an older request");
	if (!fail_waiting(queue, guest, &err) && (job = lsc_job_new(LSC_JOB_LOST))) {
		memcpy(job->run.client.bytes, guest->entry.key.client,
		       sizeof(guest->entry.key.client));
		job->run.request = guest->entry.key.request;
		job->run.pos = guest->pos;
		fail(queue, job, &err);
	}
	forget(queue, guest);
}

void lsc_queue_drop(struct lsc_queue *queue, const struct lsc_job *dropped)
{
	const struct lsc_err err = {ECANCELED, "dropped"};
	struct lsc_guest *guest = guest_of(queue, dropped), *next;

	if (dropped->kind == LSC_JOB_REST && guest && !fail_waiting(queue, guest, &err) &&
	    lsc_roster_rest(&queue->roster, guest))
		return;
	if (dropped->kind != LSC_JOB_DROP_CLIENT) {
		if (guest)
			lsc_queue_refuse(queue, guest, &err);
		return;
	}
	for (guest = lsc_roster_next(&queue->roster, NULL); guest; guest = next) {
		next = lsc_roster_next(&queue->roster, guest);
		if (!memcmp(guest->entry.key.client, dropped->run.client.bytes,
			    sizeof(guest->entry.key.client)))
			lsc_queue_refuse(queue, guest, &err);
	}
}

/* --- coming and going --- */

void lsc_queue_add(struct lsc_queue *queue, struct lsc_job *job, uint64_t *ret_away_ns)
{
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t now = lsc_clock_ns();
	struct lsc_guest *guest;

	*ret_away_ns = 0;
	if (lsc_roster_take(&queue->roster, &job->run, &guest, &err) < 0) {
		fail(queue, job, &err);
		return;
	}
	if (!guest->turn)
		guest->turn = queue->visit;
	*ret_away_ns = lsc_roster_return(&queue->roster, guest, job->came_ns);
	guest->seen_ns = now;
	lsc_jobs_add(&queue->waiting, job);
}

bool lsc_queue_settle(struct lsc_queue *queue)
{
	struct lsc_job **at = &queue->waiting.first, *job;
	uint64_t now = lsc_clock_ns();
	bool any = false;

	while ((job = *at)) {
		struct lsc_guest *guest;

		if (!job->finished) {
			at = &job->next;
			continue;
		}
		guest = guest_of(queue, job);
		guest->seen_ns = now;
		if (job->run.n == 1 && !job->err.code)
			lsc_roster_leave(&queue->roster, guest, now);
		lsc_jobs_add(&queue->over, lsc_jobs_take_at(&queue->waiting, at));
		any = true;
	}
	return any;
}

void lsc_queue_sweep(struct lsc_queue *queue)
{
	struct lsc_job **at = &queue->waiting.first, *job;
	struct lsc_err err = LSC_ERR_INIT;

	lsc_err_set(&err, EPIPE, "the image is no longer arriving");
	while ((job = *at)) {
		const struct lsc_store_image *image = queue->store.images;

		while (image && !(image->gone && lsc_hash_equal(&image->image.id, &job->run.image)))
			image = image->next;
		if (image)
			fail(queue, lsc_jobs_take_at(&queue->waiting, at), &err);
		else
			at = &job->next;
	}
	for (const struct lsc_store_image *image = queue->store.images; image; image = image->next)
		if (image->gone)
			lsc_roster_close(&queue->roster, image);
	lsc_store_sweep(&queue->store);
}

void lsc_queue_unwatch(struct lsc_queue *queue)
{
	for (struct lsc_store_image *image = queue->store.images; image; image = image->next) {
		const struct lsc_job *job = queue->waiting.first;

		while (job && !lsc_hash_equal(&job->run.image, &image->image.id))
			job = job->next;
		if (!job)
			lsc_store_watch(image, false, NULL);
	}
}

/* --- what can run --- */

/* Ready: 1; to wait: 0; not to be run: negative errno. */
static int look(struct lsc_queue *queue, const struct lsc_job *job,
		struct lsc_store_image **ret_image, struct lsc_err *err)
{
	const struct lsc_frame_stage *stage = lsc_job_stage(job);
	struct lsc_store_image *image;
	uint32_t ready;
	int r = lsc_store_find(&queue->store, &job->run.image, &image, err);

	if (r == 0)
		r = lsc_job_check(job, &image->image, err);
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

/* What a step is about: units that touch, of one image. */
struct focus {
	struct lsc_store_image *image;
	uint32_t first, last;
};

static bool touches(const struct focus *focus, const struct lsc_store_image *image,
		    const struct lsc_frame_stage *stage)
{
	return focus->image == image && stage->first <= focus->last && stage->last >= focus->first;
}

/* Goes through the jobs that are the first of their requests here; next(NULL) begins. */
static struct lsc_job **next_first(struct lsc_queue *queue, struct lsc_job **at)
{
	if (!at)
		queue->visit++;
	for (at = at ? at : &queue->waiting.first; *at; at = &(*at)->next) {
		struct lsc_guest *guest = guest_of(queue, *at);

		if (guest->visit != queue->visit) {
			guest->visit = queue->visit;
			return at;
		}
	}
	return NULL;
}

/* The units of whoever can run and had its last turn before all others that can: where units do
 * not touch, or images differ, they take turns.  Whether something failed. */
static bool find_focus(struct lsc_queue *queue, struct focus *ret_focus)
{
	struct lsc_job **at = NULL;
	uint64_t turn = UINT64_MAX;
	bool failed = false;

	while ((at = next_first(queue, at))) {
		struct lsc_store_image *image;
		struct lsc_err err = LSC_ERR_INIT;
		struct lsc_guest *guest = guest_of(queue, *at);
		int r = guest->turn < turn ? look(queue, *at, &image, &err) : 0;

		if (r > 0) {
			turn = guest->turn;
			*ret_focus = (struct focus){image, lsc_job_stage(*at)->first,
						    lsc_job_stage(*at)->last};
		} else if (r < 0) {
			fail(queue, lsc_jobs_take_at(&queue->waiting, at), &err);
			failed = true;
		}
	}
	return failed;
}

bool lsc_queue_pick(struct lsc_queue *queue, struct lsc_batch *batch,
		    struct lsc_store_image **ret_image)
{
	struct focus focus = {NULL, 0, 0};
	bool failed = find_focus(queue, &focus);
	struct lsc_job **at = NULL;

	batch->n = 0;
	while (focus.image && (at = next_first(queue, at))) {
		struct lsc_guest *guest = guest_of(queue, *at);
		const struct lsc_frame_stage *stage = lsc_job_stage(*at);
		struct lsc_store_image *image = NULL;
		struct lsc_err err = LSC_ERR_INIT;
		int r = 0;

		if (lsc_batch_has_place(batch, *at, guest))
			r = look(queue, *at, &image, &err);
		if (r > 0 && !touches(&focus, image, stage))
			continue;
		if (r > 0) {
			lsc_guest_follow(guest, &(*at)->run);
			r = remember(*at, guest, &err) < 0 ? -err.code : 1;
		}
		if (r < 0) {
			fail(queue, lsc_jobs_take_at(&queue->waiting, at), &err);
			failed = true;
		}
		if (r <= 0)
			continue;
		guest->image = image;
		guest->turn = queue->visit;
		lsc_batch_add(batch, *at, guest);
		focus.first = LSC_MIN(focus.first, stage->first);
		focus.last = LSC_MAX(focus.last, stage->last);
	}
	*ret_image = focus.image;
	return failed;
}

unsigned lsc_queue_count_others(const struct lsc_queue *queue)
{
	uint64_t now = lsc_clock_ns();
	const struct lsc_guest *guest = NULL;
	unsigned n = 0;

	while ((guest = lsc_roster_next(&queue->roster, guest)))
		n += guest->decodes && guest->turn != queue->visit &&
		     now - guest->seen_ns < LIVE_NS;
	return n;
}
