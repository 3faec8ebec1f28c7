/* Files that are cast as they are: any file, or a directory with all that is in it (lsc-files(5)).
 *
 * To a cast they are an image: a range of bytes, in pieces that have hashes, with a manifest.  The
 * range is not stored anywhere: it is mapped from the files (base/tree.h), at the sender as at the
 * receivers.  At a node DIR/NAME is the file or the tree and nothing else; its manifest lies in
 * DIR/.lsc/NAME.manifest, where a later cast finds it.
 */
#ifndef LSC_MODEL_FILES_H
#define LSC_MODEL_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/tree.h"
#include "model/image.h"

/* The image of what lies at path: reads all of it once, with so many threads, for the hashes.
 * -EBUSY where something changed meanwhile.  What is neither file, directory nor link is left out
 * with a warning. */
int lsc_files_open(struct lsc_image *image, const char *path, unsigned threads,
		   struct lsc_err *err);

/* What a cast brought to path before, as it was cast: -ENOENT where none did.  Its files are held
 * against the manifest by size and time (-EBADMSG), not by their bytes.  map: also data. */
int lsc_files_open_cast(struct lsc_image *image, const char *path, bool map, struct lsc_err *err);

/* Whether a cast brought path. */
bool lsc_files_is(const char *path);

/* The manifest. */
bool lsc_files_is_manifest(const void *manifest, size_t len);
int lsc_files_pack(const struct lsc_image *image, struct lsc_buf *buf, struct lsc_err *err);

/* On failure what was filled is for lsc_image_close(). */
int lsc_files_parse(struct lsc_image *image, const void *manifest, size_t len, struct lsc_err *err);

/* Blocks and the number of pieces, from the tree, placed, and piece_bytes (files_manifest.c). */
int lsc_files_layout(struct lsc_image *image, struct lsc_err *err);

#endif
