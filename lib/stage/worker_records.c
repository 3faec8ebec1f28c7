/* worker_records - what comes to a worker over links */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net/frame.h"
#include "stage/worker_own.h"

#define MAX_GIVEN 256 /* fetches that are not answered yet: a MiB each at most */

static int keep_ids(struct lsc_worker *worker, struct lsc_job *job, const struct lsc_run_frame *run)
{
	job->ids = malloc(run->n * sizeof(*job->ids));
	if (!job->ids)
		return -ENOMEM;
	memcpy(job->ids, run->ids, run->n * sizeof(*job->ids));
	job->run.ids = job->ids; /* for the next stage */
	lsc_worker_charge(worker, job);
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
	peer->receiving = lsc_worker_make_job(worker, LSC_JOB_RUN, body_len);
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
	job = lsc_leave_is_on(&worker->leave)
		      ? NULL
		      : lsc_worker_make_job(worker, LSC_JOB_ADOPT, body_len);
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
	job = worker->n_given < MAX_GIVEN ? lsc_worker_make_job(worker, LSC_JOB_FETCH, 0) : NULL;
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
	r = lsc_worker_drop(worker, rests ? LSC_JOB_REST : LSC_JOB_DROP, &client, request);
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
	if (lsc_worker_has_dropped(worker, &job->run))
		lsc_worker_free_job(worker, job);
	else if (job->kind == LSC_JOB_ADOPT)
		lsc_moves_adopt(&worker->moves, job);
	else
		lsc_compute_submit(worker->compute, job);
	return 0;
}

void lsc_worker_remove_peer(struct lsc_worker *worker, struct lsc_peer *peer)
{
	struct lsc_job *job;

	if (peer->receiving)
		lsc_worker_free_job(worker, peer->receiving);
	while ((job = lsc_jobs_take(&peer->sending)))
		lsc_worker_free_job(worker, job);
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
	lsc_worker_remove_peer(worker, peer);
	if (is_client && !lsc_peers_find(&worker->peers, &client))
		lsc_worker_drop(worker, LSC_JOB_DROP_CLIENT, &client, 0);
}

/* Rows that were asked for are out. */
static void on_sent(void *data, struct lsc_link *link, void *cookie)
{
	struct lsc_peer *peer = data;

	(void)link;
	if (cookie)
		lsc_worker_free_job(peer->owner, lsc_jobs_take(&peer->sending));
}

void *lsc_worker_on_link(void *data, struct lsc_link *link)
{
	struct lsc_worker *worker = data;

	return lsc_peers_add(&worker->peers, link, worker);
}

const struct lsc_link_events lsc_worker_peer_events = {
	.on_record = on_record, .on_body = on_body, .on_sent = on_sent, .on_close = on_close};
