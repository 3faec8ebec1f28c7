/* Runs of files, side by side as one range of memory.
 *
 * A range may lie in several files: the blocks of an image in the files of others that have the
 * same ones (base/shares.h), or each in a file of its own.  Mapped it is one contiguous range,
 * which begins at a multiple of LSC_RUNS_ALIGN, so that runs that do in their files as well can
 * have large pages; lsc_runs_unmap() ends all of it at once.
 */
#ifndef LSC_BASE_RUNS_H
#define LSC_BASE_RUNS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LSC_RUNS_ALIGN (2ull << 20)

struct lsc_run {
	uint64_t offset, bytes; /* in the range; whole pages, but for the range's last */
	int fd;                 /* borrowed; a mapping needs it no longer */
	uint64_t fd_offset;     /* a multiple of a page */
};

/* Whether runs are in order, apart, at pages and within a range of bytes: -EBADMSG.  And whether
 * they leave nothing of it out. */
int lsc_runs_check(const struct lsc_run *runs, size_t n, uint64_t bytes, struct lsc_err *err);
int lsc_runs_check_whole(const struct lsc_run *runs, size_t n, uint64_t bytes, struct lsc_err *err);

/* Maps runs, which are checked, to their places (MAP_SHARED, with prot); what is between them
 * cannot be touched.  A run that ends behind its file's end is mapped, and a SIGBUS to who reads
 * there: who does not know the files looks first.  *ret_data is NULL for a range of no bytes. */
int lsc_runs_map(const struct lsc_run *runs, size_t n, uint64_t bytes, int prot, uint8_t **ret_data,
		 struct lsc_err *err);
void lsc_runs_unmap(void *data, uint64_t bytes); /* of any range below, too; NULL is fine */

/* The same step by step, for who does not have all files open at once: a range that cannot be
 * touched, and a run of it. */
int lsc_runs_reserve(uint64_t bytes, uint8_t **ret_data);
int lsc_runs_put(uint8_t *data, const struct lsc_run *run, int prot);

#endif
