/* What a cast costs the process that takes part in it. */
#ifndef LSC_CAST_USAGE_H
#define LSC_CAST_USAGE_H

#include <stdint.h>

/* Seconds of processor time that this process has used, in all its threads. */
double lsc_usage_cpu_s(void);

/* Bytes of memory that are its own: what it maps of files is not. */
uint64_t lsc_usage_memory(void);

#endif
