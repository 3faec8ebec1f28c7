/* The manifest: an image's tables as records (lsc-image(5)). */
#ifndef LSC_MODEL_MANIFEST_H
#define LSC_MODEL_MANIFEST_H

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "model/image.h"

/* Tensors in one record, which so stays well below what a record may have.  Only experts are more.
 */
#define LSC_MANIFEST_MAX_TENSORS 16384u

/* A file the image was made from. */
struct lsc_image_source {
	const char *name;
	uint64_t bytes;
	struct lsc_hash hash;
};

/* Appends the manifest of image, whose tables, chat and tokenizer_len are set. */
int lsc_manifest_pack(const struct lsc_image *image, const struct lsc_image_source *sources,
		      size_t n_sources, struct lsc_buf *buf, struct lsc_err *err);

/* Fills image's tables from manifest bytes; on failure what was filled is for lsc_image_close(). */
int lsc_manifest_parse(struct lsc_image *image, const void *data, size_t len, struct lsc_err *err);

#endif
