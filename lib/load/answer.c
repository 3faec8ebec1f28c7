/* answer - what the chunks of a streamed answer say */
#include "load/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "stream/jansson.h"

static int on_event(void *owner, const char *type, const char *data, size_t len,
		    struct lsc_err *err);

void lsc_answer_init(struct lsc_answer *answer, struct lsc_digest *gaps)
{
	*answer = (struct lsc_answer){
		.events = LSC_EVENT_STREAM_INIT(on_event, answer),
		.gaps = gaps,
	};
}

void lsc_answer_release(struct lsc_answer *answer)
{
	lsc_event_stream_release(&answer->events);
	lsc_hasher_free(answer->hasher);
	answer->hasher = NULL;
}

void lsc_answer_reset(struct lsc_answer *answer)
{
	lsc_event_stream_reset(&answer->events);
	answer->first_ns = answer->last_ns = 0;
	if (answer->chunks && answer->hasher)
		lsc_hasher_end(answer->hasher);
	answer->chunks = answer->prompt_tokens = answer->output_tokens = 0;
	answer->done = answer->has_usage = false;
}

/* Takes the text of an object: whether there was some; -ENOMEM. */
static int take_text(struct lsc_answer *answer, const json_t *object)
{
	static const char *const keys[] = {"text", "content", "reasoning_content", "reasoning"};
	bool any = json_array_size(json_object_get(object, "tool_calls")) > 0;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(keys); i++) {
		const json_t *text = json_object_get(object, keys[i]);
		size_t len = json_string_length(text);

		if (!len)
			continue;
		if (!answer->hasher && !(answer->hasher = lsc_hasher_new()))
			return -ENOMEM;
		lsc_hasher_add(answer->hasher, json_string_value(text), len);
		any = true;
	}
	return any;
}

static uint32_t count_of(const json_t *usage, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(usage, key));

	return value > 0 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

/* The words of {"error": "..."} or {"error": {"message": "..."}} or {"message": "..."}. */
static const char *error_words(const json_t *root)
{
	const json_t *error = json_object_get(root, "error");

	if (json_is_object(error))
		root = error;
	else if (json_is_string(error))
		return json_string_value(error);
	return json_string_value(json_object_get(root, "message"));
}

static void count_chunk(struct lsc_answer *answer)
{
	if (!answer->chunks++)
		answer->first_ns = answer->now_ns;
	else if (answer->gaps)
		lsc_digest_add(answer->gaps, answer->now_ns - answer->last_ns);
	answer->last_ns = answer->now_ns;
}

static int take_chunk(struct lsc_answer *answer, const json_t *root, struct lsc_err *err)
{
	const json_t *choices = json_object_get(root, "choices");
	const json_t *usage = json_object_get(root, "usage");
	const json_t *error = json_object_get(root, "error");
	const char *words = error_words(root);

	if (error && !json_is_null(error))
		return lsc_err_set(err, EREMOTEIO, "the server failed: %.200s",
				   words ? words : "no reason given");
	if (!json_is_array(choices) && !json_is_object(usage))
		return lsc_err_set(err, EBADMSG, "an event without choices");
	for (size_t i = 0; i < json_array_size(choices); i++) {
		const json_t *choice = json_array_get(choices, i);
		int r = take_text(answer, choice);

		if (r == 0)
			r = take_text(answer, json_object_get(choice, "delta"));
		if (r < 0)
			return lsc_err_set(err, -r, "no memory for an answer");
		if (r > 0) {
			count_chunk(answer);
			break;
		}
	}
	if (json_is_object(usage)) {
		answer->has_usage = true;
		answer->prompt_tokens = count_of(usage, "prompt_tokens");
		answer->output_tokens = count_of(usage, "completion_tokens");
	}
	return 0;
}

static int on_event(void *owner, const char *type, const char *data, size_t len,
		    struct lsc_err *err)
{
	struct lsc_answer *answer = owner;
	json_error_t error;
	LSC_CLEANUP(lsc_json_put) json_t *root = NULL;

	if (answer->done)
		return 0;
	if (len == 6 && !memcmp(data, "[DONE]", 6)) {
		answer->done = true;
		return 0;
	}
	root = json_loadb(data, len, JSON_ALLOW_NUL, &error); /* a token may be any byte */
	if (!strcmp(type, "error"))
		return lsc_err_set(err, EREMOTEIO, "the server failed: %.200s",
				   error_words(root) ? error_words(root) : "no reason given");
	if (!json_is_object(root))
		return lsc_err_set(err, EBADMSG, "an event that is not a JSON object");
	return take_chunk(answer, root, err);
}

int lsc_answer_feed(struct lsc_answer *answer, uint64_t now_ns, const void *bytes, size_t len,
		    struct lsc_err *err)
{
	answer->now_ns = now_ns;
	return answer->done ? 0 : lsc_event_stream_feed(&answer->events, bytes, len, err);
}

bool lsc_answer_hash(struct lsc_answer *answer, struct lsc_hash *ret_hash)
{
	if (!answer->chunks || !answer->hasher)
		return false;
	*ret_hash = lsc_hasher_end(answer->hasher);
	return true;
}

void lsc_answer_error_text(const char *body, size_t len, char *text, size_t size)
{
	LSC_CLEANUP(lsc_json_put) json_t *root = json_loadb(body, len, 0, NULL);
	const char *words = error_words(root);

	if (words)
		snprintf(text, size, "%s", words);
	else
		snprintf(text, size, "%.*s", (int)LSC_MIN(len, size), len ? body : "");
	text[strcspn(text, "\r\n")] = 0;
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
}

int lsc_answer_model(const char *body, size_t len, char **ret_model, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_json_put) json_t *root = json_loadb(body, len, 0, NULL);
	const json_t *first = json_array_get(json_object_get(root, "data"), 0);
	const char *id = json_string_value(json_object_get(first, "id"));

	if (!id || !*id)
		return lsc_err_set(err, EBADMSG, "no model in its list");
	*ret_model = strdup(id);
	return *ret_model ? 0 : lsc_err_set(err, ENOMEM, "%m");
}
