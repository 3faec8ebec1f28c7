/* tokenizer_json - the vocabulary of a Hugging Face tokenizer.json
 *
 * What happens around it (normalizer, pre-tokenizer, decoder, post-processor) is read in
 * tokenizer_steps.c.  What we would do otherwise than the original is refused, by name.
 */
#include <jansson.h>
#include <string.h>

#include "base/macros.h"
#include "model/tokenizer_build.h"

static int malformed(struct lsc_err *err, const char *what)
{
	return lsc_err_set(err, EBADMSG, "%s", what);
}

static bool is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* --- tokens --- */

static int id_of(const json_t *value, uint64_t *ret_id, struct lsc_err *err)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) >= LSC_MODEL_MAX_VOCAB)
		return malformed(err, "a token's id is not a number, or too large");
	*ret_id = json_integer_value(value);
	return 0;
}

/* One more than the largest id. */
static int count_ids(json_t *vocab, const json_t *added, uint64_t *ret_n, struct lsc_err *err)
{
	uint64_t id, n = 0;
	const char *key;
	json_t *value;
	size_t i;
	int r;

	json_object_foreach(vocab, key, value)
	{
		r = id_of(value, &id, err);
		if (r < 0)
			return r;
		n = LSC_MAX(n, id + 1);
	}
	json_array_foreach(added, i, value)
	{
		r = id_of(json_object_get(value, "id"), &id, err);
		if (r < 0)
			return r;
		n = LSC_MAX(n, id + 1);
	}
	*ret_n = n;
	return 0;
}

static int read_vocab(struct lsc_tokenizer_build *build, json_t *vocab, struct lsc_err *err)
{
	const char *key;
	json_t *value;
	size_t len;

	json_object_keylen_foreach(vocab, key, len, value)
	{
		int r = lsc_tokenizer_build_set(build, json_integer_value(value), key, len, 0, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_added(struct lsc_tokenizer_build *build, const json_t *added, struct lsc_err *err)
{
	json_t *token;
	size_t i;

	json_array_foreach(added, i, token)
	{
		const json_t *content = json_object_get(token, "content");
		unsigned flags = LSC_TOKEN_ADDED;
		int r;

		if (!json_is_string(content) || !json_string_length(content))
			return malformed(err, "an added token has no content");
		if (is_true(token, "single_word"))
			return lsc_err_set(err, EOPNOTSUPP,
					   "the added token '%.64s' is for single words only",
					   json_string_value(content));
		flags |= is_true(token, "special") ? LSC_TOKEN_SPECIAL : 0;
		flags |= is_true(token, "lstrip") ? LSC_TOKEN_LSTRIP : 0;
		flags |= is_true(token, "rstrip") ? LSC_TOKEN_RSTRIP : 0;
		r = lsc_tokenizer_build_set(build, json_integer_value(json_object_get(token, "id")),
					    json_string_value(content), json_string_length(content),
					    flags, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_tokens(struct lsc_tokenizer_build *build, json_t *vocab, const json_t *added,
		       struct lsc_err *err)
{
	uint64_t n;
	int r;

	if (!json_is_object(vocab))
		return malformed(err, "the model has no vocabulary");
	if (added && !json_is_array(added) && !json_is_null(added))
		return malformed(err, "added_tokens is not an array");
	r = count_ids(vocab, added, &n, err);
	if (r == 0)
		r = lsc_tokenizer_build_tokens(build, n, err);
	if (r == 0)
		r = read_vocab(build, vocab, err);
	if (r == 0)
		r = read_added(build, added, err);
	return r ? r : lsc_tokenizer_build_index(build, err);
}

/* --- merges --- */

static int read_merge(struct lsc_tokenizer_build *build, const json_t *merge, size_t rank,
		      struct lsc_err *err)
{
	const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
	const char *text, *space;

	if (json_array_size(merge) == 2 && json_is_string(left) && json_is_string(right))
		return lsc_tokenizer_build_merge(build, json_string_value(left),
						 json_string_length(left), json_string_value(right),
						 json_string_length(right), rank, err);
	text = json_string_value(merge);
	space = text ? strchr(text, ' ') : NULL;
	if (!space)
		return lsc_err_set(err, EBADMSG, "merge %zu is not a pair", rank);
	return lsc_tokenizer_build_merge(build, text, space - text, space + 1, strlen(space + 1),
					 rank, err);
}

static int read_merges(struct lsc_tokenizer_build *build, const json_t *merges, struct lsc_err *err)
{
	json_t *merge;
	size_t i;

	if (!json_is_array(merges))
		return malformed(err, "the model has no merges");
	json_array_foreach(merges, i, merge)
	{
		int r = read_merge(build, merge, i, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* --- the model --- */

static int refuse_nonempty(const json_t *model, const char *key, struct lsc_err *err)
{
	const char *text = json_string_value(json_object_get(model, key));

	if (text && *text)
		return lsc_err_set(err, EOPNOTSUPP, "the tokenizer has a %s", key);
	return 0;
}

static int read_model(struct lsc_tokenizer_build *build, const json_t *model, struct lsc_err *err)
{
	const char *type = json_string_value(json_object_get(model, "type"));
	const json_t *unk = json_object_get(model, "unk_token");
	int r;

	if (!json_is_object(model))
		return malformed(err, "there is no model");
	if (type && strcmp(type, "BPE"))
		return lsc_err_set(err, EOPNOTSUPP, "a '%.32s' tokenizer is not supported, BPE is",
				   type);
	r = refuse_nonempty(model, "continuing_subword_prefix", err);
	if (r == 0)
		r = refuse_nonempty(model, "end_of_word_suffix", err);
	if (r < 0)
		return r;
	if (is_true(model, "byte_fallback"))
		build->flags |= LSC_TOKENIZER_BYTE_FALLBACK;
	if (is_true(model, "fuse_unk"))
		build->flags |= LSC_TOKENIZER_FUSE_UNK;
	if (is_true(model, "ignore_merges"))
		build->flags |= LSC_TOKENIZER_WHOLE_WORDS;
	if (json_is_string(unk))
		build->unk = lsc_tokenizer_build_find(build, json_string_value(unk),
						      json_string_length(unk));
	return read_merges(build, json_object_get(model, "merges"), err);
}

int lsc_tokenizer_build_json(struct lsc_tokenizer_build *build, const json_t *root,
			     struct lsc_err *err)
{
	const json_t *model = json_object_get(root, "model");
	int r = read_tokens(build, json_object_get(model, "vocab"),
			    json_object_get(root, "added_tokens"), err);

	if (r == 0)
		r = read_model(build, model, err);
	return r ? r : lsc_tokenizer_build_steps(build, root, err);
}
