/* What the parts of a worker share: worker_records.c has what comes over links, worker.c the rest.
 */
#ifndef LSC_STAGE_WORKER_OWN_H
#define LSC_STAGE_WORKER_OWN_H

#include "stage/compute.h"
#include "stage/hop.h"
#include "stage/leave.h"
#include "stage/move.h"
#include "stage/peer.h"
#include "stage/worker.h"

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

/* A job with room for its body, or NULL where there is none. */
struct lsc_job *lsc_worker_make_job(struct lsc_worker *worker, enum lsc_job_kind kind,
				    uint32_t body_len);
void lsc_worker_free_job(struct lsc_worker *worker, struct lsc_job *job);

/* Counts what a job holds now. */
void lsc_worker_charge(struct lsc_worker *worker, struct lsc_job *job);

bool lsc_worker_has_dropped(const struct lsc_worker *worker, const struct lsc_run_frame *run);

/* Forgets a request, or all of a client: has it dropped, or rest, as kind says. */
int lsc_worker_drop(struct lsc_worker *worker, enum lsc_job_kind kind,
		    const struct lsc_client_id *client, uint64_t request);

extern const struct lsc_link_events lsc_worker_peer_events;
void *lsc_worker_on_link(void *worker, struct lsc_link *link);
void lsc_worker_remove_peer(struct lsc_worker *worker, struct lsc_peer *peer);

#endif
