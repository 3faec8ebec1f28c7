/* Who has room for keys and values at a stage.
 *
 * Pages are given as positions are computed, not set aside for answers whose length nobody knows.
 * Where they run out, the youngest gives way: its pages go, and its client computes it again later.
 * The older of two requests is the same one everywhere (lsc_guest_is_older()), so the oldest gets
 * on at all stages, whatever it waits for is held by younger ones, and nobody waits for ever.
 * Whoever is refused holds nothing: its client lets it wait, in order, or tries other nodes.
 */
#ifndef LSC_STAGE_ROOM_H
#define LSC_STAGE_ROOM_H

#include <stdint.h>

#include "base/err.h"
#include "stage/job.h"
#include "stage/roster.h"

/* Room for the next rows of a job, beside *taken pages that others of the step were promised, to
 * which its own are added: 0; -ENOSPC: only older ones have what it needs; -EFBIG: all there is
 * would not do.  evict() makes a guest give way; it drops it. */
int lsc_room_make(const struct lsc_roster *roster, const struct lsc_guest *guest,
		  const struct lsc_job *job, uint32_t rows, uint64_t *taken,
		  void (*evict)(void *data, struct lsc_guest *guest), void *data,
		  struct lsc_err *err);

#endif
