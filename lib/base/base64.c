/* base64 - bytes as text and back */
#include "base/base64.h"

#include <errno.h>
#include <string.h>

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int lsc_base64_encode(const void *data, size_t len, struct lsc_buf *buf)
{
	const uint8_t *in = data;
	uint8_t *out;
	int r = lsc_buf_reserve(buf, LSC_BASE64_BYTES(len));

	if (r < 0)
		return r;
	out = buf->data + buf->len;
	for (size_t i = 0; i < len; i += 3, out += 4) {
		uint32_t left = len - i > 3 ? 3 : len - i;
		uint32_t bits = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
				(left > 2 ? in[i + 2] : 0);

		out[0] = alphabet[bits >> 18];
		out[1] = alphabet[bits >> 12 & 63];
		out[2] = left > 1 ? alphabet[bits >> 6 & 63] : '=';
		out[3] = left > 2 ? alphabet[bits & 63] : '=';
	}
	buf->len += LSC_BASE64_BYTES(len);
	buf->data[buf->len] = 0;
	return 0;
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int lsc_base64_decode(const char *text, size_t len, struct lsc_buf *buf)
{
	size_t pad = 0, before = buf->len;
	int r;

	if (len % 4)
		return -EBADMSG;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	r = lsc_buf_reserve(buf, len / 4 * 3 + 1);
	if (r < 0)
		return r;
	for (size_t i = 0; i < len; i += 4) {
		unsigned chars = i + 4 == len ? 4 - pad : 4;
		uint32_t bits = 0;

		for (unsigned k = 0; k < 4; k++) {
			int value = k < chars ? value_of(text[i + k]) : 0;

			if (value < 0)
				goto bad;
			bits = bits << 6 | value;
		}
		if ((chars == 2 && (bits & 0xffff)) || (chars == 3 && (bits & 0xff)))
			goto bad;
		for (unsigned k = 0; k + 1 < chars; k++)
			buf->data[buf->len++] = bits >> (16 - 8 * k);
	}
	buf->data[buf->len] = 0;
	return 0;
bad:
	buf->len = before;
	return -EBADMSG;
}
