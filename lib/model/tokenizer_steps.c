/* tokenizer_steps - what a tokenizer.json does before, around and after its vocabulary
 *
 * Normalizers, pre-tokenizers, decoders and post-processors are small programs made of typed
 * steps.  Those of the models we run come down to the flags and patterns of tokenizer_blob.h; a
 * step that does not is refused by its type.
 */
#include <jansson.h>
#include <string.h>

#include "base/macros.h"
#include "model/tokenizer_build.h"

#define META_SPACE "\xe2\x96\x81" /* U+2581 */

typedef int step_fn(struct lsc_tokenizer_build *build, const json_t *step, struct lsc_err *err);

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool has_text(const json_t *object, const char *key, const char *text)
{
	return !strcmp(text_at(object, key), text);
}

static int refuse(const char *kind, const json_t *step, struct lsc_err *err)
{
	return lsc_err_set(err, EOPNOTSUPP, "the tokenizer's %s '%.32s' is not supported", kind,
			   text_at(step, "type"));
}

/* Runs fn for a step, or for each of a Sequence, whose array is under key. */
static int each_step(struct lsc_tokenizer_build *build, const json_t *step, const char *key,
		     step_fn *fn, struct lsc_err *err)
{
	json_t *item;
	size_t i;

	if (!step || json_is_null(step))
		return 0;
	if (!has_text(step, "type", "Sequence"))
		return fn(build, step, err);
	json_array_foreach(json_object_get(step, key), i, item)
	{
		int r = fn(build, item, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* --- normalizers --- */

static int normalizer(struct lsc_tokenizer_build *build, const json_t *step, struct lsc_err *err)
{
	if (has_text(step, "type", "NFC")) {
		build->flags |= LSC_TOKENIZER_NFC;
		return 0;
	}
	if (has_text(step, "type", "Prepend") && has_text(step, "prepend", META_SPACE)) {
		build->flags |= LSC_TOKENIZER_PREFIX_EACH;
		return 0;
	}
	if (has_text(step, "type", "Replace") && has_text(step, "content", META_SPACE) &&
	    has_text(json_object_get(step, "pattern"), "String", " ")) {
		build->flags |= LSC_TOKENIZER_SPACES;
		return 0;
	}
	return refuse("normalizer", step, err);
}

/* --- pre-tokenizers --- */

static int split(struct lsc_tokenizer_build *build, const json_t *step, struct lsc_err *err)
{
	const json_t *pattern = json_object_get(step, "pattern");
	const json_t *regex = json_object_get(pattern, "Regex");
	const json_t *literal = json_object_get(pattern, "String");
	bool invert = json_is_true(json_object_get(step, "invert"));
	unsigned flags = 0;

	if (has_text(step, "behavior", "Removed"))
		flags = invert ? LSC_PRETOKENIZE_DROP_GAPS : LSC_PRETOKENIZE_DROP_MATCHES;
	else if (!has_text(step, "behavior", "Isolated"))
		return lsc_err_set(err, EOPNOTSUPP,
				   "the tokenizer splits with '%.32s', which is not supported",
				   text_at(step, "behavior"));
	if (json_is_string(regex))
		return lsc_tokenizer_build_stage(build, json_string_value(regex),
						 json_string_length(regex), flags, err);
	if (json_is_string(literal))
		return lsc_tokenizer_build_literal(build, json_string_value(literal),
						   json_string_length(literal), flags, err);
	return lsc_err_set(err, EBADMSG, "a split of the pre-tokenizer has no pattern");
}

static int byte_level(struct lsc_tokenizer_build *build, const json_t *step, struct lsc_err *err)
{
	const json_t *use_regex = json_object_get(step, "use_regex");

	build->flags |= LSC_TOKENIZER_BYTE_LEVEL;
	if (json_is_true(json_object_get(step, "add_prefix_space"))) {
		if (build->n_stages)
			return lsc_err_set(err, EOPNOTSUPP,
					   "the tokenizer puts a space before each piece");
		build->flags |= LSC_TOKENIZER_PREFIX_EACH | LSC_TOKENIZER_PREFIX_UNLESS;
	}
	if (use_regex && !json_is_true(use_regex))
		return 0;
	return lsc_tokenizer_build_stage(build, lsc_pattern_gpt2, strlen(lsc_pattern_gpt2), 0, err);
}

static int metaspace(struct lsc_tokenizer_build *build, const json_t *step, struct lsc_err *err)
{
	static const char words[] = " [^ ]*|[^ ]+";
	const json_t *split_words = json_object_get(step, "split");
	const json_t *scheme = json_object_get(step, "prepend_scheme");

	if (!has_text(step, "replacement", META_SPACE))
		return refuse("pre-tokenizer", step, err);
	build->flags |= LSC_TOKENIZER_SPACES;
	if (json_is_string(scheme) ? has_text(step, "prepend_scheme", "always")
				   : json_is_true(json_object_get(step, "add_prefix_space")))
		build->flags |= LSC_TOKENIZER_PREFIX_EACH | LSC_TOKENIZER_PREFIX_UNLESS;
	else if (has_text(step, "prepend_scheme", "first"))
		build->flags |= LSC_TOKENIZER_PREFIX_FIRST | LSC_TOKENIZER_PREFIX_UNLESS;
	if (split_words && !json_is_true(split_words))
		return 0;
	return lsc_tokenizer_build_stage(build, words, strlen(words), 0, err);
}

static int pre_tokenizer(struct lsc_tokenizer_build *build, const json_t *step, struct lsc_err *err)
{
	if (has_text(step, "type", "Split"))
		return split(build, step, err);
	if (has_text(step, "type", "ByteLevel"))
		return byte_level(build, step, err);
	if (has_text(step, "type", "Metaspace"))
		return metaspace(build, step, err);
	if (has_text(step, "type", "Digits")) {
		bool one = json_is_true(json_object_get(step, "individual_digits"));

		return lsc_tokenizer_build_stage(build, one ? "\\p{N}" : "\\p{N}+", one ? 5 : 6, 0,
						 err);
	}
	if (has_text(step, "type", "Punctuation") &&
	    (!json_object_get(step, "behavior") || has_text(step, "behavior", "Isolated")))
		return lsc_tokenizer_build_stage(build, "[\\p{P}!-/:-@\\[-`{-~]", 21, 0, err);
	return refuse("pre-tokenizer", step, err);
}

/* --- decoders --- */

/* Tokens hold their bytes already, so all that is left to decide is the first space. */
static int decoder(struct lsc_tokenizer_build *build, const json_t *step, struct lsc_err *err)
{
	static const char *const done[] = {"ByteLevel", "ByteFallback", "Fuse"};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(done); i++)
		if (has_text(step, "type", done[i]))
			return 0;
	if (has_text(step, "type", "Replace") && has_text(step, "content", " ") &&
	    has_text(json_object_get(step, "pattern"), "String", META_SPACE))
		return 0;
	if (has_text(step, "type", "Metaspace")) {
		if (!has_text(step, "prepend_scheme", "never") &&
		    !json_is_false(json_object_get(step, "add_prefix_space")))
			build->flags |= LSC_TOKENIZER_STRIP;
		return 0;
	}
	if (has_text(step, "type", "Strip") && has_text(step, "content", " ") &&
	    json_integer_value(json_object_get(step, "start")) == 1 &&
	    json_integer_value(json_object_get(step, "stop")) == 0) {
		build->flags |= LSC_TOKENIZER_STRIP;
		return 0;
	}
	return refuse("decoder", step, err);
}

/* --- post-processors --- */

/* Only a special token at the very beginning matters to us: that is the BOS. */
static int post_processor(struct lsc_tokenizer_build *build, const json_t *step,
			  struct lsc_err *err)
{
	const json_t *first = json_array_get(json_object_get(step, "single"), 0);
	const char *name = text_at(json_object_get(first, "SpecialToken"), "id");
	const json_t *special = json_object_get(json_object_get(step, "special_tokens"), name);
	const json_t *ids = json_object_get(special, "ids");

	if (!has_text(step, "type", "TemplateProcessing") || !*name)
		return 0;
	if (json_array_size(ids) == 1 && json_is_integer(json_array_get(ids, 0))) {
		json_int_t id = json_integer_value(json_array_get(ids, 0));

		if (id < 0 || id >= build->n_tokens)
			return lsc_err_set(err, EBADMSG, "the BOS token %lld is not a token",
					   (long long)id);
		build->bos = id;
	}
	return 0;
}

int lsc_tokenizer_build_steps(struct lsc_tokenizer_build *build, const json_t *root,
			      struct lsc_err *err)
{
	int r = each_step(build, json_object_get(root, "normalizer"), "normalizers", normalizer,
			  err);

	if (r == 0)
		r = each_step(build, json_object_get(root, "pre_tokenizer"), "pretokenizers",
			      pre_tokenizer, err);
	if (r == 0)
		r = each_step(build, json_object_get(root, "decoder"), "decoders", decoder, err);
	if (r == 0)
		r = each_step(build, json_object_get(root, "post_processor"), "processors",
			      post_processor, err);
	if (r == 0 && (build->flags & LSC_TOKENIZER_BYTE_LEVEL) &&
	    (build->flags & (LSC_TOKENIZER_SPACES | LSC_TOKENIZER_BYTE_FALLBACK)))
		return lsc_err_set(err, EOPNOTSUPP,
				   "the tokenizer mixes bytes and SentencePiece's spaces");
	return r;
}
