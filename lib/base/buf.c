/* buf - a byte buffer that grows */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

void lsc_buf_release(struct lsc_buf *buf)
{
	if (!buf)
		return;
	free(buf->data);
	*buf = (struct lsc_buf)LSC_BUF_INIT;
}

int lsc_buf_reserve(struct lsc_buf *buf, size_t extra)
{
	size_t need, cap;
	uint8_t *data;

	if (__builtin_add_overflow(buf->len, extra, &need) ||
	    __builtin_add_overflow(need, 1, &need))
		return -ENOMEM;
	if (need <= buf->cap)
		return 0;
	cap = buf->cap < 64 ? 64 : buf->cap + buf->cap / 2;
	if (cap < need)
		cap = need;
	data = realloc(buf->data, cap);
	if (!data)
		return -ENOMEM;
	buf->data = data;
	buf->cap = cap;
	return 0;
}

int lsc_buf_add(struct lsc_buf *buf, const void *data, size_t len)
{
	int r = lsc_buf_reserve(buf, len);

	if (r < 0)
		return r;
	if (len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = 0;
	return 0;
}

int lsc_buf_add_str(struct lsc_buf *buf, const char *text)
{
	return lsc_buf_add(buf, text, strlen(text));
}

int lsc_buf_printf(struct lsc_buf *buf, const char *fmt, ...)
{
	va_list ap;
	int n, r;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	r = lsc_buf_reserve(buf, n);
	if (r < 0)
		return r;
	va_start(ap, fmt);
	vsnprintf((char *)buf->data + buf->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	buf->len += n;
	return 0;
}

int lsc_buf_pad(struct lsc_buf *buf, size_t align)
{
	size_t extra = lsc_align_up(buf->len, align) - buf->len;
	int r = lsc_buf_reserve(buf, extra);

	if (r < 0)
		return r;
	memset(buf->data + buf->len, 0, extra + 1);
	buf->len += extra;
	return 0;
}

void lsc_buf_consume(struct lsc_buf *buf, size_t n)
{
	if (n == 0)
		return;
	memmove(buf->data, buf->data + n, buf->len - n);
	buf->len -= n;
	buf->data[buf->len] = 0;
}
