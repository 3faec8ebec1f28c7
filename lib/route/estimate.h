/* An estimate of how fast something goes, from what was seen of it and when.
 *
 * Before anything was seen it is a start value.  What is seen moves it (an exponentially weighted
 * mean); what was seen long ago counts less and less, so that what was slow once is tried again.
 * Arithmetic on given times.
 */
#ifndef LSC_ROUTE_ESTIMATE_H
#define LSC_ROUTE_ESTIMATE_H

#include <stdint.h>

struct lsc_estimate {
	double start; /* 0: none */
	double seen;  /* the mean when at_ns was; 0: nothing was seen */
	uint64_t at_ns;
};

/* What it is now: 0 where there is neither. */
double lsc_estimate_now(const struct lsc_estimate *estimate, uint64_t now_ns);

void lsc_estimate_add(struct lsc_estimate *estimate, double seen, uint64_t now_ns);

#endif
