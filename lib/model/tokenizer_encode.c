/* tokenizer_encode - from text to ids
 *
 * Added tokens are cut out of the text; each segment between them is normalised, split by the
 * pre-tokenizer and merged piece by piece.  All scratch is in struct encoding, one a call.
 */
#include "model/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/bpe.h"
#include "model/nfc.h"
#include "model/tokenizer_blob.h"
#include "model/utf8.h"

#define MAX_TEXT (1u << 28) /* bytes: symbols are counted in 32 bits */

#define META_SPACE "\xe2\x96\x81" /* U+2581 */

struct encoding {
	const struct lsc_tokenizer *tokenizer;
	unsigned flags; /* of the tokenizer */
	bool special;   /* special tokens are recognised */
	struct lsc_tokens *tokens;
	struct lsc_bpe bpe;
	struct lsc_buf normal, spaced; /* the segment at work */
	struct lsc_err *err;
};

static void encoding_release(struct encoding *encoding)
{
	lsc_bpe_release(&encoding->bpe);
	lsc_buf_release(&encoding->normal);
	lsc_buf_release(&encoding->spaced);
}

static int no_memory(const struct encoding *encoding)
{
	return lsc_err_set(encoding->err, ENOMEM, "%m");
}

/* --- symbols --- */

static int add_unknown(struct encoding *encoding)
{
	const uint32_t unk = encoding->tokenizer->number[LSC_TOK_UNK];
	const struct lsc_bpe *bpe = &encoding->bpe;

	if (unk >= encoding->tokenizer->number[LSC_TOK_VOCAB])
		return 0; /* a vocabulary that has no word for it drops it */
	if ((encoding->flags & LSC_TOKENIZER_FUSE_UNK) && bpe->n_symbols &&
	    bpe->symbols[bpe->n_symbols - 1].id == unk)
		return 0;
	return lsc_bpe_add(&encoding->bpe, unk);
}

static int add_bytes(struct encoding *encoding, const uint8_t *bytes, size_t n)
{
	const uint32_t vocab = encoding->tokenizer->number[LSC_TOK_VOCAB];
	int r = 0;

	for (size_t i = 0; i < n; i++)
		if (lsc_tok_item(encoding->tokenizer, LSC_TOK_BYTES, bytes[i]) >= vocab)
			return add_unknown(encoding);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = lsc_bpe_add(&encoding->bpe,
				lsc_tok_item(encoding->tokenizer, LSC_TOK_BYTES, bytes[i]));
	return r;
}

static uint32_t char_find(const struct lsc_tokenizer *tokenizer, uint32_t cp)
{
	uint32_t low = 0, high = tokenizer->number[LSC_TOK_N_CHARS];

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		uint32_t at = lsc_tok_item(tokenizer, LSC_TOK_CHARS, middle);

		if (at == cp)
			return lsc_tok_item(tokenizer, LSC_TOK_CHAR_IDS, middle);
		if (at < cp)
			low = middle + 1;
		else
			high = middle;
	}
	return LSC_MODEL_NO_TOKEN;
}

/* The piece's symbols before any merge. */
static int add_symbols(struct encoding *encoding, const uint8_t *piece, size_t len)
{
	const struct lsc_tokenizer *tokenizer = encoding->tokenizer;
	int n, r = 0;

	encoding->bpe.n_symbols = 0;
	for (size_t at = 0; r == 0 && at < len; at += n) {
		uint32_t cp, id;

		n = 1;
		if (encoding->flags & LSC_TOKENIZER_BYTE_LEVEL) {
			r = add_bytes(encoding, piece + at, 1);
			continue;
		}
		n = lsc_utf8_next(piece + at, len - at, &cp);
		if (n <= 0)
			return -EINVAL; /* text is valid by now, and pieces end between characters
					 */
		id = char_find(tokenizer, cp);
		if (id < tokenizer->number[LSC_TOK_VOCAB])
			r = lsc_bpe_add(&encoding->bpe, id);
		else if (encoding->flags & LSC_TOKENIZER_BYTE_FALLBACK)
			r = add_bytes(encoding, piece + at, n);
		else
			r = add_unknown(encoding);
	}
	return r;
}

/* --- pieces --- */

static int encode_word(struct encoding *encoding, const uint8_t *piece, size_t len)
{
	struct lsc_bpe *bpe = &encoding->bpe;
	int r;

	if (encoding->flags & LSC_TOKENIZER_WHOLE_WORDS) {
		uint32_t id = lsc_tok_find(encoding->tokenizer, LSC_TOK_SORTED, piece, len);

		if (id != LSC_MODEL_NO_TOKEN)
			return lsc_tokens_add(encoding->tokens, id);
	}
	r = add_symbols(encoding, piece, len);
	if (r < 0 || bpe->n_symbols == 0)
		return r;
	r = lsc_bpe_merge(bpe, encoding->tokenizer);
	for (uint32_t i = 0; r == 0 && i != UINT32_MAX; i = bpe->symbols[i].next)
		r = lsc_tokens_add(encoding->tokens, bpe->symbols[i].id);
	return r;
}

/* Where no merge leads from a letter to a space, a piece falls apart there without any change, and
 * short words merge faster than one long one. */
static int encode_piece(void *arg, const uint8_t *piece, size_t len)
{
	struct encoding *encoding = arg;
	size_t start = 0;
	int r = 0;

	if (encoding->flags & LSC_TOKENIZER_NO_INNER_SPACE)
		for (size_t i = 1; r == 0 && i < len; i++)
			if (piece[i] == ' ' && piece[i - 1] != ' ') {
				r = encode_word(encoding, piece + start, i - start);
				start = i;
			}
	if (r == 0)
		r = encode_word(encoding, piece + start, len - start);
	return r == -ENOMEM ? no_memory(encoding) : r;
}

/* --- segments --- */

static int meta_to_space(struct lsc_buf *buf, const uint8_t *text, size_t len)
{
	const uint8_t *end = text + len, *meta;
	int r = 0;

	while (r == 0 && (meta = memmem(text, end - text, META_SPACE, 3))) {
		r = lsc_buf_add(buf, text, meta - text);
		if (r == 0)
			r = lsc_buf_add_str(buf, " ");
		text = meta + 3;
	}
	return r ? r : lsc_buf_add(buf, text, end - text);
}

static bool wants_prefix(const struct encoding *encoding, const uint8_t *text, bool at_start)
{
	if (!(encoding->flags & LSC_TOKENIZER_PREFIX_EACH) &&
	    !((encoding->flags & LSC_TOKENIZER_PREFIX_FIRST) && at_start))
		return false;
	return !(encoding->flags & LSC_TOKENIZER_PREFIX_UNLESS) || *text != ' ';
}

/* Text between added tokens; at_start where nothing is before it. */
static int encode_segment(struct encoding *encoding, const uint8_t *text, size_t len, bool at_start)
{
	const unsigned flags = encoding->flags;
	int r = 0;

	if (len == 0)
		return 0;
	encoding->normal.len = encoding->spaced.len = 0;
	if ((flags & LSC_TOKENIZER_NFC) && !lsc_nfc_is_plain(text, len)) {
		if (lsc_nfc_add(&encoding->normal, text, len) < 0)
			return no_memory(encoding);
		text = encoding->normal.data;
		len = encoding->normal.len;
	}
	if ((flags & LSC_TOKENIZER_SPACES) && memmem(text, len, META_SPACE, 3)) {
		r = meta_to_space(&encoding->spaced, text, len);
		text = encoding->spaced.data;
		len = encoding->spaced.len;
	}
	if (r == 0 && wants_prefix(encoding, text, at_start)) {
		/* Through the buffer that text is not in. */
		struct lsc_buf *buf =
			text == encoding->normal.data ? &encoding->spaced : &encoding->normal;

		buf->len = 0;
		r = lsc_buf_add_str(buf, " ");
		if (r == 0)
			r = lsc_buf_add(buf, text, len);
		text = buf->data;
		len = buf->len;
	}
	if (r < 0)
		return no_memory(encoding);
	if (!encoding->tokenizer->pretokenizer)
		return encode_piece(encoding, text, len);
	return lsc_pretokenizer_split(encoding->tokenizer->pretokenizer, text, len, encode_piece,
				      encoding, encoding->err);
}

/* --- added tokens --- */

/* The byte at depth of the i-th added token: -1 behind its end, -2 where the blob is not sound. */
static int added_byte(const struct lsc_tokenizer *tokenizer, uint32_t i, size_t depth)
{
	uint32_t id = lsc_tok_item(tokenizer, LSC_TOK_ADDED, i);
	const uint8_t *text;
	size_t len;

	if (id >= tokenizer->number[LSC_TOK_VOCAB])
		return -2;
	text = lsc_tok_text(tokenizer, id, &len);
	return depth < len ? text[depth] : -1;
}

/* The first of low .. high whose byte at depth is at least byte. */
static uint32_t added_bound(const struct lsc_tokenizer *tokenizer, uint32_t low, uint32_t high,
			    size_t depth, int byte)
{
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (added_byte(tokenizer, middle, depth) < byte)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The longest added token that text begins with. */
static uint32_t added_match(const struct encoding *encoding, const uint8_t *text, size_t len,
			    size_t *ret_len)
{
	const struct lsc_tokenizer *tokenizer = encoding->tokenizer;
	uint32_t low = lsc_tok_item(tokenizer, LSC_TOK_ADDED_FIRST, text[0]);
	uint32_t high = lsc_tok_item(tokenizer, LSC_TOK_ADDED_FIRST, text[0] + 1);
	uint32_t found = LSC_MODEL_NO_TOKEN;

	if (high > tokenizer->number[LSC_TOK_N_ADDED])
		return LSC_MODEL_NO_TOKEN;
	for (size_t depth = 1; low < high && depth <= LSC_TOKENIZER_TOKEN_MAX; depth++) {
		uint32_t id = lsc_tok_item(tokenizer, LSC_TOK_ADDED, low);

		if (added_byte(tokenizer, low, depth) == -1 &&
		    (encoding->special ||
		     !(tokenizer->section[LSC_TOK_FLAGS][id] & LSC_TOKEN_SPECIAL))) {
			found = id;
			*ret_len = depth;
		}
		if (depth == len)
			break;
		low = added_bound(tokenizer, low, high, depth, text[depth]);
		high = added_bound(tokenizer, low, high, depth, text[depth] + 1);
	}
	return found;
}

static size_t spaces_before(const uint8_t *text, size_t start, size_t end)
{
	while (end > start && strchr(" \t\r\n\v\f", text[end - 1]) && text[end - 1])
		end--;
	return end;
}

static size_t spaces_behind(const uint8_t *text, size_t start, size_t end)
{
	while (start < end && strchr(" \t\r\n\v\f", text[start]) && text[start])
		start++;
	return start;
}

static int encode_text(struct encoding *encoding, const uint8_t *text, size_t len)
{
	const struct lsc_tokenizer *tokenizer = encoding->tokenizer;
	size_t start = 0, at = 0;
	int r = 0;

	while (r == 0 && at < len) {
		size_t n = 0, end;
		uint32_t id = added_match(encoding, text + at, len - at, &n);
		uint8_t flags;

		if (id == LSC_MODEL_NO_TOKEN) {
			at++;
			continue;
		}
		flags = tokenizer->section[LSC_TOK_FLAGS][id];
		end = flags & LSC_TOKEN_LSTRIP ? spaces_before(text, start, at) : at;
		r = encode_segment(encoding, text + start, end - start, start == 0);
		if (r == 0 && lsc_tokens_add(encoding->tokens, id) < 0)
			r = no_memory(encoding);
		at += n;
		start = at = flags & LSC_TOKEN_RSTRIP ? spaces_behind(text, at, len) : at;
	}
	return r ? r : encode_segment(encoding, text + start, len - start, start == 0);
}

int lsc_tokenizer_encode(const struct lsc_tokenizer *tokenizer, const char *text, size_t len,
			 unsigned flags, struct lsc_tokens *tokens, struct lsc_err *err)
{
	LSC_CLEANUP(encoding_release)
	struct encoding encoding = {
		.tokenizer = tokenizer,
		.flags = tokenizer->number[LSC_TOK_BLOB_FLAGS],
		.special = flags & LSC_ENCODE_SPECIAL,
		.tokens = tokens,
		.err = err,
	};
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf repaired = LSC_BUF_INIT;
	const uint32_t bos = tokenizer->number[LSC_TOK_BOS];
	const uint8_t *bytes = (const uint8_t *)text;

	if (len > MAX_TEXT)
		return lsc_err_set(err, EINVAL, "a text of %zu bytes is more than %u", len,
				   MAX_TEXT);
	if ((flags & LSC_ENCODE_BOS) && bos < tokenizer->number[LSC_TOK_VOCAB] &&
	    lsc_tokens_add(tokens, bos) < 0)
		return no_memory(&encoding);
	if (lsc_utf8_valid_prefix(bytes, len) < len) {
		if (lsc_utf8_repair(&repaired, bytes, len) < 0)
			return no_memory(&encoding);
		bytes = repaired.data;
		len = repaired.len;
	}
	return encode_text(&encoding, bytes, len);
}
