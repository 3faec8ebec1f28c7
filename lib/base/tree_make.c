/* tree_make - a tree that arrives
 *
 * While it arrives its directories and files are the owner's to write; permissions and times come
 * last, links too, and everything may have been done before by a receiver that was killed.
 */
#include "base/tree.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

static int cannot(struct lsc_err *err, int code, const char *what, const char *root,
		  const struct lsc_tree_entry *entry)
{
	return lsc_err_set(err, code, "cannot %s '%s%s%s': %m", what, root, *entry->path ? "/" : "",
			   entry->path);
}

static bool is_dir_fd(int dir)
{
	return dir >= 0 || dir == AT_FDCWD;
}

static int make_dir(int dir, const char *leaf)
{
	LSC_CLEANUP_FD int fd = -1;

	if (mkdirat(dir, leaf, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	fd = openat(dir, leaf, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fchmodat(dir, leaf, 0700, 0) < 0 ? -errno : 0;
}

int lsc_tree_make_dirs(const struct lsc_tree *tree, const char *root, struct lsc_err *err)
{
	struct lsc_tree_walk walk;
	int r;

	if (tree->entries[0].kind != LSC_TREE_DIR)
		return 0;
	r = make_dir(AT_FDCWD, root);
	if (r == 0)
		r = lsc_tree_walk_begin(&walk, tree, root);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot make directory '%s': %m", root);
	for (uint32_t i = 1; r == 0 && i < tree->n; i++) {
		const struct lsc_tree_entry *entry = &tree->entries[i];
		const char *leaf;
		int dir;

		if (entry->kind != LSC_TREE_DIR)
			break;
		dir = lsc_tree_walk_to(&walk, entry, root, &leaf);
		r = is_dir_fd(dir) ? make_dir(dir, leaf) : dir;
		if (r < 0)
			cannot(err, -r, "make directory", root, entry);
	}
	lsc_tree_walk_end(&walk);
	return r;
}

/* For writing, though it may have got its permissions already. */
static int open_to_write(int dir, const char *leaf, int flags)
{
	int fd;

	flags |= O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	fd = openat(dir, leaf, flags, 0600);
	if (fd < 0 && errno == EACCES && fchmodat(dir, leaf, 0600, 0) == 0)
		fd = openat(dir, leaf, flags, 0600);
	return fd < 0 ? -errno : fd;
}

static int set_size(int fd, uint64_t bytes)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EEXIST;
	if ((uint64_t)st.st_size == bytes && (uint64_t)st.st_blocks * 512 >= bytes)
		return 0;
	if (fallocate(fd, 0, 0, (off_t)bytes) < 0 && errno != EOPNOTSUPP)
		return -errno;
	return ftruncate(fd, (off_t)bytes) < 0 ? -errno : 0;
}

int lsc_tree_make_file(const struct lsc_tree_entry *entry, struct lsc_tree_walk *walk,
		       const char *root, struct lsc_err *err)
{
	const char *leaf;
	int dir = lsc_tree_walk_to(walk, entry, root, &leaf);
	int fd = is_dir_fd(dir) ? open_to_write(dir, leaf, 0) : dir;
	int r = fd < 0 ? fd : set_size(fd, entry->bytes);

	if (r == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return cannot(err, -r, "make room for", root, entry);
}

/* --- the end --- */

static int dress(int fd, const struct lsc_tree_entry *entry)
{
	struct timespec times[2] = {
		{.tv_nsec = UTIME_OMIT},
		{(time_t)(entry->mtime_ns / 1000000000), (long)(entry->mtime_ns % 1000000000)}};

	return futimens(fd, times) < 0 || fchmod(fd, entry->mode) < 0 ? -errno : 0;
}

static int finish_file(const struct lsc_tree *tree, const struct lsc_tree_entry *entry, int dir,
		       const char *leaf, const uint8_t *data)
{
	bool large = lsc_tree_is_large(tree, entry);
	LSC_CLEANUP_FD int fd = open_to_write(dir, leaf, large ? 0 : O_TRUNC);
	int r = fd < 0 ? fd : 0;

	if (r == 0 && !large)
		r = lsc_write_full(fd, data + entry->offset, entry->bytes);
	return r < 0 ? r : dress(fd, entry);
}

static int finish_link(const struct lsc_tree_entry *entry, int dir, const char *leaf)
{
	if (symlinkat(entry->target, dir, leaf) == 0)
		return 0;
	if (errno != EEXIST || unlinkat(dir, leaf, 0) < 0 ||
	    symlinkat(entry->target, dir, leaf) < 0)
		return -errno;
	return 0;
}

static int finish_dir(const struct lsc_tree_entry *entry, int dir, const char *leaf)
{
	LSC_CLEANUP_FD int fd = openat(dir, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : dress(fd, entry);
}

/* Backwards: what is in a directory comes before the directory. */
int lsc_tree_finish(const struct lsc_tree *tree, const char *root, const uint8_t *data,
		    struct lsc_err *err)
{
	struct lsc_tree_walk walk;
	int r = lsc_tree_walk_begin(&walk, tree, root);

	if (r < 0)
		return lsc_err_set(err, -r, "cannot open '%s': %m", root);
	for (uint32_t i = tree->n; r == 0 && i-- > 0;) {
		const struct lsc_tree_entry *entry = &tree->entries[i];
		const char *leaf;
		int dir = lsc_tree_walk_to(&walk, entry, root, &leaf);

		r = !is_dir_fd(dir)                ? dir
		    : entry->kind == LSC_TREE_FILE ? finish_file(tree, entry, dir, leaf, data)
		    : entry->kind == LSC_TREE_LINK ? finish_link(entry, dir, leaf)
						   : finish_dir(entry, dir, leaf);
		if (r < 0)
			cannot(err, -r, "write", root, entry);
	}
	lsc_tree_walk_end(&walk);
	return r;
}

/* --- removing --- */

static int open_up(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (what == FTW_D || what == FTW_DNR)
		chmod(path, 0700);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)st;
	(void)what;
	(void)ftw;
	remove(path); /* what stays makes its directory stay, and that is seen */
	return 0;
}

int lsc_tree_remove(const char *root, struct lsc_err *err)
{
	nftw(root, open_up, 16, FTW_PHYS);
	nftw(root, remove_one, 16, FTW_PHYS | FTW_DEPTH);
	if (access(root, F_OK) == 0)
		return lsc_err_set(err, ENOTEMPTY, "cannot remove '%s': %m", root);
	return 0;
}
