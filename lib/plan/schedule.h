/* Multicast schedules: who sends which piece to whom, in which round.
 *
 * Pure arithmetic on (rank, round): no sockets, no clock, no memory that grows with pieces.  Ranks
 * 0 .. sources-1 hold everything when the cast starts, the others nothing.  In a round a node
 * sends at most one piece and receives at most one, and sends only what it held before the round.
 *
 *   round-optimal  b + ceil(log2 N) - 1 rounds for b pieces and N nodes of one source, for every N
 *                  (Traeff's circulant-graph schedules, 2022; on 2^l nodes the binomial pipeline
 *                  of Ganesan & Seshadri, 2005)
 *   kway           k sources, k groups; group g runs round-optimal over the pieces rotated by
 *                  g/k of them: where every group has a receiver, the groups together hold
 *                  everything after ceil(b/k) rounds, and each on its own after
 *                  b + ceil(log2(N/k)) - 1
 *   chain          each node forwards to the next: b + N - 2 rounds
 *   tree           FaaSNet's binary tree: each node sends a piece to one child, then the other
 *   sequential     the source sends everything to one node after another: b (N - 1) rounds
 *
 * With several sources and an order other than kway, receivers are split over the sources into
 * groups of nearly equal size, each of which runs the order with the pieces unrotated.  Group g
 * is the ranks g, g + sources, g + 2 sources, ...: sizes differ by one at most.
 */
#ifndef LSC_PLAN_SCHEDULE_H
#define LSC_PLAN_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define LSC_SCHEDULE_MAX_NODES  65536u
#define LSC_SCHEDULE_MAX_PIECES (1u << 22)
#define LSC_SCHEDULE_LOG_NODES  17

enum lsc_order {
	LSC_ORDER_ROUND_OPTIMAL,
	LSC_ORDER_KWAY,
	LSC_ORDER_CHAIN,
	LSC_ORDER_TREE,
	LSC_ORDER_SEQUENTIAL,
	LSC_ORDER_COUNT
};

const char *lsc_order_name(enum lsc_order order);
int lsc_order_parse(const char *name, enum lsc_order *ret_order, struct lsc_err *err);

/* Whether a source's pieces reach the others of its group soonest along a chain, over links that do
 * not keep time; else that is round-optimal. */
bool lsc_chain_is_fastest(uint32_t group_size, uint32_t pieces);

struct lsc_schedule {
	enum lsc_order order;
	uint32_t nodes;
	uint32_t sources;
	uint32_t pieces;
	uint32_t rounds; /* after which everyone holds everything */
};

/* sources from 1 to nodes; -EINVAL beyond the limits above, or where a baseline would take 2^32
 * rounds or more. */
int lsc_schedule_init(struct lsc_schedule *schedule, enum lsc_order order, uint32_t nodes,
		      uint32_t sources, uint32_t pieces, struct lsc_err *err);

/* One node's part in a schedule: what lsc_part_step() needs, worked out once (O(log^2 N) time,
 * fixed size).  It points to the schedule, which must outlive it. */
struct lsc_part {
	const struct lsc_schedule *schedule;
	uint32_t rank;
	uint32_t group; /* this node's, and its place in it: 0 is the group's source */
	uint32_t place;
	uint32_t group_size;
	uint32_t first; /* the piece its group begins with, at which the others follow on */
	uint32_t log;   /* ceil(log2 group_size) */
	uint32_t skip[LSC_SCHEDULE_LOG_NODES + 1];
	int32_t recv[LSC_SCHEDULE_LOG_NODES];
	int32_t send[LSC_SCHEDULE_LOG_NODES];
};

void lsc_part_init(struct lsc_part *part, const struct lsc_schedule *schedule, uint32_t rank);

#define LSC_NOBODY UINT32_MAX

/* The ranks that it sends to in some round, for i from 0; LSC_NOBODY after the last.  With few
 * pieces there may be one among them that gets none. */
uint32_t lsc_part_peer(const struct lsc_part *part, uint32_t i);

struct lsc_step {
	uint32_t send_to; /* rank, or LSC_NOBODY */
	uint32_t send_piece;
	uint32_t recv_from;
	uint32_t recv_piece;
};

/* What the node does in a round, in O(1); nothing in round schedule->rounds and later.  A piece a
 * peer is known to hold already (the root, a repeated last piece) is no step: the piece a node is
 * sent is always new to it. */
struct lsc_step lsc_part_step(const struct lsc_part *part, uint32_t round);

/* Who is in whose group: nodes in group g, the source included; rank of place p of group g. */
uint32_t lsc_schedule_group_size(const struct lsc_schedule *schedule, uint32_t group);
uint32_t lsc_schedule_rank(const struct lsc_schedule *schedule, uint32_t group, uint32_t place);

/* Simulates all of it and proves: every node gets every piece exactly once, nobody sends or
 * receives twice in a round or sends what it does not hold, both sides agree on every transfer,
 * no round goes by without one, and it takes schedule->rounds.  *ret_covered is the first number of
 * rounds after which the receivers together hold every piece (0 where there are none).  -EBADMSG
 * with the first violation in words; -EINVAL where it would take more than LSC_SCHEDULE_MAX_PROOF
 * bits to remember who holds what, or more steps. */
int lsc_schedule_check(const struct lsc_schedule *schedule, uint32_t *ret_covered,
		       struct lsc_err *err);

#define LSC_SCHEDULE_MAX_PROOF (1ull << 32)

/* The same for steps that come from elsewhere: of the schedule, only the counts are used. */
typedef struct lsc_step lsc_step_fn(const void *data, uint32_t rank, uint32_t round);
int lsc_schedule_check_steps(const struct lsc_schedule *schedule, lsc_step_fn *step,
			     const void *data, uint32_t *ret_covered, struct lsc_err *err);

#endif
