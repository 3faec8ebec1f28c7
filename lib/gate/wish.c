/* wish - what is asked for, from a request's JSON */
#include "gate/wish.h"

#include <math.h>
#include <string.h>

#include "base/macros.h"
#include "base/sampling.h"
#include "gate/wish_fields.h"

#define MAX_STOPS    16 /* lsc-stream(5) */
#define MAX_STOP_LEN 1024
#define MAX_STOP_IDS 256
#define MAX_TOKENS   UINT32_MAX

void lsc_wish_release(struct lsc_wish *wish)
{
	json_decref(wish->root);
	*wish = (struct lsc_wish)LSC_WISH_INIT;
}

static int wrong(struct lsc_fault *fault, const char *name, const char *want)
{
	return lsc_fault_set(fault, 400, name, "invalid_value", "'%s' is not %s", name, want);
}

/* A key's value; NULL for null too. */
static const json_t *get(const struct lsc_wish *wish, const char *name)
{
	const json_t *value = json_object_get(wish->root, name);

	return json_is_null(value) ? NULL : value;
}

static int get_bool(const struct lsc_wish *wish, const char *name, bool *ret,
		    struct lsc_fault *fault)
{
	const json_t *value = get(wish, name);

	if (value && !json_is_boolean(value))
		return wrong(fault, name, "true or false");
	*ret = json_is_true(value);
	return 0;
}

static int get_int(const struct lsc_wish *wish, const char *name, int64_t min, int64_t max,
		   int64_t *ret, struct lsc_fault *fault)
{
	const json_t *value = get(wish, name);
	int64_t number = json_integer_value(value);

	if (!value)
		return 0;
	if (!json_is_integer(value) || number < min || number > max)
		return lsc_fault_set(fault, 400, name, "invalid_value",
				     "'%s' is not a whole number from %lld to %lld", name,
				     (long long)min, (long long)max);
	*ret = number;
	return 0;
}

static int get_real(const struct lsc_wish *wish, const char *name, double min, double max,
		    double *ret, struct lsc_fault *fault)
{
	const json_t *value = get(wish, name);
	double number = json_number_value(value);

	if (!value)
		return 0;
	if (!json_is_number(value) || !(number >= min && number <= max))
		return lsc_fault_set(fault, 400, name, "invalid_value",
				     "'%s' is not a number from %g to %g", name, min, max);
	*ret = number;
	return 0;
}

/* --- prompts --- */

static int check_ids(const json_t *ids, const char *name, size_t max, struct lsc_fault *fault)
{
	const json_t *item;
	size_t i;

	if (json_array_size(ids) > max)
		return lsc_fault_set(fault, 400, name, "invalid_value",
				     "'%s' has more than %zu tokens", name, max);
	json_array_foreach(ids, i, item)
	{
		if (!json_is_integer(item) || json_integer_value(item) < 0 ||
		    json_integer_value(item) > UINT32_MAX)
			return wrong(fault, name, "made of token ids");
	}
	return 0;
}

static int check_prompt(const json_t *prompt, struct lsc_fault *fault)
{
	if (json_is_string(prompt) && json_string_length(prompt) > 0)
		return 0;
	if (json_array_size(prompt) > 0)
		return check_ids(prompt, "prompt", SIZE_MAX, fault);
	return wrong(fault, "prompt",
		     "a string, or an array of strings or of token ids, none empty");
}

/* A string, token ids, or an array of either. */
static int take_prompts(struct lsc_wish *wish, struct lsc_fault *fault)
{
	const json_t *prompt = get(wish, "prompt"), *first = json_array_get(prompt, 0);
	bool several = json_is_string(first) || json_is_array(first);
	int r = 0;

	if (!prompt)
		return lsc_fault_set(fault, 400, "prompt", "missing_required_parameter",
				     "you must provide a 'prompt'");
	wish->prompts = prompt;
	wish->n_prompts =
		several ? (uint32_t)LSC_MIN(json_array_size(prompt), (size_t)UINT32_MAX) : 1;
	if (wish->n_prompts > LSC_WISH_MAX_CHOICES)
		return lsc_fault_set(fault, 400, "prompt", "invalid_value",
				     "'prompt' has more than %d prompts", LSC_WISH_MAX_CHOICES);
	if (!several)
		return check_prompt(prompt, fault);
	for (uint32_t i = 0; r == 0 && i < wish->n_prompts; i++)
		r = check_prompt(json_array_get(prompt, i), fault);
	return r;
}

static int take_messages(struct lsc_wish *wish, struct lsc_fault *fault)
{
	json_t *messages = json_object_get(wish->root, "messages"), *message;
	size_t i;

	if (!messages || json_is_null(messages))
		return lsc_fault_set(fault, 400, "messages", "missing_required_parameter",
				     "you must provide 'messages'");
	if (!json_is_array(messages) || json_array_size(messages) == 0 ||
	    json_array_size(messages) > LSC_WISH_MAX_MESSAGES)
		return wrong(fault, "messages", "an array of messages");
	json_array_foreach(messages, i, message)
	{
		if (lsc_wish_message(message, i, fault) < 0)
			return -1;
	}
	wish->n_prompts = 1;
	return 0;
}

/* --- what else is asked for --- */

static int take_stops(struct lsc_wish *wish, struct lsc_fault *fault)
{
	const json_t *stop = get(wish, "stop"), *ids = get(wish, "stop_token_ids");
	size_t n = json_is_array(stop) ? json_array_size(stop) : stop != NULL;

	if (n > MAX_STOPS)
		return lsc_fault_set(fault, 400, "stop", "invalid_value",
				     "'stop' has more than %d strings", MAX_STOPS);
	for (size_t i = 0; i < n; i++) {
		const json_t *one = json_is_array(stop) ? json_array_get(stop, i) : stop;

		if (!json_is_string(one) || json_string_length(one) == 0 ||
		    json_string_length(one) > MAX_STOP_LEN)
			return lsc_fault_set(
				fault, 400, "stop", "invalid_value",
				"'stop' is not a string of 1 to %d bytes, or an array of such",
				MAX_STOP_LEN);
	}
	if (ids && !json_is_array(ids))
		return wrong(fault, "stop_token_ids", "an array of token ids");
	return check_ids(ids, "stop_token_ids", MAX_STOP_IDS, fault);
}

static int take_limit(struct lsc_wish *wish, struct lsc_fault *fault)
{
	int64_t newer = 0;

	if (get_int(wish, "max_tokens", 1, MAX_TOKENS, &wish->max_tokens, fault) < 0 ||
	    get_int(wish, "max_completion_tokens", 1, MAX_TOKENS, &newer, fault) < 0)
		return -1;
	if (newer && wish->max_tokens && newer != wish->max_tokens)
		return lsc_fault_set(fault, 400, "max_completion_tokens", "invalid_value",
				     "'max_tokens' and 'max_completion_tokens' differ");
	if (newer)
		wish->max_tokens = newer;
	if (!wish->chat && !wish->max_tokens)
		wish->max_tokens = LSC_WISH_COMPLETION_TOKENS;
	return 0;
}

static int take_sampling(struct lsc_wish *wish, struct lsc_fault *fault)
{
	wish->temperature = wish->top_p = wish->penalty = 1;
	wish->seeded = get(wish, "seed") != NULL;
	if (get_real(wish, "temperature", 0, LSC_SAMPLING_MAX_TEMP, &wish->temperature, fault) <
		    0 ||
	    get_real(wish, "top_p", 0, 1, &wish->top_p, fault) < 0 ||
	    get_real(wish, "min_p", 0, 1, &wish->min_p, fault) < 0 ||
	    get_real(wish, "repetition_penalty", LSC_SAMPLING_MIN_PENALTY, LSC_SAMPLING_MAX_PENALTY,
		     &wish->penalty, fault) < 0 ||
	    get_int(wish, "top_k", -1, LSC_SAMPLING_MAX_TOP_K, &wish->top_k, fault) < 0 ||
	    get_int(wish, "seed", INT64_MIN, INT64_MAX, &wish->seed, fault) < 0)
		return -1;
	if (wish->top_p < LSC_SAMPLING_MIN_TOP_P) /* 0: the likeliest alone */
		wish->top_p = LSC_SAMPLING_MIN_TOP_P;
	return 0;
}

/* A chat has a boolean and a count, a completion a count alone. */
static int take_logprobs(struct lsc_wish *wish, struct lsc_fault *fault)
{
	int64_t top = -1;
	int r;

	if (!wish->chat) {
		r = get_int(wish, "logprobs", 0, LSC_SAMPLING_MAX_TOP, &top, fault);
		wish->logprobs = top >= 0;
	} else {
		r = get_bool(wish, "logprobs", &wish->logprobs, fault);
		if (r == 0)
			r = get_int(wish, "top_logprobs", 0, LSC_SAMPLING_MAX_TOP, &top, fault);
		if (r == 0 && top > 0 && !wish->logprobs)
			return lsc_fault_set(fault, 400, "top_logprobs", "invalid_value",
					     "'top_logprobs' wants 'logprobs'");
	}
	wish->top = (uint32_t)LSC_MAX(top, 0);
	return r;
}

static int take_stream(struct lsc_wish *wish, struct lsc_fault *fault)
{
	const json_t *options = get(wish, "stream_options");
	const json_t *usage = json_object_get(options, "include_usage");

	if (get_bool(wish, "stream", &wish->stream, fault) < 0)
		return -1;
	if (!options)
		return 0;
	if (!json_is_object(options) || (usage && !json_is_boolean(usage)))
		return wrong(fault, "stream_options", "an object with include_usage, a boolean");
	if (!wish->stream)
		return lsc_fault_set(fault, 400, "stream_options", "invalid_value",
				     "'stream_options' wants 'stream'");
	wish->usage = json_is_true(usage);
	return 0;
}

static int take_choices(struct lsc_wish *wish, struct lsc_fault *fault)
{
	int64_t n = 1, best_of;

	if (get_int(wish, "n", 1, LSC_WISH_MAX_N, &n, fault) < 0)
		return -1;
	best_of = n;
	if (!wish->chat && get_int(wish, "best_of", 1, LSC_WISH_MAX_N, &best_of, fault) < 0)
		return -1;
	if (best_of != n)
		return lsc_fault_set(fault, 400, "best_of", "unsupported_parameter",
				     "'best_of' other than 'n' is not supported");
	wish->n = (uint32_t)n;
	wish->n_choices = wish->n * wish->n_prompts;
	if (wish->n_choices > LSC_WISH_MAX_CHOICES)
		return lsc_fault_set(fault, 400, "n", "invalid_value", "more than %d choices",
				     LSC_WISH_MAX_CHOICES);
	return 0;
}

/* The prompt's own text is known here, its tokens are not. */
static int take_echo(struct lsc_wish *wish, struct lsc_fault *fault)
{
	size_t len;

	if (wish->chat || get_bool(wish, "echo", &wish->echo, fault) < 0)
		return wish->chat ? 0 : -1;
	if (wish->echo && wish->logprobs)
		return lsc_fault_set(fault, 400, "echo", "unsupported_parameter",
				     "'echo' together with 'logprobs' is not supported");
	for (uint32_t i = 0; wish->echo && i < wish->n_choices; i++)
		if (!lsc_wish_prompt(wish, i, &len))
			return lsc_fault_set(fault, 400, "echo", "unsupported_parameter",
					     "'echo' of token ids is not supported");
	return 0;
}

static int take_all(struct lsc_wish *wish, struct lsc_fault *fault)
{
	static int (*const steps[])(struct lsc_wish *, struct lsc_fault *) = {
		take_limit,  take_sampling, take_stops, take_logprobs,
		take_stream, take_choices,  take_echo,
	};
	const json_t *model = get(wish, "model");

	if (model && !json_is_string(model))
		return wrong(fault, "model", "a string");
	wish->model = json_string_value(model);
	if (lsc_wish_check_fields(wish->root, wish->chat, fault) < 0)
		return -1;
	if ((wish->chat ? take_messages : take_prompts)(wish, fault) < 0)
		return -1;
	for (size_t i = 0; i < LSC_ARRAY_SIZE(steps); i++)
		if (steps[i](wish, fault) < 0)
			return -1;
	return 0;
}

int lsc_wish_parse(struct lsc_wish *wish, bool chat, const char *json, size_t len,
		   struct lsc_fault *fault)
{
	json_error_t error;

	*wish = (struct lsc_wish){.chat = chat, .root = json_loadb(json, len, 0, &error)};
	if (!wish->root)
		return lsc_fault_set(fault, 400, NULL, "invalid_json",
				     "the body is no JSON: line %d: %s", error.line, error.text);
	if (!json_is_object(wish->root))
		return lsc_fault_set(fault, 400, NULL, "invalid_json",
				     "the body is no JSON object");
	return take_all(wish, fault);
}

/* --- as a record --- */

static const json_t *prompt_of(const struct lsc_wish *wish, uint32_t choice)
{
	const json_t *first = json_array_get(wish->prompts, 0);

	return json_is_string(first) || json_is_array(first)
		       ? json_array_get(wish->prompts, choice / wish->n)
		       : wish->prompts;
}

const char *lsc_wish_prompt(const struct lsc_wish *wish, uint32_t choice, size_t *ret_len)
{
	const json_t *prompt = wish->chat ? NULL : prompt_of(wish, choice);

	*ret_len = json_string_length(prompt);
	return json_string_value(prompt);
}

static void pack_text(struct lsc_pack *pack, const char *key, const json_t *text)
{
	lsc_pack_strn(pack, key, json_string_value(text), json_string_length(text));
}

static void pack_ids(struct lsc_pack *pack, const char *key, const json_t *ids)
{
	const json_t *item;
	size_t i;

	lsc_pack_array(pack, key, (uint32_t)json_array_size(ids));
	json_array_foreach(ids, i, item)
		lsc_pack_uint(pack, NULL, (uint64_t)json_integer_value(item));
}

static void pack_messages(struct lsc_pack *pack, const json_t *messages)
{
	const json_t *message;
	size_t i;

	lsc_pack_array(pack, "messages", (uint32_t)json_array_size(messages));
	json_array_foreach(messages, i, message)
	{
		lsc_pack_map(pack, NULL, 2);
		pack_text(pack, "role", json_object_get(message, "role"));
		pack_text(pack, "content", json_object_get(message, "content"));
	}
}

static void pack_stops(struct lsc_pack *pack, const json_t *stop, const json_t *ids)
{
	const json_t *item;
	size_t i;

	if (json_is_string(stop))
		pack_text(pack, "stop", stop);
	if (json_array_size(stop)) {
		lsc_pack_array(pack, "stop", (uint32_t)json_array_size(stop));
		json_array_foreach(stop, i, item) pack_text(pack, NULL, item);
	}
	if (json_array_size(ids))
		pack_ids(pack, "stop_token_ids", ids);
}

int lsc_wish_pack(const struct lsc_wish *wish, uint32_t choice, uint64_t id, uint64_t seed,
		  struct lsc_pack *pack)
{
	const json_t *prompt = wish->chat ? NULL : prompt_of(wish, choice);

	if (wish->seeded)
		seed = (uint64_t)wish->seed;
	lsc_pack_begin(pack, "request");
	lsc_pack_uint(pack, "id", id);
	if (wish->chat)
		pack_messages(pack, json_object_get(wish->root, "messages"));
	else if (json_is_string(prompt))
		pack_text(pack, "prompt", prompt);
	else
		pack_ids(pack, "prompt", prompt);
	if (wish->max_tokens)
		lsc_pack_uint(pack, "max_tokens", (uint64_t)wish->max_tokens);
	lsc_pack_real(pack, "temperature", wish->temperature);
	lsc_pack_real(pack, "top_p", wish->top_p);
	if (wish->min_p > 0)
		lsc_pack_real(pack, "min_p", wish->min_p);
	if (wish->penalty != 1)
		lsc_pack_real(pack, "repetition_penalty", wish->penalty);
	if (wish->top_k > 0)
		lsc_pack_uint(pack, "top_k", (uint64_t)wish->top_k);
	lsc_pack_uint(pack, "seed", (seed + choice % wish->n) & INT64_MAX);
	if (wish->logprobs)
		lsc_pack_uint(pack, "logprobs", wish->top);
	pack_stops(pack, get(wish, "stop"), get(wish, "stop_token_ids"));
	return lsc_pack_end(pack);
}
