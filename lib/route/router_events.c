/* router_events - what workers say of requests, and that nodes come and go */
#include "route/router_own.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "route/shift.h"
#include "route/way.h"

#define MOVE_NS   200000000ull /* from one try to leave a node that leaves to the next */
#define MOVE_PART 8 /* who has less than such a part of its tokens before it stays there */

/* More is held, or can be reached: there may be room by that. */
static void on_change(void *data)
{
	lsc_router_make_room(data);
	lsc_router_turn(data);
}

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
	lsc_router_leave(request);
	request->cover = cover;
	lsc_router_set_off(request);
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
	lsc_router_count(router, &request->cover, -1);
	found = lsc_router_find_ease(router, request, &cover);
	lsc_router_count(router, &request->cover, 1);
	if (!found)
		return false;
	lsc_router_leave(request);
	request->cover = cover;
	request->local = false;
	lsc_router_set_off(request);
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
	lsc_router_send(request, (uint32_t)request->ids.n - 1);
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
		return; /* of a part */
	/* There was room for it, perhaps for another too. */
	if (request->asked || request->ids.n == request->n_prompt)
		lsc_router_make_room(router);
	request->n_run = frame->pos;
	lsc_shift_learn(request, lsc_clock_ns());
	if (token >= config->vocab) {
		lsc_router_lose(request, "a worker gave a token that is none");
		return;
	}
	for (uint32_t i = 0; i < request->cover.n; i++)
		router->fleet.nodes[request->cover.stages[i].node]->doubt = 0;
	if (ends(request, token)) {
		lsc_router_finish(request, "stop", NULL);
		return;
	}
	request->tries = 0;
	request->why[0] = 0;
	if (lsc_tokens_add(&request->ids, token) < 0) {
		lsc_router_finish(request, NULL, "out of memory");
		return;
	}
	more = router->events->on_token(request, &frame->drawn, frame->logprobs);
	if (!more)
		lsc_router_finish(request, "stop", NULL);
	else if (request->ids.n - request->n_prompt >= request->limit ||
		 request->ids.n >= config->context)
		lsc_router_finish(request, "length", NULL);
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
		lsc_rests_forget(router, node, fail->request);
		lsc_shift_failed(router, node, fail);
		return;
	}
	if (fail->code == ESTALE && request->reused) { /* it had given way already */
		lsc_router_leave(request);
		request->again_ns = 0;
		lsc_timer_arm(router->tick, 0);
		return;
	}
	if (fail->code == ERANGE) {
		lsc_router_finish(request, NULL, fail->why);
		return;
	}
	if (fail->code == EFBIG && lsc_router_bar(request, router->fleet.begins, node)) {
		lsc_router_leave(request);
		snprintf(request->why, sizeof(request->why), "%s", fail->why);
		lsc_timer_arm(router->tick, 0);
		return;
	}
	if (fail->code == ESHUTDOWN) {
		router->fleet.nodes[node]->leaving = true;
		lsc_router_leave(request);
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
	lsc_router_lose(request, fail->why);
	request->crowded = crowded;
}

static void on_lost(void *data, uint32_t node)
{
	struct lsc_router *router = data;
	char why[sizeof(router->requests->why)];

	snprintf(why, sizeof(why), "node %u, %.100s, was lost", node,
		 router->fleet.nodes[node]->exec);
	router->fleet.nodes[node]->doubt++;
	lsc_rests_lost(router, node);
	for (struct lsc_router_request *request = router->requests; request;
	     request = request->next)
		if (!lsc_shift_lost(request, node, why) && lsc_router_passes(request, node))
			lsc_router_lose_late(request, why);
	lsc_router_turn(router);
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
		if (!lsc_router_passes(request, node) || request->shift.active ||
		    !is_astray(router, request, now))
			continue;
		lsc_warning("a request was lost between the stages of its route, going on over "
			    "another");
		for (uint32_t i = 0; i < request->cover.n; i++)
			router->fleet.nodes[request->cover.stages[i].node]->doubt++;
		lsc_router_lose_late(request, "it was lost between the stages of its route");
	}
}

static void on_moved(void *data, const struct lsc_moved_frame *moved)
{
	lsc_shift_moved(data, moved);
}

const struct lsc_fleet_events lsc_router_fleet_events = {on_change, on_token, on_fail,
							 on_lost,   on_look,  on_moved};
