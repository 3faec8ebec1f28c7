/* The few macros everyone needs. */
#ifndef LSC_BASE_MACROS_H
#define LSC_BASE_MACROS_H

#include <stddef.h>
#include <stdint.h>

#define LSC_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define LSC_MIN(a, b)     ((a) < (b) ? (a) : (b))
#define LSC_MAX(a, b)     ((a) > (b) ? (a) : (b))

#define LSC_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Rounds up to a multiple of a power of two. */
static inline uint64_t lsc_align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

static inline uint64_t lsc_div_up(uint64_t value, uint64_t by)
{
	return value / by + (value % by != 0);
}

#endif
