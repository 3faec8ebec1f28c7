/* A save: an image goes from memory to disk, in a thread of its own. */
#ifndef LSC_TIER_SAVE_H
#define LSC_TIER_SAVE_H

#include "base/err.h"
#include "net/loop.h"
#include "tier/holding.h"

struct lsc_save;

/* result is 0 when it is on disk and has its name; used: bytes that all images there use. */
typedef void lsc_save_fn(void *data, int result, uint64_t used, const struct lsc_err *err);

/* Writes DIR/NAME, which must not exist, of a holding that is whole; it has leases on the cells
 * meanwhile.  Blocks that other images there have are linked; what is new must not go over a limit
 * of bytes used there.  fn is called from the loop; what fails, or is stopped, leaves nothing. */
int lsc_save_start(struct lsc_save **ret_save, struct lsc_loop *loop, const char *dir,
		   const struct lsc_holding *holding, uint64_t limit, lsc_save_fn *fn, void *data,
		   struct lsc_err *err);

/* Frees it, and waits for the thread; fn may call this.  NULL is fine. */
void lsc_save_stop(struct lsc_save *save);

#endif
