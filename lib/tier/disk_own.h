/* What the files of disk have in common. */
#ifndef LSC_TIER_DISK_OWN_H
#define LSC_TIER_DISK_OWN_H

#include "tier/disk.h"

#define LSC_DISK_GONE ".gone-"
#define LSC_DISK_NEW  ".new-"
#define LSC_DISK_PAGE 4096u

struct lsc_disk_range {
	uint64_t start, end;
};

/* Where a block lies: a file and an offset in it. */
struct lsc_disk_place {
	uint32_t file;
	uint64_t offset;
};

/* DIR/NAME/FILE, or without the last; NULL when out of memory. */
char *lsc_disk_path(const struct lsc_disk *disk, const char *name, const char *file);

bool lsc_disk_is_good(const struct lsc_disk_image *image); /* there, whole and understood */
int lsc_disk_lock(const struct lsc_disk *disk, struct lsc_err *err); /* a descriptor */
struct lsc_disk_place lsc_disk_place(const struct lsc_disk_image *image, uint32_t block);

/* Whether a block is made of pages that can be mapped from elsewhere, and the bytes on disk are
 * what their hashes say. */
bool lsc_disk_is_pages(const struct lsc_image *image, const struct lsc_block *block,
		       const struct lsc_disk_place *at);
bool lsc_disk_has_block(const struct lsc_disk *disk, const struct lsc_disk_image *image,
			uint32_t number);

/* Gives an image links and a table, so that its blocks lie where `to` says, as far as they can be
 * linked: that is in its shares then.  Nothing is written where all are in its own file. */
int lsc_disk_write_table(const struct lsc_disk *disk, struct lsc_disk_image *image,
			 const struct lsc_disk_place *to, struct lsc_err *err);

/* What images need of a file, but for one of them (NULL): ranges in order and apart, to be freed;
 * returns how many or -ENOMEM. */
int64_t lsc_disk_needs(const struct lsc_disk *disk, uint32_t file, const struct lsc_disk_image *but,
		       struct lsc_disk_range **ret_ranges);

/* Takes from a file what no image needs there; returns bytes freed, 0 where it cannot be now. */
uint64_t lsc_disk_trim(struct lsc_disk *disk, uint32_t file);

#endif
