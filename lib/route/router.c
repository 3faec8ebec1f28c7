/* router - requests in flight */
#include "route/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "route/shift.h"
#include "route/way.h"

#define PATIENCE_NS 30000000000ull
#define STAGE_NS    5000000000ull
#define TICK_NS     100000000ull
#define MOVE_NS     200000000ull /* from one try to leave a node that leaves to the next */
#define MOVE_PART   8 /* who has less than such a part of its tokens before it stays there */
#define SETTLE_NS   200000000ull /* for links that are being opened when it starts */
#define PAUSE_NS    100000000ull /* after the first failure, then twice as long up to */
#define PAUSE_MAX   2000000000ull
#define LATE_TRIES  4
#define RUN_TOKENS  512 /* in one frame: stages work on one part while the next is on its way */

/* --- routes --- */

/* Whether a node is on its route, as which stage first. */
static bool passes(const struct lsc_router_request *request, uint32_t node)
{
	for (uint32_t i = 0; request->routed && i < request->cover.n; i++)
		if (request->cover.stages[i].node == node)
			return true;
	return false;
}

/* What a route asks of its nodes, added to what they have, or taken away. */
static void count_route(struct lsc_router *router, const struct lsc_cover *cover, int sign)
{
	for (uint32_t i = 0; i < cover->n; i++) {
		const struct lsc_stage *stage = &cover->stages[i];
		struct lsc_fleet_node *node = router->fleet.nodes[stage->node];

		node->busy += (uint32_t)sign;
		node->busy_units += (uint32_t)sign * (stage->last - stage->first + 1);
	}
}

static void leave_route(struct lsc_router *router, struct lsc_router_request *request)
{
	if (!request->routed)
		return;
	lsc_shift_cancel(request);
	count_route(router, &request->cover, -1);
	for (uint32_t i = 0; i < request->cover.n; i++)
		lsc_fleet_drop(&router->fleet, request->cover.stages[i].node, request->number);
	request->routed = false;
}

void lsc_router_leave(struct lsc_router_request *request)
{
	leave_route(request->router, request);
}

/* Who is done leaves room for one that waits for it, the oldest. */
static void make_room(struct lsc_router *router)
{
	struct lsc_router_request *request = router->requests;

	while (request && (request->routed || !request->crowded || !request->again_ns))
		request = request->next;
	if (request) {
		request->again_ns = 0;
		lsc_timer_arm(router->tick, 0);
	}
}

static void finish(struct lsc_router_request *request, const char *reason, const char *why)
{
	struct lsc_router *router = request->router;
	struct lsc_router_request **at = &router->requests;

	leave_route(router, request);
	while (*at != request)
		at = &(*at)->next;
	*at = request->next;
	make_room(router);
	router->events->on_done(request, reason, why);
	lsc_tokens_release(&request->ids);
	lsc_tokens_release(&request->stop_ids);
	free(request);
}

/* Leaves a route that does not work; it is tried again soon. */
static void lose_route(struct lsc_router_request *request, const char *why)
{
	uint64_t pause = PAUSE_NS << LSC_MIN(request->tries, 10u);

	leave_route(request->router, request);
	if (why != request->why)
		snprintf(request->why, sizeof(request->why), "%s", why);
	request->tries++;
	request->again_ns = lsc_clock_ns() + LSC_MIN(pause, PAUSE_MAX);
}

/* The same where it took its time to find that out: enough of the patience is left for another
 * route, some times at least. */
static void lose_late(struct lsc_router_request *request, const char *why)
{
	uint64_t since = lsc_clock_ns() - request->router->patience_ns / 3;

	if (request->tries < LATE_TRIES)
		request->since_ns = LSC_MAX(request->since_ns, since);
	lose_route(request, why);
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

/* Sends the positions from pos on along the route: in parts, of which the last one's token is the
 * one that counts. */
static void send_run(struct lsc_router_request *request, uint32_t pos)
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
		lose_route(request, "its first stage cannot be reached");
}

void lsc_router_send(struct lsc_router_request *request, uint32_t pos)
{
	send_run(request, pos);
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
	count_route(router, &request->cover, 1);
	if (lsc_debug_is_on("route"))
		say_route(request);
	router->events->on_route(request);
	send_run(request, pos);
}

static void take_route(struct lsc_router_request *request)
{
	lsc_router_take(request, ++request->router->numbers, 0);
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
		take_route(request);
		return true;
	}
	if (!n_barred)
		return false;
	if (lsc_router_may_come(router, request))
		return true;
	request->n_barred = 0;
	if (lsc_router_find_route(router, request) > 0) {
		finish(request, NULL, request->why);
		return true;
	}
	request->n_barred = n_barred;
	return true;
}

/* Routes what can be routed now, in order: where there is no cover for one, there is none for the
 * others, and where one waits for room, those behind it wait as well. */
static void route_all(void *data)
{
	struct lsc_router *router = data;
	struct lsc_router_request *next;
	uint64_t now = lsc_clock_ns();
	bool go_on = !is_settling(router, now);

	for (struct lsc_router_request *request = router->requests; request; request = next) {
		next = request->next;
		if (is_overdue(request, now)) {
			finish(request, NULL, request->why);
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

/* More is held, or can be reached: there may be room by that. */
static void on_change(void *data)
{
	make_room(data);
	route_all(data);
}

static void on_tick(void *data)
{
	struct lsc_router *router = data;

	route_all(router);
	if (router->requests)
		lsc_timer_arm(router->tick, TICK_NS);
}

/* --- what comes back --- */

static struct lsc_router_request *find_request(struct lsc_router *router, uint64_t number)
{
	struct lsc_router_request *request = router->requests;

	while (request && (!request->routed || request->number != number))
		request = request->next;
	return request;
}

static void get_on(struct lsc_router_request *request)
{
	struct lsc_router *router = request->router;

	request->since_ns = router->since_ns = lsc_clock_ns();
	request->told = false;
}

/* Away from a node that leaves, where there is another way and enough is left to do: what was
 * computed so far is computed anew, in less time a position than answers take. */
static bool move_on(struct lsc_router_request *request)
{
	struct lsc_router *router = request->router;
	const struct lsc_cover before = request->cover;
	uint64_t now = lsc_clock_ns();
	uint64_t left = request->limit - (request->ids.n - request->n_prompt);
	struct lsc_cover cover;
	bool local = request->local;

	if (!lsc_router_has_leaving(router, request) || left < request->ids.n / MOVE_PART ||
	    now < request->again_ns)
		return false;
	request->again_ns = now + MOVE_NS;
	if (lsc_router_find_route(router, request) <= 0) {
		request->cover = before;
		request->local = local;
		return false;
	}
	cover = request->cover;
	request->cover = before;
	leave_route(router, request);
	request->cover = cover;
	take_route(request);
	return true;
}

/* Off a source that runs it alone, where receivers hold half of it by now.  One such request has
 * the source read all of the model for each token, where others need but a part there. */
static bool ease(struct lsc_router_request *request)
{
	struct lsc_router *router = request->router;
	uint64_t now = lsc_clock_ns();
	uint64_t left = request->limit - (request->ids.n - request->n_prompt);
	struct lsc_cover cover;
	bool found;

	if (!request->local || router->switching == LSC_SWITCH_NEVER ||
	    left < request->ids.n / MOVE_PART || now < request->again_ns)
		return false;
	request->again_ns = now + MOVE_NS;
	count_route(router, &request->cover, -1);
	found = lsc_router_find_ease(router, request, &cover);
	count_route(router, &request->cover, 1);
	if (!found)
		return false;
	leave_route(router, request);
	request->cover = cover;
	request->local = false;
	take_route(request);
	return true;
}

/* On with the next position; to a node that came to hold everything, if there is one. */
static void go_on(struct lsc_router_request *request)
{
	struct lsc_router *router = request->router;
	const struct lsc_cover before = request->cover;

	if (move_on(request) || ease(request))
		return;
	if (router->switching != LSC_SWITCH_NEVER && lsc_router_find_better(router, request)) {
		if (lsc_router_find_route(router, request) > 0 && request->local) {
			lsc_shift_begin(request, &before);
			return;
		}
		request->cover = before;
		request->local = false;
	}
	send_run(request, (uint32_t)request->ids.n - 1);
}

/* Whether a token ends the answer without being part of it. */
static bool ends(struct lsc_router_request *request, uint32_t token)
{
	if (lsc_model_is_end(&request->router->fleet.image->config, token))
		return true;
	for (size_t i = 0; i < request->stop_ids.n; i++)
		if (request->stop_ids.ids[i] == token) {
			request->stopped = true;
			request->stop_id = token;
			return true;
		}
	return false;
}

static void on_token(void *data, const struct lsc_token_frame *frame)
{
	struct lsc_router *router = data;
	const struct lsc_model_config *config = &router->fleet.image->config;
	struct lsc_router_request *request = find_request(router, frame->request);
	uint32_t token = frame->drawn.token;
	bool more;

	if (!request || request->shift.active)
		return;
	get_on(request);
	if (frame->pos != request->ids.n)
		return;     /* of a part */
	if (request->asked) /* there was room for it, perhaps for another too */
		make_room(router);
	lsc_shift_learn(request, lsc_clock_ns());
	if (token >= config->vocab) {
		lose_route(request, "a worker gave a token that is none");
		return;
	}
	for (uint32_t i = 0; i < request->cover.n; i++)
		router->fleet.nodes[request->cover.stages[i].node]->doubt = 0;
	if (ends(request, token)) {
		finish(request, "stop", NULL);
		return;
	}
	request->tries = 0;
	request->why[0] = 0;
	if (lsc_tokens_add(&request->ids, token) < 0) {
		finish(request, NULL, "out of memory");
		return;
	}
	more = router->events->on_token(request, &frame->drawn, frame->logprobs);
	if (!more)
		finish(request, "stop", NULL);
	else if (request->ids.n - request->n_prompt >= request->limit ||
		 request->ids.n >= config->context)
		finish(request, "length", NULL);
	else
		go_on(request);
}

static void doubt(struct lsc_router *router, const struct lsc_router_request *request,
		  uint32_t node, bool next_too)
{
	struct lsc_fleet_node **nodes = router->fleet.nodes;

	nodes[node]->doubt++;
	for (uint32_t i = 0; next_too && i + 1 < request->cover.n; i++)
		if (request->cover.stages[i].node == node)
			nodes[request->cover.stages[i + 1].node]->doubt++;
}

/* Some failures are nobody's fault: there is no room now, or the request cannot be done. */
static void on_fail(void *data, uint32_t node, const struct lsc_fail_frame *fail)
{
	struct lsc_router *router = data;
	struct lsc_router_request *request = find_request(router, fail->request);
	bool crowded = fail->code == ENOSPC || fail->code == ENOBUFS;

	if (!request) {
		lsc_shift_failed(router, node, fail);
		return;
	}
	if (fail->code == ERANGE) {
		finish(request, NULL, fail->why);
		return;
	}
	if (fail->code == EFBIG && lsc_router_bar(request, router->fleet.begins, node)) {
		leave_route(router, request);
		snprintf(request->why, sizeof(request->why), "%s", fail->why);
		lsc_timer_arm(router->tick, 0);
		return;
	}
	if (fail->code == ESHUTDOWN) {
		router->fleet.nodes[node]->leaving = true;
		leave_route(router, request);
		request->again_ns = 0;
		lsc_timer_arm(router->tick, 0);
		return;
	}
	if (!crowded)
		doubt(router, request, node, fail->code == EHOSTDOWN);
	lsc_info("node %u, %s: %s", node, router->fleet.nodes[node]->exec, fail->why);
	lsc_debug("route", "%.2f s: request %llu: node %u: %s", lsc_fleet_now(&router->fleet),
		  (unsigned long long)fail->request, node, fail->why);
	if (lsc_shift_broken(request, fail->why))
		return;
	lose_route(request, fail->why);
	request->crowded = crowded;
}

static void on_lost(void *data, uint32_t node)
{
	struct lsc_router *router = data;
	char why[sizeof(router->requests->why)];

	snprintf(why, sizeof(why), "node %u, %.100s, was lost", node,
		 router->fleet.nodes[node]->exec);
	router->fleet.nodes[node]->doubt++;
	for (struct lsc_router_request *request = router->requests; request;
	     request = request->next)
		if (!lsc_shift_lost(request, node, why) && passes(request, node))
			lose_late(request, why);
	route_all(router);
}

/* Whether none of its nodes has anything to do, for too long: what was under way is lost. */
static bool is_astray(const struct lsc_router *router, const struct lsc_router_request *request,
		      uint64_t now)
{
	uint64_t since = request->sent_ns;

	for (uint32_t i = 0; i < request->cover.n; i++) {
		const struct lsc_fleet_node *node =
			router->fleet.nodes[request->cover.stages[i].node];

		if (!node->idle_ns)
			return false;
		since = LSC_MAX(since, node->idle_ns);
	}
	return now > since && now - since > router->fleet.silent_ns;
}

/* A node said what it is at. */
static void on_look(void *data, uint32_t node)
{
	struct lsc_router *router = data;
	uint64_t now = lsc_clock_ns();

	for (struct lsc_router_request *request = router->requests; request;
	     request = request->next) {
		if (!passes(request, node) || request->shift.active ||
		    !is_astray(router, request, now))
			continue;
		lsc_warning("a request was lost between the stages of its route, going on over "
			    "another");
		for (uint32_t i = 0; i < request->cover.n; i++)
			router->fleet.nodes[request->cover.stages[i].node]->doubt++;
		lose_late(request, "it was lost between the stages of its route");
	}
}

static void on_moved(void *data, const struct lsc_moved_frame *moved)
{
	lsc_shift_moved(data, moved);
}

static const struct lsc_fleet_events fleet_events = {on_change, on_token, on_fail,
						     on_lost,   on_look,  on_moved};

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
	r = lsc_fleet_init(&router->fleet, image, loop, &fleet_events, router, err);
	router->fleet.silent_ns = stage_ns ? stage_ns : LSC_MIN(STAGE_NS, router->patience_ns / 3);
	router->fleet.first_ns = router->patience_ns / 2;
	return r < 0 ? r : lsc_timer_new(loop, on_tick, router, &router->tick, err);
}

void lsc_router_release(struct lsc_router *router)
{
	while (router->requests)
		finish(router->requests, NULL, "the router ended");
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

void lsc_router_turn(struct lsc_router *router)
{
	route_all(router);
}

void lsc_router_cancel(struct lsc_router_request *request)
{
	finish(request, NULL, "cancelled");
}
