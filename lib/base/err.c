/* err - the text of an error, kept by the caller */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int lsc_err_set(struct lsc_err *err, int code, const char *fmt, ...)
{
	char text[LSC_ERR_TEXT];
	va_list ap;

	if (!err)
		return -code;
	errno = code; /* for %m */
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap); /* apart: an argument may be err->text itself */
	va_end(ap);
	memcpy(err->text, text, sizeof(text));
	err->code = code;
	return -code;
}

int lsc_err_prefix(struct lsc_err *err, const char *fmt, ...)
{
	char text[LSC_ERR_TEXT];
	va_list ap;
	int n;

	if (!err)
		return -EIO;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - n, "%s", err->text);
	memcpy(err->text, text, sizeof(text));
	return -err->code;
}
