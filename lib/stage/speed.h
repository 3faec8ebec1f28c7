/* How fast a stage runs units, whatever it happens to run together.
 *
 * A unit takes a while for being run at all, its weights are read, and a while for each position.
 * So what a position takes falls with the batch, and a stage that has little to do would look slow
 * by it, get less, and look slower still.  Both parts are told apart by what steps of different
 * sizes take; until sizes differ, one is taken for SPEED_RATIO times the other.  Arithmetic on
 * given times.
 */
#ifndef LSC_STAGE_SPEED_H
#define LSC_STAGE_SPEED_H

#include <stdint.h>

#define LSC_SPEED_BATCH 8 /* positions that a unit is thought to run together */

struct lsc_speed { /* sums over steps, older ones weighing less; zeroed is the beginning */
	double uu, ur, rr, tu, tr;
};

/* A step ran so many units, each for some of its positions: runs counts a unit once for each. */
void lsc_speed_add(struct lsc_speed *speed, uint32_t units, uint32_t runs, uint64_t took_ns);

/* What a unit takes for a position, where LSC_SPEED_BATCH are run together; 0: not known. */
double lsc_speed_unit_ns(const struct lsc_speed *speed);

/* How many positions more take no longer than a step with so many takes; 0: not known. */
double lsc_speed_rows(const struct lsc_speed *speed, double beside);

#endif
