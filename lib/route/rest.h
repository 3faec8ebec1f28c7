/* Requests that are over, and whose keys and values are kept: one that begins with the same tokens
 * goes on from there instead of computing them again, as the next turn of a chat does.
 *
 * A worker keeps what rests as long as nobody else wants the room, and says when it does not; a
 * router remembers which tokens that was of.  Whoever goes on with a request takes it over, number
 * and all: it is not there for others until it is over again.  Only what ran at one node rests.
 */
#ifndef LSC_ROUTE_REST_H
#define LSC_ROUTE_REST_H

#include <stdbool.h>
#include <stdint.h>

struct lsc_router;
struct lsc_router_request;
struct lsc_rest;

#define LSC_RESTS_MOST 32 /* that rest at a time, where the owner does not say */

struct lsc_rests {
	struct lsc_rest *first; /* the latest first */
	uint32_t n, most;       /* most: its owner may set it; 0: none */
};

void lsc_rests_release(struct lsc_router *router);

/* A request is over: true if it rests now, at the node it ran at, which has positions 0 .. n - 1 of
 * it. */
bool lsc_rests_keep(struct lsc_router *router, struct lsc_router_request *request, uint32_t n);

/* How many positions of a request some other left at a node, that it can go on from: 0 where that
 * is not worth it. */
uint32_t lsc_rests_shared(const struct lsc_router *router, const struct lsc_router_request *request,
			  uint32_t node);

/* Takes over what lsc_rests_shared() found: from which position on, and under which number, it is
 * to be gone on with; 0: there is nothing. */
uint32_t lsc_rests_take(struct lsc_router *router, const struct lsc_router_request *request,
			uint32_t node, uint64_t *ret_number);

/* What rested at a node had to give way; or all did, with the node. */
void lsc_rests_forget(struct lsc_router *router, uint32_t node, uint64_t number);
void lsc_rests_lost(struct lsc_router *router, uint32_t node);

#endif
