/* answer: when tokens came, what the server counted, and what is no answer */
#include "tap.h"

#include "base/cleanup.h"
#include "load/answer.h"

static struct lsc_err err;
static struct lsc_digest gaps;

/* Feeds lines of data, the n-th at n ms. */
static int feed(struct lsc_answer *answer, const char *const *lines)
{
	int r = 0;

	lsc_answer_reset(answer);
	gaps = (struct lsc_digest)LSC_DIGEST_INIT;
	for (int i = 0; lines[i] && !r; i++) {
		LSC_CLEANUP(lsc_buf_release) struct lsc_buf event = LSC_BUF_INIT;

		lsc_buf_printf(&event, "data: %s\n\n", lines[i]);
		r = lsc_answer_feed(answer, (uint64_t)(i + 1) * 1000000, event.data, event.len,
				    &err);
	}
	return r;
}

#define FEED(answer, ...) feed(answer, (const char *const[]){__VA_ARGS__, NULL})
#define TEXT(t)           "{\"choices\":[{\"index\":0,\"text\":\"" t "\"}]}"
#define CHAT(t)           "{\"choices\":[{\"index\":0,\"delta\":{" t "}}]}"
#define USAGE             "{\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":5}}"

static void test_good(struct lsc_answer *answer)
{
	is_int(FEED(answer, TEXT("a"), TEXT("b"), TEXT(""), TEXT("c"), USAGE, "[DONE]", "junk"), 0,
	       "a completion");
	ok(answer->done && answer->chunks == 3, "three chunks with text");
	ok(answer->first_ns == 1000000 && answer->last_ns == 4000000, "first and last");
	ok(gaps.n == 2 && gaps.least == 1000000 && gaps.most == 2000000, "and between them");
	ok(answer->has_usage && answer->prompt_tokens == 12 && answer->output_tokens == 5, "usage");
	is_int(FEED(answer, CHAT("\"role\":\"assistant\",\"content\":\"\""),
		    CHAT("\"content\":\"a\""), CHAT("\"reasoning_content\":\"b\""),
		    CHAT("\"content\":null,\"tool_calls\":[{}]"), CHAT(""), "[DONE]"),
	       0, "a chat");
	ok(answer->chunks == 3 && answer->first_ns == 2000000 && !answer->has_usage, "of three");
	is_int(FEED(answer, "{\"choices\":[],\"usage\":null}", TEXT("\\ud83d\\udc0b\xe2\x82\xac")),
	       0, "usage that is null, text beyond ASCII");
	ok(!answer->done && answer->chunks == 1 && gaps.n == 0, "and no end yet");
	is_int(FEED(answer, TEXT("\\u0000"), TEXT("a\\u0000b"), "[DONE]"), 0,
	       "bytes of zero are text");
	ok(answer->done && answer->chunks == 2, "in two chunks");
	is_int(FEED(answer, "{\"choices\":[{\"text\":\"a\"}],\"error\":null}"), 0, "no error");
}

static void test_bad(struct lsc_answer *answer)
{
	static const char error[] = "event: error\ndata: {\"message\":\"boom\"}\n\n";

	is_int(FEED(answer, TEXT("a"), "{"), -EBADMSG, "no JSON");
	is_int(FEED(answer, "[1]"), -EBADMSG, "no object");
	is_int(FEED(answer, "7"), -EBADMSG, "a number");
	is_int(FEED(answer, "{\"text\":\"a\"}"), -EBADMSG, "no choices");
	is_int(FEED(answer, "{\"choices\":[{\"text\":\"\xff\"}]}"), -EBADMSG, "no UTF-8");
	is_int(FEED(answer, "{\"error\":{\"message\":\"out of memory\"}}"), -EREMOTEIO, "an error");
	is_str(err.text, "the server failed: out of memory", "in its words");
	is_int(FEED(answer, "{\"error\":\"plain\"}"), -EREMOTEIO, "an error that is a string");
	is_str(err.text, "the server failed: plain", "in its words");
	lsc_answer_reset(answer);
	is_int(lsc_answer_feed(answer, 1, error, strlen(error), &err), -EREMOTEIO,
	       "an error event");
	is_str(err.text, "the server failed: boom", "in its words");
	FEED(answer, "{\"choices\":[],\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":1e9}}");
	ok(answer->prompt_tokens == 0 && answer->output_tokens == 0, "counts that are none");
}

/* The same text has the same hash, in however many chunks it comes; another text has not. */
static void test_hash(struct lsc_answer *answer)
{
	struct lsc_hash want = lsc_hash_of("Once upon", 9), hash;

	lsc_answer_reset(answer);
	ok(!lsc_answer_hash(answer, &hash), "no text has no hash");
	FEED(answer, TEXT("Once upon"));
	ok(lsc_answer_hash(answer, &hash) && lsc_hash_equal(&want, &hash), "text has one");
	FEED(answer, CHAT("\"role\":\"assistant\""), CHAT("\"content\":\"Once \""),
	     CHAT("\"content\":\"upon\""), USAGE);
	ok(lsc_answer_hash(answer, &hash) && lsc_hash_equal(&want, &hash), "the same in parts");
	FEED(answer, TEXT("Once "));
	FEED(answer, TEXT("upon"));
	ok(lsc_answer_hash(answer, &hash) && !lsc_hash_equal(&want, &hash),
	   "what was reset is not in it");
	lsc_answer_reset(answer);
	ok(!lsc_answer_hash(answer, &hash), "nor is there one then");
}

static void check_words(const char *body, const char *want)
{
	char text[32];

	lsc_answer_error_text(body, strlen(body), text, sizeof(text));
	is_str(text, want, "words of an error");
}

static void check_model(const char *body, const char *want)
{
	LSC_CLEANUP_FREE char *model = NULL;

	if (!want)
		is_int(lsc_answer_model(body, strlen(body), &model, &err), -EBADMSG, "no model");
	else if (lsc_answer_model(body, strlen(body), &model, &err) == 0)
		is_str(model, want, "the first model");
	else
		ok(false, "the first model: %s", err.text);
}

int main(void)
{
	struct lsc_answer answer;

	lsc_answer_init(&answer, &gaps);
	test_good(&answer);
	test_bad(&answer);
	test_hash(&answer);
	lsc_answer_release(&answer);
	check_words("{\"error\":{\"message\":\"slow down\"}}", "slow down");
	check_words("{\"message\":\"a\\nb\"}", "a");
	check_words("<html>\nno", "<html>");
	check_words("\x1b[2Jboo", " [2Jboo");
	check_words("0123456789012345678901234567890123456789", "0123456789012345678901234567890");
	lsc_answer_error_text(NULL, 0, (char[8]){0}, 8);
	check_model("{\"data\":[{\"id\":\"m1\"},{\"id\":\"m2\"}]}", "m1");
	check_model("{\"data\":[]}", NULL);
	check_model("{\"data\":[{\"id\":\"\"}]}", NULL);
	check_model("[]", NULL);
	check_model("", NULL);
	return done_testing();
}
