/* worker - frames in and out of a stage, on the loop's thread
 *
 * Runs and drops become jobs for the compute thread, in the order in which they arrive; finished
 * jobs come back with an eventfd and become frames.
 */
#include "stage/worker.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mem/segment.h"
#include "net/frame.h"
#include "net/link.h"
#include "stage/worker_own.h"

#define WAIT_NS    60000000000u
#define BODY_BYTES (1ull << 30)
#define MAX_JOBS   4096

/* --- jobs --- */

void lsc_worker_charge(struct lsc_worker *worker, struct lsc_job *job)
{
	worker->job_bytes -= job->charged;
	job->charged = sizeof(*job) + job->body_len + job->out_len +
		       (job->ids ? job->run.n * sizeof(*job->ids) : 0);
	worker->job_bytes += job->charged;
}

void lsc_worker_free_job(struct lsc_worker *worker, struct lsc_job *job)
{
	worker->job_bytes -= job->charged;
	worker->n_jobs--;
	worker->n_moving -= job->kind != LSC_JOB_RUN;
	worker->n_given -= job->kind == LSC_JOB_FETCH;
	lsc_job_free(job);
}

struct lsc_job *lsc_worker_make_job(struct lsc_worker *worker, enum lsc_job_kind kind,
				    uint32_t body_len)
{
	struct lsc_job *job;

	if (worker->n_jobs >= MAX_JOBS || worker->job_bytes > worker->job_limit ||
	    body_len > worker->job_limit - worker->job_bytes)
		return NULL;
	job = lsc_job_new(kind);
	if (!job)
		return NULL;
	job->body = body_len ? malloc(body_len) : NULL;
	if (!job->body && body_len) {
		lsc_job_free(job);
		return NULL;
	}
	job->body_len = body_len;
	worker->n_jobs++;
	worker->n_moving += kind != LSC_JOB_RUN;
	worker->n_given += kind == LSC_JOB_FETCH;
	lsc_worker_charge(worker, job);
	return job;
}

bool lsc_worker_has_dropped(const struct lsc_worker *worker, const struct lsc_run_frame *run)
{
	return lsc_peers_have_dropped(&worker->peers, &run->client, run->request);
}

/* --- what has been computed --- */

static void on_lost(void *data, const struct lsc_client_id *client, uint64_t request, uint32_t pos,
		    const struct lsc_err *err)
{
	const struct lsc_worker *worker = data;

	lsc_peers_send_fail(&worker->peers, client, request, pos, err);
}

static void on_forwarded(void *data, struct lsc_job *job)
{
	struct lsc_worker *worker = data;

	worker->n_forwarded++;
	lsc_worker_free_job(worker, job);
}

int lsc_worker_drop(struct lsc_worker *worker, enum lsc_job_kind kind,
		    const struct lsc_client_id *client, uint64_t request)
{
	struct lsc_job *job = lsc_job_new(kind);

	if (!job)
		return -ENOMEM;
	job->run.client = *client;
	job->run.request = request;
	lsc_hops_forget(&worker->hops, client, kind == LSC_JOB_DROP_CLIENT ? NULL : &request);
	lsc_moves_forget(&worker->moves, client, kind == LSC_JOB_DROP_CLIENT ? NULL : &request);
	lsc_compute_submit(worker->compute, job);
	return 0;
}

/* On to the next stage: true when the job is not ours any more. */
static bool forward(struct lsc_worker *worker, struct lsc_job *job)
{
	if (worker->job_bytes > worker->job_limit)
		lsc_err_set(&job->err, ENOBUFS, "no room for %u bytes for the next stage",
			    job->out_len);
	else if (lsc_hops_forward(&worker->hops, job, &job->err) == 0)
		return true;
	return false;
}

/* Activations that nobody waits for any more end here. */
static void finish_job(struct lsc_worker *worker, struct lsc_job *job)
{
	const struct lsc_run_frame *run = &job->run;

	free(job->body);
	job->body = NULL;
	job->body_len = 0;
	lsc_worker_charge(worker, job);
	if (!lsc_peers_find(&worker->peers, &run->client)) {
		lsc_worker_drop(worker, LSC_JOB_DROP_CLIENT, &run->client, 0);
	} else if (!lsc_worker_has_dropped(worker, run)) {
		if (!job->err.code && run->stage + 1 == run->n_stages)
			lsc_peers_send_token(&worker->peers, job);
		else if (!job->err.code && forward(worker, job))
			return;
		if (job->err.code && job->err.code != ECANCELED)
			lsc_peers_send_fail(&worker->peers, &run->client, run->request, run->pos,
					    &job->err);
	}
	lsc_worker_free_job(worker, job);
}

/* A request gave way while no run of it was here. */
static void lose(struct lsc_worker *worker, struct lsc_job *job)
{
	const struct lsc_run_frame *run = &job->run;

	lsc_moves_forget(&worker->moves, &run->client, &run->request);
	if (lsc_peers_find(&worker->peers, &run->client) && !lsc_worker_has_dropped(worker, run))
		lsc_peers_send_fail(&worker->peers, &run->client, run->request, run->pos,
				    &job->err);
	lsc_job_free(job);
}

/* --- requests that move --- */

static struct lsc_job *make_move_job(void *data, enum lsc_job_kind kind, uint32_t body_len)
{
	return lsc_worker_make_job(data, kind, body_len);
}

static void submit_move_job(void *data, struct lsc_job *job)
{
	const struct lsc_worker *worker = data;

	lsc_compute_submit(worker->compute, job);
}

static void free_move_job(void *data, struct lsc_job *job)
{
	lsc_worker_free_job(data, job);
}

static void on_moved(void *data, const struct lsc_client_id *client,
		     const struct lsc_moved_frame *moved, const struct lsc_err *err)
{
	struct lsc_worker *worker = data;

	if (!err->code && lsc_peers_find(&worker->peers, client)) {
		lsc_peers_send_moved(&worker->peers, client, moved);
		return;
	}
	lsc_worker_drop(worker, LSC_JOB_DROP, client, moved->request);
	lsc_peers_send_fail(&worker->peers, client, moved->request, moved->pos, err);
}

/* A fetch was looked at: its answer goes to who asked, if he is still there. */
static void give_pages(struct lsc_worker *worker, struct lsc_job *job)
{
	struct lsc_peer *peer = lsc_peers_find_tag(&worker->peers, job->tag);
	bool kept;

	lsc_worker_charge(worker, job);
	if (!job->err.code && worker->job_bytes > worker->job_limit)
		lsc_err_set(&job->err, ENOBUFS, "no room for %u bytes that leave", job->out_len);
	kept = peer && lsc_peer_send_pages(peer, job) == 0 && !job->err.code;
	if (!kept)
		lsc_worker_free_job(worker, job);
}

static void on_event(void *data, uint32_t events)
{
	struct lsc_worker *worker = data;
	struct lsc_jobs jobs = LSC_JOBS_INIT;
	struct lsc_job *job;
	uint64_t count;

	(void)events;
	if (read(worker->event_fd, &count, sizeof(count)) < 0)
		return;
	lsc_compute_take(worker->compute, &jobs);
	while ((job = lsc_jobs_take(&jobs)))
		if (job->kind == LSC_JOB_LOST)
			lose(worker, job);
		else if (job->kind == LSC_JOB_FETCH)
			give_pages(worker, job);
		else if (job->kind == LSC_JOB_RUN)
			finish_job(worker, job);
		else
			lsc_moves_back(&worker->moves, job);
}

/* From the compute thread. */
static void notify(void *data)
{
	const struct lsc_worker *worker = data;
	uint64_t one = 1;
	ssize_t n = write(worker->event_fd, &one, sizeof(one));

	(void)n; /* EAGAIN: the count is at its limit, so the loop will look anyway */
}

/* --- life --- */

static int start(struct lsc_worker *worker, const struct lsc_endpoint *at,
		 const struct lsc_worker_options *options, struct lsc_err *err)
{
	const struct lsc_link_options link_options = {
		.kind = "exec", .key = options->access ? options->access->key : NULL};
	struct lsc_compute_options compute = {options->dir, options->engine,
					      options->wait_ns ? options->wait_ns : WAIT_NS};
	int r;

	r = lsc_segment_check_dir(options->dir, err);
	if (r < 0)
		return r;
	worker->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->event_fd < 0)
		return lsc_err_set(err, errno, "cannot make an eventfd: %m");
	r = lsc_loop_watch(worker->loop, worker->event_fd, EPOLLIN, on_event, worker,
			   &worker->watch, err);
	if (r == 0)
		r = lsc_compute_start(&worker->compute, &compute, notify, worker, err);
	if (r == 0)
		r = lsc_listener_open(&worker->listener, worker->loop, at, &link_options,
				      &lsc_worker_peer_events, lsc_worker_on_link, worker, err);
	return r;
}

int lsc_worker_open(struct lsc_worker **ret_worker, struct lsc_loop *loop,
		    const struct lsc_endpoint *at, const struct lsc_worker_options *options,
		    struct lsc_err *err)
{
	struct lsc_worker *worker = calloc(1, sizeof(*worker));
	int r;

	if (!worker)
		return lsc_err_set(err, ENOMEM, "no memory for a worker");
	worker->loop = loop;
	worker->event_fd = -1;
	worker->job_limit = options->body_bytes ? options->body_bytes : BODY_BYTES;
	worker->hops = (struct lsc_hops){.loop = loop,
					 .access = options->access,
					 .on_lost = on_lost,
					 .on_done = on_forwarded,
					 .data = worker};
	worker->moves = (struct lsc_moves){.loop = loop,
					   .access = options->access,
					   .make_job = make_move_job,
					   .submit = submit_move_job,
					   .free_job = free_move_job,
					   .on_end = on_moved,
					   .data = worker};
	r = start(worker, at, options, err);
	if (r < 0) {
		lsc_worker_close(worker);
		return r;
	}
	*ret_worker = worker;
	return 0;
}

void lsc_worker_close(struct lsc_worker *worker)
{
	if (!worker)
		return;
	lsc_listener_close(worker->listener);
	while (worker->peers.first)
		lsc_worker_remove_peer(worker, worker->peers.first);
	lsc_hops_release(&worker->hops);
	lsc_moves_release(&worker->moves);
	lsc_compute_stop(worker->compute);
	lsc_watch_remove(worker->watch);
	lsc_leave_release(&worker->leave);
	if (worker->event_fd >= 0)
		close(worker->event_fd);
	free(worker);
}

/* Tokens that were given out are with their clients before these drop what they were of. */
static bool is_busy(void *data)
{
	const struct lsc_worker *worker = data;

	return worker->n_jobs || lsc_compute_stats(worker->compute).guests;
}

int lsc_worker_leave(struct lsc_worker *worker, uint64_t within_ns, void (*on_left)(void *data),
		     void *data, struct lsc_err *err)
{
	int r = 0;

	if (lsc_leave_is_on(&worker->leave))
		return 0;
	r = lsc_leave_start(&worker->leave, worker->loop, within_ns, is_busy, worker, on_left, data,
			    err);
	if (r == 0)
		lsc_peers_send_leave(&worker->peers, (double)within_ns / 1e9);
	return r;
}

struct lsc_stage_stats lsc_worker_stats(const struct lsc_worker *worker)
{
	return lsc_compute_stats(worker->compute);
}

const char *lsc_worker_address(const struct lsc_worker *worker)
{
	return lsc_listener_address(worker->listener);
}
