/* lines - whole streams to JSON lines and back, a bounded part of them at a time */
#include "stream/lines.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "stream/json.h"
#include "stream/record.h"

#define READ_BYTES  65536
#define FLUSH_BYTES 65536
#define BODY_OPEN   "{\"$bin\":\""

static int flush(struct lsc_buf *buf, int fd, struct lsc_err *err)
{
	int r = lsc_write_full(fd, buf->data, buf->len);

	buf->len = 0;
	return r < 0 ? lsc_err_set(err, -r, "cannot write: %m") : 0;
}

/* --- records to lines --- */

struct writer {
	struct lsc_reader reader;
	struct lsc_buf lines;
	int out;
	uint64_t records, bytes; /* before reader.buf */
};

static void writer_release(struct writer *writer)
{
	lsc_reader_release(&writer->reader);
	lsc_buf_release(&writer->lines);
}

static int more_records(struct writer *writer, struct lsc_err *err)
{
	int r = flush(&writer->lines, writer->out, err);
	ssize_t n;

	if (r < 0)
		return r;
	writer->bytes += writer->reader.used;
	n = lsc_reader_fill(&writer->reader, err);
	return n < 0 ? n : n > 0;
}

/* Hellos say whether this program can know what follows. */
static int check_hello(const struct lsc_record *record, struct lsc_err *err)
{
	char kind[33];

	if (!lsc_record_is(record, "hello"))
		return 0;
	if (lsc_record_text(record, "kind", kind, sizeof(kind), err) < 0)
		return -EBADMSG;
	return lsc_record_hello(record, kind, err);
}

/* A body's header may come in pieces as well. */
static int body_head(struct writer *writer, struct lsc_err *err)
{
	int n;

	while ((n = lsc_reader_body(&writer->reader, err)) == 0) {
		int r = more_records(writer, err);

		if (r <= 0)
			return r ? r : lsc_err_set(err, EBADMSG, "the stream ends before a body");
	}
	return LSC_MIN(n, 0);
}

static int write_body(struct writer *writer, struct lsc_err *err)
{
	struct lsc_reader *reader = &writer->reader;
	int r = body_head(writer, err);

	if (r == 0 && lsc_buf_add_str(&writer->lines, BODY_OPEN) < 0)
		r = lsc_err_set(err, ENOMEM, "%m");
	while (r == 0 && reader->body_left) {
		size_t have = LSC_MIN(reader->body_left, reader->buf.len - reader->used);

		if (have < reader->body_left)
			have -= have % 3;
		if (have &&
		    lsc_base64_encode(reader->buf.data + reader->used, have, &writer->lines) < 0)
			return lsc_err_set(err, ENOMEM, "%m");
		reader->used += have;
		reader->body_left -= have;
		if (reader->body_left == 0)
			break;
		r = more_records(writer, err);
		if (r == 0)
			return lsc_err_set(err, EBADMSG, "the stream ends inside a body");
		r = LSC_MIN(r, 0);
	}
	if (r == 0 && lsc_buf_add_str(&writer->lines, "\"}\n") < 0)
		r = lsc_err_set(err, ENOMEM, "%m");
	return r;
}

/* The next record in the buffer as a line: 1, 0 when more bytes are needed, or an error. */
static int write_record(struct writer *writer, struct lsc_err *err)
{
	struct lsc_reader *reader = &writer->reader;
	size_t start = reader->used;
	int r = lsc_reader_parse(reader, err);

	if (r <= 0)
		return r;
	r = check_hello(&reader->record, err);
	if (r == 0)
		r = lsc_json_write(reader->buf.data + start, reader->used - start, &writer->lines,
				   err);
	if (r == 0 && lsc_buf_add_str(&writer->lines, "\n") < 0)
		r = lsc_err_set(err, ENOMEM, "%m");
	if (r == 0 && reader->announced)
		r = write_body(writer, err);
	writer->records++;
	return r ? r : 1;
}

int lsc_lines_from_records(int in, int out, struct lsc_err *err)
{
	LSC_CLEANUP(writer_release) struct writer writer = {.out = out};
	struct lsc_err at = LSC_ERR_INIT;
	int r = 1;

	lsc_reader_init(&writer.reader, in);
	while (r > 0) {
		uint64_t start = writer.bytes + writer.reader.used, record = writer.records + 1;

		r = write_record(&writer, &at);
		if (r == 0)
			r = more_records(&writer, &at);
		else if (r > 0 && writer.lines.len >= FLUSH_BYTES)
			r = LSC_MIN(flush(&writer.lines, out, &at), 0) ?: 1;
		if (r == 0 && writer.reader.buf.len)
			r = lsc_err_set(&at, EBADMSG, "the stream ends inside a record");
		if (r == -EBADMSG || r == -EPROTO) {
			flush(&writer.lines, out, NULL);
			lsc_err_prefix(&at, "record %" PRIu64 " at byte %" PRIu64 ": ", record,
				       start);
		}
	}
	if (r < 0)
		lsc_err_set(err, at.code, "%s", at.text);
	return r;
}

/* --- lines to records --- */

struct lines {
	int in, out;
	struct lsc_buf text; /* read and not yet taken */
	size_t used;
	bool eof;
	uint64_t number; /* of the line being taken */
	struct lsc_buf records;
	struct lsc_record record;
	uint64_t body; /* announced by the last record */
	bool has_body;
};

static void lines_release(struct lines *lines)
{
	lsc_buf_release(&lines->text);
	lsc_buf_release(&lines->records);
	lsc_record_release(&lines->record);
}

/* Reads once: 1, or 0 at the end. */
static int more_text(struct lines *lines, struct lsc_err *err)
{
	int r = flush(&lines->records, lines->out, err);
	ssize_t n;

	if (r < 0 || lines->eof)
		return r;
	lsc_buf_consume(&lines->text, lines->used);
	lines->used = 0;
	if (lsc_buf_reserve(&lines->text, READ_BYTES) < 0)
		return lsc_err_set(err, ENOMEM, "%m");
	do
		n = read(lines->in, lines->text.data + lines->text.len, READ_BYTES);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return lsc_err_set(err, errno, "cannot read: %m");
	lines->text.len += n;
	lines->eof = n == 0;
	return n > 0;
}

/* The next line without its end: 1, or 0 at the end.  It stays until the next call. */
static int next_line(struct lines *lines, const char **ret_line, size_t *ret_len,
		     struct lsc_err *err)
{
	size_t seen = 0;

	for (;;) {
		size_t left = lines->text.len - lines->used;
		const char *start = left ? (const char *)lines->text.data + lines->used : "";
		const char *end = left > seen ? memchr(start + seen, '\n', left - seen) : NULL;
		int r;

		if (end || (lines->eof && left)) {
			*ret_line = start;
			*ret_len = end ? (size_t)(end - start) : left;
			lines->used += *ret_len + (end != NULL);
			return 1;
		}
		if (left > LSC_LINE_MAX_BYTES)
			return lsc_err_set(err, EBADMSG, "longer than %u bytes",
					   LSC_LINE_MAX_BYTES);
		seen = left;
		r = more_text(lines, err);
		if (r < 0 || (r == 0 && lines->text.len == lines->used))
			return r;
	}
}

static bool is_blank(const char *line, size_t len)
{
	while (len && strchr(" \t\r", line[len - 1]) && line[len - 1])
		len--;
	return len == 0;
}

static int put_record(struct lines *lines, const char *line, size_t len, struct lsc_err *err)
{
	size_t start = lines->records.len;
	int r = lsc_json_read(line, len, &lines->records, err);
	ssize_t n;

	if (r < 0)
		return r;
	n = lsc_record_parse(&lines->record, lines->records.data + start,
			     lines->records.len - start, err);
	if (n <= 0) {
		lines->records.len = start;
		return n ? n : lsc_err_set(err, EBADMSG, "over a limit of lsc-stream(5)");
	}
	lines->has_body = lsc_record_get(&lines->record, "body");
	if (!lines->has_body)
		return 0;
	r = lsc_record_uint(&lines->record, "body", LSC_BODY_MAX_BYTES, &lines->body, err);
	if (r < 0)
		lines->records.len = start;
	return r;
}

/* Takes one character, reading on where needed: 1, or 0 when the line has another next. */
static int take_char(struct lines *lines, char want, struct lsc_err *err)
{
	while (lines->used == lines->text.len) {
		int r = more_text(lines, err);

		if (r <= 0)
			return r;
	}
	if (lines->text.data[lines->used] != want)
		return 0;
	lines->used++;
	return 1;
}

/* Takes all of a text, white space before each of its characters allowed. */
static int take_text(struct lines *lines, const char *want, const char *space, struct lsc_err *err)
{
	for (; *want; want++) {
		int r = 0;

		for (const char *c = space; *c; c++) {
			r = take_char(lines, *c, err);
			if (r < 0)
				return r;
			if (r > 0)
				c = space - 1;
		}
		r = take_char(lines, *want, err);
		if (r < 0)
			return r;
		if (r == 0)
			return lsc_err_set(err, EBADMSG, "the body {\"$bin\":\"...\"} expected");
	}
	return 0;
}

/* The body's base64 up to the quote behind it, as much at a time as was read. */
static int put_body_bytes(struct lines *lines, uint64_t len, struct lsc_err *err)
{
	while (len) {
		const char *start = (const char *)lines->text.data + lines->used;
		size_t want = LSC_BASE64_BYTES(len);
		size_t have = LSC_MIN(lines->text.len - lines->used, want), before;
		int r;

		have -= have % 4;
		if (have == 0) {
			r = more_text(lines, err);
			if (r <= 0)
				return r ? r : lsc_err_set(err, EBADMSG, "the body is cut short");
			continue;
		}
		before = lines->records.len;
		r = lsc_base64_decode(start, have, &lines->records);
		if (r < 0)
			return lsc_err_set(err, -r,
					   r == -EBADMSG ? "the body is not base64 of "
							   "the length announced"
							 : "%m");
		lines->used += have;
		if (lines->records.len - before > len ||
		    (have < want && lines->records.len - before != have / 4 * 3))
			return lsc_err_set(err, EBADMSG,
					   "the body has another length than announced");
		len -= lines->records.len - before;
	}
	return 0;
}

/* Nothing more in this line. */
static int end_line(struct lines *lines, struct lsc_err *err)
{
	int r = take_text(lines, "\n", " \t\r", err);

	if (r < 0 && lines->eof && lines->used == lines->text.len)
		return 0;
	return r == -EBADMSG ? lsc_err_set(err, EBADMSG, "more than one value") : r;
}

static int put_body(struct lines *lines, struct lsc_err *err)
{
	uint8_t header[5];
	int r = take_text(lines, BODY_OPEN, " \t\r", err);

	lines->has_body = false;
	if (r < 0)
		return r;
	if (lsc_buf_add(&lines->records, header, lsc_body_header(header, lines->body)) < 0)
		return lsc_err_set(err, ENOMEM, "%m");
	r = put_body_bytes(lines, lines->body, err);
	if (r == 0)
		r = take_text(lines, "\"", "", err);
	if (r == 0)
		r = take_text(lines, "}", " \t\r", err);
	return r ? r : end_line(lines, err);
}

/* One line, or the body that follows it: 1, 0 at the end, or an error. */
static int step(struct lines *lines, struct lsc_err *err)
{
	const char *line = "";
	size_t len = 0;
	int r;

	lines->number++;
	if (lines->has_body) {
		r = put_body(lines, err);
		return r ? r : 1;
	}
	r = next_line(lines, &line, &len, err);
	if (r <= 0 || is_blank(line, len))
		return r;
	r = put_record(lines, line, len, err);
	return r ? r : 1;
}

int lsc_lines_to_records(int in, int out, struct lsc_err *err)
{
	LSC_CLEANUP(lines_release) struct lines lines = {.in = in, .out = out};
	struct lsc_err at = LSC_ERR_INIT;
	int r;

	do {
		r = step(&lines, &at);
		if (r > 0 && lines.records.len >= FLUSH_BYTES)
			r = LSC_MIN(flush(&lines.records, out, &at), 0) ?: 1;
	} while (r > 0);
	if (r == -EBADMSG || r == -EPROTO) {
		flush(&lines.records, out, NULL);
		lsc_err_prefix(&at, "line %" PRIu64 ": ", lines.number);
	}
	if (r < 0)
		lsc_err_set(err, at.code, "%s", at.text);
	return r;
}
