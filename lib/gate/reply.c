/* reply - tokens as events and objects of the OpenAI API */
#include "gate/reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gate/escape.h"
#include "gate/reply_logprobs.h"
#include "gate/within.h"

int lsc_reply_init(struct lsc_reply *reply, const struct lsc_wish *wish, const char *id,
		   const char *model, uint64_t created)
{
	const char *object = !wish->chat    ? "text_completion"
			     : wish->stream ? "chat.completion.chunk"
					    : "chat.completion";

	*reply = (struct lsc_reply){.wish = wish, .n = wish->n_choices};
	reply->choices = calloc(reply->n, sizeof(*reply->choices));
	if (!reply->choices)
		return -ENOMEM;
	LSC_TRY(lsc_buf_printf(&reply->head, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%llu,",
			       id, object, (unsigned long long)created));
	LSC_TRY(lsc_buf_add_str(&reply->head, "\"model\":"));
	LSC_TRY(lsc_escape_quote(&reply->head, model, strlen(model)));
	return lsc_buf_add_str(&reply->head, ",\"system_fingerprint\":null,\"choices\":[");
}

void lsc_reply_release(struct lsc_reply *reply)
{
	for (uint32_t i = 0; reply->choices && i < reply->n; i++) {
		struct lsc_reply_choice *choice = &reply->choices[i];

		lsc_buf_release(&choice->text);
		lsc_buf_release(&choice->tokens);
		lsc_buf_release(&choice->logs);
		lsc_buf_release(&choice->tops);
		lsc_buf_release(&choice->offsets);
	}
	free(reply->choices);
	lsc_buf_release(&reply->head);
	*reply = (struct lsc_reply)LSC_REPLY_INIT;
}

/* --- parts --- */

static int put_number(struct lsc_buf *out, uint64_t number)
{
	char text[20];
	size_t at = sizeof(text);

	do
		text[--at] = (char)('0' + number % 10);
	while (number /= 10);
	return lsc_buf_add(out, text + at, sizeof(text) - at);
}

static int put_usage(const struct lsc_reply *reply, struct lsc_buf *out)
{
	uint64_t prompt = 0, cached = 0, tokens = 0;

	for (uint32_t i = 0; i < reply->n; i++) {
		tokens += reply->choices[i].n_tokens;
		if (i % reply->wish->n) /* all answers to one prompt have the same */
			continue;
		prompt += reply->choices[i].prompt_tokens;
		cached += reply->choices[i].cached_tokens;
	}
	LSC_TRY(lsc_buf_printf(out,
			       "\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,"
			       "\"total_tokens\":%llu",
			       (unsigned long long)prompt, (unsigned long long)tokens,
			       (unsigned long long)(prompt + tokens)));
	if (cached)
		LSC_TRY(lsc_buf_printf(out, ",\"prompt_tokens_details\":{\"cached_tokens\":%llu}",
				       (unsigned long long)cached));
	return lsc_buf_add_str(out, "}");
}

static int put_finish(struct lsc_buf *out, const char *finish)
{
	LSC_TRY(lsc_buf_add_str(out, ",\"finish_reason\":"));
	return finish ? lsc_escape_quote(out, finish, strlen(finish))
		      : lsc_buf_add_str(out, "null");
}

/* --- a stream --- */

/* Up to where the text of a choice stands. */
static int open_event(const struct lsc_reply *reply, uint32_t choice, struct lsc_buf *out)
{
	LSC_TRY(lsc_buf_add(out, "data: ", 6));
	LSC_TRY(lsc_buf_add(out, reply->head.data, reply->head.len));
	LSC_TRY(lsc_buf_add_str(out, "{\"index\":"));
	LSC_TRY(put_number(out, choice));
	return lsc_buf_add_str(out, reply->wish->chat ? ",\"delta\":{" : ",\"text\":\"");
}

static int close_event(const struct lsc_reply *reply, uint32_t choice, const char *finish,
		       struct lsc_buf *out)
{
	LSC_TRY(lsc_buf_add_str(out, reply->wish->chat ? "}" : "\""));
	LSC_TRY(lsc_reply_put_logprobs(&reply->choices[choice], reply->wish->chat, out));
	LSC_TRY(put_finish(out, finish));
	return lsc_buf_add_str(out, reply->wish->usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

static int put_event(const struct lsc_reply *reply, uint32_t choice,
		     const struct lsc_news_text *text, struct lsc_buf *out)
{
	bool chat = reply->wish->chat;

	LSC_TRY(open_event(reply, choice, out));
	LSC_TRY(lsc_buf_add_str(out, chat ? "\"content\":\"" : ""));
	LSC_TRY(lsc_escape_add(out, text->text, text->len));
	LSC_TRY(lsc_buf_add_str(out, chat ? "\"" : ""));
	return close_event(reply, choice, NULL, out);
}

int lsc_reply_begin(struct lsc_reply *reply, struct lsc_buf *out)
{
	for (uint32_t i = 0; i < reply->n; i++) {
		struct lsc_news_text prompt = {NULL, 0};
		size_t len = 0;

		if (reply->wish->chat) {
			LSC_TRY(open_event(reply, i, out));
			LSC_TRY(lsc_buf_add_str(out, "\"role\":\"assistant\",\"content\":\"\""));
			LSC_TRY(close_event(reply, i, NULL, out));
		} else if (reply->wish->echo) {
			prompt.text = lsc_wish_prompt(reply->wish, i, &len);
			prompt.len = (uint32_t)len;
			LSC_TRY(put_event(reply, i, &prompt, out));
		}
	}
	return 0;
}

static int end_stream(const struct lsc_reply *reply, struct lsc_buf *out)
{
	if (reply->wish->usage) {
		LSC_TRY(lsc_buf_add(out, "data: ", 6));
		LSC_TRY(lsc_buf_add(out, reply->head.data, reply->head.len));
		LSC_TRY(lsc_buf_add_str(out, "],"));
		LSC_TRY(put_usage(reply, out));
		LSC_TRY(lsc_buf_add_str(out, "}\n\n"));
	}
	return lsc_buf_add_str(out, "data: [DONE]\n\n");
}

static int finish_event(const struct lsc_reply *reply, uint32_t choice, struct lsc_buf *out)
{
	LSC_TRY(open_event(reply, choice, out));
	return close_event(reply, choice, reply->choices[choice].finish, out);
}

int lsc_reply_fail(const struct lsc_fault *fault, struct lsc_buf *out)
{
	LSC_TRY(lsc_buf_add(out, "data: ", 6));
	LSC_TRY(lsc_fault_write(fault, out));
	return lsc_buf_add(out, "\n\n", 2);
}

/* --- all at once --- */

static int put_choice(const struct lsc_reply *reply, uint32_t i, struct lsc_buf *out)
{
	const struct lsc_reply_choice *choice = &reply->choices[i];
	size_t len = 0;
	const char *prompt = reply->wish->echo ? lsc_wish_prompt(reply->wish, i, &len) : "";

	LSC_TRY(lsc_buf_printf(out, "%s{\"index\":%u,", i ? "," : "", i));
	LSC_TRY(lsc_buf_add_str(out, reply->wish->chat
					     ? "\"message\":{\"role\":\"assistant\",\"content\":\""
					     : "\"text\":\""));
	LSC_TRY(lsc_escape_add(out, prompt, len));
	LSC_TRY(lsc_escape_add(out, (const char *)choice->text.data, choice->text.len));
	LSC_TRY(lsc_buf_add_str(out, reply->wish->chat ? "\",\"refusal\":null}" : "\""));
	LSC_TRY(lsc_reply_put_logprobs(choice, reply->wish->chat, out));
	LSC_TRY(put_finish(out, choice->finish));
	return lsc_buf_add(out, "}", 1);
}

static int put_whole(const struct lsc_reply *reply, struct lsc_buf *out)
{
	LSC_TRY(lsc_buf_add(out, reply->head.data, reply->head.len));
	for (uint32_t i = 0; i < reply->n; i++)
		LSC_TRY(put_choice(reply, i, out));
	LSC_TRY(lsc_buf_add_str(out, "],"));
	LSC_TRY(put_usage(reply, out));
	return lsc_buf_add_str(out, "}\n");
}

/* --- what comes --- */

static int keep(const struct lsc_reply *reply, struct lsc_reply_choice *choice,
		const struct lsc_news_text *text)
{
	size_t all = choice->text.len + choice->tokens.len + choice->tops.len + text->len;

	if (all > LSC_REPLY_MAX_BYTES / reply->n)
		return -EFBIG;
	return lsc_buf_add(&choice->text, text->text, text->len);
}

int lsc_reply_token(struct lsc_reply *reply, uint32_t number, const struct lsc_news_token *token,
		    struct lsc_buf *out)
{
	struct lsc_reply_choice *choice = &reply->choices[number];
	bool logprobs = reply->wish->logprobs && token->logprobs;

	if (choice->finish)
		return 0;
	if (logprobs)
		LSC_TRY(lsc_reply_add_logprobs(choice, reply->wish, token));
	if (!reply->wish->stream)
		return keep(reply, choice, &token->text);
	if (token->text.len || logprobs)
		LSC_TRY(put_event(reply, number, &token->text, out));
	lsc_reply_drop_logprobs(choice);
	return 0;
}

int lsc_reply_done(struct lsc_reply *reply, uint32_t number, const struct lsc_news_done *done,
		   struct lsc_buf *out)
{
	struct lsc_reply_choice *choice = &reply->choices[number];

	if (choice->finish)
		return 0;
	if (!reply->wish->stream)
		LSC_TRY(keep(reply, choice, &done->rest));
	else if (done->rest.len)
		LSC_TRY(put_event(reply, number, &done->rest, out));
	choice->finish = done->reason;
	choice->n_tokens = done->tokens;
	choice->prompt_tokens = done->prompt_tokens;
	choice->cached_tokens = done->cached_tokens;
	if (reply->wish->stream)
		LSC_TRY(finish_event(reply, number, out));
	if (++reply->n_done < reply->n)
		return 0;
	LSC_TRY(reply->wish->stream ? end_stream(reply, out) : put_whole(reply, out));
	return 1;
}
