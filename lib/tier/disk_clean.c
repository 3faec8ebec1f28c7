/* disk_clean - what goes: images, what crashes left, and bytes that no image needs
 *
 * An image is renamed to .gone-NAME before its files are removed, so it is there or not.  Files
 * that others share stay for these by their links, and bytes in them that were the image's alone
 * are punched out.
 *
 * Punching takes bytes from whoever has the file mapped.  That nobody has is asked of the kernel: a
 * write lease is given for a file that nobody else has open, and a mapping counts.  It need not be
 * kept, as who opens the file later finds the table that does without these bytes (base/parts.h).
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/tree.h"
#include "tier/disk_own.h"

struct lsc_disk_place lsc_disk_place(const struct lsc_disk_image *image, uint32_t block)
{
	const struct lsc_block *b = &image->image.blocks[block];
	const struct lsc_share *row = lsc_shares_at(&image->shares, b->offset);

	if (!row)
		return (struct lsc_disk_place){image->own, b->offset};
	return (struct lsc_disk_place){image->links[row->file],
				       row->file_offset + (b->offset - row->offset)};
}

/* --- what is needed --- */

struct needs {
	struct lsc_disk_range *ranges;
	int64_t n, room;
};

static int need(struct needs *needs, uint64_t start, uint64_t end)
{
	if (start >= end)
		return 0;
	if (needs->n == needs->room) {
		int64_t room = needs->room ? needs->room * 2 : 64;
		struct lsc_disk_range *more = realloc(needs->ranges, (size_t)room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		needs->ranges = more;
		needs->room = room;
	}
	needs->ranges[needs->n++] = (struct lsc_disk_range){start / LSC_DISK_PAGE * LSC_DISK_PAGE,
							    lsc_align_up(end, LSC_DISK_PAGE)};
	return 0;
}

static int add_needs(struct needs *needs, const struct lsc_disk_image *image, uint32_t file)
{
	const struct lsc_shares *shares = &image->shares;
	uint64_t end = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < shares->n; i++) {
		const struct lsc_share *row = &shares->rows[i];

		if (image->own == file)
			r = need(needs, end, row->offset);
		if (r == 0 && image->links[row->file] == file)
			r = need(needs, row->file_offset, row->file_offset + row->bytes);
		end = row->offset + row->bytes;
	}
	return r == 0 && image->own == file ? need(needs, end, image->image.bytes) : r;
}

static int by_start(const void *a, const void *b)
{
	const struct lsc_disk_range *left = a, *right = b;

	return (left->start > right->start) - (left->start < right->start);
}

/* Ranges that touch become one. */
static void merge(struct needs *needs)
{
	int64_t n = 0;

	if (needs->n)
		qsort(needs->ranges, (size_t)needs->n, sizeof(*needs->ranges), by_start);
	for (int64_t i = 0; i < needs->n; i++) {
		const struct lsc_disk_range *range = &needs->ranges[i];

		if (n && range->start <= needs->ranges[n - 1].end)
			needs->ranges[n - 1].end = LSC_MAX(needs->ranges[n - 1].end, range->end);
		else
			needs->ranges[n++] = *range;
	}
	needs->n = n;
}

int64_t lsc_disk_needs(const struct lsc_disk *disk, uint32_t file, const struct lsc_disk_image *but,
		       struct lsc_disk_range **ret_ranges)
{
	struct needs needs = {0};
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < disk->n; i++)
		if (disk->images[i] != but && lsc_disk_is_good(disk->images[i]))
			r = add_needs(&needs, disk->images[i], file);
	if (r < 0) {
		free(needs.ranges);
		return r;
	}
	merge(&needs);
	*ret_ranges = needs.ranges;
	return needs.n;
}

/* --- taking bytes from files --- */

/* The signal of a lease that another breaks is one that means nothing. */
static bool is_open_elsewhere(int fd)
{
	bool alone = fcntl(fd, F_SETSIG, SIGURG) == 0 && fcntl(fd, F_SETLEASE, F_WRLCK) == 0;

	if (alone)
		fcntl(fd, F_SETLEASE, F_UNLCK);
	return !alone;
}

/* Who knows `image` alone sees by its size that there is more. */
static int lengthen(const struct lsc_disk *disk, uint32_t file, int fd, const struct stat *st)
{
	for (uint32_t i = 0; i < disk->n; i++) {
		const struct lsc_disk_image *image = disk->images[i];
		uint64_t bytes = image->image.bytes + LSC_SHARES_TAIL;

		if (image->own == file && image->shares.n && (uint64_t)st->st_size < bytes)
			return ftruncate(fd, (off_t)bytes) < 0 ? -errno : 0;
	}
	return 0;
}

static void punch(int fd, uint64_t start, uint64_t end)
{
	off_t data = start < end ? lseek(fd, (off_t)start, SEEK_DATA) : -1;

	if (data >= 0 && (uint64_t)data < end)
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start,
			  (off_t)(end - start));
}

uint64_t lsc_disk_trim(struct lsc_disk *disk, uint32_t file)
{
	const struct lsc_disk_file *f = &disk->files[file];
	LSC_CLEANUP_FREE struct lsc_disk_range *ranges = NULL;
	LSC_CLEANUP_FREE char *path = lsc_disk_path(disk, f->path, NULL);
	LSC_CLEANUP_FD int fd = -1;
	struct stat st, after;
	uint64_t end = 0;
	int64_t n;

	if (!f->data || f->keep || !path)
		return 0;
	fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_ino != f->ino || st.st_nlink != f->names)
		return 0; /* it has changed, or others know it that we do not */
	n = lsc_disk_needs(disk, file, NULL, &ranges);
	if (n < 0 || (n == 1 && ranges[0].start == 0 && ranges[0].end >= (uint64_t)st.st_size))
		return 0;
	if (is_open_elsewhere(fd)) {
		lsc_debug("tier", "'%s' is in use: what nobody needs of it stays", path);
		return 0;
	}
	if (lengthen(disk, file, fd, &st) < 0)
		return 0;
	for (int64_t i = 0; i < n; end = ranges[i].end, i++)
		punch(fd, end, ranges[i].start);
	punch(fd, end, lsc_align_up((uint64_t)st.st_size, LSC_DISK_PAGE));
	if (fstat(fd, &after) < 0 || after.st_blocks >= st.st_blocks)
		return 0;
	return (uint64_t)(st.st_blocks - after.st_blocks) * 512;
}

static int trim_all(struct lsc_disk *disk, struct lsc_err *err)
{
	for (uint32_t i = 0; i < disk->n_files; i++)
		lsc_disk_trim(disk, i);
	return lsc_disk_scan(disk, err);
}

/* --- removing --- */

/* Whether a receiver is at work in NAME.part, or a pack in NAME.tmp: they hold a lock. */
static bool is_held(const char *path, const char *file)
{
	LSC_CLEANUP_FREE char *lock = NULL;
	LSC_CLEANUP_FD int fd = -1;

	if (asprintf(&lock, "%s%s%s", path, *file ? "/" : "", file) < 0) {
		lock = NULL;
		return true;
	}
	fd = open(lock, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? flock(fd, LOCK_EX | LOCK_NB) < 0 : errno != ENOENT;
}

static int remove_named(struct lsc_disk *disk, const struct lsc_disk_image *image,
			struct lsc_err *err)
{
	char entry[NAME_MAX + 16], gone[NAME_MAX + 16];
	LSC_CLEANUP_FREE char *from = NULL, *to = NULL;
	int r;

	snprintf(entry, sizeof(entry), "%s%s", image->name, image->arriving ? ".part" : "");
	snprintf(gone, sizeof(gone), LSC_DISK_GONE "%s", image->name);
	from = lsc_disk_path(disk, entry, NULL);
	to = lsc_disk_path(disk, gone, NULL);
	if (!from || !to)
		return lsc_err_set(err, ENOMEM, "cannot remove '%s': %m", image->name);
	if (image->arriving && is_held(from, "arrivals"))
		return lsc_err_set(err, EBUSY, "'%s' is being received", image->name);
	r = lsc_tree_remove(to, err); /* of one that was removed before, when it was killed */
	if (r < 0)
		return r;
	if (rename(from, to) < 0)
		return lsc_err_set(err, errno, "cannot remove '%s': %m", from);
	r = lsc_path_sync(disk->dir, err);
	return r < 0 ? r : lsc_tree_remove(to, err);
}

int lsc_disk_remove(struct lsc_disk *disk, const char *name, struct lsc_err *err)
{
	LSC_CLEANUP_FD int lock = lsc_disk_lock(disk, err);
	const struct lsc_disk_image *image;
	int r = lock < 0 ? lock : lsc_disk_scan(disk, err);

	if (r < 0)
		return r;
	image = lsc_disk_find(disk, name);
	if (!image)
		return lsc_err_set(err, ENOENT, "no image '%s' in '%s'", name, disk->dir);
	r = remove_named(disk, image, err);
	if (r == 0)
		r = lsc_disk_scan(disk, err);
	return r < 0 ? r : trim_all(disk, err);
}

/* --- what crashes left --- */

/* Links that no table names, and tables that were not finished. */
static void sweep_image(const struct lsc_disk *disk, const struct lsc_disk_image *image)
{
	LSC_CLEANUP_FREE char *path = lsc_disk_path(disk, image->name, NULL);
	bool used[LSC_SHARES_MAX_FILES] = {false};
	struct dirent *entry;
	DIR *dir;

	for (uint32_t i = 0; i < image->shares.n; i++)
		used[image->shares.rows[i].file] = true;
	dir = path ? opendir(path) : NULL;
	while (dir && (entry = readdir(dir))) {
		unsigned long number = strncmp(entry->d_name, "share.", 6)
					       ? LSC_SHARES_MAX_FILES
					       : strtoul(entry->d_name + 6, NULL, 10);

		if ((number < LSC_SHARES_MAX_FILES && image->links[number] != LSC_DISK_NONE &&
		     !used[number]) ||
		    !strncmp(entry->d_name, "shares.tmp", 10))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

static bool ends_in(const char *name, const char *suffix)
{
	size_t len = strlen(name), n = strlen(suffix);

	return len > n && !strcmp(name + len - n, suffix);
}

/* A pack leaves these two alone in NAME.tmp: what has more is someone else's. */
static bool is_left_by_pack(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool alone = dir != NULL, any = false;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		any = true;
		alone = alone &&
			(!strcmp(entry->d_name, "image") || !strncmp(entry->d_name, "manifest", 8));
	}
	if (dir)
		closedir(dir);
	return alone && any;
}

static void sweep_entry(const struct lsc_disk *disk, const char *name, bool parts)
{
	LSC_CLEANUP_FREE char *path = lsc_disk_path(disk, name, NULL);

	if (!path)
		return;
	if (!strncmp(name, LSC_DISK_GONE, strlen(LSC_DISK_GONE)) ||
	    !strncmp(name, LSC_DISK_NEW, strlen(LSC_DISK_NEW)) || /* we have the lock */
	    (parts && ends_in(name, ".part") && !is_held(path, "arrivals")) ||
	    (ends_in(name, ".tmp") && is_left_by_pack(path) && !lsc_disk_find(disk, name) &&
	     !is_held(path, "")))
		lsc_tree_remove(path, NULL);
}

int lsc_disk_gc(struct lsc_disk *disk, bool parts, uint64_t *ret_freed, struct lsc_err *err)
{
	LSC_CLEANUP_FD int lock = lsc_disk_lock(disk, err);
	int r = lock < 0 ? lock : lsc_disk_scan(disk, err);
	uint64_t before = disk->used;
	struct dirent *entry;
	DIR *dir;

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < disk->n; i++)
		if (lsc_disk_is_good(disk->images[i]))
			sweep_image(disk, disk->images[i]);
	dir = opendir(disk->dir);
	while (dir && (entry = readdir(dir)))
		sweep_entry(disk, entry->d_name, parts);
	if (dir)
		closedir(dir);
	r = lsc_disk_scan(disk, err);
	if (r == 0)
		r = trim_all(disk, err);
	if (r == 0)
		*ret_freed = before - LSC_MIN(before, disk->used);
	return r;
}
