/* cover - stages over nodes that hold only some of the units
 *
 * Covers are built from the first unit on, a stage at a time: a depth-first search under a limit
 * on what any node may spend, with two bounds.  least[] is how many stages the rest takes if every
 * node were fresh, and lib/plan/fit.c says whether the rest still fits into what the nodes have
 * left.  Where all units cost the same, the latter is exact: the first way down ends in a cover.
 *
 * The limit comes from bisection: between what a greedy cover takes and what not even split units
 * would fit into.  The last search, at the least limit there is, looks for the fewest stages.
 */
#include "plan/cover.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "plan/fit.h"

#define NONE     UINT32_MAX
#define ONE      (1 << 20)  /* the greatest unit cost, in the whole numbers of a fit */
#define CLOSE    1e-9       /* sums of the same costs in another order differ less */
#define MAX_WORK 4000000ull /* of the whole search: some 10 ms */

struct candidate {
	uint32_t node, end;
};

struct finder {
	uint32_t nodes, units;
	uint32_t *id;    /* [nodes]: the caller's */
	double *cost;    /* [nodes] */
	uint32_t *twin;  /* [nodes]: the first node of equal cost that can run the same */
	uint8_t *can;    /* [nodes][units] */
	double *weight;  /* [units] */
	int64_t *need;   /* [units]: weight in whole numbers */
	double heaviest; /* weight */
	bool even;       /* units weigh the same, or nothing */
	struct lsc_fit fit;

	double limit;                 /* of any node's load */
	double *load;                 /* [nodes] */
	uint32_t *least;              /* [units + 1]: stages from here on, were all nodes fresh */
	struct candidate *candidates; /* [LSC_COVER_MAX_STAGES][nodes] */
	uint32_t *seen;               /* [nodes]: the twins that a level has tried */
	uint32_t levels;
	bool any; /* the first cover will do */
	bool done;
	uint64_t work, max_work;
	uint32_t fewest; /* stages; a cover that is found has less */
	struct lsc_cover path, found;
};

static void finder_release(struct finder *finder)
{
	free(finder->id);
	free(finder->cost);
	free(finder->twin);
	free(finder->can);
	free(finder->weight);
	free(finder->need);
	free(finder->load);
	free(finder->least);
	free(finder->candidates);
	free(finder->seen);
	lsc_fit_release(&finder->fit);
}

static bool can_run(const struct finder *finder, uint32_t node, uint32_t unit)
{
	return finder->can[(size_t)node * finder->units + unit];
}

static bool is_within(double load, double limit)
{
	return load <= limit * (1 + CLOSE);
}

/* Where a stage of this node ends that starts at unit with so much load: the first unit that is
 * not of it. */
static uint32_t reach(const struct finder *finder, uint32_t node, uint32_t unit, double load)
{
	for (; unit < finder->units && can_run(finder, node, unit); unit++) {
		load += finder->cost[node] * finder->weight[unit];
		if (!is_within(load, finder->limit))
			break;
	}
	return unit;
}

static void add_stage(struct finder *finder, uint32_t node, uint32_t first, uint32_t end)
{
	for (uint32_t u = first; u < end; u++)
		finder->load[node] += finder->cost[node] * finder->weight[u];
	finder->path.stages[finder->path.n++] = (struct lsc_stage){node, first, end - 1};
}

static void keep_path(struct finder *finder)
{
	finder->found = finder->path;
	finder->found.bottleneck = 0;
	for (uint32_t i = 0; i < finder->nodes; i++)
		finder->found.bottleneck = LSC_MAX(finder->found.bottleneck, finder->load[i]);
	finder->fewest = finder->path.n;
}

static void start_over(struct finder *finder, double limit)
{
	finder->limit = limit;
	finder->path.n = 0;
	memset(finder->load, 0, finder->nodes * sizeof(*finder->load));
}

/* Takes the node that gets furthest, and never looks back.  Without a limit this takes the fewest
 * stages there are. */
static bool find_greedy(struct finder *finder, double limit)
{
	start_over(finder, limit);
	for (uint32_t unit = 0; unit < finder->units;) {
		uint32_t node = NONE, end = unit;

		if (finder->path.n == LSC_COVER_MAX_STAGES)
			return false;
		finder->work += (uint64_t)finder->nodes * 4;
		for (uint32_t i = 0; i < finder->nodes; i++) {
			uint32_t to = reach(finder, i, unit, finder->load[i]);

			if (to > end) {
				node = i;
				end = to;
			}
		}
		if (node == NONE)
			return false;
		add_stage(finder, node, unit, end);
		unit = end;
	}
	keep_path(finder);
	return true;
}

/* --- bounds --- */

static void count_least(struct finder *finder)
{
	finder->least[finder->units] = 0;
	for (uint32_t unit = finder->units; unit-- > 0;) {
		uint32_t end = unit;

		for (uint32_t i = 0; i < finder->nodes; i++)
			end = LSC_MAX(end, reach(finder, i, unit, 0));
		finder->least[unit] = LSC_COVER_MAX_STAGES + 1;
		if (end > unit)
			finder->least[unit] = LSC_MIN(finder->least[unit], finder->least[end] + 1);
	}
	finder->work += (uint64_t)finder->nodes * finder->units * 4;
}

/* Whether the units from unit on fit under the limit, beside the load there is. */
static bool rest_fits(struct finder *finder, uint32_t unit)
{
	bool fits;

	for (uint32_t i = 0; i < finder->nodes; i++) {
		double left = finder->limit * (1 + CLOSE) - finder->load[i];
		double room = left / (finder->cost[i] * finder->heaviest);

		room = LSC_MIN(room, (double)finder->units); /* enough for all */
		if (finder->even)
			room = floor(room + CLOSE);
		finder->fit.room[i] = room > 0 ? (int64_t)ceil(room * ONE) : 0;
	}
	fits = lsc_fit_check(&finder->fit, unit);
	finder->work += finder->fit.work;
	finder->fit.work = 0;
	return fits;
}

/* --- the search --- */

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->end != y->end)
		return x->end > y->end ? -1 : 1;
	return x->node < y->node ? -1 : 1;
}

/* The nodes that can run the unit and have not just done so, the furthest reach first; of nodes
 * that are alike and still idle only one. */
static uint32_t list_candidates(struct finder *finder, uint32_t unit, struct candidate *list)
{
	const struct lsc_cover *path = &finder->path;
	uint32_t previous = path->n ? path->stages[path->n - 1].node : NONE;
	uint32_t n = 0, level = ++finder->levels;

	for (uint32_t i = 0; i < finder->nodes; i++) {
		uint32_t end;

		if (i == previous || !can_run(finder, i, unit))
			continue;
		if (finder->load[i] == 0) {
			if (finder->seen[finder->twin[i]] == level)
				continue;
			finder->seen[finder->twin[i]] = level;
		}
		end = reach(finder, i, unit, finder->load[i]);
		finder->work += end - unit + 1;
		if (end > unit)
			list[n++] = (struct candidate){i, end};
	}
	qsort(list, n, sizeof(*list), compare_candidates);
	finder->work += finder->nodes + n * 8;
	return n;
}

static void descend(struct finder *finder, uint32_t unit);

/* Whether the rest fits once this node has run the units before end. */
static bool fits_after(struct finder *finder, uint32_t node, uint32_t unit, uint32_t end)
{
	double load = finder->load[node];
	bool fits;

	add_stage(finder, node, unit, end);
	fits = rest_fits(finder, end);
	finder->path.n--;
	finder->load[node] = load;
	return fits;
}

/* The furthest end of a stage after which the rest fits; unit where there is none.  What fits
 * after a stage fits after a shorter one: the node may still run what that leaves. */
static uint32_t furthest_fit(struct finder *finder, uint32_t unit, struct candidate candidate)
{
	uint32_t low = unit, high = candidate.end;

	if (fits_after(finder, candidate.node, unit, high))
		return high;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (fits_after(finder, candidate.node, unit, middle))
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Tries the stages of this node that leave the rest to fit, the longest first. */
static void try_node(struct finder *finder, uint32_t unit, struct candidate candidate)
{
	double load = finder->load[candidate.node];
	uint32_t end;

	if (finder->path.n + 1 + finder->least[candidate.end] >= finder->fewest)
		return;
	for (end = furthest_fit(finder, unit, candidate); end > unit && !finder->done; end--) {
		if (finder->path.n + 1 + finder->least[end] >= finder->fewest)
			return;
		add_stage(finder, candidate.node, unit, end);
		descend(finder, end);
		finder->path.n--;
		finder->load[candidate.node] = load;
		if (finder->work > finder->max_work)
			finder->done = true;
	}
}

static void descend(struct finder *finder, uint32_t unit)
{
	struct candidate *list = finder->candidates + (size_t)finder->path.n * finder->nodes;
	uint32_t n;

	if (unit == finder->units) {
		keep_path(finder);
		finder->done = finder->any || finder->fewest <= finder->least[0];
		return;
	}
	n = list_candidates(finder, unit, list);
	for (uint32_t i = 0; i < n && !finder->done; i++)
		try_node(finder, unit, list[i]);
}

/* Looks for a cover within the limit and of fewer stages than fewest. */
static bool search(struct finder *finder, double limit, uint32_t fewest, bool any)
{
	start_over(finder, limit);
	finder->fewest = fewest;
	finder->any = any;
	finder->done = false;
	count_least(finder);
	if (rest_fits(finder, 0))
		descend(finder, 0);
	return finder->fewest < fewest;
}

/* --- the limit --- */

/* No limit can be lower: each unit runs somewhere, and all of them on all nodes. */
static double lowest_limit(const struct finder *finder)
{
	double limit = 0, weight = 0, speed = 0;

	for (uint32_t i = 0; i < finder->nodes; i++)
		speed += 1 / finder->cost[i];
	for (uint32_t u = 0; u < finder->units; u++) {
		double least = INFINITY;

		for (uint32_t i = 0; i < finder->nodes; i++)
			if (can_run(finder, i, u))
				least = LSC_MIN(least, finder->cost[i] * finder->weight[u]);
		limit = LSC_MAX(limit, least);
		weight += finder->weight[u];
	}
	return LSC_MAX(limit, weight / speed);
}

/* The greedy cover of least bottleneck that bisection comes upon. */
static bool bisect_greedy(struct finder *finder, double low)
{
	struct lsc_cover best;

	if (!find_greedy(finder, INFINITY))
		return false;
	best = finder->found;
	for (int i = 0; i < 20 && best.bottleneck > low * (1 + CLOSE); i++) {
		double middle = low + (best.bottleneck - low) / 2;

		if (find_greedy(finder, middle))
			best = finder->found;
		else
			low = middle;
	}
	finder->found = best;
	return true;
}

/* Where all units cost the same, limits differ only in how many units a node can run: the least
 * such limit from limit on, or the next one after it. */
static double round_up(const struct finder *finder, double limit, bool next)
{
	double up = INFINITY;

	for (uint32_t i = 0; i < finder->nodes; i++) {
		double cost = finder->cost[i] * finder->heaviest;
		double n = next ? floor(limit / cost + CLOSE) + 1 : ceil(limit / cost - CLOSE);

		up = LSC_MIN(up, n * cost);
	}
	return up;
}

static double round_down(const struct finder *finder, double limit)
{
	double down = 0;

	for (uint32_t i = 0; i < finder->nodes; i++) {
		double cost = finder->cost[i] * finder->heaviest;

		down = LSC_MAX(down, floor(limit / cost + CLOSE) * cost);
	}
	return down;
}

static bool all_fit(struct finder *finder, double limit)
{
	finder->limit = limit;
	return rest_fits(finder, 0);
}

/* The greatest bound from low to high that no limit can be below: what units would fit into if
 * they could be split. */
static double bisect_fit(struct finder *finder, double low, double high)
{
	double close = finder->even ? CLOSE : 1e-6;

	start_over(finder, low);
	if (finder->even)
		low = round_up(finder, low, false);
	if (all_fit(finder, low))
		return low;
	while (high - low > high * close) {
		double middle = low + (high - low) / 2;

		if (all_fit(finder, middle))
			high = finder->even ? round_down(finder, middle) : middle;
		else
			low = finder->even ? round_up(finder, middle, true) : middle;
	}
	return low;
}

/* Improves the cover found so far until its bottleneck is the least. */
static void bisect_search(struct finder *finder, double low)
{
	struct lsc_cover best = finder->found;
	double middle = low;

	while (best.bottleneck > low * (1 + 2 * CLOSE) && finder->work < MAX_WORK) {
		/* A search that gives up counts as one that finds nothing. */
		finder->max_work = finder->work + (MAX_WORK - finder->work) / 4 + 1;
		if (search(finder, middle, LSC_COVER_MAX_STAGES + 1, true))
			best = finder->found;
		else
			low = middle;
		middle = low + (best.bottleneck - low) / 2;
		if (best.bottleneck - low <= best.bottleneck * 1e-7)
			break;
	}
	finder->found = best;
}

static void find_best(struct finder *finder, double low)
{
	struct lsc_cover best;

	low = bisect_fit(finder, low, finder->found.bottleneck);
	finder->work = 0;
	bisect_search(finder, low);
	best = finder->found;
	/* As much work again: a cover with the least bottleneck may have many stages still. */
	finder->max_work = finder->work + MAX_WORK;
	if (!search(finder, best.bottleneck, best.n, false))
		finder->found = best;
}

/* --- the problem --- */

static bool is_candidate(const struct lsc_cover_node *node, enum lsc_cover_sources sources)
{
	return node->usable && isfinite(node->cost) && node->cost > 0 &&
	       !(node->source && sources == LSC_SOURCES_NEVER);
}

static int finder_alloc(struct finder *finder, uint32_t nodes, uint32_t units)
{
	finder->id = calloc(nodes, sizeof(*finder->id));
	finder->cost = calloc(nodes, sizeof(*finder->cost));
	finder->twin = calloc(nodes, sizeof(*finder->twin));
	finder->can = calloc(nodes, units);
	finder->weight = calloc(units, sizeof(*finder->weight));
	finder->need = calloc(units, sizeof(*finder->need));
	finder->load = calloc(nodes, sizeof(*finder->load));
	finder->least = calloc((size_t)units + 1, sizeof(*finder->least));
	finder->candidates =
		calloc((size_t)LSC_COVER_MAX_STAGES * nodes, sizeof(*finder->candidates));
	finder->seen = calloc(nodes, sizeof(*finder->seen));
	if (!finder->id || !finder->cost || !finder->twin || !finder->can || !finder->weight ||
	    !finder->need || !finder->load || !finder->least || !finder->candidates ||
	    !finder->seen)
		return -ENOMEM;
	finder->units = units;
	return 0;
}

static int add_weights(struct finder *finder, const double *unit_cost)
{
	double lightest = INFINITY;

	for (uint32_t u = 0; u < finder->units; u++) {
		double weight = unit_cost ? unit_cost[u] : 1;

		if (!isfinite(weight) || weight < 0)
			return -EINVAL;
		finder->weight[u] = weight;
		finder->heaviest = LSC_MAX(finder->heaviest, weight);
		if (weight > 0)
			lightest = LSC_MIN(lightest, weight);
	}
	finder->even = lightest >= finder->heaviest * (1 - CLOSE);
	for (uint32_t u = 0; u < finder->units && finder->heaviest > 0; u++)
		finder->need[u] = finder->even && finder->weight[u] > 0
					  ? ONE
					  : (int64_t)(finder->weight[u] / finder->heaviest * ONE);
	return 0;
}

/* What a source may run: where it only assists, no unit that a receiver can. */
static void add_node(struct finder *finder, const struct lsc_cover_node *node, uint32_t id,
		     const uint8_t *received)
{
	uint8_t *can = finder->can + (size_t)finder->nodes * finder->units;
	bool useful = false;

	for (uint32_t u = 0; u < finder->units; u++) {
		can[u] = node->holds[u] && !(node->source && received && received[u]);
		useful = useful || can[u];
	}
	if (!useful)
		return;
	finder->id[finder->nodes] = id;
	finder->cost[finder->nodes] = node->cost;
	finder->nodes++;
}

static void find_twins(struct finder *finder)
{
	for (uint32_t i = 0; i < finder->nodes; i++) {
		const uint8_t *can = finder->can + (size_t)i * finder->units;

		for (finder->twin[i] = 0; finder->twin[i] < i; finder->twin[i]++) {
			uint32_t j = finder->twin[i];

			if (finder->cost[i] == finder->cost[j] &&
			    !memcmp(can, finder->can + (size_t)j * finder->units, finder->units))
				break;
		}
	}
}

static int finder_init(struct finder *finder, const struct lsc_cover_node *nodes, uint32_t n_nodes,
		       const double *unit_cost, uint32_t n_units, enum lsc_cover_sources sources)
{
	LSC_CLEANUP_FREE uint8_t *received = calloc(n_units, 1);
	int r;

	if (!received || finder_alloc(finder, n_nodes, n_units) < 0)
		return -ENOMEM;
	r = add_weights(finder, unit_cost);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n_nodes; i++)
		for (uint32_t u = 0; u < n_units; u++)
			if (!nodes[i].source && is_candidate(&nodes[i], sources))
				received[u] |= nodes[i].holds[u] != 0;
	for (uint32_t i = 0; i < n_nodes; i++)
		if (is_candidate(&nodes[i], sources))
			add_node(finder, &nodes[i], i,
				 sources == LSC_SOURCES_ASSIST ? received : NULL);
	if (!finder->nodes)
		return 0;
	find_twins(finder);
	return lsc_fit_init(&finder->fit, finder->nodes, n_units, finder->can, finder->need);
}

int lsc_cover_find(const struct lsc_cover_node *nodes, uint32_t n_nodes, const double *unit_cost,
		   uint32_t n_units, enum lsc_cover_sources sources, struct lsc_cover *ret_cover)
{
	LSC_CLEANUP(finder_release) struct finder finder = {.max_work = MAX_WORK};
	double low;
	int r;

	if (!n_nodes || !n_units)
		return 0;
	r = finder_init(&finder, nodes, n_nodes, unit_cost, n_units, sources);
	if (r < 0)
		return r;
	low = lowest_limit(&finder);
	if (!isfinite(low) || !bisect_greedy(&finder, low))
		return 0;
	if (finder.heaviest > 0)
		find_best(&finder, low);
	for (uint32_t i = 0; i < finder.found.n; i++)
		finder.found.stages[i].node = finder.id[finder.found.stages[i].node];
	*ret_cover = finder.found;
	return 1;
}
