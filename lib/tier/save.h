/* A save: an image goes from memory to disk, in a thread of its own. */
#ifndef LSC_TIER_SAVE_H
#define LSC_TIER_SAVE_H

#include "base/err.h"
#include "net/loop.h"
#include "tier/holding.h"

struct lsc_save;

/* Writes DIR/NAME, which must not exist, of a holding that is whole; it has leases on the cells
 * meanwhile.  What a save that was cut short left is gone on with.  fn is called from the loop when
 * it is on disk and has its name, or cannot be: then nothing is left of it, unless it was stopped.
 */
int lsc_save_start(struct lsc_save **ret_save, struct lsc_loop *loop, const char *dir,
		   const struct lsc_holding *holding,
		   void (*fn)(void *data, int result, const struct lsc_err *err), void *data,
		   struct lsc_err *err);

/* Frees it, and waits for the thread; fn may call this.  NULL is fine. */
void lsc_save_stop(struct lsc_save *save);

#endif
