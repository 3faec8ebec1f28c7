/* A request as its client wrote it (lsc-stream(5), REQUESTS AND ANSWERS): JSON, every number in it
 * within bounds.
 */
#ifndef LSC_ROUTE_QUERY_H
#define LSC_ROUTE_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/sampling.h"
#include "model/chat.h"
#include "model/stop.h"
#include "model/tokenizer.h"

#define LSC_QUERY_MAX_BYTES    (16u << 20) /* of one request */
#define LSC_QUERY_MAX_STOP_IDS 256

struct lsc_query {
	char *id;            /* as JSON: 12 or "a"; NULL where there is none */
	struct lsc_buf text; /* to encode: the prompt, or the chat in the model's format */
	bool special;        /* special tokens in it count as such */
	bool encoded;        /* it came as ids: */
	struct lsc_tokens ids;
	uint32_t limit; /* of the answer's tokens */
	struct lsc_sampling sampling;
	struct lsc_stops stops;     /* strings that end it */
	struct lsc_tokens stop_ids; /* and tokens */
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

#endif
