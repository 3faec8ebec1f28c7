/* Prompts of given lengths, made of a text.
 *
 * A text is cut into words at white space (and after 24 bytes, for scripts that have none).  A
 * prompt is runs of a few words from places of the text that its seed draws, so no two prompts
 * begin alike and a server's prefix cache finds nothing that was not meant to be shared.
 *
 * How many tokens a word makes is the server's to say.  A gauge begins with a guess and learns from
 * the first LSC_GAUGE_ANSWERS answers that tell it, once: prompts that share blocks share them
 * whole before that and whole after it.  It fits tokens = overhead + words x per_word, where the
 * overhead is what a chat template adds, and takes the overhead for 0 where the answers do not tell
 * it apart.
 */
#ifndef LSC_LOAD_PROMPT_H
#define LSC_LOAD_PROMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "load/timetable.h"

#define LSC_TEXT_MAX_BYTES (64u << 20)
#define LSC_TEXT_MIN_WORDS 64
#define LSC_GAUGE_ANSWERS  16
#define LSC_GAUGE_GUESS    1.35 /* tokens a word: English, with vocabularies of today */

struct lsc_text {
	struct lsc_buf bytes; /* words, each with a blank in front, ready for a JSON string */
	uint32_t *starts;     /* n + 1 */
	uint32_t n;
};

#define LSC_TEXT_INIT                                                                              \
	{                                                                                          \
		LSC_BUF_INIT, NULL, 0                                                              \
	}

/* Valid UTF-8 of LSC_TEXT_MIN_WORDS words at least: else -EBADMSG. */
int lsc_text_init(struct lsc_text *text, const char *bytes, size_t len, struct lsc_err *err);
void lsc_text_release(struct lsc_text *text);

/* One that is built in. */
extern const char lsc_text_builtin[];

struct lsc_gauge {
	double per_word, overhead;
	bool fixed; /* given, or learnt: no answer changes it any more */
	uint32_t answers;
	double words, tokens, words2, both, least, most; /* sums over answers, and the range */
};

/* per_word > 0: given; 0: to be learnt. */
void lsc_gauge_init(struct lsc_gauge *gauge, double per_word);
void lsc_gauge_learn(struct lsc_gauge *gauge, uint32_t words, uint32_t tokens);
uint32_t lsc_gauge_words(const struct lsc_gauge *gauge, uint32_t tokens); /* 1 at least */

/* What a request says beside its prompt. */
struct lsc_ask {
	const char *model;
	bool chat;       /* /v1/chat/completions, not /v1/completions */
	bool ignore_eos; /* beyond the API; llama-server and vLLM take it */
	bool greedy;     /* temperature 0, not the server's own */
	bool no_usage;   /* without stream_options, for servers that refuse them */
};

/* Appends the JSON body of a request, and sets *ret_words to the words of its prompt.  trace is
 * what the due's row is of, or NULL.  -ENOMEM. */
int lsc_ask_body(const struct lsc_ask *ask, const struct lsc_text *text,
		 const struct lsc_gauge *gauge, const struct lsc_due *due, uint32_t number,
		 const struct lsc_trace *trace, uint64_t seed, struct lsc_buf *buf,
		 uint32_t *ret_words);

#endif
