/* The compute thread of a stage: jobs in, finished jobs out.
 *
 * Whatever waits for the same units of the same image runs as one batch.  A run whose units have
 * not arrived waits for them, up to its deadline; it runs the moment they are there.  Jobs of one
 * request are run in the order in which they were submitted.  Runs that a drop finds waiting come
 * back with ECANCELED; every run comes back, drops do not.
 */
#ifndef LSC_STAGE_COMPUTE_H
#define LSC_STAGE_COMPUTE_H

#include <stdint.h>

#include "base/err.h"
#include "exec/engine.h"
#include "stage/job.h"

struct lsc_compute;

struct lsc_compute_options {
	const char *dir;                  /* where images are; must stay */
	struct lsc_engine_options engine; /* of each image */
	uint64_t wait_ns;                 /* that a run waits for its units */
};

/* notify is called from the compute thread when there is something to take. */
int lsc_compute_start(struct lsc_compute **ret_compute, const struct lsc_compute_options *options,
		      void (*notify)(void *data), void *data, struct lsc_err *err);

/* Ends the thread after the batch it is at, and frees all jobs; NULL is fine. */
void lsc_compute_stop(struct lsc_compute *compute);

/* Hands a job over. */
void lsc_compute_submit(struct lsc_compute *compute, struct lsc_job *job);

/* Appends the finished jobs. */
void lsc_compute_take(struct lsc_compute *compute, struct lsc_jobs *jobs);

#endif
