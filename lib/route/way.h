/* Which nodes a request goes to: what router.c asks when it routes one. */
#ifndef LSC_ROUTE_WAY_H
#define LSC_ROUTE_WAY_H

#include "route/router.h"

/* Finds a route for a request, into its cover: 1, or 0 where there is none yet. */
int lsc_router_find_route(const struct lsc_router *router, struct lsc_router_request *request);

/* Whether there may be one yet: something still loads, or workers are being called again. */
bool lsc_router_may_come(const struct lsc_router *router, struct lsc_router_request *request);

/* A node was too small for its part of the request's route: from now on it gets half of that at
 * most.  False where too many were.  begins: as of a fleet. */
bool lsc_router_bar(struct lsc_router_request *request, const uint8_t *begins, uint32_t node);

/* Whether a node came to hold everything that a request on a pipeline could go to. */
bool lsc_router_find_better(const struct lsc_router *router,
			    const struct lsc_router_request *request);

/* Whether receivers hold enough of what a request runs at a source, alone, to take it off that, and
 * none of them everything.  What the request has the source do does not count there any more. */
bool lsc_router_find_ease(const struct lsc_router *router, const struct lsc_router_request *request,
			  struct lsc_cover *ret_cover);

/* Whether a node of a request's route leaves. */
bool lsc_router_has_leaving(const struct lsc_router *router,
			    const struct lsc_router_request *request);

/* Positions of a prompt that a node computes in a second, were it alone: as it did; or as others
 * do; or as is usual. */
double lsc_router_positions_of(const struct lsc_router *router, const struct lsc_fleet_node *node,
			       uint64_t now_ns);

/* Whether some receiver may still come to hold something. */
bool lsc_router_is_loading(const struct lsc_router *router);

#endif
