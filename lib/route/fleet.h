/* The nodes of a cast as a router sees them: what each holds, and a link to its stage worker.
 *
 * Fed with arrival records (lsc-stream(5)); links are opened as soon as a node says where its
 * worker is, and again when they were lost.  A worker is taken for lost that answers no ping, or
 * that has runs and gets on with none of them for longer than its steps take.
 */
#ifndef LSC_ROUTE_FLEET_H
#define LSC_ROUTE_FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model/image.h"
#include "net/access.h"
#include "net/kv_frame.h"
#include "net/link.h"
#include "net/loop.h"
#include "plan/cover.h"
#include "route/estimate.h"
#include "stream/record.h"

#define LSC_FLEET_MAX_NODES 4096

struct lsc_fleet;

struct lsc_fleet_body; /* ids on their way to a worker */

struct lsc_fleet_node {
	struct lsc_fleet *fleet;
	uint32_t rank;
	char name[LSC_FRAME_ENDPOINT];
	char exec[LSC_FRAME_ENDPOINT]; /* "" where it has no worker */
	bool source;
	bool failed;     /* says the cast */
	bool complete;   /* holds everything */
	uint8_t *blocks; /* [n_blocks]: 1 where held */
	uint8_t *units;  /* [n_units]: 1 where it can run the unit */
	struct lsc_link *link;
	bool open;
	bool refused;                /* for its key or ours, which was said */
	bool leaving;                /* it takes no new requests */
	struct lsc_timer *again;     /* connects anew; while there is a link: pings */
	uint32_t unanswered;         /* pings since it last said something */
	struct lsc_pong_frame state; /* what it last said of itself */
	uint64_t moved_ns;           /* when it was last seen to get on, or to have nothing to do */
	uint64_t idle_ns;            /* since when it has nothing to do; 0: it has */
	struct lsc_fleet_body *bodies;
	uint32_t busy;                 /* requests whose route it is on */
	uint32_t busy_units;           /* that these run here */
	uint32_t others;               /* runs that it had beside those, when it last said */
	uint32_t doubt;                /* failures since it last did its part */
	struct lsc_estimate rows;      /* bytes a second that come to it from other workers */
	struct lsc_estimate positions; /* a second that it computes of prompts, were it alone */
	uint64_t called_ns, trip_ns;   /* when it was called; there and back, 0: not known */
	uint64_t stays_ns;             /* nothing is to be moved there before: it could not be */
};

struct lsc_fleet_events {
	void (*on_change)(void *data); /* more is held, or can be reached */
	void (*on_token)(void *data, const struct lsc_token_frame *token);
	void (*on_fail)(void *data, uint32_t node, const struct lsc_fail_frame *fail);
	void (*on_lost)(void *data, uint32_t node); /* its worker went away */
	void (*on_look)(void *data, uint32_t node); /* it said what it is at */
	void (*on_moved)(void *data, const struct lsc_moved_frame *moved);
};

struct lsc_fleet {
	const struct lsc_image *image; /* borrowed */
	uint8_t *begins;               /* [n_units]: 1 where a stage may begin */
	struct lsc_loop *loop;
	const struct lsc_fleet_events *events;
	void *data;
	struct lsc_client_id client;
	struct lsc_fleet_node **nodes; /* by rank; NULL where not known */
	uint32_t n_nodes;
	uint32_t n_cast; /* nodes the cast says it has; of some nothing may be known yet */
	const struct lsc_access *access; /* where links go, and with which key; its owner may set it
					  * before the first record.  NULL: anywhere, plain */
	uint64_t silent_ns;              /* a worker that says nothing for so long is lost, or one
					  * that stands still for so long and four of its steps */
	uint64_t first_ns;               /* that its first step may take */
	uint64_t heard_ns;               /* when the last arrival record came */
	double began;                    /* wall clock of the cast's t = 0 */
	bool named;                      /* the cast's record came */
	bool ended;                      /* no more arrivals */
};

int lsc_fleet_init(struct lsc_fleet *fleet, const struct lsc_image *image, struct lsc_loop *loop,
		   const struct lsc_fleet_events *events, void *data, struct lsc_err *err);
void lsc_fleet_release(struct lsc_fleet *fleet);

/* Takes in an arrival record; -EBADMSG also where it is of another image. */
int lsc_fleet_record(struct lsc_fleet *fleet, const struct lsc_record *record, struct lsc_err *err);

/* The stream of arrivals is over. */
void lsc_fleet_end(struct lsc_fleet *fleet);

/* Seconds since the cast began. */
double lsc_fleet_now(const struct lsc_fleet *fleet);

/* Whether work can be sent to a node. */
bool lsc_fleet_usable(const struct lsc_fleet_node *node);

/* Sends ids (copied) with a run frame to the worker of a node. */
int lsc_fleet_run(struct lsc_fleet *fleet, uint32_t node, const struct lsc_run_frame *run,
		  const uint32_t *ids);

/* Whether the worker of a node knows of requests that move. */
bool lsc_fleet_moves(const struct lsc_fleet_node *node);

/* Has a node take over a request; ids of its positions, where it has a penalty, else NULL. */
int lsc_fleet_adopt(struct lsc_fleet *fleet, uint32_t node, const struct lsc_adopt_frame *adopt,
		    const uint32_t *ids);

/* Lets a node keep what it has of a request that is over, as long as nobody else wants the room:
 * false where its worker knows of no such thing. */
bool lsc_fleet_rest(struct lsc_fleet *fleet, uint32_t node, uint64_t request);

/* Lets a node forget a request. */
void lsc_fleet_drop(struct lsc_fleet *fleet, uint32_t node, uint64_t request);

#endif
