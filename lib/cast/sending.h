/* Sending: launches those of its nodes that are to be launched, then casts to all that are there.
 *
 * A node that cannot be launched is named in a warning, and the cast goes to the others; the result
 * is an error then, even if all of these have the image.
 */
#ifndef LSC_CAST_SENDING_H
#define LSC_CAST_SENDING_H

#include "base/err.h"
#include "cast/cast.h"
#include "cast/launch.h"
#include "cast/names.h"
#include "net/loop.h"

struct lsc_sending;

/* All of it is borrowed. */
struct lsc_sending_options {
	struct lsc_cast_options cast; /* without its nodes and order; on_done may be called without
				       * a cast, where nothing could be launched */
	int order;                    /* -1: the one that suits the nodes there are */
	struct lsc_names *to;         /* who is launched gets a port; who is not, is taken out */
	const struct lsc_names *sources;
	struct lsc_launch_options launch; /* how NULL: all are there; else those without a port are
					   * started.  Its hosts and on_done are set here. */
};

int lsc_sending_start(struct lsc_sending **ret_sending, struct lsc_loop *loop,
		      const struct lsc_sending_options *options, struct lsc_err *err);

/* NULL while nodes are being launched. */
struct lsc_cast *lsc_sending_cast(const struct lsc_sending *sending);

/* When its cast began, on the clock of base/clock.h. */
uint64_t lsc_sending_began_ns(const struct lsc_sending *sending);

/* Ends it; on_done is called later, with -ECANCELED. */
void lsc_sending_abort(struct lsc_sending *sending, const char *why);

/* After on_done, not from inside it.  Ends what was launched.  NULL is fine. */
void lsc_sending_free(struct lsc_sending *sending);

/* The lists as people gave them: takes out exclude, and gives a port to those without one (0:
 * 7000), but for receivers that are to be launched.  -EINVAL where nobody is left, or one is given
 * twice. */
int lsc_sending_settle(struct lsc_names *to, struct lsc_names *sources,
		       const struct lsc_names *exclude, uint64_t port, bool launch,
		       struct lsc_err *err);

/* The order that is asked for; where it is -1, the one that suits the nodes. */
enum lsc_order lsc_sending_order(int order, uint32_t n_sources, uint32_t n_to, uint32_t n_pieces);

#endif
