/* http_none - what http.h promises where there is no libcurl to keep it with */
#include "http.h"

#ifndef LSC_HAVE_CURL

static int none(struct lsc_err *err)
{
	return lsc_err_set(err, EOPNOTSUPP, "HTTP is not built in (WITH_CURL=yes)");
}

int replay_http_check(const char *url, struct lsc_err *err)
{
	(void)url;
	return none(err);
}

int replay_http_new(struct replay_http **ret_http, struct lsc_loop *loop,
		    const struct replay_server *server, const char *path, uint32_t connections,
		    const struct replay_http_ops *ops, struct lsc_err *err)
{
	(void)ret_http;
	(void)loop;
	(void)server;
	(void)path;
	(void)connections;
	(void)ops;
	return none(err);
}

void replay_http_free(struct replay_http *http)
{
	(void)http;
}

int replay_exchange_init(struct replay_exchange *exchange, struct replay_http *http,
			 struct lsc_err *err)
{
	(void)exchange;
	(void)http;
	return none(err);
}

void replay_exchange_release(struct replay_exchange *exchange)
{
	(void)exchange;
}

int replay_exchange_start(struct replay_exchange *exchange, struct lsc_err *err)
{
	(void)exchange;
	return none(err);
}

void replay_exchange_cancel(struct replay_exchange *exchange)
{
	(void)exchange;
}

int replay_http_get(const struct replay_server *server, const char *path, struct lsc_buf *buf,
		    struct lsc_err *err)
{
	(void)server;
	(void)path;
	(void)buf;
	return none(err);
}

#endif
