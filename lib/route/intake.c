/* intake - a stream of requests, JSON lines or records: one form inside */
#include "route/intake.h"

#include <string.h>

#include "base/cleanup.h"
#include "stream/json.h"

uint8_t *lsc_intake_room(struct lsc_intake *intake, size_t len)
{
	lsc_buf_consume(&intake->buf, intake->used);
	intake->used = 0;
	if (lsc_buf_reserve(&intake->buf, len) < 0)
		return NULL;
	return intake->buf.data + intake->buf.len;
}

void lsc_intake_came(struct lsc_intake *intake, size_t len)
{
	intake->buf.len += len;
}

void lsc_intake_release(struct lsc_intake *intake)
{
	lsc_buf_release(&intake->buf);
	lsc_buf_release(&intake->json);
	lsc_record_release(&intake->record);
	*intake = (struct lsc_intake)LSC_INTAKE_INIT;
}

static bool is_blank(const uint8_t *line, size_t len)
{
	while (len && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r'))
		len--;
	return len == 0;
}

/* One line: 1, 0 where it is blank or the rest of one that was too long, -EMSGSIZE. */
static int take_line(struct lsc_intake *intake, const uint8_t *line, size_t len, bool whole,
		     struct lsc_err *err)
{
	bool skipped = intake->skipping;

	intake->skipping = !whole;
	if (skipped || (whole && is_blank(line, len)))
		return 0;
	if (len > LSC_QUERY_MAX_BYTES)
		return lsc_err_set(err, EMSGSIZE, "a request of more than %u bytes",
				   LSC_QUERY_MAX_BYTES);
	return 1;
}

static int next_line(struct lsc_intake *intake, bool at_end, const char **ret_json, size_t *ret_len,
		     struct lsc_err *err)
{
	int r = 0;

	while (r == 0 && intake->used < intake->buf.len) {
		const uint8_t *line = intake->buf.data + intake->used;
		size_t left = intake->buf.len - intake->used;
		const uint8_t *end = memchr(line, '\n', left);
		size_t len = end ? (size_t)(end - line) : left;

		if (!end && !at_end && len <= LSC_QUERY_MAX_BYTES)
			break;
		intake->used += len + (end != NULL);
		r = take_line(intake, line, len, end || at_end, err);
		*ret_json = (const char *)line;
		*ret_len = len;
	}
	return r;
}

static int next_record(struct lsc_intake *intake, bool at_end, const char **ret_json,
		       size_t *ret_len, struct lsc_err *err)
{
	for (;;) {
		const uint8_t *data = intake->buf.data + intake->used;
		size_t left = intake->buf.len - intake->used;
		ssize_t n = left ? lsc_record_parse(&intake->record, data, left, err) : 0;
		int r;

		if (n == 0 && left && at_end)
			return lsc_err_set(err, EBADMSG, "the requests end inside a record");
		if (n <= 0)
			return (int)n;
		intake->used += (size_t)n;
		if (!intake->greeted) {
			r = lsc_record_hello(&intake->record, "requests", err);
			if (r < 0)
				return r;
			intake->greeted = true;
			continue;
		}
		if (lsc_record_get(&intake->record, "body"))
			return lsc_err_set(err, EBADMSG, "a request has no body");
		intake->json.len = 0;
		r = lsc_json_write(data, (size_t)n, &intake->json, err);
		*ret_json = (const char *)intake->json.data;
		*ret_len = intake->json.len;
		return r < 0 ? r : 1;
	}
}

/* A record is a msgpack map; no line of JSON begins with such a byte. */
static bool begins_record(uint8_t byte)
{
	return (byte & 0xf0) == 0x80 || byte == 0xde || byte == 0xdf;
}

int lsc_intake_next(struct lsc_intake *intake, bool at_end, const char **ret_json, size_t *ret_len,
		    struct lsc_err *err)
{
	if (intake->used == intake->buf.len)
		return 0;
	if (intake->form == LSC_INTAKE_NEW)
		intake->form = begins_record(intake->buf.data[intake->used]) ? LSC_INTAKE_RECORDS
									     : LSC_INTAKE_LINES;
	return intake->form == LSC_INTAKE_RECORDS
		       ? next_record(intake, at_end, ret_json, ret_len, err)
		       : next_line(intake, at_end, ret_json, ret_len, err);
}
