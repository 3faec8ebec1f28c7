/* Answers in the shape of the OpenAI API: each is JSON, and has every byte of the text. */
#include "gate/reply.h"

#include <string.h>

#include <jansson.h>

#include "allocations.h"
#include "base/cleanup.h"
#include "gate/escape.h"
#include "tap.h"

static unsigned allocations; /* none are counted under a sanitizer */

#ifndef SANITIZED
static void count_allocation(void)
{
	allocations++;
}
#endif

static struct lsc_wish wish;
static struct lsc_reply reply;
static struct lsc_buf out;

static void begin(bool chat, const char *json)
{
	struct lsc_fault fault;

	out.len = 0;
	ok(lsc_wish_parse(&wish, chat, json, strlen(json), &fault) == 0 &&
		   lsc_reply_init(&reply, &wish, "id-1", "a \"model\"", 12) == 0,
	   "%.50s", json);
	if (wish.stream)
		lsc_reply_begin(&reply, &out);
}

static void end(void)
{
	lsc_reply_release(&reply);
	lsc_wish_release(&wish);
}

static int token(uint32_t choice, const char *text)
{
	struct lsc_news_token news = {.text = {text, (uint32_t)strlen(text)}};

	return lsc_reply_token(&reply, choice, &news, &out);
}

static int done(uint32_t choice, const char *rest)
{
	const struct lsc_news_done news = {"stop", {rest, (uint32_t)strlen(rest)}, 3, 5, 4};

	return lsc_reply_done(&reply, choice, &news, &out);
}

/* One event's JSON, or NULL at the end. */
static json_t *next_event(const char **at)
{
	const char *stop = strstr(*at, "\n\n");
	json_t *json;

	if (!stop || strncmp(*at, "data: {", 7))
		return NULL;
	json = json_loadb(*at + 6, (size_t)(stop - *at - 6), 0, NULL);
	*at = stop + 2;
	return json;
}

static void test_whole(void)
{
	json_t *root, *choice;

	begin(false, "{\"prompt\":\"p\",\"n\":2,\"echo\":true}");
	token(1, "b\n\x01");
	token(0, "a\"\\\xff");
	is_int(done(1, "!"), 0, "one of two is done");
	is_int(token(1, "late"), 0, "what comes after is left out");
	is_int(done(1, "!"), 0, "so is its end, twice");
	is_int(done(0, ""), 1, "both are");
	root = json_loadb((char *)out.data, out.len, 0, NULL);
	choice = json_array_get(json_object_get(root, "choices"), 1);
	is_str(json_string_value(json_object_get(choice, "text")), "pb\n\x01!", "the text");
	choice = json_array_get(json_object_get(root, "choices"), 0);
	is_str(json_string_value(json_object_get(choice, "text")), "pa\"\\\xef\xbf\xbd",
	       "what is no UTF-8 is replaced");
	is_str(json_string_value(json_object_get(root, "model")), "a \"model\"", "the model");
	is_int(json_integer_value(json_object_get(json_object_get(root, "usage"), "total_tokens")),
	       11, "a prompt counts once, answers each");
	is_int(json_integer_value(json_object_get(
		       json_object_get(json_object_get(root, "usage"), "prompt_tokens_details"),
		       "cached_tokens")),
	       4, "as does what of it was there");
	json_decref(root);
	end();
}

static void test_stream(void)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	unsigned events = 0, allocated;
	const char *at;
	json_t *event, *delta;

	begin(true, "{\"messages\":[{\"role\":\"user\",\"content\":\"c\"}],\"stream\":true,"
		    "\"stream_options\":{\"include_usage\":true}}");
	token(0, "a ");
	token(0, "");
	lsc_buf_reserve(&out, 65536);
	allocated = allocations;
	for (int i = 0; i < 100; i++)
		token(0, "\xe2\x82\xac\n");
	is_int(allocations - allocated, 0, "a token allocates nothing");
	is_int(done(0, "z"), 1, "done");
	at = (const char *)out.data;
	while ((event = next_event(&at))) {
		delta = json_object_get(json_array_get(json_object_get(event, "choices"), 0),
					"delta");
		if (json_object_get(delta, "content"))
			lsc_buf_add_str(&text,
					json_string_value(json_object_get(delta, "content")));
		events++;
		json_decref(event);
	}
	is_int(events, 1 + 1 + 100 + 1 + 1 + 1,
	       "role, text, rest, reason, usage; none without text");
	is_str(at, "data: [DONE]\n\n", "the end");
	ok(text.len == 2 + 400 + 1 && !memcmp(text.data, "a \xe2\x82\xac\n", 6) &&
		   text.data[text.len - 1] == 'z',
	   "the text");
	end();
}

static void test_logprobs(void)
{
	struct lsc_news_token news = {.text = {"", 0},
				      .logprobs = true,
				      .logprob = -0.5,
				      .own = {"\xef\xbf\xbd", 3},
				      .n_top = 2,
				      .top = {{{"a", 1}, -0.5}, {{"a", 1}, -1}}};
	const char *at;
	json_t *event, *logprobs;

	begin(false, "{\"prompt\":\"p\",\"logprobs\":2,\"stream\":true}");
	lsc_reply_token(&reply, 0, &news, &out);
	at = (const char *)out.data;
	event = next_event(&at);
	logprobs =
		json_object_get(json_array_get(json_object_get(event, "choices"), 0), "logprobs");
	is_int(json_object_size(json_array_get(json_object_get(logprobs, "top_logprobs"), 0)), 1,
	       "of two of the same text the likelier is told");
	json_decref(event);
	end();
	begin(true, "{\"messages\":[{\"role\":\"user\",\"content\":\"c\"}],\"logprobs\":true}");
	lsc_reply_token(&reply, 0, &news, &out);
	news.own = (struct lsc_news_text){"\xe2\x82\xac", 3};
	lsc_reply_token(&reply, 0, &news, &out);
	done(0, "");
	event = json_loadb((char *)out.data, out.len, 0, NULL);
	logprobs = json_object_get(
		json_object_get(json_array_get(json_object_get(event, "choices"), 0), "logprobs"),
		"content");
	ok(json_is_null(json_object_get(json_array_get(logprobs, 0), "bytes")) &&
		   json_array_size(json_object_get(json_array_get(logprobs, 1), "bytes")) == 3,
	   "the bytes of what is whole characters");
	json_decref(event);
	end();
}

static void test_escape(void)
{
	static const char *const bad[] = {"\x80",
					  "\xc0\x80",
					  "\xc1\xbf",
					  "\xe0\x80\x80",
					  "\xed\xa0\x80",
					  "\xf0\x80\x80\x80",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xe2\x82",
					  "\xff"};
	static const char *const good[] = {"a",
					   "\xc2\x80",
					   "\xe0\xa0\x80",
					   "\xed\x9f\xbf",
					   "\xee\x80\x80",
					   "\xf0\x90\x80\x80",
					   "\xf4\x8f\xbf\xbf"};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		is_int(lsc_escape_char(bad[i], strlen(bad[i])), 0, "no character");
	for (unsigned i = 0; i < sizeof(good) / sizeof(*good); i++)
		is_int(lsc_escape_char(good[i], strlen(good[i])), strlen(good[i]), "a character");
}

int main(void)
{
	test_whole();
	test_stream();
	test_logprobs();
	test_escape();
	lsc_buf_release(&out);
	return done_testing();
}
