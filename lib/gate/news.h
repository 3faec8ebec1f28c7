/* What a router says (lsc-stream(5), Connections), parsed and bounded. */
#ifndef LSC_GATE_NEWS_H
#define LSC_GATE_NEWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sampling.h"
#include "stream/record.h"

struct lsc_news_text { /* lies in the record */
	const char *text;
	uint32_t len;
};

struct lsc_news_token {
	struct lsc_news_text text; /* what it adds to the answer */
	bool logprobs;             /* what follows is there: */
	double logprob;
	struct lsc_news_text own; /* the token's own text */
	uint32_t n_top;
	struct {
		struct lsc_news_text text;
		double logprob;
	} top[LSC_SAMPLING_MAX_TOP];
};

struct lsc_news_done {
	const char *reason; /* "stop" or "length" */
	struct lsc_news_text rest;
	uint64_t tokens, prompt_tokens;
	uint64_t cached_tokens; /* of the prompt, that were not computed anew */
};

struct lsc_news_fail {
	char code[16];
	char why[256];
};

/* The id of an answer's record: 1; 0 where it has none, or none of ours. */
int lsc_news_id(const struct lsc_record *record, uint64_t *ret_id);

int lsc_news_parse_token(const struct lsc_record *record, struct lsc_news_token *token,
			 struct lsc_err *err);
int lsc_news_parse_done(const struct lsc_record *record, struct lsc_news_done *done,
			struct lsc_err *err);
int lsc_news_parse_fail(const struct lsc_record *record, struct lsc_news_fail *fail,
			struct lsc_err *err);

#endif
