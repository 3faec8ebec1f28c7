/* tree_map - the range of a tree that lies on disk: mapped, or read part by part */
#include "base/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macros.h"
#include "base/runs.h"

/* --- mapping --- */

static int map_one(const struct lsc_tree *tree, const struct lsc_tree_entry *entry, int fd,
		   uint8_t *data)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != entry->bytes ||
	    lsc_tree_mtime(&st) != entry->mtime_ns)
		return -EBUSY;
	if (lsc_tree_is_large(tree, entry))
		return lsc_runs_put(data, &(struct lsc_run){entry->offset, entry->bytes, fd, 0},
				    PROT_READ);
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
	r = lsc_runs_reserve(tree->bytes, &data);
	if (r == 0 && tree->packed_bytes &&
	    mmap(data, tree->packed_bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
		r = -errno;
		lsc_runs_unmap(data, tree->bytes);
	}
	if (r < 0)
		return lsc_err_set(err, -r, "'%s': no memory for %llu bytes of small files: %m",
				   path, (unsigned long long)tree->packed_bytes);
	r = map_all(tree, path, data, err);
	if (r < 0) {
		lsc_runs_unmap(data, tree->bytes);
		return r;
	}
	*ret_data = data;
	return 0;
}

void lsc_tree_unmap(const struct lsc_tree *tree, uint8_t *data)
{
	lsc_runs_unmap(data, tree->bytes);
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
		r = lsc_pread_full(fd, data + (from - offset), to - from, from - entry->offset);
		close(fd);
	}
	return r;
}
