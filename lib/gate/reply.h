/* An answer in the shape of the OpenAI API, made of what a router says: events of a stream, or one
 * JSON object when all of it is there.
 *
 * Everything goes to the end of a buffer that the caller empties; what is not streamed is kept here
 * until the last choice is done.  Of a streamed token nothing is kept, and for none is memory
 * allocated once the buffers have their size.
 */
#ifndef LSC_GATE_REPLY_H
#define LSC_GATE_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "gate/wish.h"
#include "gate/news.h"

#define LSC_REPLY_MAX_BYTES (64u << 20) /* kept of one answer that is not streamed */

struct lsc_reply_choice {
	struct lsc_buf text;   /* all of it, as it is */
	struct lsc_buf tokens; /* logprobs, as JSON without its brackets: the list of a
				* chat, or the first of a completion's four */
	struct lsc_buf logs, tops, offsets;
	uint64_t chars; /* before the next token */
	uint64_t prompt_tokens, cached_tokens, n_tokens;
	const char *finish; /* NULL: not done */
};

struct lsc_reply {
	const struct lsc_wish *wish; /* borrowed */
	struct lsc_buf head;         /* what each object begins with, up to the choice's number */
	struct lsc_reply_choice *choices;
	uint32_t n, n_done;
};

#define LSC_REPLY_INIT                                                                             \
	{                                                                                          \
		0                                                                                  \
	}

/* id: "cmpl-..."; created: seconds since 1970.  0, or -ENOMEM. */
int lsc_reply_init(struct lsc_reply *reply, const struct lsc_wish *wish, const char *id,
		   const char *model, uint64_t created);
void lsc_reply_release(struct lsc_reply *reply);

/* Of a stream: what comes before the first token. */
int lsc_reply_begin(struct lsc_reply *reply, struct lsc_buf *out);

/* 0 or -ENOMEM; -EFBIG where it became too long. */
int lsc_reply_token(struct lsc_reply *reply, uint32_t choice, const struct lsc_news_token *token,
		    struct lsc_buf *out);

/* 1: that was the last choice, and out has all there is. */
int lsc_reply_done(struct lsc_reply *reply, uint32_t choice, const struct lsc_news_done *done,
		   struct lsc_buf *out);

/* Of a stream: the event that ends it for something that went wrong. */
int lsc_reply_fail(const struct lsc_fault *fault, struct lsc_buf *out);

#endif
