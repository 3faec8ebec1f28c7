/* Whether units still fit into what room the nodes have left: a flow from units to nodes.
 *
 * A unit may be split over nodes here, which makes the answer quick and one-sided: "no" is always
 * right.  Where all needs are equal and rooms are multiples of them, "yes" is right as well.
 */
#ifndef LSC_PLAN_FIT_H
#define LSC_PLAN_FIT_H

#include <stdbool.h>
#include <stdint.h>

struct lsc_fit {
	uint32_t nodes, units;
	const uint8_t *can;  /* [nodes][units]: 1 where the node may take the unit; the caller's */
	const int64_t *need; /* [units], the caller's */
	int64_t *room;       /* [nodes], set by the caller before each check */
	uint64_t work;       /* grows with the time taken */

	int64_t *free;       /* [nodes]: room that nothing took */
	int64_t *flow;       /* [nodes][units] */
	uint32_t *from_unit; /* [nodes]: the unit that a path came to the node from */
	uint32_t *from_node; /* [units]: the node that a path came to the unit from */
	uint32_t *queue;     /* [units] */
};

int lsc_fit_init(struct lsc_fit *fit, uint32_t nodes, uint32_t units, const uint8_t *can,
		 const int64_t *need);
void lsc_fit_release(struct lsc_fit *fit);

/* Whether the units from first on fit into the rooms.  No unit goes to a node whose whole room is
 * smaller than its need. */
bool lsc_fit_check(struct lsc_fit *fit, uint32_t first);

#endif
