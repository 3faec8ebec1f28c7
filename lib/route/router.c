/* router - requests in flight */
#include "route/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MAX_TRIES 20
#define RETRY_NS  200000000ull

static void route_all(void *data);

/* --- routes --- */

static bool takes_part(const struct lsc_router *router, const struct lsc_fleet_node *node)
{
	return lsc_fleet_usable(node) && (!node->source || router->sources != LSC_SOURCES_NEVER);
}

/* Whether some receiver may still come to hold something. */
static bool is_loading(const struct lsc_router *router)
{
	const struct lsc_fleet *fleet = &router->fleet;

	if (fleet->ended)
		return false;
	if (!fleet->n_cast)
		return true; /* the cast has not begun */
	for (uint32_t i = 0; i < fleet->n_cast; i++) {
		const struct lsc_fleet_node *node = i < fleet->n_nodes ? fleet->nodes[i] : NULL;

		if (!node || (!node->source && !node->complete && !node->failed && node->exec[0]))
			return true;
	}
	return false;
}

/* The least busy node that holds everything: a receiver, or a source where it is to serve. */
static bool find_local(const struct lsc_router *router, bool sources, uint32_t *ret_node)
{
	uint32_t best = UINT32_MAX;

	for (uint32_t i = 0; i < router->fleet.n_nodes; i++) {
		const struct lsc_fleet_node *node = router->fleet.nodes[i];

		if (!takes_part(router, node) || !node->complete || (node->source && !sources))
			continue;
		if (best == UINT32_MAX || node->busy < router->fleet.nodes[best]->busy)
			best = i;
	}
	*ret_node = best;
	return best != UINT32_MAX;
}

static int find_pipeline(const struct lsc_router *router, struct lsc_cover *ret_cover)
{
	const struct lsc_fleet *fleet = &router->fleet;
	LSC_CLEANUP_FREE struct lsc_cover_node *nodes = calloc(fleet->n_nodes + 1, sizeof(*nodes));
	int r;

	if (!nodes)
		return -ENOMEM;
	for (uint32_t i = 0; i < fleet->n_nodes; i++)
		if (fleet->nodes[i])
			nodes[i] = (struct lsc_cover_node){
				.holds = fleet->nodes[i]->units,
				.cost = 1 + fleet->nodes[i]->busy,
				.source = fleet->nodes[i]->source,
				.usable = takes_part(router, fleet->nodes[i]),
			};
	r = lsc_cover_find(nodes, fleet->n_nodes, NULL, fleet->image->n_units, router->sources,
			   ret_cover);
	if (r <= 0 || router->sources == LSC_SOURCES_SERVE)
		return r;
	for (uint32_t i = 0; i < ret_cover->n; i++)
		if (!fleet->nodes[ret_cover->stages[i].node]->source)
			return 1;
	return 0; /* of sources alone */
}

/* Finds a route for a request: 1, or 0 where there is none yet. */
static int find_route(const struct lsc_router *router, struct lsc_router_request *request)
{
	uint32_t node, last = router->fleet.image->n_units - 1;
	int r;

	request->local = find_local(router, router->sources == LSC_SOURCES_SERVE, &node);
	if (!request->local) {
		r = find_pipeline(router, &request->cover);
		if (r != 0)
			return r;
		if (is_loading(router))
			return 0;
		request->local = find_local(router, true, &node);
	}
	if (!request->local)
		return 0;
	request->cover = (struct lsc_cover){.n = 1, .stages = {{node, 0, last}}};
	return 1;
}

static void leave_route(struct lsc_router *router, struct lsc_router_request *request)
{
	if (!request->routed)
		return;
	for (uint32_t i = 0; i < request->cover.n; i++) {
		uint32_t node = request->cover.stages[i].node;

		router->fleet.nodes[node]->busy--;
		lsc_fleet_drop(&router->fleet, node, request->number);
	}
	request->routed = false;
}

static void finish(struct lsc_router_request *request, const char *reason, const char *why)
{
	struct lsc_router *router = request->router;
	struct lsc_router_request **at = &router->requests;

	leave_route(router, request);
	while (*at != request)
		at = &(*at)->next;
	*at = request->next;
	router->events->on_done(request, reason, why);
	lsc_tokens_release(&request->ids);
	free(request);
}

/* Leaves a route that does not work; it is tried again soon. */
static void lose_route(struct lsc_router_request *request, const char *why)
{
	leave_route(request->router, request);
	snprintf(request->why, sizeof(request->why), "%s", why);
	request->tries++;
	lsc_timer_arm(request->router->retry, RETRY_NS);
}

/* Sends the positions from pos on along the route. */
static void send_run(struct lsc_router_request *request, uint32_t pos)
{
	struct lsc_fleet *fleet = &request->router->fleet;
	LSC_CLEANUP_FREE struct lsc_run_frame *run = calloc(1, sizeof(*run));
	int r = run ? 0 : -ENOMEM;

	if (r == 0) {
		run->image = fleet->image->id;
		run->client = fleet->client;
		run->request = request->number;
		run->pos = pos;
		run->n = (uint32_t)request->ids.n - pos;
		run->sampling = request->sampling;
		run->n_stages = request->cover.n;
		for (uint32_t i = 0; i < request->cover.n; i++) {
			const struct lsc_stage *stage = &request->cover.stages[i];

			snprintf(run->route[i].endpoint, sizeof(run->route[i].endpoint), "%s",
				 fleet->nodes[stage->node]->exec);
			run->route[i].first = stage->first;
			run->route[i].last = stage->last;
		}
		r = lsc_fleet_run(fleet, request->cover.stages[0].node, run,
				  request->ids.ids + pos);
	}
	if (r < 0)
		lose_route(request, "its first stage cannot be reached");
}

static void take_route(struct lsc_router_request *request)
{
	struct lsc_router *router = request->router;

	request->routed = true;
	request->number = ++router->numbers;
	for (uint32_t i = 0; i < request->cover.n; i++)
		router->fleet.nodes[request->cover.stages[i].node]->busy++;
	router->events->on_route(request);
	send_run(request, 0);
}

static void route_all(void *data)
{
	struct lsc_router *router = data;
	struct lsc_router_request *next;

	for (struct lsc_router_request *request = router->requests; request; request = next) {
		next = request->next;
		if (request->routed)
			continue;
		if (request->tries > MAX_TRIES)
			finish(request, NULL, request->why);
		else if (find_route(router, request) > 0)
			take_route(request);
		else if (!is_loading(router) && request->tries++ == MAX_TRIES)
			finish(request, NULL, "no nodes that together hold all of the model");
		else
			lsc_timer_arm(router->retry, RETRY_NS);
	}
}

/* --- what comes back --- */

static struct lsc_router_request *find_request(struct lsc_router *router, uint64_t number)
{
	struct lsc_router_request *request = router->requests;

	while (request && (!request->routed || request->number != number))
		request = request->next;
	return request;
}

static bool is_end(const struct lsc_model_config *config, uint32_t token)
{
	for (uint32_t i = 0; i < config->n_eos; i++)
		if (config->eos[i] == token)
			return true;
	return false;
}

/* On with the next position; to a node that came to hold everything, if there is one. */
static void go_on(struct lsc_router_request *request)
{
	struct lsc_router *router = request->router;
	uint32_t node;

	if (request->local || !find_local(router, false, &node)) {
		send_run(request, (uint32_t)request->ids.n - 1);
		return;
	}
	leave_route(router, request);
	if (find_route(router, request) <= 0)
		return;
	router->events->on_switch(request, request->cover.stages[0].node);
	take_route(request);
}

static void on_token(void *data, const struct lsc_token_frame *token)
{
	struct lsc_router *router = data;
	const struct lsc_model_config *config = &router->fleet.image->config;
	struct lsc_router_request *request = find_request(router, token->request);

	if (!request || token->pos != request->ids.n)
		return;
	if (is_end(config, token->token)) {
		finish(request, "stop", NULL);
		return;
	}
	request->tries = 0;
	if (lsc_tokens_add(&request->ids, token->token) < 0) {
		finish(request, NULL, "out of memory");
		return;
	}
	router->events->on_token(request, token->token);
	if (request->ids.n - request->n_prompt >= request->limit ||
	    request->ids.n >= config->context)
		finish(request, "length", NULL);
	else
		go_on(request);
}

static void on_fail(void *data, const struct lsc_fail_frame *fail)
{
	struct lsc_router_request *request = find_request(data, fail->request);

	if (request)
		lose_route(request, fail->why);
}

static void on_lost(void *data, uint32_t node)
{
	struct lsc_router *router = data;

	for (struct lsc_router_request *request = router->requests; request;
	     request = request->next)
		for (uint32_t i = 0; request->routed && i < request->cover.n; i++)
			if (request->cover.stages[i].node == node)
				lose_route(request, "a stage was lost");
}

static const struct lsc_fleet_events fleet_events = {route_all, on_token, on_fail, on_lost};

/* --- the whole --- */

int lsc_router_init(struct lsc_router *router, const struct lsc_image *image, struct lsc_loop *loop,
		    enum lsc_cover_sources sources, const struct lsc_router_events *events,
		    struct lsc_err *err)
{
	int r;

	*router = (struct lsc_router){.events = events, .sources = sources};
	r = lsc_fleet_init(&router->fleet, image, loop, &fleet_events, router, err);
	return r < 0 ? r : lsc_timer_new(loop, route_all, router, &router->retry, err);
}

void lsc_router_release(struct lsc_router *router)
{
	while (router->requests)
		finish(router->requests, NULL, "the router ended");
	lsc_timer_free(router->retry);
	lsc_fleet_release(&router->fleet);
}

void lsc_router_submit(struct lsc_router *router, struct lsc_router_request *request)
{
	struct lsc_router_request **at = &router->requests;

	request->router = router;
	request->n_prompt = (uint32_t)request->ids.n;
	request->next = NULL;
	while (*at)
		at = &(*at)->next;
	*at = request;
	lsc_timer_arm(router->retry, 0);
}
