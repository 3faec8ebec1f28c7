/* What waits at a stage: runs in the order in which they came, whose requests they are of, and the
 * images they are for.
 *
 * Jobs leave it by `over`, with an error or a result; whoever owns the queue takes them from there.
 * Runs of one request are run in order: what waits behind another of its own is not looked at.  One
 * thread uses a queue; its images' watchers are threads of their own (store.h).
 */
#ifndef LSC_STAGE_QUEUE_H
#define LSC_STAGE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "stage/batch.h"
#include "stage/job.h"
#include "stage/roster.h"
#include "stage/store.h"

struct lsc_queue {
	struct lsc_store store; /* its owner's to set up */
	struct lsc_roster roster;
	struct lsc_jobs waiting;
	struct lsc_jobs over; /* to be handed back */
	uint64_t visit;       /* the mark of the latest look through what waits */
};

#define LSC_QUEUE_INIT                                                                             \
	{                                                                                          \
		.store = LSC_STORE_INIT                                                            \
	}

void lsc_queue_release(struct lsc_queue *queue);

/* Takes a run in; *ret_away_ns: for how long its request was away with the token it came back
 * with, 0 where it was not. */
void lsc_queue_add(struct lsc_queue *queue, struct lsc_job *job, uint64_t *ret_away_ns);

/* Picks what can run whose units touch, of one image: of whoever there is a place for in the batch,
 * in the order in which it came.  What does not touch takes turns.  Whether something was found
 * that cannot run, and failed. */
bool lsc_queue_pick(struct lsc_queue *queue, struct lsc_batch *batch,
		    struct lsc_store_image **ret_image);

/* Requests that decode and were not picked: they are on their way, or wait for their turn. */
unsigned lsc_queue_count_others(const struct lsc_queue *queue);

/* Moves the jobs that are finished to those that are over: true where there were some.  The others
 * stay where they are in the order. */
bool lsc_queue_settle(struct lsc_queue *queue);

/* What waits of a guest fails, and the guest is forgotten, with its KV. */
void lsc_queue_refuse(struct lsc_queue *queue, struct lsc_guest *guest, const struct lsc_err *err);

/* A guest gives way to others: so that its client hears of it in any case. */
void lsc_queue_evict(struct lsc_queue *queue, struct lsc_guest *guest);

/* Forgets a request, or all of a client: what a drop says. */
void lsc_queue_drop(struct lsc_queue *queue, const struct lsc_job *dropped);

/* Runs that wait for images that nobody receives any more fail, and these images are closed. */
void lsc_queue_sweep(struct lsc_queue *queue);

/* Nobody watches an image for which nothing waits. */
void lsc_queue_unwatch(struct lsc_queue *queue);

/* When the first of what waits will have waited for too long; UINT64_MAX: nothing does. */
uint64_t lsc_queue_deadline(const struct lsc_queue *queue);

/* Bytes of KV pages that all its requests hold. */
uint64_t lsc_queue_kv_used(const struct lsc_queue *queue);

#endif
