/* The compute thread of a stage: jobs in, finished jobs out.
 *
 * It works in steps (batch.h).  A step takes one position of every request that decodes and, beside
 * them, as much of prompts as leaves decodes their pace (pace.h), the oldest first; what came
 * meanwhile joins the next step.  Who gets room for keys and values is in room.h.  A run whose
 * units have not arrived waits for them, up to its deadline; it runs the moment they are there.
 * Jobs of one request are run in the order in which they were submitted.  Runs that a drop finds
 * waiting, begun or not, come back with ECANCELED; every run comes back, drops do not.  Keys and
 * values of requests that move (carry.h) are taken in and given out between steps, some at a time.
 */
#ifndef LSC_STAGE_COMPUTE_H
#define LSC_STAGE_COMPUTE_H

#include <stdbool.h>
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

struct lsc_stage_stats {
	uint64_t steps, decodes,
		rows;      /* since the start: positions of both, and of prompts alone */
	uint64_t gave_way; /* requests */
	uint64_t kv_bytes; /* that requests hold, after the latest step or drop */
	uint32_t guests;   /* requests that have something here */
	uint64_t step_ns;  /* the longest step lately */
	double unit_ns;    /* that a unit takes for a position of an answer, lately; 0: not known */
	uint64_t progress; /* grows with whatever is computed, also within a step */
	bool works;        /* the thread makes steps, or looks for what can be in one */
};

struct lsc_stage_stats lsc_compute_stats(struct lsc_compute *compute);

/* Appends the finished jobs. */
void lsc_compute_take(struct lsc_compute *compute, struct lsc_jobs *jobs);

#endif
