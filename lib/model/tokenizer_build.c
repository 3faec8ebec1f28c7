/* tokenizer_build - collects a vocabulary and its merges
 *
 * tokenizer_emit.c lays out the blob.
 */
#include "model/tokenizer_build.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

const char lsc_pattern_gpt2[] =
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const char lsc_pattern_digit[] = "\\p{N}";

void lsc_tokenizer_build_release(struct lsc_tokenizer_build *build)
{
	free(build->tokens);
	free(build->index);
	free(build->merges);
	lsc_buf_release(&build->patterns);
	*build = (struct lsc_tokenizer_build)LSC_TOKENIZER_BUILD_INIT;
}

int lsc_tokenizer_build_tokens(struct lsc_tokenizer_build *build, uint64_t n, struct lsc_err *err)
{
	if (n == 0 || n > LSC_MODEL_MAX_VOCAB)
		return lsc_err_set(err, EBADMSG, "the vocabulary has %llu tokens, want 1 to %u",
				   (unsigned long long)n, LSC_MODEL_MAX_VOCAB);
	build->tokens = calloc(n, sizeof(*build->tokens));
	if (!build->tokens)
		return lsc_err_set(err, ENOMEM, "%m");
	build->n_tokens = n;
	for (uint64_t i = 0; i < n; i++)
		build->tokens[i] = (struct lsc_vocab_token){"", 0, LSC_TOKEN_ABSENT};
	return 0;
}

int lsc_tokenizer_build_set(struct lsc_tokenizer_build *build, uint64_t id, const char *text,
			    size_t len, unsigned flags, struct lsc_err *err)
{
	if (id >= build->n_tokens)
		return lsc_err_set(err, EBADMSG, "token id %llu is not below %u",
				   (unsigned long long)id, build->n_tokens);
	if (len > LSC_TOKENIZER_TOKEN_MAX)
		return lsc_err_set(err, EBADMSG, "token %llu has %zu bytes, more than %d",
				   (unsigned long long)id, len, LSC_TOKENIZER_TOKEN_MAX);
	build->tokens[id] = (struct lsc_vocab_token){text, len, flags};
	return 0;
}

static uint32_t text_hash(const char *text, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)text[i]) * 0x100000001b3u;
	return h ^ h >> 32;
}

/* The place of text in the index: its token's, or the free one where it would go. */
static uint32_t *index_slot(const struct lsc_tokenizer_build *build, const char *text, size_t len)
{
	uint32_t at = text_hash(text, len) & build->index_mask;

	for (;; at = (at + 1) & build->index_mask) {
		const struct lsc_vocab_token *token;

		if (build->index[at] == LSC_MODEL_NO_TOKEN)
			return &build->index[at];
		token = &build->tokens[build->index[at]];
		if (token->len == len && !memcmp(token->text, text, len))
			return &build->index[at];
	}
}

static void index_add(struct lsc_tokenizer_build *build, bool ordinary)
{
	for (uint32_t id = 0; id < build->n_tokens; id++) {
		const struct lsc_vocab_token *token = &build->tokens[id];
		uint32_t *slot;

		if (!token->len || (token->flags == 0) != ordinary)
			continue;
		slot = index_slot(build, token->text, token->len);
		if (*slot == LSC_MODEL_NO_TOKEN)
			*slot = id;
	}
}

int lsc_tokenizer_build_index(struct lsc_tokenizer_build *build, struct lsc_err *err)
{
	uint32_t size = 16;

	while (size < 2 * build->n_tokens)
		size *= 2;
	build->index = malloc(size * sizeof(*build->index));
	if (!build->index)
		return lsc_err_set(err, ENOMEM, "%m");
	memset(build->index, 0xff, size * sizeof(*build->index));
	build->index_mask = size - 1;
	index_add(build, true);
	index_add(build, false);
	return 0;
}

uint32_t lsc_tokenizer_build_find(const struct lsc_tokenizer_build *build, const char *text,
				  size_t len)
{
	return *index_slot(build, text, len);
}

static int add_merge(struct lsc_tokenizer_build *build, struct lsc_vocab_merge merge)
{
	if (build->n_merges == build->cap_merges) {
		size_t cap = build->cap_merges ? 2 * build->cap_merges : 1024;
		struct lsc_vocab_merge *merges;

		merges = reallocarray(build->merges, cap, sizeof(*merges));
		if (!merges)
			return -ENOMEM;
		build->merges = merges;
		build->cap_merges = cap;
	}
	build->merges[build->n_merges++] = merge;
	return 0;
}

int lsc_tokenizer_build_merge(struct lsc_tokenizer_build *build, const char *left, size_t left_len,
			      const char *right, size_t right_len, uint32_t rank,
			      struct lsc_err *err)
{
	struct lsc_vocab_merge merge = {.rank = rank};
	char whole[LSC_TOKENIZER_TOKEN_MAX];

	if (left_len + right_len > sizeof(whole))
		return lsc_err_set(err, EBADMSG, "merge %u makes more than %zu bytes", rank,
				   sizeof(whole));
	memcpy(whole, left, left_len);
	memcpy(whole + left_len, right, right_len);
	merge.left = lsc_tokenizer_build_find(build, left, left_len);
	merge.right = lsc_tokenizer_build_find(build, right, right_len);
	merge.id = lsc_tokenizer_build_find(build, whole, left_len + right_len);
	if (merge.left == LSC_MODEL_NO_TOKEN || merge.right == LSC_MODEL_NO_TOKEN ||
	    merge.id == LSC_MODEL_NO_TOKEN)
		return lsc_err_set(err, EBADMSG, "merge %u is not of the vocabulary's tokens",
				   rank);
	return add_merge(build, merge) < 0 ? lsc_err_set(err, ENOMEM, "%m") : 0;
}

struct scored {
	double score;
	uint32_t id, rank;
};

static int order_scored(const void *a, const void *b)
{
	const struct scored *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* Every way to make a token of two others, at rank: tokens of one score are equals, of which the
 * leftmost in the text is merged first. */
static int add_splits(struct lsc_tokenizer_build *build, uint32_t id, uint32_t rank)
{
	const struct lsc_vocab_token *token = &build->tokens[id];

	for (uint32_t i = 1; i < token->len; i++) {
		uint32_t left, right;

		if (((uint8_t)token->text[i] & 0xc0) == 0x80)
			continue; /* inside a character */
		left = lsc_tokenizer_build_find(build, token->text, i);
		if (left == LSC_MODEL_NO_TOKEN || build->tokens[left].flags)
			continue;
		right = lsc_tokenizer_build_find(build, token->text + i, token->len - i);
		if (right == LSC_MODEL_NO_TOKEN || build->tokens[right].flags)
			continue;
		if (add_merge(build, (struct lsc_vocab_merge){left, right, rank, id}) < 0)
			return -ENOMEM;
	}
	return 0;
}

int lsc_tokenizer_build_merges_by_score(struct lsc_tokenizer_build *build,
					double (*score)(const void *arg, uint32_t id),
					const void *arg, struct lsc_err *err)
{
	struct scored *scored = calloc(build->n_tokens, sizeof(*scored));
	uint32_t n = 0, rank = 0;
	int r = 0;

	if (!scored)
		return lsc_err_set(err, ENOMEM, "%m");
	for (uint32_t id = 0; id < build->n_tokens; id++) {
		double value = score(arg, id);

		if (build->tokens[id].flags || value != value)
			continue;
		if (lsc_tokenizer_build_find(build, build->tokens[id].text,
					     build->tokens[id].len) == id)
			scored[n++] = (struct scored){value, id, 0};
	}
	qsort(scored, n, sizeof(*scored), order_scored);
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		rank += i && scored[i].score != scored[i - 1].score;
		r = add_splits(build, scored[i].id, rank);
	}
	free(scored);
	return r < 0 ? lsc_err_set(err, ENOMEM, "%m") : 0;
}

static int end_stage(struct lsc_tokenizer_build *build, size_t start, unsigned flags,
		     struct lsc_err *err)
{
	if (build->n_stages == LSC_PRETOKENIZE_MAX_STAGES)
		return lsc_err_set(err, EOPNOTSUPP, "the pre-tokenizer has more than %d patterns",
				   LSC_PRETOKENIZE_MAX_STAGES);
	build->stages[build->n_stages].flags = flags;
	build->stages[build->n_stages++].len = build->patterns.len - start;
	return 0;
}

int lsc_tokenizer_build_stage(struct lsc_tokenizer_build *build, const char *regex, size_t len,
			      unsigned flags, struct lsc_err *err)
{
	size_t start = build->patterns.len;
	int r = lsc_pretokenize_translate(&build->patterns, regex, len, err);

	return r < 0 ? r : end_stage(build, start, flags, err);
}

int lsc_tokenizer_build_literal(struct lsc_tokenizer_build *build, const char *text, size_t len,
				unsigned flags, struct lsc_err *err)
{
	size_t start = build->patterns.len;

	if (lsc_pretokenize_quote(&build->patterns, text, len) < 0)
		return lsc_err_set(err, ENOMEM, "%m");
	return end_stage(build, start, flags, err);
}
