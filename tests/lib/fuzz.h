/* What fuzz targets of records share: a claim that must hold, and a record read back. */
#ifndef LSC_TESTS_FUZZ_H
#define LSC_TESTS_FUZZ_H

#include <stdbool.h>
#include <stdlib.h>

#include "stream/record.h"

static inline void check(bool good)
{
	if (!good)
		abort();
}

static inline void reparse(struct lsc_record *record, const struct lsc_pack *pack)
{
	check(lsc_record_parse(record, pack->buf.data, pack->buf.len, NULL) ==
	      (ssize_t)pack->buf.len);
}

#endif
