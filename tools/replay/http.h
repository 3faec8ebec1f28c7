/* HTTP requests on an event loop, many at once, each of whose responses comes in as it arrives:
 * http.c with libcurl, http_none.c where that is not built in.
 *
 * One thread, one loop.  Connections are kept and used again.  No proxy is asked, no redirection
 * followed: what is measured is the server that was named.
 */
#ifndef LSC_REPLAY_HTTP_H
#define LSC_REPLAY_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/loop.h"

/* A server.  The strings are the caller's; key is sent as a bearer's, NULL: none. */
struct replay_server {
	const char *url; /* http://HOST:PORT, with or without /v1 behind it */
	const char *key, *ca_file;
	double timeout_s; /* for a request, from its start to its end */
};

enum replay_end {
	REPLAY_END_WELL,
	REPLAY_END_CONNECT, /* no connection */
	REPLAY_END_TIMEOUT,
	REPLAY_END_BROKEN,  /* the connection ended before the response did */
	REPLAY_END_STOPPED, /* on_bytes did not want more */
};

struct replay_http;
struct replay_exchange;

struct replay_http_ops {
	/* Bytes of the response's body that have just come, at now_ns; < 0: no more of them, > 0:
	 * nothing that matters comes behind them. */
	int (*on_bytes)(struct replay_exchange *exchange, uint64_t now_ns, const char *bytes,
			size_t len);
	/* on_bytes() returned > 0.  What is left of the response is still taken, so that its
	 * connection can be used again: on_end comes later. */
	void (*on_complete)(struct replay_exchange *exchange);
	/* It is over; words say how where it did not end well. */
	void (*on_end)(struct replay_exchange *exchange, enum replay_end end, const char *words);
};

/* One request and its response; may be started again when it has ended. */
struct replay_exchange {
	struct lsc_buf body; /* JSON; the owner's, kept as it is until the end */
	long status;         /* of the response; 0 before it */
	bool is_stream;      /* text/event-stream */

	/* own */
	struct replay_http *http;
	void *easy;
	bool started;
	struct replay_exchange *next_complete;
	char words[256];
};

/* Whether it is built in, else -EOPNOTSUPP, and this a URL of HTTP, else -EINVAL. */
int replay_http_check(const char *url, struct lsc_err *err);

/* For requests to one path ("/completions") of a server, some connections being kept for them. */
int replay_http_new(struct replay_http **ret_http, struct lsc_loop *loop,
		    const struct replay_server *server, const char *path, uint32_t connections,
		    const struct replay_http_ops *ops, struct lsc_err *err);
void replay_http_free(struct replay_http *http); /* its exchanges are released before */

int replay_exchange_init(struct replay_exchange *exchange, struct replay_http *http,
			 struct lsc_err *err);
void replay_exchange_release(struct replay_exchange *exchange); /* body too; cancels */

/* Sends it; on_end comes from the loop. */
int replay_exchange_start(struct replay_exchange *exchange, struct lsc_err *err);

/* Ends it; on_end does not come. */
void replay_exchange_cancel(struct replay_exchange *exchange);

/* Waits for a GET: -ECONNREFUSED and the like, -ETIMEDOUT, -EPROTO for a status other than 200. */
int replay_http_get(const struct replay_server *server, const char *path, struct lsc_buf *buf,
		    struct lsc_err *err);

#endif
