/* When to begin loading an image so that it is there by a given time, as gently as can be.
 *
 * Gentle is slow: a device that reads at a fraction of its rate leaves the rest to others.  So a
 * load begins as early as it may and takes all of the time that there is, but for a margin, unless
 * that is slower than makes sense; where time is short it is as fast as it may be, and may be late.
 */
#ifndef LSC_PLAN_PREWARM_H
#define LSC_PLAN_PREWARM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct lsc_prewarm {
	double now, by;  /* seconds, on the same clock */
	uint64_t bytes;  /* that are missing */
	double device;   /* bytes a second that it can read at */
	double at_most;  /* that it may; 0: what it can */
	double at_least; /* rather begin later than be slower; 0: a tenth of what it may */
	double margin;   /* of the time that it takes, kept at the end: 0.1 */
	double spare;    /* seconds beside that */
};

struct lsc_prewarm_plan {
	double start; /* now or later */
	double rate;  /* bytes a second */
	double end;   /* when it is there */
	double late;  /* seconds that this is after `by`; 0: it is in time */
	bool tight;   /* in time, and not with all of the margin */
};

/* -EINVAL where there is no rate. */
int lsc_prewarm_plan(const struct lsc_prewarm *prewarm, struct lsc_prewarm_plan *ret_plan,
		     struct lsc_err *err);

/* The moment, in seconds since 1970, that a text means to someone whose clock says now: "08:55" or
 * "08:55:30", the next time that the local clock shows it, today or tomorrow; "2026-12-01 08:55" or
 * "2026-12-01T08:55:30", in local time, or with "Z" or an offset like "+01:00" at the end;
 * "+90min", from now on.  A local time that is skipped when clocks go forward is that much later;
 * of one that comes twice it is the first that is not over.  -EINVAL for what is none of these or
 * is over. */
int lsc_prewarm_parse_time(const char *text, double now, double *ret_time, struct lsc_err *err);

#endif
