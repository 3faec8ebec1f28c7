/* An agenda: what is due when, of things that have a number each.
 *
 * A binary heap that knows where each number is in it, so that a time can be changed: O(log n) for
 * each of set() and take(), in memory that grows with the greatest number.  What is due at the same
 * time comes in the order of the numbers, whatever was set before what.
 */
#ifndef LSC_SIM_AGENDA_H
#define LSC_SIM_AGENDA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LSC_NEVER 1e300 /* seconds */

struct lsc_agenda {
	double *at;      /* by number */
	uint32_t *place; /* in the heap, by number; UINT32_MAX: it is not there */
	uint32_t *heap;
	uint32_t n, room;
};

#define LSC_AGENDA_INIT                                                                            \
	{                                                                                          \
		0                                                                                  \
	}

void lsc_agenda_release(struct lsc_agenda *agenda);

/* Room for numbers below n. */
int lsc_agenda_reserve(struct lsc_agenda *agenda, uint32_t n, struct lsc_err *err);

/* A number is due then, and not when it was before; LSC_NEVER takes it out. */
void lsc_agenda_set(struct lsc_agenda *agenda, uint32_t number, double at);

/* When the next is due and which it is; LSC_NEVER where there is none. */
double lsc_agenda_next(const struct lsc_agenda *agenda, uint32_t *ret_number);

#endif
