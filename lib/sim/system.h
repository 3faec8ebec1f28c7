/* Systems: ways in which a model gets to nodes, ours and others' as they were published.
 *
 * Those called by the name of an order are lsc-cast's, by the same plans and choices.
 */
#ifndef LSC_SIM_SYSTEM_H
#define LSC_SIM_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "plan/schedule.h"

enum lsc_way {
	LSC_WAY_CHOSEN, /* as lsc-cast send does: plan/ring.h, or a schedule where that is sooner */
	LSC_WAY_SCHEDULE, /* plan/schedule.h: a node sends to all its peers at once */
	LSC_WAY_IN_TURN,  /* the same, a piece at a time, in the order of the rounds */
	LSC_WAY_DISK,     /* each node reads its own */
	LSC_WAY_BOUND,    /* no way is sooner */
};

struct lsc_system {
	const char *name;
	enum lsc_way way;
	enum lsc_order order;
	uint32_t blocks;      /* that are moved as one piece each; 0: the image's own */
	uint64_t piece_bytes; /* 0: the image's own; else it is cut anew */
	const char *about;
};

#define LSC_SYSTEM_MAX 16

/* By index; NULL behind the last. */
const struct lsc_system *lsc_system_at(unsigned index);

/* A list of names, separated by commas, or "all"; at most LSC_SYSTEM_MAX. */
int lsc_systems_parse(const char *text, const struct lsc_system **ret_systems, unsigned *ret_n,
		      struct lsc_err *err);

#endif
