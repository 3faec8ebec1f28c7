/* What the readers of tokenizer.json and GGUF fill in, and the blob that is made of it.
 *
 * Tokens' texts are borrowed from the reader's document, in its own notation: byte-level tokens in
 * GPT-2's alphabet, SentencePiece ones with U+2581 for a space.  Set the tokens, index them, then
 * add merges and stages, then emit.
 */
#ifndef LSC_MODEL_TOKENIZER_BUILD_H
#define LSC_MODEL_TOKENIZER_BUILD_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "model/tokenizer_blob.h"

struct lsc_vocab_token {
	const char *text;
	uint32_t len;
	uint8_t flags; /* enum lsc_token_flags */
};

struct lsc_vocab_merge {
	uint32_t left, right, rank, id;
};

struct lsc_tokenizer_build {
	unsigned flags; /* enum lsc_tokenizer_flags */
	uint32_t bos, unk;
	struct lsc_vocab_token *tokens; /* by id */
	uint32_t n_tokens;
	uint32_t *index; /* open addressing over the texts; LSC_MODEL_NO_TOKEN is free */
	uint32_t index_mask;
	struct lsc_vocab_merge *merges;
	size_t n_merges, cap_merges;
	struct lsc_buf patterns;
	struct {
		uint32_t flags, len;
	} stages[LSC_PRETOKENIZE_MAX_STAGES];
	uint32_t n_stages;
};

#define LSC_TOKENIZER_BUILD_INIT                                                                   \
	{                                                                                          \
		.bos = LSC_MODEL_NO_TOKEN, .unk = LSC_MODEL_NO_TOKEN                               \
	}

void lsc_tokenizer_build_release(struct lsc_tokenizer_build *build);

/* Makes room for ids 0 .. n-1, all absent; -EBADMSG when n is 0 or too large. */
int lsc_tokenizer_build_tokens(struct lsc_tokenizer_build *build, uint64_t n, struct lsc_err *err);

/* -EBADMSG for an id outside, or a text too long. */
int lsc_tokenizer_build_set(struct lsc_tokenizer_build *build, uint64_t id, const char *text,
			    size_t len, unsigned flags, struct lsc_err *err);

/* Makes the tokens findable by their text; of equal ones the ordinary one, then the lowest id. */
int lsc_tokenizer_build_index(struct lsc_tokenizer_build *build, struct lsc_err *err);
uint32_t lsc_tokenizer_build_find(const struct lsc_tokenizer_build *build, const char *text,
				  size_t len);

/* The byte that a character of GPT-2's alphabet stands for; -1 where it is not of the alphabet. */
int lsc_tokenizer_build_byte(uint32_t cp);

/* A merge by the texts of its two sides; -EBADMSG where one of the three is not a token. */
int lsc_tokenizer_build_merge(struct lsc_tokenizer_build *build, const char *left, size_t left_len,
			      const char *right, size_t right_len, uint32_t rank,
			      struct lsc_err *err);

/* All merges that SentencePiece would do: any two tokens whose texts together are a token, the one
 * of the highest score first.  score(arg, id) gives a token's. */
int lsc_tokenizer_build_merges_by_score(struct lsc_tokenizer_build *build,
					double (*score)(const void *arg, uint32_t id),
					const void *arg, struct lsc_err *err);

/* A pattern as published (Oniguruma's syntax), or one that is matched literally. */
int lsc_tokenizer_build_stage(struct lsc_tokenizer_build *build, const char *regex, size_t len,
			      unsigned flags, struct lsc_err *err);
int lsc_tokenizer_build_literal(struct lsc_tokenizer_build *build, const char *text, size_t len,
				unsigned flags, struct lsc_err *err);

int lsc_tokenizer_build_emit(struct lsc_tokenizer_build *build, struct lsc_buf *blob,
			     struct lsc_err *err);

/* The patterns many share. */
extern const char lsc_pattern_gpt2[];
extern const char lsc_pattern_digit[];

/* --- the readers --- */

/* Fills build from a parsed tokenizer.json (a json_t, which must outlive it). */
struct json_t;
int lsc_tokenizer_build_json(struct lsc_tokenizer_build *build, const struct json_t *root,
			     struct lsc_err *err);

/* The parts of it that say what happens around the vocabulary (tokenizer_steps.c). */
int lsc_tokenizer_build_steps(struct lsc_tokenizer_build *build, const struct json_t *root,
			      struct lsc_err *err);

struct lsc_gguf;
int lsc_tokenizer_build_gguf(struct lsc_tokenizer_build *build, const struct lsc_gguf *gguf,
			     struct lsc_err *err);

#endif
