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
	finder->base = calloc(nodes, sizeof(*finder->base));
	finder->most = calloc(nodes, sizeof(*finder->most));
	finder->twin = calloc(nodes, sizeof(*finder->twin));
	finder->can = calloc(nodes, units);
	finder->weight = calloc(units, sizeof(*finder->weight));
	finder->need = calloc(units, sizeof(*finder->need));
	finder->sum = calloc((size_t)units + 1, sizeof(*finder->sum));
	finder->count = calloc((size_t)units + 1, sizeof(*finder->count));
	finder->after = calloc((size_t)units + 1, sizeof(*finder->after));
	finder->left = calloc(nodes, sizeof(*finder->left));
	finder->load = calloc(nodes, sizeof(*finder->load));
	finder->least = calloc((size_t)units + 1, sizeof(*finder->least));
	finder->candidates =
		calloc((size_t)LSC_COVER_MAX_STAGES * nodes, sizeof(*finder->candidates));
	finder->seen = calloc(nodes, sizeof(*finder->seen));
	if (!finder->id || !finder->cost || !finder->base || !finder->most || !finder->twin ||
	    !finder->can || !finder->weight || !finder->need || !finder->load || !finder->least ||
	    !finder->candidates || !finder->seen || !finder->sum || !finder->count ||
	    !finder->after || !finder->left)
		return -ENOMEM;
	finder->units = units;
	return 0;
}

void lsc_finder_release(struct lsc_finder *finder)
{
	free(finder->id);
	free(finder->cost);
	free(finder->base);
	free(finder->most);
	free(finder->twin);
	free(finder->can);
	free(finder->weight);
	free(finder->need);
	free(finder->run);
	free(finder->sum);
	free(finder->count);
	free(finder->after);
	free(finder->left);
	free(finder->load);
	free(finder->least);
	free(finder->candidates);
	free(finder->seen);
	lsc_fit_release(&finder->fit);
	lsc_match_release(&finder->match);
}

int lsc_finder_ready(struct lsc_finder *finder)
{
	uint32_t nodes = finder->nodes, units = finder->units;

	finder->run = calloc((size_t)units * nodes, sizeof(*finder->run));
	if (!finder->run)
		return -ENOMEM;
	for (uint32_t i = 0; i < nodes; i++)
		for (uint32_t u = units, end = units; u-- > 0;) {
			end = lsc_finder_can(finder, i, u) ? end : u;
			finder->run[(size_t)u * nodes + i] = end;
		}
	for (uint32_t u = 0; u < units; u++) {
		finder->sum[u + 1] = finder->sum[u] + finder->weight[u];
		finder->count[u + 1] = finder->count[u] + (finder->need[u] > 0);
	}
	for (uint32_t u = 0; u <= units; u++)
		for (uint32_t n = finder->count[u]; n <= units && finder->after[n] < u; n++)
			finder->after[n] = u;
	return finder->even
		       ? lsc_match_init(&finder->match, nodes, units, finder->can, finder->need)
		       : lsc_fit_init(&finder->fit, nodes, units, finder->can, finder->need);
}

static bool is_within(double load, double limit)
{
	return load <= limit * (1 + LSC_COVER_CLOSE);
}

static double limit_of(const struct lsc_finder *finder, uint32_t node)
{
	return LSC_MIN(finder->limit, finder->most[node]);
}

/* What its load leaves a node to run, in whole units. */
static void set_load(struct lsc_finder *finder, uint32_t node, double load)
{
	double limit, left;

	finder->load[node] = load;
	if (!finder->even)
		return;
	limit = limit_of(finder, node) * (1 + LSC_COVER_CLOSE);
	left = (limit - load) / (finder->cost[node] * finder->heaviest);
	left = LSC_MIN(left, (double)finder->units);
	finder->left[node] = load > limit ? -1 : (int32_t)(left + LSC_COVER_CLOSE);
}

/* Where a stage of this node ends that starts at unit: the first unit that is not of it. */
static uint32_t reach(const struct lsc_finder *finder, uint32_t node, uint32_t unit)
{
	uint32_t end = finder->run[(size_t)unit * finder->nodes + node], low = unit;
	double limit = limit_of(finder, node), load = finder->load[node];

	if (finder->even)
		return finder->left[node] < 0
			       ? unit
			       : LSC_MIN(end,
					 finder->after[LSC_MIN(finder->count[unit] +
								       (uint32_t)finder->left[node],
							       finder->units)]);
	if (end == unit ||
	    is_within(load + finder->cost[node] * (finder->sum[end] - finder->sum[unit]), limit))
		return end;
	while (end - low > 1) {
		uint32_t middle = low + (end - low) / 2;

		if (is_within(load + finder->cost[node] * (finder->sum[middle] - finder->sum[unit]),
			      limit))
			low = middle;
		else
			end = middle;
	}
	return low;
}

static void add_stage(struct lsc_finder *finder, uint32_t node, uint32_t first, uint32_t end)
{
	set_load(finder, node,
		 finder->load[node] + finder->cost[node] * (finder->sum[end] - finder->sum[first]));
	finder->path.stages[finder->path.n++] = (struct lsc_stage){node, first, end - 1};
}

/* Undoes that. */
static void remove_stage(struct lsc_finder *finder, uint32_t node, double load)
{
	finder->path.n--;
	set_load(finder, node, load);
}

static void keep_path(struct lsc_finder *finder)
{
	finder->found = finder->path;
	finder->found.bottleneck = 0;
	for (uint32_t i = 0; i < finder->path.n; i++)
		finder->found.bottleneck = LSC_MAX(finder->found.bottleneck,
						   finder->load[finder->path.stages[i].node]);
	finder->fewest = finder->path.n;
}

static void start_over(struct lsc_finder *finder, double limit)
{
	finder->limit = limit;
	finder->path.n = 0;
	for (uint32_t i = 0; i < finder->nodes; i++)
		set_load(finder, i, finder->base[i]);
	finder->work += finder->nodes * 4ull;
}

bool lsc_finder_greedy(struct lsc_finder *finder, double limit)
{
	start_over(finder, limit);
	for (uint32_t unit = 0; unit < finder->units;) {
		const uint32_t *run = finder->run + (size_t)unit * finder->nodes;
		uint32_t node = NONE, end = unit;

		if (finder->path.n == LSC_COVER_MAX_STAGES)
			return false;
		finder->work += finder->nodes;
		for (uint32_t i = 0; i < finder->nodes; i++) {
			uint32_t to = run[i] > end ? reach(finder, i, unit) : 0;

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
		const uint32_t *run = finder->run + (size_t)unit * finder->nodes;
		uint32_t end = unit;

		for (uint32_t i = 0; i < finder->nodes; i++)
			if (run[i] > end)
				end = LSC_MAX(end, reach(finder, i, unit));
		finder->least[unit] = LSC_COVER_MAX_STAGES + 1;
		if (end > unit)
			finder->least[unit] = LSC_MIN(finder->least[unit], finder->least[end] + 1);
	}
	finder->work += (uint64_t)finder->nodes * finder->units;
}

/* Whether the units from unit on fit into what is left, where they are even. */
static bool rest_matches(struct lsc_finder *finder, uint32_t unit)
{
	bool fits;

	for (uint32_t i = 0; i < finder->nodes; i++)
		finder->match.room[finder->match.rank[i]] = (uint32_t)LSC_MAX(finder->left[i], 0);
	fits = lsc_match_check(&finder->match, unit);
	finder->work += finder->match.work;
	finder->match.work = 0;
	return fits;
}

/* Whether the units from unit on fit under the limit, beside the load there is. */
static bool rest_fits(struct lsc_finder *finder, uint32_t unit)
{
	bool fits;

	if (finder->even)
		return rest_matches(finder, unit);
	for (uint32_t i = 0; i < finder->nodes; i++) {
		double left = limit_of(finder, i) * (1 + LSC_COVER_CLOSE) - finder->load[i];
		double room = left / (finder->cost[i] * finder->heaviest);

		room = LSC_MIN(room, (double)finder->units); /* enough for all */
		finder->fit.room[i] = room > 0 ? (int64_t)ceil(room * LSC_FINDER_ONE) : 0;
	}
	fits = lsc_fit_check(&finder->fit, unit);
	finder->work += finder->fit.work;
	finder->fit.work = 0;
	return fits;
}

/* --- the search --- */

/* Brings the one that gets furthest to the front: of those that are left often only few are tried.
 */
static struct lsc_candidate next_candidate(struct lsc_candidate *list, uint32_t n)
{
	uint32_t best = 0;
	struct lsc_candidate found;

	for (uint32_t i = 1; i < n; i++)
		if (list[i].end > list[best].end ||
		    (list[i].end == list[best].end && list[i].node < list[best].node))
			best = i;
	found = list[best];
	list[best] = list[0];
	list[0] = found;
	return found;
}

/* The nodes that can run the unit and have not just done so; of nodes that are alike and still
 * idle only one. */
static uint32_t list_candidates(struct lsc_finder *finder, uint32_t unit,
				struct lsc_candidate *list)
{
	const struct lsc_cover *path = &finder->path;
	uint32_t previous = path->n ? path->stages[path->n - 1].node : NONE;
	const uint32_t *run = finder->run + (size_t)unit * finder->nodes;
	uint32_t n = 0, level = ++finder->levels;

	for (uint32_t i = 0; i < finder->nodes; i++) {
		uint32_t end;

		if (i == previous || run[i] == unit)
			continue;
		if (finder->load[i] == finder->base[i]) {
			if (finder->seen[finder->twin[i]] == level)
				continue;
			finder->seen[finder->twin[i]] = level;
		}
		end = reach(finder, i, unit);
		if (end > unit)
			list[n++] = (struct lsc_candidate){i, end};
	}
	finder->work += finder->nodes + n * 4;
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
	remove_stage(finder, node, load);
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
		remove_stage(finder, candidate.node, load);
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
	for (uint32_t i = 0; i < n && !finder->done; i++) {
		finder->work += n - i;
		try_node(finder, unit, next_candidate(list + i, n - i));
	}
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
