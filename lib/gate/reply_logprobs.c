/* reply_logprobs - probabilities of tokens, in the two shapes that the API has for them */
#include "gate/reply_logprobs.h"

#include <string.h>

#include "gate/escape.h"
#include "gate/within.h"

static int comma(struct lsc_buf *buf)
{
	return buf->len ? lsc_buf_add(buf, ",", 1) : 0;
}

/* Whether a token is whole characters, so that its text is its bytes. */
static bool is_whole(const struct lsc_news_text *text)
{
	for (uint32_t at = 0; at < text->len;) {
		size_t n = lsc_escape_char(text->text + at, text->len - at);

		if (n == 0 ||
		    (n == 3 && (uint8_t)text->text[at] == 0xef &&
		     (uint8_t)text->text[at + 1] == 0xbf && (uint8_t)text->text[at + 2] == 0xbd))
			return false;
		at += (uint32_t)n;
	}
	return true;
}

static int put_bytes(struct lsc_buf *buf, const struct lsc_news_text *text)
{
	if (!is_whole(text))
		return lsc_buf_add_str(buf, "null");
	LSC_TRY(lsc_buf_add(buf, "[", 1));
	for (uint32_t i = 0; i < text->len; i++)
		LSC_TRY(lsc_buf_printf(buf, i ? ",%u" : "%u", (uint8_t)text->text[i]));
	return lsc_buf_add(buf, "]", 1);
}

/* {"token":"a","logprob":-1,"bytes":[97] */
static int put_item(struct lsc_buf *buf, const struct lsc_news_text *text, double logprob)
{
	LSC_TRY(lsc_buf_add_str(buf, "{\"token\":"));
	LSC_TRY(lsc_escape_quote(buf, text->text, text->len));
	LSC_TRY(lsc_buf_printf(buf, ",\"logprob\":%.9g,\"bytes\":", logprob));
	return put_bytes(buf, text);
}

static int add_chat(struct lsc_reply_choice *choice, const struct lsc_news_token *token)
{
	struct lsc_buf *buf = &choice->tokens;

	LSC_TRY(comma(buf));
	LSC_TRY(put_item(buf, &token->own, token->logprob));
	LSC_TRY(lsc_buf_add_str(buf, ",\"top_logprobs\":["));
	for (uint32_t i = 0; i < token->n_top; i++) {
		LSC_TRY(i ? lsc_buf_add(buf, ",", 1) : 0);
		LSC_TRY(put_item(buf, &token->top[i].text, token->top[i].logprob));
		LSC_TRY(lsc_buf_add(buf, "}", 1));
	}
	return lsc_buf_add(buf, "]}", 2);
}

static uint64_t count_chars(const struct lsc_news_text *text)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < text->len; i++)
		n += ((uint8_t)text->text[i] & 0xc0) != 0x80;
	return n;
}

/* Two of the likeliest may have the same text, and an object has each key once: the likelier. */
static bool is_told(const struct lsc_news_token *token, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (token->top[j].text.len == token->top[i].text.len &&
		    !memcmp(token->top[j].text.text, token->top[i].text.text,
			    token->top[i].text.len))
			return true;
	return false;
}

static int add_text(struct lsc_reply_choice *choice, const struct lsc_news_token *token)
{
	LSC_TRY(comma(&choice->tokens));
	LSC_TRY(lsc_escape_quote(&choice->tokens, token->own.text, token->own.len));
	LSC_TRY(comma(&choice->logs));
	LSC_TRY(lsc_buf_printf(&choice->logs, "%.9g", token->logprob));
	LSC_TRY(comma(&choice->offsets));
	LSC_TRY(lsc_buf_printf(&choice->offsets, "%llu", (unsigned long long)choice->chars));
	choice->chars += count_chars(&token->own);
	LSC_TRY(comma(&choice->tops));
	LSC_TRY(lsc_buf_add(&choice->tops, "{", 1));
	for (uint32_t i = 0; i < token->n_top; i++) {
		if (is_told(token, i))
			continue;
		LSC_TRY(i ? lsc_buf_add(&choice->tops, ",", 1) : 0);
		LSC_TRY(lsc_escape_quote(&choice->tops, token->top[i].text.text,
					 token->top[i].text.len));
		LSC_TRY(lsc_buf_printf(&choice->tops, ":%.9g", token->top[i].logprob));
	}
	return lsc_buf_add(&choice->tops, "}", 1);
}

int lsc_reply_add_logprobs(struct lsc_reply_choice *choice, const struct lsc_wish *wish,
			   const struct lsc_news_token *token)
{
	return wish->chat ? add_chat(choice, token) : add_text(choice, token);
}

void lsc_reply_drop_logprobs(struct lsc_reply_choice *choice)
{
	choice->tokens.len = choice->logs.len = choice->tops.len = choice->offsets.len = 0;
}

static int put_list(struct lsc_buf *out, const char *name, const struct lsc_buf *items)
{
	LSC_TRY(lsc_buf_add_str(out, name));
	LSC_TRY(lsc_buf_add(out, items->data, items->len));
	return lsc_buf_add(out, "]", 1);
}

int lsc_reply_put_logprobs(const struct lsc_reply_choice *choice, bool chat, struct lsc_buf *out)
{
	if (!choice->tokens.len)
		return lsc_buf_add_str(out, ",\"logprobs\":null");
	if (chat) {
		LSC_TRY(put_list(out, ",\"logprobs\":{\"content\":[", &choice->tokens));
		return lsc_buf_add_str(out, ",\"refusal\":null}");
	}
	LSC_TRY(put_list(out, ",\"logprobs\":{\"tokens\":[", &choice->tokens));
	LSC_TRY(put_list(out, ",\"token_logprobs\":[", &choice->logs));
	LSC_TRY(put_list(out, ",\"top_logprobs\":[", &choice->tops));
	LSC_TRY(put_list(out, ",\"text_offset\":[", &choice->offsets));
	return lsc_buf_add(out, "}", 1);
}
