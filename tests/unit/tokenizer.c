/* tokenizer - published vectors through a blob, both ways and piece by piece */
#include "model/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "model/utf8.h"
#include "tap.h"

#define SEPARATOR "\n__ggml_vocab_test__\n"

static bool ids_equal(const struct lsc_tokens *tokens, const char *line)
{
	size_t i = 0;
	char *end;

	for (;; i++) {
		unsigned long id = strtoul(line, &end, 10);

		if (end == line)
			return i == tokens->n;
		if (i >= tokens->n || tokens->ids[i] != id)
			return false;
		line = end;
	}
}

static bool comes_back(const struct lsc_tokenizer *tokenizer, const struct lsc_tokens *tokens,
		       const char *text, size_t len)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf whole = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf streamed = LSC_BUF_INIT;
	struct lsc_detokenizer detokenizer;
	struct lsc_err err = LSC_ERR_INIT;

	lsc_detokenizer_init(&detokenizer, tokenizer);
	for (size_t i = 0; i < tokens->n; i++)
		if (lsc_detokenizer_add(&detokenizer, tokens->ids[i], &streamed, &err) < 0 ||
		    lsc_utf8_valid_prefix(streamed.data, streamed.len) != streamed.len)
			return false;
	if (lsc_detokenizer_end(&detokenizer, &streamed) < 0 ||
	    lsc_tokenizer_decode(tokenizer, tokens->ids, tokens->n, false, &whole, &err) < 0)
		return false;
	return whole.len == len && streamed.len == len &&
	       (len == 0 || (!memcmp(whole.data, text, len) && !memcmp(streamed.data, text, len)));
}

/* Runs one vocabulary's vectors; texts and ids are changed where lines end. */
static void run_vectors(const char *name, const struct lsc_tokenizer *tokenizer, char *texts,
			char *ids)
{
	unsigned n = 0, wrong = 0, lost = 0;

	while (texts && ids) {
		LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens tokens = LSC_TOKENS_INIT;
		char *next = strstr(texts, SEPARATOR), *line = strsep(&ids, "\n");
		size_t len = next ? (size_t)(next - texts) : strlen(texts);
		struct lsc_err err = LSC_ERR_INIT;

		n++;
		if (lsc_tokenizer_encode(tokenizer, texts, len, 0, &tokens, &err) < 0 ||
		    !ids_equal(&tokens, line)) {
			wrong++;
			printf("# %s, text %u: want %s %s\n", name, n, line, err.text);
		}
		lost += !comes_back(tokenizer, &tokens, texts, len);
		texts = next ? next + strlen(SEPARATOR) : NULL;
	}
	ok(n == 47 && wrong == 0 && lost == 0, "%s: %u texts, %u wrong, %u do not come back", name,
	   n, wrong, lost);
}

static void test_vectors(const char *name, const char *source)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf blob = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf texts = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf ids = LSC_BUF_INIT;
	struct lsc_tokenizer *tokenizer = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	char path[2][128];
	const char *found[2];

	snprintf(path[0], sizeof(path[0]), "vectors/ggml-vocab-%s.gguf.inp", name);
	snprintf(path[1], sizeof(path[1]), "vectors/ggml-vocab-%s.gguf.out", name);
	found[0] = test_data(path[0]);
	found[1] = test_data(path[1]);
	if (!source || !found[0] || !found[1]) {
		skip("no test data for the vocabulary %s", name);
		return;
	}
	if (lsc_file_read(found[0], 1 << 20, &texts, &err) < 0 ||
	    lsc_file_read(found[1], 1 << 20, &ids, &err) < 0 ||
	    lsc_tokenizer_compile(&blob, source, NULL, &err) < 0 ||
	    lsc_tokenizer_open(&tokenizer, blob.data, blob.len, &err) < 0)
		ok(false, "%s: %s", name, err.text);
	else
		run_vectors(name, tokenizer, (char *)texts.data, (char *)ids.data);
	lsc_tokenizer_close(tokenizer);
}

/* Unpacks a tokenizer that the test data has packed; NULL where it cannot. */
static const char *unpacked(const char *relative, const char *name)
{
	static char paths[4][1024];
	static unsigned next;
	char *path = paths[next++ % 4], command[4096];
	const char *packed = test_data(relative);

	snprintf(path, sizeof(paths[0]), "%s/%s", scratch(), name);
	if (!packed)
		return NULL;
	snprintf(command, sizeof(command), "zstd -dqf '%s' -o '%s'", packed, path);
	return system(command) == 0 ? path : NULL;
}

/* --- a small tokenizer of our own, so that something runs without the data --- */

static const char small[] =
	"{\"added_tokens\":[{\"id\":7,\"content\":\"<end>\",\"special\":true}],"
	"\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
	"\"decoder\":{\"type\":\"ByteLevel\"},"
	"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,"
	"\"\xc4\xa0\":5,\"bc\":6},\"merges\":[\"b c\",\"a b\",\"a bc\"]}}";

static void test_small(void)
{
	LSC_CLEANUP_FREE char *path = NULL;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf blob = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens tokens = LSC_TOKENS_INIT;
	struct lsc_tokenizer *tokenizer = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	unsigned accepted = 0;

	if (asprintf(&path, "%s/tokenizer.json", scratch()) < 0 ||
	    lsc_file_write(path, small, sizeof(small) - 1, &err) < 0 ||
	    lsc_tokenizer_compile(&blob, path, NULL, &err) < 0 ||
	    lsc_tokenizer_open(&tokenizer, blob.data, blob.len, &err) < 0) {
		ok(false, "a small tokenizer: %s", err.text);
		return;
	}
	ok(lsc_tokenizer_encode(tokenizer, "abc ab<end>", 11, LSC_ENCODE_SPECIAL, &tokens, &err) ==
			   0 &&
		   ids_equal(&tokens, "4 5 3 7"),
	   "merges go by rank, special tokens are found");
	lsc_tokenizer_close(tokenizer);
	for (size_t len = 0; len + 4 <= blob.len; len++) { /* the last bytes may be padding */
		LSC_CLEANUP_FREE uint8_t *cut = malloc(len ? len : 1);

		memcpy(cut, blob.data, len);
		if (lsc_tokenizer_open(&tokenizer, cut, len, &err) == 0) {
			accepted++;
			lsc_tokenizer_close(tokenizer);
		}
	}
	ok(accepted == 0, "a blob that is cut is refused");
}

/* --- byte by byte --- */

static const char bytes[] =
	"{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
	"\"decoder\":{\"type\":\"ByteLevel\"},"
	"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"\xc3\x83\":1,\"\xc2\xa9\":2,"
	"\"\xc3\xb0\":3,\"\xc5\x81\":4,\"\xc4\xbb\":5,\"\xc4\xa4\":6},\"merges\":[]}}";

/* Tokens that are single bytes: 0xc3, 0xa9, 0xf0, 0x9f (4), 0x99 (5), 0x82 (6). */
static void test_streaming(void)
{
	static const struct {
		const char *ids, *parts; /* what each id gives, and the end, with bars between */
	} cases[] = {
		{"0 0", "a|a|"},
		{"1 2 0", "|\xc3\xa9|a|"},
		{"3 4 5 6", "|||\xf0\x9f\x99\x82|"},
		{"1 0", "|\xef\xbf\xbd"
			"a|"}, /* not a character after all */
		{"1 1 2", "|\xef\xbf\xbd|\xc3\xa9|"},
		{"3 4 0", "||\xef\xbf\xbd"
			  "a|"}, /* one mark for a maximal part */
		{"2 2", "\xef\xbf\xbd|\xef\xbf\xbd|"},
		{"3 4 5", "|||\xef\xbf\xbd"}, /* cut off */
	};
	LSC_CLEANUP_FREE char *path = NULL;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf blob = LSC_BUF_INIT;
	struct lsc_tokenizer *tokenizer = NULL;
	struct lsc_err err = LSC_ERR_INIT;

	if (asprintf(&path, "%s/bytes.json", scratch()) < 0 ||
	    lsc_file_write(path, bytes, sizeof(bytes) - 1, &err) < 0 ||
	    lsc_tokenizer_compile(&blob, path, NULL, &err) < 0 ||
	    lsc_tokenizer_open(&tokenizer, blob.data, blob.len, &err) < 0) {
		ok(false, "a tokenizer of bytes: %s", err.text);
		return;
	}
	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		LSC_CLEANUP(lsc_tokens_release) struct lsc_tokens tokens = LSC_TOKENS_INIT;
		LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
		struct lsc_detokenizer detokenizer;

		lsc_tokens_parse(&tokens, cases[i].ids, strlen(cases[i].ids), &err);
		lsc_detokenizer_init(&detokenizer, tokenizer);
		for (size_t k = 0; k < tokens.n; k++) {
			lsc_detokenizer_add(&detokenizer, tokens.ids[k], &text, &err);
			lsc_buf_add_str(&text, "|");
		}
		lsc_detokenizer_end(&detokenizer, &text);
		is_str((const char *)text.data, cases[i].parts, "as they come: %s", cases[i].ids);
	}
	lsc_tokenizer_close(tokenizer);
}

int main(void)
{
	test_small();
	test_streaming();
	test_vectors("gpt-2", test_data("vectors/ggml-vocab-gpt-2.gguf"));
	test_vectors("llama-spm", test_data("vectors/ggml-vocab-llama-spm.gguf"));
	test_vectors("deepseek-coder", test_data("vectors/ggml-vocab-deepseek-coder.gguf"));
	test_vectors("llama-bpe", unpacked("tokenizers/llama3-tokenizer.json.zst", "llama3"));
	test_vectors("qwen2", unpacked("tokenizers/qwen3-tokenizer.json.zst", "qwen3"));
	return done_testing();
}
