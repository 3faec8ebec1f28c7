/* pretokenize - patterns split as they say, and none of them takes a text hostage */
#include "model/pretokenize.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "tap.h"

static void release(struct lsc_pretokenizer **pretokenizer)
{
	lsc_pretokenizer_free(*pretokenizer);
}

static int join(void *arg, const uint8_t *piece, size_t len)
{
	struct lsc_buf *out = arg;

	return out->len && lsc_buf_add_str(out, "|") < 0 ? -ENOMEM : lsc_buf_add(out, piece, len);
}

/* Translates and adds the patterns, then splits text; pieces come with bars between. */
static int split(const char *const patterns[], unsigned flags, const char *text, size_t len,
		 struct lsc_buf *out, struct lsc_err *err)
{
	LSC_CLEANUP(release) struct lsc_pretokenizer *pretokenizer = lsc_pretokenizer_new();
	int r = 0;

	for (size_t i = 0; r == 0 && patterns[i]; i++) {
		LSC_CLEANUP(lsc_buf_release) struct lsc_buf pattern = LSC_BUF_INIT;

		r = lsc_pretokenize_translate(&pattern, patterns[i], strlen(patterns[i]), err);
		if (r == 0)
			r = lsc_pretokenizer_add(pretokenizer, (const char *)pattern.data,
						 pattern.len, flags, err);
	}
	return r < 0 ? r
		     : lsc_pretokenizer_split(pretokenizer, (const uint8_t *)text, len, join, out,
					      err);
}

static void test_split(void)
{
	static const struct {
		const char *patterns[3];
		unsigned flags;
		const char *text, *want;
	} cases[] = {
		{{NULL}, 0, "as it is", "as it is"},
		{{" ?\\p{L}+"}, 0, "one two, three", "one| two|,| three"},
		{{"\\p{N}", " ?\\p{L}+"}, 0, "ab12 c", "ab|1|2| c"},
		{{" "}, LSC_PRETOKENIZE_DROP_MATCHES, " a  b ", "a|b"},
		{{"[^ ]+"}, LSC_PRETOKENIZE_DROP_GAPS, " a  b ", "a|b"},
		{{"\\s+(?!\\S)|\\s+"}, 0, "a   b", "a|  | |b"},
		{{"x*"}, 0, "axxb", "a|xx|b"}, /* never an empty one */
		{{"\\s"},
		 0,
		 "a\xc2\x85"
		 "b\xe2\x81\x9f"
		 "c\xe1\xa0\x8e"
		 "d",
		 "a|\xc2\x85|b|\xe2\x81\x9f|c\xe1\xa0\x8e"
		 "d"},
		{{"\\u4e2d+"},
		 0,
		 "a\xe4\xb8\xad\xe4\xb8\xad"
		 "b",
		 "a|\xe4\xb8\xad\xe4\xb8\xad|b"},
	};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
		struct lsc_err err = LSC_ERR_INIT;

		if (split(cases[i].patterns, cases[i].flags, cases[i].text, strlen(cases[i].text),
			  &out, &err) < 0)
			ok(false, "split %zu: %s", i, err.text);
		else
			is_str((const char *)out.data, cases[i].want, "split %zu", i);
	}
}

static void test_refused(void)
{
	static const struct {
		const char *pattern;
		int want;
	} cases[] = {
		{"(", -EBADMSG},
		{"[[a]&&[b]]", -EOPNOTSUPP},
		{"\\C", -EOPNOTSUPP},
		{"\\h", -EOPNOTSUPP},
		{"a{1,2}+", -EOPNOTSUPP},
		{"\\", -EOPNOTSUPP},
		{"((a{1000}){1000}){1000}", -EBADMSG},
	};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		const char *const patterns[] = {cases[i].pattern, NULL};
		LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
		struct lsc_err err = LSC_ERR_INIT;
		int r = split(patterns, 0, "aab", 3, &out, &err);

		ok(r == cases[i].want || (r < 0 && i == 6) || (r == 0 && i == 6), "'%s': %d %s",
		   cases[i].pattern, r, err.text);
	}
}

static char *repeated(const char *unit, size_t len, const char *end)
{
	char *text = malloc(len + strlen(end) + 1);

	for (size_t i = 0; i < len; i++)
		text[i] = unit[i % strlen(unit)];
	memcpy(text + len, end, strlen(end) + 1);
	return text;
}

/* Long texts that make honest patterns go back over all of it. */
static void test_long(void)
{
	static const char *const units[] = {" ", "\n ", "a", "a ", "1", ".", "\xc3\xa9"};
	static const char *const patterns[] = {
		"'s|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
		"\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
		NULL};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(units); i++) {
		LSC_CLEANUP_FREE char *text = repeated(units[i], 2000000, "x");
		LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
		struct lsc_err err = LSC_ERR_INIT;

		ok(split(patterns, 0, text, strlen(text), &out, &err) == 0,
		   "two million bytes of '%s' %s", i == 1 ? "lines" : units[i], err.text);
	}
}

/* Each match stays below any limit for one, and there are as many as bytes. */
static void test_hostile(void)
{
	static const char *const hostile[] = {"(?:a|a){18}b", "(?:a?){20}a{20}b", "(a+)+b",
					      "(?:a|aa)+b"};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(hostile); i++) {
		const char *const patterns[] = {hostile[i], NULL};
		LSC_CLEANUP_FREE char *text = repeated("a", 20000, "cb");
		LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
		struct lsc_err err = LSC_ERR_INIT;

		is_int(split(patterns, 0, text, strlen(text), &out, &err), -EBADMSG,
		       "'%s' is given up: %s", hostile[i], err.text);
	}
}

int main(void)
{
	test_split();
	test_refused();
	test_long();
	test_hostile();
	return done_testing();
}
