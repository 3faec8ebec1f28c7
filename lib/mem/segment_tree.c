/* segment_tree - a segment that is files: mapped from where they will be
 *
 * Large files are received straight into their own pages, so that a byte is written once; small
 * ones, which would be a mapping each, into `image`, from which they are written in the end.  All
 * of it lies in NAME.part/tree until it is whole: then that is renamed, and NAME is a clean tree.
 */
#include "mem/segment_tree.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/runs.h"
#include "base/tree.h"

#define STEP_BYTES (256ull << 20) /* as in segment.c */
#define STEP_FILES 256u

static int root_of(const struct lsc_segment *segment, char root[PATH_MAX], struct lsc_err *err)
{
	return snprintf(root, PATH_MAX, "%s/tree", segment->dir) < PATH_MAX
		       ? 0
		       : lsc_err_set(err, ENAMETOOLONG, "'%s': %m", segment->dir);
}

bool lsc_segment_tree_is_whole(const struct lsc_segment *segment)
{
	const struct lsc_tree *tree = segment->tree;
	struct lsc_tree_walk walk;
	char root[PATH_MAX];
	bool whole =
		root_of(segment, root, NULL) == 0 && lsc_tree_walk_begin(&walk, tree, root) == 0;

	if (!whole)
		return false;
	for (uint32_t i = 0; whole && i < tree->n; i++) {
		const struct lsc_tree_entry *entry = &tree->entries[i];
		const char *leaf;
		struct stat st;
		int dir;

		if (!lsc_tree_is_large(tree, entry))
			continue;
		dir = lsc_tree_walk_to(&walk, entry, root, &leaf);
		whole = (dir >= 0 || dir == AT_FDCWD) &&
			fstatat(dir, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
			(uint64_t)st.st_size == entry->bytes;
	}
	lsc_tree_walk_end(&walk);
	return whole;
}

int lsc_segment_tree_begin(const struct lsc_segment *segment, struct lsc_err *err)
{
	char root[PATH_MAX];
	int r = root_of(segment, root, err);

	return r < 0 ? r : lsc_tree_make_dirs(segment->tree, root, err);
}

int lsc_segment_tree_reserve(struct lsc_segment *segment, struct lsc_err *err)
{
	const struct lsc_tree *tree = segment->tree;
	uint8_t *at;
	int r;

	if (sysconf(_SC_PAGESIZE) > LSC_TREE_ALIGN)
		return lsc_err_set(err, EOPNOTSUPP,
				   "files cannot be mapped: pages are larger "
				   "than 4096 bytes here");
	r = lsc_runs_reserve(tree->bytes, &at);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot map '%s': %m", segment->dir);
	segment->data = at;
	if (tree->packed_bytes)
		r = lsc_runs_put(at, &(struct lsc_run){0, tree->packed_bytes, segment->image_fd, 0},
				 PROT_READ | PROT_WRITE);
	return r < 0 ? lsc_err_set(err, -r, "cannot map '%s/image': %m", segment->dir) : 0;
}

static int grow_file(struct lsc_segment *segment, const struct lsc_tree_entry *entry,
		     struct lsc_tree_walk *walk, const char *root, struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = lsc_tree_make_file(entry, walk, root, err);
	int r;

	if (fd < 0)
		return fd;
	r = lsc_runs_put(segment->data, &(struct lsc_run){entry->offset, entry->bytes, fd, 0},
			 PROT_READ | PROT_WRITE);
	return r < 0 ? lsc_err_set(err, -r, "cannot map '%s/%s': %m", root, entry->path) : 0;
}

int lsc_segment_tree_grow(struct lsc_segment *segment, struct lsc_err *err)
{
	const struct lsc_tree *tree = segment->tree;
	uint32_t files = 0;
	uint64_t bytes = 0;
	struct lsc_tree_walk walk;
	char root[PATH_MAX];
	int r = root_of(segment, root, err);

	if (r < 0)
		return r;
	r = lsc_tree_walk_begin(&walk, tree, root);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot open '%s': %m", root);
	for (; r == 0 && segment->grown < tree->n && files < STEP_FILES && bytes < STEP_BYTES;
	     segment->grown++) {
		const struct lsc_tree_entry *entry = &tree->entries[segment->grown];

		if (!lsc_tree_is_large(tree, entry))
			continue;
		r = grow_file(segment, entry, &walk, root, err);
		files++;
		bytes += entry->bytes;
	}
	lsc_tree_walk_end(&walk);
	return r < 0 ? r : segment->grown < tree->n;
}

/* --- the end --- */

/* One call for all files: each of many small ones would wait for the disk by itself. */
static int sync_all(const char *dir, struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || syncfs(fd) < 0)
		return lsc_err_set(err, errno, "cannot sync '%s': %m", dir);
	return 0;
}

/* Where a later cast of the same finds it: DIR/.lsc/NAME.manifest. */
static int keep_manifest(const struct lsc_segment *segment, struct lsc_err *err)
{
	size_t len = strlen(segment->dir) - strlen(segment->name) - strlen(".part");
	char beside[PATH_MAX], path[PATH_MAX + 300];
	int r;

	if (snprintf(beside, sizeof(beside), "%.*s.lsc", (int)len, segment->dir) >=
	    (int)sizeof(beside))
		return lsc_err_set(err, ENAMETOOLONG, "'%s': %m", segment->dir);
	if (mkdir(beside, 0777) < 0 && errno != EEXIST)
		return lsc_err_set(err, errno, "cannot make directory '%s': %m", beside);
	snprintf(path, sizeof(path), "%s/%s.manifest", beside, segment->name);
	r = lsc_file_write(path, segment->manifest, segment->manifest_len, err);
	return r < 0 ? r : lsc_path_sync(beside, err);
}

static int rename_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (access(to, F_OK) == 0) /* a file system that cannot do both at once */
		return -EEXIST;
	return rename(from, to) < 0 ? -errno : 0;
}

/* A directory that moves is written to (its ".."), so its owner must be allowed to, for a moment.
 */
static int give_name(const struct lsc_segment *segment, const char *root, const char *to)
{
	const struct lsc_tree_entry *top = &segment->tree->entries[0];
	int r = rename_new(root, to);

	if (r != -EACCES || top->kind != LSC_TREE_DIR || chmod(root, 0700) < 0)
		return r;
	r = rename_new(root, to);
	return chmod(r < 0 ? root : to, top->mode) < 0 && r == 0 ? -errno : r;
}

int lsc_segment_tree_commit(struct lsc_segment *segment, const char *to, struct lsc_err *err)
{
	char root[PATH_MAX];
	int r = root_of(segment, root, err);

	if (r < 0 || (r = lsc_tree_finish(segment->tree, root, segment->data, err)) < 0 ||
	    (r = sync_all(segment->dir, err)) < 0 || (r = keep_manifest(segment, err)) < 0)
		return r;
	r = give_name(segment, root, to);
	return r < 0 ? lsc_err_set(err, -r, "cannot rename '%s' to '%s': %m", root, to) : 0;
}

void lsc_segment_tree_remove(const struct lsc_segment *segment)
{
	char root[PATH_MAX];

	if (root_of(segment, root, NULL) == 0)
		lsc_tree_remove(root, NULL);
}
