/* bad_read - a library that makes reads of a place in a file fail, as a disk does that has gone bad
 *
 *	LD_PRELOAD=build/release/bad_read.so LSC_BAD_READ=/model.lsc/image:4096 LSC_READER=pread ...
 *
 * Reads (pread, preadv2 and their like) of a file whose path ends in what stands before the last
 * colon end with EIO where they touch that byte.  What is read through a mapping or by io_uring
 *does not come by here.  Under AddressSanitizer: ASAN_OPTIONS=verify_asan_link_order=0.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static bool is_bad(int fd, size_t len, long long offset)
{
	const char *what = getenv("LSC_BAD_READ"), *colon = what ? strrchr(what, ':') : NULL;
	char link[40], path[4096];
	long long at;
	ssize_t n;

	if (!colon)
		return false;
	at = atoll(colon + 1);
	if (at < offset || (unsigned long long)(at - offset) >= len)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path));
	if (n < colon - what || memcmp(path + n - (colon - what), what, (size_t)(colon - what)))
		return false;
	errno = EIO;
	return true;
}

static size_t length(const struct iovec *parts, int n)
{
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += parts[i].iov_len;
	return len;
}

/* With 64-bit offsets libc's headers give these the names with 64 at the end. */
EXPORT ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
	return is_bad(fd, len, offset) ? -1 : syscall(SYS_pread64, fd, data, len, offset);
}

EXPORT ssize_t preadv2(int fd, const struct iovec *parts, int n, off_t offset, int flags)
{
	return is_bad(fd, length(parts, n), offset)
		       ? -1
		       : syscall(SYS_preadv2, fd, parts, n, offset, 0L, flags);
}

EXPORT ssize_t preadv(int fd, const struct iovec *parts, int n, off_t offset)
{
	return preadv2(fd, parts, n, offset, 0);
}
