/* Stop strings: where an answer's text ends although its tokens go on.
 *
 * The text ends before the stop string that is whole first, byte by byte, of several that end there
 * before the longest; so where it ends does not depend on how the text is cut into tokens.  What
 * may be the beginning of a stop string is held back until it is decided: no part of one is ever
 * given out.
 */
#ifndef LSC_MODEL_STOP_H
#define LSC_MODEL_STOP_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define LSC_STOPS_MAX       16
#define LSC_STOPS_MAX_BYTES 1024 /* of one */

struct lsc_stops {
	char *texts[LSC_STOPS_MAX];
	size_t lens[LSC_STOPS_MAX];
	uint32_t n;
};

struct lsc_stopper {                   /* of one answer */
	const struct lsc_stops *stops; /* borrowed */
	struct lsc_buf held;
	int met; /* which one ended the text; -1: none */
};

#define LSC_STOPS_INIT                                                                             \
	{                                                                                          \
		.n = 0                                                                             \
	}

/* Takes a copy: -EINVAL where it is empty, too long, or one too many. */
int lsc_stops_add(struct lsc_stops *stops, const char *text, size_t len, struct lsc_err *err);
void lsc_stops_release(struct lsc_stops *stops);

void lsc_stopper_init(struct lsc_stopper *stopper, const struct lsc_stops *stops);
void lsc_stopper_release(struct lsc_stopper *stopper);

/* Appends to out what of the text so far is decided: 1 where that ends with it, and nothing comes
 * any more; 0; -ENOMEM. */
int lsc_stopper_add(struct lsc_stopper *stopper, const void *text, size_t len, struct lsc_buf *out);

/* There is no more text: appends what was held back. */
int lsc_stopper_end(struct lsc_stopper *stopper, struct lsc_buf *out);

#endif
