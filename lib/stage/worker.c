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

#include "base/cleanup.h"
#include "base/log.h"
#include "net/frame.h"
#include "net/link.h"
#include "stage/compute.h"
#include "stage/hop.h"
#include "stage/leave.h"
#include "stage/move.h"
#include "stage/peer.h"

#define WAIT_NS    60000000000u
#define BODY_BYTES (1ull << 30)
#define MAX_JOBS   4096
#define MAX_GIVEN  256 /* fetches that are not answered yet: a MiB each at most */

struct lsc_worker {
	struct lsc_loop *loop;
	struct lsc_compute *compute;
	struct lsc_listener *listener;
	int event_fd;
	struct lsc_watch *watch;
	struct lsc_peers peers;
	struct lsc_hops hops;
	struct lsc_moves moves;
	struct lsc_run_frame run;      /* the one being looked at */
	uint64_t job_bytes, job_limit; /* of all jobs there are */
	uint32_t n_jobs;
	uint32_t n_moving; /* of requests that move, which are no runs; and of them */
	uint32_t n_given;  /* fetches that are not answered yet */
	uint64_t n_forwarded;
	struct lsc_leave leave;
};

/* --- jobs --- */

/* Counts what a job holds now. */
static void charge(struct lsc_worker *worker, struct lsc_job *job)
{
	worker->job_bytes -= job->charged;
	job->charged = sizeof(*job) + job->body_len + job->out_len +
		       (job->ids ? job->run.n * sizeof(*job->ids) : 0);
	worker->job_bytes += job->charged;
}

static void free_job(struct lsc_worker *worker, struct lsc_job *job)
{
	worker->job_bytes -= job->charged;
	worker->n_jobs--;
	worker->n_moving -= job->kind != LSC_JOB_RUN;
	worker->n_given -= job->kind == LSC_JOB_FETCH;
	lsc_job_free(job);
}

/* Room for a job and its body, or NULL. */
static struct lsc_job *make_job(struct lsc_worker *worker, enum lsc_job_kind kind,
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
	charge(worker, job);
	return job;
}

static bool is_dropped(const struct lsc_worker *worker, const struct lsc_run_frame *run)
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
	free_job(worker, job);
}

static int drop(struct lsc_worker *worker, enum lsc_job_kind kind,
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
	charge(worker, job);
	if (!lsc_peers_find(&worker->peers, &run->client)) {
		drop(worker, LSC_JOB_DROP_CLIENT, &run->client, 0);
	} else if (!is_dropped(worker, run)) {
		if (!job->err.code && run->stage + 1 == run->n_stages)
			lsc_peers_send_token(&worker->peers, job);
		else if (!job->err.code && forward(worker, job))
			return;
		if (job->err.code && job->err.code != ECANCELED)
			lsc_peers_send_fail(&worker->peers, &run->client, run->request, run->pos,
					    &job->err);
	}
	free_job(worker, job);
}

/* A request gave way while no run of it was here. */
static void lose(struct lsc_worker *worker, struct lsc_job *job)
{
	const struct lsc_run_frame *run = &job->run;

	lsc_moves_forget(&worker->moves, &run->client, &run->request);
	if (lsc_peers_find(&worker->peers, &run->client) && !is_dropped(worker, run))
		lsc_peers_send_fail(&worker->peers, &run->client, run->request, run->pos,
				    &job->err);
	lsc_job_free(job);
}

/* --- requests that move --- */

static struct lsc_job *make_move_job(void *data, enum lsc_job_kind kind, uint32_t body_len)
{
	return make_job(data, kind, body_len);
}

static void submit_move_job(void *data, struct lsc_job *job)
{
	const struct lsc_worker *worker = data;

	lsc_compute_submit(worker->compute, job);
}

static void free_move_job(void *data, struct lsc_job *job)
{
	free_job(data, job);
}

static void on_moved(void *data, const struct lsc_client_id *client,
		     const struct lsc_moved_frame *moved, const struct lsc_err *err)
{
	struct lsc_worker *worker = data;

	if (!err->code && lsc_peers_find(&worker->peers, client)) {
		lsc_peers_send_moved(&worker->peers, client, moved);
		return;
	}
	drop(worker, LSC_JOB_DROP, client, moved->request);
	lsc_peers_send_fail(&worker->peers, client, moved->request, moved->pos, err);
}

/* A fetch was looked at: its answer goes to who asked, if he is still there. */
static void give_pages(struct lsc_worker *worker, struct lsc_job *job)
{
	struct lsc_peer *peer = lsc_peers_find_tag(&worker->peers, job->tag);
	bool kept;

	charge(worker, job);
	if (!job->err.code && worker->job_bytes > worker->job_limit)
		lsc_err_set(&job->err, ENOBUFS, "no room for %u bytes that leave", job->out_len);
	kept = peer && lsc_peer_send_pages(peer, job) == 0 && !job->err.code;
	if (!kept)
		free_job(worker, job);
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

/* --- from links --- */

static int keep_ids(struct lsc_worker *worker, struct lsc_job *job, const struct lsc_run_frame *run)
{
	job->ids = malloc(run->n * sizeof(*job->ids));
	if (!job->ids)
		return -ENOMEM;
	memcpy(job->ids, run->ids, run->n * sizeof(*job->ids));
	job->run.ids = job->ids; /* for the next stage */
	charge(worker, job);
	return 0;
}

/* A run there is no room for fails, its body is skipped. */
static int take_run(struct lsc_peer *peer, const struct lsc_record *record, uint32_t body_len,
		    void **ret_body, struct lsc_err *err)
{
	struct lsc_worker *worker = peer->owner;
	struct lsc_run_frame *run = &worker->run;
	struct lsc_err why = LSC_ERR_INIT;
	int r = lsc_frame_parse_run(record, run, err);

	*ret_body = NULL;
	if (r < 0)
		return r;
	if (lsc_leave_is_on(&worker->leave) && run->pos == 0) {
		lsc_err_set(&why, ESHUTDOWN, "this worker leaves");
		lsc_peers_send_fail(&worker->peers, &run->client, run->request, run->pos, &why);
		return 0;
	}
	peer->receiving = make_job(worker, LSC_JOB_RUN, body_len);
	if (!peer->receiving) {
		lsc_err_set(&why, ENOBUFS, "no room for %u bytes of activations", body_len);
		lsc_peers_send_fail(&worker->peers, &run->client, run->request, run->pos, &why);
		return 0;
	}
	peer->receiving->run = *run;
	peer->receiving->run.ids = NULL; /* they lie in the record */
	if (run->ids && keep_ids(worker, peer->receiving, run) < 0)
		return lsc_err_set(err, ENOMEM, "no memory for %u ids", run->n);
	*ret_body = peer->receiving->body;
	return 0;
}

/* A request is to come here: what of, is in a job's run. */
static int take_adopt(struct lsc_peer *peer, const struct lsc_record *record, uint32_t body_len,
		      void **ret_body, struct lsc_err *err)
{
	LSC_CLEANUP_FREE struct lsc_adopt_frame *adopt = malloc(sizeof(*adopt));
	struct lsc_worker *worker = peer->owner;
	struct lsc_err why = LSC_ERR_INIT;
	struct lsc_job *job;
	int r = adopt ? lsc_frame_parse_adopt(record, adopt, err)
		      : lsc_err_set(err, ENOMEM, "no memory for a route");

	if (r < 0)
		return r;
	job = lsc_leave_is_on(&worker->leave) ? NULL : make_job(worker, LSC_JOB_ADOPT, body_len);
	if (!job) {
		if (lsc_leave_is_on(&worker->leave))
			lsc_err_set(&why, ESHUTDOWN, "this worker leaves");
		else
			lsc_err_set(&why, ENOBUFS, "no room for another request");
		lsc_peers_send_fail(&worker->peers, &adopt->client, adopt->request, adopt->n, &why);
		return 0;
	}
	job->from = adopt->from;
	job->run = (struct lsc_run_frame){.image = adopt->image,
					  .client = adopt->client,
					  .request = adopt->request,
					  .n = adopt->n,
					  .reach = adopt->reach,
					  .since = adopt->since,
					  .n_stages = adopt->n_stages};
	memcpy(job->run.route, adopt->route, adopt->n_stages * sizeof(adopt->route[0]));
	*ret_body = job->body;
	if (body_len)
		peer->receiving = job;
	else
		lsc_moves_adopt(&worker->moves, job);
	return 0;
}

static int take_fetch(struct lsc_peer *peer, const struct lsc_record *record, struct lsc_err *err)
{
	struct lsc_worker *worker = peer->owner;
	struct lsc_fetch_frame fetch;
	struct lsc_job *job, full = {.err = {ENOBUFS, "too much is fetched from here"}};
	int r = lsc_frame_parse_fetch(record, &fetch, err);

	if (r < 0)
		return r;
	job = worker->n_given < MAX_GIVEN ? make_job(worker, LSC_JOB_FETCH, 0) : NULL;
	if (!job) {
		full.fetch = fetch;
		r = lsc_peer_send_pages(peer, &full);
		return r < 0 ? lsc_err_set(err, -r, "cannot answer a fetch: %m") : 0;
	}
	job->fetch = fetch;
	job->tag = peer->tag;
	lsc_compute_submit(worker->compute, job);
	return 0;
}

/* Of a request that rests, runs come again under its number. */
static int take_drop(struct lsc_peer *peer, const struct lsc_record *record, bool rests,
		     struct lsc_err *err)
{
	struct lsc_worker *worker = peer->owner;
	struct lsc_client_id client;
	uint64_t request;
	int r = lsc_frame_parse_drop(record, &client, &request, err);

	if (r < 0)
		return r;
	if (!rests)
		lsc_peers_drop(&worker->peers, &client, request);
	r = drop(worker, rests ? LSC_JOB_REST : LSC_JOB_DROP, &client, request);
	return r < 0 ? lsc_err_set(err, -r, "no memory for a drop") : 0;
}

/* A link is one client's: what it has here goes with the last link that has its name. */
static int take_client(struct lsc_peer *peer, const struct lsc_record *record, struct lsc_err *err)
{
	const struct lsc_worker *worker = peer->owner;
	struct lsc_client_id client;
	int r = lsc_frame_parse_client(record, &client, err);

	if (r == 0)
		r = lsc_peer_name(peer, &client, err);
	if (r == 0 && lsc_leave_is_on(&worker->leave))
		lsc_peer_send_leave(peer, lsc_leave_left_s(&worker->leave));
	return r;
}

static int take_ping(struct lsc_peer *peer, struct lsc_err *err)
{
	const struct lsc_worker *worker = peer->owner;
	struct lsc_stage_stats stats = lsc_compute_stats(worker->compute);
	const struct lsc_pong_frame pong = {.runs = worker->n_jobs - worker->n_moving,
					    .done = stats.progress + worker->n_forwarded,
					    .works = stats.works,
					    .step_s = (double)stats.step_ns / 1e9,
					    .unit_s = stats.unit_ns / 1e9};

	return lsc_peer_send_pong(peer, &pong, err);
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct lsc_peer *peer = data;

	(void)link;
	if (lsc_record_is(record, "run"))
		return take_run(peer, record, body_len, ret_body, err);
	*ret_body = NULL;
	if (lsc_record_is(record, "adopt"))
		return take_adopt(peer, record, body_len, ret_body, err);
	if (lsc_record_is(record, "fetch"))
		return take_fetch(peer, record, err);
	if (lsc_record_is(record, "drop"))
		return take_drop(peer, record, false, err);
	if (lsc_record_is(record, "rest"))
		return take_drop(peer, record, true, err);
	if (lsc_record_is(record, "client"))
		return take_client(peer, record, err);
	if (lsc_record_is(record, "ping"))
		return take_ping(peer, err);
	return 0; /* a type that a later minor version knows */
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *err)
{
	struct lsc_peer *peer = data;
	struct lsc_worker *worker = peer->owner;
	struct lsc_job *job = peer->receiving;

	(void)link;
	(void)err;
	if (!job) /* skipped */
		return 0;
	peer->receiving = NULL;
	if (is_dropped(worker, &job->run))
		free_job(worker, job);
	else if (job->kind == LSC_JOB_ADOPT)
		lsc_moves_adopt(&worker->moves, job);
	else
		lsc_compute_submit(worker->compute, job);
	return 0;
}

static void remove_peer(struct lsc_worker *worker, struct lsc_peer *peer)
{
	struct lsc_job *job;

	if (peer->receiving)
		free_job(worker, peer->receiving);
	while ((job = lsc_jobs_take(&peer->sending)))
		free_job(worker, job);
	lsc_peers_remove(&worker->peers, peer);
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct lsc_peer *peer = data;
	struct lsc_worker *worker = peer->owner;
	struct lsc_client_id client = peer->client;
	bool is_client = peer->is_client;

	(void)link;
	if (err->code == EKEYREJECTED)
		lsc_warning("refused: %s", err->text);
	else if (err->code)
		lsc_info("%s", err->text);
	remove_peer(worker, peer);
	if (is_client && !lsc_peers_find(&worker->peers, &client))
		drop(worker, LSC_JOB_DROP_CLIENT, &client, 0);
}

/* Rows that were asked for are out. */
static void on_sent(void *data, struct lsc_link *link, void *cookie)
{
	struct lsc_peer *peer = data;

	(void)link;
	if (cookie)
		free_job(peer->owner, lsc_jobs_take(&peer->sending));
}

static void *on_link(void *data, struct lsc_link *link)
{
	struct lsc_worker *worker = data;

	return lsc_peers_add(&worker->peers, link, worker);
}

/* --- life --- */

static const struct lsc_link_events peer_events = {
	.on_record = on_record, .on_body = on_body, .on_sent = on_sent, .on_close = on_close};

static int start(struct lsc_worker *worker, const struct lsc_endpoint *at,
		 const struct lsc_worker_options *options, struct lsc_err *err)
{
	const struct lsc_link_options link_options = {
		.kind = "exec", .key = options->access ? options->access->key : NULL};
	struct lsc_compute_options compute = {options->dir, options->engine,
					      options->wait_ns ? options->wait_ns : WAIT_NS};
	int r;

	if (access(options->dir, R_OK | X_OK) < 0)
		return lsc_err_set(err, errno, "cannot serve '%s': %m", options->dir);
	worker->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->event_fd < 0)
		return lsc_err_set(err, errno, "cannot make an eventfd: %m");
	r = lsc_loop_watch(worker->loop, worker->event_fd, EPOLLIN, on_event, worker,
			   &worker->watch, err);
	if (r == 0)
		r = lsc_compute_start(&worker->compute, &compute, notify, worker, err);
	if (r == 0)
		r = lsc_listener_open(&worker->listener, worker->loop, at, &link_options,
				      &peer_events, on_link, worker, err);
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
		remove_peer(worker, worker->peers.first);
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
