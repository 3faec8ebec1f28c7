/* Estimates follow what is seen, and fade. */
#include "route/estimate.h"

#include <math.h>

#include "tap.h"

#define S 1000000000ull

static bool is_about(double got, double want)
{
	return fabs(got - want) <= 1e-6 * want;
}

int main(void)
{
	struct lsc_estimate estimate = {0};

	ok(lsc_estimate_now(&estimate, 5 * S) == 0, "nothing is known");
	estimate.start = 100;
	ok(lsc_estimate_now(&estimate, 5 * S) == 100, "but the start");
	lsc_estimate_add(&estimate, 0, 5 * S);
	lsc_estimate_add(&estimate, -1, 5 * S);
	lsc_estimate_add(&estimate, NAN, 5 * S);
	ok(lsc_estimate_now(&estimate, 5 * S) == 100, "what is no speed counts for nothing");
	lsc_estimate_add(&estimate, 1, 5 * S);
	ok(lsc_estimate_now(&estimate, 5 * S) == 1, "what is seen first counts");
	lsc_estimate_add(&estimate, 5, 5 * S);
	ok(is_about(lsc_estimate_now(&estimate, 5 * S), 2), "then a quarter of what it is off");
	ok(is_about(lsc_estimate_now(&estimate, 65 * S), sqrt(200)),
	   "after a minute it is half way back, as ratios go");
	ok(lsc_estimate_now(&estimate, 3600 * S) > 99, "after an hour all the way");
	estimate = (struct lsc_estimate){0};
	lsc_estimate_add(&estimate, 7, 5 * S);
	ok(lsc_estimate_now(&estimate, 3600 * S) == 7,
	   "without a start there is no other to go to");
	return done_testing();
}
