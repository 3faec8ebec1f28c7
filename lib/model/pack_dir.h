/* The directory that an image is written to: under another name until it is whole. */
#ifndef LSC_MODEL_PACK_DIR_H
#define LSC_MODEL_PACK_DIR_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct lsc_pack_dir {
	char *path; /* where it will be */
	char *temp;
	int lock; /* the temporary directory, locked */
	int fd;   /* of the image file, which the owner writes */
};

#define LSC_PACK_DIR_INIT                                                                          \
	{                                                                                          \
		NULL, NULL, -1, -1                                                                 \
	}

/* For an image file of so many bytes.  -EEXIST where the name is taken, -EBUSY where another pack
 * is at it. */
int lsc_pack_dir_start(struct lsc_pack_dir *target, const char *dir, uint64_t bytes,
		       struct lsc_err *err);

/* Adds the manifest, syncs all of it and gives it its name. */
int lsc_pack_dir_finish(struct lsc_pack_dir *target, const struct lsc_buf *manifest,
			struct lsc_err *err);

/* Removes what was not finished. */
void lsc_pack_dir_release(struct lsc_pack_dir *target);

#endif
