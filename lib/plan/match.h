/* Whether units fit into nodes that have room for so many each: a matching.
 *
 * The same question as lib/plan/fit.h asks, where all units are alike or need nothing: then whole
 * units are enough to decide it, sets of nodes are words of bits, and an answer takes
 * microseconds for a thousand nodes.
 */
#ifndef LSC_PLAN_MATCH_H
#define LSC_PLAN_MATCH_H

#include <stdbool.h>
#include <stdint.h>

struct lsc_match {
	uint32_t nodes, units, words;
	const int64_t *need; /* [units], borrowed: 0 where a unit needs nothing */
	uint64_t *may;       /* [units][words]: nodes that can run it */
	uint32_t
		*rank; /* [nodes]: their numbers below, those that can run the fewest units first */
	uint32_t *room; /* [nodes]: units, at ranks, for the caller to set */

	uint32_t *used;        /* [nodes]: of the room */
	uint64_t *open, *seen; /* [words]: nodes with room left; those a search came to */
	uint32_t *owner;       /* [units] */
	uint32_t *first;       /* [nodes]: of the units it has; */
	uint32_t *next, *back; /* [units]: the others of the same node */
	uint32_t *from;        /* [nodes]: the unit that a search came from */
	uint32_t *queue;       /* [units] */
	uint64_t work;
};

/* can[nodes][units]; -ENOMEM. */
int lsc_match_init(struct lsc_match *match, uint32_t nodes, uint32_t units, const uint8_t *can,
		   const int64_t *need);
void lsc_match_release(struct lsc_match *match);

/* Whether the units from first on fit into the room there is. */
bool lsc_match_check(struct lsc_match *match, uint32_t first);

#endif
