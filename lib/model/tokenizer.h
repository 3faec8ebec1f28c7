/* Text to token ids and back.
 *
 * A tokenizer is compiled once, from a Hugging Face tokenizer.json or the vocabulary of a GGUF
 * file, into a blob that lies in an image's manifest and is used as it lies (lsc-image(5)).  One
 * runtime form serves byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM) and SentencePiece-style BPE
 * with byte fallback (Llama 2): special tokens are cut out, the rest is normalised, split by the
 * pre-tokenizer's PCRE2 patterns, and merged by rank.
 *
 * Opening one allocates what PCRE2 needs and little else.  Encoding and decoding do not change a
 * tokenizer: threads may share it, each with its own scratch inside the call.
 */
#ifndef LSC_MODEL_TOKENIZER_H
#define LSC_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "model/tokens.h"

/* Appends the blob compiled from path: a directory with tokenizer.json, a tokenizer.json, or a
 * GGUF file.  Same input, same bytes.  *ret_chat is set to the chat template's text where the
 * source has one (free it), else NULL. */
int lsc_tokenizer_compile(struct lsc_buf *blob, const char *path, char **ret_chat,
			  struct lsc_err *err);

/* Appends the blob of a vocabulary for a model without one: its first 256 ids are the bytes, the
 * others made-up words.  It needs 256 ids. */
int lsc_tokenizer_compile_dummy(struct lsc_buf *blob, uint32_t vocab, struct lsc_err *err);

struct lsc_tokenizer;

/* Borrows blob, which must stay; -EBADMSG where it is not a sound blob. */
int lsc_tokenizer_open(struct lsc_tokenizer **ret_tokenizer, const void *blob, size_t len,
		       struct lsc_err *err);
void lsc_tokenizer_close(struct lsc_tokenizer *tokenizer);

uint32_t lsc_tokenizer_vocab(const struct lsc_tokenizer *tokenizer);

enum lsc_encode_flags {
	LSC_ENCODE_BOS = 1,     /* begin with the model's BOS where its tokenizer would */
	LSC_ENCODE_SPECIAL = 2, /* recognise special tokens written in the text */
};

/* Appends the ids of text (UTF-8; invalid bytes become U+FFFD first). */
int lsc_tokenizer_encode(const struct lsc_tokenizer *tokenizer, const char *text, size_t len,
			 unsigned flags, struct lsc_tokens *tokens, struct lsc_err *err);

/* Appends the bytes of ids.  Special tokens are left out unless special is set.  -EBADMSG for an
 * id outside the vocabulary. */
int lsc_tokenizer_decode(const struct lsc_tokenizer *tokenizer, const uint32_t *ids, size_t n,
			 bool special, struct lsc_buf *text, struct lsc_err *err);

/* Decoding as tokens come: adds only whole UTF-8 characters, keeping the rest for later. */
struct lsc_detokenizer {
	const struct lsc_tokenizer *tokenizer;
	uint8_t held[16]; /* bytes of a character that is not complete */
	uint32_t n_held;
	bool first; /* nothing was added yet: a leading space may have to go */
};

void lsc_detokenizer_init(struct lsc_detokenizer *detokenizer,
			  const struct lsc_tokenizer *tokenizer);
int lsc_detokenizer_add(struct lsc_detokenizer *detokenizer, uint32_t id, struct lsc_buf *text,
			struct lsc_err *err);
/* What is still held, as U+FFFD. */
int lsc_detokenizer_end(struct lsc_detokenizer *detokenizer, struct lsc_buf *text);

#endif
