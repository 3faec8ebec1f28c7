/* Sending: launches those of its nodes that are to be launched, then casts to all that are there.
 *
 * A node that cannot be launched is named in a warning, and the cast goes to the others; the result
 * is an error then, even if all of these have the image.
 *
 * Launched nodes are given the cast's key as the first line of their standard input, so that it is
 * in no command line, environment or file; without a key they are told to do without.
 */
#ifndef LSC_SEND_SENDING_H
#define LSC_SEND_SENDING_H

#include "base/err.h"
#include "cast/cast.h"
#include "send/launch.h"
#include "send/names.h"
#include "net/access.h"
#include "net/loop.h"

struct lsc_sending;

/* Orders that are not fixed: plans follow what the nodes can take. */
enum {
	LSC_SENDING_DEFAULT = -1,    /* by the number of sources one of these */
	LSC_SENDING_THROUGHPUT = -2, /* all have it soon */
	LSC_SENDING_KWAY = -3,       /* all together have it sooner */
};

int lsc_sending_order_parse(const char *name, int *ret_order, struct lsc_err *err);

/* All of it is borrowed. */
struct lsc_sending_options {
	struct lsc_cast_options cast; /* without its nodes and order; on_done may be called without
				       * a cast, where nothing could be launched */
	int order;                    /* enum lsc_order, or one of the below */
	struct lsc_names *to;         /* who is launched gets a port; who is not, is taken out */
	const struct lsc_names *sources;
	struct lsc_launch_options launch; /* how NULL: all are there; else those without a port are
					   * started.  Its hosts, program, input and on_done are set
					   * here. */
	const char *program, *dir; /* lsc-cast and images at launched nodes; {} is the host */
	uint16_t port;             /* where they listen; 0: a free one */
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

/* The same of nodes that are only asked what they have: those that are in to are asked anyway. */
int lsc_sending_settle_asked(struct lsc_names *ask, const struct lsc_names *to,
			     const struct lsc_names *exclude, uint64_t port, struct lsc_err *err);

/* Whether there may be links to all nodes (net/access.h).  A cast that launches nodes, and has no
 * key and may not do without, gets one that is drawn for it; -EINVAL where nodes that serve already
 * could not know that. */
int lsc_sending_check_access(struct lsc_access *access, const struct lsc_names *to,
			     const struct lsc_names *sources, bool launch, struct lsc_err *err);

/* Sets the order of options to the one that is asked for, by the numbers that they name. */
void lsc_sending_choose(int order, struct lsc_cast_options *options);

/* What people call it. */
const char *lsc_sending_order_name(const struct lsc_cast_options *chosen);

#endif
