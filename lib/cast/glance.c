/* glance - looks at a manifest and a table of marks, and at no piece */
#include "cast/glance.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "mem/segment.h"
#include "model/files.h"

void lsc_glance_release(struct lsc_glance *glance)
{
	lsc_held_release(&glance->held);
	free(glance->manifest);
	*glance = (struct lsc_glance){.held.state = LSC_HELD_ABSENT};
}

/* Notes whose image it is; image's manifest is copied, as its owner goes. */
static int take(struct lsc_glance *glance, const struct lsc_image *image, bool want_manifest,
		struct lsc_err *err)
{
	glance->held.id = image->id;
	glance->held.bytes = image->bytes;
	glance->held.pieces = glance->held.there = image->n_pieces;
	if (!want_manifest)
		return 0;
	glance->manifest = malloc(image->manifest_len + 1);
	if (!glance->manifest)
		return lsc_err_set(err, ENOMEM, "cannot hold a manifest: %m");
	memcpy(glance->manifest, image->manifest, image->manifest_len);
	glance->manifest_len = (uint32_t)image->manifest_len;
	return 0;
}

/* 1: it is whole. */
static int look_whole(struct lsc_glance *glance, const char *path, bool want_manifest,
		      struct lsc_err *err)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	int r = lsc_files_is(path) ? lsc_files_open_cast(&image, path, false, err)
				   : lsc_image_open(&image, path, err);

	if (r == 0)
		r = take(glance, &image, want_manifest, err);
	if (r < 0)
		return r;
	glance->held.state = LSC_HELD_WHOLE;
	return 1;
}

static int count_pieces(struct lsc_glance *glance, const struct lsc_segment *segment,
			struct lsc_err *err)
{
	struct lsc_held *held = &glance->held;

	held->there = 0;
	held->bits = lsc_bits_new(held->pieces);
	if (!held->bits)
		return lsc_err_set(err, ENOMEM, "cannot count pieces: %m");
	for (uint32_t i = 0; i < held->pieces; i++) {
		if (!lsc_segment_has(segment, i, 1))
			continue;
		lsc_bits_add(held->bits, i);
		held->there++;
	}
	return 0;
}

/* 1: some of it is there.  A segment that became whole meanwhile is looked at once more. */
static int look_part(struct lsc_glance *glance, const char *dir, const char *name,
		     bool want_manifest, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_segment_close) struct lsc_segment segment = LSC_SEGMENT_INIT;
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	int r = lsc_segment_open(&segment, dir, name, err);

	if (r == 0)
		r = lsc_image_parse_any(&image, segment.manifest, segment.manifest_len, err);
	if (r == 0 && segment.arrivals && segment.n_pieces != image.n_pieces)
		r = lsc_err_set(err, EBADMSG, "'%s' has another number of pieces", name);
	if (r == 0)
		r = take(glance, &image, want_manifest, err);
	if (r < 0)
		return r;
	glance->held.state = segment.arrivals ? LSC_HELD_PART : LSC_HELD_WHOLE;
	r = segment.arrivals ? count_pieces(glance, &segment, err) : 0;
	return r < 0 ? r : 1;
}

int lsc_glance_look(struct lsc_glance *glance, const char *dir, const char *name,
		    bool want_manifest, struct lsc_err *err)
{
	struct lsc_err why = LSC_ERR_INIT;
	char path[PATH_MAX];
	int r;

	lsc_glance_release(glance);
	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return 0;
	r = look_whole(glance, path, want_manifest, &why);
	if (r == -ENOENT)
		r = look_part(glance, dir, name, want_manifest, &why);
	if (r > 0)
		return 0;
	lsc_glance_release(glance);
	if (r == -ENOMEM)
		return lsc_err_set(err, ENOMEM, "%s", why.text);
	if (r != -ENOENT)
		lsc_info("asked for '%s': %s", name, why.text);
	return 0;
}
