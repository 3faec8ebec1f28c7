/* http_answer - answers, with the headers that go with them */
#include "gate.h"

#ifdef LSC_HAVE_MICROHTTPD

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "http.h"

#define STREAM_BLOCK 16384
#define MAX_ASKED    512 /* of the headers that a preflight names */

static const char *header_of(const struct call *call, const char *name)
{
	return MHD_lookup_connection_value(call->mhd, MHD_HEADER_KIND, name);
}

static void add(struct MHD_Response *response, const char *name, const char *value)
{
	MHD_add_response_header(response, name, value);
}

/* Pages of other origins see answers only where the command line says so. */
static bool allow_origin(const struct call *call, struct MHD_Response *response)
{
	const struct gate_options *opt = call->gate->opt;
	const char *origin = header_of(call, "Origin");

	if (!opt->n_origins)
		return false;
	add(response, "Vary", "Origin");
	for (unsigned i = 0; origin && i < opt->n_origins; i++) {
		bool any = !strcmp(opt->origins[i], "*");

		if (!any && strcmp(opt->origins[i], origin))
			continue;
		add(response, "Access-Control-Allow-Origin", any ? "*" : origin);
		return true;
	}
	return false;
}

static enum MHD_Result queue(struct call *call, unsigned status, struct MHD_Response *response)
{
	enum MHD_Result r;

	if (!response)
		return MHD_NO;
	allow_origin(call, response);
	add(response, "X-Content-Type-Options", "nosniff");
	r = MHD_queue_response(call->mhd, status, response);
	MHD_destroy_response(response);
	return r;
}

/* Takes the buffer over. */
static struct MHD_Response *from_buf(struct lsc_buf *buf, const char *type)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(buf->len, buf->data, MHD_RESPMEM_MUST_FREE);

	if (response)
		add(response, "Content-Type", type);
	else
		free(buf->data);
	*buf = (struct lsc_buf)LSC_BUF_INIT;
	return response;
}

enum MHD_Result gate_answer_fault(struct call *call, const struct lsc_fault *fault)
{
	struct lsc_buf buf = LSC_BUF_INIT;
	struct MHD_Response *response;
	char seconds[16];

	if (lsc_fault_write(fault, &buf) < 0 || lsc_buf_add(&buf, "\n", 1) < 0) {
		lsc_buf_release(&buf);
		return MHD_NO;
	}
	response = from_buf(&buf, "application/json");
	if (!response)
		return MHD_NO;
	snprintf(seconds, sizeof(seconds), "%u", fault->retry_s);
	if (fault->retry_s)
		add(response, "Retry-After", seconds);
	if (fault->status == 401)
		add(response, "WWW-Authenticate", "Bearer");
	if (fault->allow)
		add(response, "Allow", fault->allow);
	if (call->gate->draining)
		add(response, "Connection", "close");
	return queue(call, (unsigned)fault->status, response);
}

enum MHD_Result gate_answer_page(struct call *call)
{
	struct lsc_buf buf = LSC_BUF_INIT;
	struct MHD_Response *response;
	char policy[300] = "";
	unsigned status = 200;

	if (call->page->make)
		status = call->page->make(call->gate, &buf);
	else if (gate_page_home(&buf, policy, sizeof(policy)) < 0)
		status = 500;
	if (!buf.data && lsc_buf_add(&buf, "", 0) < 0)
		return MHD_NO;
	response = from_buf(&buf, call->page->type);
	if (!response)
		return MHD_NO;
	add(response, "Cache-Control", "no-store");
	if (policy[0]) {
		add(response, "Content-Security-Policy", policy);
		add(response, "Referrer-Policy", "no-referrer");
		add(response, "X-Frame-Options", "DENY");
	}
	return queue(call, status, response);
}

/* Names of headers, as a browser lists them, and nothing else. */
static bool is_list_of_names(const char *text)
{
	size_t len = strlen(text);

	return len && len < MAX_ASKED &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ") ==
		       len;
}

enum MHD_Result gate_answer_preflight(struct call *call)
{
	const char *asked = header_of(call, "Access-Control-Request-Headers");
	struct MHD_Response *response =
		MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);

	if (!response)
		return MHD_NO;
	add(response, "Allow", "GET, HEAD, POST, OPTIONS");
	if (call->gate->opt->n_origins) {
		add(response, "Access-Control-Allow-Methods", "GET, POST");
		add(response, "Access-Control-Max-Age", "600");
		if (asked && is_list_of_names(asked))
			add(response, "Access-Control-Allow-Headers", asked);
	}
	return queue(call, 204, response);
}

/* --- exchanges --- */

/* What there is, or later. */
static ssize_t read_stream(void *data, uint64_t at, char *to, size_t max)
{
	struct call *call = data;
	struct exchange *exchange = call->exchange;
	size_t n = LSC_MIN(exchange->out.len - exchange->sent, max);

	(void)at;
	if (exchange->failed || exchange->left)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (n == 0 && exchange->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (n == 0) {
		gate_call_suspend(call);
		return 0;
	}
	memcpy(to, exchange->out.data + exchange->sent, n);
	exchange->sent += n;
	if (exchange->sent == exchange->out.len)
		exchange->sent = exchange->out.len = 0;
	return (ssize_t)n;
}

static struct MHD_Response *make_stream(struct call *call)
{
	struct MHD_Response *response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, call, NULL);

	if (!response)
		return NULL;
	add(response, "Content-Type", "text/event-stream; charset=utf-8");
	add(response, "Cache-Control", "no-cache");
	add(response, "X-Accel-Buffering", "no"); /* what nginx calls it */
	return response;
}

enum MHD_Result gate_answer_exchange(struct call *call)
{
	struct exchange *exchange = call->exchange;

	if (exchange->fault.status)
		return gate_answer_fault(call, &exchange->fault);
	if (exchange->wish.stream)
		return queue(call, 200, make_stream(call));
	return queue(call, 200, from_buf(&exchange->out, "application/json"));
}

#endif
