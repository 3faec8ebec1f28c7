/* pretokenize - the only file that knows PCRE2
 *
 * A pattern may come from a peer's manifest and the text from anyone, so both are kept on a short
 * leash: the pattern's length and nesting are bounded, \C is refused, and so is what takes more
 * heap or more steps than honest patterns do.  PCRE2's limit counts the steps from one position of
 * the text, so a few are free for each, and what needs more is tried again with steps from a budget
 * of the whole text: the time a text takes grows with its length alone.  Compiled code does not
 * keep to the limit ("(?:a|a){18}b" over 20,000 letters ran for minutes), and would make encoding
 * hardly faster, as most of it is merging: patterns are interpreted.  Text is known to be valid, so
 * PCRE2 does not check all of it again for each match, which would take quadratic time.
 */
#include "model/pretokenize.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define MAX_NESTING  64
#define MAX_HEAP_KIB 65536

/* Steps of backtracking: from each position; and more for a text, and for each of its bytes.  White
 * space of n bytes that no line end follows takes some n steps, once. */
#define FREE_STEPS 1024u
#define TEXT_STEPS 20000000u
#define BYTE_STEPS 100u

struct stage {
	pcre2_code *code;
	unsigned flags;
};

struct lsc_pretokenizer {
	struct stage stages[LSC_PRETOKENIZE_MAX_STAGES];
	unsigned n_stages;
};

/* White_Space as the published patterns mean it; PCRE2's own \s has U+180E too. */
#define SPACES                                                                                     \
	"\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"        \
	"\\x{205f}\\x{3000}"

struct translation {
	struct lsc_buf *out;
	const char *at, *end;
	unsigned class_depth;
	struct lsc_err *err;
};

static int refuse(const struct translation *t, const char *what)
{
	return lsc_err_set(t->err, EOPNOTSUPP, "the pre-tokenizer's pattern uses %s", what);
}

/* at is behind a backslash, and there is a character. */
static int translate_escape(struct translation *t)
{
	char c = *t->at++;
	size_t n = 0;

	switch (c) {
	case 's':
		return lsc_buf_add_str(t->out, t->class_depth ? SPACES : "[" SPACES "]");
	case 'S':
		return lsc_buf_add_str(t->out, t->class_depth ? "\\S" : "[^" SPACES "]");
	case 'h':
	case 'H':
		return refuse(t, "\\h");
	case 'C':
		return refuse(t, "\\C");
	case 'u':
		while (n < 4 && t->at + n < t->end && isxdigit((unsigned char)t->at[n]))
			n++;
		if (n != 4)
			return refuse(t, "\\u without four digits");
		t->at += 4;
		return lsc_buf_printf(t->out, "\\x{%.4s}", t->at - 4);
	case 'p':
	case 'P':
	case 'x':
		if (t->at < t->end && *t->at == '{')
			while (t->at + n < t->end && t->at[n] != '}')
				n++;
		if (n)
			n += t->at + n < t->end;
		break;
	}
	t->at += n;
	return lsc_buf_printf(t->out, "\\%.*s", (int)n + 1, t->at - n - 1);
}

/* What Oniguruma reads in another way than PCRE2; at is behind c. */
static const char *differs(const struct translation *t, char c)
{
	char next = t->at < t->end ? *t->at : 0;

	if (t->class_depth && c == '[' && next != ':')
		return "a class within a class";
	if (t->class_depth && c == '&' && next == '&')
		return "the intersection of classes";
	if (!t->class_depth && c == '}' && next == '+')
		return "a possessive interval";
	return NULL;
}

static int translate_class_start(struct translation *t)
{
	t->class_depth = 1;
	if (t->at < t->end && *t->at == '^') {
		t->at++;
		if (lsc_buf_add_str(t->out, "^") < 0)
			return -ENOMEM;
	}
	if (t->at < t->end && *t->at == ']') {
		t->at++;
		return lsc_buf_add_str(t->out, "\\]");
	}
	return 0;
}

static int translate_char(struct translation *t)
{
	char c = *t->at++;
	const char *trouble = differs(t, c);
	const char *end;

	if (trouble)
		return refuse(t, trouble);
	if (c == '\\')
		return t->at < t->end ? translate_escape(t) : refuse(t, "a lone backslash");
	if (lsc_buf_add(t->out, &c, 1) < 0)
		return -ENOMEM;
	if (c == '[' && !t->class_depth)
		return translate_class_start(t);
	if (c == '[') { /* [:name:] */
		end = memmem(t->at, t->end - t->at, ":]", 2);
		if (!end)
			return refuse(t, "a class within a class");
		end += 2;
		c = 0;
		if (lsc_buf_add(t->out, t->at, end - t->at) < 0)
			return -ENOMEM;
		t->at = end;
	}
	if (c == ']')
		t->class_depth = 0;
	return 0;
}

int lsc_pretokenize_translate(struct lsc_buf *pattern, const char *regex, size_t len,
			      struct lsc_err *err)
{
	struct translation t = {pattern, regex, regex + len, 0, err};
	size_t start = pattern->len;

	while (t.at < t.end) {
		int r = translate_char(&t);

		if (r < 0)
			return r == -ENOMEM ? lsc_err_set(err, ENOMEM, "%m") : r;
		if (pattern->len - start > LSC_PRETOKENIZE_MAX_PATTERN)
			return lsc_err_set(err, EOPNOTSUPP,
					   "the pre-tokenizer's pattern has more than %d bytes",
					   LSC_PRETOKENIZE_MAX_PATTERN);
	}
	return 0;
}

int lsc_pretokenize_quote(struct lsc_buf *pattern, const char *text, size_t len)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i++) {
		if (strchr("\\^$.[]|()?*+{}#-", text[i]) && text[i])
			r = lsc_buf_add_str(pattern, "\\");
		if (r == 0)
			r = lsc_buf_add(pattern, &text[i], 1);
	}
	return r;
}

struct lsc_pretokenizer *lsc_pretokenizer_new(void)
{
	return calloc(1, sizeof(struct lsc_pretokenizer));
}

void lsc_pretokenizer_free(struct lsc_pretokenizer *pretokenizer)
{
	if (!pretokenizer)
		return;
	for (unsigned i = 0; i < pretokenizer->n_stages; i++)
		pcre2_code_free(pretokenizer->stages[i].code);
	free(pretokenizer);
}

static pcre2_code *compile(const char *pattern, size_t len, int *ret_error)
{
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	pcre2_code *code;
	PCRE2_SIZE at;

	*ret_error = PCRE2_ERROR_NOMEMORY;
	if (!context)
		return NULL;
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	pcre2_set_parens_nest_limit(context, MAX_NESTING);
	code = pcre2_compile((PCRE2_SPTR)pattern, len,
			     PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, ret_error, &at,
			     context);
	pcre2_compile_context_free(context);
	return code;
}

int lsc_pretokenizer_add(struct lsc_pretokenizer *pretokenizer, const char *pattern, size_t len,
			 unsigned flags, struct lsc_err *err)
{
	char text[128] = "";
	pcre2_code *code;
	int error;

	if (pretokenizer->n_stages == LSC_PRETOKENIZE_MAX_STAGES)
		return lsc_err_set(err, EBADMSG, "a pre-tokenizer has more than %d patterns",
				   LSC_PRETOKENIZE_MAX_STAGES);
	if (len > LSC_PRETOKENIZE_MAX_PATTERN)
		return lsc_err_set(err, EBADMSG, "a pre-tokenizer's pattern has %zu bytes, want %d",
				   len, LSC_PRETOKENIZE_MAX_PATTERN);
	code = compile(pattern, len, &error);
	if (!code) {
		pcre2_get_error_message(error, (PCRE2_UCHAR *)text, sizeof(text));
		return lsc_err_set(err, error == PCRE2_ERROR_NOMEMORY ? ENOMEM : EBADMSG,
				   "the pre-tokenizer's pattern: %s", text);
	}
	pretokenizer->stages[pretokenizer->n_stages++] = (struct stage){code, flags};
	return 0;
}

struct split {
	const struct lsc_pretokenizer *pretokenizer;
	pcre2_match_data *match;
	pcre2_match_context *context;
	uint64_t budget; /* of steps */
	lsc_piece_fn fn;
	void *arg;
	struct lsc_err *err;
};

static bool is_limited(int result)
{
	return result == PCRE2_ERROR_MATCHLIMIT || result == PCRE2_ERROR_DEPTHLIMIT;
}

static int match_with(const struct split *split, const pcre2_code *code, const uint8_t *text,
		      size_t len, size_t start, uint32_t options, uint32_t steps)
{
	pcre2_set_match_limit(split->context, steps);
	pcre2_set_depth_limit(split->context, steps);
	return pcre2_match(code, text, len, start, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | options,
			   split->match, split->context);
}

/* A match at start itself, with as many steps as the budget has; *ret_paid tells whether any. */
static int match_here(struct split *split, const pcre2_code *code, const uint8_t *text, size_t len,
		      size_t start, bool *ret_paid)
{
	uint32_t steps = FREE_STEPS;
	int r = match_with(split, code, text, len, start, PCRE2_ANCHORED, steps);

	*ret_paid = false;
	while (is_limited(r) && split->budget > 0) {
		steps = (uint32_t)LSC_MIN(LSC_MIN(16ull * steps, split->budget), UINT32_MAX);
		split->budget -= steps;
		*ret_paid = true;
		r = match_with(split, code, text, len, start, PCRE2_ANCHORED, steps);
	}
	return r;
}

/* The first match from start on.  Where a position between needs more than is free, position after
 * position is tried until that one is passed. */
static int match_from(struct split *split, const pcre2_code *code, const uint8_t *text, size_t len,
		      size_t start)
{
	for (;;) {
		bool paid = false;
		int r = match_with(split, code, text, len, start, 0, FREE_STEPS);

		if (!is_limited(r))
			return r;
		while (!paid) {
			r = match_here(split, code, text, len, start, &paid);
			if (r != PCRE2_ERROR_NOMATCH)
				return r;
			for (start++; start < len && (text[start] & 0xc0) == 0x80;)
				start++;
			if (start >= len)
				return PCRE2_ERROR_NOMATCH;
		}
	}
}

/* The next match that is not empty from *ret_start on: 1, 0 when there is none. */
static int next_match(struct split *split, const pcre2_code *code, const uint8_t *text, size_t len,
		      size_t *ret_start, size_t *ret_end)
{
	const PCRE2_SIZE *found = pcre2_get_ovector_pointer(split->match);
	char words[128] = "";
	int r = match_from(split, code, text, len, *ret_start);

	if (r == PCRE2_ERROR_NOMATCH)
		return 0;
	if (r == PCRE2_ERROR_NOMEMORY)
		return lsc_err_set(split->err, ENOMEM, "%m");
	if (r < 0) {
		pcre2_get_error_message(r, (PCRE2_UCHAR *)words, sizeof(words));
		return lsc_err_set(split->err, EBADMSG, "cannot split the text: %s", words);
	}
	/* A lookbehind with \K may lead outside. */
	if (found[0] < *ret_start || found[1] <= found[0] || found[1] > len)
		return lsc_err_set(split->err, EBADMSG,
				   "the pre-tokenizer's pattern matches backwards");
	*ret_start = found[0];
	*ret_end = found[1];
	return 1;
}

/* Pieces go through the remaining stages at once, so nothing is kept but this stack. */
static int split_from(struct split *split, unsigned stage, const uint8_t *text, size_t len)
{
	const struct stage *s = &split->pretokenizer->stages[stage];
	size_t at = 0, start = 0, end = 0;
	int r;

	if (len == 0)
		return 0;
	if (stage == split->pretokenizer->n_stages)
		return split->fn(split->arg, text, len);
	while ((r = next_match(split, s->code, text, len, &start, &end)) > 0) {
		if (!(s->flags & LSC_PRETOKENIZE_DROP_GAPS))
			r = split_from(split, stage + 1, text + at, start - at);
		if (r >= 0 && !(s->flags & LSC_PRETOKENIZE_DROP_MATCHES))
			r = split_from(split, stage + 1, text + start, end - start);
		if (r < 0)
			return r;
		at = start = end;
	}
	if (r == 0 && !(s->flags & LSC_PRETOKENIZE_DROP_GAPS))
		r = split_from(split, stage + 1, text + at, len - at);
	return r;
}

int lsc_pretokenizer_split(const struct lsc_pretokenizer *pretokenizer, const uint8_t *text,
			   size_t len, lsc_piece_fn fn, void *arg, struct lsc_err *err)
{
	struct split split = {
		.pretokenizer = pretokenizer,
		.match = pcre2_match_data_create(1, NULL),
		.context = pcre2_match_context_create(NULL),
		.budget = TEXT_STEPS + (uint64_t)BYTE_STEPS * len,
		.fn = fn,
		.arg = arg,
		.err = err,
	};
	int r;

	if (split.match && split.context) {
		pcre2_set_heap_limit(split.context, MAX_HEAP_KIB);
		r = split_from(&split, 0, text, len);
	} else {
		r = lsc_err_set(err, ENOMEM, "%m");
	}
	pcre2_match_data_free(split.match);
	pcre2_match_context_free(split.context);
	return r;
}
