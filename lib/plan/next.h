/* What a node sends next: the piece of an image that goes to a peer.
 *
 * These are sets of pieces, and the next one is the first of their intersection from the place on
 * where the node's plan begins, and around: 32 words for an image of 2048 pieces, once a piece.
 * Real nodes ask (cast/outlet.c), and simulated ones (sim/multicast_node.c).
 */
#ifndef LSC_PLAN_NEXT_H
#define LSC_PLAN_NEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "plan/schedule.h" /* LSC_NOBODY */

/* What a peer is to get. */
enum lsc_duty {
	LSC_DUTY_ALL,    /* whatever that one lacks */
	LSC_DUTY_INJECT, /* what none of those has to which this node injects */
	LSC_DUTY_PART,   /* what a schedule says */
	LSC_DUTIES,
};

struct lsc_next_peer {
	enum lsc_duty duty;
	bool open;      /* it has said what it has */
	uint64_t *has;  /* that it has, or was sent */
	uint64_t *part; /* the pieces of LSC_DUTY_PART */
	const struct lsc_next_peer *next;
};

/* Sets and peers are their owner's. */
struct lsc_next {
	const uint64_t *here; /* what the node has */
	uint32_t n_pieces;
	uint32_t first;                    /* where the plan begins */
	const struct lsc_next_peer *peers; /* all of the node's, resting ones too */
};

/* The next piece for a peer; LSC_NOBODY where there is none. */
uint32_t lsc_next_piece(const struct lsc_next *next, const struct lsc_next_peer *peer);

/* The same where everything that is here is at some peer.  What this one still lacks is on its way
 * there around the ring, the first pieces first: the last one is what it would wait for longest. */
uint32_t lsc_next_last(const struct lsc_next *next, const struct lsc_next_peer *peer);

/* How many pieces may go to a peer now. */
uint32_t lsc_next_count(const struct lsc_next *next, const struct lsc_next_peer *peer);

#endif
