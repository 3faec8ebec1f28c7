/* A request of lsc-replay's: what is sent, what has come back, and how it ended. */
#ifndef LSC_REPLAY_CALL_H
#define LSC_REPLAY_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http.h"
#include "load/answer.h"
#include "load/tally.h"
#include "load/timetable.h"

struct replay_call {
	struct replay_exchange exchange; /* first: what on_bytes() and on_end() are given */
	struct lsc_answer answer;
	struct lsc_result result;
	struct lsc_buf error; /* body of a status that is no success */
	struct lsc_err err;
	uint32_t words; /* of the prompt */
	void *owner;
	bool finished;                       /* told; on_end is to come */
	struct replay_call *next, *previous; /* of the list that it is in */
};

/* NULL: no memory. */
struct replay_call *replay_call_new(struct replay_http *http, struct lsc_digest *itl, void *owner);
void replay_calls_free(struct replay_call *list); /* by next */

/* Ready for request number, which is due. */
void replay_call_reset(struct replay_call *call, const struct lsc_due *due, uint32_t number);

void replay_call_enlist(struct replay_call **list, struct replay_call *call);
void replay_call_delist(struct replay_call **list, struct replay_call *call);

/* Bytes that came at now_ns; < 0: there is no use in more of them. */
int replay_call_feed(struct replay_call *call, uint64_t now_ns, const char *bytes, size_t len);

/* What became of one that ended before its answer did. */
enum lsc_outcome replay_call_judge(const struct replay_call *call, enum replay_end end);

/* Fills its result, now_ns being the end where [DONE] was none. */
void replay_call_tell(struct replay_call *call, enum lsc_outcome outcome, uint64_t now_ns);

#endif
