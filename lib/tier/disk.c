/* disk - what is in a directory of images, and how much of the disk it uses */
#include "tier/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "mem/segment.h"
#include "tier/disk_own.h"

#define PART ".part"

static int no_memory(const struct lsc_disk *disk, struct lsc_err *err)
{
	return lsc_err_set(err, ENOMEM, "cannot look into '%s': %m", disk->dir);
}

static void free_image(struct lsc_disk_image *image)
{
	if (!image)
		return;
	lsc_image_close(&image->image);
	lsc_shares_release(&image->shares);
	free(image->manifest);
	free(image->blocks);
	free(image->name);
	free(image);
}

static void clear(struct lsc_disk *disk)
{
	for (uint32_t i = 0; i < disk->n; i++)
		free_image(disk->images[i]);
	for (uint32_t i = 0; i < disk->n_files; i++)
		free(disk->files[i].path);
	free(disk->images);
	free(disk->files);
	*disk = (struct lsc_disk){.dir = disk->dir};
}

void lsc_disk_close(struct lsc_disk *disk)
{
	if (!disk)
		return;
	clear(disk);
	free(disk->dir);
	*disk = (struct lsc_disk)LSC_DISK_INIT;
}

char *lsc_disk_path(const struct lsc_disk *disk, const char *name, const char *file)
{
	char *path;

	return asprintf(&path, "%s/%s%s%s", disk->dir, name, file ? "/" : "", file ? file : "") < 0
		       ? NULL
		       : path;
}

/* --- files --- */

/* The file that an entry is, new or known by another name. */
static int64_t add_file(struct lsc_disk *disk, const struct stat *st, const char *in,
			const char *name)
{
	struct lsc_disk_file *more, *file;

	for (uint32_t i = 0; i < disk->n_files; i++)
		if (disk->files[i].ino == st->st_ino && disk->files[i].dev == st->st_dev) {
			disk->files[i].names++;
			return i;
		}
	more = realloc(disk->files, (disk->n_files + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	disk->files = more;
	file = &more[disk->n_files];
	*file = (struct lsc_disk_file){.dev = st->st_dev,
				       .ino = st->st_ino,
				       .links = st->st_nlink,
				       .names = 1,
				       .used = (uint64_t)st->st_blocks * 512};
	if (asprintf(&file->path, "%s/%s", in, name) < 0) {
		file->path = NULL;
		return -ENOMEM;
	}
	disk->used += file->used;
	return disk->n_files++;
}

/* N of share.N, or LSC_DISK_NONE. */
static uint32_t share_number(const char *name)
{
	char *end, again[32];
	unsigned long n;

	if (strncmp(name, "share.", 6))
		return LSC_DISK_NONE;
	n = strtoul(name + 6, &end, 10);
	if (n >= LSC_SHARES_MAX_FILES)
		return LSC_DISK_NONE;
	snprintf(again, sizeof(again), "share.%lu", n);
	return strcmp(again, name) ? LSC_DISK_NONE : (uint32_t)n;
}

/* All files of a directory in ours; image is NULL where it is none, and keep says that it is
 * someone's. */
static int add_files(struct lsc_disk *disk, int fd, const char *in, struct lsc_disk_image *image,
		     bool keep, struct lsc_err *err)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	struct dirent *entry;
	int64_t r = 0;

	if (!dir) {
		if (again >= 0)
			close(again);
		return lsc_err_set(err, errno, "cannot read directory '%s/%s': %m", disk->dir, in);
	}
	while (r >= 0 && (entry = readdir(dir))) {
		uint32_t number = share_number(entry->d_name);
		struct stat st;

		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		r = add_file(disk, &st, in, entry->d_name);
		if (r < 0)
			break;
		disk->files[r].keep |= keep;
		if (!image)
			continue;
		image->used += (uint64_t)st.st_blocks * 512;
		if (!strcmp(entry->d_name, "image"))
			image->own = (uint32_t)r;
		else if (number != LSC_DISK_NONE)
			image->links[number] = (uint32_t)r;
		else if (st.st_nlink == 1)
			image->freed += (uint64_t)st.st_blocks * 512;
		if (image->own == (uint32_t)r || number != LSC_DISK_NONE)
			disk->files[r].data = true;
	}
	closedir(dir);
	return r < 0 ? no_memory(disk, err) : 0;
}

/* --- images --- */

static int read_in(int dir, const char *name, size_t limit, struct lsc_buf *buf,
		   struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", name);
	return lsc_fd_read(fd, name, limit, buf, err);
}

static int name_blocks(struct lsc_disk_image *image, struct lsc_err *err)
{
	image->blocks = calloc(image->image.n_blocks + 1, sizeof(*image->blocks));
	if (!image->blocks)
		return lsc_err_set(err, ENOMEM, "cannot name its blocks: %m");
	for (uint32_t i = 0; i < image->image.n_blocks; i++)
		image->blocks[i] = lsc_image_block_hash(&image->image, i);
	return 0;
}

static int read_table(struct lsc_disk_image *image, int dir, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	int r = read_in(dir, "shares", LSC_SHARES_MAX_BYTES, &text, err);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = lsc_shares_parse(&image->shares, text.data, text.len, err);
	for (uint32_t i = 0; r == 0 && i < image->shares.n; i++)
		if (image->links[image->shares.rows[i].file] == LSC_DISK_NONE)
			r = lsc_err_set(err, EBADMSG, "a file of it is gone: share.%u",
					image->shares.rows[i].file);
	return r;
}

/* What is in it, as its readers would find it. */
static int read_image(struct lsc_disk_image *image, int dir, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_parts_close) struct lsc_parts parts = LSC_PARTS_INIT;
	int r = read_in(dir, "manifest", LSC_MANIFEST_MAX_BYTES, &text, err);

	if (r < 0)
		return r;
	image->manifest = text.data;
	text.data = NULL;
	r = lsc_image_parse(&image->image, image->manifest, text.len, err);
	if (r == 0)
		r = name_blocks(image, err);
	if (r == 0 && !image->arriving) {
		r = read_table(image, dir, err);
		if (r == 0)
			r = lsc_parts_open(&parts, path, err);
		if (r == 0 && parts.bytes != image->image.bytes)
			r = lsc_err_set(err, EBADMSG, "it has another size than its manifest says");
	}
	return r;
}

static void understand(struct lsc_disk *disk, struct lsc_disk_image *image, int dir,
		       const char *path)
{
	int r = read_image(image, dir, path, &image->damage);

	image->damage.code = -r;
	if (r == 0 && !image->arriving)
		return;
	if (image->own != LSC_DISK_NONE) /* nobody knows what it needs */
		disk->files[image->own].keep = true;
	for (uint32_t i = 0; i < LSC_SHARES_MAX_FILES; i++)
		if (image->links[i] != LSC_DISK_NONE)
			disk->files[image->links[i]].keep = true;
}

static int add_image(struct lsc_disk *disk, int dir, const char *entry, bool arriving,
		     struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *path = lsc_disk_path(disk, entry, NULL);
	struct lsc_disk_image *image = calloc(1, sizeof(*image)), **more;
	int r;

	more = realloc(disk->images, (disk->n + 1) * sizeof(struct lsc_disk_image *));
	if (more)
		disk->images = more;
	if (!image || !more || !path) {
		free(image);
		return no_memory(disk, err);
	}
	disk->images[disk->n++] = image;
	memset(image->links, 0xff, sizeof(image->links));
	image->own = LSC_DISK_NONE;
	image->arriving = arriving;
	image->name = strndup(entry, strlen(entry) - (arriving ? strlen(PART) : 0));
	if (!image->name)
		return no_memory(disk, err);
	r = add_files(disk, dir, entry, image, false, err);
	if (r == 0)
		understand(disk, image, dir, path);
	return r;
}

/* --- the directory --- */

static bool ends_in(const char *name, const char *suffix)
{
	size_t len = strlen(name), n = strlen(suffix);

	return len > n && !strcmp(name + len - n, suffix);
}

/* An image, what is left of one, or nothing of ours. */
static int look_at(struct lsc_disk *disk, int top, const char *entry, struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = openat(top, entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool arriving = ends_in(entry, PART);
	char name[NAME_MAX + 1];

	if (fd < 0)
		return 0;
	if (!strncmp(entry, LSC_DISK_GONE, strlen(LSC_DISK_GONE)) ||
	    !strncmp(entry, LSC_DISK_NEW, strlen(LSC_DISK_NEW)))
		return add_files(disk, fd, entry, NULL, false, err);
	snprintf(name, sizeof(name), "%s", entry);
	if (arriving)
		name[strlen(name) - strlen(PART)] = 0;
	if (lsc_segment_check_name(name, NULL) < 0)
		return 0;
	if (faccessat(fd, "manifest", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return add_image(disk, fd, entry, arriving, err);
	return arriving || ends_in(entry, ".tmp") ? add_files(disk, fd, entry, NULL, true, err) : 0;
}

static int by_name(const void *a, const void *b)
{
	const struct lsc_disk_image *const *left = a, *const *right = b;
	int order = strcmp((*left)->name, (*right)->name);

	return order ? order : (*left)->arriving - (*right)->arriving;
}

static void count_freed(struct lsc_disk *disk, struct lsc_disk_image *image)
{
	for (uint32_t f = 0; f < disk->n_files; f++) {
		LSC_CLEANUP_FREE struct lsc_disk_range *ranges = NULL;
		uint64_t needed = 0;
		bool ours = image->own == f;
		int64_t n;

		for (uint32_t i = 0; !ours && i < LSC_SHARES_MAX_FILES; i++)
			ours = image->links[i] == f;
		if (!ours || disk->files[f].links > disk->files[f].names ||
		    (disk->files[f].keep && disk->files[f].names > 1))
			continue;
		n = lsc_disk_needs(disk, f, image, &ranges);
		for (int64_t i = 0; i < n; i++)
			needed += ranges[i].end - ranges[i].start;
		image->freed += disk->files[f].used - LSC_MIN(needed, disk->files[f].used);
	}
}

int lsc_disk_scan(struct lsc_disk *disk, struct lsc_err *err)
{
	DIR *dir = opendir(disk->dir);
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return lsc_err_set(err, errno, "cannot open directory '%s': %m", disk->dir);
	clear(disk);
	while (r == 0 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			r = look_at(disk, dirfd(dir), entry->d_name, err);
	closedir(dir);
	if (disk->n)
		qsort(disk->images, disk->n, sizeof(struct lsc_disk_image *), by_name);
	for (uint32_t i = 0; r == 0 && i < disk->n; i++)
		count_freed(disk, disk->images[i]);
	return r;
}

int lsc_disk_open(struct lsc_disk *disk, const char *dir, struct lsc_err *err)
{
	int r;

	*disk = (struct lsc_disk){.dir = strdup(dir)};
	if (!disk->dir)
		return lsc_err_set(err, ENOMEM, "cannot look into '%s': %m", dir);
	r = lsc_disk_scan(disk, err);
	if (r < 0)
		lsc_disk_close(disk);
	return r;
}

struct lsc_disk_image *lsc_disk_find(const struct lsc_disk *disk, const char *name)
{
	for (uint32_t i = 0; i < disk->n; i++)
		if (!strcmp(disk->images[i]->name, name))
			return disk->images[i];
	return NULL;
}

bool lsc_disk_is_good(const struct lsc_disk_image *image)
{
	return !image->arriving && image->damage.code == 0;
}

int lsc_disk_lock(const struct lsc_disk *disk, struct lsc_err *err)
{
	int fd = open(disk->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return lsc_err_set(err, errno, "cannot open directory '%s': %m", disk->dir);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	lsc_err_set(err, errno == EWOULDBLOCK ? EBUSY : errno,
		    errno == EWOULDBLOCK ? "'%s' is being changed by another process"
					 : "cannot lock '%s': %m",
		    disk->dir);
	close(fd);
	return -EBUSY;
}

int lsc_disk_check_room(const struct lsc_disk *disk, uint64_t bytes, uint64_t limit,
			struct lsc_err *err)
{
	struct statvfs vfs;

	if (disk->used > limit || bytes > limit - disk->used)
		return lsc_err_set(err, ENOSPC,
				   "no room for %llu bytes in '%s': %llu of %llu are used",
				   (unsigned long long)bytes, disk->dir,
				   (unsigned long long)disk->used, (unsigned long long)limit);
	if (statvfs(disk->dir, &vfs) == 0 && bytes / vfs.f_frsize >= vfs.f_bavail && bytes)
		return lsc_err_set(err, ENOSPC,
				   "no room for %llu bytes in '%s': its disk has %llu left",
				   (unsigned long long)bytes, disk->dir,
				   (unsigned long long)vfs.f_bavail * vfs.f_frsize);
	return 0;
}
