/* disk_write - an image goes from memory to disk, as far as it is not there
 *
 * All of it happens in .new-NAME, which becomes NAME when it is whole and synced; what was killed
 * there is removed by the next, or by gc.  Bytes go to the disk as they are written, and out of the
 * page cache: they are in memory already.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/tree.h"
#include "mem/segment.h"
#include "tier/disk_own.h"

struct writing {
	struct lsc_disk *disk;
	struct lsc_disk_image image; /* of the name .new-NAME */
	char name[NAME_MAX + 16];
	char *path, *to_path;
	struct lsc_disk_place *to;
	const uint8_t *data;
	int fd;
};

/* Where somebody has a block, and it is good there. */
static bool find_block(const struct lsc_disk *disk, const struct lsc_image *image, uint32_t number,
		       struct lsc_disk_place *ret_at)
{
	struct lsc_hash hash = lsc_image_block_hash(image, number);

	for (uint32_t i = 0; i < disk->n; i++) {
		const struct lsc_disk_image *other = disk->images[i];

		for (uint32_t b = 0; lsc_disk_is_good(other) && b < other->image.n_blocks; b++) {
			struct lsc_disk_place at;

			if (!lsc_hash_equal(&other->blocks[b], &hash))
				continue;
			at = lsc_disk_place(other, b);
			if (!lsc_disk_is_pages(image, &image->blocks[number], &at) ||
			    !lsc_disk_has_block(disk, other, b))
				continue;
			*ret_at = at;
			return true;
		}
	}
	return false;
}

static int find_all(struct writing *w, size_t manifest_len, uint64_t limit, struct lsc_err *err)
{
	const struct lsc_image *image = &w->image.image;
	uint64_t bytes = manifest_len;

	w->image.own = w->disk->n_files; /* none of those that are there */
	w->to = calloc(image->n_blocks + 1, sizeof(*w->to));
	if (!w->to)
		return lsc_err_set(err, ENOMEM, "cannot write '%s': %m", w->to_path);
	for (uint32_t b = 0; b < image->n_blocks; b++) {
		w->to[b] = (struct lsc_disk_place){w->image.own, image->blocks[b].offset};
		if (!find_block(w->disk, image, b, &w->to[b]))
			bytes += image->blocks[b].bytes;
	}
	return lsc_disk_check_room(w->disk, bytes, limit, err);
}

static int write_block(const struct writing *w, uint32_t number, struct lsc_err *err)
{
	const struct lsc_image *image = &w->image.image;
	const struct lsc_block *block = &image->blocks[number];
	int r = 0;

	for (uint32_t p = block->first_piece; r == 0 && p < block->first_piece + block->n_pieces;
	     p++) {
		uint64_t offset = lsc_image_piece_offset(image, p);
		uint32_t bytes = lsc_image_piece_bytes(image, p);
		struct lsc_hash hash = lsc_hash_of(w->data + offset, bytes);

		if (!lsc_hash_equal(&hash, &image->pieces[p]))
			return lsc_err_set(err, EBADMSG, "piece %u in memory is damaged", p);
		if (w->disk->stop && atomic_load(w->disk->stop))
			return lsc_err_set(err, ECANCELED, "stopped writing '%s'", w->to_path);
		r = lsc_pwrite_full(w->fd, w->data + offset, bytes, offset);
	}
	if (r < 0)
		return lsc_err_set(err, -r, "cannot write '%s': %m", w->to_path);
	sync_file_range(w->fd, (off_t)block->offset, (off_t)block->bytes, SYNC_FILE_RANGE_WRITE);
	return 0;
}

static int write_image(struct writing *w, struct lsc_err *err)
{
	const struct lsc_image *image = &w->image.image;
	LSC_CLEANUP_FREE char *path = lsc_disk_path(w->disk, w->name, "image");
	uint64_t size;
	int r = lsc_disk_write_table(w->disk, &w->image, w->to, err);

	if (r < 0 || !path)
		return r < 0 ? r : lsc_err_set(err, ENOMEM, "cannot write '%s': %m", w->to_path);
	size = image->bytes + (w->image.shares.n ? LSC_SHARES_TAIL : 0);
	w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (w->fd < 0 || ftruncate(w->fd, (off_t)size) < 0)
		return lsc_err_set(err, errno, "cannot write '%s': %m", w->to_path);
	for (uint32_t b = 0; r == 0 && b < image->n_blocks; b++)
		if (!lsc_shares_at(&w->image.shares, image->blocks[b].offset))
			r = write_block(w, b, err);
	if (r == 0 && fsync(w->fd) < 0)
		r = lsc_err_set(err, errno, "cannot write '%s': %m", w->to_path);
	if (r == 0)
		posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
	return r;
}

static int write_all(struct writing *w, const void *manifest, size_t len, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *path = lsc_disk_path(w->disk, w->name, "manifest");
	int r = lsc_tree_remove(w->path, err);

	if (r < 0 || !path)
		return r < 0 ? r : lsc_err_set(err, ENOMEM, "cannot write '%s': %m", w->to_path);
	if (mkdir(w->path, 0777) < 0)
		return lsc_err_set(err, errno, "cannot make directory '%s': %m", w->path);
	r = write_image(w, err);
	if (r == 0)
		r = lsc_file_write(path, manifest, len, err);
	if (r == 0)
		r = lsc_path_sync(w->path, err);
	if (r == 0 && renameat2(AT_FDCWD, w->path, AT_FDCWD, w->to_path, RENAME_NOREPLACE) < 0)
		r = lsc_err_set(err, errno, "cannot write '%s': %m", w->to_path);
	if (r < 0)
		lsc_tree_remove(w->path, NULL);
	return r < 0 ? r : lsc_path_sync(w->disk->dir, err);
}

static int begin(struct writing *w, const char *name, const void *manifest, size_t len,
		 struct lsc_err *err)
{
	int r = lsc_segment_check_name(name, err);

	if (r < 0)
		return r;
	snprintf(w->name, sizeof(w->name), LSC_DISK_NEW "%s", name);
	w->image.name = w->name;
	for (uint32_t i = 0; i < LSC_SHARES_MAX_FILES; i++)
		w->image.links[i] = LSC_DISK_NONE;
	w->path = lsc_disk_path(w->disk, w->name, NULL);
	w->to_path = lsc_disk_path(w->disk, name, NULL);
	if (!w->path || !w->to_path)
		return lsc_err_set(err, ENOMEM, "cannot write '%s': %m", name);
	if (access(w->to_path, F_OK) == 0)
		return lsc_err_set(err, EEXIST, "'%s' exists already", w->to_path);
	return lsc_image_parse(&w->image.image, manifest, len, err);
}

int lsc_disk_write(struct lsc_disk *disk, const char *name, const void *manifest, size_t len,
		   const uint8_t *data, uint64_t limit, struct lsc_err *err)
{
	LSC_CLEANUP_FD int lock = lsc_disk_lock(disk, err);
	LSC_CLEANUP_FREE struct writing *w = calloc(1, sizeof(*w));
	int r = lock < 0 ? lock : lsc_disk_scan(disk, err);

	if (r < 0 || !w)
		return r < 0 ? r : lsc_err_set(err, ENOMEM, "cannot write '%s': %m", name);
	*w = (struct writing){.disk = disk, .data = data, .fd = -1};
	r = begin(w, name, manifest, len, err);
	if (r == 0)
		r = find_all(w, len, limit, err);
	if (r == 0)
		r = write_all(w, manifest, len, err);
	if (w->fd >= 0)
		close(w->fd);
	lsc_image_close(&w->image.image);
	lsc_shares_release(&w->image.shares);
	free(w->to);
	free(w->path);
	free(w->to_path);
	return r < 0 ? r : lsc_disk_scan(disk, err);
}
