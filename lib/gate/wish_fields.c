/* wish_fields - which keys a request may have, and what may be in a message */
#include "gate/wish_fields.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/macros.h"

/* Keys that the gate knows. */
enum where { BOTH, CHAT, TEXT };

struct known {
	const char *name;
	enum where where;
};

static const struct known known[] = {
	{"model", BOTH},
	{"prompt", TEXT},
	{"messages", CHAT},
	{"n", BOTH},
	{"best_of", TEXT},
	{"stream", BOTH},
	{"stream_options", BOTH},
	{"stop", BOTH},
	{"stop_token_ids", BOTH},
	{"seed", BOTH},
	{"logprobs", BOTH},
	{"top_logprobs", CHAT},
	{"max_tokens", BOTH},
	{"max_completion_tokens", CHAT},
	{"temperature", BOTH},
	{"top_p", BOTH},
	{"top_k", BOTH},
	{"min_p", BOTH},
	{"repetition_penalty", BOTH},
	{"echo", TEXT},
	/* These say who asks, or how to bill or to hurry, and change no answer. */
	{"user", BOTH},
	{"metadata", BOTH},
	{"store", BOTH},
	{"service_tier", BOTH},
	{"safety_identifier", BOTH},
	{"prompt_cache_key", BOTH},
	{"prompt_cache_retention", BOTH},
	{"prediction", CHAT},
	{"parallel_tool_calls", CHAT},
};

/* Keys that would change the answer in a way that no router knows; with these values they do not.
 */
struct neutral {
	const char *name;
	enum { IS_NUMBER, IS_FALSE, IS_TRUE, IS_EMPTY, IS_WORD, IS_TEXT } value;
	double number;
	const char *words;
};

static const struct neutral neutrals[] = {
	{"presence_penalty", IS_NUMBER, 0, NULL},
	{"frequency_penalty", IS_NUMBER, 0, NULL},
	{"length_penalty", IS_NUMBER, 1, NULL},
	{"min_tokens", IS_NUMBER, 0, NULL},
	{"logit_bias", IS_EMPTY, 0, NULL},
	{"suffix", IS_EMPTY, 0, NULL},
	{"tools", IS_EMPTY, 0, NULL},
	{"functions", IS_EMPTY, 0, NULL},
	{"tool_choice", IS_WORD, 0, " none auto "},
	{"function_call", IS_WORD, 0, " none auto "},
	{"verbosity", IS_WORD, 0, " medium "},
	{"reasoning_effort", IS_WORD, 0, " none "},
	{"response_format", IS_TEXT, 0, NULL},
	{"modalities", IS_TEXT, 0, NULL},
	{"audio", IS_EMPTY, 0, NULL},
	{"web_search_options", IS_EMPTY, 0, NULL},
	{"ignore_eos", IS_FALSE, 0, NULL},
	{"use_beam_search", IS_FALSE, 0, NULL},
	{"include_stop_str_in_output", IS_FALSE, 0, NULL},
	{"skip_special_tokens", IS_TRUE, 0, NULL},
	{"add_generation_prompt", IS_TRUE, 0, NULL},
};

static bool is_empty(const json_t *value)
{
	return (json_is_string(value) && json_string_length(value) == 0) ||
	       (json_is_array(value) && json_array_size(value) == 0) ||
	       (json_is_object(value) && json_object_size(value) == 0);
}

static bool is_word(const json_t *value, const char *words)
{
	char word[24];
	int n = snprintf(word, sizeof(word), " %s ",
			 json_is_string(value) ? json_string_value(value) : "?");

	return n < (int)sizeof(word) && strstr(words, word);
}

/* {"type":"text"}, or ["text"] */
static bool is_text(const json_t *value)
{
	if (json_is_array(value))
		return json_array_size(value) == 1 && is_word(json_array_get(value, 0), " text ");
	return is_word(json_object_get(value, "type"), " text ");
}

static bool is_neutral(const struct neutral *row, const json_t *value)
{
	switch (row->value) {
	case IS_NUMBER:
		return json_is_number(value) && json_number_value(value) == row->number;
	case IS_FALSE:
		return json_is_false(value);
	case IS_TRUE:
		return json_is_true(value);
	case IS_EMPTY:
		return is_empty(value);
	case IS_WORD:
		return is_word(value, row->words);
	default:
		return is_text(value);
	}
}

static int check_field(const char *name, const json_t *value, bool chat, struct lsc_fault *fault)
{
	for (size_t i = 0; i < LSC_ARRAY_SIZE(known); i++)
		if (!strcmp(known[i].name, name) && known[i].where != (chat ? TEXT : CHAT))
			return 0;
	if (json_is_null(value))
		return 0;
	for (size_t i = 0; i < LSC_ARRAY_SIZE(neutrals); i++) {
		if (strcmp(neutrals[i].name, name))
			continue;
		if (is_neutral(&neutrals[i], value))
			return 0;
		return lsc_fault_set(fault, 400, name, "unsupported_parameter",
				     "'%s' is not supported with this value", name);
	}
	return lsc_fault_set(fault, 400, name, "unknown_parameter",
			     "unrecognized request argument supplied: %s", name);
}

int lsc_wish_check_fields(const json_t *root, bool chat, struct lsc_fault *fault)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)root, name, value)
	{
		if (check_field(name, value, chat, fault) < 0)
			return -1;
	}
	return 0;
}

/* --- messages --- */

static int refuse(struct lsc_fault *fault, size_t number, const char *part, const char *code,
		  const char *what)
{
	char param[40];

	snprintf(param, sizeof(param), "messages[%zu].%s", number, part);
	return lsc_fault_set(fault, 400, param, code, "'%s' %s", param, what);
}

static int take_role(json_t *message, size_t number, struct lsc_fault *fault)
{
	const char *role = json_string_value(json_object_get(message, "role"));

	if (!role)
		return refuse(fault, number, "role", "invalid_value", "is missing");
	if (!strcmp(role, "developer")) /* what later models call it */
		return json_object_set_new(message, "role", json_string("system"));
	if (strcmp(role, "system") && strcmp(role, "user") && strcmp(role, "assistant"))
		return refuse(fault, number, "role", "unsupported_value",
			      "is not system, developer, user or assistant");
	return 0;
}

/* Content in parts, all of them text. */
static int join_parts(json_t *message, const json_t *parts, size_t number, struct lsc_fault *fault)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	const json_t *part, *piece;
	size_t i;

	json_array_foreach(parts, i, part)
	{
		piece = json_object_get(part, "text");
		if (!is_word(json_object_get(part, "type"), " text ") || !json_is_string(piece))
			return refuse(fault, number, "content", "unsupported_value",
				      "has a part that is no text");
		if (lsc_buf_add(&text, json_string_value(piece), json_string_length(piece)) < 0)
			return lsc_fault_set(fault, 500, NULL, NULL, "out of memory");
	}
	return json_object_set_new(message, "content",
				   json_stringn(text.len ? (const char *)text.data : "", text.len));
}

int lsc_wish_message(json_t *message, size_t number, struct lsc_fault *fault)
{
	static const char *const calls[] = {"tool_calls", "function_call", "audio", "tool_call_id"};
	const json_t *content = json_object_get(message, "content");

	if (take_role(message, number, fault) < 0)
		return -1;
	for (size_t i = 0; i < LSC_ARRAY_SIZE(calls); i++) {
		const json_t *call = json_object_get(message, calls[i]);

		if (call && !json_is_null(call) && !is_empty(call))
			return refuse(fault, number, calls[i], "unsupported_value",
				      "is not supported");
	}
	if (json_is_string(content))
		return 0;
	if (json_is_array(content))
		return join_parts(message, content, number, fault);
	return refuse(fault, number, "content", "invalid_value",
		      "is neither a string nor an array of text parts");
}
