/* Covers: routes over nodes that hold only some of the units.
 *
 * Given who can run which units, finds the ordered stages (node, first unit, last unit) that run
 * a whole pass with the least bottleneck, and among those the fewest stages, over nodes that have
 * little to do where there is a choice.  The bottleneck is
 * the longest time that a node of the route spends on one pass: the cost of the units it runs, in
 * all its stages, times the node's own cost, beside what it has to do for others.  Pure arithmetic,
 * the same answer every time.
 *
 * The least bottleneck is a scheduling problem on unrelated machines and NP-hard in general.  The
 * search is exact where it ends within its bounded work (a millisecond for
 * 64 nodes, 15 for 1,024), which it does on
 * covers of practical size; beyond that the answer is the best one found.
 */
#ifndef LSC_PLAN_COVER_H
#define LSC_PLAN_COVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct lsc_cover_node {
	const uint8_t *holds; /* [units]: 1 where the node can run the unit now */
	double cost;          /* seconds a unit costs it; only ratios matter.  Above 0 and finite,
			       * or the node counts as not usable */
	double load;          /* seconds that it spends on others meanwhile: finite, not negative */
	bool source;          /* held everything when the cast started */
	bool usable;          /* reachable, and has an executor */
	double most;          /* it may run units of so much unit_cost in all; 0: of any */
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

/* Stages begin at any unit, or, where begins is not NULL, at those with begins[unit] alone; unit 0
 * is one in any case.  unit_cost[n_units] is how much more one unit costs than another, NULL where
 * all cost the same, or all runs of units that are not to be parted.  slack: a bottleneck that is
 * greater than the least by no more is as good, if that takes fewer stages.
 * 1 when the units are covered; 0 when they cannot be, or only in more than LSC_COVER_MAX_STAGES
 * stages; -EINVAL for a unit cost that is negative or not finite; -ENOMEM. */
int lsc_cover_find(const struct lsc_cover_node *nodes, uint32_t n_nodes, const double *unit_cost,
		   const uint8_t *begins, uint32_t n_units, enum lsc_cover_sources sources,
		   double slack, struct lsc_cover *ret_cover);

#endif
