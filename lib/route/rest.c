/* rest - requests that are over, and whose keys and values are kept */
#include "route/rest.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "route/router.h"

#define FEWEST  32 /* positions: fewer are computed soon enough */
#define REST_NS 600000000000ull

struct lsc_rest {
	struct lsc_rest *next;
	uint64_t number; /* that its worker knows it by */
	uint32_t node;
	uint32_t *ids, n;
	bool penalises; /* its worker knows its tokens */
	uint64_t at_ns;
};

static void take_out(struct lsc_router *router, struct lsc_rest **at)
{
	struct lsc_rest *rest = *at;

	*at = rest->next;
	router->rests.n--;
	free(rest->ids);
	free(rest);
}

void lsc_rests_release(struct lsc_router *router)
{
	while (router->rests.first)
		take_out(router, &router->rests.first);
}

/* Lets workers forget what is too many, or rests for too long. */
static void sweep(struct lsc_router *router, uint64_t now)
{
	struct lsc_rest **at = &router->rests.first;
	uint32_t n = 0;

	while (*at) {
		if (++n <= router->rests.most && now - (*at)->at_ns < REST_NS) {
			at = &(*at)->next;
			continue;
		}
		lsc_fleet_drop(&router->fleet, (*at)->node, (*at)->number);
		take_out(router, at);
	}
}

/* Of a model with a window a worker keeps the last positions alone. */
static bool is_kept_whole(const struct lsc_router *router, uint32_t n)
{
	uint32_t window = router->fleet.image->config.window;

	return !window || n <= window;
}

bool lsc_rests_keep(struct lsc_router *router, struct lsc_router_request *request, uint32_t n)
{
	uint32_t node = request->cover.stages[0].node;
	struct lsc_rest *rest;
	uint32_t *ids;

	if (!router->rests.most || !request->routed || !request->local || n < FEWEST ||
	    n > request->ids.n || !is_kept_whole(router, n) || router->fleet.nodes[node]->leaving)
		return false;
	rest = malloc(sizeof(*rest));
	ids = malloc(n * sizeof(*ids));
	if (!rest || !ids || !lsc_fleet_rest(&router->fleet, node, request->number)) {
		free(rest);
		free(ids);
		return false;
	}
	memcpy(ids, request->ids.ids, n * sizeof(*ids));
	*rest = (struct lsc_rest){.next = router->rests.first,
				  .number = request->number,
				  .node = node,
				  .ids = ids,
				  .n = n,
				  .penalises = lsc_sampling_penalises(&request->sampling),
				  .at_ns = lsc_clock_ns()};
	router->rests.first = rest;
	router->rests.n++;
	sweep(router, rest->at_ns);
	return true;
}

/* Positions that a request can go on from.  Who shares less than half of what rests would do away
 * with more than it gains. */
static uint32_t shared(const struct lsc_rest *rest, const struct lsc_router_request *request)
{
	uint32_t most, n = 0;

	if (!request->ids.n || (lsc_sampling_penalises(&request->sampling) && !rest->penalises))
		return 0;
	most = LSC_MIN(rest->n, (uint32_t)request->ids.n - 1);
	while (n < most && rest->ids[n] == request->ids.ids[n])
		n++;
	return n >= FEWEST && n >= rest->n / 2 ? n : 0;
}

/* What shares the most; of those what loses the least. */
static struct lsc_rest **find(struct lsc_router *router, const struct lsc_router_request *request,
			      uint32_t node, uint32_t *ret_shared)
{
	struct lsc_rest **best = NULL;

	*ret_shared = 0;
	for (struct lsc_rest **at = &router->rests.first; *at; at = &(*at)->next) {
		uint32_t n = (*at)->node == node ? shared(*at, request) : 0;

		if (n && (n > *ret_shared || (n == *ret_shared && (*at)->n < (*best)->n))) {
			*ret_shared = n;
			best = at;
		}
	}
	return best;
}

uint32_t lsc_rests_shared(const struct lsc_router *router, const struct lsc_router_request *request,
			  uint32_t node)
{
	uint32_t n;

	find((struct lsc_router *)router, request, node, &n);
	return n;
}

uint32_t lsc_rests_take(struct lsc_router *router, const struct lsc_router_request *request,
			uint32_t node, uint64_t *ret_number)
{
	uint32_t n;
	struct lsc_rest **rest = find(router, request, node, &n);

	if (!rest)
		return 0;
	*ret_number = (*rest)->number;
	take_out(router, rest);
	return n;
}

void lsc_rests_forget(struct lsc_router *router, uint32_t node, uint64_t number)
{
	for (struct lsc_rest **at = &router->rests.first; *at; at = &(*at)->next)
		if ((*at)->node == node && (*at)->number == number) {
			take_out(router, at);
			return;
		}
}

void lsc_rests_lost(struct lsc_router *router, uint32_t node)
{
	struct lsc_rest **at = &router->rests.first;

	while (*at)
		if ((*at)->node == node)
			take_out(router, at);
		else
			at = &(*at)->next;
}
