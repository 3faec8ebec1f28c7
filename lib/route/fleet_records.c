/* fleet_records - nodes, and what each holds, from arrival records */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "route/fleet.h"
#include "route/fleet_own.h"

#define LINK_BYTES_S 100e6 /* a link carries before anything is known of it */
#define LEAST_S      0.05  /* that an image took to arrive, for it to tell of the link */

static int add_node(struct lsc_fleet *fleet, uint32_t rank, struct lsc_fleet_node **ret_node,
		    struct lsc_err *err)
{
	struct lsc_fleet_node **nodes, *node;

	if (rank >= fleet->n_nodes) {
		nodes = reallocarray(fleet->nodes, rank + 1, sizeof(*nodes));
		if (!nodes)
			return lsc_err_set(err, ENOMEM, "cannot hold %u nodes: %m", rank + 1);
		fleet->nodes = nodes;
		while (fleet->n_nodes <= rank)
			nodes[fleet->n_nodes++] = NULL;
	}
	if (fleet->nodes[rank])
		return lsc_err_set(err, EBADMSG, "arrivals tell twice who node %u is", rank);
	node = calloc(1, sizeof(*node));
	if (!node)
		return lsc_err_set(err, ENOMEM, "cannot hold node %u: %m", rank);
	fleet->nodes[rank] = node;
	*node = (struct lsc_fleet_node){.fleet = fleet, .rank = rank, .rows.start = LINK_BYTES_S};
	node->blocks = calloc(fleet->image->n_blocks, 1);
	node->units = calloc(fleet->image->n_units, 1);
	if (!node->blocks || !node->units)
		return lsc_err_set(err, ENOMEM, "cannot hold node %u: %m", rank);
	*ret_node = node;
	return lsc_fleet_watch(node, err);
}

static void complete_node(struct lsc_fleet_node *node)
{
	node->complete = true;
	memset(node->blocks, 1, node->fleet->image->n_blocks);
	memset(node->units, 1, node->fleet->image->n_units);
}

static bool holds(const struct lsc_fleet_node *node, const struct lsc_need *need)
{
	for (uint32_t i = 0; i < need->n; i++)
		if (!node->blocks[need->first + i])
			return false;
	return true;
}

static void hold_block(struct lsc_fleet_node *node, uint32_t block)
{
	const struct lsc_image *image = node->fleet->image;

	node->blocks[block] = 1;
	for (uint32_t u = 0; u < image->n_units; u++)
		node->units[u] = holds(node, &image->units[u].needs[0]) &&
				 holds(node, &image->units[u].needs[1]);
}

static int take_cast(struct lsc_fleet *fleet, const struct lsc_record *record, struct lsc_err *err)
{
	double t = 0, wall = 0;
	uint64_t nodes;
	const void *id;
	uint32_t len;
	int r = lsc_record_bin(record, "id", LSC_HASH_BYTES, &id, &len, err);

	if (r < 0)
		return r;
	if (len != LSC_HASH_BYTES || memcmp(id, fleet->image->id.bytes, len))
		return lsc_err_set(err, EBADMSG, "the arrivals are of another image");
	if (fleet->named)
		return lsc_err_set(err, EBADMSG, "the arrivals tell of two casts");
	if ((r = lsc_record_real_or(record, "t", 0, &t, err)) < 0 ||
	    (r = lsc_record_real_or(record, "clock", lsc_clock_wall_s(), &wall, err)) < 0 ||
	    (r = lsc_record_uint(record, "nodes", LSC_FLEET_MAX_NODES, &nodes, err)) < 0)
		return r;
	fleet->n_cast = (uint32_t)nodes;
	fleet->began = wall - t;
	fleet->named = true;
	return 0;
}

static int take_node(struct lsc_fleet *fleet, const struct lsc_record *record, uint32_t rank,
		     struct lsc_err *err)
{
	struct lsc_fleet_node *node = NULL;
	char role[16];
	int r = add_node(fleet, rank, &node, err);

	if (r < 0 ||
	    (r = lsc_record_text(record, "name", node->name, sizeof(node->name), err)) < 0 ||
	    (r = lsc_record_text(record, "role", role, sizeof(role), err)) < 0)
		return r;
	if (lsc_record_get(record, "exec") &&
	    (r = lsc_record_text(record, "exec", node->exec, sizeof(node->exec), err)) < 0)
		return r;
	node->source = !strcmp(role, "source");
	if (node->source)
		complete_node(node);
	lsc_fleet_connect(node);
	return 0;
}

int lsc_fleet_record(struct lsc_fleet *fleet, const struct lsc_record *record, struct lsc_err *err)
{
	struct lsc_fleet_node *node;
	uint64_t rank, block;
	int r;

	fleet->heard_ns = lsc_clock_ns();
	if (lsc_record_is(record, "cast"))
		return take_cast(fleet, record, err);
	if (lsc_record_is(record, "end")) {
		lsc_fleet_end(fleet);
		return 0;
	}
	if (!lsc_record_is(record, "node") && !lsc_record_is(record, "block") &&
	    !lsc_record_is(record, "complete") && !lsc_record_is(record, "failed"))
		return 0;
	if (!fleet->named)
		return lsc_err_set(err, EBADMSG, "the arrivals do not begin with a cast");
	r = lsc_record_uint(record, "node", LSC_FLEET_MAX_NODES - 1, &rank, err);
	if (r < 0)
		return r;
	if (lsc_record_is(record, "node"))
		return take_node(fleet, record, (uint32_t)rank, err);
	node = rank < fleet->n_nodes ? fleet->nodes[rank] : NULL;
	if (!node && lsc_record_is(record, "failed"))
		return 0; /* before it could say who it is */
	if (!node)
		return lsc_err_set(err, EBADMSG, "arrivals name node %u before they say who it is",
				   (unsigned)rank);
	if (lsc_record_is(record, "complete")) {
		double t = 0;

		r = lsc_record_real_or(record, "t", 0, &t, err);
		if (r < 0)
			return r;
		complete_node(node);
		if (t >= LEAST_S) /* at least so much comes to it a second */
			node->rows.start = (double)fleet->image->bytes / t;
	} else if (lsc_record_is(record, "failed")) {
		node->failed = true;
	} else {
		r = lsc_record_uint(record, "block", fleet->image->n_blocks - 1, &block, err);
		if (r < 0)
			return r;
		hold_block(node, (uint32_t)block);
	}
	fleet->events->on_change(fleet->data);
	return 0;
}

void lsc_fleet_end(struct lsc_fleet *fleet)
{
	fleet->ended = true;
	fleet->events->on_change(fleet->data);
}
