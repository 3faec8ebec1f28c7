/* Keys and values that come to a stage or leave it, on its compute thread.
 *
 * A request that other stages computed is adopted under a new number: it gets its room at once, as
 * a newcomer does whose prompt is that long (room.h), takes over the layers that are here already,
 * and then waits for rows of the others.  Until the last of them came it reaches nowhere.
 */
#ifndef LSC_STAGE_CARRY_H
#define LSC_STAGE_CARRY_H

#include "stage/queue.h"

/* Does an ADOPT, PAGES or FETCH job, and gives it back by queue->over, with what came of it. */
void lsc_carry(struct lsc_queue *queue, struct lsc_job *job,
	       void (*evict)(void *data, struct lsc_guest *guest), void *data);

#endif
