/* What of a segment is different where files arrive that are cast as they are (base/tree.h); for
 * segment.c alone. */
#ifndef LSC_MEM_SEGMENT_TREE_H
#define LSC_MEM_SEGMENT_TREE_H

#include <stdbool.h>

#include "base/err.h"
#include "mem/segment.h"

/* Whether all large files lie there at their full size. */
bool lsc_segment_tree_is_whole(const struct lsc_segment *segment);

/* Makes the directories. */
int lsc_segment_tree_begin(const struct lsc_segment *segment, struct lsc_err *err);

/* Reserves the range, to map into; then makes and maps some large files: 1 while there are more. */
int lsc_segment_tree_reserve(struct lsc_segment *segment, struct lsc_err *err);
int lsc_segment_tree_grow(struct lsc_segment *segment, struct lsc_err *err);

/* Makes the tree what it is to be, and gives it its name: to.  The rest of NAME.part stays. */
int lsc_segment_tree_commit(struct lsc_segment *segment, const char *to, struct lsc_err *err);

void lsc_segment_tree_remove(const struct lsc_segment *segment);

#endif
