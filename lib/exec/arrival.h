/* Which units of an image have arrived in its segment.
 *
 * A unit can run once the pieces of all the blocks it needs are there.  A segment that was complete
 * when it was mapped has everything.
 */
#ifndef LSC_EXEC_ARRIVAL_H
#define LSC_EXEC_ARRIVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/segment.h"
#include "model/image.h"

#define LSC_ARRIVAL_LONG_MS 3000 /* a wait that is worth a word */

/* Whether what lies in a segment has the size, and its table the pieces, that the image says:
 * -EBADMSG.  Before anything below. */
int lsc_arrival_check(const struct lsc_image *image, const struct lsc_segment *segment,
		      struct lsc_err *err);

/* How many units from first on (at most to last) can run now. */
uint32_t lsc_arrival_ready(const struct lsc_image *image, const struct lsc_segment *segment,
			   uint32_t first, uint32_t last);

/* Waits for one unit: 0, -ETIMEDOUT (timeout_ms < 0: forever), -EPIPE where nobody receives it any
 * more. */
int lsc_arrival_wait(const struct lsc_image *image, struct lsc_segment *segment, uint32_t unit,
		     int timeout_ms, struct lsc_err *err);

/* The same for the tokenizer, which is in the first pieces. */
int lsc_arrival_wait_tokenizer(const struct lsc_image *image, struct lsc_segment *segment,
			       int timeout_ms, struct lsc_err *err);

#endif
