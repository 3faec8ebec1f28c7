/* A request of the OpenAI API, from its JSON to the records that a router takes (lsc-stream(5)).
 *
 * What a router does not know is refused by its name, unless it says what is done anyway; so is
 * what nobody knows.  lsc-gate(1) has the list.
 */
#ifndef LSC_GATE_WISH_H
#define LSC_GATE_WISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "gate/fault.h"
#include "stream/record.h"

#define LSC_WISH_MAX_N             16  /* answers to one prompt */
#define LSC_WISH_MAX_CHOICES       128 /* to all of them */
#define LSC_WISH_MAX_MESSAGES      65536
#define LSC_WISH_COMPLETION_TOKENS 16 /* where max_tokens is absent, as there */

struct lsc_wish {
	bool chat; /* of /v1/chat/completions */
	json_t *root;
	const char *model;     /* NULL: any; in root */
	const json_t *prompts; /* an array of them, or the one that there is */
	uint32_t n_prompts;
	uint32_t n;         /* answers to each */
	uint32_t n_choices; /* in all */
	bool stream, usage; /* usage: told at the end of a stream */
	bool echo;
	bool logprobs;
	uint32_t top;       /* of the likeliest that are told */
	int64_t max_tokens; /* 0: up to the context's end */
	double temperature, top_p, min_p, penalty;
	int64_t top_k;
	bool seeded;
	int64_t seed;
};

#define LSC_WISH_INIT                                                                              \
	{                                                                                          \
		0                                                                                  \
	}

/* 0, or -1 with what is wrong; then too the wish is to be released. */
int lsc_wish_parse(struct lsc_wish *wish, bool chat, const char *json, size_t len,
		   struct lsc_fault *fault);
void lsc_wish_release(struct lsc_wish *wish);

/* The record of one choice; seed: where the wish has none.  0, or negative errno. */
int lsc_wish_pack(const struct lsc_wish *wish, uint32_t choice, uint64_t id, uint64_t seed,
		  struct lsc_pack *pack);

/* The prompt of a choice as text; NULL where it is ids, or messages. */
const char *lsc_wish_prompt(const struct lsc_wish *wish, uint32_t choice, size_t *ret_len);

#endif
