/* What a directory has of a name: a whole image or files, or a part of one, for whoever asks. */
#ifndef LSC_CAST_LOOKUP_H
#define LSC_CAST_LOOKUP_H

#include <stddef.h>

#include "base/err.h"
#include "cast/want.h"
#include "mem/segment.h"
#include "model/image.h"

struct lsc_lookup {
	struct lsc_held held;
	const void *manifest;
	size_t manifest_len;

	struct lsc_segment segment; /* that they are of; or: */
	struct lsc_image files;
};

#define LSC_LOOKUP_INIT                                                                            \
	{                                                                                          \
		.held = LSC_HELD_INIT, .segment = LSC_SEGMENT_INIT                                 \
	}

/* Looks at manifest, size and marks, and reads no piece.  -ENOENT where there is nothing; -EBADMSG
 * and others where what is there is not good.  What failed is for lsc_lookup_close(), too. */
int lsc_lookup_open(struct lsc_lookup *lookup, const char *dir, const char *name,
		    struct lsc_err *err);
void lsc_lookup_close(struct lsc_lookup *lookup);

#endif
