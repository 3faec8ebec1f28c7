/* prompt: words of a text, how many make so many tokens, and what prompts share */
#include "tap.h"

#include <jansson.h>
#include <math.h>

#include "base/cleanup.h"
#include "load/prompt.h"
#include "load/random.h"

static struct lsc_err err;
static struct lsc_text text;
static struct lsc_gauge gauge;

static const struct lsc_ask ask = {.model = "a \"model\"\n"};

/* The prompt of a body, which free() ends; NULL where it is no such body. */
static char *prompt_of(const struct lsc_ask *how, const struct lsc_due *due, uint32_t number,
		       const struct lsc_trace *trace, uint64_t seed, uint32_t *ret_words)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf body = LSC_BUF_INIT;
	const json_t *value;
	json_t *root;
	char *prompt = NULL;

	if (lsc_ask_body(how, &text, &gauge, due, number, trace, seed, &body, ret_words) < 0)
		return NULL;
	root = json_loadb((char *)body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
	value = json_object_get(root, "prompt");
	if (how->chat)
		value = json_object_get(json_array_get(json_object_get(root, "messages"), 0),
					"content");
	if (json_is_string(value) && json_is_true(json_object_get(root, "stream")) &&
	    json_integer_value(json_object_get(root, "max_tokens")) == due->output &&
	    !strcmp(json_string_value(json_object_get(root, "model")), how->model) &&
	    json_is_true(json_object_get(root, "ignore_eos")) == how->ignore_eos &&
	    json_is_integer(json_object_get(root, "temperature")) == how->greedy &&
	    !json_object_get(root, "stream_options") == how->no_usage)
		prompt = strdup(json_string_value(value));
	json_decref(root);
	return prompt;
}

static uint32_t count_words(const char *prompt)
{
	uint32_t n = 0;

	for (; prompt && *prompt; prompt++)
		n += *prompt == ' ';
	return n;
}

static size_t shared(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

static void test_text(void)
{
	LSC_CLEANUP(lsc_text_release) struct lsc_text own = LSC_TEXT_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf bytes = LSC_BUF_INIT;

	is_int(lsc_text_init(&own, "too short", 9, &err), -EBADMSG, "too few words");
	for (int i = 0; i < 40; i++)
		lsc_buf_add_str(&bytes, "say \"hi\\\" \t\n \x01 ");
	is_int(lsc_text_init(&own, (char *)bytes.data, bytes.len, &err), 0, "a text");
	is_int(own.n, 80, "of eighty words");
	ok(!memcmp(own.bytes.data, " say \\\"hi\\\\\\\" say", 17), "ready for JSON");
	lsc_text_release(&own);
	bytes.len = 0;
	for (int i = 0; i < 100; i++)
		lsc_buf_add_str(&bytes, "\xe6\xbc\xa2\xe5\xad\x97\xf0\x9f\x90\x8b");
	lsc_buf_add_str(&bytes, " ");
	for (int i = 0; i < 64; i++)
		lsc_buf_add_str(&bytes, "x ");
	is_int(lsc_text_init(&own, (char *)bytes.data, bytes.len, &err), 0,
	       "a text without blanks");
	ok(own.n > 64 + 40 && own.starts[1] <= 25, "is cut, into %u words", own.n);
	bytes.data[3] = 0xff;
	lsc_text_release(&own);
	is_int(lsc_text_init(&own, (char *)bytes.data, bytes.len, &err), -EBADMSG, "no UTF-8");
	memset(bytes.data, 0x80, bytes.len);
	is_int(lsc_text_init(&own, (char *)bytes.data, bytes.len, &err), -EBADMSG,
	       "nor where no character begins");
}

static void test_body(void)
{
	struct lsc_ask chat = {
		.model = "m", .chat = true, .greedy = true, .ignore_eos = true, .no_usage = true};
	struct lsc_due due = {.prompt = 400, .output = 7, .row = LSC_NO_ROW};
	uint32_t words = 0;
	LSC_CLEANUP_FREE char *a = prompt_of(&ask, &due, 1, NULL, 9, &words);
	LSC_CLEANUP_FREE char *b = prompt_of(&ask, &due, 2, NULL, 9, &words);
	LSC_CLEANUP_FREE char *again = prompt_of(&ask, &due, 1, NULL, 9, &words);
	LSC_CLEANUP_FREE char *other = prompt_of(&ask, &due, 1, NULL, 10, &words);
	LSC_CLEANUP_FREE char *of_chat = prompt_of(&chat, &due, 1, NULL, 9, &words);

	if (!ok(a && b && again && other && of_chat, "bodies are JSON with what was asked for"))
		return;
	is_int(words, 200, "two tokens a word");
	is_int(count_words(a), 200, "as many as there are");
	is_str(again, a, "the same again");
	is_str(of_chat, a, "in a chat too");
	ok(shared(a, b) < 60 && shared(a, other) < 60, "others for other numbers and seeds");
}

/* No two of many prompts begin alike by more than a few words. */
static void test_apart(void)
{
	enum { N = 300 };
	struct lsc_due due = {.prompt = 60, .output = 7, .row = LSC_NO_ROW};
	char *prompts[N];
	size_t most = 0;
	uint32_t words;

	for (uint32_t i = 0; i < N; i++)
		prompts[i] = prompt_of(&ask, &due, i, NULL, 0, &words);
	for (int i = 0; i < N; i++)
		for (int k = 0; k < i; k++)
			most = shared(prompts[i], prompts[k]) > most
				       ? shared(prompts[i], prompts[k])
				       : most;
	for (int i = 0; i < N; i++)
		free(prompts[i]);
	ok(most < 90, "%d prompts share %zu bytes in front at most", N, most);
}

static char *of_row(const struct lsc_trace *trace, uint32_t row, uint32_t copy)
{
	struct lsc_due due = {trace->rows[row].at_ns, trace->rows[row].prompt, 1, row, copy};
	uint32_t words;

	return prompt_of(&ask, &due, row + 10 * copy, trace, 3, &words);
}

static void test_blocks(void)
{
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace trace = LSC_TRACE_INIT;
	char *p[4], *copy[2];
	size_t block, two;

	lsc_trace_read(&trace, "tests/data/traces/mooncake.jsonl", &err);
	for (uint32_t i = 0; i < 4; i++)
		p[i] = of_row(&trace, i, 0);
	copy[0] = of_row(&trace, 0, 1);
	copy[1] = of_row(&trace, 2, 1);
	block = shared(p[0], p[1]);
	two = shared(p[0], p[2]);
	p[0][block] = 0;
	/* The blank in front of the first word that differs is in common too. */
	is_int(count_words(p[0]) - 1, 512 / 2, "a block of 512 tokens in common");
	p[2][two] = 0;
	is_int(count_words(p[2]) - 1, 1024 / 2, "and two of them");
	is_int(count_words(p[1]), 350, "the rest is there");
	ok(shared(p[0], copy[0]) < 60, "a copy of the trace shares nothing with it");
	ok(shared(copy[0], copy[1]) > two - 200, "but the same with its own");
	is_int(count_words(p[3]), 6, "less than a block");
	for (int i = 0; i < 4; i++)
		free(p[i]);
	free(copy[0]);
	free(copy[1]);
}

/* A server whose words make some 1.7 tokens, and a template of 40. */
static void test_gauge(uint32_t least, uint32_t most, double per_word, double overhead)
{
	struct lsc_random random = lsc_random_of(4, 4, 4);
	struct lsc_gauge learnt;

	lsc_gauge_init(&learnt, 0);
	for (int i = 0; i < LSC_GAUGE_ANSWERS; i++) {
		uint32_t words = least + lsc_random_below(&random, most - least + 1);
		double noise = 1 + (lsc_random_unit(&random) - 0.5) * 0.02;

		ok(!learnt.fixed && learnt.per_word == LSC_GAUGE_GUESS, "a guess");
		lsc_gauge_learn(&learnt, words, (uint32_t)(40 + 1.7 * words * noise));
	}
	ok(learnt.fixed, "%u to %u words: learnt", least, most);
	ok(fabs(learnt.per_word - per_word) < 0.05 && fabs(learnt.overhead - overhead) < 15,
	   "%.3f tokens a word, and %.1f", learnt.per_word, learnt.overhead);
	lsc_gauge_learn(&learnt, 10, 1000);
	ok(fabs(learnt.per_word - per_word) < 0.05, "once");
	ok(fabs(40 + 1.7 * lsc_gauge_words(&learnt, (least + most) / 2 * 1.7 + 40) -
		((least + most) / 2 * 1.7 + 40)) < 40,
	   "and prompts have the length they should");
}

int main(void)
{
	struct lsc_gauge given;

	is_int(lsc_text_init(&text, lsc_text_builtin, strlen(lsc_text_builtin), &err), 0,
	       "the text built in");
	lsc_gauge_init(&gauge, 2);
	test_text();
	test_body();
	test_apart();
	test_blocks();
	test_gauge(50, 3000, 1.7, 40);
	test_gauge(400, 420, 1.8, 0);
	lsc_gauge_init(&given, 2.5);
	for (int i = 0; i < 100; i++)
		lsc_gauge_learn(&given, 100, 700);
	ok(given.per_word == 2.5, "what was given is not learnt");
	is_int(lsc_gauge_words(&given, 1), 1, "a word at least");
	lsc_text_release(&text);
	return done_testing();
}
