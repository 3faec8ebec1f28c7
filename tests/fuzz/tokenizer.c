/* tokenizer - any bytes as a compiled tokenizer, as a peer's image might hold it: what opens
 * must encode and decode without harm and in bounded time */
#include "model/tokenizer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void stream(const struct lsc_tokenizer *tokenizer, const uint32_t *ids, size_t n)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	struct lsc_detokenizer detokenizer;
	struct lsc_err err = LSC_ERR_INIT;

	lsc_detokenizer_init(&detokenizer, tokenizer);
	for (size_t i = 0; i < n; i++)
		lsc_detokenizer_add(&detokenizer, ids[i], &text, &err);
	lsc_detokenizer_end(&detokenizer, &text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const texts[] = {"", "abba a<e>ab",
					    "  a\n\xc3\xa9\xe4\xb8\xad\xff 12'S"};
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
	struct lsc_tokenizer *tokenizer = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	uint32_t all[64];

	if (lsc_tokenizer_open(&tokenizer, data, len, &err) < 0)
		return 0;
	for (uint32_t i = 0; i < LSC_ARRAY_SIZE(all); i++)
		all[i] = i % lsc_tokenizer_vocab(tokenizer);
	if (lsc_tokenizer_decode(tokenizer, all, LSC_ARRAY_SIZE(all), true, &out, &err) < 0)
		abort();
	stream(tokenizer, all, LSC_ARRAY_SIZE(all));
	for (size_t i = 0; i < LSC_ARRAY_SIZE(texts); i++) {
		LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens tokens = LSC_TOKENS_INIT;

		if (lsc_tokenizer_encode(tokenizer, texts[i], strlen(texts[i]),
					 i ? LSC_ENCODE_BOS | LSC_ENCODE_SPECIAL : 0, &tokens,
					 &err) < 0)
			continue;
		for (size_t k = 0; k < tokens.n; k++)
			if (tokens.ids[k] >= lsc_tokenizer_vocab(tokenizer))
				abort();
		stream(tokenizer, tokens.ids, tokens.n);
	}
	lsc_tokenizer_close(tokenizer);
	return 0;
}
