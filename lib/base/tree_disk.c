/* tree_disk - a tree that lies on disk: read as a table, mapped as a range
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"

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

static uint64_t mtime_of(const struct stat *st)
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
	entry->mtime_ns = mtime_of(&st);
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
		root->mtime_ns = mtime_of(&st);
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
			       mtime_of(&st) == entry->mtime_ns;
		} else {
			same = S_ISLNK(st.st_mode) && read_target(dir, leaf, &there) == 0 &&
			       !strcmp(there.target, entry->target);
			free(there.target);
		}
	}
	lsc_tree_walk_end(&walk);
	return same;
}

/* --- mapping --- */

static int map_one(const struct lsc_tree *tree, const struct lsc_tree_entry *entry, int fd,
		   uint8_t *data)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != entry->bytes ||
	    mtime_of(&st) != entry->mtime_ns)
		return -EBUSY;
	if (lsc_tree_is_large(tree, entry))
		return mmap(data + entry->offset, entry->bytes, PROT_READ, MAP_SHARED | MAP_FIXED,
			    fd, 0) == MAP_FAILED
			       ? -errno
			       : 0;
	n = lsc_read_full(fd, data + entry->offset, entry->bytes);
	return n < 0 ? (int)n : (uint64_t)n == entry->bytes ? 0 : -EBUSY;
}

static int map_all(const struct lsc_tree *tree, const char *path, uint8_t *data,
		   struct lsc_err *err)
{
	struct lsc_tree_walk walk;
	int r = lsc_tree_walk_begin(&walk, tree, path);

	if (r < 0)
		lsc_err_set(err, -r, "cannot open '%s': %m", path);
	for (uint32_t i = 0; r == 0 && i < tree->n; i++) {
		const struct lsc_tree_entry *entry = &tree->entries[i];
		const char *leaf;
		int dir, fd;

		if (entry->kind != LSC_TREE_FILE || entry->bytes == 0)
			continue;
		dir = lsc_tree_walk_to(&walk, entry, path, &leaf);
		/* The path that was given may be a link, others were looked at. */
		fd = dir < 0 && dir != AT_FDCWD
			     ? dir
			     : openat(dir, leaf,
				      O_RDONLY | O_CLOEXEC | (*entry->path ? O_NOFOLLOW : 0));
		if (fd < 0) {
			r = lsc_err_set(err, errno, "cannot open '%s/%s': %m", path, entry->path);
			break;
		}
		r = map_one(tree, entry, fd, data);
		close(fd);
		if (r == -EBUSY)
			lsc_err_set(err, EBUSY, "'%s%s%s' changed while it was read", path,
				    *entry->path ? "/" : "", entry->path);
		else if (r < 0)
			lsc_err_set(err, -r, "cannot read '%s%s%s': %m", path,
				    *entry->path ? "/" : "", entry->path);
	}
	lsc_tree_walk_end(&walk);
	return r;
}

int lsc_tree_map(const struct lsc_tree *tree, const char *path, uint8_t **ret_data,
		 struct lsc_err *err)
{
	uint8_t *data;
	int r;

	if (sysconf(_SC_PAGESIZE) > LSC_TREE_ALIGN)
		return lsc_err_set(err, EOPNOTSUPP,
				   "files cannot be mapped: pages are larger "
				   "than 4096 bytes here");
	data = mmap(NULL, tree->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0);
	if (data != MAP_FAILED && tree->packed_bytes &&
	    mmap(data, tree->packed_bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
		munmap(data, tree->bytes);
		data = MAP_FAILED;
	}
	if (data == MAP_FAILED)
		return lsc_err_set(err, errno, "'%s': no memory for %llu bytes of small files: %m",
				   path, (unsigned long long)tree->packed_bytes);
	r = map_all(tree, path, data, err);
	if (r < 0) {
		munmap(data, tree->bytes);
		return r;
	}
	*ret_data = data;
	return 0;
}

void lsc_tree_unmap(const struct lsc_tree *tree, uint8_t *data)
{
	if (data)
		munmap(data, tree->bytes);
}

/* --- reading a part --- */

/* The first entry that is no directory, and whose bytes end behind offset. */
static uint32_t find_file(const struct lsc_tree *tree, uint64_t offset)
{
	uint32_t low = 0, high = tree->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct lsc_tree_entry *entry = &tree->entries[middle];

		if (entry->kind == LSC_TREE_DIR ||
		    (entry->kind == LSC_TREE_FILE && entry->offset + entry->bytes <= offset))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int read_file(int fd, uint64_t offset, uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = pread(fd, data, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int lsc_tree_read(const struct lsc_tree *tree, const char *path, struct lsc_tree_walk *walk,
		  uint64_t offset, uint8_t *data, size_t len)
{
	uint64_t end = offset + len;
	int r = 0;

	memset(data, 0, len); /* what lies between files */
	for (uint32_t i = find_file(tree, offset); r == 0 && i < tree->n; i++) {
		const struct lsc_tree_entry *entry = &tree->entries[i];
		uint64_t from = LSC_MAX(offset, entry->offset);
		uint64_t to = LSC_MIN(end, entry->offset + entry->bytes);
		const char *leaf;
		int dir, fd;

		if (entry->kind != LSC_TREE_FILE || entry->offset >= end)
			break;
		if (from >= to)
			continue;
		dir = lsc_tree_walk_to(walk, entry, path, &leaf);
		if (dir < 0 && dir != AT_FDCWD)
			return dir;
		fd = openat(dir, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		r = read_file(fd, from - entry->offset, data + (from - offset), to - from);
		close(fd);
	}
	return r;
}
