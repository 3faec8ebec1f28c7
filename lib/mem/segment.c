/* segment - an image's memory while it arrives: three files, two of them mapped
 *
 * What protects whom:
 *   - the receiver holds a lock (flock) on `arrivals`, so that one process alone writes; its death
 *     lifts it;
 *   - a mark is set after the piece's bytes, with release order, and read with acquire order;
 *   - marks of another image, of one that was cut, or of before the last boot are not trusted;
 *   - NAME.part becomes NAME only when its bytes are synced.
 *
 * Space for the image is allocated before anything is written, so that a full disk is an error
 * and not a SIGBUS in the middle of a receive: of the whole image when it is begun, or, where that
 * would mean to clear its pages (tmpfs), piece by piece, as they come.
 *
 * What was written is given to the disk at once (writeback.c): the sync at the end of a cast took
 * 0.1 s for 277 MB, 0.25 s where 8 nodes share the disk, and takes 0.01 s now.
 */
#include "mem/segment.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parts.h"
#include "base/runs.h"
#include "base/tree.h"
#include "mem/claims.h"
#include "mem/lender.h"
#include "mem/marks.h"
#include "mem/segment_tier.h"
#include "mem/segment_tree.h"
#include "mem/writeback.h"

#define PART         ".part"
#define MAX_MANIFEST (256u << 20)
#define GROW_BYTES   (256ull << 20)

/* --- names --- */

int lsc_segment_check_name(const char *name, struct lsc_err *err)
{
	size_t len = strlen(name);

	if (len == 0 || len >= LSC_SEGMENT_NAME || name[0] == '.' || strchr(name, '/'))
		return lsc_err_set(err, EINVAL, "'%.64s' is no name for an image", name);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 127)
			return lsc_err_set(err, EINVAL,
					   "an image's name holds a control character");
	if (len >= strlen(PART) && !strcmp(name + len - strlen(PART), PART))
		return lsc_err_set(
			err, EINVAL,
			"'%s': a name that ends in '" PART "' is for images on their way", name);
	return 0;
}

int lsc_segment_check_dir(const char *dir, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_lender_close) struct lsc_lender lender = LSC_LENDER_INIT;
	struct stat st;

	if (lsc_lender_is(dir))
		return lsc_lender_open(&lender, dir, err);
	if (stat(dir, &st) < 0 || access(dir, R_OK | X_OK) < 0)
		return lsc_err_set(err, errno, "cannot serve '%s': %m", dir);
	return S_ISDIR(st.st_mode) ? 0 : lsc_err_set(err, ENOTDIR, "cannot serve '%s': %m", dir);
}

static int name_path(char path[PATH_MAX], const char *dir, const char *name, const char *suffix,
		     const char *file, struct lsc_err *err)
{
	int n = snprintf(path, PATH_MAX, "%s/%s%s%s%s", dir, name, suffix, *file ? "/" : "", file);

	return n < PATH_MAX ? 0 : lsc_err_set(err, ENAMETOOLONG, "'%s/%s': %m", dir, name);
}

static int own_dir(struct lsc_segment *segment, const char *path, const char *name,
		   struct lsc_err *err)
{
	char *copy = strdup(path), *copy_name = segment->name ? segment->name : strdup(name);

	if (!copy || !copy_name) {
		free(copy);
		if (!segment->name)
			free(copy_name);
		return lsc_err_set(err, ENOMEM, "cannot hold '%s': %m", path);
	}
	free(segment->dir);
	segment->dir = copy;
	segment->name = copy_name;
	return 0;
}

/* --- mapping --- */

static int map_fd(int fd, const char *path, size_t len, int prot, void **ret, struct lsc_err *err)
{
	void *at = len ? mmap(NULL, len, prot, MAP_SHARED, fd, 0) : NULL;

	if (at == MAP_FAILED)
		return lsc_err_set(err, errno, "cannot map '%s': %m", path);
	*ret = at;
	return 0;
}

/* The image, in large pages where there are any: so that what arrives in them is made, and what is
 * not in memory yet is read, in these, which are faster to use. */
static int map_data(struct lsc_segment *segment, const struct lsc_run *runs, size_t n,
		    uint64_t bytes, int prot, struct lsc_err *err)
{
	int r = lsc_runs_map(runs, n, bytes, prot, &segment->data, err);

	if (r < 0)
		return lsc_err_prefix(err, "'%s/image': ", segment->dir);
	segment->bytes = bytes;
	return 0;
}

static int open_in(const char *dir, const char *file, int flags, char path[PATH_MAX],
		   struct lsc_err *err)
{
	int fd;

	if (name_path(path, dir, file, "", "", err) < 0)
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC, 0666);
	if (fd < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	return fd;
}

static int file_bytes(int fd, const char *path, uint64_t max, uint64_t *ret_bytes,
		      struct lsc_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return lsc_err_set(err, errno, "cannot stat '%s': %m", path);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max)
		return lsc_err_set(err, EBADMSG, "'%s' is no file of at most %llu bytes", path,
				   (unsigned long long)max);
	*ret_bytes = st.st_size;
	return 0;
}

/* Maps a whole file of the segment's directory read-only. */
static int map_file(const char *dir, const char *file, uint64_t max, void **ret,
		    uint64_t *ret_bytes, struct lsc_err *err)
{
	char path[PATH_MAX];
	LSC_CLEANUP_FD int fd = open_in(dir, file, O_RDONLY, path, err);
	int r = fd;

	if (r >= 0)
		r = file_bytes(fd, path, max, ret_bytes, err);
	if (r >= 0)
		r = map_fd(fd, path, *ret_bytes, PROT_READ, ret, err);
	return r;
}

void lsc_segment_close(struct lsc_segment *segment)
{
	if (!segment)
		return;
	lsc_segment_tier_close(segment);
	lsc_writeback_stop(segment->writeback);
	lsc_claims_close(segment->claims);
	lsc_runs_unmap(segment->data, segment->bytes);
	if (segment->manifest)
		munmap((void *)segment->manifest, segment->manifest_len);
	if (segment->arrivals)
		munmap(segment->arrivals, segment->arrivals_len);
	if (segment->image_fd >= 0)
		close(segment->image_fd);
	if (segment->lock_fd >= 0)
		close(segment->lock_fd);
	lsc_tree_release(segment->tree);
	free(segment->tree);
	free(segment->dir);
	free(segment->name);
	*segment = (struct lsc_segment)LSC_SEGMENT_INIT;
}

/* --- the receiver --- */

static int lock_part(struct lsc_segment *segment, struct lsc_err *err)
{
	char path[PATH_MAX];

	segment->lock_fd = open_in(segment->dir, "arrivals", O_RDWR | O_CREAT, path, err);
	if (segment->lock_fd < 0)
		return segment->lock_fd;
	if (flock(segment->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return lsc_err_set(err, errno == EWOULDBLOCK ? EBUSY : errno,
				   errno == EWOULDBLOCK ? "'%s' is being received already"
							: "cannot lock '%s': %m",
				   segment->dir);
	return 0;
}

/* Whether the manifest that lies there is the one we are to receive. */
static bool same_manifest(const struct lsc_segment *segment, const void *manifest, size_t len)
{
	struct lsc_map map = LSC_MAP_INIT;
	char path[PATH_MAX];
	bool same;

	if (name_path(path, segment->dir, "manifest", "", "", NULL) < 0 ||
	    lsc_map_open(&map, path, NULL) < 0)
		return false;
	same = map.len == len && (len == 0 || !memcmp(map.data, manifest, len));
	lsc_map_close(&map);
	return same;
}

/* Of the file `image`. */
static uint64_t image_bytes(const struct lsc_segment *segment)
{
	return segment->tree ? segment->tree->packed_bytes : segment->bytes;
}

/* Whether the image lies there at its full size.  One that was cut since is not what its marks say,
 * whoever did it. */
static bool same_size(const struct lsc_segment *segment)
{
	char path[PATH_MAX];
	struct stat st;

	return name_path(path, segment->dir, "image", "", "", NULL) == 0 && stat(path, &st) == 0 &&
	       (uint64_t)st.st_size == image_bytes(segment) &&
	       (!segment->tree || lsc_segment_tree_is_whole(segment));
}

static int map_arrivals(struct lsc_segment *segment, uint32_t n_pieces, struct lsc_err *err)
{
	size_t len = lsc_marks_bytes(n_pieces, 0);
	void *at = NULL;
	int r;

	if (ftruncate(segment->lock_fd, len) < 0)
		return lsc_err_set(err, errno, "cannot resize '%s/arrivals': %m", segment->dir);
	r = map_fd(segment->lock_fd, segment->dir, len, PROT_READ | PROT_WRITE, &at, err);
	if (r < 0)
		return r;
	segment->arrivals = at;
	segment->arrivals_len = len;
	segment->n_pieces = n_pieces;
	return 0;
}

static int no_room(const struct lsc_segment *segment, int code, struct lsc_err *err)
{
	return lsc_err_set(err, code, "no room for '%s/image' of %llu bytes: %m", segment->dir,
			   (unsigned long long)segment->bytes);
}

/* Opens the image, and finds out whether it can be had at all. */
static int open_image(struct lsc_segment *segment, bool same, struct lsc_err *err)
{
	char path[PATH_MAX];
	uint64_t missing;
	struct statvfs vfs;
	struct stat st;

	segment->image_fd = open_in(segment->dir, "image", O_RDWR | O_CREAT, path, err);
	if (segment->image_fd < 0)
		return segment->image_fd;
	if (fstat(segment->image_fd, &st) < 0 || fstatvfs(segment->image_fd, &vfs) < 0)
		return lsc_err_set(err, errno, "cannot stat '%s': %m", path);
	missing = segment->bytes - LSC_MIN(segment->bytes, (uint64_t)st.st_blocks * 512);
	if (segment->tree && same)
		missing = 0; /* each file says so itself, in time */
	if (missing / vfs.f_frsize >= vfs.f_bavail && missing)
		return no_room(segment, ENOSPC, err);
	return 0;
}

/* Room for a part of the image; a file system that cannot say has to do without. */
static int allocate(const struct lsc_segment *segment, uint64_t offset, uint64_t len,
		    struct lsc_err *err)
{
	int r;

	do
		r = fallocate(segment->image_fd, 0, (off_t)offset, (off_t)len);
	while (r < 0 && errno == EINTR);
	return r < 0 && errno != EOPNOTSUPP ? no_room(segment, errno, err) : 0;
}

/* The next part of the image: 1, 0 when it is all there, or is to be as pieces come. */
static int allocate_some(struct lsc_segment *segment, struct lsc_err *err)
{
	uint64_t bytes = image_bytes(segment);
	uint64_t part = LSC_MIN(bytes - segment->allocated, GROW_BYTES);
	int r;

	segment->by_piece = !segment->tree && lsc_fd_in_memory(segment->image_fd);
	if (part && !segment->by_piece) {
		r = allocate(segment, segment->allocated, part, err);
		if (r < 0)
			return r;
		segment->allocated += part;
		if (segment->allocated < bytes)
			return 1;
	}
	if (ftruncate(segment->image_fd, (off_t)bytes) < 0)
		return lsc_err_set(err, errno, "cannot resize '%s/image': %m", segment->dir);
	return 0;
}

/* Large pages, where the file system has them, take a tenth to a fifth off what a receiver's
 * processor does (tests/bench/results/path.md), and are faster to read for who executes. */
static int map_image(struct lsc_segment *segment, struct lsc_err *err)
{
	struct lsc_run run;
	int r;

	if (segment->tree) {
		r = lsc_segment_tree_reserve(segment, err);
		close(segment->image_fd); /* of the small files alone: no body is sent from it */
		segment->image_fd = -1;
		return r;
	}
	run = (struct lsc_run){0, segment->bytes, segment->image_fd, 0};
	r = map_data(segment, &run, segment->bytes > 0, segment->bytes, PROT_READ | PROT_WRITE,
		     err);
	if (r < 0)
		return r;
	segment->writeback = lsc_writeback_start(segment->image_fd, segment->bytes);
	return 0;
}

static int map_manifest(struct lsc_segment *segment, struct lsc_err *err)
{
	uint64_t len;
	void *at = NULL;
	int r = map_file(segment->dir, "manifest", MAX_MANIFEST, &at, &len, err);

	if (r < 0)
		return r;
	segment->manifest = at;
	segment->manifest_len = len;
	return 0;
}

/* Order matters: a manifest is written only over a table without marks, so that marks are always
 * those of the manifest that lies beside them; and when the image is there at its full size. */
static int take_up(struct lsc_segment *segment, const void *manifest, size_t manifest_len,
		   uint32_t n_pieces, struct lsc_err *err)
{
	bool same = same_manifest(segment, manifest, manifest_len) && same_size(segment);
	int r = map_arrivals(segment, n_pieces, err);

	if (r < 0)
		return r;
	if (!same || !lsc_marks_take_up(segment->arrivals, n_pieces, 0))
		lsc_marks_start(segment->arrivals, n_pieces, 0);
	if (!same)
		segment->new_manifest = manifest;
	segment->manifest_len = manifest_len;
	if (!same)
		lsc_segment_tree_remove(segment);
	if (segment->tree)
		r = lsc_segment_tree_begin(segment, err);
	return r < 0 ? r : open_image(segment, same, err);
}

static int write_manifest(const struct lsc_segment *segment, struct lsc_err *err)
{
	char path[PATH_MAX];
	int r = name_path(path, segment->dir, "manifest", "", "", err);

	return r < 0 ? r : lsc_file_write(path, segment->new_manifest, segment->manifest_len, err);
}

/* Ends one that came to nothing. */
static void give_up(struct lsc_segment *segment)
{
	if (segment->made && segment->dir) {
		lsc_segment_tree_remove(segment);
		lsc_dir_remove(segment->dir, NULL);
	}
	lsc_segment_close(segment);
}

/* Allocates and maps a part: 1, 0 when all is there. */
static int grow_some(struct lsc_segment *segment, struct lsc_err *err)
{
	int r = segment->image_fd >= 0 ? allocate_some(segment, err) : 0;

	if (r == 0 && segment->image_fd >= 0)
		r = map_image(segment, err);
	if (r == 0 && segment->tree)
		r = lsc_segment_tree_grow(segment, err);
	return r;
}

int lsc_segment_grow(struct lsc_segment *segment, struct lsc_err *err)
{
	int r = segment->loan ? lsc_segment_tier_grow(segment, err) : grow_some(segment, err);

	if (segment->loan)
		return r;
	if (r > 0)
		return r;
	if (r == 0 && segment->new_manifest)
		r = write_manifest(segment, err);
	if (r == 0)
		r = map_manifest(segment, err);
	segment->new_manifest = NULL;
	if (r < 0)
		give_up(segment);
	return r;
}

static int own_tree(struct lsc_segment *segment, const struct lsc_tree *tree, struct lsc_err *err)
{
	if (!tree)
		return 0;
	segment->tree = calloc(1, sizeof(*segment->tree));
	if (!segment->tree)
		return lsc_err_set(err, ENOMEM, "cannot hold '%s': %m", segment->dir);
	return lsc_tree_copy(segment->tree, tree, err);
}

static int begin(struct lsc_segment *segment, const char *dir, const char *name,
		 const void *manifest, size_t manifest_len, uint64_t bytes,
		 const struct lsc_tree *tree, uint32_t n_pieces, struct lsc_err *err)
{
	char path[PATH_MAX];
	bool made;
	int r = lsc_segment_check_name(name, err);

	if (r < 0)
		return r;
	if (n_pieces > LSC_MARKS_MAX_PIECES || manifest_len > MAX_MANIFEST || bytes > INT64_MAX)
		return lsc_err_set(err, EINVAL, "image '%s' is over the limits", name);
	if (name_path(path, dir, name, "", "", err) < 0)
		return -ENAMETOOLONG;
	if (access(path, F_OK) == 0)
		return lsc_err_set(err, EEXIST, "'%s' exists already", path);
	if (name_path(path, dir, name, PART, "", err) < 0)
		return -ENAMETOOLONG;
	made = mkdir(path, 0777) == 0;
	if (!made && errno != EEXIST)
		return lsc_err_set(err, errno, "cannot make directory '%s': %m", path);
	*segment = (struct lsc_segment)LSC_SEGMENT_INIT;
	segment->made = made;
	segment->bytes = bytes;
	r = own_dir(segment, path, name, err);
	if (r == 0)
		r = own_tree(segment, tree, err);
	if (r == 0)
		r = lock_part(segment, err);
	if (r == 0)
		r = take_up(segment, manifest, manifest_len, n_pieces, err);
	if (r < 0)
		give_up(segment);
	return r;
}

int lsc_segment_begin(struct lsc_segment *segment, const char *dir, const char *name,
		      const void *manifest, size_t manifest_len, uint64_t bytes, uint32_t n_pieces,
		      struct lsc_err *err)
{
	if (lsc_lender_is(dir))
		return lsc_segment_tier_begin(segment, dir, name, manifest, manifest_len, err);
	return begin(segment, dir, name, manifest, manifest_len, bytes, NULL, n_pieces, err);
}

int lsc_segment_begin_tree(struct lsc_segment *segment, const char *dir, const char *name,
			   const void *manifest, size_t manifest_len, const struct lsc_tree *tree,
			   uint32_t n_pieces, struct lsc_err *err)
{
	if (lsc_lender_is(dir))
		return lsc_err_set(err, EOPNOTSUPP,
				   "a tier keeps images, and no files as they are");
	return begin(segment, dir, name, manifest, manifest_len, tree->bytes, tree, n_pieces, err);
}

int lsc_segment_create(struct lsc_segment *segment, const char *dir, const char *name,
		       const void *manifest, size_t manifest_len, uint64_t bytes, uint32_t n_pieces,
		       struct lsc_err *err)
{
	int r = lsc_segment_begin(segment, dir, name, manifest, manifest_len, bytes, n_pieces, err);

	while (r >= 0 && (r = lsc_segment_grow(segment, err)) > 0)
		;
	return r;
}

int lsc_segment_prepare(struct lsc_segment *segment, uint64_t offset, uint64_t len,
			struct lsc_err *err)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), first = offset / page * page;
	int r;

	assert(offset <= segment->bytes && len <= segment->bytes - offset);
	r = segment->by_piece && len ? allocate(segment, offset, len, err) : 0;
	/* A kernel that cannot (before 5.14) lets each page be made by its fault. */
	if (r == 0)
		madvise(segment->data + first, offset + len - first, MADV_POPULATE_WRITE);
	return r;
}

void lsc_segment_wrote(struct lsc_segment *segment, uint64_t offset, uint64_t len)
{
	lsc_writeback_add(segment->writeback, offset, len);
}

void lsc_segment_mark(struct lsc_segment *segment, uint32_t piece)
{
	assert(piece < segment->n_pieces);
	lsc_marks_set(segment->arrivals, piece);
}

static int sync_parent(const char *path, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *parent = strdup(path);
	char *slash;

	if (!parent)
		return lsc_err_set(err, ENOMEM, "cannot sync '%s': %m", path);
	slash = strrchr(parent, '/');
	assert(slash); /* we put it there */
	*slash = 0;
	return lsc_path_sync(*parent ? parent : "/", err);
}

/* What files leave in NAME.part when they have their name. */
static int commit_tree(struct lsc_segment *segment, const char *to, struct lsc_err *err)
{
	char part[PATH_MAX];
	int r = lsc_segment_tree_commit(segment, to, err);

	if (r < 0)
		return r;
	strcpy(part, segment->dir);
	r = own_dir(segment, to, segment->name, err);
	if (r < 0)
		return r;
	lsc_marks_end(segment->arrivals, LSC_MARKS_COMMITTED);
	lsc_dir_remove(part, NULL);
	return sync_parent(to, err);
}

int lsc_segment_commit(struct lsc_segment *segment, struct lsc_err *err)
{
	char to[PATH_MAX], file[PATH_MAX];
	int r;

	assert(lsc_segment_has(segment, 0, segment->n_pieces));
	if (segment->loan)
		return lsc_segment_tier_commit(segment, err);
	if (strlen(segment->dir) >= sizeof(to))
		return lsc_err_set(err, ENAMETOOLONG, "'%s': %m", segment->dir);
	strcpy(to, segment->dir);
	to[strlen(to) - strlen(PART)] = 0;
	if (segment->tree)
		return commit_tree(segment, to, err);
	lsc_debug("mem", "'%s': %llu of %llu bytes are with the disk before its sync", segment->dir,
		  (unsigned long long)lsc_writeback_done(segment->writeback),
		  (unsigned long long)segment->bytes);
	if (segment->bytes && msync(segment->data, segment->bytes, MS_SYNC) < 0)
		return lsc_err_set(err, errno, "cannot sync '%s/image': %m", segment->dir);
	r = lsc_path_sync(segment->dir, err);
	if (r < 0)
		return r;
	/* An empty directory of that name would be replaced; anything else is in the way. */
	if (rename(segment->dir, to) < 0)
		return lsc_err_set(err, errno == ENOTEMPTY ? EEXIST : errno,
				   "cannot rename '%s' to '%s': %m", segment->dir, to);
	r = own_dir(segment, to, segment->name, err);
	if (r < 0)
		return r;
	lsc_marks_end(segment->arrivals, LSC_MARKS_COMMITTED);
	if (name_path(file, to, "arrivals", "", "", err) == 0)
		unlink(file);
	return sync_parent(to, err);
}

int lsc_segment_discard(struct lsc_segment *segment, struct lsc_err *err)
{
	if (segment->loan)
		return lsc_segment_tier_discard(segment, err);
	lsc_marks_end(segment->arrivals, LSC_MARKS_DISCARDED);
	lsc_segment_tree_remove(segment);
	return lsc_dir_remove(segment->dir, err);
}

void lsc_segment_sweep(const char *dir, const char *name)
{
	char path[PATH_MAX], file[PATH_MAX];
	LSC_CLEANUP_FD int fd = -1;

	if (lsc_lender_is(dir) || name_path(path, dir, name, PART, "", NULL) < 0 ||
	    name_path(file, path, "arrivals", "", "", NULL) < 0)
		return;
	fd = open(file, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		lsc_tree_remove(path, NULL);
}

/* --- the user --- */

static int open_data(struct lsc_segment *segment, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_parts_close) struct lsc_parts parts = LSC_PARTS_INIT;
	int r = lsc_parts_open(&parts, segment->dir, err);

	return r < 0 ? r : map_data(segment, parts.runs, parts.n, parts.bytes, PROT_READ, err);
}

static int open_at(struct lsc_segment *segment, const char *dir, const char *name,
		   const char *suffix, struct lsc_err *err)
{
	char path[PATH_MAX];
	uint64_t len;
	void *at = NULL;
	int r = name_path(path, dir, name, suffix, "", err);

	if (r == 0)
		r = own_dir(segment, path, name, err);
	if (r == 0)
		r = map_manifest(segment, err);
	if (r == 0)
		r = open_data(segment, err);
	if (r < 0 || !*suffix)
		return r;
	r = map_file(path, "arrivals", UINT32_MAX, &at, &len, err);
	if (r < 0)
		return r;
	segment->arrivals = at;
	segment->arrivals_len = len;
	r = lsc_marks_check(segment->arrivals, len, path, err);
	if (r == 0)
		segment->n_pieces = lsc_marks_pieces(segment->arrivals);
	return r;
}

static bool is_tree(const char *dir, const char *name)
{
	char path[PATH_MAX];

	return name_path(path, dir, ".lsc/", name, "", NULL) == 0 &&
	       strlen(path) + sizeof(".manifest") <= sizeof(path) &&
	       access(strcat(path, ".manifest"), F_OK) == 0;
}

/* NAME, NAME.part, and NAME again: it may be renamed between the first two looks. */
int lsc_segment_open(struct lsc_segment *segment, const char *dir, const char *name,
		     struct lsc_err *err)
{
	static const char *const suffixes[] = {"", PART, ""};
	int r = lsc_segment_check_name(name, err);

	if (r == 0 && lsc_lender_is(dir))
		return lsc_segment_tier_open(segment, dir, name, NULL, true, err);
	for (unsigned i = 0; r == 0 && i < LSC_ARRAY_SIZE(suffixes); i++) {
		*segment = (struct lsc_segment)LSC_SEGMENT_INIT;
		r = open_at(segment, dir, name, suffixes[i], err);
		if (r == 0)
			return 0;
		lsc_segment_close(segment);
		if (r == -ENOENT && i + 1 < LSC_ARRAY_SIZE(suffixes))
			r = 0;
	}
	if (r == -ENOENT || r == -ENOTDIR)
		lsc_err_set(err, -r,
			    is_tree(dir, name) ? "'%s' in '%s' holds files that were cast, and no "
						 "model"
					       : "no image '%s' in '%s'",
			    name, dir);
	return r;
}

int lsc_segment_look(struct lsc_segment *segment, const char *dir, const char *name,
		     struct lsc_err *err)
{
	int r = lsc_segment_check_name(name, err);

	if (r == 0 && lsc_lender_is(dir))
		return lsc_segment_tier_open(segment, dir, name, NULL, false, err);
	return r < 0 ? r : lsc_segment_open(segment, dir, name, err);
}

int lsc_segment_each(const char *dir, int (*fn)(void *data, const char *name, bool arriving),
		     void *data, struct lsc_err *err)
{
	DIR *d = lsc_lender_is(dir) ? NULL : opendir(dir);
	struct dirent *entry;
	int r = 0;

	if (!d && lsc_lender_is(dir))
		return lsc_segment_tier_each(dir, fn, data, err);
	if (!d)
		return lsc_err_set(err, errno, "cannot open directory '%s': %m", dir);
	while (r == 0 && (entry = readdir(d))) {
		char name[sizeof(entry->d_name)], path[PATH_MAX];
		size_t len = strlen(entry->d_name);
		bool arriving =
			len > strlen(PART) && !strcmp(entry->d_name + len - strlen(PART), PART);

		memcpy(name, entry->d_name, len + 1);
		if (arriving)
			name[len - strlen(PART)] = 0;
		if (lsc_segment_check_name(name, NULL) < 0 ||
		    name_path(path, dir, entry->d_name, "", "manifest", NULL) < 0 ||
		    access(path, F_OK) < 0)
			continue;
		r = fn(data, name, arriving);
	}
	closedir(d);
	return r;
}

struct search {
	struct lsc_segment *segment;
	const char *dir;
	const struct lsc_hash *id;
};

/* What cannot be opened may be somebody's that is just going. */
static int try_name(void *data, const char *name, bool arriving)
{
	struct search *search = data;
	struct lsc_segment *segment = search->segment;
	struct lsc_hash id;

	(void)arriving;
	if (lsc_segment_open(segment, search->dir, name, NULL) < 0)
		return 0;
	id = lsc_hash_of(segment->manifest, segment->manifest_len);
	if (lsc_hash_equal(&id, search->id))
		return 1;
	lsc_segment_close(segment);
	return 0;
}

int lsc_segment_find(struct lsc_segment *segment, const char *dir, const struct lsc_hash *id,
		     struct lsc_err *err)
{
	struct search search = {segment, dir, id};
	char text[LSC_HASH_TEXT];
	int r;

	if (lsc_lender_is(dir))
		return lsc_segment_tier_open(segment, dir, NULL, id, true, err);
	*segment = (struct lsc_segment)LSC_SEGMENT_INIT;
	r = lsc_segment_each(dir, try_name, &search, err);
	if (r == 0)
		return lsc_err_set(err, ENOENT, "no image %s here", lsc_hash_text(id, text));
	return r < 0 ? r : 0;
}

bool lsc_segment_has(const struct lsc_segment *segment, uint32_t first, uint32_t n)
{
	if (!segment->arrivals)
		return true;
	assert(first <= segment->n_pieces && n <= segment->n_pieces - first);
	for (uint32_t i = 0; i < n; i++)
		if (!lsc_marks_has(segment->arrivals, first + i))
			return false;
	return true;
}

uint32_t lsc_segment_count(const struct lsc_segment *segment)
{
	return segment->arrivals ? lsc_marks_count(segment->arrivals) : segment->n_pieces;
}

uint32_t lsc_segment_generation(const struct lsc_segment *segment)
{
	return segment->arrivals ? lsc_marks_generation(segment->arrivals) : 0;
}

int lsc_segment_wait_change(struct lsc_segment *segment, uint32_t seen, int timeout_ms)
{
	return segment->arrivals ? lsc_marks_wait(segment->arrivals, seen, timeout_ms) : 0;
}

int lsc_segment_wait(struct lsc_segment *segment, uint32_t first, uint32_t n, int timeout_ms)
{
	uint64_t until = lsc_clock_ns() + (uint64_t)LSC_MAX(timeout_ms, 0) * 1000000;

	for (;;) {
		uint32_t seen = lsc_segment_generation(segment);
		int64_t left_ms = -1;
		int r;

		if (lsc_segment_has(segment, first, n))
			return 0;
		if (timeout_ms >= 0) {
			left_ms = ((int64_t)(until - lsc_clock_ns()) + 999999) / 1000000;
			left_ms = LSC_MAX(left_ms, 0);
		}
		r = lsc_segment_wait_change(segment, seen, (int)left_ms);
		if (r < 0)
			return r;
	}
}
