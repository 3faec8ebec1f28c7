/* The compiled tokenizer: how the blob of lsc-image(5) is laid out, and how it is read in place.
 *
 * A header of 32-bit little-endian numbers, then sections at the offsets it names.  The blob may
 * lie at any address, so numbers are fetched byte-wise.  Opening checks that every section lies
 * inside and has the size its count asks for; what the sections hold (ids, offsets into the text)
 * is checked where it is used, so opening takes the same time for every vocabulary.
 *
 *	0	"lsc-tok" and the version, 1
 *	8	flags, vocab, bos, unk, n_chars, n_sorted, n_added, n_merges, n_stages
 *	44	for each section: offset in the blob, bytes
 *
 * Tokens are known by the bytes they decode to: of byte-level BPE the bytes behind its alphabet,
 * of SentencePiece vocabularies a space for each U+2581, and the byte of a <0xNN> token.
 */
#ifndef LSC_MODEL_TOKENIZER_BLOB_H
#define LSC_MODEL_TOKENIZER_BLOB_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "model/config.h"
#include "model/pretokenize.h"
#include "model/tokenizer.h"

#define LSC_TOKENIZER_MAGIC     "lsc-tok\1"
#define LSC_TOKENIZER_TOKEN_MAX 4096 /* bytes of a token */

enum lsc_tokenizer_flags {
	LSC_TOKENIZER_BYTE_LEVEL = 1 << 0,    /* symbols are bytes; else characters */
	LSC_TOKENIZER_SPACES = 1 << 1,        /* U+2581 in a text is a space */
	LSC_TOKENIZER_BYTE_FALLBACK = 1 << 2, /* a character without a token becomes its bytes */
	LSC_TOKENIZER_FUSE_UNK = 1 << 3,      /* unknown characters in a row are one unk */
	LSC_TOKENIZER_WHOLE_WORDS = 1 << 4,   /* a piece that is a token is not merged */
	LSC_TOKENIZER_NFC = 1 << 5,
	LSC_TOKENIZER_PREFIX_FIRST = 1 << 6,    /* a space before the text */
	LSC_TOKENIZER_PREFIX_EACH = 1 << 7,     /* and after each special token */
	LSC_TOKENIZER_PREFIX_UNLESS = 1 << 8,   /* unless there is one */
	LSC_TOKENIZER_STRIP = 1 << 9,           /* decoding drops the first space */
	LSC_TOKENIZER_NO_INNER_SPACE = 1 << 10, /* merges never cross from a non-space to a space */
};

enum lsc_token_flags {
	LSC_TOKEN_ADDED = 1,   /* found in the text as a whole, before anything else */
	LSC_TOKEN_SPECIAL = 2, /* of these, only where the caller wants it */
	LSC_TOKEN_LSTRIP = 4,  /* takes the white space before it along */
	LSC_TOKEN_RSTRIP = 8,
	LSC_TOKEN_BYTE = 16,   /* <0xNN> */
	LSC_TOKEN_ABSENT = 32, /* no such id */
};

enum lsc_tokenizer_section {
	LSC_TOK_TEXT_ENDS,   /* u32[vocab]: where the token's bytes end in TEXT */
	LSC_TOK_TEXT,        /* u8[] */
	LSC_TOK_FLAGS,       /* u8[vocab] */
	LSC_TOK_BYTES,       /* u32[256]: the token of a byte */
	LSC_TOK_CHARS,       /* u32[n_chars]: characters that are tokens, rising */
	LSC_TOK_CHAR_IDS,    /* u32[n_chars] */
	LSC_TOK_SORTED,      /* u32[n_sorted]: ids of ordinary tokens by their bytes */
	LSC_TOK_ADDED_FIRST, /* u32[257]: where tokens that begin with a byte start in ADDED */
	LSC_TOK_ADDED,       /* u32[n_added]: ids of added tokens by their bytes */
	LSC_TOK_MERGE_FIRST, /* u32[vocab + 1]: where the merges of a left token start */
	LSC_TOK_MERGE_RIGHT, /* u32[n_merges]: the right token, rising within a left one */
	LSC_TOK_MERGE_RANK,  /* u32[n_merges]: lower is sooner */
	LSC_TOK_MERGE_ID,    /* u32[n_merges]: what they become */
	LSC_TOK_STAGES,      /* u32[n_stages][2]: flags, bytes of the pattern */
	LSC_TOK_PATTERNS,    /* u8[] */
	LSC_TOK_SECTIONS
};

enum lsc_tokenizer_number {
	LSC_TOK_BLOB_FLAGS,
	LSC_TOK_VOCAB,
	LSC_TOK_BOS, /* LSC_MODEL_NO_TOKEN where encoding adds none; so is unk */
	LSC_TOK_UNK,
	LSC_TOK_N_CHARS,
	LSC_TOK_N_SORTED,
	LSC_TOK_N_ADDED,
	LSC_TOK_N_MERGES,
	LSC_TOK_N_STAGES,
	LSC_TOK_NUMBERS
};

#define LSC_TOKENIZER_HEADER (8 + 4 * LSC_TOK_NUMBERS + 8 * LSC_TOK_SECTIONS)

struct lsc_tokenizer {
	const uint8_t *section[LSC_TOK_SECTIONS];
	uint32_t bytes[LSC_TOK_SECTIONS];
	uint32_t number[LSC_TOK_NUMBERS];
	struct lsc_pretokenizer *pretokenizer; /* NULL: text is not split */
};

static inline uint32_t lsc_tok_get(const uint8_t *array, size_t index)
{
	uint32_t value;

	memcpy(&value, array + 4 * index, 4);
	return le32toh(value);
}

static inline uint32_t lsc_tok_item(const struct lsc_tokenizer *tokenizer,
				    enum lsc_tokenizer_section section, size_t index)
{
	return lsc_tok_get(tokenizer->section[section], index);
}

/* The bytes of a token below vocab; none where the blob is not sound. */
static inline const uint8_t *lsc_tok_text(const struct lsc_tokenizer *tokenizer, uint32_t id,
					  size_t *ret_len)
{
	uint32_t start = id ? lsc_tok_item(tokenizer, LSC_TOK_TEXT_ENDS, id - 1) : 0;
	uint32_t end = lsc_tok_item(tokenizer, LSC_TOK_TEXT_ENDS, id);

	if (start > end || end > tokenizer->bytes[LSC_TOK_TEXT])
		start = end = 0;
	*ret_len = end - start;
	return tokenizer->section[LSC_TOK_TEXT] + start;
}

/* The token of a sorted section (SORTED, ADDED) that is just these bytes, or LSC_MODEL_NO_TOKEN. */
uint32_t lsc_tok_find(const struct lsc_tokenizer *tokenizer, enum lsc_tokenizer_section section,
		      const uint8_t *text, size_t len);

#endif
