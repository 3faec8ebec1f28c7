/* runs - one range of memory made of parts of files
 *
 * The range is reserved first, without access, and runs are mapped over it: so nobody else's
 * mapping can come to lie between two of them, and one munmap() takes all of it.  It ends at a
 * multiple of a large page, because files of such pages are mapped and unmapped in whole ones.
 */
#include "base/runs.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/macros.h"

int lsc_runs_check(const struct lsc_run *runs, size_t n, uint64_t bytes, struct lsc_err *err)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = 0;

	if (bytes > INT64_MAX / 2)
		return lsc_err_set(err, EBADMSG, "a range of %llu bytes is too long",
				   (unsigned long long)bytes);
	for (size_t i = 0; i < n; i++) {
		const struct lsc_run *run = &runs[i];

		if (run->offset < end || run->offset > bytes || run->bytes == 0 ||
		    run->bytes > bytes - run->offset)
			return lsc_err_set(err, EBADMSG, "run %zu is not in its place", i);
		end = run->offset + run->bytes;
		if (run->offset % page || run->fd_offset % page || (end % page && end != bytes))
			return lsc_err_set(err, EBADMSG, "run %zu is not made of whole pages", i);
		if (run->fd_offset > INT64_MAX / 2)
			return lsc_err_set(err, EBADMSG, "run %zu lies behind any file's end", i);
	}
	return 0;
}

int lsc_runs_check_whole(const struct lsc_run *runs, size_t n, uint64_t bytes, struct lsc_err *err)
{
	uint64_t end = 0;
	int r = lsc_runs_check(runs, n, bytes, err);

	for (size_t i = 0; r == 0 && i < n; end = runs[i].offset + runs[i].bytes, i++)
		if (runs[i].offset != end)
			r = lsc_err_set(err, EBADMSG, "nothing lies at %llu to %llu",
					(unsigned long long)end,
					(unsigned long long)runs[i].offset);
	if (r == 0 && end != bytes)
		r = lsc_err_set(err, EBADMSG, "nothing lies at %llu to %llu",
				(unsigned long long)end, (unsigned long long)bytes);
	return r;
}

/* What a mapping must be aligned to is said by nothing but a larger one, cut at both ends. */
int lsc_runs_reserve(uint64_t bytes, uint8_t **ret_data)
{
	uint64_t whole = lsc_align_up(bytes, LSC_RUNS_ALIGN), before;
	uint8_t *at;

	if (bytes > INT64_MAX / 2)
		return -EINVAL;
	*ret_data = NULL;
	if (bytes == 0)
		return 0;
	at = mmap(NULL, whole + LSC_RUNS_ALIGN, PROT_NONE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return -errno;
	before = lsc_align_up((uintptr_t)at, LSC_RUNS_ALIGN) - (uintptr_t)at;
	if (before)
		munmap(at, before);
	if (before < LSC_RUNS_ALIGN)
		munmap(at + before + whole, LSC_RUNS_ALIGN - before);
	*ret_data = at + before;
	return 0;
}

int lsc_runs_put(uint8_t *data, const struct lsc_run *run, int prot)
{
	void *at = mmap(data + run->offset, run->bytes, prot, MAP_SHARED | MAP_FIXED, run->fd,
			(off_t)run->fd_offset);

	return at == MAP_FAILED ? -errno : 0;
}

int lsc_runs_map(const struct lsc_run *runs, size_t n, uint64_t bytes, int prot, uint8_t **ret_data,
		 struct lsc_err *err)
{
	uint8_t *data;
	int r = lsc_runs_check(runs, n, bytes, err);

	if (r < 0)
		return r;
	r = lsc_runs_reserve(bytes, &data);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot map %llu bytes: %m", (unsigned long long)bytes);
	for (size_t i = 0; i < n; i++) {
		r = lsc_runs_put(data, &runs[i], prot);
		if (r == 0)
			continue;
		lsc_runs_unmap(data, bytes);
		return lsc_err_set(err, -r, "cannot map run %zu of %llu bytes: %m", i,
				   (unsigned long long)runs[i].bytes);
	}
	if (data) /* what has none says so, and is as good as before */
		madvise(data, bytes, MADV_HUGEPAGE);
	*ret_data = data;
	return 0;
}

void lsc_runs_unmap(void *data, uint64_t bytes)
{
	if (data)
		munmap(data, lsc_align_up(bytes, LSC_RUNS_ALIGN));
}
