/* http_none - what gate.h promises of HTTP where there is no libmicrohttpd to keep it with */
#include "gate.h"

#ifndef LSC_HAVE_MICROHTTPD

int gate_http_check(struct lsc_err *err)
{
	return lsc_err_set(err, EOPNOTSUPP, "HTTP is not built in (WITH_MICROHTTPD=yes)");
}

int gate_http_start(struct gate *gate, struct lsc_err *err)
{
	(void)gate;
	return gate_http_check(err);
}

void gate_http_stop(struct gate *gate)
{
	(void)gate;
}

const char *gate_http_address(const struct gate *gate)
{
	(void)gate;
	return "";
}

void gate_http_wake(struct exchange *exchange)
{
	(void)exchange;
}

#endif
