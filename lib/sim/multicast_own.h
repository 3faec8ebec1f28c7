/* What the files of a simulated cast share: multicast.c has its clock and its coordinator,
 * multicast_node.c what nodes do. */
#ifndef LSC_SIM_MULTICAST_OWN_H
#define LSC_SIM_MULTICAST_OWN_H

#include <stdbool.h>
#include <stdint.h>

#include "cast/message.h"
#include "plan/schedule.h"
#include "sim/agenda.h"
#include "sim/multicast.h"
#include "sim/wires.h"

/* A link to a peer: connections, keys and "have" there are so many messages, one after another. */
#define LSC_POST_HOPS_TO_OPEN 6

struct lsc_mc_outlet {
	uint32_t node; /* the peer */
	struct lsc_next_peer to;
	bool resting;
	uint32_t path;
	uint32_t piece; /* under way; LSC_NOBODY */
	double sent;    /* bytes */
};

struct lsc_mc_node {
	bool source, dirty;
	uint64_t *here;
	uint32_t n_here;
	double bytes;
	uint32_t *block_left; /* pieces of each block that are not here */
	struct lsc_next what; /* goes next: of here and of outlets' `to` */
	struct lsc_mc_outlet *outlets;
	uint32_t n_outlets, room;
	uint32_t *feeders; /* nodes with an outlet to this one that is open */
	uint32_t n_feeders, room_feeders;
	bool in_turn, sends, receives;
	struct lsc_schedule schedule;
	struct lsc_part part;
	uint32_t send_round, recv_round; /* in turn: the next */
	double done;
};

enum lsc_post_kind { LSC_POST_PLAN, LSC_POST_OPEN, LSC_POST_PIECE, LSC_POST_GOT, LSC_POST_REPORT };

/* A message under way.  All take the same time, so they come in the order they left in. */
struct lsc_post {
	double at;
	enum lsc_post_kind kind;
	uint32_t from, to;
	uint32_t piece; /* of an OPEN: the hops that are left */
	void *data;     /* of a PLAN: its own struct lsc_plan; of a REPORT: lsc_node_progress */
};

struct lsc_mc_owner {
	uint32_t node, outlet;
};

struct lsc_mc {
	struct lsc_multicast_options o;
	const struct lsc_system *system;
	const struct lsc_cargo *cargo;
	uint32_t n_nodes;
	struct lsc_mc_node *nodes;
	struct lsc_wires *wires;
	struct lsc_mc_owner *owners; /* of paths */
	uint32_t n_paths, room_paths;
	struct lsc_post *posts; /* a ring of room_posts, a power of two */
	uint32_t first_post, n_posts, room_posts;
	uint32_t *dirty, n_dirty;        /* nodes that may have something to send */
	uint32_t *blocks_apart, n_apart; /* by block: whether some receiver has it */
	uint32_t n_done;
	bool tells; /* nodes tell who sends to them what came from elsewhere */
	double now;
	int failed; /* negative errno: out of memory */
	struct lsc_multicast_result result;
};

/* multicast.c */
void lsc_mc_post(struct lsc_mc *mc, const struct lsc_post *post);

/* multicast_node.c */
void lsc_mc_touch(struct lsc_mc *mc, uint32_t node);
void lsc_mc_pump(struct lsc_mc *mc, uint32_t node);
void lsc_mc_sent(struct lsc_mc *mc, uint32_t path); /* a transfer is over */
void lsc_mc_take(struct lsc_mc *mc, const struct lsc_post *post);
void lsc_mc_progress(const struct lsc_mc *mc, uint32_t node, struct lsc_node_progress *ret);
void lsc_mc_node_release(struct lsc_mc_node *node);

#endif
