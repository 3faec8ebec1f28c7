/* shift - requests that go from a pipeline to one node */
#include "route/shift.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "route/router_own.h"
#include "route/way.h"

#define TRIPS       4    /* of a move: adopt, two to open a link to a stage, fetch */
#define TRIP_S      1e-3 /* before it is known */
#define ENOUGH      32   /* positions, to tell how fast they are computed */
#define STAYS_NS    60000000000ull
#define SLACK_S     2.0 /* a move takes so much longer than both forecasts, and then some: */
#define SLACK_TIMES 4

/* --- forecasts --- */

void lsc_shift_forecast(struct lsc_shift *shift, const struct lsc_shift_costs *costs)
{
	shift->move_s =
		TRIPS * costs->trip_s + (double)shift->bytes * (1 + costs->moving) / costs->bytes_s;
	shift->recompute_s = shift->positions * (1.0 + costs->busy) / costs->positions_s;
}

/* Bytes of keys and values of a request's positions that lie elsewhere than at a node. */
static uint64_t bytes_elsewhere(const struct lsc_router_request *request, uint32_t node, uint32_t n)
{
	const struct lsc_model_config *config = &request->router->fleet.image->config;
	uint64_t positions = 0;

	for (uint32_t i = 0; i < request->cover.n; i++) {
		const struct lsc_stage *stage = &request->cover.stages[i];
		uint32_t layer, end;

		if (stage->node == node)
			continue;
		lsc_model_layers(config, stage->first, stage->last, &layer, &end);
		for (; layer < end; layer++)
			positions += n - lsc_model_sees_from(config, layer, n);
	}
	return positions * 2 * config->kv_heads * config->head_dim * sizeof(float);
}

static uint32_t count_moving(const struct lsc_router *router, uint32_t node)
{
	const struct lsc_router_request *request = router->requests;
	uint32_t n = 0;

	for (; request; request = request->next)
		n += request->shift.active && request->shift.node == node;
	return n;
}

/* Stages that others' routes have on a node. */
static uint32_t count_others(const struct lsc_router_request *request, uint32_t node)
{
	uint32_t busy = request->router->fleet.nodes[node]->busy;

	for (uint32_t i = 0; i < request->cover.n; i++)
		busy -= request->cover.stages[i].node == node;
	return busy;
}

/* What is on its way to a node counts as there: all of its units, or everybody would go where
 * nobody has arrived yet. */
static void count_mover(struct lsc_router *router, uint32_t node, int sign)
{
	router->fleet.nodes[node]->busy += (uint32_t)sign;
	router->fleet.nodes[node]->busy_units += (uint32_t)sign * router->fleet.image->n_units;
}

/* The longest way there and back to whoever has a part in it. */
static double trip_of(const struct lsc_router_request *request, const struct lsc_fleet_node *to)
{
	struct lsc_fleet_node **nodes = request->router->fleet.nodes;
	uint64_t trip_ns = to->trip_ns;

	for (uint32_t i = 0; i < request->cover.n; i++)
		trip_ns = LSC_MAX(trip_ns, nodes[request->cover.stages[i].node]->trip_ns);
	return trip_ns ? (double)trip_ns / 1e9 : TRIP_S;
}

static void forecast(struct lsc_router_request *request, uint64_t now)
{
	struct lsc_router *router = request->router;
	struct lsc_shift *shift = &request->shift;
	const struct lsc_fleet_node *node = router->fleet.nodes[shift->node];
	const struct lsc_shift_costs costs = {
		.bytes_s = lsc_estimate_now(&node->rows, now),
		.trip_s = trip_of(request, node),
		.positions_s = lsc_router_positions_of(router, node, now),
		.moving = count_moving(router, shift->node),
		.busy = count_others(request, shift->node),
	};

	shift->positions = (uint32_t)request->ids.n - 1;
	shift->bytes = bytes_elsewhere(request, shift->node, shift->positions);
	shift->beside = costs.moving;
	lsc_shift_forecast(shift, &costs);
}

void lsc_shift_learn(struct lsc_router_request *request, uint64_t now_ns)
{
	struct lsc_router *router = request->router;
	struct lsc_fleet_node *node = router->fleet.nodes[request->cover.stages[0].node];
	double took_s = (double)(now_ns - request->asked_ns) / 1e9, speed;

	if (request->asked && took_s > 0 && (request->asked >= ENOUGH || !router->positions.seen)) {
		speed = request->asked * (1.0 + count_others(request, node->rank)) / took_s;
		lsc_estimate_add(&router->positions, speed, now_ns);
		if (request->local)
			lsc_estimate_add(&node->positions, speed, now_ns);
	}
	request->asked = 0;
}

/* A move of so many bytes took so long. */
static void learn_move(struct lsc_router_request *request, uint64_t bytes, double took_s,
		       uint64_t now)
{
	const struct lsc_shift *shift = &request->shift;
	struct lsc_fleet_node *node = request->router->fleet.nodes[shift->node];
	double trips_s = TRIPS * trip_of(request, node);

	took_s = LSC_MAX(took_s - trips_s, took_s / 4);
	if (bytes && took_s > 0)
		lsc_estimate_add(&node->rows, (double)bytes * (1 + shift->beside) / took_s, now);
}

/* --- going --- */

static void go(struct lsc_router_request *request, uint64_t number, uint32_t pos)
{
	struct lsc_router *router = request->router;
	const uint32_t node = request->shift.node, last = router->fleet.image->n_units - 1;

	request->shift.active = false;
	lsc_router_leave(request);
	request->cover = (struct lsc_cover){.n = 1, .stages = {{node, 0, last}}};
	request->local = true;
	router->events->on_switch(request, node);
	lsc_router_take(request, number, pos);
}

static void recompute(struct lsc_router_request *request, const char *why)
{
	struct lsc_shift *shift = &request->shift;

	snprintf(shift->why, sizeof(shift->why), "%s", why);
	if (why[0])
		lsc_info("node %u: a request could not be moved: %s", shift->node, why);
	lsc_shift_cancel(request);
	go(request, ++request->router->numbers, 0);
}

static int send_adopt(struct lsc_router_request *request)
{
	struct lsc_fleet *fleet = &request->router->fleet;
	LSC_CLEANUP_FREE struct lsc_adopt_frame *adopt = calloc(1, sizeof(*adopt));
	const struct lsc_shift *shift = &request->shift;

	if (!adopt)
		return -ENOMEM;
	*adopt = (struct lsc_adopt_frame){.image = fleet->image->id,
					  .client = fleet->client,
					  .request = shift->number,
					  .from = request->number,
					  .n = shift->positions,
					  .reach = (uint32_t)request->ids.n,
					  .since = request->since_us,
					  .n_stages = request->cover.n};
	for (uint32_t i = 0; i < request->cover.n; i++) {
		const struct lsc_stage *stage = &request->cover.stages[i];

		snprintf(adopt->route[i].endpoint, sizeof(adopt->route[i].endpoint), "%s",
			 fleet->nodes[stage->node]->exec);
		adopt->route[i].first = stage->first;
		adopt->route[i].last = stage->last;
	}
	return lsc_fleet_adopt(fleet, shift->node, adopt,
			       lsc_sampling_penalises(&request->sampling) ? request->ids.ids
									  : NULL);
}

/* Why a request cannot be moved; NULL: it can. */
static const char *find_obstacle(const struct lsc_router_request *request, uint64_t now)
{
	struct lsc_fleet_node **nodes = request->router->fleet.nodes;
	bool moves = lsc_fleet_moves(nodes[request->shift.node]);

	for (uint32_t i = 0; i < request->cover.n; i++)
		moves = moves && lsc_fleet_moves(nodes[request->cover.stages[i].node]);
	if (!moves)
		return "a worker knows of no moving";
	if (nodes[request->shift.node]->stays_ns > now)
		return "its worker could not take requests over before";
	return NULL;
}

void lsc_shift_begin(struct lsc_router_request *request, const struct lsc_cover *before)
{
	struct lsc_router *router = request->router;
	struct lsc_shift *shift = &request->shift;
	uint64_t now = lsc_clock_ns();
	const char *obstacle;

	*shift = (struct lsc_shift){.node = request->cover.stages[0].node, .since_ns = now};
	request->cover = *before;
	request->local = false;
	forecast(request, now);
	obstacle = find_obstacle(request, now);
	lsc_debug("route", "to node %u: %u positions in %.3f s, %llu bytes in %.3f s%s%s",
		  shift->node, shift->positions, shift->recompute_s,
		  (unsigned long long)shift->bytes, shift->move_s, obstacle ? "; " : "",
		  obstacle ? obstacle : "");
	if (router->switching == LSC_SWITCH_RECOMPUTE ||
	    (router->switching == LSC_SWITCH_AUTO &&
	     (obstacle || shift->move_s >= shift->recompute_s))) {
		recompute(request, "");
		return;
	}
	if (obstacle) {
		recompute(request, obstacle);
		return;
	}
	shift->number = ++router->numbers;
	shift->active = true;
	count_mover(router, shift->node, 1);
	if (send_adopt(request) < 0)
		recompute(request, "its worker cannot be reached");
}

/* --- what comes of it --- */

static struct lsc_router_request *find(struct lsc_router *router, uint64_t number)
{
	struct lsc_router_request *request = router->requests;

	while (request && !(request->shift.active && request->shift.number == number))
		request = request->next;
	return request;
}

void lsc_shift_moved(struct lsc_router *router, const struct lsc_moved_frame *moved)
{
	struct lsc_router_request *request = find(router, moved->request);
	uint64_t now = lsc_clock_ns();
	struct lsc_shift *shift;

	if (!request)
		return;
	shift = &request->shift;
	if (moved->pos != shift->positions) {
		recompute(request, "its worker took over another part of it");
		return;
	}
	shift->moved = true;
	shift->took_s = (double)(now - shift->since_ns) / 1e9;
	request->since_ns = router->since_ns = now;
	learn_move(request, moved->bytes, shift->took_s, now);
	count_mover(router, shift->node, -1);
	go(request, shift->number, shift->positions);
}

void lsc_shift_failed(struct lsc_router *router, uint32_t node, const struct lsc_fail_frame *fail)
{
	struct lsc_router_request *request = find(router, fail->request);

	if (!request || request->shift.node != node)
		return;
	if (fail->code == EOPNOTSUPP)
		router->fleet.nodes[node]->stays_ns = lsc_clock_ns() + STAYS_NS;
	recompute(request, fail->why);
}

static bool passes(const struct lsc_router_request *request, uint32_t node)
{
	for (uint32_t i = 0; i < request->cover.n; i++)
		if (request->cover.stages[i].node == node)
			return true;
	return false;
}

bool lsc_shift_broken(struct lsc_router_request *request, const char *why)
{
	if (!request->shift.active)
		return false;
	recompute(request, why);
	return true;
}

bool lsc_shift_lost(struct lsc_router_request *request, uint32_t node, const char *why)
{
	struct lsc_shift *shift = &request->shift;

	if (!shift->active)
		return false;
	if (node != shift->node && passes(request, node)) {
		recompute(request, why);
		return true;
	}
	if (node != shift->node || passes(request, node))
		return false;
	lsc_shift_cancel(request); /* and on as before */
	lsc_router_send(request, shift->positions);
	return true;
}

/* A link that is slower than it was thought to be tells so in this way too. */
void lsc_shift_check(struct lsc_router_request *request, uint64_t now_ns)
{
	const struct lsc_router *router = request->router;
	const struct lsc_shift *shift = &request->shift;
	double took_s = (double)(now_ns - shift->since_ns) / 1e9;
	double most_s = SLACK_S + SLACK_TIMES * (shift->move_s + shift->recompute_s);

	if (router->switching == LSC_SWITCH_MOVE) /* whatever that costs, but not for ever */
		most_s += (double)router->patience_ns / 1e9;
	if (took_s < most_s)
		return;
	learn_move(request, shift->bytes / 2, took_s, now_ns);
	recompute(request, "it took too long");
}

void lsc_shift_cancel(struct lsc_router_request *request)
{
	struct lsc_shift *shift = &request->shift;
	struct lsc_router *router = request->router;

	if (!shift->active)
		return;
	shift->active = false;
	count_mover(router, shift->node, -1);
	lsc_fleet_drop(&router->fleet, shift->node, shift->number);
}
