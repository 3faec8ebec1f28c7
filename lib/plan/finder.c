/* finder - depth first, a stage at a time
 *
 * Covers are built from the first unit on.  Two bounds cut the search short: least[] is how many
 * stages the rest takes if every node were fresh, and lib/plan/fit.c says whether the rest still
 * fits into what the nodes have left.  Where all units cost the same, the latter is exact: the
 * first way down ends in a cover.
 */
#include "plan/finder.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define NONE UINT32_MAX

int lsc_finder_alloc(struct lsc_finder *finder, uint32_t nodes, uint32_t units)
{
	finder->id = calloc(nodes, sizeof(*finder->id));
	finder->cost = calloc(nodes, sizeof(*finder->cost));
	finder->most = calloc(nodes, sizeof(*finder->most));
	finder->twin = calloc(nodes, sizeof(*finder->twin));
	finder->can = calloc(nodes, units);
	finder->weight = calloc(units, sizeof(*finder->weight));
	finder->need = calloc(units, sizeof(*finder->need));
	finder->load = calloc(nodes, sizeof(*finder->load));
	finder->least = calloc((size_t)units + 1, sizeof(*finder->least));
	finder->candidates =
		calloc((size_t)LSC_COVER_MAX_STAGES * nodes, sizeof(*finder->candidates));
	finder->seen = calloc(nodes, sizeof(*finder->seen));
	if (!finder->id || !finder->cost || !finder->most || !finder->twin || !finder->can ||
	    !finder->weight || !finder->need || !finder->load || !finder->least ||
	    !finder->candidates || !finder->seen)
		return -ENOMEM;
	finder->units = units;
	return 0;
}

void lsc_finder_release(struct lsc_finder *finder)
{
	free(finder->id);
	free(finder->cost);
	free(finder->most);
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

static bool is_within(double load, double limit)
{
	return load <= limit * (1 + LSC_COVER_CLOSE);
}

static double limit_of(const struct lsc_finder *finder, uint32_t node)
{
	return LSC_MIN(finder->limit, finder->most[node]);
}

/* Where a stage of this node ends that starts at unit with so much load: the first unit that is
 * not of it. */
static uint32_t reach(const struct lsc_finder *finder, uint32_t node, uint32_t unit, double load)
{
	for (; unit < finder->units && lsc_finder_can(finder, node, unit); unit++) {
		load += finder->cost[node] * finder->weight[unit];
		if (!is_within(load, limit_of(finder, node)))
			break;
	}
	return unit;
}

static void add_stage(struct lsc_finder *finder, uint32_t node, uint32_t first, uint32_t end)
{
	for (uint32_t u = first; u < end; u++)
		finder->load[node] += finder->cost[node] * finder->weight[u];
	finder->path.stages[finder->path.n++] = (struct lsc_stage){node, first, end - 1};
}

static void keep_path(struct lsc_finder *finder)
{
	finder->found = finder->path;
	finder->found.bottleneck = 0;
	for (uint32_t i = 0; i < finder->nodes; i++)
		finder->found.bottleneck = LSC_MAX(finder->found.bottleneck, finder->load[i]);
	finder->fewest = finder->path.n;
}

static void start_over(struct lsc_finder *finder, double limit)
{
	finder->limit = limit;
	finder->path.n = 0;
	memset(finder->load, 0, finder->nodes * sizeof(*finder->load));
}

bool lsc_finder_greedy(struct lsc_finder *finder, double limit)
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

static void count_least(struct lsc_finder *finder)
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
static bool rest_fits(struct lsc_finder *finder, uint32_t unit)
{
	bool fits;

	for (uint32_t i = 0; i < finder->nodes; i++) {
		double left = limit_of(finder, i) * (1 + LSC_COVER_CLOSE) - finder->load[i];
		double room = left / (finder->cost[i] * finder->heaviest);

		room = LSC_MIN(room, (double)finder->units); /* enough for all */
		if (finder->even)
			room = floor(room + LSC_COVER_CLOSE);
		finder->fit.room[i] = room > 0 ? (int64_t)ceil(room * LSC_FINDER_ONE) : 0;
	}
	fits = lsc_fit_check(&finder->fit, unit);
	finder->work += finder->fit.work;
	finder->fit.work = 0;
	return fits;
}

/* --- the search --- */

static int compare_candidates(const void *a, const void *b)
{
	const struct lsc_candidate *x = a, *y = b;

	if (x->end != y->end)
		return x->end > y->end ? -1 : 1;
	return x->node < y->node ? -1 : 1;
}

/* The nodes that can run the unit and have not just done so, the furthest reach first; of nodes
 * that are alike and still idle only one. */
static uint32_t list_candidates(struct lsc_finder *finder, uint32_t unit,
				struct lsc_candidate *list)
{
	const struct lsc_cover *path = &finder->path;
	uint32_t previous = path->n ? path->stages[path->n - 1].node : NONE;
	uint32_t n = 0, level = ++finder->levels;

	for (uint32_t i = 0; i < finder->nodes; i++) {
		uint32_t end;

		if (i == previous || !lsc_finder_can(finder, i, unit))
			continue;
		if (finder->load[i] == 0) {
			if (finder->seen[finder->twin[i]] == level)
				continue;
			finder->seen[finder->twin[i]] = level;
		}
		end = reach(finder, i, unit, finder->load[i]);
		finder->work += end - unit + 1;
		if (end > unit)
			list[n++] = (struct lsc_candidate){i, end};
	}
	qsort(list, n, sizeof(*list), compare_candidates);
	finder->work += finder->nodes + n * 8;
	return n;
}

static void descend(struct lsc_finder *finder, uint32_t unit);

/* Whether the rest fits once this node has run the units before end. */
static bool fits_after(struct lsc_finder *finder, uint32_t node, uint32_t unit, uint32_t end)
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
static uint32_t furthest_fit(struct lsc_finder *finder, uint32_t unit,
			     struct lsc_candidate candidate)
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
static void try_node(struct lsc_finder *finder, uint32_t unit, struct lsc_candidate candidate)
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

static void descend(struct lsc_finder *finder, uint32_t unit)
{
	struct lsc_candidate *list = finder->candidates + (size_t)finder->path.n * finder->nodes;
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

bool lsc_finder_search(struct lsc_finder *finder, double limit, uint32_t fewest, bool any)
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

bool lsc_finder_fits(struct lsc_finder *finder, double limit)
{
	start_over(finder, limit);
	return rest_fits(finder, 0);
}
