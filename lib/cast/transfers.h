/* Schedules as a stream of records, as lsc-plan(1) writes them: each a plan, its transfers in the
 * order of their rounds, and an end.  Reading proves them; who made them does not matter.
 */
#ifndef LSC_CAST_TRANSFERS_H
#define LSC_CAST_TRANSFERS_H

#include "base/err.h"
#include "plan/schedule.h"
#include "stream/record.h"

enum {
	LSC_PLAN_NONE = 0, /* the stream ended */
	LSC_PLAN_PROVEN,
	LSC_PLAN_WRONG, /* the words in err are the first rule that it breaks */
};

/* Reads and proves the next plan, in memory for one round and a bit for each piece of a node.
 * Returns one of the above; -EBADMSG for a stream that is malformed, -EPROTO for another version,
 * -EOPNOTSUPP for a plan that is too large to prove.  Of ret_schedule, only the counts are set; the
 * outputs are written when the plan is proven. */
int lsc_transfers_prove(struct lsc_reader *reader, struct lsc_schedule *ret_schedule,
			uint32_t *ret_covered, struct lsc_err *err);

#endif
