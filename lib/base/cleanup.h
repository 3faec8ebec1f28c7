/* Locals that clean themselves up when their scope ends.
 *
 *	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
 *	LSC_CLEANUP_FREE char *name = NULL;
 *	LSC_CLEANUP_FD int fd = -1;
 *
 * The release function gets the variable's address and must accept the initial state.
 */
#ifndef LSC_BASE_CLEANUP_H
#define LSC_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define LSC_CLEANUP(fn)  __attribute__((cleanup(fn)))
#define LSC_CLEANUP_FREE __attribute__((cleanup(lsc_cleanup_free)))
#define LSC_CLEANUP_FD   __attribute__((cleanup(lsc_cleanup_fd)))

static inline void lsc_cleanup_free(void *ptr)
{
	free(*(void **)ptr);
}

static inline void lsc_cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#endif
