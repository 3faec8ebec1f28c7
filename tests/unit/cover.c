/* cover: held against every assignment there is on small problems, against bounds on large ones */
#include "tap.h"

#include <float.h>
#include <math.h>
#include <time.h>

#include "base/macros.h"
#include "plan/cover.h"
#include "plan/schedule.h"

#define MAX_NODES 200
#define MAX_UNITS 160

struct problem {
	struct lsc_cover_node nodes[MAX_NODES];
	uint8_t holds[MAX_NODES][MAX_UNITS];
	double unit_cost[MAX_UNITS];
	uint8_t begins[MAX_UNITS]; /* where a stage may */
	bool whole;                /* it may there alone */
	uint32_t n, units;
	bool even; /* unit_cost is left out */
	enum lsc_cover_sources sources;
	double slack;
};

static struct problem problem;
static struct lsc_cover cover;

static uint32_t dice(uint32_t below)
{
	static uint64_t state = 0x9e3779b97f4a7c15ull;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

static void start_problem(uint32_t n, uint32_t units, bool even)
{
	memset(&problem, 0, sizeof(problem));
	problem.n = n;
	problem.units = units;
	problem.even = even;
	for (uint32_t i = 0; i < n; i++)
		problem.nodes[i] = (struct lsc_cover_node){
			.holds = problem.holds[i], .cost = 1, .usable = true};
	for (uint32_t u = 0; u < units; u++)
		problem.unit_cost[u] = 1;
}

static int find(void)
{
	return lsc_cover_find(problem.nodes, problem.n, problem.even ? NULL : problem.unit_cost,
			      problem.whole ? problem.begins : NULL, problem.units, problem.sources,
			      problem.slack, &cover);
}

/* --- what the rules say, once more and slowly --- */

/* Whether a node holds a unit, and those that are not to be parted from it. */
static bool holds_run(uint32_t node, uint32_t unit)
{
	uint32_t end = unit + 1;

	while (problem.whole && unit > 0 && !problem.begins[unit])
		unit--;
	while (problem.whole && end < problem.units && !problem.begins[end])
		end++;
	while (unit < end && problem.holds[node][unit])
		unit++;
	return unit == end;
}

static bool may_run(uint32_t node, uint32_t unit)
{
	const struct lsc_cover_node *it = &problem.nodes[node];

	if (!it->usable || !holds_run(node, unit))
		return false;
	if (!it->source || problem.sources == LSC_SOURCES_SERVE)
		return true;
	if (problem.sources == LSC_SOURCES_NEVER)
		return false;
	for (uint32_t i = 0; i < problem.n; i++)
		if (!problem.nodes[i].source && problem.nodes[i].usable && holds_run(i, unit))
			return false;
	return true;
}

static bool is_close(double a, double b)
{
	return fabs(a - b) <= 1e-6 * fmax(a, b);
}

static bool is_too_much(uint32_t node, double load)
{
	const struct lsc_cover_node *it = &problem.nodes[node];

	return it->most > 0 && load - it->load > it->most * it->cost * (1 + 1e-6);
}

/* Every unit is run once, in order, by one that may; no stage could be joined with the next; and
 * the bottleneck is what it says. */
static bool is_valid(void)
{
	double load[MAX_NODES], worst = 0;
	uint32_t unit = 0;

	for (uint32_t i = 0; i < problem.n; i++)
		load[i] = problem.nodes[i].load;

	for (uint32_t s = 0; s < cover.n; s++) {
		const struct lsc_stage *stage = &cover.stages[s];

		if (stage->node >= problem.n || stage->first != unit || stage->last < unit ||
		    stage->last >= problem.units ||
		    (problem.whole && unit && !problem.begins[unit]) ||
		    (s && cover.stages[s - 1].node == stage->node))
			return false;
		for (; unit <= stage->last; unit++) {
			if (!may_run(stage->node, unit))
				return false;
			load[stage->node] +=
				problem.nodes[stage->node].cost * problem.unit_cost[unit];
		}
		if (is_too_much(stage->node, load[stage->node]))
			return false;
	}
	for (uint32_t s = 0; s < cover.n; s++)
		worst = fmax(worst, load[cover.stages[s].node]);
	return unit == problem.units && is_close(worst, cover.bottleneck);
}

struct best {
	double bottleneck; /* the least there is */
	double limit;      /* what is as good; 0: only to be found out */
	uint32_t stages;   /* the fewest under it */
};

/* used: a bit for each node that runs something. */
static void try_all(uint32_t unit, uint32_t last, uint32_t stages, uint32_t used, double *load,
		    struct best *best)
{
	if (unit == problem.units) {
		double worst = 0;

		for (uint32_t i = 0; i < problem.n; i++)
			worst = fmax(worst, used >> i & 1 ? load[i] : 0);
		best->bottleneck = fmin(worst, best->bottleneck);
		if (worst <= best->limit)
			best->stages = LSC_MIN(best->stages, stages);
		return;
	}
	for (uint32_t i = 0; i < problem.n; i++) {
		double before = load[i];

		if (!may_run(i, unit) ||
		    (problem.whole && unit && !problem.begins[unit] && i != last))
			continue;
		load[i] += problem.nodes[i].cost * problem.unit_cost[unit];
		if (!is_too_much(i, load[i]))
			try_all(unit + 1, i, stages + (i != last), used | 1u << i, load, best);
		load[i] = before;
	}
}

static bool agrees_with_all(void)
{
	double load[MAX_NODES];
	struct best best = {DBL_MAX, -1, UINT32_MAX};
	int r = find();

	for (uint32_t i = 0; i < problem.n; i++)
		load[i] = problem.nodes[i].load;
	try_all(0, UINT32_MAX, 0, 0, load, &best);
	best.limit = (best.bottleneck + problem.slack) * (1 + 1e-6);
	if (best.bottleneck < DBL_MAX)
		try_all(0, UINT32_MAX, 0, 0, load, &best);
	if (best.stages == UINT32_MAX)
		return r == 0;
	if (r == 1 && is_valid() && cover.bottleneck <= best.limit &&
	    (problem.slack > 0 || is_close(cover.bottleneck, best.bottleneck)) &&
	    cover.n == best.stages)
		return true;
	printf("# %u nodes, %u units, sources %d: %d, bottleneck %g in %u stages, want %g in %u\n",
	       problem.n, problem.units, problem.sources, r, cover.bottleneck, cover.n,
	       best.bottleneck, best.stages);
	return false;
}

enum weights { EQUAL, ENDS, ANY };

static void random_problem(enum weights weights, bool speeds)
{
	start_problem(1 + dice(4), 1 + dice(7), weights == EQUAL && dice(2));
	problem.sources = dice(3);
	for (uint32_t i = 0; i < problem.n; i++) {
		uint32_t density = 1 + dice(4);

		problem.nodes[i].usable = dice(12) != 0;
		problem.nodes[i].source = dice(4) == 0;
		if (speeds)
			problem.nodes[i].cost = 0.5 + dice(8) * 0.3;
		for (uint32_t u = 0; u < problem.units; u++)
			problem.holds[i][u] = problem.nodes[i].source || dice(4) < density;
	}
	for (uint32_t u = 0; u < problem.units; u++) {
		if (weights == ANY)
			problem.unit_cost[u] = dice(5) * 0.7;
		else if (weights == ENDS && u == 0)
			problem.unit_cost[u] = 0;
		else if (weights == ENDS && u + 1 == problem.units)
			problem.unit_cost[u] = 2.6;
	}
}

/* Some nodes may not run all that they hold. */
static void limit_some(void)
{
	for (uint32_t i = 0; i < problem.n; i++)
		if (dice(3) == 0)
			problem.nodes[i].most = 1 + dice(problem.units);
}

/* Some are at work for others: as much as so many units, or parts of one. */
static void load_some(void)
{
	for (uint32_t i = 0; i < problem.n; i++)
		if (dice(2))
			problem.nodes[i].load = dice(2) ? dice(6) : dice(60) * 0.13;
}

static void test_small(void)
{
	static const char *const names[] = {"equal units", "a light first and a heavy last unit",
					    "any units"};

	for (int how = 0; how < 4; how++) {
		bool speeds = how & 1, loads = how & 2;

		for (int weights = EQUAL; weights <= ANY; weights++) {
			bool good = true;

			for (int i = 0; i < 3000 && good; i++) {
				random_problem(weights, speeds);
				if (i % 2)
					limit_some();
				if (loads)
					load_some();
				if (i % 3 == 0)
					problem.slack = dice(4) * 0.6;
				good = agrees_with_all();
			}
			ok(good, "the best of all covers: %s, %s speeds%s", names[weights],
			   speeds ? "different" : "the same", loads ? ", some at work" : "");
		}
	}
}

/* The same where some units are not to be parted. */
static void test_whole(void)
{
	bool good = true;

	for (int i = 0; i < 3000 && good; i++) {
		random_problem(ANY, true);
		problem.whole = true;
		load_some();
		for (uint32_t u = 0; u < problem.units; u++)
			problem.begins[u] = dice(2) != 0;
		good = agrees_with_all();
	}
	ok(good, "the best of all covers: units that are not to be parted");
}

static void hold(uint32_t node, uint32_t first, uint32_t last)
{
	memset(problem.holds[node] + first, 1, last - first + 1);
}

static void expect_cover(const char *want, const char *name)
{
	char text[1024] = "";
	size_t len = 0;

	if (find() == 1)
		for (uint32_t s = 0; s < cover.n; s++)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u:%u-%u",
						s ? " " : "", cover.stages[s].node,
						cover.stages[s].first, cover.stages[s].last);
	is_str(text, want, "%s", name);
}

static void test_sources(void)
{
	start_problem(3, 6, true);
	problem.nodes[0].source = true;
	hold(0, 0, 5);
	hold(1, 0, 2);
	hold(2, 2, 4);
	problem.sources = LSC_SOURCES_ASSIST;
	expect_cover("1:0-2 2:3-4 0:5-5", "a source runs what no receiver can");
	problem.sources = LSC_SOURCES_SERVE;
	find();
	ok(is_valid() && cover.bottleneck == 2 && cover.n == 3, "a source serves like others");
	problem.sources = LSC_SOURCES_NEVER;
	is_int(find(), 0, "without the source there is no cover");
	hold(2, 5, 5);
	expect_cover("1:0-2 2:3-5", "and with the last unit received there is");
	problem.nodes[2].usable = false;
	is_int(find(), 0, "a node that is not usable runs nothing");
	problem.sources = LSC_SOURCES_ASSIST;
	expect_cover("1:0-2 0:3-5", "its units are the source's again");
}

/* Two layers of an attention and three experts each, between embedding and head, in blocks that
 * hold one expert, or some: only where all of a layer is on one node can it run. */
static void test_experts(void)
{
	start_problem(4, 10, true);
	problem.whole = true;
	for (uint32_t u = 0; u < 10; u++)
		problem.begins[u] = u % 4 == 1 || u == 0;
	problem.nodes[0].source = true;
	hold(0, 0, 9);
	hold(1, 0, 3);
	hold(2, 2, 8);
	hold(3, 5, 9);
	problem.sources = LSC_SOURCES_NEVER;
	is_int(find(), 0, "a layer whose experts are on two nodes runs on neither");
	problem.sources = LSC_SOURCES_ASSIST;
	expect_cover("1:0-0 0:1-4 2:5-8 3:9-9", "the source runs it");
	hold(1, 4, 4);
	expect_cover("1:0-4 3:5-9", "until its last expert has come to one of them");
	problem.holds[3][7] = 0;
	expect_cover("1:0-4 2:5-8 3:9-9", "and goes elsewhere where one is not there");
	problem.holds[2][8] = 0;
	expect_cover("1:0-4 0:5-8 3:9-9", "or back to the source");
	problem.even = false;
	problem.sources = LSC_SOURCES_SERVE;
	find();
	ok(is_valid() && cover.bottleneck == 5, "a layer weighs what its units do");
}

static void test_holes(void)
{
	start_problem(2, 130, true);
	for (uint32_t u = 0; u < 130; u++)
		hold(u / 2 % 2, u, u);
	is_int(find(), 0, "65 stages are too many");
	problem.units = 128;
	is_int(find(), 1, "64 are not");
	ok(cover.n == 64 && is_valid(), "a node may run several stages");
	hold(0, 0, 127);
	is_int(find(), 1, "where one holds everything");
	ok(is_valid() && cover.bottleneck == 64, "the other still runs its half");

	start_problem(3, 9, true);
	for (uint32_t i = 0; i < 3; i++)
		hold(i, 0, 8);
	expect_cover("0:0-2 1:3-5 2:6-8", "nodes that hold everything share it evenly");
	problem.nodes[1].cost = 0.5;
	find();
	ok(is_valid() && cover.bottleneck == 2.5 && cover.n == 3, "a fast one runs more");
}

/* Where somebody has much to do already, others do more. */
static void test_load(void)
{
	start_problem(3, 9, true);
	for (uint32_t i = 0; i < 3; i++)
		hold(i, 0, 8);
	problem.nodes[0].load = 3;
	find();
	ok(is_valid() && cover.bottleneck == 4 && cover.n == 3, "a busy node runs less");
	problem.nodes[0].load = 4.5;
	expect_cover("1:0-4 2:5-8", "or nothing");
	problem.nodes[1].cost = 0.25;
	problem.nodes[2].load = 100;
	expect_cover("1:0-8", "nor does a slow one where a fast one is done before");
	problem.nodes[1].usable = false;
	find();
	ok(is_valid() && cover.bottleneck == 13.5, "what is busy works where nobody else can");
	problem.nodes[1].usable = true;
	problem.nodes[1].cost = 1;
	problem.nodes[0].load = 3;
	problem.nodes[2].load = 50;
	memset(problem.holds[0] + 5, 0, 4);
	memset(problem.holds[2] + 5, 0, 4);
	memset(problem.holds[1], 0, 5);
	expect_cover("0:0-4 1:5-8", "of two that would do, the one that has less to do");
	problem.nodes[1].load = 100;
	problem.nodes[0].load = 50;
	problem.nodes[2].load = 49;
	expect_cover("2:0-4 1:5-8", "also where neither is what limits the route");
	hold(0, 5, 8);
	problem.nodes[1].usable = false;
	problem.nodes[0].load = -1;
	hold(2, 0, 8);
	find();
	ok(cover.n == 1 && cover.stages[0].node == 2, "a load that is none makes a node unusable");
}

static void test_refused(void)
{
	start_problem(2, 3, false);
	is_int(find(), 0, "nobody holds anything");
	hold(0, 0, 2);
	is_int(find(), 1, "one node holds everything");
	ok(cover.n == 1 && cover.bottleneck == 3, "and runs it");
	problem.unit_cost[1] = -1;
	is_int(find(), -EINVAL, "a negative cost is refused");
	problem.unit_cost[1] = NAN;
	is_int(find(), -EINVAL, "so is none");
	problem.unit_cost[1] = 1;
	problem.nodes[0].cost = 0;
	is_int(find(), 0, "a node without a cost is not usable");
	problem.nodes[0].cost = INFINITY;
	is_int(find(), 0, "nor one that never ends");
	problem.n = 0;
	is_int(find(), 0, "no nodes");
	problem.n = 2;
	problem.units = 0;
	is_int(find(), 0, "no units");
	problem.units = 3;
	problem.nodes[0].cost = 1;
	memset(problem.unit_cost, 0, sizeof(problem.unit_cost));
	ok(find() == 1 && is_valid() && cover.n == 1, "units that cost nothing");
}

/* What the nodes of a cast hold after so many rounds, a piece a unit. */
static void cast_problem(uint32_t n, uint32_t sources, uint32_t units, uint32_t rounds)
{
	struct lsc_schedule schedule;

	start_problem(n, units, true);
	if (lsc_schedule_init(&schedule, LSC_ORDER_KWAY, n, sources, units, NULL) < 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		struct lsc_part part;

		problem.nodes[i].source = i < sources;
		if (i < sources)
			hold(i, 0, units - 1);
		lsc_part_init(&part, &schedule, i);
		for (uint32_t r = 0; r < rounds; r++) {
			struct lsc_step step = lsc_part_step(&part, r);

			if (step.recv_from != LSC_NOBODY)
				hold(i, step.recv_piece, step.recv_piece);
		}
	}
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* During a cast the bottleneck goes down as more arrives, and it stays quick. */
static void test_cast(uint32_t n, uint32_t sources, uint32_t units)
{
	uint32_t covers = 0, found = 0, most = LSC_MIN(n - sources, LSC_COVER_MAX_STAGES);
	bool good = true;
	double before = DBL_MAX, slowest = 0;

	problem.sources = LSC_SOURCES_NEVER;
	for (uint32_t r = 0; r <= units + 20; r += 3) {
		double start;

		cast_problem(n, sources, units, r);
		problem.sources = LSC_SOURCES_NEVER;
		start = seconds();
		found = find() == 1;
		slowest = fmax(slowest, seconds() - start);
		if (!found)
			continue;
		covers++;
		good = good && is_valid() && cover.bottleneck <= before;
		before = cover.bottleneck;
	}
	ok(good && covers > 2 && found, "%u nodes, %u units: the bottleneck never rises", n, units);
	is_int((long long)cover.bottleneck, lsc_div_up(units, most),
	       "and in the end as many take part as may");
	printf("# slowest of the covers: %.1f ms\n", slowest * 1e3);
	ok(slowest < 2, "none takes long");
}

int main(void)
{
	test_small();
	test_whole();
	test_sources();
	test_experts();
	test_holes();
	test_load();
	test_refused();
	test_cast(8, 1, 34);
	test_cast(12, 2, 34);
	test_cast(66, 2, 130);
	test_cast(128, 4, 82);
	return done_testing();
}
