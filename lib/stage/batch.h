/* One step of a stage: parts of runs of one image, through their units together.
 *
 * Runs need not have the same units: at each unit those that wait for it run as one batch, and who
 * is through is done, whatever the others still have before them.  One thread uses a batch.
 */
#ifndef LSC_STAGE_BATCH_H
#define LSC_STAGE_BATCH_H

#include <stdint.h>

#include "exec/engine.h"
#include "stage/job.h"
#include "stage/roster.h"
#include "stage/store.h"

struct lsc_pick { /* a part of a run */
	struct lsc_job *job;
	struct lsc_guest *guest;
	uint32_t rows; /* positions from job->n_done on */
	uint32_t unit; /* the next it needs */
	float *x;      /* [rows][hidden] between units */
	struct lsc_draw draw;
};

struct lsc_batch {
	struct lsc_pick picks[LSC_STORE_BATCH];
	unsigned n;
	struct lsc_work works[LSC_STORE_BATCH]; /* of the picks at one unit */
	unsigned at[LSC_STORE_BATCH];           /* which picks these are */
	float *between;
	size_t between_cap; /* in floats */
};

void lsc_batch_release(struct lsc_batch *batch);

/* Whether there is a place for a job: a free one, else that of one it comes before.  Who decodes
 * comes before prompts, which take long and would keep all places; one place is the oldest prompt's
 * nevertheless, so that it gets on however many decode. */
bool lsc_batch_has_place(struct lsc_batch *batch, const struct lsc_job *job,
			 const struct lsc_guest *guest);

/* Puts a job there.  How many rows of it are to run is its caller's to say. */
void lsc_batch_add(struct lsc_batch *batch, struct lsc_job *job, struct lsc_guest *guest);

/* Runs all.  A job that is through, or failed, is set so (job->finished, its token or its error)
 * and through() is called after each unit that some ended with; those of which positions remain
 * have n_done advanced. */
void lsc_batch_run(struct lsc_batch *batch, struct lsc_store_image *image,
		   void (*through)(void *data), void *data);

#endif
