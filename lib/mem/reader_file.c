/* reader_file - a file as the reader sees it: past the page cache, or through it
 *
 * A descriptor that we are given may be anyone's, so flags and advice go to descriptions of our
 * own, opened through /proc.  What they cannot have (a file system without O_DIRECT, no /proc) is
 * read through the page cache.
 *
 * Whether the page cache has a chunk is asked by cachestat(2), 0.5 us; it wants the file's owner,
 * or one who may write it.  Others try to read a page without waiting: such a read begins to fetch
 * what is not there, so it is of one page, and told not to read ahead.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macros.h"
#include "mem/reader_own.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* everywhere */
#endif
#define USUAL_ALIGN 4096u
#define PAGE        4096u /* what is looked at; larger pages are as good */

struct lsc_reader_file {
	struct lsc_reader_file *next;
	int fd;              /* the caller's */
	int direct_fd;       /* -1: none */
	int probe_fd;        /* -1: the page cache is not asked */
	bool memory;         /* it lies in the page cache alone */
	uint32_t align;      /* of direct reads */
	atomic_bool deaf;    /* cachestat is refused */
	atomic_bool refused; /* direct reads are, after all */
};

/* What direct reads must be multiples of; 0: there are none. */
static uint32_t direct_align(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) == 0 &&
	    (st.stx_mask & STATX_DIOALIGN)) {
		uint32_t align = LSC_MAX(st.stx_dio_mem_align, st.stx_dio_offset_align);

		return st.stx_dio_offset_align ? align : 0;
	}
#endif
	return USUAL_ALIGN;
}

static int reopen(int fd, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC | flags);
}

int lsc_reader_file_open(struct lsc_reader_file **ret_file, int fd, bool direct,
			 struct lsc_reader_file **files)
{
	struct lsc_reader_file *file;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -EINVAL;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->fd = fd;
	file->direct_fd = file->probe_fd = -1;
	file->memory = lsc_fd_in_memory(fd);
	file->align = direct && !file->memory ? direct_align(fd) : 0;
	if (file->align)
		file->direct_fd = reopen(fd, O_DIRECT);
	if (!file->memory)
		file->probe_fd = reopen(fd, 0);
	if (file->probe_fd >= 0)
		posix_fadvise(file->probe_fd, 0, 0, POSIX_FADV_RANDOM);
	file->next = *files;
	*ret_file = *files = file;
	return 0;
}

void lsc_reader_file_close(struct lsc_reader_file *file)
{
	while (file) {
		struct lsc_reader_file *next = file->next;

		if (file->direct_fd >= 0)
			close(file->direct_fd);
		if (file->probe_fd >= 0)
			close(file->probe_fd);
		free(file);
		file = next;
	}
}

struct lsc_reader_file *lsc_reader_file_find(struct lsc_reader_file *files, int fd)
{
	while (files && files->fd != fd)
		files = files->next;
	return files;
}

/* --- the page cache --- */

/* Three quarters are taken for all: the disk's share is then small, and is read ahead. */
static bool is_cached(const struct lsc_chunk *chunk)
{
	struct lsc_reader_file *file = chunk->read->file;
	struct {
		uint64_t offset, len;
	} range = {chunk->offset, chunk->bytes};
	struct {
		uint64_t cached, dirty, writeback, evicted, recently_evicted;
	} stat;
	struct iovec page = {chunk->to, LSC_MIN(chunk->bytes, PAGE)};

	if (file->memory)
		return true;
	if (file->probe_fd < 0)
		return false;
	if (!atomic_load(&file->deaf)) {
		if (syscall(SYS_cachestat, file->probe_fd, &range, &stat, 0) == 0)
			return stat.cached * (uint64_t)sysconf(_SC_PAGESIZE) >=
			       chunk->bytes / 4 * 3;
		atomic_store(&file->deaf, true);
	}
	return preadv2(file->probe_fd, &page, 1, (off_t)chunk->offset, RWF_NOWAIT) ==
	       (ssize_t)page.iov_len;
}

void lsc_reader_file_choose(struct lsc_chunk *chunk)
{
	const struct lsc_reader_file *file = chunk->read->file;

	if (is_cached(chunk))
		chunk->way = LSC_CHUNK_CACHED;
	else if (file->direct_fd >= 0 && !atomic_load(&file->refused) &&
		 chunk->bytes >= file->align &&
		 ((chunk->offset | (uintptr_t)chunk->to) & (file->align - 1)) == 0)
		chunk->way = LSC_CHUNK_DIRECT;
	else
		chunk->way = LSC_CHUNK_OTHER;
}

/* --- reading --- */

int lsc_reader_file_fd(const struct lsc_chunk *chunk, uint32_t *ret_bytes)
{
	const struct lsc_reader_file *file = chunk->read->file;
	uint32_t left = chunk->bytes - chunk->done;

	*ret_bytes = left;
	if (chunk->way != LSC_CHUNK_DIRECT)
		return file->fd;
	/* The file's end need not be a multiple of anything, nor where a short read stopped. */
	*ret_bytes = chunk->done & (file->align - 1) ? 0 : left & ~(file->align - 1);
	return file->direct_fd;
}

bool lsc_reader_file_took(struct lsc_chunk *chunk, int64_t n)
{
	if (n == -EINTR || n == -EAGAIN)
		return false;
	if (n == -EINVAL && chunk->way == LSC_CHUNK_DIRECT) {
		atomic_store(&chunk->read->file->refused, true);
		chunk->way = LSC_CHUNK_OTHER;
		return false;
	}
	if (n <= 0) {
		chunk->result = n < 0 ? (int)n : -ENODATA;
		return true;
	}
	chunk->done += (uint32_t)n;
	return chunk->done == chunk->bytes;
}

void lsc_reader_file_read(struct lsc_chunk *chunk)
{
	bool over;

	do {
		uint32_t bytes;
		int fd = lsc_reader_file_fd(chunk, &bytes);
		ssize_t n;

		if (bytes == 0) {
			fd = chunk->read->file->fd;
			bytes = chunk->bytes - chunk->done;
		}
		n = pread(fd, chunk->to + chunk->done, bytes, (off_t)(chunk->offset + chunk->done));
		over = lsc_reader_file_took(chunk, n < 0 ? -errno : n);
	} while (!over);
}
