/* schedule - orders, groups, and what a node does in a round
 *
 * Every order is a formula for one group: place 0 is its source, blocks are counted from the
 * group's first piece.  Round-optimal and kway lean on lib/plan/circulant.c; the proof that all
 * of this is right is in lib/plan/proof.c.
 */
#include "plan/schedule.h"

#include <assert.h>
#include <string.h>

#include "base/macros.h"
#include "plan/circulant.h"

static_assert(LSC_SCHEDULE_LOG_NODES == LSC_CIRCULANT_LOG, "a part has room for its schedule");

static const char *const order_names[LSC_ORDER_COUNT] = {
	[LSC_ORDER_ROUND_OPTIMAL] = "round-optimal",
	[LSC_ORDER_KWAY] = "kway",
	[LSC_ORDER_CHAIN] = "chain",
	[LSC_ORDER_TREE] = "tree",
	[LSC_ORDER_SEQUENTIAL] = "sequential",
};

const char *lsc_order_name(enum lsc_order order)
{
	return order_names[order];
}

int lsc_order_parse(const char *name, enum lsc_order *ret_order, struct lsc_err *err)
{
	for (int i = 0; i < LSC_ORDER_COUNT; i++) {
		if (!strcmp(name, order_names[i])) {
			*ret_order = i;
			return 0;
		}
	}
	return lsc_err_set(err, EINVAL,
			   "no order '%s'; there are round-optimal, kway, chain, tree, sequential",
			   name);
}

/* A chain takes N - 2 rounds beyond one copy and keeps every link busy with one flow.  The flows of
 * a round-optimal schedule, several over each link, share it less evenly than its rounds suppose:
 * that costs up to 8 percent (tests/bench/results/cast.md). */
bool lsc_chain_is_fastest(uint32_t group_size, uint32_t pieces)
{
	return group_size <= 2 + pieces / 16;
}

/* --- the tree: place p has the children 2p + 1 and 2p + 2 --- */

/* With two children to serve, a piece takes the root two rounds, and so everyone below. */
static uint32_t tree_stride(uint32_t size)
{
	return size > 2 ? 2 : 1;
}

/* The round in which a place other than the root gets its first block: each step down to a left
 * child takes one round, to a right child two.  The binary digits of place + 1 after the first
 * one are the way down, 0 for left. */
static uint32_t tree_first_round(uint32_t place)
{
	uint32_t way = place + 1;
	uint32_t depth = 31 - (uint32_t)__builtin_clz(way);

	return depth + (uint32_t)__builtin_popcount(way) - 2;
}

/* The latest first round in a tree of this size.  On the way down to the last place, the worst
 * there is to the left of it goes right all the way after one turn to the left. */
static uint32_t tree_last_first_round(uint32_t size)
{
	uint32_t worst = tree_first_round(size - 1);

	for (uint32_t bit = 1; bit <= size; bit <<= 1) {
		uint32_t way = (size & ~(2 * bit - 1)) | (bit - 1);

		if (size & bit && way > 1)
			worst = LSC_MAX(worst, tree_first_round(way - 1));
	}
	return worst;
}

/* --- schedules --- */

static uint64_t count_rounds(const struct lsc_schedule *schedule)
{
	uint64_t size = lsc_schedule_group_size(schedule, 0); /* no group is larger */
	uint64_t pieces = schedule->pieces;
	uint32_t skip[LSC_CIRCULANT_LOG + 1];

	if (size < 2)
		return 0;
	switch (schedule->order) {
	case LSC_ORDER_CHAIN:
		return pieces + size - 2;
	case LSC_ORDER_TREE:
		return tree_stride(size) * (pieces - 1) + tree_last_first_round(size) + 1;
	case LSC_ORDER_SEQUENTIAL:
		return pieces * (size - 1);
	default:
		return pieces - 1 + lsc_circulant_skips(size, skip);
	}
}

int lsc_schedule_init(struct lsc_schedule *schedule, enum lsc_order order, uint32_t nodes,
		      uint32_t sources, uint32_t pieces, struct lsc_err *err)
{
	struct lsc_schedule made = {order, nodes, sources, pieces, 0};
	uint64_t rounds;

	if (nodes < 1 || nodes > LSC_SCHEDULE_MAX_NODES)
		return lsc_err_set(err, EINVAL, "%u nodes: a schedule has from 1 to %u", nodes,
				   LSC_SCHEDULE_MAX_NODES);
	if (sources < 1 || sources > nodes)
		return lsc_err_set(err, EINVAL, "%u sources among %u nodes", sources, nodes);
	if (pieces < 1 || pieces > LSC_SCHEDULE_MAX_PIECES)
		return lsc_err_set(err, EINVAL, "%u pieces: a schedule has from 1 to %u", pieces,
				   LSC_SCHEDULE_MAX_PIECES);
	rounds = count_rounds(&made);
	if (rounds >= UINT32_MAX)
		return lsc_err_set(err, EINVAL,
				   "%u pieces to %u nodes take %llu rounds in %s order", pieces,
				   nodes, (unsigned long long)rounds, lsc_order_name(order));
	made.rounds = (uint32_t)rounds;
	*schedule = made;
	return 0;
}

uint32_t lsc_schedule_group_size(const struct lsc_schedule *schedule, uint32_t group)
{
	return (schedule->nodes - group - 1) / schedule->sources + 1;
}

uint32_t lsc_schedule_rank(const struct lsc_schedule *schedule, uint32_t group, uint32_t place)
{
	return place * schedule->sources + group;
}

/* --- parts --- */

static bool is_circulant(enum lsc_order order)
{
	return order == LSC_ORDER_ROUND_OPTIMAL || order == LSC_ORDER_KWAY;
}

void lsc_part_init(struct lsc_part *part, const struct lsc_schedule *schedule, uint32_t rank)
{
	/* Groups without a receiver bring nothing: the others share the pieces among them. */
	uint64_t groups = LSC_MIN(schedule->sources, schedule->nodes - schedule->sources);

	*part = (struct lsc_part){.schedule = schedule, .rank = rank};
	part->group = rank % schedule->sources;
	part->place = rank / schedule->sources;
	part->group_size = lsc_schedule_group_size(schedule, part->group);
	if (schedule->order == LSC_ORDER_KWAY && part->group < groups)
		part->first = (uint32_t)(part->group * (uint64_t)schedule->pieces / groups);
	part->log = lsc_circulant_skips(part->group_size, part->skip);
	if (is_circulant(schedule->order))
		lsc_circulant_node(part->place, part->log, part->skip, part->recv, part->send);
}

static uint32_t circulant_peer(const struct lsc_part *part, uint32_t i)
{
	/* One skip of them leads to place 0, except from it. */
	for (uint32_t k = 0; k < part->log; k++) {
		uint32_t to = (part->place + part->skip[k]) % part->group_size;

		if (to != 0 && i-- == 0)
			return to;
	}
	return 0;
}

uint32_t lsc_part_peer(const struct lsc_part *part, uint32_t i)
{
	uint32_t to;

	switch (part->schedule->order) {
	case LSC_ORDER_CHAIN:
		to = i == 0 ? part->place + 1 : 0;
		break;
	case LSC_ORDER_TREE:
		to = i < 2 ? 2 * part->place + 1 + i : 0;
		break;
	case LSC_ORDER_SEQUENTIAL:
		to = part->place ? 0 : i + 1;
		break;
	default:
		to = circulant_peer(part, i);
		break;
	}
	if (to == 0 || to >= part->group_size)
		return LSC_NOBODY;
	return lsc_schedule_rank(part->schedule, part->group, to);
}

/* A step in terms of the group: places, and blocks in the group's own order. */
struct move {
	bool sends, receives;
	uint32_t to, send_block;
	uint32_t from, recv_block;
};

/* The first rounds are left out so that the last one ends a phase of q rounds: then the last block
 * is the first of its phase, and stands in for those that would come after it. */
static struct move circulant_move(const struct lsc_part *part, uint32_t round)
{
	uint32_t blocks = part->schedule->pieces, q = part->log;
	uint32_t idle = (q - (blocks - 1) % q) % q;
	uint32_t k = (round + idle) % q, size = part->group_size;
	int64_t before = (int64_t)round - k; /* = rounds of earlier phases - idle */
	int64_t send = part->send[k] + before, recv = part->recv[k] + before;
	struct move move = {
		.to = (part->place + part->skip[k]) % size,
		.from = (part->place + size - part->skip[k]) % size,
	};

	if (round >= blocks - 1 + q)
		return move;
	move.sends = send >= 0 && move.to != 0;
	move.send_block = (uint32_t)LSC_MIN(send, (int64_t)blocks - 1);
	move.receives = recv >= 0 && part->place != 0;
	move.recv_block = (uint32_t)LSC_MIN(recv, (int64_t)blocks - 1);
	return move;
}

static struct move chain_move(const struct lsc_part *part, uint32_t round)
{
	uint32_t place = part->place, blocks = part->schedule->pieces;
	struct move move = {.to = place + 1, .from = place - 1};

	move.sends = place + 1 < part->group_size && round >= place && round - place < blocks;
	move.send_block = round - place;
	move.receives = place && round + 1 >= place && round + 1 - place < blocks;
	move.recv_block = round + 1 - place;
	return move;
}

/* Whether a place of the tree gets a block in a round, and which. */
static bool tree_receives(const struct lsc_part *part, uint32_t place, uint32_t round,
			  uint32_t *ret_block)
{
	uint32_t stride = tree_stride(part->group_size), first;

	if (!place || place >= part->group_size)
		return false;
	first = tree_first_round(place);
	if (round < first || (round - first) % stride)
		return false;
	*ret_block = (round - first) / stride;
	return *ret_block < part->schedule->pieces;
}

static struct move tree_move(const struct lsc_part *part, uint32_t round)
{
	uint32_t place = part->place;
	struct move move = {.from = (place - 1) / 2};

	for (move.to = 2 * place + 1; move.to <= 2 * place + 2 && !move.sends; move.to++)
		move.sends = tree_receives(part, move.to, round, &move.send_block);
	move.to--;
	move.receives = tree_receives(part, place, round, &move.recv_block);
	return move;
}

static struct move sequential_move(const struct lsc_part *part, uint32_t round)
{
	uint32_t blocks = part->schedule->pieces, to = round / blocks + 1;
	struct move move = {.to = to, .send_block = round % blocks, .recv_block = round % blocks};

	move.sends = !part->place && to < part->group_size;
	move.receives = part->place == to;
	return move;
}

struct lsc_step lsc_part_step(const struct lsc_part *part, uint32_t round)
{
	const struct lsc_schedule *schedule = part->schedule;
	struct lsc_step step = {LSC_NOBODY, 0, LSC_NOBODY, 0};
	struct move move;

	if (part->group_size < 2)
		return step;
	switch (schedule->order) {
	case LSC_ORDER_CHAIN:
		move = chain_move(part, round);
		break;
	case LSC_ORDER_TREE:
		move = tree_move(part, round);
		break;
	case LSC_ORDER_SEQUENTIAL:
		move = sequential_move(part, round);
		break;
	default:
		move = circulant_move(part, round);
		break;
	}
	if (move.sends) {
		step.send_to = lsc_schedule_rank(schedule, part->group, move.to);
		step.send_piece = (move.send_block + part->first) % schedule->pieces;
	}
	if (move.receives) {
		step.recv_from = lsc_schedule_rank(schedule, part->group, move.from);
		step.recv_piece = (move.recv_block + part->first) % schedule->pieces;
	}
	return step;
}
