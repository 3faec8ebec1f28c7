/* The search for covers under a limit on what any node may spend on a pass.
 *
 * lib/plan/cover.c sets up the problem and chooses the limits; this finds stages that keep them.
 * Nodes are those that can run anything at all, by their place in these arrays.
 */
#ifndef LSC_PLAN_FINDER_H
#define LSC_PLAN_FINDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan/cover.h"
#include "plan/fit.h"
#include "plan/match.h"

#define LSC_COVER_CLOSE 1e-9      /* sums of the same costs in another order differ less */
#define LSC_FINDER_ONE  (1 << 20) /* the greatest unit cost, in the whole numbers of a fit */

struct lsc_candidate {
	uint32_t node, end;
};

struct lsc_finder {
	uint32_t nodes, units;
	uint32_t *id;    /* [nodes]: the caller's */
	double *cost;    /* [nodes] */
	double *base;    /* [nodes]: load that it has in any case */
	double *most;    /* [nodes]: its own limit of its load; INFINITY: none */
	uint32_t *twin;  /* [nodes]: the first node of equal cost, base and limit that can run the
			    same */
	uint8_t *can;    /* [nodes][units] */
	double *weight;  /* [units] */
	int64_t *need;   /* [units]: weight in whole numbers */
	double heaviest; /* weight */
	bool even;       /* units weigh the same, or nothing */
	uint32_t *run;   /* [units][nodes]: the first unit from there on that the node cannot run */
	double *sum;     /* [units + 1]: weight of the units before */
	uint32_t *count; /* [units + 1]: how many of these weigh something */
	uint32_t *after; /* [units + 1]: the last unit before which there are so many at most */

	/* What there is so far. */
	struct lsc_fit fit;     /* where it is not even; */
	struct lsc_match match; /* where it is */
	double limit;           /* of any node's load */
	double *load;           /* [nodes] */
	int32_t *left;   /* [nodes]: where it is even, units that it may still run; -1: it has too
			  * much already */
	uint32_t *least; /* [units + 1]: stages from here on, were all nodes fresh */
	uint32_t *seen;  /* [nodes]: the level that last tried a twin of this one */
	uint32_t levels;
	struct lsc_candidate *candidates; /* [LSC_COVER_MAX_STAGES][nodes] */
	struct lsc_cover path;

	uint32_t fewest; /* stages: a cover that is found has less */
	bool any;        /* the first cover will do */
	bool done;
	uint64_t work, max_work;
	struct lsc_cover found;
};

static inline bool lsc_finder_can(const struct lsc_finder *finder, uint32_t node, uint32_t unit)
{
	return finder->can[(size_t)node * finder->units + unit];
}

/* For nodes and units at most; the caller fills the problem in, sets nodes to those used, and gets
 * ready. */
int lsc_finder_alloc(struct lsc_finder *finder, uint32_t nodes, uint32_t units);
int lsc_finder_ready(struct lsc_finder *finder);
void lsc_finder_release(struct lsc_finder *finder);

/* The three below work under a limit, from the first unit on.  Those that find put it in found. */

/* Takes the node that gets furthest, and never looks back.  Without a limit (INFINITY) this takes
 * the fewest stages there are. */
bool lsc_finder_greedy(struct lsc_finder *finder, double limit);

/* Whether all units fit if they may be split over nodes: no limit that fails has a cover. */
bool lsc_finder_fits(struct lsc_finder *finder, double limit);

/* A cover of fewer stages than this: any, or the fewest that there are if work does not run out
 * before that is certain. */
bool lsc_finder_search(struct lsc_finder *finder, double limit, uint32_t fewest, bool any);

#endif
