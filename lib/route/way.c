/* way - which nodes a request goes to */
#include "route/way.h"

#include <math.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macros.h"

#define OPS_S 200e9 /* of a node before it is known: two for each parameter and position */
/* Tokens that an answer is taken to have where a queue is weighed against a prompt. */
#define ANSWER 16
#define DOUBT  4 /* a node's failure weighs as much as so many requests there */
#define STAGE  8 /* of what nodes have to do, a stage has to save one in so many */
#define RELIEF 4 /* of its units, one in so many at least is worth a pipeline */
#define EASE   2 /* and one in so many is worth to compute anew what is on its way */

/* Whether a node may be on a route of a request; hope: or soon may, as it is being called again. */
static bool takes_part(const struct lsc_router *router, const struct lsc_fleet_node *node,
		       bool hope)
{
	if (!node || (node->source && router->sources == LSC_SOURCES_NEVER))
		return false;
	return (lsc_fleet_usable(node) && !node->leaving) ||
	       (hope && node->exec[0] && !node->failed && !node->refused);
}

/* How many stretches of units a node has room for, by what a request tried: UINT32_MAX where it
 * has not failed yet. */
static uint32_t most_of(const struct lsc_router_request *request, uint32_t node)
{
	for (uint32_t i = 0; i < request->n_barred; i++)
		if (request->barred[i].node == node)
			return request->barred[i].most;
	return UINT32_MAX;
}

/* Seconds a unit takes for a position where that was not measured: as for the fastest where it was,
 * so that those who were not asked yet are.  Only ratios matter, so any number will do where none
 * was. */
static double usual_cost(const struct lsc_fleet *fleet)
{
	double least = INFINITY;

	for (uint32_t i = 0; i < fleet->n_nodes; i++) {
		const struct lsc_fleet_node *node = fleet->nodes[i];

		if (node && node->state.unit_s > 0)
			least = LSC_MIN(least, node->state.unit_s);
	}
	return isfinite(least) ? least : 1;
}

/* The same of one node, in steps of a fifth: what differs by less is noise, and nodes that are
 * alike are the easier to plan for. */
static double cost_of(const struct lsc_fleet_node *node, double usual)
{
	if (node->state.unit_s <= 0)
		return usual;
	return exp2(round(4 * log2(node->state.unit_s / usual)) / 4) * usual;
}

/* What has to be done there before a position of one more request is through, in units: its share
 * of the router's own requests, all units for those of others and for failures. */
static double queue_of(const struct lsc_fleet_node *node)
{
	return (double)node->busy_units +
	       node->fleet->image->n_units * ((double)node->others + DOUBT * (double)node->doubt);
}

double lsc_router_positions_of(const struct lsc_router *router, const struct lsc_fleet_node *node,
			       uint64_t now_ns)
{
	double speed = lsc_estimate_now(&node->positions, now_ns);

	if (speed <= 0)
		speed = lsc_estimate_now(&router->positions, now_ns);
	return speed > 0 ? speed : OPS_S / (double)router->fleet.image->bytes;
}

/* Seconds that need not be spent on a prompt at a node, for what rests there. */
static double saved_at(const struct lsc_router *router, const struct lsc_router_request *request,
		       const struct lsc_fleet_node *node)
{
	uint32_t n = lsc_rests_shared(router, request, node->rank);

	return n ? n / lsc_router_positions_of(router, node, lsc_clock_ns()) : 0;
}

/* Whether some receiver may still come to hold something.  A cast tells of its progress several
 * times a second: one that tells nothing is over, whatever the stream says. */
bool lsc_router_is_loading(const struct lsc_router *router)
{
	const struct lsc_fleet *fleet = &router->fleet;

	if (fleet->ended || lsc_clock_ns() - fleet->heard_ns > router->patience_ns)
		return false;
	if (!fleet->named)
		return true; /* the cast has not begun */
	for (uint32_t i = 0; i < fleet->n_cast; i++) {
		const struct lsc_fleet_node *node = i < fleet->n_nodes ? fleet->nodes[i] : NULL;

		if (!node || (!node->source && !node->complete && !node->failed && node->exec[0]))
			return true;
	}
	return false;
}

/* The node that holds everything and will be through with one more request first, what rests there
 * taken into account: a receiver, or a source where it is to serve.  How long a pass takes there
 * goes to *ret_wait, which may be NULL. */
static bool find_local(const struct lsc_router *router, const struct lsc_router_request *request,
		       bool sources, bool hope, uint32_t *ret_node, double *ret_wait)
{
	uint32_t best = UINT32_MAX;
	double usual = usual_cost(&router->fleet), least = INFINITY, best_wait = INFINITY;

	for (uint32_t i = 0; i < router->fleet.n_nodes; i++) {
		const struct lsc_fleet_node *node = router->fleet.nodes[i];
		double wait, all;

		if (!takes_part(router, node, hope) || !node->complete ||
		    (node->source && !sources) || most_of(request, i) < UINT32_MAX)
			continue;
		wait = cost_of(node, usual) * (queue_of(node) + router->fleet.image->n_units);
		all = ANSWER * wait - saved_at(router, request, node);
		if (all < least) {
			best = i;
			best_wait = wait;
			least = all;
		}
	}
	*ret_node = best;
	if (ret_wait)
		*ret_wait = best_wait;
	return best != UINT32_MAX;
}

/* relief: who holds everything only helps those that do not. */
static struct lsc_cover_node cover_node(const struct lsc_router *router,
					const struct lsc_router_request *request, uint32_t rank,
					bool hope, bool relief, double usual)
{
	const struct lsc_fleet_node *node = router->fleet.nodes[rank];
	double cost = cost_of(node, usual);
	uint32_t most = most_of(request, rank);

	return (struct lsc_cover_node){
		.holds = node->units,
		.cost = cost,
		.load = cost * queue_of(node),
		.source = relief ? node->complete : node->source,
		.usable = takes_part(router, node, hope) && most > 0,
		.most = most < UINT32_MAX ? most : 0,
	};
}

/* What a stage more has to save: what a unit takes, about which it costs itself, and a part of all
 * that a pass has to wait for, as what is saved of that is soon someone else's to wait for. */
static double worth_of_stage(const struct lsc_fleet *fleet, const struct lsc_cover_node *nodes,
			     double usual)
{
	double sum = 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < fleet->n_nodes; i++)
		if (nodes[i].usable) {
			sum += nodes[i].load;
			n++;
		}
	return usual + (n ? sum / n / STAGE : 0);
}

static int find_pipeline(const struct lsc_router *router, const struct lsc_router_request *request,
			 bool hope, bool relief, struct lsc_cover *ret_cover)
{
	const struct lsc_fleet *fleet = &router->fleet;
	LSC_CLEANUP_FREE struct lsc_cover_node *nodes = calloc(fleet->n_nodes + 1, sizeof(*nodes));
	double usual = usual_cost(fleet);
	int r;

	if (!nodes)
		return -ENOMEM;
	for (uint32_t i = 0; i < fleet->n_nodes; i++)
		if (fleet->nodes[i])
			nodes[i] = cover_node(router, request, i, hope, relief, usual);
	r = lsc_cover_find(nodes, fleet->n_nodes, NULL, fleet->begins, fleet->image->n_units,
			   relief ? LSC_SOURCES_ASSIST : router->sources,
			   worth_of_stage(fleet, nodes, usual), ret_cover);
	if (r <= 0 || (router->sources == LSC_SOURCES_SERVE && !relief))
		return r;
	for (uint32_t i = 0; i < ret_cover->n; i++)
		if (!nodes[ret_cover->stages[i].node].source)
			return 1;
	return 0; /* of sources alone */
}

static bool has_parts(const struct lsc_fleet *fleet)
{
	for (uint32_t i = 0; i < fleet->n_nodes; i++)
		if (fleet->nodes[i] && !fleet->nodes[i]->complete &&
		    lsc_fleet_usable(fleet->nodes[i]))
			return true;
	return false;
}

/* Where nodes that hold everything are busy, others that hold a part of it may take that off them:
 * of the units, one in so many at least, or it is not worth the way from stage to stage. */
static int find_relief(const struct lsc_router *router, const struct lsc_router_request *request,
		       uint32_t local, double wait, uint32_t part, bool hope,
		       struct lsc_cover *ret_cover)
{
	const struct lsc_fleet_node *node = router->fleet.nodes[local];
	uint32_t units = router->fleet.image->n_units, relieved = 0;
	double own = cost_of(node, usual_cost(&router->fleet)) * units;
	int r;

	if (router->whole || queue_of(node) <= 0 || !has_parts(&router->fleet))
		return 0;
	r = find_pipeline(router, request, hope, true, ret_cover);
	if (r <= 0)
		return r;
	for (uint32_t i = 0; i < ret_cover->n; i++) {
		const struct lsc_stage *stage = &ret_cover->stages[i];

		if (!router->fleet.nodes[stage->node]->complete)
			relieved += stage->last - stage->first + 1;
	}
	return relieved * part >= units && ret_cover->bottleneck <= wait - own / part;
}

bool lsc_router_find_ease(const struct lsc_router *router, const struct lsc_router_request *request,
			  struct lsc_cover *ret_cover)
{
	const struct lsc_fleet *fleet = &router->fleet;
	uint32_t local = request->cover.stages[0].node, node;
	double wait = cost_of(fleet->nodes[local], usual_cost(fleet)) *
		      (queue_of(fleet->nodes[local]) + fleet->image->n_units);

	return request->local && router->sources == LSC_SOURCES_SERVE &&
	       fleet->nodes[local]->source &&
	       !find_local(router, request, false, false, &node, NULL) &&
	       find_relief(router, request, local, wait, EASE, false, ret_cover) > 0;
}

static int find_route(const struct lsc_router *router, struct lsc_router_request *request,
		      bool hope)
{
	uint32_t node, last = router->fleet.image->n_units - 1;
	bool serve = router->sources == LSC_SOURCES_SERVE;
	double wait;
	int r = 0;

	request->local = find_local(router, request, serve, hope, &node, &wait);
	if (request->local && serve) {
		r = find_relief(router, request, node, wait, RELIEF, hope, &request->cover);
		request->local = r == 0;
	} else if (!request->local && !router->whole) {
		r = find_pipeline(router, request, hope, false, &request->cover);
	}
	if (r != 0)
		return r;
	if (!request->local && lsc_router_is_loading(router))
		return 0;
	if (!request->local)
		request->local = find_local(router, request, true, hope, &node, NULL);
	if (!request->local)
		return 0;
	request->cover = (struct lsc_cover){.n = 1, .stages = {{node, 0, last}}};
	return 1;
}

int lsc_router_find_route(const struct lsc_router *router, struct lsc_router_request *request)
{
	return find_route(router, request, false);
}

bool lsc_router_may_come(const struct lsc_router *router, struct lsc_router_request *request)
{
	return lsc_router_is_loading(router) || find_route(router, request, true) > 0;
}

bool lsc_router_has_leaving(const struct lsc_router *router,
			    const struct lsc_router_request *request)
{
	for (uint32_t i = 0; i < request->cover.n; i++)
		if (router->fleet.nodes[request->cover.stages[i].node]->leaving)
			return true;
	return false;
}

bool lsc_router_bar(struct lsc_router_request *request, const uint8_t *begins, uint32_t node)
{
	uint32_t n = 0, at = 0;

	for (uint32_t i = 0; i < request->cover.n; i++) {
		const struct lsc_stage *stage = &request->cover.stages[i];

		for (uint32_t u = stage->first; stage->node == node && u <= stage->last; u++)
			n += u == 0 || begins[u];
	}
	while (at < request->n_barred && request->barred[at].node != node)
		at++;
	if (at == LSC_ROUTER_MAX_BARRED)
		return false;
	request->barred[at] = (struct lsc_router_bar){node, n / 2};
	request->n_barred = LSC_MAX(request->n_barred, at + 1);
	return true;
}

bool lsc_router_find_better(const struct lsc_router *router,
			    const struct lsc_router_request *request)
{
	uint32_t node;

	return !request->local && find_local(router, request, false, false, &node, NULL);
}
