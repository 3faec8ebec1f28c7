/* The stream that requests come in: JSON lines, or records that begin with a hello of kind
 * "requests"; the first byte tells which.
 */
#ifndef LSC_ROUTE_INTAKE_H
#define LSC_ROUTE_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "route/query.h"
#include "stream/record.h"

struct lsc_intake {
	struct lsc_buf buf;
	size_t used; /* of buf */
	enum { LSC_INTAKE_NEW, LSC_INTAKE_LINES, LSC_INTAKE_RECORDS } form;
	bool greeted;  /* the records' hello came */
	bool skipping; /* the rest of a line that is too long */
	struct lsc_record record;
	struct lsc_buf json; /* of a record */
};

#define LSC_INTAKE_INIT                                                                            \
	{                                                                                          \
		0                                                                                  \
	}

/* Room for len more bytes, and how many came; NULL when out of memory. */
uint8_t *lsc_intake_room(struct lsc_intake *intake, size_t len);
void lsc_intake_came(struct lsc_intake *intake, size_t len);

/* The next request: 1, with its JSON until the next call; 0 when more bytes are needed (at the
 * end: when there are no more); -EMSGSIZE for one that is too long, after which the others go on;
 * -EBADMSG, -EPROTO or -ENOMEM where the stream cannot go on. */
int lsc_intake_next(struct lsc_intake *intake, bool at_end, const char **ret_json, size_t *ret_len,
		    struct lsc_err *err);
void lsc_intake_release(struct lsc_intake *intake);

#endif
