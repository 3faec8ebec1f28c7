/* A request as its client wrote it (lsc-stream(5), REQUESTS AND ANSWERS), and the stream it comes
 * in.
 *
 * A stream of requests is JSON lines, or records that begin with a hello of kind "requests"; the
 * first byte tells which.
 */
#ifndef LSC_ROUTE_QUERY_H
#define LSC_ROUTE_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "model/chat.h"
#include "net/frame.h"
#include "stream/record.h"

#define LSC_QUERY_MAX_BYTES (16u << 20) /* of one request */

struct lsc_query {
	char *id;            /* as JSON: 12 or "a"; NULL where there is none */
	struct lsc_buf text; /* to encode: the prompt, or the chat in the model's format */
	bool special;        /* special tokens in it count as such */
	uint32_t limit;      /* of the answer's tokens */
	struct lsc_sampling sampling;
};

#define LSC_QUERY_INIT                                                                             \
	{                                                                                          \
		0                                                                                  \
	}

/* 1; 0 for a record that is no request and is skipped; or -EBADMSG, where the id is set if it
 * could be found, for whoever is to be told.  -EOPNOTSUPP for a chat with a model that has none. */
int lsc_query_parse(struct lsc_query *query, const char *json, size_t len,
		    const struct lsc_chat *chat, struct lsc_err *err);
void lsc_query_release(struct lsc_query *query);

/* --- the stream --- */

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
