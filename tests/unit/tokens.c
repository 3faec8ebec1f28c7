/* tokens - ids as scripts write them */
#include "model/tokens.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "tap.h"

static void test_parse(void)
{
	static const struct {
		const char *text;
		int want;
		const char *line;
	} cases[] = {
		{"", 0, "\n"},
		{" \t\r\n", 0, "\n"},
		{"7", 0, "7\n"},
		{" 1 22\n333\t0 ", 0, "1 22 333 0\n"},
		{"4294967294 4294967295 99999999999999999999999", 0,
		 "4294967294 4294967295 4294967295\n"},
		{"1 x", -EBADMSG, NULL},
		{"1,2", -EBADMSG, NULL},
		{"-1", -EBADMSG, NULL},
		{"12a", -EBADMSG, NULL},
		{"\xe2\x80\x83", -EBADMSG, NULL},
	};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens tokens = LSC_TOKENS_INIT;
		LSC_CLEANUP(lsc_buf_release) struct lsc_buf line = LSC_BUF_INIT;
		struct lsc_err err = LSC_ERR_INIT;
		int r = lsc_tokens_parse(&tokens, cases[i].text, strlen(cases[i].text), &err);

		is_int(r, cases[i].want, "'%s': %s", cases[i].text, err.text);
		if (r == 0 && lsc_tokens_print(&tokens, &line, &err) == 0)
			is_str((const char *)line.data, cases[i].line, "its ids");
	}
}

static void test_zero_byte(void)
{
	LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens tokens = LSC_TOKENS_INIT;
	struct lsc_err err = LSC_ERR_INIT;

	is_int(lsc_tokens_parse(&tokens, "1\0002", 3, &err), -EBADMSG, "a zero byte is no space");
}

int main(void)
{
	test_parse();
	test_zero_byte();
	return done_testing();
}
