/* A list of token ids, and the form in which scripts pass them: numbers with spaces between. */
#ifndef LSC_MODEL_TOKENS_H
#define LSC_MODEL_TOKENS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct lsc_tokens {
	uint32_t *ids;
	size_t n;
	size_t cap;
};

#define LSC_TOKENS_INIT                                                                            \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

void lsc_tokens_release(struct lsc_tokens *tokens);
int lsc_tokens_add(struct lsc_tokens *tokens, uint32_t id); /* 0 or -ENOMEM */

/* Appends the ids in text, which white space separates; -EBADMSG names the byte that is none.  One
 * above 32 bits is read as UINT32_MAX, which is no token of any vocabulary. */
int lsc_tokens_parse(struct lsc_tokens *tokens, const char *text, size_t len, struct lsc_err *err);

/* Appends the ids as one line. */
int lsc_tokens_print(const struct lsc_tokens *tokens, struct lsc_buf *line, struct lsc_err *err);

#endif
