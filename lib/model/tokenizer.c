/* tokenizer - a compiled tokenizer as it lies, and the way from ids back to text
 *
 * Encoding is in tokenizer_encode.c, compiling in tokenizer_build.c and the readers before it.
 */
#include "model/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "model/tokenizer_blob.h"
#include "model/utf8.h"

static int not_sound(struct lsc_err *err, const char *what)
{
	return lsc_err_set(err, EBADMSG, "the tokenizer is damaged: %s", what);
}

/* The bytes a section has by the counts; UINT64_MAX where any number is fine. */
static uint64_t section_bytes(const uint32_t number[], enum lsc_tokenizer_section section)
{
	const uint64_t vocab = number[LSC_TOK_VOCAB];

	switch (section) {
	case LSC_TOK_TEXT_ENDS:
		return 4 * vocab;
	case LSC_TOK_FLAGS:
		return vocab;
	case LSC_TOK_BYTES:
		return 4 * 256;
	case LSC_TOK_CHARS:
	case LSC_TOK_CHAR_IDS:
		return 4 * (uint64_t)number[LSC_TOK_N_CHARS];
	case LSC_TOK_SORTED:
		return 4 * (uint64_t)number[LSC_TOK_N_SORTED];
	case LSC_TOK_ADDED_FIRST:
		return 4 * 257;
	case LSC_TOK_ADDED:
		return 4 * (uint64_t)number[LSC_TOK_N_ADDED];
	case LSC_TOK_MERGE_FIRST:
		return 4 * (vocab + 1);
	case LSC_TOK_MERGE_RIGHT:
	case LSC_TOK_MERGE_RANK:
	case LSC_TOK_MERGE_ID:
		return 4 * (uint64_t)number[LSC_TOK_N_MERGES];
	case LSC_TOK_STAGES:
		return 8 * (uint64_t)number[LSC_TOK_N_STAGES];
	default:
		return UINT64_MAX;
	}
}

static int open_sections(struct lsc_tokenizer *tokenizer, const uint8_t *blob, size_t len,
			 struct lsc_err *err)
{
	const uint8_t *table = blob + 8 + 4 * LSC_TOK_NUMBERS;

	for (unsigned i = 0; i < LSC_TOK_NUMBERS; i++)
		tokenizer->number[i] = lsc_tok_get(blob + 8, i);
	if (tokenizer->number[LSC_TOK_VOCAB] == 0 ||
	    tokenizer->number[LSC_TOK_VOCAB] > LSC_MODEL_MAX_VOCAB)
		return not_sound(err, "its vocabulary is empty or too large");
	for (unsigned i = 0; i < LSC_TOK_SECTIONS; i++) {
		uint32_t offset = lsc_tok_get(table, 2 * i);
		uint32_t bytes = lsc_tok_get(table, 2 * i + 1);
		uint64_t want = section_bytes(tokenizer->number, i);

		if (offset > len || bytes > len - offset || (want != UINT64_MAX && bytes != want))
			return not_sound(err, "a section lies outside or has the wrong size");
		tokenizer->section[i] = blob + offset;
		tokenizer->bytes[i] = bytes;
	}
	return 0;
}

static int open_patterns(struct lsc_tokenizer *tokenizer, struct lsc_err *err)
{
	const char *patterns = (const char *)tokenizer->section[LSC_TOK_PATTERNS];
	size_t left = tokenizer->bytes[LSC_TOK_PATTERNS];

	if (tokenizer->number[LSC_TOK_N_STAGES] == 0)
		return 0;
	tokenizer->pretokenizer = lsc_pretokenizer_new();
	if (!tokenizer->pretokenizer)
		return lsc_err_set(err, ENOMEM, "%m");
	for (uint32_t i = 0; i < tokenizer->number[LSC_TOK_N_STAGES]; i++) {
		uint32_t flags = lsc_tok_item(tokenizer, LSC_TOK_STAGES, 2 * i);
		uint32_t len = lsc_tok_item(tokenizer, LSC_TOK_STAGES, 2 * i + 1);
		int r;

		if (len > left)
			return not_sound(err, "a pattern lies outside");
		r = lsc_pretokenizer_add(tokenizer->pretokenizer, patterns, len, flags, err);
		if (r < 0)
			return r;
		patterns += len;
		left -= len;
	}
	return 0;
}

int lsc_tokenizer_open(struct lsc_tokenizer **ret_tokenizer, const void *blob, size_t len,
		       struct lsc_err *err)
{
	struct lsc_tokenizer *tokenizer;
	int r;

	if (len < LSC_TOKENIZER_HEADER || len > UINT32_MAX ||
	    memcmp(blob, LSC_TOKENIZER_MAGIC, 7) != 0)
		return not_sound(err, "it does not begin as one");
	if (memcmp(blob, LSC_TOKENIZER_MAGIC, 8) != 0)
		return lsc_err_set(err, EBADMSG, "the tokenizer has version %u, want %u",
				   ((const uint8_t *)blob)[7], LSC_TOKENIZER_MAGIC[7]);
	tokenizer = calloc(1, sizeof(*tokenizer));
	if (!tokenizer)
		return lsc_err_set(err, ENOMEM, "%m");
	r = open_sections(tokenizer, blob, len, err);
	if (r == 0)
		r = open_patterns(tokenizer, err);
	if (r < 0) {
		lsc_tokenizer_close(tokenizer);
		return r;
	}
	*ret_tokenizer = tokenizer;
	return 0;
}

void lsc_tokenizer_close(struct lsc_tokenizer *tokenizer)
{
	if (!tokenizer)
		return;
	lsc_pretokenizer_free(tokenizer->pretokenizer);
	free(tokenizer);
}

uint32_t lsc_tokenizer_vocab(const struct lsc_tokenizer *tokenizer)
{
	return tokenizer->number[LSC_TOK_VOCAB];
}

uint32_t lsc_tok_find(const struct lsc_tokenizer *tokenizer, enum lsc_tokenizer_section section,
		      const uint8_t *text, size_t len)
{
	uint32_t low = 0, high = tokenizer->bytes[section] / 4;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		uint32_t id = lsc_tok_item(tokenizer, section, middle);
		const uint8_t *other;
		size_t other_len;
		int order;

		if (id >= tokenizer->number[LSC_TOK_VOCAB])
			return LSC_MODEL_NO_TOKEN;
		other = lsc_tok_text(tokenizer, id, &other_len);
		order = memcmp(text, other, LSC_MIN(len, other_len));
		if (order == 0 && len == other_len)
			return id;
		if (order < 0 || (order == 0 && len < other_len))
			high = middle;
		else
			low = middle + 1;
	}
	return LSC_MODEL_NO_TOKEN;
}

/* The bytes that id adds to a text; *first tells whether they are the first, and is updated. */
static int token_output(const struct lsc_tokenizer *tokenizer, uint32_t id, bool special,
			bool *first, const uint8_t **ret_text, size_t *ret_len, struct lsc_err *err)
{
	const uint32_t vocab = tokenizer->number[LSC_TOK_VOCAB];
	uint8_t flags;

	if (id >= vocab)
		return lsc_err_set(err, EBADMSG, "token %u is not one of the vocabulary's %u", id,
				   vocab);
	flags = tokenizer->section[LSC_TOK_FLAGS][id];
	*ret_len = 0;
	if ((flags & LSC_TOKEN_ABSENT) || ((flags & LSC_TOKEN_SPECIAL) && !special))
		return 0;
	*ret_text = lsc_tok_text(tokenizer, id, ret_len);
	if (*ret_len == 0)
		return 0;
	if (*first && (tokenizer->number[LSC_TOK_BLOB_FLAGS] & LSC_TOKENIZER_STRIP) &&
	    !(flags & LSC_TOKEN_ADDED) && **ret_text == ' ') {
		++*ret_text;
		--*ret_len;
	}
	*first = false;
	return 0;
}

int lsc_tokenizer_decode(const struct lsc_tokenizer *tokenizer, const uint32_t *ids, size_t n,
			 bool special, struct lsc_buf *text, struct lsc_err *err)
{
	bool first = true;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *bytes = NULL;
		size_t len;
		int r = token_output(tokenizer, ids[i], special, &first, &bytes, &len, err);

		if (r < 0)
			return r;
		if (lsc_buf_add(text, bytes, len) < 0)
			return lsc_err_set(err, ENOMEM, "%m");
	}
	return 0;
}

void lsc_detokenizer_init(struct lsc_detokenizer *detokenizer,
			  const struct lsc_tokenizer *tokenizer)
{
	*detokenizer = (struct lsc_detokenizer){.tokenizer = tokenizer, .first = true};
}

/* Takes one byte: what is held stays shorter than a character. */
static int add_byte(struct lsc_detokenizer *detokenizer, uint8_t byte, struct lsc_buf *text)
{
	uint8_t *held = detokenizer->held;
	uint32_t cp;
	int n, r = 0;

	held[detokenizer->n_held++] = byte;
	n = lsc_utf8_next(held, detokenizer->n_held, &cp);
	if (n < 0) { /* the last byte is what does not fit, and may begin anew */
		r = lsc_buf_add_str(text, LSC_UTF8_REPLACEMENT);
		detokenizer->n_held += n;
		memmove(held, held - n, detokenizer->n_held);
		if (r < 0 || detokenizer->n_held == 0)
			return r;
		n = lsc_utf8_next(held, detokenizer->n_held, &cp);
		if (n < 0) {
			detokenizer->n_held = 0;
			return lsc_buf_add_str(text, LSC_UTF8_REPLACEMENT);
		}
	}
	if (n > 0) {
		r = lsc_buf_add(text, held, n);
		detokenizer->n_held = 0;
	}
	return r;
}

int lsc_detokenizer_add(struct lsc_detokenizer *detokenizer, uint32_t id, struct lsc_buf *text,
			struct lsc_err *err)
{
	const uint8_t *bytes = NULL;
	size_t len, good = 0;
	int r = token_output(detokenizer->tokenizer, id, false, &detokenizer->first, &bytes, &len,
			     err);

	if (r < 0)
		return r;
	while (r == 0 && len) {
		if (detokenizer->n_held == 0 && (good = lsc_utf8_valid_prefix(bytes, len)) > 0) {
			r = lsc_buf_add(text, bytes, good);
		} else {
			r = add_byte(detokenizer, *bytes, text);
			good = 1;
		}
		bytes += good;
		len -= good;
	}
	return r < 0 ? lsc_err_set(err, ENOMEM, "%m") : 0;
}

int lsc_detokenizer_end(struct lsc_detokenizer *detokenizer, struct lsc_buf *text)
{
	int r = detokenizer->n_held ? lsc_buf_add_str(text, LSC_UTF8_REPLACEMENT) : 0;

	detokenizer->n_held = 0;
	return r;
}
