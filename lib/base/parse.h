/* Numbers with units, as people type them. */
#ifndef LSC_BASE_PARSE_H
#define LSC_BASE_PARSE_H

#include <stdint.h>

#include "base/err.h"

/* A whole decimal number from min to max. */
int lsc_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value,
		   struct lsc_err *err);

/* A finite decimal number from min to max. */
int lsc_parse_real(const char *text, double min, double max, double *ret_value,
		   struct lsc_err *err);

/* Bytes: "64M", "1.5G", "4096"; K M G T are powers of 1024. */
int lsc_parse_size(const char *text, uint64_t *ret_bytes, struct lsc_err *err);

/* Bytes a second: "25M/s", "25M" (powers of 1024), or bits: "200mbit", "1gbit" (of 1000). */
int lsc_parse_rate(const char *text, double *ret_bytes_per_s, struct lsc_err *err);

/* "250ms", "2s", "1.5", "3min"; plain numbers are seconds. */
int lsc_parse_duration(const char *text, double *ret_seconds, struct lsc_err *err);

#endif
