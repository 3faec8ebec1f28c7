/* router - requests in flight */
#include "route/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "route/router_own.h"
#include "route/shift.h"
#include "route/way.h"

#define PATIENCE_NS 30000000000ull
#define STAGE_NS    5000000000ull
#define TICK_NS     100000000ull
#define SETTLE_NS   200000000ull /* for links that are being opened when it starts */
#define PAUSE_NS    100000000ull /* after the first failure, then twice as long up to */
#define PAUSE_MAX   2000000000ull
#define LATE_TRIES  4
#define RUN_TOKENS  512 /* in one frame: stages work on one part while the next is on its way */

/* --- routes --- */

bool lsc_router_passes(const struct lsc_router_request *request, uint32_t node)
{
	for (uint32_t i = 0; request->routed && i < request->cover.n; i++)
		if (request->cover.stages[i].node == node)
			return true;
	return false;
}

void lsc_router_count(struct lsc_router *router, const struct lsc_cover *cover, int sign)
{
	for (uint32_t i = 0; i < cover->n; i++) {
		const struct lsc_stage *stage = &cover->stages[i];
		struct lsc_fleet_node *node = router->fleet.nodes[stage->node];

		node->busy += (uint32_t)sign;
		node->busy_units += (uint32_t)sign * (stage->last - stage->first + 1);
	}
}

static void end_route(struct lsc_router_request *request, bool drop)
{
	struct lsc_router *router = request->router;

	if (!request->routed)
		return;
	lsc_shift_cancel(request);
	lsc_router_count(router, &request->cover, -1);
	for (uint32_t i = 0; drop && i < request->cover.n; i++)
		lsc_fleet_drop(&router->fleet, request->cover.stages[i].node, request->number);
	request->routed = false;
}

void lsc_router_leave(struct lsc_router_request *request)
{
	end_route(request, true);
}

void lsc_router_make_room(struct lsc_router *router)
{
	struct lsc_router_request *request = router->requests;

	while (request && (request->routed || !request->crowded || !request->again_ns))
		request = request->next;
	if (request) {
		request->again_ns = 0;
		lsc_timer_arm(router->tick, 0);
	}
}

void lsc_router_finish(struct lsc_router_request *request, const char *reason, const char *why)
{
	struct lsc_router *router = request->router;
	struct lsc_router_request **at = &router->requests;

	end_route(request, !reason || !lsc_rests_keep(router, request, request->n_run));
	while (*at != request)
		at = &(*at)->next;
	*at = request->next;
	lsc_router_make_room(router);
	router->events->on_done(request, reason, why);
	lsc_tokens_release(&request->ids);
	lsc_tokens_release(&request->stop_ids);
	free(request);
}

void lsc_router_lose(struct lsc_router_request *request, const char *why)
{
	uint64_t pause = PAUSE_NS << LSC_MIN(request->tries, 10u);

	lsc_router_leave(request);
	if (why != request->why)
		snprintf(request->why, sizeof(request->why), "%s", why);
	request->tries++;
	request->again_ns = lsc_clock_ns() + LSC_MIN(pause, PAUSE_MAX);
}

void lsc_router_lose_late(struct lsc_router_request *request, const char *why)
{
	uint64_t since = lsc_clock_ns() - request->router->patience_ns / 3;

	if (request->tries < LATE_TRIES)
		request->since_ns = LSC_MAX(request->since_ns, since);
	lsc_router_lose(request, why);
}

static int send_part(struct lsc_router_request *request, struct lsc_run_frame *run, uint32_t pos,
		     uint32_t n)
{
	struct lsc_fleet *fleet = &request->router->fleet;

	run->pos = pos;
	run->n = n;
	run->reach = pos + n < request->ids.n ? (uint32_t)request->ids.n : 0;
	run->ids = lsc_sampling_penalises(&run->sampling) ? request->ids.ids + pos : NULL;
	return lsc_fleet_run(fleet, request->cover.stages[0].node, run, request->ids.ids + pos);
}

void lsc_router_send(struct lsc_router_request *request, uint32_t pos)
{
	struct lsc_fleet *fleet = &request->router->fleet;
	LSC_CLEANUP_FREE struct lsc_run_frame *run = calloc(1, sizeof(*run));
	uint32_t end = (uint32_t)request->ids.n;
	int r = run ? 0 : -ENOMEM;

	request->sent_ns = lsc_clock_ns();

	if (r == 0) {
		run->image = fleet->image->id;
		run->client = fleet->client;
		run->request = request->number;
		run->sampling = request->sampling;
		run->since = request->since_us;
		run->n_stages = request->cover.n;
	}
	for (uint32_t i = 0; r == 0 && i < request->cover.n; i++) {
		const struct lsc_stage *stage = &request->cover.stages[i];

		snprintf(run->route[i].endpoint, sizeof(run->route[i].endpoint), "%s",
			 fleet->nodes[stage->node]->exec);
		run->route[i].first = stage->first;
		run->route[i].last = stage->last;
	}
	for (; r == 0 && pos < end; pos += RUN_TOKENS)
		r = send_part(request, run, pos, LSC_MIN(end - pos, (uint32_t)RUN_TOKENS));
	if (r < 0)
		lsc_router_lose(request, "its first stage cannot be reached");
}

static void say_route(const struct lsc_router_request *request)
{
	char text[512] = "";
	size_t len = 0;

	for (uint32_t i = 0; i < request->cover.n && len < sizeof(text); i++) {
		const struct lsc_stage *stage = &request->cover.stages[i];

		len += (size_t)snprintf(text + len, sizeof(text) - len, " %u-%u@%u", stage->first,
					stage->last, stage->node);
	}
	lsc_debug_line("route", "%.2f s: request %llu, %zu tokens:%s",
		       lsc_fleet_now(&request->router->fleet), (unsigned long long)request->number,
		       request->ids.n, text);
}

void lsc_router_take(struct lsc_router_request *request, uint64_t number, uint32_t pos)
{
	struct lsc_router *router = request->router;

	request->routed = true;
	request->crowded = false;
	request->number = number;
	request->asked = pos ? 0 : (uint32_t)request->ids.n;
	request->asked_ns = lsc_clock_ns();
	lsc_router_count(router, &request->cover, 1);
	if (lsc_debug_is_on("route"))
		say_route(request);
	router->events->on_route(request);
	lsc_router_send(request, pos);
}

void lsc_router_set_off(struct lsc_router_request *request)
{
	struct lsc_router *router = request->router;
	uint64_t number = 0;

	request->reused = request->local ? lsc_rests_take(router, request,
							  request->cover.stages[0].node, &number)
					 : 0;
	lsc_router_take(request, request->reused ? number : ++router->numbers, request->reused);
}

/* Says once that a request waits, and for what; true when that lasts too long. */
static bool is_overdue(struct lsc_router_request *request, uint64_t now)
{
	const struct lsc_router *router = request->router;
	uint64_t since =
		request->crowded ? LSC_MAX(request->since_ns, router->since_ns) : request->since_ns;
	const char *why =
		request->why[0] ? request->why : "no nodes that together hold all of the model";

	if (now - since < router->patience_ns / 3)
		return false;
	if (!request->told)
		lsc_notice("a request has waited for %.0f s: %s", (double)(now - since) / 1e9,
			   request->routed ? "its route works on it" : why);
	request->told = true;
	if (request->routed || now - since < router->patience_ns || lsc_router_is_loading(router))
		return false;
	if (why != request->why)
		snprintf(request->why, sizeof(request->why), "%s", why);
	return true;
}

/* Whether links are being opened: who is reached first would get all that waits at the start. */
static bool is_settling(const struct lsc_router *router, uint64_t now)
{
	if (now - router->began_ns > SETTLE_NS)
		return false;
	for (uint32_t i = 0; i < router->fleet.n_nodes; i++)
		if (router->fleet.nodes[i] && router->fleet.nodes[i]->link &&
		    !router->fleet.nodes[i]->open)
			return true;
	return false;
}

/* Finds a request a route: whether there is one.  What no node but those that are too small for it
 * can run has failed. */
static bool route_one(struct lsc_router *router, struct lsc_router_request *request)
{
	uint32_t n_barred = request->n_barred;

	if (lsc_router_find_route(router, request) > 0) {
		lsc_router_set_off(request);
		return true;
	}
	if (!n_barred)
		return false;
	if (lsc_router_may_come(router, request))
		return true;
	request->n_barred = 0;
	if (lsc_router_find_route(router, request) > 0) {
		lsc_router_finish(request, NULL, request->why);
		return true;
	}
	request->n_barred = n_barred;
	return true;
}

/* Routes what can be routed now, in order: where there is no cover for one, there is none for the
 * others, and where one waits for room, those behind it wait as well. */
void lsc_router_turn(struct lsc_router *router)
{
	struct lsc_router_request *next;
	uint64_t now = lsc_clock_ns();
	bool go_on = !is_settling(router, now);

	for (struct lsc_router_request *request = router->requests; request; request = next) {
		next = request->next;
		if (is_overdue(request, now)) {
			lsc_router_finish(request, NULL, request->why);
			continue;
		}
		if (request->shift.active)
			lsc_shift_check(request, now);
		if (request->routed || !go_on)
			continue;
		if (request->again_ns <= now)
			go_on = route_one(router, request);
		else if (request->crowded)
			go_on = false;
	}
}

static void on_tick(void *data)
{
	struct lsc_router *router = data;

	lsc_router_turn(router);
	if (router->requests)
		lsc_timer_arm(router->tick, TICK_NS);
}

/* --- the whole --- */

int lsc_router_init(struct lsc_router *router, const struct lsc_image *image, struct lsc_loop *loop,
		    enum lsc_cover_sources sources, uint64_t patience_ns, uint64_t stage_ns,
		    const struct lsc_router_events *events, struct lsc_err *err)
{
	int r;

	*router = (struct lsc_router){.events = events,
				      .sources = sources,
				      .began_ns = lsc_clock_ns(),
				      .patience_ns = patience_ns ? patience_ns : PATIENCE_NS};
	r = lsc_fleet_init(&router->fleet, image, loop, &lsc_router_fleet_events, router, err);
	router->fleet.silent_ns = stage_ns ? stage_ns : LSC_MIN(STAGE_NS, router->patience_ns / 3);
	router->fleet.first_ns = router->patience_ns / 2;
	router->rests.most = LSC_RESTS_MOST;
	return r < 0 ? r : lsc_timer_new(loop, on_tick, router, &router->tick, err);
}

void lsc_router_release(struct lsc_router *router)
{
	while (router->requests)
		lsc_router_finish(router->requests, NULL, "the router ended");
	lsc_rests_release(router);
	lsc_timer_free(router->tick);
	lsc_fleet_release(&router->fleet);
}

void lsc_router_submit(struct lsc_router *router, struct lsc_router_request *request)
{
	struct lsc_router_request **at = &router->requests;

	request->router = router;
	request->n_prompt = (uint32_t)request->ids.n;
	request->next = NULL;
	request->since_ns = lsc_clock_ns();
	request->since_us = (uint64_t)(lsc_clock_wall_s() * 1e6);
	while (*at)
		at = &(*at)->next;
	*at = request;
	lsc_timer_arm(router->tick, 0);
}

void lsc_router_cancel(struct lsc_router_request *request)
{
	lsc_router_finish(request, NULL, "cancelled");
}
