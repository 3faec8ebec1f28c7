/* One answer computed on this node, from units that may still be arriving.
 *
 *	r = lsc_session_init(&session, &image, &segment, engine, &options, err);
 *	r = lsc_session_feed(&session, prompt, n, &token, err);
 *	while (r == 0 && more)
 *		r = lsc_session_feed(&session, &token, 1, &token, err);
 *
 * The first positions pass each unit as it arrives, so the answer begins with the last piece.
 */
#ifndef LSC_EXEC_SESSION_H
#define LSC_EXEC_SESSION_H

#include <stdint.h>

#include "base/err.h"
#include "exec/engine.h"
#include "exec/sample.h"
#include "mem/segment.h"

struct lsc_session_options {
	float temp, top_p;
	uint64_t seed;
	int timeout_ms; /* that one unit may take to arrive; < 0: for ever */
	void (*on_wait)(void *data, uint32_t unit); /* once, where one takes long; NULL: nobody
						     * wants to know */
	void *data;
};

struct lsc_session {
	const struct lsc_image *image; /* borrowed, as are segment and engine */
	struct lsc_segment *segment;
	struct lsc_engine *engine;
	struct lsc_session_options options;
	struct lsc_request_key key;
	uint32_t pos;      /* positions run */
	bool complete;     /* every unit has arrived */
	bool waited;       /* on_wait was called */
	float *logits;     /* [vocab], of position pos - 1 */
	float *all_logits; /* NULL, or [n][vocab] of the caller's: of all positions of a feed */
	struct lsc_candidate *candidates;
};

#define LSC_SESSION_INIT                                                                           \
	{                                                                                          \
		0                                                                                  \
	}

int lsc_session_init(struct lsc_session *session, const struct lsc_image *image,
		     struct lsc_segment *segment, struct lsc_engine *engine,
		     const struct lsc_session_options *options, struct lsc_err *err);
void lsc_session_release(struct lsc_session *session);

/* Runs n ids at the next positions and draws the token that follows.  ids may be ret_token.
 * -ERANGE where the model's context ends. */
int lsc_session_feed(struct lsc_session *session, const uint32_t *ids, uint32_t n,
		     uint32_t *ret_token, struct lsc_err *err);

#endif
