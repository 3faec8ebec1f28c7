/* What the parts of a router share: router.c has requests and their routes, router_events.c what
 * comes back from these, shift.c those that move. */
#ifndef LSC_ROUTE_ROUTER_OWN_H
#define LSC_ROUTE_ROUTER_OWN_H

#include "route/router.h"

extern const struct lsc_fleet_events lsc_router_fleet_events;

/* Whether a node is on a request's route. */
bool lsc_router_passes(const struct lsc_router_request *request, uint32_t node);

/* What a route asks of its nodes, added to what they have (1), or taken away (-1). */
void lsc_router_count(struct lsc_router *router, const struct lsc_cover *cover, int sign);

/* Takes the route that its cover names: under a number that its workers know it by, from a position
 * on; or from what another left at its node, if there is that, and from the beginning. */
void lsc_router_take(struct lsc_router_request *request, uint64_t number, uint32_t pos);
void lsc_router_set_off(struct lsc_router_request *request);

/* Sends the positions from pos on along the route: in parts, of which the last one's token is the
 * one that counts. */
void lsc_router_send(struct lsc_router_request *request, uint32_t pos);

/* Leaves its route; as one that does not work, so that it is tried again soon; the same where that
 * took its time to be found out, so that enough of the patience is left for another route, some
 * times at least. */
void lsc_router_leave(struct lsc_router_request *request);
void lsc_router_lose(struct lsc_router_request *request, const char *why);
void lsc_router_lose_late(struct lsc_router_request *request, const char *why);

/* The request is over, and freed; as on_done says. */
void lsc_router_finish(struct lsc_router_request *request, const char *reason, const char *why);

/* The oldest that waits for room is tried again. */
void lsc_router_make_room(struct lsc_router *router);

#endif
