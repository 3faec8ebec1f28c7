/* An agenda: one node's part in a schedule, as work to do.
 *
 * A schedule says in which round a node sends what to whom.  Real links do not keep time, so a
 * node works off its steps instead: a step is ready once its piece is there, and of the ready steps
 * whose peer is free the one of the earliest round goes next.  Nothing waits for a step that waits.
 *
 * Peers are numbered 0 .. n_peers-1 here; peer_ranks says which node each is.
 */
#ifndef LSC_CAST_AGENDA_H
#define LSC_CAST_AGENDA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "plan/schedule.h"

struct lsc_agenda_step;

struct lsc_agenda {
	uint32_t n_peers;
	uint32_t *peer_ranks;
	uint32_t *left; /* by peer: steps neither taken nor skipped */

	/* own */
	uint32_t n_pieces, n_steps;
	struct lsc_agenda_step *steps; /* in the order of rounds */
	uint32_t *first;               /* by piece: its first step */
	uint32_t *ready;               /* the peers' heaps of steps, one behind the other */
	uint32_t *heap_at, *heap_len;  /* by peer */
	uint8_t *arrived;              /* by piece */
};

#define LSC_AGENDA_INIT                                                                            \
	{                                                                                          \
		0                                                                                  \
	}

/* A step for each round, at the most: what an agenda may take in memory, and in time to set up. */
#define LSC_AGENDA_MAX_ROUNDS (1u << 24)

/* -EINVAL for a schedule of more rounds than that. */
int lsc_agenda_check(const struct lsc_schedule *schedule, struct lsc_err *err);

int lsc_agenda_init(struct lsc_agenda *agenda, const struct lsc_schedule *schedule, uint32_t rank,
		    struct lsc_err *err);
void lsc_agenda_release(struct lsc_agenda *agenda);

/* The piece is here and verified: its steps are ready.  Telling it twice does nothing. */
void lsc_agenda_arrived(struct lsc_agenda *agenda, uint32_t piece);

/* The peer has this piece already. */
void lsc_agenda_skip(struct lsc_agenda *agenda, uint32_t peer, uint32_t piece);

/* Takes the earliest ready step of a peer that is not busy (by peer); false when there is none. */
bool lsc_agenda_next(struct lsc_agenda *agenda, const bool *busy, uint32_t *ret_peer,
		     uint32_t *ret_piece);

#endif
