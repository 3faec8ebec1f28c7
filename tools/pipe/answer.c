/* answer - what becomes of a request, as JSON lines or text on standard output, or records
 *
 * Tokens become text, which may hold back what is not decided yet: bytes of a character, and what a
 * stop string may begin with.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/tool.h"
#include "pipe.h"

struct answer {
	struct pipe *pipe;
	struct client_place place;
	json_t *id;
	struct lsc_detokenizer detokenizer;
	struct lsc_stops stops;
	struct lsc_stopper stopper;
	struct lsc_buf raw;  /* text as it comes */
	struct lsc_buf text; /* all that was decided */
};

/* --- printing --- */

/* What is written goes out at once; where it cannot, nobody is there to answer to. */
static void flush_answers(struct pipe *pipe)
{
	if (fflush(stdout) == 0 || pipe->broken)
		return;
	pipe->broken = errno;
	lsc_loop_stop(pipe->loop, 0);
}

/* Text from elsewhere, which may not be UTF-8 throughout. */
static json_t *make_text(const char *text, size_t len)
{
	json_t *json = json_stringn(text, len);
	char *copy = json ? NULL : malloc(len);

	if (!copy)
		return json;
	for (size_t i = 0; i < len; i++)
		copy[i] = (unsigned char)text[i] < 128 ? text[i] : '?';
	json = json_stringn(copy, len);
	free(copy);
	return json;
}

/* Takes more over. */
static void print_object(struct pipe *pipe, struct client *client, const char *type, json_t *id,
			 json_t *more)
{
	json_t *line = json_object();
	double t = lsc_fleet_now(&pipe->router.fleet);

	json_object_set_new(line, "type", json_string(type));
	json_object_set_new(line, "t", json_real((double)(long)(t * 1e6) / 1e6));
	if (id)
		json_object_set(line, "id", id);
	json_object_update(line, more);
	if (client) {
		pipe_client_put(client, line);
	} else {
		json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
		putchar('\n');
		flush_answers(pipe);
	}
	json_decref(line);
	json_decref(more);
}

const char *pipe_answer_code(const struct lsc_err *err)
{
	switch (err->code) {
	case EBADMSG:
		return "invalid";
	case EOPNOTSUPP:
		return "unsupported";
	case EMSGSIZE:
		return "too_long";
	case EBUSY:
		return "busy";
	default:
		return "failed";
	}
}

void pipe_answer_refuse(struct pipe *pipe, struct client *client, json_t *id, const char *code,
			const char *why)
{
	char *name = pipe->opt->text && id ? json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

	if (name)
		lsc_error("request %s: %s", name, why);
	else if (pipe->opt->text)
		lsc_error("%s", why);
	else
		print_object(
			pipe, client, "fail", id,
			json_pack("{s:s, s:o}", "code", code, "why", make_text(why, strlen(why))));
	free(name);
	if (!pipe->status && !client)
		pipe->status = LSC_EXIT_NO;
}

static void on_route(struct lsc_router_request *request)
{
	struct answer *answer = request->user;
	json_t *stages;

	answer->pipe->totals.routes++;
	if (answer->pipe->opt->text)
		return;
	stages = json_array();
	for (uint32_t i = 0; i < request->cover.n; i++) {
		const struct lsc_stage *stage = &request->cover.stages[i];
		const char *name = request->router->fleet.nodes[stage->node]->name;

		json_array_append_new(stages,
				      json_pack("{s:i, s:o, s:i, s:i}", "node", stage->node, "name",
						make_text(name, strlen(name)), "first",
						stage->first, "last", stage->last));
	}
	print_object(answer->pipe, answer->place.client, "route", answer->id,
		     json_pack("{s:o}", "stages", stages));
}

static void on_switch(struct lsc_router_request *request, uint32_t node)
{
	const struct lsc_shift *shift = &request->shift;
	struct answer *answer = request->user;
	json_t *line;

	answer->pipe->totals.switches++;
	if (answer->pipe->opt->text)
		return;
	line = json_pack("{s:s, s:s, s:i, s:s, s:I, s:I, s:f, s:f}", "from", "pipeline", "to",
			 "local", "node", node, "how", shift->moved ? "move" : "recompute",
			 "positions", (json_int_t)shift->positions, "bytes",
			 (json_int_t)shift->bytes, "move_s", shift->move_s, "recompute_s",
			 shift->recompute_s);
	if (shift->moved)
		json_object_set_new(line, "took_s", json_real(shift->took_s));
	if (shift->why[0])
		json_object_set_new(line, "why", make_text(shift->why, strlen(shift->why)));
	print_object(answer->pipe, answer->place.client, "switch", answer->id, line);
}

/* --- tokens --- */

/* A token's own text, whatever was before it. */
static json_t *token_text(const struct pipe *pipe, uint32_t token)
{
	struct lsc_detokenizer detokenizer;
	struct lsc_buf text = LSC_BUF_INIT;
	json_t *json;

	lsc_detokenizer_init(&detokenizer, pipe->tokenizer);
	detokenizer.first = false;
	lsc_detokenizer_add(&detokenizer, token, &text, NULL);
	lsc_detokenizer_end(&detokenizer, &text);
	json = make_text(text.len ? (const char *)text.data : "", text.len);
	lsc_buf_release(&text);
	return json;
}

static void put_logprobs(const struct pipe *pipe, json_t *line, const struct lsc_drawn *drawn)
{
	json_t *list = json_array();

	json_object_set_new(line, "own", token_text(pipe, drawn->token));
	json_object_set_new(line, "logprob", json_real(drawn->logprob));
	for (uint32_t i = 0; i < drawn->n_top; i++)
		json_array_append_new(list, json_pack("{s:I, s:o, s:f}", "token",
						      (json_int_t)drawn->top[i].token, "text",
						      token_text(pipe, drawn->top[i].token),
						      "logprob", (double)drawn->top[i].logprob));
	json_object_set_new(line, "top_logprobs", list);
}

/* Takes what came of the text to where it is decided; whether a stop string ended it. */
static bool settle(struct answer *answer)
{
	int r = lsc_stopper_add(&answer->stopper, answer->raw.data, answer->raw.len, &answer->text);

	answer->raw.len = 0;
	return r > 0;
}

static void print_text(struct answer *answer, size_t before)
{
	if (answer->text.len == before)
		return;
	fwrite(answer->text.data + before, 1, answer->text.len - before, stdout);
	flush_answers(answer->pipe);
}

/* Without a detour: clients get many of them. */
static void send_token(const struct lsc_router_request *request, const struct answer *answer,
		       const struct lsc_drawn *drawn, size_t before)
{
	struct lsc_pack *pack = &answer->pipe->pack;
	size_t len = answer->text.len - before;

	pipe_client_begin(answer->place.client, "token", answer->id);
	lsc_pack_uint(pack, "pos", request->ids.n - 1);
	lsc_pack_uint(pack, "token", drawn->token);
	lsc_pack_strn(pack, "text", len ? (const char *)answer->text.data + before : "", len);
	lsc_pack_end(pack);
	pipe_client_send(answer->place.client);
}

static bool on_token(struct lsc_router_request *request, const struct lsc_drawn *drawn,
		     bool logprobs)
{
	struct answer *answer = request->user;
	size_t before = answer->text.len;
	bool stopped;
	json_t *line;

	answer->pipe->totals.tokens++;
	lsc_detokenizer_add(&answer->detokenizer, drawn->token, &answer->raw, NULL);
	stopped = settle(answer);
	if (answer->place.client && !logprobs) {
		send_token(request, answer, drawn, before);
		return !stopped;
	}
	if (answer->pipe->opt->text) {
		print_text(answer, before);
		return !stopped;
	}
	line = json_pack("{s:I, s:I, s:o}", "pos", (json_int_t)request->ids.n - 1, "token",
			 (json_int_t)drawn->token, "text",
			 make_text(answer->text.len ? (const char *)answer->text.data + before : "",
				   answer->text.len - before));
	if (logprobs)
		put_logprobs(answer->pipe, line, drawn);
	print_object(answer->pipe, answer->place.client, "token", answer->id, line);
	return !stopped;
}

/* --- the end --- */

/* What ended the answer, where it was asked for. */
static json_t *stop_of(const struct lsc_router_request *request, const struct answer *answer)
{
	int met = answer->stopper.met;

	if (met >= 0)
		return make_text(answer->stops.texts[met], answer->stops.lens[met]);
	return request->stopped ? json_integer(request->stop_id) : NULL;
}

/* What is held back of the text comes last. */
static void print_done(struct pipe *pipe, const struct lsc_router_request *request,
		       struct answer *answer, const char *reason)
{
	size_t before = answer->text.len, from;
	json_t *line, *stop;

	if (answer->stopper.met < 0) {
		lsc_detokenizer_end(&answer->detokenizer, &answer->raw);
		if (!settle(answer))
			lsc_stopper_end(&answer->stopper, &answer->text);
	}
	if (pipe->opt->text) {
		print_text(answer, before);
		putchar('\n');
		flush_answers(pipe);
		return;
	}
	from = answer->place.client ? before : 0;
	line = json_pack("{s:s, s:o, s:i, s:i}", "reason",
			 answer->stopper.met >= 0 ? "stop" : reason,
			 answer->place.client ? "rest" : "text",
			 make_text(answer->text.len ? (const char *)answer->text.data + from : "",
				   answer->text.len - from),
			 "tokens", (int)(request->ids.n - request->n_prompt), "prompt_tokens",
			 (int)request->n_prompt);
	if (request->reused)
		json_object_set_new(line, "cached_tokens", json_integer(request->reused));
	pipe->totals.cached_tokens += request->reused;
	stop = stop_of(request, answer);
	if (stop)
		json_object_set_new(line, "stop", stop);
	print_object(pipe, answer->place.client, "done", answer->id, line);
}

static void answer_free(struct answer *answer)
{
	pipe_client_leave(&answer->place);
	json_decref(answer->id);
	lsc_stopper_release(&answer->stopper);
	lsc_stops_release(&answer->stops);
	lsc_buf_release(&answer->raw);
	lsc_buf_release(&answer->text);
	free(answer);
}

/* Who cancelled it has left its place, and is told nothing. */
static void fail(struct answer *answer, const char *why)
{
	struct pipe *pipe = answer->pipe;

	if (pipe->opt->listen && !answer->place.client) {
		pipe->totals.cancelled++;
		return;
	}
	pipe->totals.failed++;
	pipe_answer_refuse(pipe, answer->place.client, answer->id, "failed", why);
}

static void on_done(struct lsc_router_request *request, const char *reason, const char *why)
{
	struct answer *answer = request->user;
	struct pipe *pipe = answer->pipe;

	if (reason)
		print_done(pipe, request, answer, reason);
	else
		fail(answer, why);
	answer_free(answer);
	pipe_request_done(pipe);
}

const struct lsc_router_events pipe_answer_events = {on_route, on_switch, on_token, on_done};

int pipe_answer_begin(struct pipe *pipe, struct client *client, struct lsc_router_request *request,
		      json_t *id, struct lsc_query *query, struct lsc_err *err)
{
	struct answer *answer = calloc(1, sizeof(*answer));

	if (!answer)
		return lsc_err_set(err, ENOMEM, "no memory for a request");
	*answer = (struct answer){.pipe = pipe, .id = json_incref(id), .stops = query->stops};
	query->stops = (struct lsc_stops)LSC_STOPS_INIT;
	lsc_detokenizer_init(&answer->detokenizer, pipe->tokenizer);
	if (client && !query->special) /* it goes on where the prompt ends */
		answer->detokenizer.first = false;
	lsc_stopper_init(&answer->stopper, &answer->stops);
	request->user = answer;
	answer->place = (struct client_place){.request = request, .id = answer->id};
	if (client)
		pipe_client_enter(client, &answer->place);
	return 0;
}
