/* tree_disk - a tree that lies on disk: walked, read as a table, looked for
 *
 * Files are reached by names from directories that are open, never by a long path, and never
 * through a link beneath the root.
 */
#include "base/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* --- walking down --- */

int lsc_tree_walk_begin(struct lsc_tree_walk *walk, const struct lsc_tree *tree, const char *root)
{
	bool is_dir = tree->entries[0].kind == LSC_TREE_DIR;

	*walk = (struct lsc_tree_walk){.top = AT_FDCWD, .parent = -1};
	if (!is_dir)
		return 0;
	walk->top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return walk->top < 0 ? -errno : 0;
}

void lsc_tree_walk_end(struct lsc_tree_walk *walk)
{
	if (walk->parent >= 0)
		close(walk->parent);
	if (walk->top >= 0)
		close(walk->top);
	walk->parent = walk->top = -1;
}

static int open_below(int dir, const char *path, size_t len)
{
	int fd = dir;

	for (size_t at = 0; at < len;) {
		const char *slash = memchr(path + at, '/', len - at);
		size_t part = slash ? (size_t)(slash - path) - at : len - at;
		char name[256];
		int next;

		memcpy(name, path + at, part);
		name[part] = 0;
		next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd != dir)
			close(fd);
		if (next < 0)
			return -errno;
		fd = next;
		at += part + (slash != NULL);
	}
	return fd;
}

int lsc_tree_walk_to(struct lsc_tree_walk *walk, const struct lsc_tree_entry *entry,
		     const char *root, const char **ret_leaf)
{
	const char *slash = strrchr(entry->path, '/');
	size_t len = slash ? (size_t)(slash - entry->path) : 0;
	int fd;

	*ret_leaf = !*entry->path ? (walk->top == AT_FDCWD ? root : ".")
		    : slash       ? slash + 1
				  : entry->path;
	if (len == 0)
		return walk->top;
	if (walk->parent >= 0 && !strncmp(walk->path, entry->path, len) && !walk->path[len])
		return walk->parent;
	fd = open_below(walk->top, entry->path, len);
	if (fd < 0)
		return fd;
	if (walk->parent >= 0)
		close(walk->parent);
	memcpy(walk->path, entry->path, len);
	walk->path[len] = 0;
	return walk->parent = fd;
}

/* --- reading a tree --- */

struct scan {
	struct lsc_tree *tree;
	uint32_t skipped;
	char *first_skipped;
	int root;
};

uint64_t lsc_tree_mtime(const struct stat *st)
{
	if (st->st_mtim.tv_sec < 0 || st->st_mtim.tv_sec > INT64_MAX / 1000000000 - 1)
		return 0;
	return (uint64_t)st->st_mtim.tv_sec * 1000000000 + (uint64_t)st->st_mtim.tv_nsec;
}

static int read_target(int dir, const char *name, struct lsc_tree_entry *entry)
{
	char target[LSC_TREE_MAX_PATH + 1];
	ssize_t n = readlinkat(dir, name, target, sizeof(target));

	if (n < 0)
		return -errno;
	if (n == 0 || n == sizeof(target))
		return -ENAMETOOLONG;
	entry->target = strndup(target, (size_t)n);
	return entry->target ? 0 : -ENOMEM;
}

/* Adds what is there under a name in dir, whose own path is path. */
static int add_name(struct scan *scan, int dir, const char *name, const char *path,
		    struct lsc_err *err)
{
	struct lsc_tree_entry *entry;
	enum lsc_tree_kind kind;
	struct stat st;
	int r;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return lsc_err_set(err, errno, "cannot stat '%s': %m", path);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)) {
		if (scan->skipped++ == 0)
			snprintf(scan->first_skipped, LSC_TREE_MAX_PATH + 1, "%s", path);
		return 0;
	}
	kind = S_ISREG(st.st_mode)   ? LSC_TREE_FILE
	       : S_ISDIR(st.st_mode) ? LSC_TREE_DIR
				     : LSC_TREE_LINK;
	r = lsc_tree_add(scan->tree, kind, path, strlen(path), &entry, err);
	if (r < 0)
		return r;
	if (kind == LSC_TREE_LINK) {
		r = read_target(dir, name, entry);
		return r < 0 ? lsc_err_set(err, -r, "cannot read the link '%s': %m", path) : 0;
	}
	entry->mode = st.st_mode & 0777;
	entry->mtime_ns = lsc_tree_mtime(&st);
	entry->bytes = kind == LSC_TREE_FILE ? (uint64_t)st.st_size : 0;
	return 0;
}

static int scan_dir(struct scan *scan, const char *path, struct lsc_err *err)
{
	int fd = open_below(scan->root, path, strlen(path)), again;
	char below[LSC_TREE_MAX_PATH + 258];
	struct dirent *entry;
	int r = 0;
	DIR *dir;

	if (fd < 0)
		return lsc_err_set(err, -fd, "cannot open directory '%s': %m", path);
	again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd != scan->root)
		close(fd);
	dir = again < 0 ? NULL : fdopendir(again);
	if (!dir) {
		r = lsc_err_set(err, errno, "cannot open directory '%s': %m", path);
		if (again >= 0)
			close(again);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(below, sizeof(below), "%s%s%s", path, *path ? "/" : "", entry->d_name);
		r = add_name(scan, dirfd(dir), entry->d_name, below, err);
	}
	if (r == 0 && errno)
		r = lsc_err_set(err, errno, "cannot read directory '%s': %m", path);
	closedir(dir);
	return r;
}

/* The smallest bound that leaves few enough files above it. */
static void choose_large(struct lsc_tree *tree)
{
	uint32_t above = LSC_TREE_MAX_LARGE + 1;

	for (tree->large = LSC_TREE_LARGE_BYTES; above > LSC_TREE_MAX_LARGE;) {
		above = 0;
		for (uint32_t i = 0; i < tree->n; i++)
			above += lsc_tree_is_large(tree, &tree->entries[i]);
		if (above > LSC_TREE_MAX_LARGE)
			tree->large *= 2;
	}
}

static int in_order(const void *a, const void *b, void *data)
{
	const struct lsc_tree_entry *left = a, *right = b;
	unsigned l = left->kind * 2 + lsc_tree_is_large(data, left);
	unsigned r = right->kind * 2 + lsc_tree_is_large(data, right);

	return l != r ? (l < r ? -1 : 1) : strcmp(left->path, right->path);
}

int lsc_tree_scan(struct lsc_tree *tree, const char *path, uint32_t *ret_skipped,
		  char skipped[LSC_TREE_MAX_PATH + 1], struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = open(path, O_PATH | O_CLOEXEC);
	struct scan scan = {.tree = tree, .first_skipped = skipped, .root = fd};
	struct lsc_tree_entry *root;
	struct stat st;
	int r = 0;

	*tree = (struct lsc_tree)LSC_TREE_INIT;
	if (fd < 0 || fstat(fd, &st) < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return lsc_err_set(err, EINVAL, "'%s' is no file and no directory", path);
	r = lsc_tree_add(tree, S_ISDIR(st.st_mode) ? LSC_TREE_DIR : LSC_TREE_FILE, "", 0, &root,
			 err);
	if (r == 0) {
		root->mode = st.st_mode & 0777;
		root->mtime_ns = lsc_tree_mtime(&st);
		root->bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	}
	/* The table grows while it is walked over, which is what reaches everything. */
	for (uint32_t i = 0; r == 0 && i < tree->n; i++)
		if (tree->entries[i].kind == LSC_TREE_DIR)
			r = scan_dir(&scan, tree->entries[i].path, err);
	if (r == 0) {
		choose_large(tree);
		qsort_r(tree->entries, tree->n, sizeof(*tree->entries), in_order, tree);
		r = lsc_tree_place(tree, err);
	}
	if (r < 0)
		return lsc_err_prefix(err, "'%s': ", path);
	*ret_skipped = scan.skipped;
	return 0;
}

int lsc_tree_is_at(const struct lsc_tree *tree, const char *path)
{
	struct lsc_tree_walk walk;
	int same = lsc_tree_walk_begin(&walk, tree, path) == 0;

	for (uint32_t i = 0; same && i < tree->n; i++) {
		const struct lsc_tree_entry *entry = &tree->entries[i];
		struct lsc_tree_entry there = {0};
		const char *leaf;
		struct stat st;
		int dir = lsc_tree_walk_to(&walk, entry, path, &leaf);

		same = (dir >= 0 || dir == AT_FDCWD) &&
		       fstatat(dir, leaf, &st, *entry->path ? AT_SYMLINK_NOFOLLOW : 0) == 0;
		if (!same)
			break;
		if (entry->kind == LSC_TREE_DIR) {
			same = S_ISDIR(st.st_mode);
		} else if (entry->kind == LSC_TREE_FILE) {
			same = S_ISREG(st.st_mode) && (uint64_t)st.st_size == entry->bytes &&
			       lsc_tree_mtime(&st) == entry->mtime_ns;
		} else {
			same = S_ISLNK(st.st_mode) && read_target(dir, leaf, &there) == 0 &&
			       !strcmp(there.target, entry->target);
			free(there.target);
		}
	}
	lsc_tree_walk_end(&walk);
	return same;
}
