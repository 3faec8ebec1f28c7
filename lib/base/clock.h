/* Time: a monotonic clock for intervals, the wall clock for records. */
#ifndef LSC_BASE_CLOCK_H
#define LSC_BASE_CLOCK_H

#include <stdint.h>

uint64_t lsc_clock_ns(void);   /* CLOCK_MONOTONIC */
double lsc_clock_wall_s(void); /* seconds since 1970, for the "t" of a record */

#endif
