/* planner: plans of every order and size name few peers, agree with each other, and follow losses
 */
#include "cast/planner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "model/image.h"
#include "tap.h"

#define MAX_NODES 4096

static char names[MAX_NODES][16];
static struct lsc_plan plans[MAX_NODES];
static bool here[MAX_NODES];
static uint32_t in[MAX_NODES];

static uint32_t log2_up(uint32_t n)
{
	uint32_t log = 0;

	while ((1u << log) < n)
		log++;
	return log;
}

static struct lsc_planner *make(uint32_t n, uint32_t sources, int order)
{
	struct lsc_planner_options options = {
		.scheduled = order >= 0,
		.order = order >= 0 ? (enum lsc_order)order : LSC_ORDER_CHAIN,
		.rotate = true,
		.max_nodes = n,
		.n_pieces = 500,
		.bytes = 500 * 4096,
		.timeout_ns = 1000000000,
		.report_ns = 100000000,
	};
	struct lsc_planner *planner = NULL;

	if (lsc_planner_new(&planner, &options, NULL) < 0)
		abort();
	for (uint32_t i = 0; i < n; i++) {
		here[i] = true;
		snprintf(names[i], sizeof(names[i]), "n%u:1", i);
		lsc_planner_join(planner, i, i < sources, names[i], i < sources ? options.bytes : 0,
				 1);
	}
	return planner;
}

static void forget_plans(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		lsc_plan_release(&plans[i]);
}

/* Takes the plans that are new: how many. */
static uint32_t take(struct lsc_planner *planner, uint32_t n, uint64_t now)
{
	const char *why;
	uint32_t fresh = 0;

	if (!lsc_planner_step(planner, now, &why))
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		struct lsc_plan plan;

		if (lsc_planner_plan(planner, i, &plan) != 1)
			continue;
		lsc_plan_release(&plans[i]);
		plans[i] = plan;
		fresh++;
	}
	return fresh;
}

/* Whether what the plans say makes sense together: every receiver is sent to, by nodes that are
 * here, at the right address; and nobody has more than most links out, or in. */
static bool make_sense(uint32_t n, uint32_t sources, uint32_t most)
{
	bool good = true;

	memset(in, 0, sizeof(in));
	for (uint32_t i = 0; i < n; i++) {
		good = good && (!here[i] || (plans[i].node == i && plans[i].n_to <= most));
		for (uint32_t k = 0; here[i] && k < plans[i].n_to; k++) {
			const struct lsc_plan_to *to = &plans[i].to[k];

			good = good && to->node < n && to->node != i && here[to->node] &&
			       !strcmp(to->address, names[to->node]);
			in[to->node]++;
		}
	}
	for (uint32_t i = sources; i < n; i++)
		good = good && (!here[i] || (in[i] >= 1 && in[i] <= most));
	return good;
}

static void test_sizes(void)
{
	static const uint32_t sizes[] = {2, 3, 4, 5, 8, 13, 64, 100, 1024, MAX_NODES};
	static const int orders[] = {-1, LSC_ORDER_ROUND_OPTIMAL, LSC_ORDER_KWAY, LSC_ORDER_CHAIN,
				     LSC_ORDER_TREE};

	for (size_t o = 0; o < LSC_ARRAY_SIZE(orders); o++)
		for (size_t i = 0; i < LSC_ARRAY_SIZE(sizes); i++)
			for (uint32_t sources = 1; sources < sizes[i] && sources <= 4;
			     sources += 3) {
				struct lsc_planner *planner = make(sizes[i], sources, orders[o]);
				uint32_t n = sizes[i], fresh = take(planner, n, 1);

				ok(fresh == n && make_sense(n, sources, log2_up(n) + 3),
				   "%s, %u nodes, %u of them sources: few links each",
				   orders[o] < 0 ? "ring" : lsc_order_name(orders[o]), n, sources);
				is_int(take(planner, n, 2), 0, "and nothing new without a change");
				forget_plans(n);
				lsc_planner_free(planner);
			}
}

static void lose(struct lsc_planner *planner, uint32_t node)
{
	here[node] = false;
	lsc_planner_leave(planner, node, 10);
}

/* Where the second of two sources begins, of 500 pieces. */
static uint32_t second_begins(const struct lsc_block *blocks, uint32_t n_blocks)
{
	struct lsc_planner_options options = {
		.rotate = true,
		.max_nodes = 4,
		.n_pieces = 500,
		.bytes = 500 * 4096,
		.blocks = blocks,
		.n_blocks = n_blocks,
	};
	struct lsc_planner *planner = NULL;
	uint32_t first;

	if (lsc_planner_new(&planner, &options, NULL) < 0)
		abort();
	for (uint32_t i = 0; i < 4; i++)
		lsc_planner_join(planner, i, i < 2, "n:1", i < 2 ? options.bytes : 0, 1);
	take(planner, 4, 1);
	first = plans[1].first;
	ok(plans[0].first == 0 && plans[3].first == first, "its receiver goes on from there");
	forget_plans(4);
	memset(plans, 0, sizeof(plans));
	lsc_planner_free(planner);
	return first;
}

static void test_blocks(void)
{
	const struct lsc_block near[] = {{.first_piece = 0},
					 {.first_piece = 210},
					 {.first_piece = 270},
					 {.first_piece = 480}};
	const struct lsc_block far[] = {{.first_piece = 0}, {.first_piece = 400}};

	is_int(second_begins(NULL, 0), 250, "a second source begins in the middle");
	is_int(second_begins(near, 4), 270, "at the block that begins nearest");
	is_int(second_begins(far, 2), 250, "unless that is far");
}

static void test_losses(void)
{
	struct lsc_planner *planner = make(10, 2, -1);
	uint32_t fresh;

	take(planner, 10, 1);
	lose(planner, 5);
	fresh = take(planner, 10, 11);
	ok(fresh >= 1 && fresh <= 3 && make_sense(10, 2, 4),
	   "a ring without one of its members: %u plans are new", fresh);
	lose(planner, 1);
	take(planner, 10, 12);
	ok(make_sense(10, 1, 4), "and without one of two sources");
	lsc_planner_join(planner, 5, false, "back:1", 0, 13);
	snprintf(names[5], sizeof(names[5]), "back:1");
	here[5] = true;
	take(planner, 10, 14);
	ok(make_sense(10, 1, 4), "one that is back");
	forget_plans(10);
	lsc_planner_free(planner);

	planner = make(10, 2, LSC_ORDER_ROUND_OPTIMAL);
	take(planner, 10, 1);
	lose(planner, 5);
	lose(planner, 1);
	is_int(take(planner, 10, 11), 8, "a schedule is another for all that are left");
	ok(make_sense(10, 1, 6) && plans[9].ranks == 8 && plans[9].sources == 1 &&
		   plans[9].rank == 7 && plans[9].n_gone == 2,
	   "and has ranks for them alone");
	forget_plans(10);
	lsc_planner_free(planner);
}

int main(void)
{
	test_blocks();
	test_sizes();
	test_losses();
	return done_testing();
}
