/* call - one request, from its reset to its result */
#include "call.h"

#include <stdlib.h>

#include "base/macros.h"

#define MAX_ERROR 4096u

struct replay_call *replay_call_new(struct replay_http *http, struct lsc_digest *itl, void *owner)
{
	struct replay_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	if (replay_exchange_init(&call->exchange, http, NULL) < 0) {
		free(call);
		return NULL;
	}
	lsc_answer_init(&call->answer, itl);
	call->owner = owner;
	return call;
}

void replay_calls_free(struct replay_call *list)
{
	struct replay_call *call;

	while ((call = list)) {
		list = call->next;
		replay_exchange_release(&call->exchange);
		lsc_answer_release(&call->answer);
		lsc_buf_release(&call->error);
		free(call);
	}
}

void replay_call_reset(struct replay_call *call, const struct lsc_due *due, uint32_t number)
{
	call->exchange.body.len = call->error.len = 0;
	call->err = (struct lsc_err)LSC_ERR_INIT;
	call->finished = false;
	lsc_answer_reset(&call->answer);
	call->result = (struct lsc_result){
		.number = number,
		.due_ns = due->at_ns,
		.prompt = due->prompt,
		.output = due->output,
	};
}

void replay_call_enlist(struct replay_call **list, struct replay_call *call)
{
	call->previous = NULL;
	call->next = *list;
	if (call->next)
		call->next->previous = call;
	*list = call;
}

void replay_call_delist(struct replay_call **list, struct replay_call *call)
{
	if (call->previous)
		call->previous->next = call->next;
	else
		*list = call->next;
	if (call->next)
		call->next->previous = call->previous;
}

int replay_call_feed(struct replay_call *call, uint64_t now_ns, const char *bytes, size_t len)
{
	const struct replay_exchange *exchange = &call->exchange;
	int r;

	if (exchange->status < 200 || exchange->status > 299) {
		len = LSC_MIN(len, MAX_ERROR - LSC_MIN(call->error.len, MAX_ERROR));
		return lsc_buf_add(&call->error, bytes, len);
	}
	if (!exchange->is_stream)
		return lsc_err_set(&call->err, EBADMSG, "answered with no event stream");
	r = lsc_answer_feed(&call->answer, now_ns, bytes, len, &call->err);
	if (call->answer.done)
		call->result.end_ns = now_ns;
	return r;
}

enum lsc_outcome replay_call_judge(const struct replay_call *call, enum replay_end end)
{
	long status = call->exchange.status;

	if (call->err.code == EREMOTEIO)
		return LSC_OUTCOME_ERROR;
	if (call->err.code)
		return LSC_OUTCOME_MALFORMED;
	if (status && (status < 200 || status > 299))
		return LSC_OUTCOME_HTTP;
	switch (end) {
	case REPLAY_END_WELL:
		return LSC_OUTCOME_UNENDED;
	case REPLAY_END_CONNECT:
		return LSC_OUTCOME_CONNECT;
	case REPLAY_END_TIMEOUT:
		return LSC_OUTCOME_TIMEOUT;
	default:
		return LSC_OUTCOME_BROKEN;
	}
}

void replay_call_tell(struct replay_call *call, enum lsc_outcome outcome, uint64_t now_ns)
{
	struct lsc_result *result = &call->result;
	const struct lsc_answer *answer = &call->answer;

	result->outcome = outcome;
	result->status = call->exchange.status;
	result->chunks = answer->chunks;
	result->first_ns = answer->first_ns;
	result->last_ns = answer->last_ns;
	result->has_usage = answer->has_usage;
	result->prompt_tokens = answer->prompt_tokens;
	result->output_tokens = answer->output_tokens;
	result->has_text = lsc_answer_hash(&call->answer, &result->text);
	if (!result->end_ns)
		result->end_ns = now_ns;
}
