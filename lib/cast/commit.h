/* A commit in the background: syncing an image takes as long as the disk does, and the loop has
 * others to serve meanwhile. */
#ifndef LSC_CAST_COMMIT_H
#define LSC_CAST_COMMIT_H

#include <stdbool.h>

#include "base/err.h"
#include "mem/segment.h"
#include "net/loop.h"

struct lsc_commit;

/* Calls fn from the loop when lsc_segment_commit() is done; until then nobody else changes the
 * segment. */
int lsc_commit_start(struct lsc_commit **ret_commit, struct lsc_loop *loop,
		     struct lsc_segment *segment,
		     void (*fn)(void *data, int result, const struct lsc_err *err), void *data,
		     struct lsc_err *err);

/* Frees it; fn is not called any more, and may be what calls this.  Where the commit is not done,
 * it goes on by itself, the segment, which malloc() gave, is its own from now on, and true is
 * returned.  NULL is fine. */
bool lsc_commit_leave(struct lsc_commit *commit);

#endif
