/* The probabilities in an answer: reply.c's. */
#ifndef LSC_GATE_REPLY_LOGPROBS_H
#define LSC_GATE_REPLY_LOGPROBS_H

#include "gate/reply.h"

/* Adds a token's to those of its choice. */
int lsc_reply_add_logprobs(struct lsc_reply_choice *choice, const struct lsc_wish *wish,
			   const struct lsc_news_token *token);
void lsc_reply_drop_logprobs(struct lsc_reply_choice *choice);

/* ,"logprobs":... of what was added. */
int lsc_reply_put_logprobs(const struct lsc_reply_choice *choice, bool chat, struct lsc_buf *out);

#endif
