/* How long it takes to find a cover anew, as it is on every arrival of a block.
 *
 *	build/release/bench/cover
 *
 * Clusters of several sizes, of images of several numbers of units, at moments of a cast that are
 * drawn by lot: from one source, k-way from several, and with blocks that came in any order.  Nodes
 * are alike and idle, or of different speeds and loads.  One JSON line for each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "plan/cover.h"
#include "plan/schedule.h"

#define MAX_NODES 1024
#define UNITS     128
#define RUNS      200

enum { ONE, KWAY, ANY };

static struct lsc_cover_node nodes[MAX_NODES];
static uint8_t holds[MAX_NODES][UNITS];

static uint32_t dice(uint32_t below)
{
	static uint64_t state = 0x9e3779b97f4a7c15ull;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

static void cast(uint32_t n, uint32_t sources, enum lsc_order order, uint32_t rounds)
{
	struct lsc_schedule schedule;

	if (lsc_schedule_init(&schedule, order, n, sources, UNITS, NULL) < 0)
		exit(70);
	for (uint32_t i = 0; i < n; i++) {
		struct lsc_part part;

		if (i < sources)
			memset(holds[i], 1, UNITS);
		lsc_part_init(&part, &schedule, i);
		for (uint32_t r = 0; r < rounds; r++) {
			struct lsc_step step = lsc_part_step(&part, r);

			if (step.recv_from != LSC_NOBODY)
				holds[i][step.recv_piece] = 1;
		}
	}
}

static void set_up(uint32_t n, int how, bool differ)
{
	uint32_t sources = how == KWAY ? LSC_MAX(n / 16, 2u) : 1;

	memset(holds, 0, sizeof(holds));
	if (how == ANY)
		for (uint32_t i = 0; i < n; i++) {
			uint32_t density = 1 + dice(15);

			for (uint32_t u = 0; u < UNITS; u++)
				holds[i][u] = i == 0 || dice(16) < density;
		}
	else
		cast(n, sources, how == KWAY ? LSC_ORDER_KWAY : LSC_ORDER_ROUND_OPTIMAL,
		     dice(UNITS + 12));
	for (uint32_t i = 0; i < n; i++)
		nodes[i] = (struct lsc_cover_node){.holds = holds[i],
						   .cost = differ ? 1 + dice(4) * 0.5 : 1,
						   .load = differ ? dice(4) * UNITS * 0.5 : 0,
						   .source = i < sources,
						   .usable = true};
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void measure(uint32_t n, int how, bool differ)
{
	static const char *const names[] = {"round-optimal", "kway", "any order"};
	static uint64_t took[RUNS];
	uint32_t found = 0;
	struct lsc_cover cover;
	double bottleneck = 0;

	for (int i = 0; i < RUNS; i++) {
		uint64_t start;

		set_up(n, how, differ);
		start = lsc_clock_ns();
		if (lsc_cover_find(nodes, n, NULL, NULL, UNITS, LSC_SOURCES_ASSIST, 0, &cover) >
		    0) {
			found++;
			bottleneck += cover.bottleneck;
		}
		took[i] = lsc_clock_ns() - start;
	}
	qsort(took, RUNS, sizeof(took[0]), compare);
	printf("{\"name\":\"cover: %u nodes, %s%s\",\"units\":%d,\"covers\":%u,"
	       "\"bottleneck\":%.2f,\"p50_seconds\":%.6f,\"p99_seconds\":%.6f,"
	       "\"most_seconds\":%.6f}\n",
	       n, names[how], differ ? ", speeds and loads" : "", UNITS, found,
	       bottleneck / LSC_MAX(found, 1u), (double)took[RUNS / 2] / 1e9,
	       (double)took[RUNS - 1 - RUNS / 100] / 1e9, (double)took[RUNS - 1] / 1e9);
	fflush(stdout);
}

int main(void)
{
	static const uint32_t sizes[] = {8, 64, 256, 1024};

	for (unsigned i = 0; i < LSC_ARRAY_SIZE(sizes); i++)
		for (int how = ONE; how <= ANY; how++)
			for (int differ = 0; differ < 2; differ++)
				measure(sizes[i], how, differ);
	return 0;
}
