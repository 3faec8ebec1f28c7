/* A timetable: which requests are due when, from a trace or made up.
 *
 * Everything is drawn by the seed: the same trace, options and seed make the same timetable.
 *
 * A trace's time is divided by speed.  Its number of requests is multiplied by scale: below 1 each
 * is kept with that probability; above, each is there floor(scale) times and, with the probability
 * of the rest, once more.  A copy comes somewhere between its original and the next request of the
 * trace, evenly drawn, so that bursts stay as dense as they are; it shares prompt text with
 * requests of the same copy of the trace and no others.
 *
 * Made-up arrivals have independent gaps: exponential (poisson), or gamma with a coefficient of
 * variation, where 1 is poisson again and more is burstier.
 */
#ifndef LSC_LOAD_TIMETABLE_H
#define LSC_LOAD_TIMETABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "load/trace.h"

#define LSC_TIMETABLE_MAX_DUES (1u << 24)
#define LSC_NO_ROW             UINT32_MAX

struct lsc_due {
	uint64_t at_ns;
	uint32_t prompt, output; /* tokens, 1 at least */
	uint32_t row;            /* of the trace; LSC_NO_ROW: made up */
	uint32_t copy;           /* 0: the trace's own request */
};

struct lsc_timetable {
	struct lsc_due *dues; /* by at_ns */
	uint32_t n, room;
};

#define LSC_TIMETABLE_INIT                                                                         \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

/* Lengths: mean tokens alike, or lognormal where cv > 0; mean 0: the trace's. */
struct lsc_lengths {
	double mean, cv;
};

struct lsc_timetable_options {
	double speed, scale; /* of a trace; 1 */
	double rate, cv;     /* requests a second, made up, without a trace */
	uint64_t limit;      /* requests at most; 0: no bound */
	double duration_s;   /* those due by then; 0: no bound */
	uint64_t seed;
	struct lsc_lengths prompt, output;
	uint32_t max_prompt, max_output; /* lengths are cut to these */
};

void lsc_timetable_release(struct lsc_timetable *table);

/* What of a trace these options can use: set before it is read. */
void lsc_timetable_bound(const struct lsc_timetable_options *options, struct lsc_trace *trace);

/* From a trace that has ended, or (NULL) made up; then limit or duration_s bounds it.  -EINVAL
 * where nothing does, where lengths are missing, or for too many; -ENOMEM. */
int lsc_timetable_make(struct lsc_timetable *table, const struct lsc_timetable_options *options,
		       const struct lsc_trace *trace, struct lsc_err *err);

#endif
