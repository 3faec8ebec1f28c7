/* Work in a thread of its own, whose end the loop hears of: what takes long must not hold up others
 * that the loop serves. */
#ifndef LSC_NET_TASK_H
#define LSC_NET_TASK_H

#include "base/err.h"
#include "net/loop.h"

struct lsc_task;

/* Calls work in a thread, and, when that returns, done from the loop; both with data. */
int lsc_task_start(struct lsc_task **ret_task, struct lsc_loop *loop, void (*work)(void *data),
		   void (*done)(void *data), void *data, struct lsc_err *err);

/* Waits for the thread, which the caller has told to make haste, and frees the task; done is not
 * called any more, and may be what calls this.  NULL is fine. */
void lsc_task_stop(struct lsc_task *task);

#endif
