/* A job: what the loop's thread asks of the compute thread, and what it gets back.
 *
 * A job belongs to one thread at a time: made by the loop's, submitted, and given back when it is
 * finished.  Its body is received and its activations are sent as they lie here.
 */
#ifndef LSC_STAGE_JOB_H
#define LSC_STAGE_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model/image.h"
#include "net/kv_frame.h"

enum lsc_job_kind {
	LSC_JOB_RUN,
	LSC_JOB_DROP,        /* of run.client and run.request */
	LSC_JOB_DROP_CLIENT, /* of run.client */
	LSC_JOB_REST,        /* run.client's run.request is over, and may be gone on with */
	LSC_JOB_LOST,        /* back from the compute thread alone: run.client's run.request had to
			      * give way, as err says; its KV is gone */
	LSC_JOB_ADOPT,       /* run.client's run.request takes over what `from` has: carry.h */
	LSC_JOB_PAGES,       /* rows of it came, in the body, as `fetch` says */
	LSC_JOB_FETCH,       /* rows are wanted in `out`, as `fetch` says */
};

/* Where a request's keys and values come from, by layer. */
struct lsc_move_plan {
	uint32_t layers, row_bytes;
	struct {
		uint32_t from;  /* the first position that is needed */
		uint32_t stage; /* of the route, that has it; UINT32_MAX: it is here */
	} of[];
};

struct lsc_job {
	struct lsc_job *next;
	enum lsc_job_kind kind;
	struct lsc_run_frame run;
	void *body; /* token ids or activations, as the frame brought them */
	uint32_t body_len;
	uint32_t *ids;   /* [run.n], where the sampling has a penalty */
	uint32_t n_done; /* positions that were computed */
	bool finished;   /* nothing remains to be done */
	uint64_t came_ns;
	uint64_t deadline_ns; /* for its units to arrive */
	uint64_t charged;     /* bytes that its owner counts for it */

	/* of keys and values on their way */
	uint64_t tag; /* its owner's */
	struct lsc_fetch_frame fetch;
	uint64_t from;              /* the number of the request that is adopted */
	bool last;                  /* with these rows all are there */
	struct lsc_move_plan *plan; /* what came of ADOPT */

	/* what came of it */
	float *out;             /* [n][hidden], or NULL after the last stage */
	uint32_t out_len;       /* in bytes */
	struct lsc_drawn drawn; /* after the last stage, where it draws; else 0 */
	struct lsc_err err;     /* code 0 where it went well */
};

/* A list that keeps the order. */
struct lsc_jobs {
	struct lsc_job *first, **end; /* end is NULL in an empty list that was never used */
};

#define LSC_JOBS_INIT                                                                              \
	{                                                                                          \
		NULL, NULL                                                                         \
	}

struct lsc_job *lsc_job_new(enum lsc_job_kind kind); /* NULL when out of memory */
void lsc_job_free(struct lsc_job *job);

/* The stage of its route that a job is for, and whether it is the last. */
const struct lsc_frame_stage *lsc_job_stage(const struct lsc_job *job);
bool lsc_job_is_last(const struct lsc_job *job);

/* Whether a token is made of it: at the last stage, where no positions follow that are known. */
bool lsc_job_draws(const struct lsc_job *job);

/* Positions that are still to be computed; one: it decodes, or a prompt ends. */
uint32_t lsc_job_left(const struct lsc_job *job);

/* Whether a run fits its image: its units, and the bytes that came with it.  -EINVAL, -ERANGE. */
int lsc_job_check(const struct lsc_job *job, const struct lsc_image *image, struct lsc_err *err);

void lsc_jobs_add(struct lsc_jobs *jobs, struct lsc_job *job);
struct lsc_job *lsc_jobs_take(struct lsc_jobs *jobs); /* the first, or NULL */
void lsc_jobs_release(struct lsc_jobs *jobs);

/* Moves all of from behind to. */
void lsc_jobs_move(struct lsc_jobs *to, struct lsc_jobs *from);

/* Takes out the job that *at points to; at is &jobs->first or some job's &next. */
struct lsc_job *lsc_jobs_take_at(struct lsc_jobs *jobs, struct lsc_job **at);

#endif
