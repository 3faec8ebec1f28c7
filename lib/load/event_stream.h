/* Server-sent events from bytes, however they are cut.
 *
 * As the HTML standard's "Server-sent events" says (9.2.6, interpreting an event stream): lines end
 * with CR, LF or both; a line that begins with a colon is a comment; the values of several data
 * fields are lines of one text; an empty line dispatches it.  A byte order mark in front is
 * skipped.  Bytes are not checked to be UTF-8: whoever takes the text does that.  The fields id and
 * retry mean nothing to a reader that does not connect again.
 */
#ifndef LSC_LOAD_EVENT_STREAM_H
#define LSC_LOAD_EVENT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define LSC_EVENT_MAX_BYTES (1u << 20) /* of a line, and of an event's data */
#define LSC_EVENT_TYPE      32         /* longer types are cut */

/* One event: its type ("" where it has none) and data, which is 0-terminated and the stream's
 * until fn returns.  What fn returns other than 0 ends the feeding. */
typedef int lsc_event_fn(void *owner, const char *type, const char *data, size_t len,
			 struct lsc_err *err);

struct lsc_event_stream {
	lsc_event_fn *fn;
	void *owner;

	/* own */
	struct lsc_buf line, data;
	char type[LSC_EVENT_TYPE];
	bool has_data; /* a data field came, with a value or without */
	bool skip_lf;  /* the last byte was a CR */
	bool begun;    /* the first line is over: no byte order mark any more */
};

#define LSC_EVENT_STREAM_INIT(fn, owner)                                                           \
	{                                                                                          \
		(fn), (owner), LSC_BUF_INIT, LSC_BUF_INIT, "", false, false, false                 \
	}

void lsc_event_stream_release(struct lsc_event_stream *stream);

/* Forgets what came, and keeps its memory for the next stream. */
void lsc_event_stream_reset(struct lsc_event_stream *stream);

/* 0, what fn returned, -EBADMSG for a line or an event that is too long, -ENOMEM. */
int lsc_event_stream_feed(struct lsc_event_stream *stream, const void *bytes, size_t len,
			  struct lsc_err *err);

#endif
