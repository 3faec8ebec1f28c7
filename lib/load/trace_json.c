/* trace_json - rows of Mooncake's traces: a JSON object a line */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "load/trace.h"
#include "stream/jansson.h"

static int take_count(const json_t *root, const char *key, uint64_t *ret_value, struct lsc_err *err)
{
	const json_t *value = json_object_get(root, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return lsc_err_set(err, EBADMSG, "no %s that is a number of tokens", key);
	*ret_value = (uint64_t)json_integer_value(value);
	return 0;
}

static int take_time(const json_t *root, int64_t *ret_ns, struct lsc_err *err)
{
	const json_t *value = json_object_get(root, "timestamp");
	double ms = json_number_value(value);

	if (!json_is_number(value) || !(ms >= 0 && ms < 5e12))
		return lsc_err_set(err, EBADMSG, "no timestamp that is a number of milliseconds");
	*ret_ns = llround(ms * 1e6);
	return 0;
}

static int reserve_blocks(struct lsc_trace *trace, size_t n, struct lsc_err *err)
{
	size_t room = LSC_MAX(trace->room_blocks, 4096u);
	uint64_t *blocks;

	if (n > LSC_TRACE_MAX_BLOCKS - trace->n_blocks)
		return lsc_err_set(err, EBADMSG, "more than %u hash_ids in all",
				   LSC_TRACE_MAX_BLOCKS);
	while (room < trace->n_blocks + n)
		room *= 2;
	if (room == trace->room_blocks)
		return 0;
	blocks = realloc(trace->blocks, room * sizeof(*blocks));
	if (!blocks)
		return lsc_err_set(err, ENOMEM, "no memory for %zu hash_ids", room);
	trace->blocks = blocks;
	trace->room_blocks = (uint32_t)room;
	return 0;
}

/* The ids of the last row. */
static int take_blocks(struct lsc_trace *trace, const json_t *ids, struct lsc_err *err)
{
	size_t n = json_array_size(ids);
	int r = reserve_blocks(trace, n, err);

	for (size_t i = 0; i < n && !r; i++) {
		const json_t *id = json_array_get(ids, i);

		if (!json_is_integer(id))
			return lsc_err_set(err, EBADMSG, "hash_ids that are not whole numbers");
		trace->blocks[trace->n_blocks + i] = (uint64_t)json_integer_value(id);
	}
	if (r < 0)
		return r;
	trace->rows[trace->n - 1].n_blocks = (uint32_t)n;
	trace->n_blocks += (uint32_t)n;
	return 1;
}

int lsc_trace_json_row(struct lsc_trace *trace, const char *line, size_t len, struct lsc_err *err)
{
	json_error_t error;
	LSC_CLEANUP(lsc_json_put)
	json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	const json_t *ids = json_object_get(root, "hash_ids");
	uint64_t prompt = 0, output = 0;
	int64_t at_ns = 0;
	int r;

	if (!root)
		return lsc_err_set(err, EBADMSG, "not JSON: %.80s", error.text);
	if (!json_is_object(root) || (ids && !json_is_array(ids)))
		return lsc_err_set(err, EBADMSG, "%s",
				   ids ? "hash_ids are not an array" : "not a JSON object");
	if ((r = take_time(root, &at_ns, err)) < 0 ||
	    (r = take_count(root, "input_length", &prompt, err)) < 0 ||
	    (r = take_count(root, "output_length", &output, err)) < 0 ||
	    (r = lsc_trace_put(trace, at_ns, prompt, output, err)) <= 0)
		return r;
	return take_blocks(trace, ids, err);
}
