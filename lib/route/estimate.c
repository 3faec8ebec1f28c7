/* estimate - means that fade
 *
 * Rates differ by orders of magnitude, so what fades does so on a scale of ratios.
 */
#include "route/estimate.h"

#include <math.h>

#define WEIGHT 0.25 /* of what is seen now */
#define HALF_S 60.0 /* after so long the mean is half as far from the start */

double lsc_estimate_now(const struct lsc_estimate *estimate, uint64_t now_ns)
{
	double age_s = (double)(now_ns - estimate->at_ns) / 1e9;

	if (estimate->seen <= 0)
		return estimate->start;
	if (estimate->start <= 0)
		return estimate->seen;
	return estimate->start * pow(estimate->seen / estimate->start, exp2(-age_s / HALF_S));
}

void lsc_estimate_add(struct lsc_estimate *estimate, double seen, uint64_t now_ns)
{
	double mean = lsc_estimate_now(estimate, now_ns);

	if (!(seen > 0))
		return;
	estimate->seen = estimate->seen > 0 ? mean + WEIGHT * (seen - mean) : seen;
	estimate->at_ns = now_ns;
}
