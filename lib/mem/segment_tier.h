/* What of a segment is different where a tier lends it (lsc-tier(5)); for segment.c alone.
 *
 * Its image is as many memfds as it has blocks.  Who receives maps those that it is to fill twice:
 * by a lease, which it keeps, and to write.
 */
#ifndef LSC_MEM_SEGMENT_TIER_H
#define LSC_MEM_SEGMENT_TIER_H

#include <stdbool.h>

#include "base/err.h"
#include "base/hash.h"
#include "mem/segment.h"

/* By name, or by the hash of its manifest where that is given; load: it comes from disk, if that is
 * where it is.  -ENOENT. */
int lsc_segment_tier_open(struct lsc_segment *segment, const char *dir, const char *name,
			  const struct lsc_hash *id, bool load, struct lsc_err *err);

int lsc_segment_tier_begin(struct lsc_segment *segment, const char *dir, const char *name,
			   const void *manifest, size_t manifest_len, struct lsc_err *err);

/* 1 while the tier makes room; 0 when the memory is there. */
int lsc_segment_tier_grow(struct lsc_segment *segment, struct lsc_err *err);

/* What was filled is mapped to read from now on, at the same place; then the tier seals it. */
int lsc_segment_tier_commit(struct lsc_segment *segment, struct lsc_err *err);
int lsc_segment_tier_discard(struct lsc_segment *segment, struct lsc_err *err);

/* Ends the connection, before the rest is closed. */
void lsc_segment_tier_close(struct lsc_segment *segment);

int lsc_segment_tier_each(const char *dir, int (*fn)(void *data, const char *name, bool arriving),
			  void *data, struct lsc_err *err);

#endif
