/* tokenizer_emit - lays out the blob of tokenizer_blob.h from what was collected
 *
 * Everything is sorted by values that are unique, so the same input gives the same bytes.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "model/tokenizer_build.h"
#include "model/utf8.h"

#define META_SPACE "\xe2\x96\x81" /* U+2581 */

#define MAX_BLOB (192u << 20) /* a manifest has to hold it */

struct emission {
	const struct lsc_tokenizer_build *build;
	struct lsc_buf *blob;
	size_t start; /* of the blob in its buffer */
	uint32_t number[LSC_TOK_NUMBERS];
	struct {
		uint32_t offset, bytes;
	} section[LSC_TOK_SECTIONS];
	struct lsc_buf text;
	uint32_t *ends; /* of each token in text */
	uint32_t *ids;  /* scratch for sorting */
};

static void emission_release(struct emission *emission)
{
	lsc_buf_release(&emission->text);
	free(emission->ends);
	free(emission->ids);
}

static void put(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, 4);
}

static int add_number(struct lsc_buf *buf, uint32_t value)
{
	value = htole32(value);
	return lsc_buf_add(buf, &value, 4);
}

static void begin_section(struct emission *emission, enum lsc_tokenizer_section section)
{
	emission->section[section].offset = emission->blob->len - emission->start;
}

/* Sections start at multiples of 4 in the blob, so that one at an aligned address is read fast. */
static int end_section(struct emission *emission, enum lsc_tokenizer_section section)
{
	size_t end = emission->blob->len - emission->start;
	int r = 0;

	emission->section[section].bytes = end - emission->section[section].offset;
	for (; r == 0 && end % 4; end++)
		r = lsc_buf_add(emission->blob, "", 1);
	return r;
}

/* --- the bytes of a token --- */

/* Bytes that print stand for themselves, the others follow from U+0100 on. */
int lsc_tokenizer_build_byte(uint32_t cp)
{
	unsigned next = 0x100;

	if ((cp >= 0x21 && cp <= 0x7e) || (cp >= 0xa1 && cp <= 0xff && cp != 0xad))
		return cp;
	for (unsigned byte = 0; byte < 256; byte++)
		if (byte <= 0x20 || (byte >= 0x7f && byte <= 0xa0) || byte == 0xad)
			if (next++ == cp)
				return byte;
	return -1;
}

/* A text in that alphabet as bytes; one that has other characters stays as it is. */
static int add_byte_level(struct lsc_buf *buf, const char *text, size_t len)
{
	size_t start = buf->len;

	for (size_t at = 0; at < len;) {
		uint32_t cp;
		int n = lsc_utf8_next((const uint8_t *)text + at, len - at, &cp);
		int byte = n > 0 ? lsc_tokenizer_build_byte(cp) : -1;
		uint8_t one = byte;

		if (byte < 0) {
			buf->len = start;
			return lsc_buf_add(buf, text, len);
		}
		if (lsc_buf_add(buf, &one, 1) < 0)
			return -ENOMEM;
		at += n;
	}
	return 0;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte of "<0xNN>", or -1. */
static int byte_token(const struct lsc_vocab_token *token)
{
	if (token->len != 6 || memcmp(token->text, "<0x", 3) || token->text[5] != '>' ||
	    hex_digit(token->text[3]) < 0 || hex_digit(token->text[4]) < 0)
		return -1;
	return hex_digit(token->text[3]) << 4 | hex_digit(token->text[4]);
}

static int add_with_spaces(struct lsc_buf *buf, const char *text, size_t len)
{
	int r = 0;

	for (size_t at = 0; r == 0 && at < len;) {
		if (len - at >= 3 && !memcmp(text + at, META_SPACE, 3)) {
			r = lsc_buf_add_str(buf, " ");
			at += 3;
		} else {
			r = lsc_buf_add(buf, text + at, 1);
			at++;
		}
	}
	return r;
}

static int add_token_text(struct emission *emission, const struct lsc_vocab_token *token)
{
	const unsigned flags = emission->build->flags;
	uint8_t byte;

	if (token->flags & LSC_TOKEN_BYTE) {
		byte = byte_token(token);
		return lsc_buf_add(&emission->text, &byte, 1);
	}
	if (token->flags & LSC_TOKEN_ADDED)
		return lsc_buf_add(&emission->text, token->text, token->len);
	if (flags & LSC_TOKENIZER_BYTE_LEVEL)
		return add_byte_level(&emission->text, token->text, token->len);
	if (flags & LSC_TOKENIZER_SPACES)
		return add_with_spaces(&emission->text, token->text, token->len);
	return lsc_buf_add(&emission->text, token->text, token->len);
}

static const uint8_t *token_text(const struct emission *emission, uint32_t id, size_t *ret_len)
{
	uint32_t start = id ? emission->ends[id - 1] : 0;

	*ret_len = emission->ends[id] - start;
	return emission->text.data + start;
}

static int emit_texts(struct emission *emission)
{
	const struct lsc_tokenizer_build *build = emission->build;
	int r = 0;

	begin_section(emission, LSC_TOK_TEXT_ENDS);
	for (uint32_t id = 0; r == 0 && id < build->n_tokens; id++) {
		r = add_token_text(emission, &build->tokens[id]);
		emission->ends[id] = emission->text.len;
		if (r == 0)
			r = add_number(emission->blob, emission->text.len);
	}
	if (r == 0)
		r = end_section(emission, LSC_TOK_TEXT_ENDS);
	begin_section(emission, LSC_TOK_TEXT);
	if (r == 0)
		r = lsc_buf_add(emission->blob, emission->text.data, emission->text.len);
	if (r == 0)
		r = end_section(emission, LSC_TOK_TEXT);
	begin_section(emission, LSC_TOK_FLAGS);
	for (uint32_t id = 0; r == 0 && id < build->n_tokens; id++)
		r = lsc_buf_add(emission->blob, &build->tokens[id].flags, 1);
	return r ? r : end_section(emission, LSC_TOK_FLAGS);
}

/* --- bytes and characters --- */

static int emit_bytes(struct emission *emission)
{
	const struct lsc_tokenizer_build *build = emission->build;
	uint8_t wanted = build->flags & LSC_TOKENIZER_BYTE_LEVEL ? 0 : LSC_TOKEN_BYTE;
	uint32_t of_byte[256];
	int r = 0;

	memset(of_byte, 0xff, sizeof(of_byte));
	for (uint32_t id = 0; id < build->n_tokens; id++) {
		size_t len;
		const uint8_t *text = token_text(emission, id, &len);

		if (len == 1 && build->tokens[id].flags == wanted &&
		    of_byte[*text] == LSC_MODEL_NO_TOKEN)
			of_byte[*text] = id;
	}
	begin_section(emission, LSC_TOK_BYTES);
	for (unsigned i = 0; r == 0 && i < 256; i++)
		r = add_number(emission->blob, of_byte[i]);
	return r ? r : end_section(emission, LSC_TOK_BYTES);
}

struct char_id {
	uint32_t cp, id;
};

static int order_chars(const void *a, const void *b)
{
	const struct char_id *x = a, *y = b;

	if (x->cp != y->cp)
		return x->cp < y->cp ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* The tokens of a single character, each character once. */
static uint32_t collect_chars(const struct emission *emission, struct char_id *chars)
{
	const struct lsc_tokenizer_build *build = emission->build;
	uint32_t n = 0, kept = 0;

	if (build->flags & LSC_TOKENIZER_BYTE_LEVEL)
		return 0;
	for (uint32_t id = 0; id < build->n_tokens; id++) {
		size_t len;
		const uint8_t *text = token_text(emission, id, &len);
		uint32_t cp;

		if (len && build->tokens[id].flags == 0 &&
		    lsc_utf8_next(text, len, &cp) == (int)len)
			chars[n++] = (struct char_id){cp, id};
	}
	qsort(chars, n, sizeof(*chars), order_chars);
	for (uint32_t i = 0; i < n; i++)
		if (kept == 0 || chars[i].cp != chars[kept - 1].cp)
			chars[kept++] = chars[i];
	return kept;
}

static int emit_chars(struct emission *emission)
{
	LSC_CLEANUP_FREE struct char_id *chars = calloc(emission->build->n_tokens, sizeof(*chars));
	uint32_t n;
	int r = 0;

	if (!chars)
		return -ENOMEM;
	emission->number[LSC_TOK_N_CHARS] = n = collect_chars(emission, chars);
	begin_section(emission, LSC_TOK_CHARS);
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = add_number(emission->blob, chars[i].cp);
	if (r == 0)
		r = end_section(emission, LSC_TOK_CHARS);
	begin_section(emission, LSC_TOK_CHAR_IDS);
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = add_number(emission->blob, chars[i].id);
	return r ? r : end_section(emission, LSC_TOK_CHAR_IDS);
}

/* --- tokens by their bytes --- */

static int order_ids(const void *a, const void *b, void *arg)
{
	const struct emission *emission = arg;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	size_t x_len, y_len;
	const uint8_t *x_text = token_text(emission, x, &x_len);
	const uint8_t *y_text = token_text(emission, y, &y_len);
	int order = memcmp(x_text, y_text, LSC_MIN(x_len, y_len));

	if (order == 0 && x_len != y_len)
		order = x_len < y_len ? -1 : 1;
	return order ? order : x < y ? -1 : x > y;
}

/* Fills ids with the ordinary or the added tokens that have a text, sorted by it, each text once.
 */
static uint32_t sort_ids(struct emission *emission, uint8_t wanted)
{
	const struct lsc_tokenizer_build *build = emission->build;
	uint32_t n = 0, kept = 0;

	for (uint32_t id = 0; id < build->n_tokens; id++) {
		uint8_t flags = build->tokens[id].flags;
		size_t len;

		token_text(emission, id, &len);
		if (len && (wanted ? flags & wanted : !flags))
			emission->ids[n++] = id;
	}
	qsort_r(emission->ids, n, sizeof(*emission->ids), order_ids, emission);
	for (uint32_t i = 0; i < n; i++) {
		size_t len, last_len = SIZE_MAX;
		const uint8_t *text = token_text(emission, emission->ids[i], &len), *last = text;

		if (kept)
			last = token_text(emission, emission->ids[kept - 1], &last_len);
		if (len != last_len || memcmp(text, last, len))
			emission->ids[kept++] = emission->ids[i];
	}
	return kept;
}

static int emit_sorted(struct emission *emission)
{
	uint32_t n = sort_ids(emission, 0), at = 0;
	int r = 0;

	emission->number[LSC_TOK_N_SORTED] = n;
	begin_section(emission, LSC_TOK_SORTED);
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = add_number(emission->blob, emission->ids[i]);
	if (r == 0)
		r = end_section(emission, LSC_TOK_SORTED);
	emission->number[LSC_TOK_N_ADDED] = n = sort_ids(emission, LSC_TOKEN_ADDED);
	begin_section(emission, LSC_TOK_ADDED_FIRST);
	for (unsigned byte = 0; r == 0 && byte <= 256; byte++) {
		size_t len;

		while (at < n && *token_text(emission, emission->ids[at], &len) < byte)
			at++;
		r = add_number(emission->blob, at);
	}
	if (r == 0)
		r = end_section(emission, LSC_TOK_ADDED_FIRST);
	begin_section(emission, LSC_TOK_ADDED);
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = add_number(emission->blob, emission->ids[i]);
	return r ? r : end_section(emission, LSC_TOK_ADDED);
}

/* --- merges --- */

static int order_merges(const void *a, const void *b)
{
	const struct lsc_vocab_merge *x = a, *y = b;

	if (x->left != y->left)
		return x->left < y->left ? -1 : 1;
	if (x->right != y->right)
		return x->right < y->right ? -1 : 1;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Of a pair that is listed twice the later counts, as in the reference implementation. */
static size_t sort_merges(struct lsc_vocab_merge *merges, size_t n)
{
	size_t kept = 0;

	qsort(merges, n, sizeof(*merges), order_merges);
	for (size_t i = 0; i < n; i++)
		if (i + 1 == n || merges[i].left != merges[i + 1].left ||
		    merges[i].right != merges[i + 1].right)
			merges[kept++] = merges[i];
	return kept;
}

static bool crosses_to_space(const struct emission *emission, uint32_t id)
{
	size_t len;
	const uint8_t *text = token_text(emission, id, &len);

	for (size_t i = 1; i < len; i++)
		if (text[i] == ' ' && text[i - 1] != ' ')
			return true;
	return false;
}

static int emit_merge_index(struct emission *emission, const struct lsc_vocab_merge *merges,
			    size_t n)
{
	size_t at = 0;
	int r = 0;

	begin_section(emission, LSC_TOK_MERGE_FIRST);
	for (uint32_t left = 0; r == 0 && left <= emission->build->n_tokens; left++) {
		while (at < n && merges[at].left < left)
			at++;
		r = add_number(emission->blob, at);
	}
	return r ? r : end_section(emission, LSC_TOK_MERGE_FIRST);
}

static int emit_merges(struct emission *emission)
{
	static const struct {
		enum lsc_tokenizer_section section;
		size_t offset;
	} columns[] = {
		{LSC_TOK_MERGE_RIGHT, offsetof(struct lsc_vocab_merge, right)},
		{LSC_TOK_MERGE_RANK, offsetof(struct lsc_vocab_merge, rank)},
		{LSC_TOK_MERGE_ID, offsetof(struct lsc_vocab_merge, id)},
	};
	const struct lsc_vocab_merge *merges = emission->build->merges;
	const size_t n = emission->build->n_merges;
	bool crosses = false;
	int r = emit_merge_index(emission, merges, n);

	for (size_t c = 0; r == 0 && c < LSC_ARRAY_SIZE(columns); c++) {
		begin_section(emission, columns[c].section);
		for (size_t i = 0; r == 0 && i < n; i++) {
			const char *merge = (const char *)&merges[i];

			r = add_number(emission->blob,
				       *(const uint32_t *)(merge + columns[c].offset));
		}
		if (r == 0)
			r = end_section(emission, columns[c].section);
	}
	for (size_t i = 0; i < n && !crosses; i++)
		crosses = crosses_to_space(emission, merges[i].id);
	if (!crosses && !(emission->build->flags & LSC_TOKENIZER_WHOLE_WORDS))
		emission->number[LSC_TOK_BLOB_FLAGS] |= LSC_TOKENIZER_NO_INNER_SPACE;
	emission->number[LSC_TOK_N_MERGES] = n;
	return r;
}

/* --- all of it --- */

static int emit_stages(struct emission *emission)
{
	const struct lsc_tokenizer_build *build = emission->build;
	int r = 0;

	emission->number[LSC_TOK_N_STAGES] = build->n_stages;
	begin_section(emission, LSC_TOK_STAGES);
	for (uint32_t i = 0; r == 0 && i < build->n_stages; i++) {
		r = add_number(emission->blob, build->stages[i].flags);
		if (r == 0)
			r = add_number(emission->blob, build->stages[i].len);
	}
	if (r == 0)
		r = end_section(emission, LSC_TOK_STAGES);
	begin_section(emission, LSC_TOK_PATTERNS);
	if (r == 0)
		r = lsc_buf_add(emission->blob, build->patterns.data, build->patterns.len);
	return r ? r : end_section(emission, LSC_TOK_PATTERNS);
}

static int emit(struct emission *emission)
{
	static int (*const parts[])(struct emission *) = {
		emit_texts, emit_bytes, emit_chars, emit_sorted, emit_merges, emit_stages,
	};
	uint8_t *header;
	int r = 0;

	emission->start = emission->blob->len;
	if (lsc_buf_reserve(emission->blob, LSC_TOKENIZER_HEADER) < 0)
		return -ENOMEM;
	emission->blob->len += LSC_TOKENIZER_HEADER;
	for (size_t i = 0; r == 0 && i < LSC_ARRAY_SIZE(parts); i++)
		r = parts[i](emission);
	if (r < 0)
		return r;
	header = emission->blob->data + emission->start;
	memcpy(header, LSC_TOKENIZER_MAGIC, 8);
	header += 8;
	for (unsigned i = 0; i < LSC_TOK_NUMBERS; i++, header += 4)
		put(header, emission->number[i]);
	for (unsigned i = 0; i < LSC_TOK_SECTIONS; i++, header += 8) {
		put(header, emission->section[i].offset);
		put(header + 4, emission->section[i].bytes);
	}
	return 0;
}

/* Byte tokens are those that spell one, where the vocabulary falls back to bytes. */
static void mark_bytes(struct lsc_tokenizer_build *build)
{
	for (uint32_t id = 0; id < build->n_tokens; id++) {
		struct lsc_vocab_token *token = &build->tokens[id];

		token->flags &= ~LSC_TOKEN_BYTE;
		if ((build->flags & LSC_TOKENIZER_BYTE_FALLBACK) && token->flags == 0 &&
		    byte_token(token) >= 0)
			token->flags = LSC_TOKEN_BYTE;
	}
}

int lsc_tokenizer_build_emit(struct lsc_tokenizer_build *build, struct lsc_buf *blob,
			     struct lsc_err *err)
{
	LSC_CLEANUP(emission_release) struct emission emission = {.build = build, .blob = blob};
	size_t before = blob->len;

	mark_bytes(build);
	build->n_merges = build->n_merges ? sort_merges(build->merges, build->n_merges) : 0;
	emission.number[LSC_TOK_BLOB_FLAGS] = build->flags;
	emission.number[LSC_TOK_VOCAB] = build->n_tokens;
	emission.number[LSC_TOK_BOS] = build->bos;
	emission.number[LSC_TOK_UNK] = build->unk;
	emission.ends = calloc(build->n_tokens, sizeof(*emission.ends));
	emission.ids = calloc(build->n_tokens, sizeof(*emission.ids));
	if (!emission.ends || !emission.ids || emit(&emission) < 0) {
		blob->len = before;
		return lsc_err_set(err, ENOMEM, "%m");
	}
	if (blob->len - before > MAX_BLOB) {
		blob->len = before;
		return lsc_err_set(err, EBADMSG, "the tokenizer is larger than %u bytes", MAX_BLOB);
	}
	return 0;
}
