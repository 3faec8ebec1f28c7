/* fault - what is wrong, in the shape that clients of the OpenAI API know */
#include "gate/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "gate/escape.h"

static const char *type_of(int status)
{
	switch (status) {
	case 401:
		return "authentication_error";
	case 403:
		return "permission_error";
	case 429:
		return "rate_limit_error";
	default:
		return status < 500 ? "invalid_request_error" : "server_error";
	}
}

int lsc_fault_set(struct lsc_fault *fault, int status, const char *param, const char *code,
		  const char *fmt, ...)
{
	va_list ap;

	*fault = (struct lsc_fault){.status = status, .type = type_of(status), .code = code};
	snprintf(fault->param, sizeof(fault->param), "%s", param ? param : "");
	va_start(ap, fmt);
	vsnprintf(fault->message, sizeof(fault->message), fmt, ap);
	va_end(ap);
	return -1;
}

static int write_or_null(struct lsc_buf *buf, const char *text)
{
	return text && *text ? lsc_escape_quote(buf, text, strlen(text))
			     : lsc_buf_add_str(buf, "null");
}

int lsc_fault_write(const struct lsc_fault *fault, struct lsc_buf *buf)
{
	int r = lsc_buf_add_str(buf, "{\"error\":{\"message\":");

	if (r == 0)
		r = lsc_escape_quote(buf, fault->message, strlen(fault->message));
	if (r == 0)
		r = lsc_buf_printf(buf, ",\"type\":\"%s\",\"param\":", fault->type);
	if (r == 0)
		r = write_or_null(buf, fault->param);
	if (r == 0)
		r = lsc_buf_add_str(buf, ",\"code\":");
	if (r == 0)
		r = write_or_null(buf, fault->code);
	return r < 0 ? r : lsc_buf_add_str(buf, "}}");
}
