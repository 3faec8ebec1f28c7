/* query - requests from bytes: JSON lines or records, one form inside */
#include "route/query.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "stream/json.h"

/* --- a request --- */

static void put_json(json_t **json)
{
	json_decref(*json);
}

static int take_id(struct lsc_query *query, const json_t *root, struct lsc_err *err)
{
	const json_t *id = json_object_get(root, "id");

	if (!json_is_string(id) && !json_is_number(id))
		return lsc_err_set(err, EBADMSG,
				   "a request has no id, or one that is neither number "
				   "nor string");
	query->id = json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT);
	return query->id ? 0 : lsc_err_set(err, ENOMEM, "no memory for a request");
}

static int render_chat(struct lsc_query *query, const json_t *messages, const struct lsc_chat *chat,
		       struct lsc_err *err)
{
	size_t n = json_array_size(messages);
	LSC_CLEANUP_FREE struct lsc_chat_message *list = calloc(n + 1, sizeof(*list));

	if (!list)
		return lsc_err_set(err, ENOMEM, "no memory for %zu messages", n);
	for (size_t i = 0; i < n; i++) {
		const json_t *message = json_array_get(messages, i);

		list[i].role = json_string_value(json_object_get(message, "role"));
		list[i].content = json_string_value(json_object_get(message, "content"));
		if (!list[i].role || !list[i].content)
			return lsc_err_set(err, EBADMSG, "message %zu has no role or no content",
					   i);
	}
	query->special = true;
	return lsc_chat_render(chat, list, n, &query->text, err);
}

static int take_text(struct lsc_query *query, const json_t *root, const struct lsc_chat *chat,
		     struct lsc_err *err)
{
	const json_t *prompt = json_object_get(root, "prompt");
	const json_t *messages = json_object_get(root, "messages");

	if (!prompt == !messages)
		return lsc_err_set(err, EBADMSG, "a request has a prompt or messages");
	if (json_is_string(prompt))
		return lsc_buf_add(&query->text, json_string_value(prompt),
				   json_string_length(prompt)) < 0
			       ? lsc_err_set(err, ENOMEM, "no memory for a prompt")
			       : 0;
	if (json_is_array(messages) && json_array_size(messages) > 0)
		return render_chat(query, messages, chat, err);
	return lsc_err_set(err, EBADMSG, "a prompt is a string, messages are an array of some");
}

/* A number within bounds, or what is meant without it. */
static int get_real(const json_t *root, const char *key, double min, double max, double absent,
		    double *ret_value, struct lsc_err *err)
{
	const json_t *value = json_object_get(root, key);
	const json_t *narrow = json_object_get(value, "$f32"); /* of a record */
	double real;

	value = narrow ? narrow : value;
	real = value ? json_number_value(value) : absent;

	if (value && (!json_is_number(value) || !(real >= min && real <= max)))
		return lsc_err_set(err, EBADMSG, "%s is not a number from %g to %g", key, min, max);
	*ret_value = real;
	return 0;
}

static int take_sampling(struct lsc_query *query, const json_t *root, struct lsc_err *err)
{
	const json_t *n = json_object_get(root, "n"), *seed = json_object_get(root, "seed");
	double temp, top_p;
	int r = get_real(root, "temp", 0, 1000, 0, &temp, err);

	if (r == 0)
		r = get_real(root, "top_p", 1e-6, 1, 1, &top_p, err);
	if (r < 0)
		return r;
	if (n && (!json_is_integer(n) || json_integer_value(n) < 1))
		return lsc_err_set(err, EBADMSG, "n is not a whole number from 1 on");
	if (seed && !json_is_integer(seed))
		return lsc_err_set(err, EBADMSG, "seed is not a whole number");
	query->limit = n ? (uint32_t)LSC_MIN(json_integer_value(n), UINT32_MAX) : UINT32_MAX;
	query->sampling =
		(struct lsc_sampling){.temp = (float)temp,
				      .top_p = (float)top_p,
				      .seed = seed ? (uint64_t)json_integer_value(seed) : 0};
	return 0;
}

int lsc_query_parse(struct lsc_query *query, const char *json, size_t len,
		    const struct lsc_chat *chat, struct lsc_err *err)
{
	json_error_t error;
	LSC_CLEANUP(put_json) json_t *root = json_loadb(json, len, 0, &error);
	const json_t *type = json_object_get(root, "type");
	int r;

	*query = (struct lsc_query)LSC_QUERY_INIT;
	if (!root)
		return lsc_err_set(err, EBADMSG, "a request is no JSON: %s", error.text);
	if (!json_is_object(root))
		return lsc_err_set(err, EBADMSG, "a request is no JSON object");
	if (type && !json_is_string(type))
		return lsc_err_set(err, EBADMSG, "a request's type is no string");
	if (type && strcmp(json_string_value(type), "request"))
		return 0;
	r = take_id(query, root, err);
	if (r == 0)
		r = take_sampling(query, root, err);
	if (r == 0)
		r = take_text(query, root, chat, err);
	return r < 0 ? r : 1;
}

void lsc_query_release(struct lsc_query *query)
{
	free(query->id);
	lsc_buf_release(&query->text);
	*query = (struct lsc_query)LSC_QUERY_INIT;
}

/* --- the stream --- */

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
