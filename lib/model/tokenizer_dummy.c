/* tokenizer_dummy - a vocabulary for models that have none: bytes, and made-up words
 *
 * Ids 0 to 255 are the bytes, so that any text has ids; the others are words of two syllables or
 * more, each its own, so that whatever such a model answers can be seen.  Nothing merges: the words
 * occur in answers alone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/tokenizer_build.h"
#include "model/utf8.h"

#define TEXT_MAX 32

/* The word of a number: a space, then its digits to the base 100 as syllables. */
static size_t word_of(uint32_t number, char text[TEXT_MAX])
{
	static const char consonants[] = "bcdfghjklmnprstvwxyz", vowels[] = "aeiou";
	size_t len = 0;

	memcpy(text, "\xc4\xa0", 2); /* the alphabet's space */
	for (len = 2; len < 6 || number > 0; number /= 100) {
		text[len++] = consonants[number % 100 / 5];
		text[len++] = vowels[number % 5];
	}
	return len;
}

static int set_bytes(struct lsc_tokenizer_build *build, char (*texts)[TEXT_MAX],
		     struct lsc_err *err)
{
	int r = 0;

	for (uint32_t cp = 0, found = 0; r == 0 && found < 256; cp++) {
		int byte = lsc_tokenizer_build_byte(cp);

		if (byte < 0)
			continue;
		r = lsc_tokenizer_build_set(build, (uint32_t)byte, texts[byte],
					    lsc_utf8_put((uint8_t *)texts[byte], cp), 0, err);
		found++;
	}
	return r;
}

int lsc_tokenizer_compile_dummy(struct lsc_buf *blob, uint32_t vocab, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_tokenizer_build_release)
	struct lsc_tokenizer_build build = LSC_TOKENIZER_BUILD_INIT;
	LSC_CLEANUP_FREE char(*texts)[TEXT_MAX] = calloc(vocab, sizeof(*texts));
	int r;

	if (!texts)
		return lsc_err_set(err, ENOMEM, "cannot make a vocabulary: %m");
	build.flags = LSC_TOKENIZER_BYTE_LEVEL;
	if ((r = lsc_tokenizer_build_tokens(&build, vocab, err)) < 0 ||
	    (r = set_bytes(&build, texts, err)) < 0)
		return r;
	for (uint32_t id = 256; id < vocab; id++) {
		r = lsc_tokenizer_build_set(&build, id, texts[id], word_of(id - 256, texts[id]), 0,
					    err);
		if (r < 0)
			return r;
	}
	r = lsc_tokenizer_build_index(&build, err);
	return r < 0 ? r : lsc_tokenizer_build_emit(&build, blob, err);
}
