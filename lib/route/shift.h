/* How a request in flight gets from its pipeline to a node that came to hold everything.
 *
 * Either the node computes its keys and values from the tokens so far, or it fetches them from the
 * stages that have them (lsc-wire(5), adopt): whichever is thought to be sooner, by what was
 * measured.  While keys and values move, the request rests, and its route is kept: what goes wrong
 * with the move leaves it where it was, and the node computes it.
 */
#ifndef LSC_ROUTE_SHIFT_H
#define LSC_ROUTE_SHIFT_H

#include "net/kv_frame.h"
#include "route/router.h"

/* What moving and recomputing would take. */
struct lsc_shift_costs {
	double bytes_s, trip_s; /* between workers: bytes a second, and there and back */
	double positions_s;     /* that the node computes, were it alone */
	uint32_t moving, busy;  /* others that move there, and that run there */
};

/* How long either will take, from the shift's positions and bytes, into it. */
void lsc_shift_forecast(struct lsc_shift *shift, const struct lsc_shift_costs *costs);

/* On to the node that its cover names now: from before, where it was. */
void lsc_shift_begin(struct lsc_router_request *request, const struct lsc_cover *before);

/* What its node says of it. */
void lsc_shift_moved(struct lsc_router *router, const struct lsc_moved_frame *moved);
void lsc_shift_failed(struct lsc_router *router, uint32_t node, const struct lsc_fail_frame *fail);

/* A stage of it can do no more for it: true where the request goes on already. */
bool lsc_shift_broken(struct lsc_router_request *request, const char *why);

/* A node of it is lost: true where the request goes on already. */
bool lsc_shift_lost(struct lsc_router_request *request, uint32_t node, const char *why);

/* It rests for too long. */
void lsc_shift_check(struct lsc_router_request *request, uint64_t now_ns);

/* The route is left: the node forgets what it has of it. */
void lsc_shift_cancel(struct lsc_router_request *request);

/* A token came: where it is the first of a route, it tells how fast positions are computed. */
void lsc_shift_learn(struct lsc_router_request *request, uint64_t now_ns);

#endif
