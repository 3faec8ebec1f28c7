/* Requests on their way to this worker: keys and values are fetched from the stages that have them.
 *
 * A client says which request it is, and who has which units of it (lsc-wire(5), adopt).  The
 * compute thread makes room for all of it first (carry.h); then rows are asked for, a bounded
 * amount at a time, from all stages at once, over links that are opened for that; each answer is
 * held against what was asked.  Requests take turns.  Whatever goes wrong ends the move in words,
 * and its client has the request computed instead.  The loop's thread uses this.
 */
#ifndef LSC_STAGE_MOVE_H
#define LSC_STAGE_MOVE_H

#include <stdint.h>

#include "base/err.h"
#include "net/access.h"
#include "net/kv_frame.h"
#include "net/link.h"
#include "stage/job.h"

struct lsc_move; /* one request */
struct lsc_feed; /* the link to one stage */

struct lsc_moves {
	struct lsc_loop *loop;
	const struct lsc_access *access; /* as of hops */

	/* Room for a job with a body, or NULL; hands one over to be done; lets one go. */
	struct lsc_job *(*make_job)(void *data, enum lsc_job_kind kind, uint32_t body_len);
	void (*submit)(void *data, struct lsc_job *job);
	void (*free_job)(void *data, struct lsc_job *job);

	/* A move is over: all of it is here (err->code 0), or it failed and is to be forgotten. */
	void (*on_end)(void *data, const struct lsc_client_id *client,
		       const struct lsc_moved_frame *moved, const struct lsc_err *err);
	void *data;

	struct lsc_move *first;
	struct lsc_feed *feeds;
	struct lsc_timer *timer;
	uint64_t tags;
	uint32_t n_moves, n_asked; /* asked: pieces that have not come yet, of all */
};

/* The job of an adopt frame: its run has the route, its body the ids if any.  It is submitted, or
 * the move ends at once. */
void lsc_moves_adopt(struct lsc_moves *moves, struct lsc_job *job);

/* An ADOPT or PAGES job is back; it is freed. */
void lsc_moves_back(struct lsc_moves *moves, struct lsc_job *job);

/* Nobody waits any more for this request, or for any of the client (request NULL): no on_end. */
void lsc_moves_forget(struct lsc_moves *moves, const struct lsc_client_id *client,
		      const uint64_t *request);

void lsc_moves_release(struct lsc_moves *moves);

#endif
