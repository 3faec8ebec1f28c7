/* Links to next stages, by endpoint: opened when first needed, then kept.
 *
 * A hop remembers which runs went over it last, one for each request, so that when it breaks their
 * clients can be told at once.  Jobs whose activations are on their way belong to their hop.
 */
#ifndef LSC_STAGE_HOP_H
#define LSC_STAGE_HOP_H

#include <stdint.h>

#include "base/err.h"
#include "net/access.h"
#include "net/link.h"
#include "stage/job.h"

struct lsc_hop;

struct lsc_hops {
	struct lsc_loop *loop;
	const struct lsc_access *access; /* where to, and with which key; NULL: anywhere, plain */
	/* A run that went over a hop which broke, and why. */
	void (*on_lost)(void *data, const struct lsc_client_id *client, uint64_t request,
			uint32_t pos, const struct lsc_err *err);
	/* A job's activations are gone out or lost: it is the owner's again. */
	void (*on_done)(void *data, struct lsc_job *job);
	void *data;
	struct lsc_hop *first;
};

/* Sends a job's activations to the next stage of its route.  On failure the job stays the
 * caller's. */
int lsc_hops_forward(struct lsc_hops *hops, struct lsc_job *job, struct lsc_err *err);

/* Nobody waits any more for this request, or for any of the client (request NULL). */
void lsc_hops_forget(struct lsc_hops *hops, const struct lsc_client_id *client,
		     const uint64_t *request);

/* Closes all, quietly; their jobs are freed. */
void lsc_hops_release(struct lsc_hops *hops);

#endif
