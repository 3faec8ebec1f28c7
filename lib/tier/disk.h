/* A directory of images, as it lies on disk: what is there, in bytes that are really used, blocks
 * that are there twice held once (lsc-image(5), "Shared blocks"), and removed safely.
 *
 * A struct lsc_disk is what a look at the directory found, names in order.  What is no image, has
 * a hostile name or is a link is not seen.  One that is damaged is there, with words, and harms no
 * other.
 *
 * What changes the directory locks it (flock) meanwhile: -EBUSY while another process does so.  It
 * may be killed at any time, and each image is whole then, or gone.  It looks again in the end, so
 * what lsc_disk_find() returned before is void.
 *
 * No bytes are taken from a file that somebody has open or mapped, other links included: they stay
 * until a later lsc_disk_gc().  One thread uses a struct lsc_disk.
 */
#ifndef LSC_TIER_DISK_H
#define LSC_TIER_DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/shares.h"
#include "model/image.h"

/* A file, however many names it has. */
struct lsc_disk_file {
	dev_t dev;
	ino_t ino;
	uint64_t links, names; /* that it has; that were seen here */
	uint64_t used;         /* bytes on disk */
	char *path;            /* one of its names, from the directory on */
	bool data;             /* `image` or share.N of an image */
	bool keep;             /* of what is not understood: nothing is taken from it */
};

struct lsc_disk_image {
	char *name;
	bool arriving;
	struct lsc_err damage; /* its code is 0 where there is none */
	struct lsc_image image;
	uint8_t *manifest;
	struct lsc_hash *blocks; /* their names: lsc_image_block_hash() */
	struct lsc_shares shares;
	uint32_t own;                         /* files[]: its `image` */
	uint32_t links[LSC_SHARES_MAX_FILES]; /* of share.N; LSC_DISK_NONE */
	uint64_t used;                        /* bytes of all its files, those that it shares too */
	uint64_t freed;                       /* that its removal gives, when nobody has it open */
};

#define LSC_DISK_NONE UINT32_MAX

struct lsc_disk {
	char *dir;
	struct lsc_disk_image **images;
	uint32_t n;
	struct lsc_disk_file *files;
	uint32_t n_files;
	uint64_t used;           /* bytes on disk of all that was seen, leftovers too */
	const atomic_bool *stop; /* the caller's; NULL, or set by another thread: write no more */
};

#define LSC_DISK_INIT                                                                              \
	{                                                                                          \
		0                                                                                  \
	}

int lsc_disk_open(struct lsc_disk *disk, const char *dir, struct lsc_err *err);
int lsc_disk_scan(struct lsc_disk *disk, struct lsc_err *err); /* once more */
void lsc_disk_close(struct lsc_disk *disk);

struct lsc_disk_image *lsc_disk_find(const struct lsc_disk *disk, const char *name);

/* Whether bytes more fit below a limit of bytes used, and on the file system: -ENOSPC. */
int lsc_disk_check_room(const struct lsc_disk *disk, uint64_t bytes, uint64_t limit,
			struct lsc_err *err);

/* Holds blocks once that several images have, as far as the bytes that stay are what their hashes
 * say.  What cannot be linked stays as it is.  *ret_freed are bytes. */
int lsc_disk_share(struct lsc_disk *disk, uint64_t *ret_freed, struct lsc_err *err);

/* Writes an image from memory, data, whose manifest is given; blocks that others on disk have are
 * linked.  It has its name when all is on disk; what fails leaves nothing.  -EEXIST where there is
 * one, -ENOSPC with nothing written where what is new goes over a limit of bytes used, -EBADMSG
 * where memory is not what the manifest says, -ECANCELED where it was stopped. */
int lsc_disk_write(struct lsc_disk *disk, const char *name, const void *manifest, size_t len,
		   const uint8_t *data, uint64_t limit, struct lsc_err *err);

/* Removes an image, -ENOENT where there is none; one that arrives if nobody receives it, -EBUSY. */
int lsc_disk_remove(struct lsc_disk *disk, const char *name, struct lsc_err *err);

/* Removes what crashes left, with parts also what has arrived of images that nobody receives, and
 * takes bytes from files that no image needs there. */
int lsc_disk_gc(struct lsc_disk *disk, bool parts, uint64_t *ret_freed, struct lsc_err *err);

#endif
