/* Splitting text into the pieces within which tokens are merged.
 *
 * A pre-tokenizer is a few patterns, applied one after the other: each splits every piece that the
 * one before left into its matches and what lies between them (Hugging Face's "Isolated").
 * Patterns are PCRE2's; those published for Oniguruma are translated when a tokenizer is compiled.
 */
#ifndef LSC_MODEL_PRETOKENIZE_H
#define LSC_MODEL_PRETOKENIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define LSC_PRETOKENIZE_MAX_STAGES  16
#define LSC_PRETOKENIZE_MAX_PATTERN 4096 /* bytes, translated */

enum lsc_pretokenize_flags {
	LSC_PRETOKENIZE_DROP_MATCHES = 1, /* the matches are separators, and go */
	LSC_PRETOKENIZE_DROP_GAPS = 2,    /* the matches are all that is kept */
};

/* Appends an Oniguruma pattern as PCRE2 understands it; -EOPNOTSUPP where it uses something that
 * would mean another thing there. */
int lsc_pretokenize_translate(struct lsc_buf *pattern, const char *regex, size_t len,
			      struct lsc_err *err);

/* Appends a pattern that matches text as it is. */
int lsc_pretokenize_quote(struct lsc_buf *pattern, const char *text, size_t len);

struct lsc_pretokenizer;

struct lsc_pretokenizer *lsc_pretokenizer_new(void); /* NULL when out of memory */
void lsc_pretokenizer_free(struct lsc_pretokenizer *pretokenizer);

/* Adds a stage; -EBADMSG where PCRE2 refuses the pattern. */
int lsc_pretokenizer_add(struct lsc_pretokenizer *pretokenizer, const char *pattern, size_t len,
			 unsigned flags, struct lsc_err *err);

/* Called for every piece, in order, never for an empty one; negative ends the split with it. */
typedef int (*lsc_piece_fn)(void *arg, const uint8_t *piece, size_t len);

/* Splits text, which must be valid UTF-8.  -EBADMSG where a pattern needs far more steps for it
 * than the text is long.  Threads may share a pre-tokenizer. */
int lsc_pretokenizer_split(const struct lsc_pretokenizer *pretokenizer, const uint8_t *text,
			   size_t len, lsc_piece_fn fn, void *arg, struct lsc_err *err);

#endif
