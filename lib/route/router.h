/* A router: takes requests, forms routes for them, moves them when something better is there.
 *
 * A request waits for the first cover of all units; where receivers are still loading, for one
 * that includes a receiver.  Once a node holds everything, requests go to it alone, those in
 * flight as shift.h says; when a stage is lost, stands still or fails, they are computed anew from
 * the tokens so far, over other nodes than the one that failed, if there are any.  Where a stage
 * leaves, they move if they have much before them still, and can.  One for which workers have
 * no room waits until others are done, and those that came after it wait behind it; a node that is
 * too small for one gets less of it, and one that is too large for all the nodes it could go to
 * fails.  A request that gets nowhere for a while fails too,
 * saying why.
 */
#ifndef LSC_ROUTE_ROUTER_H
#define LSC_ROUTE_ROUTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model/tokenizer.h"
#include "net/frame.h"
#include "plan/cover.h"
#include "route/fleet.h"
#include "route/rest.h"

#define LSC_ROUTER_MAX_BARRED 16

struct lsc_router;

enum lsc_switching { /* how requests in flight get to a node that came to hold everything */
		     LSC_SWITCH_AUTO,
		     LSC_SWITCH_RECOMPUTE,
		     LSC_SWITCH_MOVE,
		     LSC_SWITCH_NEVER, /* they stay where they are */
};

/* A request's way from a pipeline to one node: what was thought of it, and what came of it. */
struct lsc_shift {
	uint32_t node;
	uint32_t positions;         /* that are to be moved or computed */
	uint64_t bytes;             /* of keys and values that are not at the node */
	double move_s, recompute_s; /* how long either was thought to take */
	bool moved;                 /* it was moved, in: */
	double took_s;
	char why[160]; /* it was to be moved, and could not be; else "" */

	bool active;     /* it is being moved: its route rests */
	uint64_t number; /* that the node knows it by */
	uint64_t since_ns;
	uint32_t beside; /* others that moved there then */
};

struct lsc_router_bar { /* a node that is too small for all of a request */
	uint32_t node;
	uint32_t most; /* stretches of units that are not to be parted, which it may yet run */
};

struct lsc_router_request {
	struct lsc_router_request *next;
	struct lsc_router *router;
	void *user;            /* the caller's */
	struct lsc_tokens ids; /* the prompt's and the answer's, owned */
	uint32_t n_prompt;
	uint32_t limit; /* of the answer's tokens */
	struct lsc_sampling sampling;
	struct lsc_tokens stop_ids; /* tokens that end the answer, owned */

	bool stopped; /* one of them did: */
	uint32_t stop_id;
	uint64_t number; /* of this request on this route */
	uint32_t n_run;  /* positions that were run there by the latest token */
	uint32_t reused; /* positions that another left there, and that were not computed again */
	bool routed;
	bool local;   /* to one node that holds everything */
	bool crowded; /* the last failure was for want of room */
	bool told;    /* people were told that it waits */
	struct lsc_cover cover;
	uint64_t since_us; /* it came, since 1970: the older of two has precedence where it runs */
	uint64_t since_ns; /* it last got on */
	uint64_t sent_ns;  /* what it waits for was asked for, while it is routed */
	uint64_t again_ns; /* not to be tried before */
	uint32_t tries;    /* that failed since then */
	struct lsc_router_bar barred[LSC_ROUTER_MAX_BARRED];
	uint32_t n_barred;
	char why[160]; /* the last failure */
	struct lsc_shift shift;
	uint64_t asked_ns; /* since when so many positions are being computed anew: */
	uint32_t asked;    /* 0: none */
};

struct lsc_router_events {
	void (*on_route)(struct lsc_router_request *request);
	/* It goes to a node alone; its shift says how. */
	void (*on_switch)(struct lsc_router_request *request, uint32_t node);
	/* A token of the answer; false: it ends with that.  logprobs: drawn has them. */
	bool (*on_token)(struct lsc_router_request *request, const struct lsc_drawn *drawn,
			 bool logprobs);
	/* The request is over and is freed after this: reason NULL says it failed. */
	void (*on_done)(struct lsc_router_request *request, const char *reason, const char *why);
};

struct lsc_router {
	struct lsc_fleet fleet;
	const struct lsc_router_events *events;
	enum lsc_cover_sources sources;
	enum lsc_switching switching;  /* its owner may set it, as: */
	bool whole;                    /* a node takes part when it holds everything, not before */
	struct lsc_estimate positions; /* a second that anyone computes of prompts, were it alone */
	struct lsc_rests rests;
	struct lsc_router_request *requests;
	struct lsc_timer *tick;
	uint64_t began_ns;
	uint64_t patience_ns; /* with a request that does not get on */
	uint64_t since_ns;    /* any request last got on */
	uint64_t numbers;
};

/* patience_ns 0: 30 s.  stage_ns: a worker is left that is silent for so long, or stands still for
 * somewhat longer; 0: 5 s, and a third of the patience at most. */
int lsc_router_init(struct lsc_router *router, const struct lsc_image *image, struct lsc_loop *loop,
		    enum lsc_cover_sources sources, uint64_t patience_ns, uint64_t stage_ns,
		    const struct lsc_router_events *events, struct lsc_err *err);
void lsc_router_release(struct lsc_router *router);

/* Takes a request over (from calloc, its tokens set); it is routed when it can be. */
void lsc_router_submit(struct lsc_router *router, struct lsc_router_request *request);

/* Routes what can be routed now, and not only in the loop's next turn.  Not from an event. */
void lsc_router_turn(struct lsc_router *router);

/* Nobody wants the answer any more: on_done comes, and the request is freed.  Not from an event. */
void lsc_router_cancel(struct lsc_router_request *request);

#endif
