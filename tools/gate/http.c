/* http - HTTP by libmicrohttpd, within our loop: its descriptor is watched like any other
 *
 * A call that waits for the router is suspended, so that it costs nothing, and resumed when there
 * is something to send: all of one turn of the loop together.  While it is suspended libmicrohttpd
 * does not look at its socket; the end of its client is watched for here.
 */
#include "gate.h"

#ifdef LSC_HAVE_MICROHTTPD

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "door.h"
#include "http.h"

#define SWEEP_NS   1000000000ull
#define OWN_FDS    64
#define MAX_WASTED 8 /* bodies too large are read on to be answered, so many times the limit */

struct gate_http {
	struct gate *gate;
	struct MHD_Daemon *daemon;
	int fd; /* listening */
	char address[LSC_ENDPOINT_TEXT + 16];
	struct lsc_watch *watch;
	struct lsc_timer *run, *sweep;
	struct connection *connections;
	struct call *wake; /* to be resumed */
};

int gate_http_check(struct lsc_err *err)
{
	(void)err;
	return 0;
}

const char *gate_http_address(const struct gate *gate)
{
	return gate->http->address;
}

/* --- running --- */

static void resume(struct call *call)
{
	call->waking = false;
	call->suspended = false;
	MHD_resume_connection(call->mhd);
}

static void run(void *data)
{
	struct gate_http *http = data;
	MHD_UNSIGNED_LONG_LONG ms = 0;
	struct call *call, *next;

	for (call = http->wake; call; call = next) {
		next = call->next_wake;
		resume(call);
	}
	http->wake = NULL;
	MHD_run(http->daemon);
	if (http->wake)
		lsc_timer_arm(http->run, 0);
	else if (MHD_get_timeout(http->daemon, &ms) == MHD_YES)
		lsc_timer_arm(http->run, LSC_MIN(ms, 1000ull) * 1000000);
}

static void on_readable(void *data, uint32_t events)
{
	(void)events;
	run(data);
}

static void wake(struct call *call)
{
	struct gate_http *http = call->gate->http;

	if (!call->suspended || call->waking)
		return;
	call->waking = true;
	call->next_wake = http->wake;
	http->wake = call;
	lsc_timer_arm(http->run, 0);
}

void gate_http_wake(struct exchange *exchange)
{
	if (exchange->http)
		wake(exchange->http);
}

/* --- suspended --- */

/* The client has closed its end: nobody reads what is still to come. */
static void on_hangup(void *data, uint32_t events)
{
	struct call *call = data;

	(void)events;
	lsc_watch_remove(call->watch);
	call->watch = NULL;
	if (!call->exchange)
		return;
	exchange_leave(call->exchange);
	wake(call);
}

void gate_call_suspend(struct call *call)
{
	call->suspended = true;
	MHD_suspend_connection(call->mhd);
	if (!call->watch)
		lsc_loop_watch(call->gate->loop, call->connection->fd, EPOLLRDHUP, on_hangup, call,
			       &call->watch, NULL);
}

/* --- connections --- */

static void on_connection(void *data, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info;
	struct gate_http *http = data;
	struct connection *connection = *context;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (!connection)
			return;
		*connection->previous = connection->next;
		if (connection->next)
			connection->next->previous = connection->previous;
		http->gate->meter.connections--;
		free(connection);
		return;
	}
	connection = calloc(1, sizeof(*connection));
	*context = connection;
	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!connection || !info)
		return;
	*connection = (struct connection){.gate = http->gate,
					  .next = http->connections,
					  .previous = &http->connections,
					  .fd = info->connect_fd,
					  .since_ns = lsc_clock_ns()};
	if (connection->next)
		connection->next->previous = &connection->next;
	http->connections = connection;
	http->gate->meter.connections++;
}

/* Whether a client that owes a request has closed the half that it sends by, and all that it sent
 * was read. */
static bool has_ended(const struct connection *connection)
{
	char byte;

	return recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Who is too slow with a request, byte by byte or not at all, is left.
 *
 * libmicrohttpd waits for edges, and takes a short read for the last one: it does not see an end
 * that came with the bytes before it.  Shutting the half that is over makes another edge. */
static void on_sweep(void *data)
{
	struct gate_http *http = data;
	uint64_t now = lsc_clock_ns();
	uint64_t patience = (uint64_t)(http->gate->opt->timeout_s * 1e9);

	for (struct connection *c = http->connections; c; c = c->next)
		if (c->since_ns && now - c->since_ns > patience)
			shutdown(c->fd, SHUT_RDWR);
		else if (c->since_ns && has_ended(c))
			shutdown(c->fd, SHUT_RD);
	lsc_timer_arm(http->sweep, SWEEP_NS);
}

/* --- requests --- */

static struct call *begin_call(struct gate *gate, struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct connection *connection = info ? info->socket_context : NULL;
	struct call *call = connection ? calloc(1, sizeof(*call)) : NULL;

	if (call)
		*call = (struct call){.gate = gate, .connection = connection, .mhd = mhd};
	return call;
}

static void on_completed(void *data, struct MHD_Connection *mhd, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct call *call = *context;

	(void)data;
	(void)mhd;
	(void)code;
	*context = NULL;
	if (!call)
		return;
	call->connection->since_ns = lsc_clock_ns();
	lsc_watch_remove(call->watch);
	if (call->exchange)
		exchange_free(call->exchange);
	lsc_buf_release(&call->body);
	free(call);
}

/* What the headers say of the body: its length, or -1 where only its end tells; 0: there is none.
 */
static int64_t length_of(struct MHD_Connection *mhd)
{
	const char *length = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Content-Length");

	if (MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Transfer-Encoding"))
		return -1;
	return length ? (int64_t)strtoull(length, NULL, 10) & INT64_MAX : 0;
}

static int too_large(const struct gate *gate, struct lsc_fault *fault)
{
	return lsc_fault_set(fault, 413, NULL, "request_too_large",
			     "the body has more than %llu bytes",
			     (unsigned long long)gate->opt->max_body);
}

/* The headers are there.  An answer before the body has come ends the connection; what has no body
 * is answered when libmicrohttpd says so. */
static enum MHD_Result take_headers(struct call *call, const char *method, const char *path)
{
	int64_t length = length_of(call->mhd);

	if (!strcmp(method, "OPTIONS")) {
		call->preflight = true;
		return MHD_YES;
	}
	call->page = gate_page_find(call->gate, strcmp(method, "HEAD") ? method : "GET", path,
				    &call->fault);
	if (call->page && gate_page_admit(call, call->page, length != 0, &call->fault) < 0)
		call->page = NULL;
	if (call->page && length > 0 && (uint64_t)length > call->gate->opt->max_body) {
		too_large(call->gate, &call->fault);
		call->page = NULL;
	}
	if (call->page || length == 0)
		return MHD_YES;
	call->connection->since_ns = 0;
	return gate_answer_fault(call, &call->fault);
}

/* A body without a length may turn out too large: no more of it is kept then, and far beyond it
 * the connection ends. */
static enum MHD_Result take_body(struct call *call, const char *data, size_t *len)
{
	uint64_t max = call->gate->opt->max_body;

	call->came += *len;
	if (call->page && call->page->is_post && call->came <= max &&
	    lsc_buf_add(&call->body, data, *len) < 0)
		return MHD_NO;
	*len = 0;
	return call->came <= MAX_WASTED * max ? MHD_YES : MHD_NO;
}

/* All of it is there. */
static enum MHD_Result take_end(struct call *call)
{
	bool chat = call->page && call->page->chat;

	call->connection->since_ns = 0;
	if (call->preflight)
		return gate_answer_preflight(call);
	if (!call->page)
		return gate_answer_fault(call, &call->fault);
	if (!call->page->is_post)
		return gate_answer_page(call);
	if (call->came > call->gate->opt->max_body)
		too_large(call->gate, &call->fault);
	else
		call->exchange = exchange_new(call->gate, chat,
					      call->body.len ? (char *)call->body.data : "",
					      call->body.len, &call->fault);
	lsc_buf_release(&call->body);
	if (!call->exchange)
		return gate_answer_fault(call, &call->fault);
	call->exchange->http = call;
	gate_call_suspend(call);
	return MHD_YES;
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *mhd, const char *path,
				  const char *method, const char *version, const char *body,
				  size_t *body_len, void **context)
{
	struct call *call = *context;

	(void)version;
	if (!call) {
		call = begin_call(data, mhd);
		*context = call;
		return call ? take_headers(call, method, path) : MHD_NO;
	}
	if (*body_len)
		return take_body(call, body, body_len);
	if (!call->exchange)
		return take_end(call);
	if (call->exchange->left)
		return MHD_NO;
	if (call->exchange->ready)
		return gate_answer_exchange(call);
	gate_call_suspend(call);
	return MHD_YES;
}

/* --- the whole --- */

static void raise_limit(uint64_t connections)
{
	rlim_t want = connections + OWN_FDS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= want)
		return;
	limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ? want : LSC_MIN(want, limit.rlim_max);
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < want)
		lsc_warning("%llu connections want %llu descriptors, and the limit is %llu",
			    (unsigned long long)connections, (unsigned long long)want,
			    (unsigned long long)limit.rlim_cur);
}

static void on_log(void *data, const char *fmt, va_list ap)
{
	char line[300];

	(void)data;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\r\n")] = 0;
	lsc_debug("http", "%s", line);
}

static struct MHD_Daemon *start_daemon(struct gate_http *http)
{
	const struct gate_options *opt = http->gate->opt;

	return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
				NULL, NULL, on_request, http->gate, MHD_OPTION_EXTERNAL_LOGGER,
				on_log, NULL, MHD_OPTION_LISTEN_SOCKET, http->fd,
				MHD_OPTION_CONNECTION_LIMIT, (unsigned)opt->connections,
				MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(opt->timeout_s + 0.999),
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)opt->max_headers,
				MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
				MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
				MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

int gate_http_start(struct gate *gate, struct lsc_err *err)
{
	struct gate_http *http = calloc(1, sizeof(*http));
	const union MHD_DaemonInfo *info;
	int r;

	if (!http)
		return lsc_err_set(err, ENOMEM, "no memory for HTTP");
	gate->http = http;
	*http = (struct gate_http){.gate = gate, .fd = -1};
	raise_limit(gate->opt->connections);
	r = gate_door_open(gate->opt->listen, &http->fd, http->address, sizeof(http->address), err);
	if (r < 0)
		return r;
	if ((r = lsc_timer_new(gate->loop, run, http, &http->run, err)) < 0 ||
	    (r = lsc_timer_new(gate->loop, on_sweep, http, &http->sweep, err)) < 0)
		return r;
	http->daemon = start_daemon(http);
	if (!http->daemon)
		return lsc_err_set(err, EIO, "cannot start HTTP at %s", http->address);
	http->fd = -1; /* is the daemon's now */
	info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	r = lsc_loop_watch(gate->loop, info->epoll_fd, EPOLLIN, on_readable, http, &http->watch,
			   err);
	lsc_timer_arm(http->sweep, SWEEP_NS);
	return r;
}

/* Nothing may be suspended when the daemon stops. */
static void let_go(struct gate_http *http)
{
	for (struct exchange *exchange = http->gate->exchanges; exchange;
	     exchange = exchange->next) {
		struct call *call = exchange->http;

		exchange_leave(exchange);
		if (call && call->suspended)
			resume(call);
	}
	MHD_run(http->daemon);
}

void gate_http_stop(struct gate *gate)
{
	struct gate_http *http = gate->http;

	if (!http)
		return;
	if (http->daemon) {
		let_go(http);
		MHD_stop_daemon(http->daemon);
	}
	lsc_watch_remove(http->watch);
	lsc_timer_free(http->run);
	lsc_timer_free(http->sweep);
	if (http->fd >= 0)
		close(http->fd);
	free(http);
	gate->http = NULL;
}

#endif
