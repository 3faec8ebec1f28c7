/* multicast_node - what a node of a simulated cast does with its plan, and what it says
 *
 * The next piece is chosen as cast/outlet.c has it chosen.  A node that sends in turn goes through
 * the rounds of its schedule instead, and waits for what a round wants to be there.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/macros.h"
#include "sim/multicast_own.h"

void lsc_mc_node_release(struct lsc_mc_node *node)
{
	for (uint32_t i = 0; i < node->n_outlets; i++) {
		free(node->outlets[i].to.has);
		free(node->outlets[i].to.part);
	}
	free(node->outlets);
	free(node->feeders);
	free(node->here);
	free(node->block_left);
}

void lsc_mc_touch(struct lsc_mc *mc, uint32_t id)
{
	if (!mc->nodes[id].dirty)
		mc->dirty[mc->n_dirty++] = id;
	mc->nodes[id].dirty = true;
}

/* ---- what goes next ---- */

static void start(struct lsc_mc *mc, struct lsc_mc_outlet *outlet, uint32_t piece)
{
	outlet->piece = piece;
	lsc_bits_add(outlet->to.has, piece);
	lsc_wires_start(mc->wires, outlet->path, (double)lsc_cargo_piece_bytes(mc->cargo, piece),
			mc->now);
	mc->result.pieces++;
}

static struct lsc_mc_outlet *outlet_to(struct lsc_mc_node *node, uint32_t peer)
{
	for (uint32_t i = 0; i < node->n_outlets; i++)
		if (node->outlets[i].node == peer)
			return &node->outlets[i];
	return NULL;
}

/* ---- in turn ---- */

/* Its next round with something to send, or to receive. */
static struct lsc_step next_send(struct lsc_mc_node *node)
{
	struct lsc_step step = {.send_to = LSC_NOBODY};

	for (; node->send_round < node->schedule.rounds; node->send_round++) {
		step = lsc_part_step(&node->part, node->send_round);
		if (step.send_to != LSC_NOBODY)
			break;
	}
	return step;
}

static struct lsc_step next_recv(struct lsc_mc_node *node)
{
	struct lsc_step step = {.recv_from = LSC_NOBODY};

	for (; node->recv_round < node->schedule.rounds; node->recv_round++) {
		step = lsc_part_step(&node->part, node->recv_round);
		if (step.recv_from != LSC_NOBODY)
			break;
	}
	return step;
}

/* A transfer begins once both are at it: RDMC's receivers say that they are ready for a block.
 * Ranks are nodes, as sources come first. */
static void pump_in_turn(struct lsc_mc *mc, uint32_t id)
{
	struct lsc_mc_node *node = &mc->nodes[id], *peer;
	struct lsc_step step = next_send(node);
	struct lsc_mc_outlet *outlet;

	if (node->sends || node->send_round == node->schedule.rounds)
		return;
	outlet = outlet_to(node, step.send_to);
	peer = &mc->nodes[step.send_to];
	if (!outlet || !outlet->to.open || !lsc_bits_has(node->here, step.send_piece) ||
	    !peer->in_turn || peer->receives || next_recv(peer).recv_from != id)
		return;
	node->sends = peer->receives = true;
	node->send_round++;
	start(mc, outlet, step.send_piece);
}

/* Whoever sends to it next may be waiting for it. */
static void wake_sender(struct lsc_mc *mc, struct lsc_mc_node *node)
{
	struct lsc_step step = next_recv(node);

	if (node->recv_round < node->schedule.rounds)
		lsc_mc_touch(mc, step.recv_from);
}

void lsc_mc_pump(struct lsc_mc *mc, uint32_t id)
{
	struct lsc_mc_node *node = &mc->nodes[id];

	node->dirty = false;
	if (node->in_turn) {
		pump_in_turn(mc, id);
		return;
	}
	for (uint32_t i = 0; i < node->n_outlets; i++) {
		struct lsc_mc_outlet *outlet = &node->outlets[i];
		uint32_t piece;

		if (!outlet->to.open || outlet->resting || outlet->piece != LSC_NOBODY)
			continue;
		piece = lsc_next_piece(&node->what, &outlet->to);
		if (piece == LSC_NOBODY && outlet->to.duty == LSC_DUTY_INJECT)
			piece = lsc_next_last(&node->what, &outlet->to);
		if (piece != LSC_NOBODY)
			start(mc, outlet, piece);
	}
}

void lsc_mc_sent(struct lsc_mc *mc, uint32_t path)
{
	uint32_t from = mc->owners[path].node;
	struct lsc_mc_node *node = &mc->nodes[from];
	struct lsc_mc_outlet *outlet = &node->outlets[mc->owners[path].outlet];
	const struct lsc_post post = {
		.kind = LSC_POST_PIECE, .from = from, .to = outlet->node, .piece = outlet->piece};

	outlet->sent += (double)lsc_cargo_piece_bytes(mc->cargo, outlet->piece);
	outlet->piece = LSC_NOBODY;
	node->sends = false;
	lsc_mc_post(mc, &post);
	lsc_mc_touch(mc, from);
}

/* ---- what comes ---- */

static void finish(struct lsc_mc *mc, uint32_t id)
{
	mc->nodes[id].done = mc->now;
	if (mc->nodes[id].source)
		return;
	mc->n_done++;
	mc->result.done[id - mc->o.sources] = mc->now;
	mc->result.all = LSC_MAX(mc->result.all, mc->now);
}

static void take_piece(struct lsc_mc *mc, uint32_t from, uint32_t id, uint32_t piece)
{
	struct lsc_mc_node *node = &mc->nodes[id];
	uint32_t block = mc->cargo->block_of[piece];

	if (lsc_bits_has(node->here, piece))
		return;
	lsc_bits_add(node->here, piece);
	if (node->in_turn) {
		node->receives = false;
		node->recv_round++;
		wake_sender(mc, node);
	}
	node->bytes += (double)lsc_cargo_piece_bytes(mc->cargo, piece);
	if (--node->block_left[block] == 0 && !mc->blocks_apart[block]) {
		mc->blocks_apart[block] = 1;
		if (++mc->n_apart == mc->cargo->n_blocks)
			mc->result.covered = mc->now;
	}
	for (uint32_t i = 0; mc->tells && i < node->n_feeders; i++) {
		const struct lsc_post got = {
			.kind = LSC_POST_GOT, .from = id, .to = node->feeders[i], .piece = piece};

		if (node->feeders[i] != from)
			lsc_mc_post(mc, &got);
	}
	if (++node->n_here == mc->cargo->n_pieces)
		finish(mc, id);
	lsc_mc_touch(mc, id);
}

static void take_got(struct lsc_mc *mc, const struct lsc_post *post)
{
	struct lsc_mc_outlet *outlet = outlet_to(&mc->nodes[post->to], post->from);

	if (outlet)
		lsc_bits_add(outlet->to.has, post->piece);
}

static int add_feeder(struct lsc_mc_node *node, uint32_t feeder)
{
	if (node->n_feeders == node->room_feeders) {
		uint32_t room = LSC_MAX(2 * node->room_feeders, 4u);
		uint32_t *grown = reallocarray(node->feeders, room, sizeof(grown[0]));

		if (!grown)
			return -ENOMEM;
		node->feeders = grown;
		node->room_feeders = room;
	}
	node->feeders[node->n_feeders++] = feeder;
	return 0;
}

/* The last of the messages that open a link brings what the peer has. */
static int take_open(struct lsc_mc *mc, const struct lsc_post *post)
{
	struct lsc_post next = *post;
	struct lsc_mc_outlet *outlet = outlet_to(&mc->nodes[post->to], post->from);
	const struct lsc_mc_node *peer = &mc->nodes[post->from];

	if (--next.piece > 0) {
		lsc_mc_post(mc, &next);
		return 0;
	}
	for (uint32_t w = 0; w < lsc_bits_words(mc->cargo->n_pieces); w++)
		outlet->to.has[w] |= peer->here[w];
	outlet->to.open = true;
	lsc_mc_touch(mc, post->to);
	return add_feeder(&mc->nodes[post->from], post->to);
}

/* ---- plans ---- */

static int own_path(struct lsc_mc *mc, uint32_t path, uint32_t node, uint32_t outlet)
{
	if (path >= mc->room_paths) {
		uint32_t room = LSC_MAX(2 * mc->room_paths, 64u);
		struct lsc_mc_owner *grown = reallocarray(mc->owners, room, sizeof(grown[0]));

		if (!grown)
			return -ENOMEM;
		mc->owners = grown;
		mc->room_paths = room;
	}
	mc->owners[path] = (struct lsc_mc_owner){node, outlet};
	return 0;
}

/* Outlets lie elsewhere now, or are more. */
static void relink(struct lsc_mc_node *node)
{
	for (uint32_t i = 0; i < node->n_outlets; i++)
		node->outlets[i].to.next =
			i + 1 < node->n_outlets ? &node->outlets[i + 1].to : NULL;
	node->what.peers = &node->outlets[0].to;
}

static struct lsc_mc_outlet *add_outlet(struct lsc_mc *mc, uint32_t id, uint32_t peer)
{
	struct lsc_mc_node *node = &mc->nodes[id];
	struct lsc_mc_outlet *outlet;
	const struct lsc_post open = {
		.kind = LSC_POST_OPEN, .from = peer, .to = id, .piece = LSC_POST_HOPS_TO_OPEN};

	if (node->n_outlets == node->room) {
		uint32_t room = LSC_MAX(2 * node->room, 4u);
		struct lsc_mc_outlet *grown = reallocarray(node->outlets, room, sizeof(grown[0]));

		if (!grown)
			return NULL;
		node->outlets = grown;
		node->room = room;
	}
	outlet = &node->outlets[node->n_outlets];
	*outlet = (struct lsc_mc_outlet){
		.node = peer, .piece = LSC_NOBODY, .to.has = lsc_bits_new(mc->cargo->n_pieces)};
	if (!outlet->to.has)
		return NULL;
	node->n_outlets++;
	relink(node);
	if (lsc_wires_add(mc->wires, id, peer, &outlet->path, NULL) < 0 ||
	    own_path(mc, outlet->path, id, node->n_outlets - 1) < 0)
		return NULL;
	lsc_mc_post(mc, &open);
	return outlet;
}

static int take_schedule(struct lsc_mc *mc, struct lsc_mc_node *node, const struct lsc_plan *plan)
{
	int r = lsc_schedule_init(&node->schedule, plan->order, plan->ranks, plan->sources,
				  mc->cargo->n_pieces, NULL);

	if (r < 0)
		return r;
	lsc_part_init(&node->part, &node->schedule, plan->rank);
	if (mc->system->way == LSC_WAY_IN_TURN) {
		node->in_turn = true;
		wake_sender(mc, node);
		return 0;
	}
	for (uint32_t i = 0; i < node->n_outlets; i++) {
		free(node->outlets[i].to.part);
		node->outlets[i].to.part = lsc_bits_new(mc->cargo->n_pieces);
		if (!node->outlets[i].to.part)
			return -ENOMEM;
	}
	for (uint32_t round = 0; round < node->schedule.rounds; round++) {
		struct lsc_step step = lsc_part_step(&node->part, round);
		struct lsc_mc_outlet *outlet =
			step.send_to != LSC_NOBODY ? outlet_to(node, step.send_to) : NULL;

		if (outlet)
			lsc_bits_add(outlet->to.part, step.send_piece);
	}
	return 0;
}

static int take_plan(struct lsc_mc *mc, uint32_t id, const struct lsc_plan *plan)
{
	struct lsc_mc_node *node = &mc->nodes[id];

	for (uint32_t i = 0; i < node->n_outlets; i++)
		node->outlets[i].resting = true;
	for (uint32_t i = 0; i < plan->n_to; i++) {
		struct lsc_mc_outlet *outlet = outlet_to(node, plan->to[i].node);

		if (!outlet)
			outlet = add_outlet(mc, id, plan->to[i].node);
		if (!outlet)
			return -ENOMEM;
		outlet->to.duty = plan->to[i].duty;
		outlet->resting = false;
	}
	node->what.here = node->here;
	node->what.n_pieces = mc->cargo->n_pieces;
	node->what.first = plan->first < mc->cargo->n_pieces ? plan->first : 0;
	lsc_mc_touch(mc, id);
	return plan->scheduled ? take_schedule(mc, node, plan) : 0;
}

void lsc_mc_take(struct lsc_mc *mc, const struct lsc_post *post)
{
	int r = 0;

	if (post->kind == LSC_POST_PIECE)
		take_piece(mc, post->from, post->to, post->piece);
	else if (post->kind == LSC_POST_GOT)
		take_got(mc, post);
	else if (post->kind == LSC_POST_OPEN)
		r = take_open(mc, post);
	else if (post->kind == LSC_POST_PLAN)
		r = take_plan(mc, post->to, post->data);
	if (r < 0)
		mc->failed = r;
}

/* ---- what it says ---- */

void lsc_mc_progress(const struct lsc_mc *mc, uint32_t id, struct lsc_node_progress *ret)
{
	struct lsc_mc_node *node = &mc->nodes[id];
	double bytes = node->bytes;

	*ret = (struct lsc_node_progress){.pieces = node->n_here};
	for (uint32_t i = 0; i < node->n_feeders; i++) {
		const struct lsc_mc_outlet *outlet = outlet_to(&mc->nodes[node->feeders[i]], id);

		if (outlet->piece != LSC_NOBODY && !lsc_bits_has(node->here, outlet->piece))
			bytes += lsc_wires_done(mc->wires, outlet->path, mc->now);
	}
	ret->bytes = (uint64_t)LSC_MIN(bytes, (double)mc->cargo->bytes);
	for (uint32_t i = 0; i < node->n_outlets && ret->n_sent < LSC_CAST_MAX_SENT; i++) {
		const struct lsc_mc_outlet *outlet = &node->outlets[i];
		uint64_t ready;

		if (outlet->resting)
			continue;
		ready = lsc_next_count(&node->what, &outlet->to);
		ret->sent[ret->n_sent++] = (struct lsc_sent){outlet->node, (uint64_t)outlet->sent,
							     ready * mc->cargo->piece_bytes};
	}
}
