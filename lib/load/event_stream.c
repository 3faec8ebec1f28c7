/* event_stream - lines, fields and events of text/event-stream */
#include "load/event_stream.h"

#include <string.h>

#include "base/macros.h"

void lsc_event_stream_release(struct lsc_event_stream *stream)
{
	lsc_buf_release(&stream->line);
	lsc_buf_release(&stream->data);
}

void lsc_event_stream_reset(struct lsc_event_stream *stream)
{
	stream->line.len = stream->data.len = 0;
	stream->type[0] = 0;
	stream->has_data = stream->skip_lf = stream->begun = false;
}

/* Two data fields of a line each are a text of two lines. */
static int add_data(struct lsc_event_stream *stream, const char *value, size_t len,
		    struct lsc_err *err)
{
	int r = 0;

	if (stream->data.len + len >= LSC_EVENT_MAX_BYTES)
		return lsc_err_set(err, EBADMSG, "an event of more than %u bytes",
				   LSC_EVENT_MAX_BYTES);
	if (stream->has_data)
		r = lsc_buf_add(&stream->data, "\n", 1);
	if (!r)
		r = lsc_buf_add(&stream->data, value, len);
	stream->has_data = true;
	return r ? lsc_err_set(err, ENOMEM, "no memory for an event") : 0;
}

static int take_field(struct lsc_event_stream *stream, const char *line, size_t len,
		      struct lsc_err *err)
{
	const char *colon = memchr(line, ':', len);
	size_t name = colon ? (size_t)(colon - line) : len;
	const char *value = line + LSC_MIN(name + 1, len);
	size_t n = len - LSC_MIN(name + 1, len);

	if (n && *value == ' ') {
		value++;
		n--;
	}
	if (name == 4 && !memcmp(line, "data", 4))
		return add_data(stream, value, n, err);
	if (name == 5 && !memcmp(line, "event", 5)) {
		n = LSC_MIN(n, sizeof(stream->type) - 1);
		memcpy(stream->type, value, n);
		stream->type[n] = 0;
	}
	return 0;
}

static int dispatch(struct lsc_event_stream *stream, struct lsc_err *err)
{
	int r = 0;

	if (stream->has_data)
		r = stream->fn(stream->owner, stream->type, (const char *)stream->data.data,
			       stream->data.len, err);
	stream->data.len = 0;
	stream->has_data = false;
	stream->type[0] = 0;
	return r;
}

static int take_line(struct lsc_event_stream *stream, const char *line, size_t len,
		     struct lsc_err *err)
{
	if (!stream->begun && len >= 3 && !memcmp(line, "\xef\xbb\xbf", 3)) {
		line += 3;
		len -= 3;
	}
	stream->begun = true;
	if (!len)
		return dispatch(stream, err);
	return *line == ':' ? 0 : take_field(stream, line, len, err);
}

/* The bytes up to the next CR or LF. */
static size_t span(const char *bytes, size_t len)
{
	const char *lf = memchr(bytes, '\n', len);
	size_t n = lf ? (size_t)(lf - bytes) : len;
	const char *cr = memchr(bytes, '\r', n);

	return cr ? (size_t)(cr - bytes) : n;
}

int lsc_event_stream_feed(struct lsc_event_stream *stream, const void *bytes, size_t len,
			  struct lsc_err *err)
{
	const char *at = bytes, *end = at + len;
	int r = 0;

	while (at < end && !r) {
		size_t n;

		if (stream->skip_lf && *at == '\n')
			at++;
		stream->skip_lf = false;
		n = span(at, (size_t)(end - at));
		if (stream->line.len + n > LSC_EVENT_MAX_BYTES)
			return lsc_err_set(err, EBADMSG, "a line of more than %u bytes",
					   LSC_EVENT_MAX_BYTES);
		/* A line that lies here whole is taken from where it is. */
		if ((at + n == end || stream->line.len) && lsc_buf_add(&stream->line, at, n) < 0)
			return lsc_err_set(err, ENOMEM, "no memory for a line");
		if (at + n == end)
			return 0;
		stream->skip_lf = at[n] == '\r';
		if (stream->line.len)
			r = take_line(stream, (const char *)stream->line.data, stream->line.len,
				      err);
		else
			r = take_line(stream, at, n, err);
		stream->line.len = 0;
		at += n + 1;
	}
	return r;
}
