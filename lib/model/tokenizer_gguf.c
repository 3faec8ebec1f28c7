/* tokenizer_gguf - the vocabulary in a GGUF file's metadata
 *
 * Such a file has no patterns, only the name of a pre-tokenizer: what each name stands for is the
 * tokenizer.json of the model it is named after.
 */
#include <string.h>

#include "base/macros.h"
#include "model/gguf.h"
#include "model/tokenizer_build.h"

/* tokenizer.ggml.token_type */
enum token_type { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

static const char pattern_llama3[] =
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
	" ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char pattern_qwen2[] =
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
	" ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static const struct {
	const char *name;
	const char *patterns[5];
	unsigned flags;
	bool bos; /* where the file does not say */
} pre_tokenizers[] = {
	{"gpt-2", {lsc_pattern_gpt2}, 0, false},
	{"smollm", {lsc_pattern_digit, lsc_pattern_gpt2}, 0, false},
	{"llama-bpe", {pattern_llama3}, LSC_TOKENIZER_WHOLE_WORDS, true},
	{"llama3", {pattern_llama3}, LSC_TOKENIZER_WHOLE_WORDS, true},
	{"llama-v3", {pattern_llama3}, LSC_TOKENIZER_WHOLE_WORDS, true},
	{"qwen2", {pattern_qwen2}, LSC_TOKENIZER_NFC, false},
	{"deepseek-coder",
	 {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+",
	  "[\xe4\xb8\x80-\xe9\xbe\xa5\xe0\xa0\x80-\xe4\xb8\x80\xea\xb0\x80-\xed\x9f\xbf]+",
	  lsc_pattern_digit},
	 0,
	 true},
};

static const struct lsc_gguf_kv *need_array(const struct lsc_gguf *gguf, const char *key,
					    bool strings, struct lsc_err *err)
{
	const struct lsc_gguf_kv *kv = lsc_gguf_find(gguf, key);

	if (!kv || kv->type != LSC_GGUF_ARRAY || (kv->item_type == LSC_GGUF_STRING) != strings) {
		lsc_err_set(err, EBADMSG, "key '%s' is not there, or no such array", key);
		return NULL;
	}
	return kv;
}

static unsigned flags_of(int64_t type)
{
	switch (type) {
	case UNKNOWN:
	case CONTROL:
		return LSC_TOKEN_ADDED | LSC_TOKEN_SPECIAL;
	case USER_DEFINED:
		return LSC_TOKEN_ADDED;
	default:
		return 0;
	}
}

static int read_tokens(struct lsc_tokenizer_build *build, const struct lsc_gguf *gguf,
		       struct lsc_err *err)
{
	const struct lsc_gguf_kv *tokens = need_array(gguf, "tokenizer.ggml.tokens", true, err);
	const struct lsc_gguf_kv *types = lsc_gguf_find(gguf, "tokenizer.ggml.token_type");
	const char *text;
	size_t at = 0, len;
	int r;

	if (!tokens)
		return -EBADMSG;
	if (types && (types->type != LSC_GGUF_ARRAY || types->n != tokens->n ||
		      (types->item_type != LSC_GGUF_I32 && types->item_type != LSC_GGUF_U32)))
		return lsc_err_set(err, EBADMSG,
				   "key 'tokenizer.ggml.token_type' has not a type for each token");
	r = lsc_tokenizer_build_tokens(build, tokens->n, err);
	for (uint64_t id = 0; r == 0 && lsc_gguf_next_str(tokens, &at, &text, &len); id++)
		r = lsc_tokenizer_build_set(build, id, text, len,
					    types ? flags_of(lsc_gguf_item_int(types, id)) : 0,
					    err);
	return r < 0 ? r : lsc_tokenizer_build_index(build, err);
}

/* The id under key where the vocabulary has it, else LSC_MODEL_NO_TOKEN. */
static int read_id(const struct lsc_tokenizer_build *build, const struct lsc_gguf *gguf,
		   const char *key, uint32_t *ret_id, struct lsc_err *err)
{
	uint64_t id = LSC_MODEL_NO_TOKEN;
	int r = lsc_gguf_uint(gguf, key, UINT32_MAX, &id, err);

	if (r < 0 && r != -ENOENT)
		return r;
	*ret_id = id < build->n_tokens ? (uint32_t)id : LSC_MODEL_NO_TOKEN;
	return 0;
}

static int read_bos(struct lsc_tokenizer_build *build, const struct lsc_gguf *gguf, bool add,
		    struct lsc_err *err)
{
	int r = lsc_gguf_bool(gguf, "tokenizer.ggml.add_bos_token", &add, err);

	if ((r < 0 && r != -ENOENT) || !add)
		return r == -ENOENT ? 0 : r;
	return read_id(build, gguf, "tokenizer.ggml.bos_token_id", &build->bos, err);
}

/* --- byte-level --- */

static int read_merges(struct lsc_tokenizer_build *build, const struct lsc_gguf *gguf,
		       struct lsc_err *err)
{
	const struct lsc_gguf_kv *merges = need_array(gguf, "tokenizer.ggml.merges", true, err);
	const char *text;
	size_t at = 0, len;
	int r = merges ? 0 : -EBADMSG;

	for (uint32_t rank = 0; r == 0 && lsc_gguf_next_str(merges, &at, &text, &len); rank++) {
		const char *space = memchr(text, ' ', len);

		if (!space)
			return lsc_err_set(err, EBADMSG, "merge %u is not a pair", rank);
		r = lsc_tokenizer_build_merge(build, text, (size_t)(space - text), space + 1,
					      len - (size_t)(space - text) - 1, rank, err);
	}
	return r;
}

static int build_byte_level(struct lsc_tokenizer_build *build, const struct lsc_gguf *gguf,
			    struct lsc_err *err)
{
	const char *pre = "";
	size_t len = 0, p = 0;
	int r = lsc_gguf_str(gguf, "tokenizer.ggml.pre", &pre, &len, err);

	if (r < 0 && r != -ENOENT)
		return r;
	while (p < LSC_ARRAY_SIZE(pre_tokenizers) &&
	       (strlen(pre_tokenizers[p].name) != len || memcmp(pre_tokenizers[p].name, pre, len)))
		p++;
	if (p == LSC_ARRAY_SIZE(pre_tokenizers))
		return lsc_err_set(err, EOPNOTSUPP, "pre-tokenizer '%.*s' is not supported",
				   (int)LSC_MIN(len, 40), pre);
	build->flags |= LSC_TOKENIZER_BYTE_LEVEL | pre_tokenizers[p].flags;
	r = 0;
	for (size_t i = 0; r == 0 && i < LSC_ARRAY_SIZE(pre_tokenizers[p].patterns) &&
			   pre_tokenizers[p].patterns[i];
	     i++)
		r = lsc_tokenizer_build_stage(build, pre_tokenizers[p].patterns[i],
					      strlen(pre_tokenizers[p].patterns[i]), 0, err);
	if (r < 0 || (r = read_merges(build, gguf, err)) < 0)
		return r;
	return read_bos(build, gguf, pre_tokenizers[p].bos, err);
}

/* --- SentencePiece --- */

static double score_of(const void *arg, uint32_t id)
{
	return lsc_gguf_item_real(arg, id);
}

static int build_sentencepiece(struct lsc_tokenizer_build *build, const struct lsc_gguf *gguf,
			       struct lsc_err *err)
{
	const struct lsc_gguf_kv *scores = need_array(gguf, "tokenizer.ggml.scores", false, err);
	bool prefix = true;
	int r;

	if (!scores)
		return -EBADMSG;
	if (scores->item_type != LSC_GGUF_F32 || scores->n != build->n_tokens)
		return lsc_err_set(err, EBADMSG,
				   "key 'tokenizer.ggml.scores' has not a score for each token");
	r = lsc_gguf_bool(gguf, "tokenizer.ggml.add_space_prefix", &prefix, err);
	if (r < 0 && r != -ENOENT)
		return r;
	build->flags |= LSC_TOKENIZER_SPACES | LSC_TOKENIZER_BYTE_FALLBACK | LSC_TOKENIZER_FUSE_UNK;
	if (prefix)
		build->flags |= LSC_TOKENIZER_PREFIX_EACH | LSC_TOKENIZER_STRIP;
	if ((r = read_id(build, gguf, "tokenizer.ggml.unknown_token_id", &build->unk, err)) < 0 ||
	    (r = lsc_tokenizer_build_merges_by_score(build, score_of, scores, err)) < 0)
		return r;
	return read_bos(build, gguf, true, err);
}

int lsc_tokenizer_build_gguf(struct lsc_tokenizer_build *build, const struct lsc_gguf *gguf,
			     struct lsc_err *err)
{
	const char *model;
	size_t len;
	int r = lsc_gguf_str(gguf, "tokenizer.ggml.model", &model, &len, err);

	if (r == -ENOENT)
		return lsc_err_set(err, ENOENT, "the file has no tokenizer");
	if (r < 0 || (r = read_tokens(build, gguf, err)) < 0)
		return r;
	if (len == 4 && !memcmp(model, "gpt2", 4))
		return build_byte_level(build, gguf, err);
	if (len == 5 && !memcmp(model, "llama", 5))
		return build_sentencepiece(build, gguf, err);
	return lsc_err_set(err, EOPNOTSUPP, "tokenizer model '%.*s' is not supported",
			   (int)LSC_MIN(len, 40), model);
}
