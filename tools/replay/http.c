/* http - libcurl on our event loop, and nothing of it outside of this file
 *
 * libcurl says which sockets it waits for and when its next timer is due; the loop tells it what
 * happened.  So hundreds of responses are read in one thread, each when its bytes are there, and
 * the clock is read then.
 */
#include "http.h"

#ifdef LSC_HAVE_CURL
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/macros.h"
#include "cli/tool.h"

#define MAX_GET (4u << 20)

struct replay_http {
	struct lsc_loop *loop;
	const struct replay_server *server;
	const struct replay_http_ops *ops;
	CURLM *multi;
	struct lsc_timer *timer;
	struct curl_slist *headers;
	char *url;
	struct replay_exchange *complete; /* on_complete is due */
};

struct conn {
	struct replay_http *http;
	curl_socket_t fd;
	struct lsc_watch *watch;
};

static bool is_url(const char *url)
{
	CURLU *parts = curl_url();
	char *scheme = NULL, *host = NULL;
	bool is = parts && !curl_url_set(parts, CURLUPART_URL, url, CURLU_GUESS_SCHEME) &&
		  !curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) &&
		  (!strcmp(scheme, "http") || !strcmp(scheme, "https")) &&
		  !curl_url_get(parts, CURLUPART_HOST, &host, 0) && *host;

	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(parts);
	return is;
}

int replay_http_check(const char *url, struct lsc_err *err)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return lsc_err_set(err, ENOMEM, "cannot start libcurl");
	return is_url(url) ? 0 : lsc_err_set(err, EINVAL, "'%s' is no URL of HTTP", url);
}

/* --- what libcurl asks of the loop --- */

static void take_ended(struct replay_http *http);

static void on_socket_ready(void *data, uint32_t events)
{
	struct conn *conn = data; /* libcurl may end it */
	struct replay_http *http = conn->http;
	int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
		   (events & EPOLLOUT ? CURL_CSELECT_OUT : 0);
	int running;

	curl_multi_socket_action(http->multi, conn->fd, what, &running);
	take_ended(http);
}

static void on_time(void *data)
{
	struct replay_http *http = data;
	int running;

	curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	take_ended(http);
}

static int on_timer(CURLM *multi, long after_ms, void *data)
{
	struct replay_http *http = data;

	(void)multi;
	if (after_ms < 0)
		lsc_timer_disarm(http->timer);
	else
		lsc_timer_arm(http->timer, (uint64_t)after_ms * 1000000);
	return 0;
}

static void end_conn(struct replay_http *http, struct conn *conn)
{
	if (!conn)
		return;
	lsc_watch_remove(conn->watch);
	curl_multi_assign(http->multi, conn->fd, NULL);
	free(conn);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
	uint32_t events =
		(what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	struct replay_http *http = data;
	struct conn *conn = socket_data;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		end_conn(http, conn);
		return 0;
	}
	if (conn)
		return lsc_watch_modify(conn->watch, events) < 0 ? -1 : 0;
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return -1;
	*conn = (struct conn){.http = http, .fd = fd};
	if (lsc_loop_watch(http->loop, fd, events, on_socket_ready, conn, &conn->watch, NULL) < 0) {
		free(conn);
		return -1;
	}
	curl_multi_assign(http->multi, fd, conn);
	return 0;
}

/* --- exchanges --- */

static enum replay_end end_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return REPLAY_END_WELL;
	case CURLE_OPERATION_TIMEDOUT:
		return REPLAY_END_TIMEOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
		return REPLAY_END_CONNECT;
	case CURLE_WRITE_ERROR:
		return REPLAY_END_STOPPED;
	default:
		return REPLAY_END_BROKEN;
	}
}

/* Tells what libcurl's callbacks found, behind them: within them it may not be called. */
static void take_ended(struct replay_http *http)
{
	struct replay_exchange *complete;
	CURLMsg *message;
	int left;

	while ((complete = http->complete) != NULL) {
		http->complete = complete->next_complete;
		http->ops->on_complete(complete);
	}
	while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
		struct replay_exchange *exchange = NULL;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
		curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &exchange->status);
		replay_exchange_cancel(exchange);
		http->ops->on_end(exchange, end_of(code),
				  exchange->words[0] ? exchange->words : curl_easy_strerror(code));
	}
}

static size_t on_body(char *bytes, size_t one, size_t len, void *data)
{
	struct replay_exchange *exchange = data;
	uint64_t now_ns = lsc_clock_ns();
	int r;

	(void)one;
	if (!exchange->status) {
		char *type = NULL;

		curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &exchange->status);
		curl_easy_getinfo(exchange->easy, CURLINFO_CONTENT_TYPE, &type);
		exchange->is_stream = type && !strncasecmp(type, "text/event-stream", 17);
	}
	r = exchange->http->ops->on_bytes(exchange, now_ns, bytes, len);
	if (r > 0) {
		exchange->next_complete = exchange->http->complete;
		exchange->http->complete = exchange;
	}
	return r < 0 ? 0 : len;
}

/* What requests of every kind have in common; a failure is found when they are sent. */
static void set_common(CURL *easy, const struct replay_server *server, const char *url)
{
	curl_easy_setopt(easy, CURLOPT_URL, url);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "lsc-replay/" LSC_VERSION);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)LSC_MAX(server->timeout_s * 1e3, 1.0));
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)LSC_MAX(server->timeout_s * 1e3, 1.0));
	if (server->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, server->ca_file);
}

int replay_exchange_init(struct replay_exchange *exchange, struct replay_http *http,
			 struct lsc_err *err)
{
	CURL *easy = curl_easy_init();

	if (!easy)
		return lsc_err_set(err, ENOMEM, "no memory for a request");
	exchange->http = http;
	exchange->easy = easy;
	set_common(easy, http->server, http->url);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, http->headers);
	curl_easy_setopt(easy, CURLOPT_POST, 1L);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->words);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
	return 0;
}

_Static_assert(sizeof(((struct replay_exchange *)0)->words) >= CURL_ERROR_SIZE, "words too short");

void replay_exchange_release(struct replay_exchange *exchange)
{
	replay_exchange_cancel(exchange);
	if (exchange->easy)
		curl_easy_cleanup(exchange->easy);
	exchange->easy = NULL;
	lsc_buf_release(&exchange->body);
}

int replay_exchange_start(struct replay_exchange *exchange, struct lsc_err *err)
{
	struct replay_http *http = exchange->http;
	CURLMcode code;
	int running;

	exchange->status = 0;
	exchange->is_stream = false;
	exchange->words[0] = 0;
	curl_easy_setopt(exchange->easy, CURLOPT_POSTFIELDS, exchange->body.data);
	curl_easy_setopt(exchange->easy, CURLOPT_POSTFIELDSIZE_LARGE,
			 (curl_off_t)exchange->body.len);
	code = curl_multi_add_handle(http->multi, exchange->easy);
	if (code)
		return lsc_err_set(err, ENOMEM, "cannot send a request: %s",
				   curl_multi_strerror(code));
	exchange->started = true;
	curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	if (http->complete)
		lsc_timer_arm(http->timer, 0);
	return 0;
}

void replay_exchange_cancel(struct replay_exchange *exchange)
{
	if (exchange->started)
		curl_multi_remove_handle(exchange->http->multi, exchange->easy);
	exchange->started = false;
	for (struct replay_exchange **at = &exchange->http->complete; *at;
	     at = &(*at)->next_complete)
		if (*at == exchange) {
			*at = exchange->next_complete;
			break;
		}
}

/* --- a server --- */

static char *join(const char *url, const char *path)
{
	size_t len = strlen(url);
	bool versioned;
	char *joined;

	while (len && url[len - 1] == '/')
		len--;
	versioned = len >= 3 && !memcmp(url + len - 3, "/v1", 3);
	if (asprintf(&joined, "%.*s%s%s", (int)len, url, versioned ? "" : "/v1", path) < 0)
		return NULL;
	return joined;
}

static int add_header(struct curl_slist **headers, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*headers, line);

	if (longer)
		*headers = longer;
	return longer ? 0 : -ENOMEM;
}

static int add_key(struct curl_slist **headers, const char *key)
{
	char *line;
	int r;

	if (!key)
		return 0;
	if (asprintf(&line, "Authorization: Bearer %s", key) < 0)
		return -ENOMEM;
	r = add_header(headers, line);
	free(line);
	return r;
}

int replay_http_new(struct replay_http **ret_http, struct lsc_loop *loop,
		    const struct replay_server *server, const char *path, uint32_t connections,
		    const struct replay_http_ops *ops, struct lsc_err *err)
{
	struct replay_http *http = calloc(1, sizeof(*http));

	if (!http)
		return lsc_err_set(err, ENOMEM, "%m");
	*http = (struct replay_http){.loop = loop, .server = server, .ops = ops};
	http->url = join(server->url, path);
	http->multi = curl_multi_init();
	/* A large body is not to wait for a word of the server's first. */
	if (!http->url || !http->multi || add_key(&http->headers, server->key) < 0 ||
	    add_header(&http->headers, "Content-Type: application/json") < 0 ||
	    add_header(&http->headers, "Accept: text/event-stream") < 0 ||
	    add_header(&http->headers, "Expect:") < 0 ||
	    lsc_timer_new(loop, on_time, http, &http->timer, NULL) < 0) {
		replay_http_free(http);
		return lsc_err_set(err, ENOMEM, "no memory for HTTP");
	}
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)connections);
	*ret_http = http;
	return 0;
}

void replay_http_free(struct replay_http *http)
{
	if (!http)
		return;
	/* Closing its connections ends their watches, and may set the timer once more. */
	if (http->multi)
		curl_multi_cleanup(http->multi);
	lsc_timer_free(http->timer);
	curl_slist_free_all(http->headers);
	free(http->url);
	free(http);
}

/* --- one GET, before anything else --- */

static size_t on_get_body(char *bytes, size_t one, size_t len, void *data)
{
	struct lsc_buf *buf = data;

	(void)one;
	return buf->len + len > MAX_GET || lsc_buf_add(buf, bytes, len) < 0 ? 0 : len;
}

static int get_failed(CURLcode code, long status, const char *url, const char *words,
		      struct lsc_err *err)
{
	int errnum = EPROTO;

	if (code == CURLE_OK)
		return lsc_err_set(err, EPROTO, "'%s' answers with status %ld", url, status);
	if (code == CURLE_SSL_CACERT_BADFILE)
		errnum = EIO;
	else if (end_of(code) == REPLAY_END_CONNECT)
		errnum = ECONNREFUSED;
	else if (end_of(code) == REPLAY_END_TIMEOUT)
		errnum = ETIMEDOUT;
	return lsc_err_set(err, errnum, "'%s': %s", url,
			   words[0] ? words : curl_easy_strerror(code));
}

int replay_http_get(const struct replay_server *server, const char *path, struct lsc_buf *buf,
		    struct lsc_err *err)
{
	struct curl_slist *headers = NULL;
	char words[CURL_ERROR_SIZE] = "", *url = join(server->url, path);
	CURL *easy = curl_easy_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;
	long status = 0;
	int r = 0;

	if (easy && url && add_key(&headers, server->key) == 0) {
		set_common(easy, server, url);
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, words);
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_get_body);
		curl_easy_setopt(easy, CURLOPT_WRITEDATA, buf);
		code = curl_easy_perform(easy);
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	}
	if (code != CURLE_OK || status != 200)
		r = get_failed(code, status, url ? url : server->url, words, err);
	curl_easy_cleanup(easy);
	curl_slist_free_all(headers);
	free(url);
	return r;
}
#endif
