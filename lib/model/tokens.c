/* tokens - a list of token ids */
#include "model/tokens.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/macros.h"

void lsc_tokens_release(struct lsc_tokens *tokens)
{
	free(tokens->ids);
	*tokens = (struct lsc_tokens)LSC_TOKENS_INIT;
}

int lsc_tokens_add(struct lsc_tokens *tokens, uint32_t id)
{
	if (tokens->n == tokens->cap) {
		size_t cap = tokens->cap ? tokens->cap + tokens->cap / 2 : 64;
		uint32_t *ids = reallocarray(tokens->ids, cap, sizeof(*ids));

		if (!ids)
			return -ENOMEM;
		tokens->ids = ids;
		tokens->cap = cap;
	}
	tokens->ids[tokens->n++] = id;
	return 0;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

int lsc_tokens_parse(struct lsc_tokens *tokens, const char *text, size_t len, struct lsc_err *err)
{
	for (size_t at = 0; at < len;) {
		uint64_t id = 0;
		size_t start = at;

		if (is_space(text[at])) {
			at++;
			continue;
		}
		for (; at < len && text[at] >= '0' && text[at] <= '9'; at++)
			id = LSC_MIN(id * 10 + (uint64_t)(text[at] - '0'), UINT32_MAX);
		if (at == start || (at < len && !is_space(text[at])))
			return lsc_err_set(err, EBADMSG, "byte %zu of the input is no token id",
					   at);
		if (lsc_tokens_add(tokens, (uint32_t)id) < 0)
			return lsc_err_set(err, ENOMEM, "cannot hold the ids: %m");
	}
	return 0;
}

int lsc_tokens_print(const struct lsc_tokens *tokens, struct lsc_buf *line, struct lsc_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < tokens->n; i++)
		r = lsc_buf_printf(line, "%s%u", i ? " " : "", tokens->ids[i]);
	if (r == 0)
		r = lsc_buf_add_str(line, "\n");
	return r < 0 ? lsc_err_set(err, -r, "cannot hold the ids: %m") : 0;
}
