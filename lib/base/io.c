/* io - whole reads and writes, files that appear all at once, read-only maps */
#include "base/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"

ssize_t lsc_read_full(int fd, void *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)data + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += n;
	}
	return done;
}

int lsc_pread_full(int fd, void *data, size_t len, uint64_t offset)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (char *)data + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

int lsc_write_full(int fd, const void *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, (const char *)data + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += n;
	}
	return 0;
}

int lsc_pwrite_full(int fd, const void *data, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, (const char *)data + done, len - done, offset + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += n;
	}
	return 0;
}

int lsc_fd_read(int fd, const char *name, size_t limit, struct lsc_buf *buf, struct lsc_err *err)
{
	size_t start = buf->len;

	for (;;) {
		ssize_t n;

		if (lsc_buf_reserve(buf, 65536) < 0)
			return lsc_err_set(err, ENOMEM, "cannot read '%s': %m", name);
		n = lsc_read_full(fd, buf->data + buf->len, 65536);
		if (n < 0)
			return lsc_err_set(err, -n, "cannot read '%s': %m", name);
		buf->len += n;
		buf->data[buf->len] = 0;
		if (buf->len - start > limit)
			return lsc_err_set(err, EFBIG, "'%s' is larger than %zu bytes", name,
					   limit);
		if (n < 65536)
			return 0;
	}
}

int lsc_file_read(const char *path, size_t limit, struct lsc_buf *buf, struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	return lsc_fd_read(fd, path, limit, buf, err);
}

static int write_and_sync(int fd, const void *data, size_t len)
{
	int r = lsc_write_full(fd, data, len);

	if (r < 0)
		return r;
	return fsync(fd) < 0 ? -errno : 0;
}

int lsc_file_write(const char *path, const void *data, size_t len, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *temp = NULL;
	LSC_CLEANUP_FD int fd = -1;
	int r;

	if (asprintf(&temp, "%s.tmp%d", path, (int)getpid()) < 0) {
		temp = NULL;
		return lsc_err_set(err, ENOMEM, "cannot write '%s': %m", path);
	}
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return lsc_err_set(err, errno, "cannot create '%s': %m", temp);
	r = write_and_sync(fd, data, len);
	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temp);
		return lsc_err_set(err, -r, "cannot write '%s': %m", path);
	}
	return 0;
}

bool lsc_fd_in_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC ||
					 fs.f_type == HUGETLBFS_MAGIC);
}

int lsc_path_sync(const char *path, struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	if (fsync(fd) < 0)
		return lsc_err_set(err, errno, "cannot sync '%s': %m", path);
	return 0;
}

const char *lsc_path_last(const char *path, char last[NAME_MAX + 1])
{
	size_t len = strlen(path), start;

	while (len > 1 && path[len - 1] == '/')
		len--;
	for (start = len; start > 0 && path[start - 1] != '/'; start--)
		;
	snprintf(last, NAME_MAX + 1, "%.*s", (int)(len - start), path + start);
	return last;
}

int lsc_dir_remove(const char *path, struct lsc_err *err)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir && errno == ENOENT)
		return 0;
	if (!dir)
		return lsc_err_set(err, errno, "cannot open directory '%s': %m", path);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dirfd(dir), entry->d_name, 0); /* rmdir tells if one stays */
	closedir(dir);
	if (rmdir(path) < 0)
		return lsc_err_set(err, errno, "cannot remove directory '%s': %m", path);
	return 0;
}

int lsc_map_open(struct lsc_map *map, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *data;

	if (fd < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	if (fstat(fd, &st) < 0)
		return lsc_err_set(err, errno, "cannot stat '%s': %m", path);
	if (!S_ISREG(st.st_mode))
		return lsc_err_set(err, S_ISDIR(st.st_mode) ? EISDIR : EINVAL,
				   "'%s' is not a regular file", path);
	*map = (struct lsc_map)LSC_MAP_INIT;
	if (st.st_size == 0)
		return 0;
	data = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return lsc_err_set(err, errno, "cannot map '%s': %m", path);
	map->data = data;
	map->len = st.st_size;
	return 0;
}

void lsc_map_close(struct lsc_map *map)
{
	if (map && map->data)
		munmap((void *)map->data, map->len);
	if (map)
		*map = (struct lsc_map)LSC_MAP_INIT;
}

void lsc_map_forget(const void *data, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = (uintptr_t)data / page * page;

	if (len > 0)
		madvise((void *)start, (uintptr_t)data + len - start, MADV_DONTNEED);
}
