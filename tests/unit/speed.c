/* How fast a stage is, by what its steps take: whatever it runs together. */
#include "stage/speed.h"

#include <math.h>

#include "tap.h"

/* A machine where a unit takes so long for being run, and for each position. */
static double speed_of(double unit_ns, double row_ns, const unsigned *rows, unsigned n)
{
	struct lsc_speed speed = {0};

	for (unsigned i = 0; i < 400; i++) {
		uint32_t units = i % 3 ? 5 : 12, runs = units * rows[i % n];

		lsc_speed_add(&speed, units, runs, (uint64_t)(units * unit_ns + runs * row_ns));
	}
	return lsc_speed_unit_ns(&speed);
}

int main(void)
{
	const unsigned one[] = {1}, many[] = {16}, mixed[] = {1, 2, 9, 4, 16, 3};
	struct lsc_speed speed = {0};
	double want = 4e5 / LSC_SPEED_BATCH + 1e5;

	ok(lsc_speed_unit_ns(&speed) == 0, "nothing is known in the beginning");
	lsc_speed_add(&speed, 0, 0, 1000);
	ok(lsc_speed_unit_ns(&speed) == 0, "nor by a step of nothing");
	ok(fabs(speed_of(4e5, 1e5, mixed, 6) / want - 1) < 0.05, "by steps of all sizes it is");
	ok(fabs(speed_of(4e5, 1e5, one, 1) / want - 1) < 0.05 &&
		   fabs(speed_of(4e5, 1e5, many, 1) / want - 1) < 0.05,
	   "one that has little to do is not slower than one that has much");
	ok(speed_of(8e5, 2e5, one, 1) > 1.9 * speed_of(4e5, 1e5, many, 1),
	   "one that takes twice as long is");
	want = 1e6 / LSC_SPEED_BATCH + 1e4;
	ok(fabs(speed_of(1e6, 1e4, mixed, 6) / want - 1) < 0.2,
	   "where positions cost little, that is seen: %g for %g", speed_of(1e6, 1e4, mixed, 6),
	   want);
	want = 1e5;
	ok(fabs(speed_of(0, 1e5, mixed, 6) / want - 1) < 0.2,
	   "and where units cost nothing: %g for %g", speed_of(0, 1e5, mixed, 6), want);
	ok(lsc_speed_rows(&speed, 3) == 0, "what fits beside others is not known then");
	for (unsigned i = 0; i < 100; i++)
		lsc_speed_add(&speed, 4, 4 * (1 + i % 8), 4 * (700000 + 100000 * (1 + i % 8)));
	ok(lsc_speed_rows(&speed, 3) > 7 && lsc_speed_rows(&speed, 3) < 11,
	   "beside three positions another ten, where reading is worth seven: %g",
	   lsc_speed_rows(&speed, 3));
	speed = (struct lsc_speed){0};
	for (unsigned i = 0; i < 100; i++)
		lsc_speed_add(&speed, 4, 12, 1000000);
	want = lsc_speed_unit_ns(&speed);
	for (unsigned i = 0; i < 150; i++)
		lsc_speed_add(&speed, 4, 12, 3000000);
	ok(fabs(lsc_speed_unit_ns(&speed) / want - 3) < 0.1, "what changes is followed");
	return done_testing();
}
