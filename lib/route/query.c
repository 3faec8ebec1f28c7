/* query - a request from its JSON */
#include "route/query.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "stream/jansson.h"

/* --- a request --- */

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

static int take_ids(struct lsc_tokens *ids, const json_t *list, const char *what,
		    struct lsc_err *err)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (!json_is_integer(item) || json_integer_value(item) < 0 ||
		    json_integer_value(item) > UINT32_MAX)
			return lsc_err_set(err, EBADMSG, "%s holds what is no id", what);
		if (lsc_tokens_add(ids, (uint32_t)json_integer_value(item)) < 0)
			return lsc_err_set(err, ENOMEM, "no memory for a request");
	}
	return 0;
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
	query->encoded = json_is_array(prompt) && json_array_size(prompt) > 0;
	if (query->encoded)
		return take_ids(&query->ids, prompt, "prompt", err);
	if (json_is_array(messages) && json_array_size(messages) > 0)
		return render_chat(query, messages, chat, err);
	return lsc_err_set(err, EBADMSG,
			   "a prompt is a string or ids, messages are an array of some");
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

/* A whole number within bounds, or what is meant without it. */
static int get_int(const json_t *root, const char *key, int64_t min, int64_t max, int64_t absent,
		   int64_t *ret_value, struct lsc_err *err)
{
	const json_t *value = json_object_get(root, key);

	*ret_value = value ? json_integer_value(value) : absent;
	if (value && (!json_is_integer(value) || *ret_value < min || *ret_value > max))
		return lsc_err_set(err, EBADMSG, "%s is not a whole number from %lld to %lld", key,
				   (long long)min, (long long)max);
	return 0;
}

/* The name that is used of two for the same; both are one too many. */
static int choose(const json_t *root, const char *name, const char *older, const char **ret_name,
		  struct lsc_err *err)
{
	const json_t *old = json_object_get(root, older);

	if (old && json_object_get(root, name))
		return lsc_err_set(err, EBADMSG, "%s and %s say the same", name, older);
	*ret_name = old ? older : name;
	return 0;
}

static int take_limit(struct lsc_query *query, const json_t *root, struct lsc_err *err)
{
	const char *name = NULL;
	int64_t limit = 0;
	int r = choose(root, "max_tokens", "n", &name, err);

	if (r == 0)
		r = get_int(root, name, 1, INT64_MAX, UINT32_MAX, &limit, err);
	query->limit = (uint32_t)LSC_MIN(limit, UINT32_MAX);
	return r;
}

static int take_reals(struct lsc_sampling *sampling, const json_t *root, struct lsc_err *err)
{
	const char *name = NULL;
	double temp = 0, top_p = 1, min_p = 0, penalty = 1;
	int r = choose(root, "temperature", "temp", &name, err);

	if (r == 0)
		r = get_real(root, name, 0, LSC_SAMPLING_MAX_TEMP, 0, &temp, err);
	if (r == 0)
		r = get_real(root, "top_p", LSC_SAMPLING_MIN_TOP_P, 1, 1, &top_p, err);
	if (r == 0)
		r = get_real(root, "min_p", 0, 1, 0, &min_p, err);
	if (r == 0)
		r = get_real(root, "repetition_penalty", LSC_SAMPLING_MIN_PENALTY,
			     LSC_SAMPLING_MAX_PENALTY, 1, &penalty, err);
	sampling->temp = (float)temp;
	sampling->top_p = (float)top_p;
	sampling->min_p = (float)min_p;
	sampling->penalty = (float)penalty;
	return r;
}

static int take_sampling(struct lsc_query *query, const json_t *root, struct lsc_err *err)
{
	struct lsc_sampling *sampling = &query->sampling;
	int64_t seed = 0, top_k = 0, top = 0;
	int r = take_reals(sampling, root, err);

	if (r == 0)
		r = get_int(root, "seed", INT64_MIN, INT64_MAX, 0, &seed, err);
	if (r == 0) /* -1 is how some say that there is none */
		r = get_int(root, "top_k", -1, LSC_SAMPLING_MAX_TOP_K, 0, &top_k, err);
	if (r == 0)
		r = get_int(root, "logprobs", 0, LSC_SAMPLING_MAX_TOP, 0, &top, err);
	sampling->seed = (uint64_t)seed;
	sampling->top_k = top_k > 0 ? (uint32_t)top_k : 0;
	sampling->top = (uint32_t)top;
	sampling->logprobs = json_object_get(root, "logprobs") != NULL;
	return r;
}

static int add_stop(struct lsc_query *query, const json_t *stop, struct lsc_err *err)
{
	int r;

	if (!json_is_string(stop))
		return lsc_err_set(err, EBADMSG, "stop is not a string or an array of strings");
	r = lsc_stops_add(&query->stops, json_string_value(stop), json_string_length(stop), err);
	return r == -EINVAL ? lsc_err_set(err, EBADMSG, "%s", err->text) : r;
}

static int take_stops(struct lsc_query *query, const json_t *root, struct lsc_err *err)
{
	const json_t *stop = json_object_get(root, "stop");
	const json_t *ids = json_object_get(root, "stop_token_ids");
	size_t i;
	int r = 0;

	if (stop && !json_is_array(stop) && !json_is_null(stop))
		r = add_stop(query, stop, err);
	for (i = 0; r == 0 && i < json_array_size(stop); i++)
		r = add_stop(query, json_array_get(stop, i), err);
	if (r == 0 && ids && (!json_is_array(ids) || json_array_size(ids) > LSC_QUERY_MAX_STOP_IDS))
		r = lsc_err_set(err, EBADMSG, "stop_token_ids is not an array of at most %d",
				LSC_QUERY_MAX_STOP_IDS);
	return r < 0 ? r : take_ids(&query->stop_ids, ids, "stop_token_ids", err);
}

int lsc_query_parse(struct lsc_query *query, const char *json, size_t len,
		    const struct lsc_chat *chat, struct lsc_err *err)
{
	json_error_t error;
	LSC_CLEANUP(lsc_json_put) json_t *root = json_loadb(json, len, 0, &error);
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
		r = take_limit(query, root, err);
	if (r == 0)
		r = take_sampling(query, root, err);
	if (r == 0)
		r = take_stops(query, root, err);
	if (r == 0)
		r = take_text(query, root, chat, err);
	return r < 0 ? r : 1;
}

void lsc_query_release(struct lsc_query *query)
{
	free(query->id);
	lsc_buf_release(&query->text);
	lsc_tokens_release(&query->ids);
	lsc_stops_release(&query->stops);
	lsc_tokens_release(&query->stop_ids);
	*query = (struct lsc_query)LSC_QUERY_INIT;
}
