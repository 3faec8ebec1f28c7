/* An answer of the OpenAI API as it streams in: text/event-stream of JSON chunks, then [DONE].
 *
 * A chunk with text is taken for a token, whatever it holds, at the moment its bytes came; what the
 * server says in "usage" is how many there were.  Text is a completion's "text", a chat's
 * "content", "reasoning_content", "reasoning" or "tool_calls"; chunks without any (a role, an end)
 * are none.
 */
#ifndef LSC_LOAD_ANSWER_H
#define LSC_LOAD_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "load/digest.h"
#include "load/event_stream.h"

struct lsc_answer {
	struct lsc_event_stream events;
	struct lsc_digest *gaps; /* gets the ns from chunk to chunk; NULL */

	uint64_t first_ns, last_ns; /* chunks with text came; where there are any */
	uint32_t chunks;
	bool done, has_usage;
	uint32_t prompt_tokens, output_tokens; /* with has_usage */

	/* own */
	uint64_t now_ns;
	struct lsc_hasher *hasher; /* of the text so far; NULL before the first */
};

void lsc_answer_init(struct lsc_answer *answer, struct lsc_digest *gaps);
void lsc_answer_release(struct lsc_answer *answer);

/* Forgets what came, and keeps its memory for the next answer. */
void lsc_answer_reset(struct lsc_answer *answer);

/* Takes bytes that came at now_ns.  -EBADMSG for what is no such stream; -EREMOTEIO, in the
 * server's words, where it says in the stream that it failed.  What follows [DONE] is skipped. */
int lsc_answer_feed(struct lsc_answer *answer, uint64_t now_ns, const void *bytes, size_t len,
		    struct lsc_err *err);

/* The hash of all text that came, however it was cut into chunks; and starts afresh.  False: none
 * came. */
bool lsc_answer_hash(struct lsc_answer *answer, struct lsc_hash *ret_hash);

/* The words of an error in a body of JSON, as servers send with a status; else the body's first
 * line.  text holds size bytes. */
void lsc_answer_error_text(const char *body, size_t len, char *text, size_t size);

/* The first model that the body of /v1/models names, which free() ends; -EBADMSG, -ENOMEM. */
int lsc_answer_model(const char *body, size_t len, char **ret_model, struct lsc_err *err);

#endif
