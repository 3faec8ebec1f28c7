/* news - records of answers */
#include "gate/news.h"

#include <string.h>

#include "base/macros.h"
#include "gate/within.h"

#define MAX_TEXT LSC_RECORD_MAX_BYTES

int lsc_news_id(const struct lsc_record *record, uint64_t *ret_id)
{
	const msgpack_object *id = lsc_record_get(record, "id");

	if (!id || id->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return 0;
	*ret_id = id->via.u64;
	return 1;
}

static int get_text(const struct lsc_record *record, const char *key, struct lsc_news_text *ret,
		    struct lsc_err *err)
{
	return lsc_record_str(record, key, MAX_TEXT, &ret->text, &ret->len, err);
}

static int get_top(const struct lsc_record *record, struct lsc_news_token *token,
		   struct lsc_err *err)
{
	const msgpack_object *items;
	int r = lsc_record_array(record, "top_logprobs", LSC_SAMPLING_MAX_TOP, &items,
				 &token->n_top, err);

	for (uint32_t i = 0; r == 0 && i < token->n_top; i++) {
		const msgpack_object *text = lsc_within(&items[i], "text");

		if (!text || text->type != MSGPACK_OBJECT_STR ||
		    !lsc_within_real(&items[i], "logprob", &token->top[i].logprob))
			return lsc_err_set(err, EBADMSG, "record 'token': bad 'top_logprobs'");
		token->top[i].text = (struct lsc_news_text){text->via.str.ptr, text->via.str.size};
	}
	return r;
}

int lsc_news_parse_token(const struct lsc_record *record, struct lsc_news_token *token,
			 struct lsc_err *err)
{
	int r = get_text(record, "text", &token->text, err);

	token->logprobs = lsc_record_get(record, "logprob") != NULL;
	token->n_top = 0;
	if (r < 0 || !token->logprobs)
		return r;
	r = lsc_record_real(record, "logprob", &token->logprob, err);
	if (r == 0)
		r = get_text(record, "own", &token->own, err);
	return r < 0 ? r : get_top(record, token, err);
}

int lsc_news_parse_done(const struct lsc_record *record, struct lsc_news_done *done,
			struct lsc_err *err)
{
	struct lsc_news_text reason;
	int r = get_text(record, "reason", &reason, err);

	if (r == 0)
		r = get_text(record, "rest", &done->rest, err);
	if (r == 0)
		r = lsc_record_uint(record, "tokens", UINT32_MAX, &done->tokens, err);
	if (r == 0)
		r = lsc_record_uint(record, "prompt_tokens", UINT32_MAX, &done->prompt_tokens, err);
	if (r == 0)
		r = lsc_record_uint_or(record, "cached_tokens", UINT32_MAX, 0, &done->cached_tokens,
				       err);
	if (r < 0)
		return r;
	done->reason = reason.len == 6 && !memcmp(reason.text, "length", 6) ? "length" : "stop";
	return 0;
}

/* Words for people, cut to what fits; what is no character is left out. */
static void copy(char *to, size_t size, const struct lsc_news_text *from)
{
	size_t n = LSC_MIN((size_t)from->len, size - 1);

	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)from->text[i] < ' ' ? '?' : from->text[i];
	to[n] = 0;
}

int lsc_news_parse_fail(const struct lsc_record *record, struct lsc_news_fail *fail,
			struct lsc_err *err)
{
	struct lsc_news_text code = {"failed", 6}, why;
	int r = get_text(record, "why", &why, err);

	if (r == 0 && lsc_record_get(record, "code"))
		r = get_text(record, "code", &code, err);
	if (r < 0)
		return r;
	copy(fail->code, sizeof(fail->code), &code);
	copy(fail->why, sizeof(fail->why), &why);
	return 0;
}
