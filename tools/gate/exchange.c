/* exchange - one request of a client, from its body to the last byte of its answer */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "gate.h"

#define SILENCE_NS 15000000000ull
#define UNSENT_MAX (1u << 20) /* of a stream whose client does not read */

/* --- how it ends --- */

static enum lsc_meter_outcome outcome_of(const struct lsc_fault *fault)
{
	if (fault->status == 429 || fault->status == 503)
		return LSC_METER_REFUSED;
	return fault->status < 500 ? LSC_METER_INVALID : LSC_METER_FAILED;
}

static void count(struct exchange *exchange, enum lsc_meter_outcome outcome)
{
	if (!exchange->counted)
		exchange->gate->meter.requests[exchange->wish.chat][outcome]++;
	exchange->counted = true;
}

/* A choice is over: where it stood, it stands no more. */
static void close_choice(struct exchange *exchange, uint32_t choice, bool tell)
{
	struct gate *gate = exchange->gate;
	uint64_t id = exchange->tickets[choice];

	if (!id)
		return;
	exchange->tickets[choice] = 0;
	exchange->n_open--;
	if (exchange->last_ns[choice])
		gate->meter.running--;
	else
		gate->meter.waiting--;
	gate_ticket_drop(gate, id);
	if (tell)
		gate_router_cancel(gate, id);
}

static void close_all(struct exchange *exchange)
{
	for (uint32_t i = 0; exchange->tickets && i < exchange->wish.n_choices; i++)
		close_choice(exchange, i, true);
}

void exchange_free(struct exchange *exchange)
{
	struct gate *gate = exchange->gate;

	close_all(exchange);
	if (!exchange->ended)
		count(exchange, LSC_METER_CANCELLED);
	*exchange->previous = exchange->next;
	if (exchange->next)
		exchange->next->previous = exchange->previous;
	lsc_reply_release(&exchange->reply);
	lsc_wish_release(&exchange->wish);
	lsc_buf_release(&exchange->out);
	free(exchange->tickets);
	free(exchange->last_ns);
	free(exchange);
	if (!gate->exchanges)
		gate_idle(gate);
}

void exchange_leave(struct exchange *exchange)
{
	close_all(exchange);
	if (!exchange->ended)
		count(exchange, LSC_METER_CANCELLED);
	exchange->left = exchange->ended = true;
}

void exchange_comfort(struct gate *gate)
{
	uint64_t now = lsc_clock_ns();

	for (struct exchange *exchange = gate->exchanges; exchange; exchange = exchange->next) {
		if (!exchange->begun || exchange->ended || exchange->out.len ||
		    now - exchange->said_ns < SILENCE_NS)
			continue;
		if (lsc_buf_add_str(&exchange->out, ": still at it\n\n") < 0)
			continue;
		exchange->said_ns = now;
		gate_http_wake(exchange);
	}
}

static void end(struct exchange *exchange)
{
	exchange->ready = exchange->ended = true;
	gate_http_wake(exchange);
}

void exchange_fail(struct exchange *exchange, const struct lsc_fault *fault)
{
	if (exchange->ended)
		return;
	close_all(exchange);
	count(exchange, outcome_of(fault) == LSC_METER_INVALID ? LSC_METER_INVALID
			: exchange->ready                      ? LSC_METER_FAILED
							       : outcome_of(fault));
	if (!exchange->ready)
		exchange->fault = *fault;
	else if (lsc_reply_fail(fault, &exchange->out) < 0)
		exchange->failed = true;
	end(exchange);
}

/* --- how it begins --- */

static int send_choice(struct exchange *exchange, uint32_t choice, uint64_t seed,
		       struct lsc_pack *pack, struct lsc_fault *fault)
{
	struct gate *gate = exchange->gate;
	uint64_t id = gate_ticket_take(gate, exchange, choice);

	if (!id)
		return lsc_fault_set(fault, 503, NULL, "overloaded", "too many requests at once");
	exchange->tickets[choice] = id;
	exchange->n_open++;
	gate->meter.waiting++;
	if (lsc_wish_pack(&exchange->wish, choice, id, seed, pack) < 0)
		return lsc_fault_set(fault, 500, NULL, NULL, "out of memory");
	if (pack->buf.len > LSC_RECORD_MAX_BYTES)
		return lsc_fault_set(fault, 413, NULL, "request_too_large",
				     "the request takes more than %u bytes", LSC_RECORD_MAX_BYTES);
	if (gate_router_send(gate, pack) < 0)
		return lsc_fault_set(fault, 503, NULL, "overloaded", "the router takes no more");
	return 0;
}

static int send_all(struct exchange *exchange, struct lsc_fault *fault)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	const struct lsc_wish *wish = &exchange->wish;
	uint64_t seed = 0;
	int r = 0;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = lsc_clock_ns();
	for (uint32_t i = 0; r == 0 && i < wish->n_choices; i++)
		r = send_choice(exchange, i, seed, &pack, fault);
	return r;
}

/* Whether it can be asked at all, and now. */
static int check(const struct gate *gate, const struct lsc_wish *wish, struct lsc_fault *fault)
{
	int r = 0;

	if (gate->draining)
		r = lsc_fault_set(fault, 503, NULL, "shutting_down", "the server is shutting down");
	else if (!gate_router_is_up(gate))
		r = lsc_fault_set(fault, 503, NULL, "no_router", "the router is not there");
	else if (wish->model && strcmp(wish->model, gate_model(gate)))
		return lsc_fault_set(fault, 404, "model", "model_not_found",
				     "the model '%.200s' does not exist", wish->model);
	else if (gate->meter.waiting && gate->meter.waiting + wish->n_choices > gate->opt->queue)
		r = lsc_fault_set(fault, 429, NULL, "queue_full",
				  "%llu requests wait already, try again later",
				  (unsigned long long)gate->meter.waiting);
	fault->retry_s = r < 0;
	return r;
}

static int prepare(struct exchange *exchange, struct lsc_fault *fault)
{
	const struct lsc_wish *wish = &exchange->wish;
	char id[48];
	uint64_t number[2];

	if (getrandom(number, sizeof(number), 0) != sizeof(number))
		number[0] = number[1] = lsc_clock_ns();
	snprintf(id, sizeof(id), "%s-%016llx%08llx", wish->chat ? "chatcmpl" : "cmpl",
		 (unsigned long long)number[0], (unsigned long long)(number[1] & 0xffffffff));
	exchange->tickets = calloc(wish->n_choices, sizeof(*exchange->tickets));
	exchange->last_ns = calloc(wish->n_choices, sizeof(*exchange->last_ns));
	if (!exchange->tickets || !exchange->last_ns ||
	    lsc_reply_init(&exchange->reply, wish, id, gate_model(exchange->gate),
			   (uint64_t)lsc_clock_wall_s()) < 0)
		return lsc_fault_set(fault, 500, NULL, NULL, "out of memory");
	return send_all(exchange, fault);
}

struct exchange *exchange_new(struct gate *gate, bool chat, const char *json, size_t len,
			      struct lsc_fault *fault)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));

	if (!exchange) {
		lsc_fault_set(fault, 500, NULL, NULL, "out of memory");
		return NULL;
	}
	*exchange = (struct exchange){.gate = gate,
				      .next = gate->exchanges,
				      .previous = &gate->exchanges,
				      .began_ns = lsc_clock_ns()};
	if (exchange->next)
		exchange->next->previous = &exchange->next;
	gate->exchanges = exchange;
	if (lsc_wish_parse(&exchange->wish, chat, json, len, fault) < 0 ||
	    check(gate, &exchange->wish, fault) < 0 || prepare(exchange, fault) < 0) {
		exchange->wish.chat = chat;
		count(exchange, outcome_of(fault));
		exchange_free(exchange);
		return NULL;
	}
	return exchange;
}

/* --- what comes --- */

/* Out of memory, or out of patience with a client. */
static void give_up(struct exchange *exchange, int code)
{
	struct lsc_fault fault;

	lsc_fault_set(&fault, 500, NULL, NULL,
		      code == -EFBIG ? "the answer is too long" : "out of memory");
	exchange_fail(exchange, &fault);
}

static int begin_stream(struct exchange *exchange)
{
	if (exchange->begun || !exchange->wish.stream)
		return 0;
	exchange->begun = exchange->ready = true;
	return lsc_reply_begin(&exchange->reply, &exchange->out);
}

static void on_accepted(struct exchange *exchange)
{
	int r = 0;

	if (++exchange->n_accepted == exchange->wish.n_choices)
		r = begin_stream(exchange);
	if (r < 0)
		give_up(exchange, r);
}

static void measure(struct exchange *exchange, uint32_t choice)
{
	struct lsc_meter *meter = &exchange->gate->meter;
	uint64_t now = lsc_clock_ns(), last = exchange->last_ns[choice];

	meter->tokens++;
	if (last) {
		lsc_histogram_add(&meter->gap, (double)(now - last) / 1e9);
	} else {
		lsc_histogram_add(&meter->first, (double)(now - exchange->began_ns) / 1e9);
		meter->waiting--;
		meter->running++;
	}
	exchange->last_ns[choice] = now;
}

static int on_token(struct exchange *exchange, uint32_t choice, const struct lsc_record *record,
		    struct lsc_err *err)
{
	struct lsc_news_token token;
	int r = lsc_news_parse_token(record, &token, err);

	if (r < 0)
		return r;
	measure(exchange, choice);
	r = begin_stream(exchange);
	if (r == 0)
		r = lsc_reply_token(&exchange->reply, choice, &token, &exchange->out);
	if (r < 0)
		give_up(exchange, r);
	return 0;
}

static int on_done(struct exchange *exchange, uint32_t choice, const struct lsc_record *record,
		   struct lsc_err *err)
{
	struct lsc_news_done done;
	int r = lsc_news_parse_done(record, &done, err);

	if (r < 0)
		return r;
	close_choice(exchange, choice, false);
	if (choice % exchange->wish.n == 0)
		exchange->gate->meter.prompt_tokens += done.prompt_tokens;
	r = begin_stream(exchange);
	if (r == 0)
		r = lsc_reply_done(&exchange->reply, choice, &done, &exchange->out);
	if (r < 0)
		give_up(exchange, r);
	if (r <= 0)
		return 0;
	lsc_histogram_add(&exchange->gate->meter.whole,
			  (double)(lsc_clock_ns() - exchange->began_ns) / 1e9);
	count(exchange, LSC_METER_OK);
	end(exchange);
	return 0;
}

/* What a router's code means in HTTP. */
static void fault_of(const struct exchange *exchange, const struct lsc_news_fail *fail,
		     struct lsc_fault *fault)
{
	const char *param = exchange->wish.chat ? "messages" : "prompt";

	if (!strcmp(fail->code, "too_long"))
		lsc_fault_set(fault, 400, param, "context_length_exceeded", "%s", fail->why);
	else if (!strcmp(fail->code, "invalid"))
		lsc_fault_set(fault, 400, NULL, "invalid_value", "%s", fail->why);
	else if (!strcmp(fail->code, "unsupported"))
		lsc_fault_set(fault, 400, param, "unsupported_value", "%s", fail->why);
	else if (!strcmp(fail->code, "busy"))
		lsc_fault_set(fault, 429, NULL, "queue_full", "%s", fail->why);
	else
		lsc_fault_set(fault, 500, NULL, "failed", "%s", fail->why);
	fault->retry_s = fault->status == 429;
}

static int on_fail(struct exchange *exchange, uint32_t choice, const struct lsc_record *record,
		   struct lsc_err *err)
{
	struct lsc_news_fail fail;
	struct lsc_fault fault;
	int r = lsc_news_parse_fail(record, &fail, err);

	if (r < 0)
		return r;
	close_choice(exchange, choice, false);
	fault_of(exchange, &fail, &fault);
	exchange_fail(exchange, &fault);
	return 0;
}

/* A client that does not read costs a bounded buffer, and then its answer. */
static void tell_client(struct exchange *exchange)
{
	size_t unsent = exchange->out.len - exchange->sent;

	if (!exchange->ended && exchange->wish.stream && unsent > UNSENT_MAX) {
		lsc_info("a client does not read its answer, given up");
		close_all(exchange);
		count(exchange, LSC_METER_CANCELLED);
		exchange->failed = exchange->ended = true;
	}
	/* The headers of a stream go out when it is accepted, whatever follows. */
	if (exchange->ready && (unsent || exchange->ended || !exchange->said_ns)) {
		exchange->said_ns = lsc_clock_ns();
		gate_http_wake(exchange);
	}
}

int exchange_on_record(struct exchange *exchange, uint32_t choice, const struct lsc_record *record,
		       struct lsc_err *err)
{
	struct lsc_meter *meter = &exchange->gate->meter;
	int r = 0;

	if (lsc_record_is(record, "token"))
		r = on_token(exchange, choice, record, err);
	else if (lsc_record_is(record, "accepted"))
		on_accepted(exchange);
	else if (lsc_record_is(record, "done"))
		r = on_done(exchange, choice, record, err);
	else if (lsc_record_is(record, "fail"))
		r = on_fail(exchange, choice, record, err);
	else if (lsc_record_is(record, "route"))
		meter->routes++;
	else if (lsc_record_is(record, "switch"))
		meter->switches++;
	if (r == 0)
		tell_client(exchange);
	return r;
}
