/* wires: rates are max-min fair, transfers take the time that they say, ends and beginnings count
 */
#include "tap.h"

#include <math.h>

#include "base/macros.h"
#include "load/random.h"
#include "sim/agenda.h"
#include "sim/wires.h"

static struct lsc_err err;

static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-6 * LSC_MAX(1.0, fabs(b));
}

static struct lsc_wires *lay(uint32_t nodes, double rate)
{
	struct lsc_wires *wires = NULL;

	if (lsc_wires_new(&wires, nodes, &err) < 0)
		abort();
	for (uint32_t i = 0; i < nodes; i++)
		lsc_wires_set_node(wires, i, rate, rate);
	return wires;
}

static uint32_t path(struct lsc_wires *wires, uint32_t from, uint32_t to)
{
	uint32_t id;

	if (lsc_wires_add(wires, from, to, &id, &err) < 0)
		abort();
	return id;
}

/* One transfer after another, and two that share. */
static void test_shares(void)
{
	struct lsc_wires *wires = lay(3, 10);
	uint32_t a = path(wires, 0, 1), b = path(wires, 0, 2), over;
	double at;

	ok(lsc_wires_next(wires, 0) >= LSC_NEVER, "nothing is under way");
	lsc_wires_start(wires, a, 100, 0);
	ok(near(lsc_wires_next(wires, 0), 10), "alone: at the link's rate");
	lsc_wires_start(wires, b, 25, 4);
	at = lsc_wires_next(wires, 4);
	ok(near(at, 9), "two share: the shorter is over first");
	ok(near(lsc_wires_done(wires, a, at), 65), "and the longer is at 65 of 100");
	ok(lsc_wires_take(wires, at, &over) && over == b && !lsc_wires_take(wires, at, &over),
	   "that one alone");
	ok(near(lsc_wires_next(wires, at), 12.5), "what is left has the link for itself again");
	lsc_wires_free(wires);
}

/* A transfer that follows at once takes the place of the one before. */
static void test_follows(void)
{
	struct lsc_wires *wires = lay(3, 10);
	uint32_t a = path(wires, 0, 1), b = path(wires, 0, 2), over;
	bool good = true;
	double at = 0;

	lsc_wires_start(wires, b, 1000, 0);
	for (int i = 1; i <= 50; i++) {
		lsc_wires_start(wires, a, 10, at);
		at = lsc_wires_next(wires, at);
		good = good && near(at, 2.0 * i) && lsc_wires_take(wires, at, &over) && over == a;
	}
	ok(good, "50 in a row share with one that goes on");
	ok(near(lsc_wires_next(wires, at), 150), "which is then alone");
	lsc_wires_free(wires);
}

/* The textbook's case: three at a slow end, and what they leave elsewhere. */
static void test_max_min(void)
{
	struct lsc_wires *wires = lay(5, 12);
	uint32_t slow[3], rest;

	lsc_wires_set_node(wires, 4, 12, 6);
	for (uint32_t i = 0; i < 3; i++) {
		slow[i] = path(wires, i, 4);
		lsc_wires_start(wires, slow[i], 1e6, 0);
	}
	rest = path(wires, 0, 3);
	lsc_wires_start(wires, rest, 1e6, 0);
	lsc_wires_next(wires, 0);
	ok(near(lsc_wires_done(wires, slow[0], 1), 2) && near(lsc_wires_done(wires, slow[2], 1), 2),
	   "a third each of the slow end");
	ok(near(lsc_wires_done(wires, rest, 1), 10), "what one of them leaves goes to another");
	lsc_wires_free(wires);
}

/* Every path has a full end at which none has more than it: that is max-min fairness. */
static void test_random(void)
{
	enum { NODES = 12, PATHS = 40 };
	struct lsc_random random = lsc_random_of(2, 0, 0);
	bool good = true;

	for (int round = 0; good && round < 200; round++) {
		struct lsc_wires *wires = lay(NODES, 1);
		uint32_t ids[PATHS], ends[PATHS][2];
		double rate[PATHS], limit[2][NODES], sum[2][NODES] = {0}, most[2][NODES] = {0};

		for (uint32_t i = 0; i < NODES; i++) {
			limit[0][i] = 1 + lsc_random_below(&random, 9);
			limit[1][i] = 1 + lsc_random_below(&random, 9);
			lsc_wires_set_node(wires, i, limit[0][i], limit[1][i]);
		}
		for (uint32_t i = 0; i < PATHS; i++) {
			ends[i][0] = lsc_random_below(&random, NODES);
			ends[i][1] = lsc_random_below(&random, NODES);
			ids[i] = path(wires, ends[i][0], ends[i][1]);
			lsc_wires_start(wires, ids[i], 1e6, 0);
			if (i % 3 == 0)
				lsc_wires_next(wires, 0);
		}
		lsc_wires_next(wires, 0);
		for (uint32_t i = 0; i < PATHS; i++) {
			rate[i] = lsc_wires_done(wires, ids[i], 1);
			for (int s = 0; s < 2; s++) {
				sum[s][ends[i][s]] += rate[i];
				most[s][ends[i][s]] = LSC_MAX(most[s][ends[i][s]], rate[i]);
			}
		}
		for (uint32_t i = 0; i < PATHS; i++) {
			bool held = false;

			for (int s = 0; s < 2; s++) {
				uint32_t end = ends[i][s];

				good = good && sum[s][end] < limit[s][end] + 1e-6;
				held = held || (sum[s][end] > limit[s][end] - 1e-6 &&
						rate[i] > most[s][end] - 1e-6);
			}
			good = good && held;
		}
		lsc_wires_free(wires);
	}
	ok(good, "200 networks of %d nodes and %d transfers are shared fairly", NODES, PATHS);
}

int main(void)
{
	test_shares();
	test_follows();
	test_max_min();
	test_random();
	return done_testing();
}
