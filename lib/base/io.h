/* Whole reads and writes, and files that appear all at once. */
#ifndef LSC_BASE_IO_H
#define LSC_BASE_IO_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Reads until len bytes or the end; returns what it got.  EINTR is retried. */
ssize_t lsc_read_full(int fd, void *data, size_t len);

/* Reads len bytes at offset: 0, -EIO where there are fewer, or negative errno. */
int lsc_pread_full(int fd, void *data, size_t len, uint64_t offset);

/* Writes all of it; returns 0 or negative errno. */
int lsc_write_full(int fd, const void *data, size_t len);
int lsc_pwrite_full(int fd, const void *data, size_t len, uint64_t offset);

/* Appends what fd has left to buf, and a 0 behind it; -EFBIG when there is more than limit.  name
 * is for the words of an error.  For standard input: opening /dev/stdin fails where that is a
 * socket, and begins again where it is a file that someone read a part of. */
int lsc_fd_read(int fd, const char *name, size_t limit, struct lsc_buf *buf, struct lsc_err *err);

/* The same with a file's bytes. */
int lsc_file_read(const char *path, size_t limit, struct lsc_buf *buf, struct lsc_err *err);

/* Writes a temporary beside path, syncs it, renames it into place: path is whole or as before. */
int lsc_file_write(const char *path, const void *data, size_t len, struct lsc_err *err);

/* Whether a file lies in memory alone, as on tmpfs. */
bool lsc_fd_in_memory(int fd);

/* fsync of a file or directory by name. */
int lsc_path_sync(const char *path, struct lsc_err *err);

/* The last part of a path, without slashes behind it, cut to fit. */
const char *lsc_path_last(const char *path, char last[NAME_MAX + 1]);

/* Removes a directory and the plain files directly in it; an absent one is fine. */
int lsc_dir_remove(const char *path, struct lsc_err *err);

/* A file mapped read-only.  data is NULL for an empty file. */
struct lsc_map {
	const uint8_t *data;
	size_t len;
};

#define LSC_MAP_INIT                                                                               \
	{                                                                                          \
		NULL, 0                                                                            \
	}

int lsc_map_open(struct lsc_map *map, const char *path, struct lsc_err *err);
void lsc_map_close(struct lsc_map *map);

/* The pages of a part of a map are not needed for now: they stop counting as this process's memory,
 * and come back from the file when they are read again. */
void lsc_map_forget(const void *data, size_t len);

#endif
