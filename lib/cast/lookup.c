/* lookup - finds an image by its name, however it lies there */
#include "cast/lookup.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "mem/lender.h"
#include "model/files.h"

static int take_bits(struct lsc_lookup *lookup, struct lsc_err *err)
{
	struct lsc_held *held = &lookup->held;

	held->bits = lsc_bits_new(held->n_pieces);
	if (!held->bits)
		return lsc_err_set(err, ENOMEM, "cannot look for an image: %m");
	for (uint32_t i = 0; i < held->n_pieces; i++) {
		if (!lsc_segment_has(&lookup->segment, i, 1))
			continue;
		lsc_bits_add(held->bits, i);
		held->n_here++;
	}
	return 0;
}

static void take_image(struct lsc_lookup *lookup, const struct lsc_image *image)
{
	lookup->held.id = image->id;
	lookup->held.bytes = image->bytes;
	lookup->held.n_pieces = image->n_pieces;
}

static int take_segment(struct lsc_lookup *lookup, const char *name, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	const struct lsc_segment *segment = &lookup->segment;
	struct lsc_held *held = &lookup->held;
	int r;

	lookup->manifest = segment->manifest;
	lookup->manifest_len = segment->manifest_len;
	r = lsc_image_parse_any(&image, segment->manifest, segment->manifest_len, err);
	if (r < 0)
		return r;
	take_image(lookup, &image);
	held->complete = !segment->arrivals;
	/* Of files that arrive, the segment maps the small ones alone. */
	if (held->complete ? segment->bytes != image.bytes || image.tree
			   : segment->n_pieces != image.n_pieces ||
				     (!image.tree && segment->bytes != image.bytes))
		return lsc_err_set(err, EBADMSG, "'%s' is not what its manifest says", name);
	if (!held->complete)
		return take_bits(lookup, err);
	held->n_here = held->n_pieces;
	return 0;
}

static int take_files(struct lsc_lookup *lookup, const char *path, struct lsc_err *err)
{
	int r = lsc_files_open_cast(&lookup->files, path, false, err);

	if (r < 0)
		return r;
	lookup->manifest = lookup->files.manifest;
	lookup->manifest_len = lookup->files.manifest_len;
	take_image(lookup, &lookup->files);
	lookup->held.complete = true;
	lookup->held.n_here = lookup->held.n_pieces;
	return 0;
}

int lsc_lookup_open(struct lsc_lookup *lookup, const char *dir, const char *name,
		    struct lsc_err *err)
{
	char path[PATH_MAX];
	int r = lsc_segment_look(&lookup->segment, dir, name, err);

	if (r == 0 && lsc_lender_is(dir) && lookup->segment.data)
		lookup->held.tier = LSC_HELD_HOST;
	if (r == 0)
		return take_segment(lookup, name, err);
	if (r != -ENOENT && r != -ENOTDIR)
		return r;
	if (snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path) &&
	    lsc_files_is(path))
		return take_files(lookup, path, err);
	return lsc_err_set(err, ENOENT, "it is not there");
}

void lsc_lookup_close(struct lsc_lookup *lookup)
{
	lsc_image_close(&lookup->files);
	lsc_segment_close(&lookup->segment);
	lsc_held_release(&lookup->held);
	*lookup = (struct lsc_lookup)LSC_LOOKUP_INIT;
}
