/* cover - the problem, and the limits under which a cover is looked for
 *
 * The limit on what a node may spend comes from bisection: between what a greedy cover takes and
 * what not even split units would fit into.  The last search, at the least limit there is, looks
 * for the fewest stages.  The search itself is lib/plan/finder.c.
 */
#include "plan/cover.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "plan/finder.h"

/* Of a search, some 2 ns each: a millisecond for 64 nodes, 15 for a thousand (tests/bench/cover.c).
 * With twenty times as much, covers are the same at all moments of casts, and hardly better where
 * single units are scattered over nodes. */
#define MAX_WORK      160000ull
#define MAX_WORK_NODE 700ull

static uint64_t most_work(uint32_t nodes)
{
	return LSC_MAX(MAX_WORK, MAX_WORK_NODE * nodes);
}

/* --- the limit --- */

/* No limit can be lower: each unit runs somewhere, and all of them on all nodes. */
static double lowest_limit(const struct lsc_finder *finder)
{
	double limit = 0, weight = 0, speed = 0;

	for (uint32_t i = 0; i < finder->nodes; i++)
		speed += 1 / finder->cost[i];
	for (uint32_t u = 0; u < finder->units; u++) {
		double least = INFINITY;

		for (uint32_t i = 0; i < finder->nodes; i++)
			if (lsc_finder_can(finder, i, u))
				least = LSC_MIN(least, finder->base[i] +
							       finder->cost[i] * finder->weight[u]);
		limit = LSC_MAX(limit, least);
		weight += finder->weight[u];
	}
	return LSC_MAX(limit, weight / speed);
}

/* Any cover.  Nodes with limits of their own may have to take turns that greed does not see. */
static bool find_any(struct lsc_finder *finder)
{
	bool limited = false;

	for (uint32_t i = 0; i < finder->nodes; i++)
		limited = limited || isfinite(finder->most[i]);
	return lsc_finder_greedy(finder, INFINITY) ||
	       (limited && lsc_finder_search(finder, INFINITY, LSC_COVER_MAX_STAGES + 1, true));
}

/* The greedy cover of least bottleneck that bisection comes upon. */
static bool bisect_greedy(struct lsc_finder *finder, double low)
{
	struct lsc_cover best;

	if (!find_any(finder))
		return false;
	best = finder->found;
	for (int i = 0; i < 20 && best.bottleneck > low * (1 + LSC_COVER_CLOSE); i++) {
		double middle = low + (best.bottleneck - low) / 2;

		if (lsc_finder_greedy(finder, middle))
			best = finder->found;
		else
			low = middle;
	}
	finder->found = best;
	return true;
}

/* Where all units cost the same, limits differ only in how many units a node can run: the least
 * such limit from limit on, or the next one after it. */
static double round_up(const struct lsc_finder *finder, double limit, bool next)
{
	double up = INFINITY;

	for (uint32_t i = 0; i < finder->nodes; i++) {
		double cost = finder->cost[i] * finder->heaviest;
		double left = (limit - finder->base[i]) / cost;
		double n = next ? floor(left + LSC_COVER_CLOSE) + 1 : ceil(left - LSC_COVER_CLOSE);

		up = LSC_MIN(up, finder->base[i] + LSC_MAX(n, 0) * cost);
	}
	return up;
}

static double round_down(const struct lsc_finder *finder, double limit)
{
	double down = 0;

	for (uint32_t i = 0; i < finder->nodes; i++) {
		double cost = finder->cost[i] * finder->heaviest;

		double n = floor((limit - finder->base[i]) / cost + LSC_COVER_CLOSE);

		if (n >= 0)
			down = LSC_MAX(down, finder->base[i] + n * cost);
	}
	return down;
}

/* The greatest bound from low to high that no limit can be below: what units would fit into if
 * they could be split. */
static double bisect_fit(struct lsc_finder *finder, double low, double high)
{
	double close = finder->even ? LSC_COVER_CLOSE : 1e-6;

	if (finder->even)
		low = round_up(finder, low, false);
	if (lsc_finder_fits(finder, low))
		return low;
	while (high - low > high * close) {
		double middle = low + (high - low) / 2;

		if (lsc_finder_fits(finder, middle))
			high = finder->even ? round_down(finder, middle) : middle;
		else
			low = finder->even ? round_up(finder, middle, true) : middle;
	}
	return low;
}

/* Improves the cover found so far until its bottleneck is the least. */
static void bisect_search(struct lsc_finder *finder, double low, uint64_t max_work)
{
	struct lsc_cover best = finder->found;
	double middle = low;

	while (best.bottleneck > low * (1 + 2 * LSC_COVER_CLOSE) && finder->work < max_work) {
		/* A search that gives up counts as one that finds nothing. */
		finder->max_work = finder->work + (max_work - finder->work) / 4 + 1;
		if (lsc_finder_search(finder, middle, LSC_COVER_MAX_STAGES + 1, true))
			best = finder->found;
		else
			low = middle;
		middle = low + (best.bottleneck - low) / 2;
		if (best.bottleneck - low <= best.bottleneck * 1e-7)
			break;
	}
	finder->found = best;
}

static void find_best(struct lsc_finder *finder, double low, double slack)
{
	uint64_t max_work = most_work(finder->nodes);
	struct lsc_cover best;

	low = bisect_fit(finder, low, finder->found.bottleneck);
	finder->work = 0;
	bisect_search(finder, low, max_work);
	best = finder->found;
	/* As much work again: a cover with the least bottleneck may have many stages still. */
	finder->max_work = finder->work + max_work;
	if (!lsc_finder_search(finder, best.bottleneck + slack, best.n, false))
		finder->found = best;
}

/* Gives a stage to the node that is through with it first, where the bottleneck allows it. */
static void relax_stage(struct lsc_finder *finder, uint32_t at)
{
	struct lsc_cover *cover = &finder->found;
	struct lsc_stage *stage = &cover->stages[at];
	const uint32_t *run = finder->run + (size_t)stage->first * finder->nodes;
	double weight = finder->sum[stage->last + 1] - finder->sum[stage->first];
	double least = finder->load[stage->node] * (1 - LSC_COVER_CLOSE);
	uint32_t best = stage->node;

	for (uint32_t i = 0; i < finder->nodes; i++) {
		double load = finder->load[i] + finder->cost[i] * weight;

		if (run[i] <= stage->last || load >= least || load > finder->most[i] ||
		    (at > 0 && cover->stages[at - 1].node == i) ||
		    (at + 1 < cover->n && cover->stages[at + 1].node == i))
			continue;
		best = i;
		least = load;
	}
	if (best == stage->node)
		return;
	finder->load[stage->node] -= finder->cost[stage->node] * weight;
	finder->load[best] = least;
	stage->node = best;
}

/* A node that is no bottleneck may still have much to do: some other that has less may do as well.
 */
static void relax(struct lsc_finder *finder)
{
	struct lsc_cover *cover = &finder->found;

	memcpy(finder->load, finder->base, finder->nodes * sizeof(*finder->load));
	for (uint32_t s = 0; s < cover->n; s++) {
		const struct lsc_stage *stage = &cover->stages[s];

		finder->load[stage->node] +=
			finder->cost[stage->node] *
			(finder->sum[stage->last + 1] - finder->sum[stage->first]);
	}
	for (uint32_t s = 0; s < cover->n; s++)
		relax_stage(finder, s);
	cover->bottleneck = 0;
	for (uint32_t s = 0; s < cover->n; s++)
		cover->bottleneck = LSC_MAX(cover->bottleneck, finder->load[cover->stages[s].node]);
}

/* --- the problem --- */

static bool is_candidate(const struct lsc_cover_node *node, enum lsc_cover_sources sources)
{
	return node->usable && isfinite(node->cost) && node->cost > 0 && isfinite(node->load) &&
	       node->load >= 0 && !(node->source && sources == LSC_SOURCES_NEVER);
}

static int add_weights(struct lsc_finder *finder, const double *unit_cost)
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
	finder->even = lightest >= finder->heaviest * (1 - LSC_COVER_CLOSE);
	for (uint32_t u = 0; u < finder->units && finder->heaviest > 0; u++)
		finder->need[u] =
			finder->even && finder->weight[u] > 0
				? LSC_FINDER_ONE
				: (int64_t)(finder->weight[u] / finder->heaviest * LSC_FINDER_ONE);
	return 0;
}

/* What a source may run: where it only assists, no unit that a receiver can. */
static void add_node(struct lsc_finder *finder, const struct lsc_cover_node *node, uint32_t id,
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
	finder->base[finder->nodes] = node->load;
	finder->most[finder->nodes] =
		node->most > 0 ? node->load + node->most * node->cost : INFINITY;
	finder->nodes++;
}

/* FNV-1a of what a node can run: those with different ones are no twins. */
static uint32_t digest(const uint8_t *can, uint32_t units)
{
	uint32_t sum = 2166136261u;

	for (uint32_t u = 0; u < units; u++)
		sum = (sum ^ can[u]) * 16777619u;
	return sum;
}

static void find_twins(struct lsc_finder *finder)
{
	uint32_t *sums = finder->seen; /* not in use yet */

	for (uint32_t i = 0; i < finder->nodes; i++) {
		const uint8_t *can = finder->can + (size_t)i * finder->units;

		sums[i] = digest(can, finder->units);
		for (finder->twin[i] = 0; finder->twin[i] < i; finder->twin[i]++) {
			uint32_t j = finder->twin[i];

			if (sums[i] == sums[j] && finder->cost[i] == finder->cost[j] &&
			    finder->base[i] == finder->base[j] &&
			    finder->most[i] == finder->most[j] &&
			    !memcmp(can, finder->can + (size_t)j * finder->units, finder->units))
				break;
		}
	}
	memset(sums, 0, finder->nodes * sizeof(*sums));
}

static int finder_init(struct lsc_finder *finder, const struct lsc_cover_node *nodes,
		       uint32_t n_nodes, const double *unit_cost, uint32_t n_units,
		       enum lsc_cover_sources sources)
{
	LSC_CLEANUP_FREE uint8_t *received = calloc(n_units, 1);
	int r;

	if (!received || lsc_finder_alloc(finder, n_nodes, n_units) < 0)
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
	return lsc_finder_ready(finder);
}

static int find_cover(const struct lsc_cover_node *nodes, uint32_t n_nodes, const double *unit_cost,
		      uint32_t n_units, enum lsc_cover_sources sources, double slack,
		      struct lsc_cover *ret_cover)
{
	LSC_CLEANUP(lsc_finder_release)
	struct lsc_finder finder = {.max_work = MAX_WORK + MAX_WORK_NODE * n_nodes};
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
		find_best(&finder, low, slack);
	relax(&finder);
	for (uint32_t i = 0; i < finder.found.n; i++)
		finder.found.stages[i].node = finder.id[finder.found.stages[i].node];
	*ret_cover = finder.found;
	return 1;
}

/* --- units that are not to be parted --- */

/* The same problem with each such run of units as one: a node can run it where it can run all of
 * them. */
struct merged {
	struct lsc_cover_node *nodes;
	uint8_t *holds;  /* [nodes][runs] */
	double *cost;    /* [runs] */
	uint32_t *first; /* [runs + 1]: units they begin with */
	uint32_t runs;
};

static void merged_release(struct merged *merged)
{
	free(merged->nodes);
	free(merged->holds);
	free(merged->cost);
	free(merged->first);
}

static int merged_init(struct merged *merged, uint32_t n_nodes, const uint8_t *begins,
		       uint32_t n_units)
{
	merged->first = calloc((size_t)n_units + 1, sizeof(*merged->first));
	if (!merged->first)
		return -ENOMEM;
	for (uint32_t u = 0; u < n_units; u++)
		if (u == 0 || begins[u])
			merged->first[merged->runs++] = u;
	merged->first[merged->runs] = n_units;
	merged->nodes = calloc(n_nodes, sizeof(*merged->nodes));
	merged->holds = calloc(n_nodes, merged->runs);
	merged->cost = calloc(merged->runs, sizeof(*merged->cost));
	return merged->nodes && merged->holds && merged->cost ? 0 : -ENOMEM;
}

static void merge_node(struct merged *merged, const struct lsc_cover_node *node, uint32_t index)
{
	uint8_t *holds = merged->holds + (size_t)index * merged->runs;

	merged->nodes[index] = *node;
	merged->nodes[index].holds = holds;
	for (uint32_t run = 0; node->holds && run < merged->runs; run++) {
		uint32_t u = merged->first[run];

		while (u < merged->first[run + 1] && node->holds[u])
			u++;
		holds[run] = u == merged->first[run + 1];
	}
}

int lsc_cover_find(const struct lsc_cover_node *nodes, uint32_t n_nodes, const double *unit_cost,
		   const uint8_t *begins, uint32_t n_units, enum lsc_cover_sources sources,
		   double slack, struct lsc_cover *ret_cover)
{
	LSC_CLEANUP(merged_release) struct merged merged = {0};
	int r;

	if (!begins || !n_nodes || !n_units)
		return find_cover(nodes, n_nodes, unit_cost, n_units, sources, slack, ret_cover);
	r = merged_init(&merged, n_nodes, begins, n_units);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n_nodes; i++)
		merge_node(&merged, &nodes[i], i);
	for (uint32_t run = 0; unit_cost && run < merged.runs; run++)
		for (uint32_t u = merged.first[run]; u < merged.first[run + 1]; u++)
			merged.cost[run] += unit_cost[u];
	r = find_cover(merged.nodes, n_nodes, unit_cost ? merged.cost : NULL, merged.runs, sources,
		       slack, ret_cover);
	for (uint32_t i = 0; r > 0 && i < ret_cover->n; i++) {
		struct lsc_stage *stage = &ret_cover->stages[i];

		stage->first = merged.first[stage->first];
		stage->last = merged.first[stage->last + 1] - 1;
	}
	return r;
}
