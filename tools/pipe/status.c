/* status - what a router tells of itself, its nodes and its model */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/macros.h"
#include "model/chat.h"
#include "pipe.h"
#include "route/way.h"

#define MAX_NODES 1024 /* that are told: a record has a limit */

uint32_t pipe_count_waiting(const struct pipe *pipe)
{
	uint32_t n = 0;

	for (const struct lsc_router_request *request = pipe->router.requests; request;
	     request = request->next)
		n += !request->routed;
	return n;
}

void pipe_pack_model(struct pipe *pipe)
{
	const struct lsc_image *image = &pipe->image;
	struct lsc_pack *pack = &pipe->pack;
	char name[NAME_MAX + 1];

	lsc_pack_begin(pack, "model");
	lsc_pack_str(pack, "name", lsc_path_last(pipe->opt->image, name));
	lsc_pack_bin(pack, "image", &image->id, sizeof(image->id));
	lsc_pack_uint(pack, "context", image->config.context);
	lsc_pack_uint(pack, "vocab", image->config.vocab);
	lsc_pack_uint(pack, "units", image->n_units);
	lsc_pack_uint(pack, "blocks", image->n_blocks);
	lsc_pack_uint(pack, "bytes", image->bytes);
	lsc_pack_str(pack, "chat", lsc_chat_family_name(image->chat.family));
	lsc_pack_end(pack);
}

static uint32_t count_blocks(const struct lsc_fleet_node *node, uint32_t n_blocks)
{
	uint32_t held = 0;

	for (uint32_t b = 0; !node->complete && b < n_blocks; b++)
		held += node->blocks[b];
	return node->complete ? n_blocks : held;
}

/* Of what routes are made of: another one where a node holds more, or comes or goes. */
static uint64_t stamp_of(const struct lsc_fleet *fleet)
{
	uint64_t stamp = fleet->ended;

	for (uint32_t i = 0; i < fleet->n_nodes; i++) {
		const struct lsc_fleet_node *node = fleet->nodes[i];

		stamp *= 0x9e3779b97f4a7c15;
		if (node)
			stamp += 4 * count_blocks(node, fleet->image->n_blocks) +
				 2 * node->complete + lsc_fleet_usable(node) + 1;
	}
	return stamp;
}

/* The way that a request would take: whether there is one.  To look for it may take milliseconds
 * while nodes load, so that is done where something has changed. */
static bool probe(struct pipe *pipe)
{
	uint64_t stamp = stamp_of(&pipe->router.fleet);
	struct lsc_cover *cover = &pipe->probe->cover;

	if (stamp == pipe->probe_stamp && cover->n)
		return true;
	pipe->probe_stamp = stamp;
	if (lsc_router_find_route(&pipe->router, pipe->probe) <= 0)
		cover->n = 0;
	return cover->n > 0;
}

static void pack_node(struct lsc_pack *pack, const struct lsc_fleet_node *node, uint32_t n_blocks)
{
	lsc_pack_map(pack, NULL, 8);
	lsc_pack_uint(pack, "node", node->rank);
	lsc_pack_str(pack, "name", node->name);
	lsc_pack_bool(pack, "source", node->source);
	lsc_pack_uint(pack, "blocks", count_blocks(node, n_blocks));
	lsc_pack_bool(pack, "complete", node->complete);
	lsc_pack_bool(pack, "failed", node->failed);
	lsc_pack_bool(pack, "up", lsc_fleet_usable(node));
	lsc_pack_uint(pack, "busy", node->busy);
}

static void pack_nodes(struct lsc_pack *pack, const struct lsc_fleet *fleet)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < fleet->n_nodes && n < MAX_NODES; i++)
		n += fleet->nodes[i] != NULL;
	lsc_pack_array(pack, "nodes", n);
	for (uint32_t i = 0; n; i++) {
		if (!fleet->nodes[i])
			continue;
		pack_node(pack, fleet->nodes[i], fleet->image->n_blocks);
		n--;
	}
}

static void pack_stages(struct lsc_pack *pack, const struct lsc_cover *cover)
{
	lsc_pack_array(pack, "stages", cover->n);
	for (uint32_t i = 0; i < cover->n; i++) {
		lsc_pack_map(pack, NULL, 3);
		lsc_pack_uint(pack, "node", cover->stages[i].node);
		lsc_pack_uint(pack, "first", cover->stages[i].first);
		lsc_pack_uint(pack, "last", cover->stages[i].last);
	}
}

static void pack_totals(struct lsc_pack *pack, const struct pipe_totals *totals)
{
	lsc_pack_uint(pack, "requests", totals->requests);
	lsc_pack_uint(pack, "failed", totals->failed);
	lsc_pack_uint(pack, "cancelled", totals->cancelled);
	lsc_pack_uint(pack, "prompt_tokens", totals->prompt_tokens);
	lsc_pack_uint(pack, "cached_tokens", totals->cached_tokens);
	lsc_pack_uint(pack, "tokens", totals->tokens);
	lsc_pack_uint(pack, "routes", totals->routes);
	lsc_pack_uint(pack, "switches", totals->switches);
}

void pipe_pack_status(struct pipe *pipe)
{
	const struct lsc_router *router = &pipe->router;
	struct lsc_pack *pack = &pipe->pack;
	uint64_t waiting = 0, running = 0, positions = 0;
	bool ready = probe(pipe);

	for (const struct lsc_router_request *request = router->requests; request;
	     request = request->next) {
		waiting += !request->routed;
		running += request->routed;
		positions += request->routed ? request->ids.n : 0;
	}
	lsc_pack_begin(pack, "status");
	lsc_pack_real(pack, "t", lsc_fleet_now(&router->fleet));
	lsc_pack_bool(pack, "ready", ready);
	lsc_pack_bool(pack, "ended", router->fleet.ended);
	lsc_pack_uint(pack, "queue", pipe->opt->queue);
	lsc_pack_uint(pack, "waiting", waiting);
	lsc_pack_uint(pack, "running", running);
	lsc_pack_uint(pack, "positions", positions);
	pack_totals(pack, &pipe->totals);
	pack_stages(pack, &pipe->probe->cover);
	pack_nodes(pack, &router->fleet);
	lsc_pack_end(pack);
}
