/* speed - least squares of t = a * units + b * runs, with a leaning to a = RATIO * b */
#include "stage/speed.h"

#include <math.h>
#include <stdbool.h>

#define FADE  (1.0 / 32)
#define RATIO 4.0 /* of q8 and bf16 on CPUs, 3 to 6 (tests/bench/results/exec.md) */
#define LEAN  0.1
#define MOST  64 /* of a by b: what is thought to be known of it */

void lsc_speed_add(struct lsc_speed *speed, uint32_t units, uint32_t runs, uint64_t took_ns)
{
	double u = units, r = runs, t = (double)took_ns;

	if (!units || !runs)
		return;
	speed->uu += u * u - FADE * speed->uu;
	speed->ur += u * r - FADE * speed->ur;
	speed->rr += r * r - FADE * speed->rr;
	speed->tu += t * u - FADE * speed->tu;
	speed->tr += t * r - FADE * speed->tr;
}

/* What a unit takes for being run, and for a position; false: not known. */
static bool solve(const struct lsc_speed *speed, double *ret_a, double *ret_b)
{
	double lean = LEAN * speed->uu;
	double uu = speed->uu + lean, ur = speed->ur - lean * RATIO;
	double rr = speed->rr + lean * RATIO * RATIO;
	double det = uu * rr - ur * ur;

	if (!(speed->uu > 0) || !(det > 0))
		return false;
	*ret_a = (speed->tu * rr - speed->tr * ur) / det;
	*ret_b = (speed->tr * uu - speed->tu * ur) / det;
	if (*ret_a < 0) {
		*ret_a = 0;
		*ret_b = speed->tr / speed->rr;
	} else if (*ret_b < 0) {
		*ret_a = speed->tu / speed->uu;
		*ret_b = 0;
	}
	return true;
}

double lsc_speed_unit_ns(const struct lsc_speed *speed)
{
	double a, b;

	return solve(speed, &a, &b) ? a / LSC_SPEED_BATCH + b : 0;
}

double lsc_speed_rows(const struct lsc_speed *speed, double beside)
{
	double a, b;

	if (!solve(speed, &a, &b))
		return 0;
	return beside + a / fmax(b, a / MOST);
}
