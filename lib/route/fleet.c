/* fleet - links to the workers of nodes; what is known of these is in fleet_records.c */
#include "route/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "route/fleet_own.h"

#define AGAIN_NS  500000000ull
#define SILENT_NS 10000000000ull
#define PINGS     4     /* without an answer are the end */
#define MOST      65536 /* runs that count */
#define DOUBTS    4u
#define STEPS     4 /* of a worker's longest, after which one that does not get on stands still */

#define TRIPS_TO_OPEN 2 /* connecting, hello; with a key one more */

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
				    .first_ns = SILENT_NS,
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
	node->leaving = false;
	node->unanswered = 0;
	node->trip_ns = (lsc_clock_ns() - node->called_ns) / TRIPS_TO_OPEN;
	node->state = (struct lsc_pong_frame){0};
	node->moved_ns = lsc_clock_ns();
	node->idle_ns = 0;
	node->others = 0;
	lsc_timer_arm(node->again, node->fleet->silent_ns / PINGS);
	node->fleet->events->on_change(node->fleet->data);
}

/* What a worker is at. */
static int take_pong(struct lsc_fleet_node *node, const struct lsc_record *record,
		     struct lsc_err *err)
{
	struct lsc_pong_frame pong;
	uint64_t now = lsc_clock_ns();
	int r = lsc_frame_parse_pong(record, &pong, err);

	if (r < 0 || !pong.told)
		return r;
	if (!pong.runs || pong.done != node->state.done)
		node->moved_ns = now;
	node->idle_ns = pong.runs ? 0 : node->idle_ns ? node->idle_ns : now;
	node->state = pong;
	node->others = pong.runs > node->busy ? (uint32_t)LSC_MIN(pong.runs - node->busy, MOST) : 0;
	return 0;
}

static int take_leave(struct lsc_fleet_node *node, const struct lsc_record *record,
		      struct lsc_err *err)
{
	double within_s;
	int r = lsc_frame_parse_leave(record, &within_s, err);

	if (r < 0 || node->leaving)
		return r;
	lsc_notice("node %u, %s: leaves within %.0f s", node->rank, node->exec, within_s);
	node->leaving = true;
	node->fleet->events->on_change(node->fleet->data);
	return 0;
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
	if (lsc_record_is(record, "pong"))
		return take_pong(node, record, err);
	if (lsc_record_is(record, "leave"))
		return take_leave(node, record, err);
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

/* For how long a worker that has runs may seem to do nothing; longer each time it did not help to
 * go elsewhere, so that what is just slow gets through in the end. */
static uint64_t patience(const struct lsc_fleet_node *node)
{
	const struct lsc_fleet *fleet = node->fleet;
	uint64_t base = fleet->silent_ns << LSC_MIN(node->doubt, DOUBTS);

	if (node->state.works && node->state.step_s <= 0)
		return LSC_MAX(base, fleet->first_ns);
	return base + (uint64_t)(STEPS * node->state.step_s * 1e9);
}

/* Whether a worker that answers makes no progress with what it has: its device hangs, say, or what
 * it should run is not there any more, and it waits for that to arrive. */
static bool stands_still(const struct lsc_fleet_node *node)
{
	return node->state.told && node->state.runs && node->busy &&
	       lsc_clock_ns() - node->moved_ns > patience(node);
}

/* Asks whether the worker is there: one that was stopped, or whose machine is, keeps its link. */
static void ping(struct lsc_fleet_node *node)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	const struct lsc_fleet *fleet = node->fleet;

	if (node->unanswered++ >= PINGS) {
		lsc_warning("node %u, %s: silent for %g s, going on without it", node->rank,
			    node->exec, (double)fleet->silent_ns / 1e9);
		lose(node);
		return;
	}
	if (stands_still(node)) {
		lsc_warning("node %u, %s: at a standstill for %.1f s, going on without it",
			    node->rank, node->exec,
			    (double)(lsc_clock_ns() - node->moved_ns) / 1e9);
		lose(node);
		return;
	}
	if (lsc_frame_pack_ping(&pack) == 0)
		lsc_link_send(node->link, &pack, NULL, 0, NULL);
	lsc_timer_arm(node->again, fleet->silent_ns / PINGS);
	fleet->events->on_look(fleet->data, node->rank);
}

void lsc_fleet_connect(struct lsc_fleet_node *node)
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
		lsc_fleet_connect(node);
	else if (node->open)
		ping(node);
}

int lsc_fleet_watch(struct lsc_fleet_node *node, struct lsc_err *err)
{
	return lsc_timer_new(node->fleet->loop, on_again, node, &node->again, err);
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

bool lsc_fleet_rest(struct lsc_fleet *fleet, uint32_t rank, uint64_t request)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_fleet_node *node = fleet->nodes[rank];

	return lsc_fleet_usable(node) && lsc_link_minor(node->link) >= LSC_REST_MINOR &&
	       lsc_frame_pack_rest(&pack, &fleet->client, request) == 0 &&
	       lsc_link_send(node->link, &pack, NULL, 0, NULL) == 0;
}
