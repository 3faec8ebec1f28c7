/* Pieces of an image that lie here already, in other images: an older version of the model, or of
 * the files, has most of them.
 *
 * A thread of its own looks into all that is complete in the node's directory, copies what has the
 * same hash and length to its place in the segment (or lets both share it on disk, where the file
 * system can), and marks it there when its hash was found right again.  What others have that is
 * malformed or damaged is passed over.
 */
#ifndef LSC_CAST_REUSE_H
#define LSC_CAST_REUSE_H

#include <stdint.h>

#include "base/err.h"
#include "mem/segment.h"
#include "model/image.h"
#include "net/loop.h"

struct lsc_reuse;

/* Calls fn from the loop when it is done, with 0 and how many pieces were found, or negative errno:
 * -ENOSPC where the segment lost room that it had, else it is as good as before.  Until then nobody
 * else marks pieces of it.  dir, image and segment are borrowed until lsc_reuse_stop(). */
int lsc_reuse_start(struct lsc_reuse **ret_reuse, struct lsc_loop *loop, const char *dir,
		    const struct lsc_image *image, struct lsc_segment *segment,
		    void (*fn)(void *data, int result, uint32_t pieces, const struct lsc_err *err),
		    void *data, struct lsc_err *err);

/* Frees it, after the piece at hand where it is at work; fn is not called any more, and may be what
 * calls this.  NULL is fine. */
void lsc_reuse_stop(struct lsc_reuse *reuse);

/* The same where one can wait for it: returns how many pieces, or negative errno. */
int64_t lsc_reuse_now(const char *dir, const struct lsc_image *image, struct lsc_segment *segment,
		      struct lsc_err *err);

#endif
