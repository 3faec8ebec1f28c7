/* A checkpoint as an image, opened, whose pieces are all as its manifest says. */
#ifndef LSC_TESTS_PACKED_H
#define LSC_TESTS_PACKED_H

#include <stdio.h>

#include "base/cleanup.h"
#include "model/checkpoint.h"
#include "model/image.h"

static bool pack(const char *source, const char *dir, enum lsc_dtype dtype, uint32_t blocks,
		 struct lsc_image *image)
{
	LSC_CLEANUP(lsc_checkpoint_close) struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
	const struct lsc_image_options options = {.dtype = dtype, .blocks = blocks};
	struct lsc_err err = LSC_ERR_INIT;
	uint32_t bad;

	if (lsc_checkpoint_open(&checkpoint, source, &err) == 0 &&
	    lsc_image_pack(&checkpoint, dir, &options, &err) == 0 &&
	    lsc_image_open(image, dir, &err) == 0 && lsc_image_verify(image, 1, &bad, &err) == 0)
		return bad == image->n_pieces;
	printf("# %s\n", err.text);
	return false;
}

#endif
