/* Covers: routes over nodes that hold only some of the units.
 *
 * Given who can run which units, finds the ordered stages (node, first unit, last unit) that run
 * a whole pass with the least bottleneck, and among those the fewest stages.  The bottleneck is
 * the longest stage time: units run by a node in one pass times that node's cost a unit.
 */
#ifndef LSC_PLAN_COVER_H
#define LSC_PLAN_COVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct lsc_cover_node {
	const uint8_t *holds; /* [units]: 1 where the node can run the unit now */
	double cost;	      /* seconds a unit costs it; only ratios matter */
	bool source;	      /* held everything when the cast started */
	bool usable;	      /* reachable, and has an executor */
};

enum lsc_cover_sources {
	LSC_SOURCES_ASSIST, /* sources run only what no receiver can */
	LSC_SOURCES_SERVE,  /* sources are nodes like others */
	LSC_SOURCES_NEVER,
};

struct lsc_stage {
	uint32_t node;
	uint32_t first, last; /* units, inclusive */
};

#define LSC_COVER_MAX_STAGES 64

struct lsc_cover {
	struct lsc_stage stages[LSC_COVER_MAX_STAGES];
	uint32_t n;
	double bottleneck;
};

/* 1 when the units are covered, 0 when they cannot be, -ENOMEM. */
int lsc_cover_find(const struct lsc_cover_node *nodes, uint32_t n_nodes, const double *unit_cost,
		   uint32_t n_units, enum lsc_cover_sources sources, struct lsc_cover *ret_cover);

#endif
