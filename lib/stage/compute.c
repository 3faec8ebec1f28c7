/* compute - the compute thread of a stage
 *
 * The thread sleeps until jobs come, pieces arrive, or a deadline passes; then it looks through
 * what waits, in order, runs what can be run, and looks again.  Only `incoming`, `finished` and two
 * flags are shared with other threads, under one lock.
 */
#include "stage/compute.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"
#include "exec/arrival.h"
#include "exec/sample.h"
#include "stage/store.h"

#define BATCH_MAX  LSC_STORE_BATCH
#define BATCH_ROWS 512 /* positions of one batch, unless one work alone has more */

struct lsc_compute {
	struct lsc_store store;
	uint64_t wait_ns;
	void (*notify)(void *data);
	void *data;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct lsc_jobs incoming, finished; /* under lock, as are: */
	bool changed, stop;

	/* the thread's own */
	struct lsc_jobs waiting;
	struct lsc_job *batch[BATCH_MAX];
	struct lsc_work works[BATCH_MAX];
};

/* --- finishing --- */

static void finish(struct lsc_compute *compute, struct lsc_job *job)
{
	pthread_mutex_lock(&compute->lock);
	lsc_jobs_add(&compute->finished, job);
	pthread_mutex_unlock(&compute->lock);
	compute->notify(compute->data);
}

static void fail(struct lsc_compute *compute, struct lsc_job *job, const struct lsc_err *err)
{
	job->err = *err;
	finish(compute, job);
}

static void explain(struct lsc_job *job, int result, const struct lsc_err *err)
{
	const struct lsc_run_frame *run = &job->run;

	switch (result) {
	case -ESTALE:
		lsc_err_set(&job->err, ESTALE, "the KV here does not reach position %u", run->pos);
		break;
	case -ENOSPC:
		lsc_err_set(&job->err, ENOSPC, "no room for the KV of position %u", run->pos);
		break;
	case -ERANGE:
		lsc_err_set(&job->err, ERANGE, "position %u is past the model's context",
			    run->pos + run->n - 1);
		break;
	case -EINVAL:
		lsc_err_set(&job->err, EINVAL, "a token outside the vocabulary");
		break;
	default:
		lsc_err_set(&job->err, -result, "%s", err->text[0] ? err->text : "%m");
	}
}

/* --- one run --- */

static const struct lsc_frame_stage *stage_of(const struct lsc_job *job)
{
	return &job->run.route[job->run.stage];
}

static bool is_last(const struct lsc_job *job)
{
	return job->run.stage + 1 == job->run.n_stages;
}

/* Whether the frame fits the image: its units, and the bytes that came with it. */
static int check(const struct lsc_job *job, const struct lsc_image *image, struct lsc_err *err)
{
	const struct lsc_run_frame *run = &job->run;
	const struct lsc_frame_stage *stage = stage_of(job);
	uint32_t head = lsc_model_head_unit(&image->config);
	uint64_t each =
		stage->first ? (uint64_t)image->config.hidden * sizeof(float) : sizeof(uint32_t);

	if (stage->first > stage->last || stage->last > head)
		return lsc_err_set(err, EINVAL, "units %u to %u are not this image's 0 to %u",
				   stage->first, stage->last, head);
	if (!lsc_model_may_begin(&image->config, stage->first) ||
	    !lsc_model_may_end(&image->config, stage->last))
		return lsc_err_set(err, EINVAL, "units %u to %u part a layer from its experts",
				   stage->first, stage->last);
	if ((stage->first == 0) != (run->stage == 0) || (stage->last == head) != is_last(job))
		return lsc_err_set(err, EINVAL,
				   "a route of %u stages that gives stage %u units %u "
				   "to %u",
				   run->n_stages, run->stage, stage->first, stage->last);
	if (job->body_len != each * run->n)
		return lsc_err_set(err, EINVAL, "%u bytes for %u positions of %llu", job->body_len,
				   run->n, (unsigned long long)each);
	if (!is_last(job) &&
	    (uint64_t)run->n * image->config.hidden * sizeof(float) > LSC_BODY_MAX_BYTES)
		return lsc_err_set(err, EINVAL, "%u positions are more than a body holds", run->n);
	return 0;
}

/* slot: which work of the batch it is. */
static int make_work(struct lsc_job *job, const struct lsc_store_image *image, unsigned slot,
		     struct lsc_work *work)
{
	const struct lsc_model_config *config = &image->image.config;
	const struct lsc_run_frame *run = &job->run;
	const struct lsc_frame_stage *stage = stage_of(job);

	*work = (struct lsc_work){.first = stage->first,
				  .last = stage->last,
				  .pos = run->pos,
				  .n = run->n,
				  .ids = job->body,
				  .in = job->body,
				  .out = image->logits + (size_t)slot * config->vocab};
	memcpy(work->key.client, run->client.bytes, sizeof(work->key.client));
	work->key.request = run->request;
	if (is_last(job))
		return 0;
	job->out_len = run->n * config->hidden * (uint32_t)sizeof(float);
	job->out = work->out = malloc(job->out_len);
	return job->out ? 0 : lsc_err_set(&job->err, ENOMEM, "no memory for %u positions", run->n);
}

/* After the last stage the logits become a token. */
static uint32_t draw(const struct lsc_run_frame *run, const float *logits,
		     const struct lsc_store_image *image)
{
	return lsc_sample(logits, image->image.config.vocab, run->sampling.temp,
			  run->sampling.top_p, run->sampling.seed, run->pos + run->n,
			  image->candidates);
}

static void run_batch(struct lsc_compute *compute, struct lsc_store_image *image, unsigned n)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_engine_run(image->engine, compute->works, n, &err);

	for (unsigned i = 0; i < n; i++) {
		struct lsc_job *job = compute->batch[i];
		int result = r < 0 ? r : compute->works[i].result;

		if (result < 0)
			explain(job, result, &err);
		else if (is_last(job))
			job->token = draw(&job->run, compute->works[i].out, image);
		finish(compute, job);
	}
}

/* --- what waits --- */

static bool same_request(const struct lsc_run_frame *a, const struct lsc_run_frame *b)
{
	return a->request == b->request && !memcmp(&a->client, &b->client, sizeof(a->client));
}

/* Ready: 1; to wait: 0; not to be run: negative errno. */
static int look(struct lsc_compute *compute, const struct lsc_job *job,
		struct lsc_store_image **ret_image, struct lsc_err *err)
{
	const struct lsc_frame_stage *stage = stage_of(job);
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

/* Whether an earlier job of the same request still waits. */
static bool is_behind(const struct lsc_compute *compute, const struct lsc_job *job)
{
	const struct lsc_job *other = compute->waiting.first;

	while (other != job && !same_request(&other->run, &job->run))
		other = other->next;
	return other != job;
}

/* Takes the next batch off what waits: its size, 0 when nothing can run. */
static unsigned gather(struct lsc_compute *compute, struct lsc_store_image **ret_image)
{
	struct lsc_job **at = &compute->waiting.first, *job;
	const struct lsc_frame_stage *like = NULL;
	uint64_t rows = 0;
	unsigned n = 0;

	while ((job = *at) && n < BATCH_MAX) {
		struct lsc_err err = LSC_ERR_INIT;
		struct lsc_store_image *image = NULL;
		int r = is_behind(compute, job) ? 0 : look(compute, job, &image, &err);

		if (r > 0 && like &&
		    (image != *ret_image || stage_of(job)->first != like->first ||
		     stage_of(job)->last != like->last || rows + job->run.n > BATCH_ROWS))
			r = 0;
		if (r == 0) {
			at = &job->next;
			continue;
		}
		lsc_jobs_take_at(&compute->waiting, at);
		if (r > 0 && make_work(job, image, n, &compute->works[n]) < 0)
			r = -ENOMEM;
		else if (r < 0)
			job->err = err;
		if (r < 0) {
			finish(compute, job);
			continue;
		}
		like = stage_of(job);
		*ret_image = image;
		rows += job->run.n;
		compute->batch[n++] = job;
	}
	return n;
}

/* Forgets a request, or all of a client: what waits of it, and its KV. */
static void drop(struct lsc_compute *compute, const struct lsc_job *dropped)
{
	struct lsc_err err = {ECANCELED, "dropped"};
	struct lsc_job **at = &compute->waiting.first, *job;
	bool all = dropped->kind == LSC_JOB_DROP_CLIENT;
	struct lsc_request_key key;

	while ((job = *at))
		if (all ? !memcmp(&job->run.client, &dropped->run.client, sizeof(job->run.client))
			: same_request(&job->run, &dropped->run))
			fail(compute, lsc_jobs_take_at(&compute->waiting, at), &err);
		else
			at = &job->next;
	memcpy(key.client, dropped->run.client.bytes, sizeof(key.client));
	key.request = dropped->run.request;
	for (struct lsc_store_image *image = compute->store.images; image; image = image->next)
		if (all)
			lsc_engine_drop_client(image->engine, key.client);
		else
			lsc_engine_drop(image->engine, &key);
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
	lsc_store_sweep(&compute->store);
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

/* What came after an image was found to be gone is not swept with it: it looks again. */
static void sort_in(struct lsc_compute *compute, struct lsc_jobs *came)
{
	struct lsc_job *job;

	sweep(compute);
	while ((job = lsc_jobs_take(came))) {
		if (job->kind == LSC_JOB_RUN) {
			lsc_jobs_add(&compute->waiting, job);
			continue;
		}
		drop(compute, job);
		lsc_job_free(job);
	}
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

static void *run(void *data)
{
	struct lsc_compute *compute = data;
	struct lsc_jobs came = LSC_JOBS_INIT;

	while (await(compute, &came)) {
		struct lsc_store_image *image = NULL;
		unsigned n;

		sort_in(compute, &came);
		while ((n = gather(compute, &image))) {
			run_batch(compute, image, n);
			pthread_mutex_lock(&compute->lock);
			lsc_jobs_move(&came, &compute->incoming);
			pthread_mutex_unlock(&compute->lock);
			sort_in(compute, &came);
		}
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

void lsc_compute_take(struct lsc_compute *compute, struct lsc_jobs *jobs)
{
	pthread_mutex_lock(&compute->lock);
	lsc_jobs_move(jobs, &compute->finished);
	pthread_mutex_unlock(&compute->lock);
}
