/* Counts a test's allocations: its own malloc() and its like, which all of the process uses, call
 * count_allocation() of the file that includes this.  SANITIZED: a sanitizer has its own allocator,
 * and nothing is counted.
 */
#ifndef LSC_TESTS_ALLOCATIONS_H
#define LSC_TESTS_ALLOCATIONS_H

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED
static void count_allocation(void);

/* glibc's own, under the names that it has for those who replace the others. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *at);

void *malloc(size_t size)
{
	count_allocation();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	count_allocation();
	return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	count_allocation();
	return __libc_realloc(old, size);
}

void *memalign(size_t align, size_t size)
{
	count_allocation();
	return __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	count_allocation();
	return __libc_memalign(align, size);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
	count_allocation();
	*ret = __libc_memalign(align, size);
	return *ret ? 0 : ENOMEM;
}

void free(void *at)
{
	if (at)
		count_allocation();
	__libc_free(at);
}
#endif

#endif
