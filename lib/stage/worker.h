/* A stage worker: run frames in, frames for the next stage or tokens for the client out.
 *
 * It listens for links of kind "exec" (lsc-wire(5)), runs any units of any image that its directory
 * holds or is receiving, and keeps no configuration: every run frame carries its route.  After the
 * last stage the token goes to the client, on the newest link that named it; before, activations go
 * on to the next stage, over a link that is opened when it is first needed and then kept.
 *
 * It takes over requests that other stages computed (move.h), and gives away what it has of some.
 *
 * What cannot be done is told to the client in words, a next stage that went away included.  When a
 * client's last link closes, its KV is dropped; so is what comes of its runs after that.  What is
 * still under way for a request that its client dropped is thrown away where it arrives.
 *
 * A worker that leaves says so to its clients, and takes no run that begins a request; those that
 * it has go on until their clients are done with them.
 *
 * A worker lives in the thread of its loop; a thread of its own computes (compute.h).
 */
#ifndef LSC_STAGE_WORKER_H
#define LSC_STAGE_WORKER_H

#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "exec/engine.h"
#include "net/access.h"
#include "net/loop.h"
#include "stage/compute.h"

struct lsc_worker;

struct lsc_worker_options {
	const char *dir;                  /* where images are or arrive; must stay */
	struct lsc_engine_options engine; /* of each image */
	uint64_t wait_ns;                 /* that a run waits for its units to arrive; 0: 60 s */
	uint64_t body_bytes;              /* of runs that are received, wait or leave; 0: 1 GiB */
	const struct lsc_access *access;  /* of all links; must stay; NULL: plain ones, anywhere */
};

int lsc_worker_open(struct lsc_worker **ret_worker, struct lsc_loop *loop,
		    const struct lsc_endpoint *at, const struct lsc_worker_options *options,
		    struct lsc_err *err);

/* Ends the computing thread and all links; NULL is fine. */
void lsc_worker_close(struct lsc_worker *worker);

/* Leaves: on_left comes when no client has anything here, or after within_ns whatever they have. */
int lsc_worker_leave(struct lsc_worker *worker, uint64_t within_ns, void (*on_left)(void *data),
		     void *data, struct lsc_err *err);

/* What its steps were so far. */
struct lsc_stage_stats lsc_worker_stats(const struct lsc_worker *worker);

/* Where it listens: "127.0.0.1:40311". */
const char *lsc_worker_address(const struct lsc_worker *worker);

#endif
