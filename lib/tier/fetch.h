/* A fetch: an image comes from disk into the cells of its holding, by a load (tier/load.h) whose
 * end the loop hears of. */
#ifndef LSC_TIER_FETCH_H
#define LSC_TIER_FETCH_H

#include <stdbool.h>

#include "base/err.h"
#include "net/loop.h"
#include "tier/holding.h"
#include "tier/load.h"

struct lsc_fetch;

/* Of a holding that is begun, from DIR/NAME.  rate: bytes a second; 0: as fast as it can.  fn is
 * called from the loop, once, when nothing more will come from disk: result is negative, with
 * words, where some blocks did not; others may bring those. */
int lsc_fetch_start(struct lsc_fetch **ret_fetch, struct lsc_loop *loop, const char *dir,
		    struct lsc_holding *holding, double rate,
		    void (*fn)(void *data, struct lsc_holding *holding, int result,
			       const struct lsc_err *err),
		    void *data, struct lsc_err *err);

void lsc_fetch_set_rate(struct lsc_fetch *fetch, double rate);
void lsc_fetch_progress(struct lsc_fetch *fetch, struct lsc_load_progress *ret);

/* Ends it and unmaps what it filled, so that it can be sealed; fn may call this.  NULL is fine. */
void lsc_fetch_stop(struct lsc_fetch *fetch);

#endif
