/* What of an image is nowhere, in words. */
#ifndef LSC_CAST_MISSING_H
#define LSC_CAST_MISSING_H

#include <stdint.h>

#include "base/err.h"
#include "model/image.h"

/* held: the pieces that some node has.  -ENODATA where that is not all, which names the blocks. */
int lsc_missing_check(const struct lsc_image *image, const uint64_t *held, struct lsc_err *err);

#endif
