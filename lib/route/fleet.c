/* fleet - nodes from arrival records, and links to their workers */
#include "route/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define AGAIN_NS  500000000ull
#define SILENT_NS 10000000000ull
#define PINGS     4 /* without an answer are the end */

#define TRIPS_TO_OPEN 2     /* connecting, hello; with a key one more */
#define LINK_BYTES_S  100e6 /* a link carries before anything is known of it */
#define LEAST_S       0.05  /* that an image took to arrive, for it to tell of the link */

struct lsc_fleet_body {
	struct lsc_fleet_body *next, **previous;
	uint32_t ids[];
};

int lsc_fleet_init(struct lsc_fleet *fleet, const struct lsc_image *image, struct lsc_loop *loop,
		   const struct lsc_fleet_events *events, void *data, struct lsc_err *err)
{
	*fleet = (struct lsc_fleet){.image = image,
				    .loop = loop,
				    .events = events,
				    .data = data,
				    .silent_ns = SILENT_NS,
				    .heard_ns = lsc_clock_ns(),
				    .began = lsc_clock_wall_s()};
	if (getrandom(fleet->client.bytes, sizeof(fleet->client.bytes), 0) < 0)
		return lsc_err_set(err, errno, "cannot get random bytes: %m");
	fleet->begins = calloc(image->n_units, 1);
	if (!fleet->begins)
		return lsc_err_set(err, ENOMEM, "cannot hold %u units: %m", image->n_units);
	for (uint32_t u = 0; u < image->n_units; u++)
		fleet->begins[u] = lsc_model_may_begin(&image->config, u);
	return 0;
}

static void free_body(struct lsc_fleet_body *body)
{
	*body->previous = body->next;
	if (body->next)
		body->next->previous = body->previous;
	free(body);
}

static void free_node(struct lsc_fleet_node *node)
{
	if (!node)
		return;
	lsc_link_close(node->link);
	lsc_timer_free(node->again);
	while (node->bodies)
		free_body(node->bodies);
	free(node->blocks);
	free(node->units);
	free(node);
}

void lsc_fleet_release(struct lsc_fleet *fleet)
{
	for (uint32_t i = 0; i < fleet->n_nodes; i++)
		free_node(fleet->nodes[i]);
	free(fleet->nodes);
	free(fleet->begins);
	*fleet = (struct lsc_fleet){0};
}

double lsc_fleet_now(const struct lsc_fleet *fleet)
{
	return lsc_clock_wall_s() - fleet->began;
}

bool lsc_fleet_usable(const struct lsc_fleet_node *node)
{
	return node && node->open;
}

/* --- links --- */

static void on_open(void *data, struct lsc_link *link)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_fleet_node *node = data;

	if (lsc_frame_pack_client(&pack, &node->fleet->client) < 0 ||
	    lsc_link_send(link, &pack, NULL, 0, NULL) < 0)
		return;
	node->open = true;
	node->unanswered = 0;
	node->trip_ns = (lsc_clock_ns() - node->called_ns) / TRIPS_TO_OPEN;
	lsc_timer_arm(node->again, node->fleet->silent_ns / PINGS);
	node->fleet->events->on_change(node->fleet->data);
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct lsc_fleet_node *node = data;
	struct lsc_fleet *fleet = node->fleet;
	struct lsc_token_frame token;
	struct lsc_moved_frame moved;
	struct lsc_fail_frame fail;
	int r;

	(void)link;
	(void)body_len;
	*ret_body = NULL;
	node->unanswered = 0;
	if (lsc_record_is(record, "token")) {
		r = lsc_frame_parse_token(record, &token, err);
		if (r == 0)
			fleet->events->on_token(fleet->data, &token);
		return r;
	}
	if (lsc_record_is(record, "moved")) {
		r = lsc_frame_parse_moved(record, &moved, err);
		if (r == 0)
			fleet->events->on_moved(fleet->data, &moved);
		return r;
	}
	if (!lsc_record_is(record, "fail"))
		return 0;
	r = lsc_frame_parse_fail(record, &fail, err);
	if (r == 0)
		fleet->events->on_fail(fleet->data, node->rank, &fail);
	return r;
}

static void on_sent(void *data, struct lsc_link *link, void *cookie)
{
	(void)data;
	(void)link;
	if (cookie)
		free_body(cookie);
}

static void lose(struct lsc_fleet_node *node)
{
	struct lsc_link *link = node->link;
	bool was_open = node->open;

	node->open = false;
	node->link = NULL;
	lsc_link_close(link);
	while (node->bodies)
		free_body(node->bodies);
	lsc_timer_arm(node->again, AGAIN_NS);
	if (was_open)
		node->fleet->events->on_lost(node->fleet->data, node->rank);
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct lsc_fleet_node *node = data;
	const char *why = err->code ? err->text : "closed its link";

	(void)link;
	if (err->code == EKEYREJECTED && !node->refused)
		lsc_warning("node %u, %s", node->rank, why);
	else if (node->open)
		lsc_notice("node %u, %s: %s", node->rank, node->exec, why);
	else
		lsc_info("node %u, %s: %s", node->rank, node->exec, why);
	node->refused = err->code == EKEYREJECTED;
	lose(node);
}

static const struct lsc_link_events link_events = {
	.on_open = on_open,
	.on_record = on_record,
	.on_sent = on_sent,
	.on_close = on_close,
};

/* Asks whether the worker is there: one that was stopped, or whose machine is, keeps its link. */
static void ping(struct lsc_fleet_node *node)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	const struct lsc_fleet *fleet = node->fleet;

	if (node->unanswered++ >= PINGS) {
		lsc_warning("node %u, %s: silent for %.0f s, going on without it", node->rank,
			    node->exec, (double)fleet->silent_ns / 1e9);
		lose(node);
		return;
	}
	if (lsc_frame_pack_ping(&pack) == 0)
		lsc_link_send(node->link, &pack, NULL, 0, NULL);
	lsc_timer_arm(node->again, fleet->silent_ns / PINGS);
}

static void connect_node(struct lsc_fleet_node *node)
{
	const struct lsc_access *access = node->fleet->access;
	const struct lsc_link_options options = {.kind = "exec",
						 .key = access ? access->key : NULL};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_endpoint at;

	if (!node->exec[0])
		return;
	node->called_ns = lsc_clock_ns();
	if (access && lsc_endpoint_parse(&at, node->exec, &err) == 0 &&
	    lsc_access_check(access, &at, &err) < 0) {
		lsc_warning("node %u: %s", node->rank, err.text);
		return; /* nothing will change that */
	}
	if (lsc_endpoint_parse(&at, node->exec, &err) < 0 ||
	    lsc_link_connect(&node->link, node->fleet->loop, &at, &options, &link_events, node,
			     &err) < 0) {
		node->link = NULL;
		lsc_warning("node %u: %s", node->rank, err.text);
		lsc_timer_arm(node->again, AGAIN_NS);
	}
}

static void on_again(void *data)
{
	struct lsc_fleet_node *node = data;

	if (!node->link)
		connect_node(node);
	else if (node->open)
		ping(node);
}

/* A record with ids behind it, which are copied. */
static int send_ids(struct lsc_fleet_node *node, const struct lsc_pack *pack, const uint32_t *ids,
		    uint32_t n)
{
	uint32_t len = n * (uint32_t)sizeof(*ids);
	struct lsc_fleet_body *body = malloc(sizeof(*body) + len);
	int r;

	if (!body)
		return -ENOMEM;
	memcpy(body->ids, ids, len);
	body->next = node->bodies;
	body->previous = &node->bodies;
	if (body->next)
		body->next->previous = &body->next;
	node->bodies = body;
	r = lsc_link_send(node->link, pack, body->ids, len, body);
	if (r < 0)
		free_body(body);
	return r;
}

int lsc_fleet_run(struct lsc_fleet *fleet, uint32_t rank, const struct lsc_run_frame *run,
		  const uint32_t *ids)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_fleet_node *node = fleet->nodes[rank];
	int r;

	if (!lsc_fleet_usable(node))
		return -ENOTCONN;
	r = lsc_frame_pack_run(&pack, run, run->n * (uint32_t)sizeof(*ids));
	return r < 0 ? r : send_ids(node, &pack, ids, run->n);
}

bool lsc_fleet_moves(const struct lsc_fleet_node *node)
{
	return lsc_fleet_usable(node) && lsc_link_minor(node->link) >= LSC_KV_MINOR;
}

int lsc_fleet_adopt(struct lsc_fleet *fleet, uint32_t rank, const struct lsc_adopt_frame *adopt,
		    const uint32_t *ids)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_fleet_node *node = fleet->nodes[rank];
	int r;

	if (!lsc_fleet_moves(node))
		return -ENOTCONN;
	r = lsc_frame_pack_adopt(&pack, adopt, ids ? adopt->n * (uint32_t)sizeof(*ids) : 0);
	if (r < 0)
		return r;
	return ids ? send_ids(node, &pack, ids, adopt->n)
		   : lsc_link_send(node->link, &pack, NULL, 0, NULL);
}

void lsc_fleet_drop(struct lsc_fleet *fleet, uint32_t rank, uint64_t request)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_fleet_node *node = fleet->nodes[rank];

	if (lsc_fleet_usable(node) && lsc_frame_pack_drop(&pack, &fleet->client, request) == 0)
		lsc_link_send(node->link, &pack, NULL, 0, NULL);
}

/* --- arrival records --- */

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
	return lsc_timer_new(fleet->loop, on_again, node, &node->again, err);
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
	connect_node(node);
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
