/* Requests of the OpenAI API: what is taken, what is refused by which name, and the records that
 * come of it, which a router has to take. */
#include "gate/wish.h"

#include <string.h>

#include "base/cleanup.h"
#include "route/query.h"
#include "stream/json.h"
#include "tap.h"

static bool parse(struct lsc_wish *wish, bool chat, const char *json, struct lsc_fault *fault)
{
	*fault = (struct lsc_fault)LSC_FAULT_INIT;
	return lsc_wish_parse(wish, chat, json, strlen(json), fault) == 0;
}

static void refused(bool chat, const char *json, const char *param, const char *code)
{
	struct lsc_fault fault;
	struct lsc_wish wish;
	bool taken = parse(&wish, chat, json, &fault);

	ok(!taken && fault.status == 400 && !strcmp(fault.param, param) &&
		   !strcmp(fault.code, code) && fault.message[0],
	   "refused: %.60s", json);
	if (!taken && strcmp(fault.param, param))
		printf("# %s: %s\n", fault.param, fault.message);
	lsc_wish_release(&wish);
}

/* The record of a choice, as JSON. */
static const char *record_of(const struct lsc_wish *wish, uint32_t choice)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	static struct lsc_buf json;

	json.len = 0;
	if (lsc_wish_pack(wish, choice, 7, 40, &pack) < 0 ||
	    lsc_json_write(pack.buf.data, pack.buf.len, &json, NULL) < 0)
		return "no record";
	return (const char *)json.data;
}

static void becomes(bool chat, const char *json, uint32_t choice, const char *want)
{
	static const struct lsc_chat chatml = {LSC_CHAT_CHATML, NULL};
	LSC_CLEANUP(lsc_query_release) struct lsc_query query = LSC_QUERY_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_fault fault;
	struct lsc_wish wish;
	const char *record;

	if (!ok(parse(&wish, chat, json, &fault), "taken: %.60s", json))
		printf("# %s: %s\n", fault.param, fault.message);
	record = record_of(&wish, choice);
	is_str(record, want, "its record");
	ok(lsc_query_parse(&query, record, strlen(record), &chatml, &err) == 1,
	   "which a router takes %s", err.text);
	lsc_wish_release(&wish);
}

#define REST ",\"temperature\":1.0,\"top_p\":1.0,\"seed\":"

static void test_taken(void)
{
	becomes(false, "{\"prompt\":\"a\"}", 0,
		"{\"type\":\"request\",\"id\":7,\"prompt\":\"a\",\"max_tokens\":16" REST "40}");
	becomes(false, "{\"prompt\":[1,2],\"max_tokens\":5,\"n\":3,\"seed\":9}", 2,
		"{\"type\":\"request\",\"id\":7,\"prompt\":[1,2],\"max_tokens\":5" REST "11}");
	becomes(false, "{\"prompt\":[\"a\",[3]],\"n\":2}", 3,
		"{\"type\":\"request\",\"id\":7,\"prompt\":[3],\"max_tokens\":16" REST "41}");
	becomes(true,
		"{\"messages\":[{\"role\":\"developer\",\"content\":[{\"type\":\"text\","
		"\"text\":\"b\"}]},{\"role\":\"user\",\"content\":\"c\",\"name\":\"me\"}]}",
		0,
		"{\"type\":\"request\",\"id\":7,\"messages\":[{\"role\":\"system\",\"content\":"
		"\"b\"},{\"role\":\"user\",\"content\":\"c\"}]" REST "40}");
	becomes(false,
		"{\"prompt\":\"a\",\"temperature\":0,\"top_p\":0,\"min_p\":0.5,\"top_k\":4,"
		"\"repetition_penalty\":2,\"seed\":-1,\"logprobs\":0,\"stop\":[\"x\",\"y\"],"
		"\"stop_token_ids\":[5],\"stream\":true,\"user\":\"u\",\"store\":true}",
		0,
		"{\"type\":\"request\",\"id\":7,\"prompt\":\"a\",\"max_tokens\":16,"
		"\"temperature\":0.0,\"top_p\":1e-06,\"min_p\":0.5,\"repetition_penalty\":2.0,"
		"\"top_k\":4,\"seed\":9223372036854775807,\"logprobs\":0,\"stop\":[\"x\",\"y\"],"
		"\"stop_token_ids\":[5]}");
	becomes(true,
		"{\"messages\":[{\"role\":\"user\",\"content\":\"c\"}],\"max_tokens\":3,"
		"\"max_completion_tokens\":3,\"logprobs\":true,\"top_logprobs\":2,\"stop\":\"z\","
		"\"tools\":[],\"tool_choice\":\"auto\",\"response_format\":{\"type\":\"text\"},"
		"\"top_k\":-1,\"frequency_penalty\":0.0,\"logit_bias\":{},\"audio\":null}",
		0,
		"{\"type\":\"request\",\"id\":7,\"messages\":[{\"role\":\"user\",\"content\":"
		"\"c\"}],\"max_tokens\":3" REST "40,\"logprobs\":2,\"stop\":\"z\"}");
}

static void test_refused(void)
{
	refused(false, "{", "", "invalid_json");
	refused(false, "3", "", "invalid_json");
	refused(false, "{\"prompt\":\"\"}", "prompt", "invalid_value");
	refused(false, "{\"prompt\":[[]]}", "prompt", "invalid_value");
	refused(false, "{\"prompt\":[1,\"a\"]}", "prompt", "invalid_value");
	refused(false, "{\"prompt\":[-1]}", "prompt", "invalid_value");
	refused(false, "{\"prompt\":7}", "prompt", "invalid_value");
	refused(false, "{\"prompt\":null}", "prompt", "missing_required_parameter");
	refused(false, "{\"prompt\":\"a\",\"model\":7}", "model", "invalid_value");
	refused(false, "{\"prompt\":\"a\",\"top_k\":1.5}", "top_k", "invalid_value");
	refused(false, "{\"prompt\":\"a\",\"seed\":\"x\"}", "seed", "invalid_value");
	refused(false, "{\"prompt\":\"a\",\"stop_token_ids\":5}", "stop_token_ids",
		"invalid_value");
	refused(false, "{\"prompt\":\"a\",\"echo\":true,\"logprobs\":1}", "echo",
		"unsupported_parameter");
	refused(false, "{\"prompt\":[1],\"echo\":true}", "echo", "unsupported_parameter");
	refused(false,
		"{\"prompt\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"],\"n\":16}",
		"n", "invalid_value");
	refused(false, "{\"prompt\":\"a\",\"min_tokens\":1}", "min_tokens",
		"unsupported_parameter");
	refused(false, "{\"prompt\":\"a\",\"skip_special_tokens\":false}", "skip_special_tokens",
		"unsupported_parameter");
	refused(false, "{\"prompt\":\"a\",\"max_completion_tokens\":1}", "max_completion_tokens",
		"unknown_parameter");
	refused(true, "{\"messages\":[]}", "messages", "invalid_value");
	refused(true, "{\"messages\":[3]}", "messages[0].role", "invalid_value");
	refused(true, "{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content",
		"invalid_value");
	refused(true,
		"{\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{}]}]}",
		"messages[0].tool_calls", "unsupported_value");
#define HI "{\"messages\":[{\"role\":\"user\",\"content\":\"c\"}],"
	refused(true, HI "\"max_tokens\":1,\"max_completion_tokens\":2}", "max_completion_tokens",
		"invalid_value");
	refused(true, HI "\"echo\":true}", "echo", "unknown_parameter");
	refused(true, HI "\"logprobs\":3}", "logprobs", "invalid_value");
	refused(true, HI "\"tool_choice\":\"required\"}", "tool_choice", "unsupported_parameter");
	refused(true, HI "\"modalities\":[\"text\",\"audio\"]}", "modalities",
		"unsupported_parameter");
	refused(true, HI "\"stream\":true,\"stream_options\":{\"include_usage\":1}}",
		"stream_options", "invalid_value");
}

int main(void)
{
	test_taken();
	test_refused();
	return done_testing();
}
