/* json_write - msgpack to JSON
 *
 * Works on msgpack's bytes rather than on unpacked objects: those have lost a float32's NaN bits.
 */
#include "stream/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"

struct input {
	const uint8_t *at, *end;
	struct lsc_buf *out;
};

bool lsc_utf8_is_valid(const char *text, size_t len)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + len;

	while (at < end) {
		static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
		unsigned more = *at < 0x80           ? 0
				: (*at >> 5) == 0x6  ? 1
				: (*at >> 4) == 0xe  ? 2
				: (*at >> 3) == 0x1e ? 3
						     : 4;
		uint32_t code;

		if (more == 4 || (size_t)(end - at) <= more)
			return false;
		code = more ? *at & (0x3f >> more) : *at;
		for (unsigned i = 1; i <= more; i++) {
			if ((at[i] & 0xc0) != 0x80)
				return false;
			code = code << 6 | (at[i] & 0x3f);
		}
		if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
			return false;
		at += more + 1;
	}
	return true;
}

static int take(struct input *in, size_t len, const uint8_t **ret_at)
{
	if ((size_t)(in->end - in->at) < len)
		return -EBADMSG;
	*ret_at = in->at;
	in->at += len;
	return 0;
}

static int take_be(struct input *in, unsigned bytes, uint64_t *ret_value)
{
	const uint8_t *at;
	int r = take(in, bytes, &at);

	*ret_value = 0;
	for (unsigned i = 0; r == 0 && i < bytes; i++)
		*ret_value = *ret_value << 8 | at[i];
	return r;
}

static int put_base64(struct input *in, const char *before, size_t len, const char *behind)
{
	const uint8_t *data;
	int r = take(in, len, &data);

	if (r == 0)
		r = lsc_buf_add_str(in->out, before);
	if (r == 0)
		r = lsc_base64_encode(data, len, in->out);
	if (r == 0)
		r = lsc_buf_add_str(in->out, behind);
	return r;
}

int lsc_json_escape(const char *text, size_t len, struct lsc_buf *out)
{
	size_t plain = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i++) {
		unsigned char c = text[i];
		const char *special = c ? strchr("\"\"\\\\\nn\tt\rr", c) : NULL;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		r = lsc_buf_add(out, text + plain, i - plain);
		plain = i + 1;
		if (r == 0 && special)
			r = lsc_buf_printf(out, "\\%c", special[1]);
		else if (r == 0)
			r = lsc_buf_printf(out, "\\u%04x", c);
	}
	return r ? r : lsc_buf_add(out, text + plain, len - plain);
}

/* A string that is valid UTF-8, between quotes; a key that starts with $ gets one more. */
static int put_text(struct lsc_buf *out, const char *text, size_t len, bool is_key)
{
	int r = lsc_buf_add_str(out, is_key && len && text[0] == '$' ? "\"$" : "\"");

	if (r == 0)
		r = lsc_json_escape(text, len, out);
	return r ? r : lsc_buf_add(out, "\"", 1);
}

static int put_str(struct input *in, size_t len)
{
	const char *text = (const char *)in->at;

	if ((size_t)(in->end - in->at) < len)
		return -EBADMSG;
	if (!lsc_utf8_is_valid(text, len))
		return put_base64(in, "{\"$str\":\"", len, "\"}");
	in->at += len;
	return put_text(in->out, text, len, false);
}

/* The fewest digits that read back as the same number, and a point to tell it from an integer. */
static int put_finite(struct lsc_buf *out, double value, bool is_f32)
{
	char text[40];
	int digits = is_f32 ? 6 : 15;

	do
		snprintf(text, sizeof(text), "%.*g", digits, value);
	while (digits++ < 17 &&
	       (is_f32 ? strtof(text, NULL) != (float)value : strtod(text, NULL) != value));
	return lsc_buf_printf(out, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static int put_f64(struct input *in)
{
	uint64_t bits;
	double value;
	int r = take_be(in, 8, &bits);

	if (r < 0)
		return r;
	memcpy(&value, &bits, sizeof(value));
	if (isfinite(value))
		return put_finite(in->out, value, false);
	if (isinf(value))
		return lsc_buf_printf(in->out, "{\"$f64\":\"%s\"}", value < 0 ? "-inf" : "inf");
	if (bits == 0x7ff8000000000000)
		return lsc_buf_add_str(in->out, "{\"$f64\":\"nan\"}");
	return lsc_buf_printf(in->out, "{\"$f64\":\"0x%016" PRIx64 "\"}", bits);
}

static int put_f32(struct input *in)
{
	uint64_t wide;
	uint32_t bits;
	float value;
	int r = take_be(in, 4, &wide);

	if (r < 0)
		return r;
	bits = wide;
	memcpy(&value, &bits, sizeof(value));
	if (isfinite(value)) {
		r = lsc_buf_add_str(in->out, "{\"$f32\":");
		if (r == 0)
			r = put_finite(in->out, value, true);
		return r ? r : lsc_buf_add_str(in->out, "}");
	}
	if (isinf(value))
		return lsc_buf_printf(in->out, "{\"$f32\":\"%s\"}", value < 0 ? "-inf" : "inf");
	if (bits == 0x7fc00000)
		return lsc_buf_add_str(in->out, "{\"$f32\":\"nan\"}");
	return lsc_buf_printf(in->out, "{\"$f32\":\"0x%08" PRIx32 "\"}", bits);
}

static int put_value(struct input *in, unsigned depth);

static int put_array(struct input *in, uint64_t n, unsigned depth)
{
	int r = lsc_buf_add_str(in->out, "[");

	for (uint64_t i = 0; r == 0 && i < n; i++) {
		if (i)
			r = lsc_buf_add_str(in->out, ",");
		if (r == 0)
			r = put_value(in, depth);
	}
	return r ? r : lsc_buf_add_str(in->out, "]");
}

/* A string's head: its length, or -1 where another value begins. */
static int64_t take_str_head(struct input *in)
{
	uint64_t len;
	uint8_t c;

	if (in->at == in->end)
		return -1;
	c = *in->at;
	if ((c & 0xe0) == 0xa0) {
		in->at++;
		return c & 0x1f;
	}
	if (c < 0xd9 || c > 0xdb)
		return -1;
	in->at++;
	return take_be(in, 1u << (c - 0xd9), &len) < 0 ? -1 : (int64_t)len;
}

/* Steps over n values.  Not recursive: a map's keys are looked at before it is written, at every
 * depth, so this must be cheap. */
static int skip(struct input *in, uint64_t n)
{
	static const uint8_t fixed[32] = {
		/* bytes behind 0xc0 to 0xdf, without what a length says */
		0, 0, 0, 0, 1, 2, 4, 2, 3,  5, 4, 8, 1, 2, 4, 8,
		1, 2, 4, 8, 2, 3, 5, 9, 17, 1, 2, 4, 2, 4, 2, 4,
	};

	while (n--) {
		const uint8_t *c, *head;
		uint64_t length = 0;
		unsigned k;

		if (take(in, 1, &c) < 0)
			return -EBADMSG;
		if (*c < 0x80 || *c >= 0xe0)
			continue;
		if (*c < 0xc0) {
			length = *c < 0xa0 ? *c & 0xf : *c & 0x1f;
		} else {
			k = *c - 0xc0;
			if (take(in, fixed[k], &head) < 0)
				return -EBADMSG;
			/* Only bin, ext and what follows fixext have a length, first in the head.
			 */
			if ((k >= 4 && k < 10) || k >= 25)
				for (int i = 0; i < fixed[k] - (k >= 7 && k < 10); i++)
					length = length << 8 | head[i];
		}
		if (*c < 0x90 || *c >= 0xde)
			n += 2 * length;
		else if (*c < 0xa0 || *c >= 0xdc)
			n += length;
		else if (take(in, length, &head) < 0)
			return -EBADMSG;
		if (n > (uint64_t)(in->end - in->at))
			return -EBADMSG;
	}
	return 0;
}

/* Whether all keys of a map of n pairs are strings of valid UTF-8. */
static bool keys_are_text(const struct input *in, uint64_t n)
{
	struct input ahead = *in;

	for (uint64_t i = 0; i < n; i++) {
		int64_t len = take_str_head(&ahead);

		if (len < 0 || ahead.end - ahead.at < len ||
		    !lsc_utf8_is_valid((const char *)ahead.at, len))
			return false;
		ahead.at += len;
		if (skip(&ahead, 1) < 0)
			return false;
	}
	return true;
}

static int put_object(struct input *in, uint64_t n, unsigned depth)
{
	int r = lsc_buf_add_str(in->out, "{");

	for (uint64_t i = 0; r == 0 && i < n; i++) {
		int64_t len = take_str_head(in);
		const char *key = (const char *)in->at;

		in->at += len;
		if (i)
			r = lsc_buf_add_str(in->out, ",");
		if (r == 0)
			r = put_text(in->out, key, len, true);
		if (r == 0)
			r = lsc_buf_add_str(in->out, ":");
		if (r == 0)
			r = put_value(in, depth);
	}
	return r ? r : lsc_buf_add_str(in->out, "}");
}

static int put_map(struct input *in, uint64_t n, unsigned depth)
{
	int r;

	if (keys_are_text(in, n))
		return put_object(in, n, depth);
	r = lsc_buf_add_str(in->out, "{\"$map\":[");
	for (uint64_t i = 0; r == 0 && i < n; i++) {
		if (i)
			r = lsc_buf_add_str(in->out, ",");
		if (r == 0)
			r = put_array(in, 2, depth);
	}
	return r ? r : lsc_buf_add_str(in->out, "]}");
}

static int put_ext(struct input *in, size_t len)
{
	char before[32];
	const uint8_t *type;
	int r = take(in, 1, &type);

	if (r < 0)
		return r;
	snprintf(before, sizeof(before), "{\"$ext\":[%d,\"", (int8_t)*type);
	return put_base64(in, before, len, "\"]}");
}

static int put_int(struct input *in, unsigned bytes)
{
	uint64_t value;
	int r = take_be(in, bytes, &value);
	unsigned shift = 64 - 8 * bytes;

	if (r < 0)
		return r;
	return lsc_buf_printf(in->out, "%" PRId64, (int64_t)(value << shift) >> shift);
}

static int put_uint(struct input *in, unsigned bytes)
{
	uint64_t value;
	int r = take_be(in, bytes, &value);

	return r ? r : lsc_buf_printf(in->out, "%" PRIu64, value);
}

/* The values whose first byte is 0xc0 to 0xdf. */
static int put_long(struct input *in, uint8_t c, unsigned depth)
{
	static const uint8_t length_bytes[] = {
		[0xc4 - 0xc0] = 1, [0xc5 - 0xc0] = 2, [0xc6 - 0xc0] = 4, [0xc7 - 0xc0] = 1,
		[0xc8 - 0xc0] = 2, [0xc9 - 0xc0] = 4, [0xd9 - 0xc0] = 1, [0xda - 0xc0] = 2,
		[0xdb - 0xc0] = 4, [0xdc - 0xc0] = 2, [0xdd - 0xc0] = 4, [0xde - 0xc0] = 2,
		[0xdf - 0xc0] = 4,
	};
	uint64_t len;
	int r = take_be(in, length_bytes[c - 0xc0], &len);

	if (r < 0)
		return r;
	switch (c) {
	case 0xc0:
		return lsc_buf_add_str(in->out, "null");
	case 0xc2:
		return lsc_buf_add_str(in->out, "false");
	case 0xc3:
		return lsc_buf_add_str(in->out, "true");
	case 0xc4 ... 0xc6:
		return put_base64(in, "{\"$bin\":\"", len, "\"}");
	case 0xc7 ... 0xc9:
		return put_ext(in, len);
	case 0xca:
		return put_f32(in);
	case 0xcb:
		return put_f64(in);
	case 0xcc ... 0xcf:
		return put_uint(in, 1u << (c - 0xcc));
	case 0xd0 ... 0xd3:
		return put_int(in, 1u << (c - 0xd0));
	case 0xd4 ... 0xd8:
		return put_ext(in, 1u << (c - 0xd4));
	case 0xd9 ... 0xdb:
		return put_str(in, len);
	case 0xdc ... 0xdd:
		return put_array(in, len, depth);
	case 0xde ... 0xdf:
		return put_map(in, len, depth);
	default:
		return -EBADMSG;
	}
}

static int put_value(struct input *in, unsigned depth)
{
	const uint8_t *c;
	int r = depth == LSC_JSON_MAX_DEPTH ? -EBADMSG : take(in, 1, &c);

	if (r < 0)
		return r;
	if (*c < 0x80 || *c >= 0xe0)
		return lsc_buf_printf(in->out, "%d", (int8_t)*c);
	if (*c < 0x90)
		return put_map(in, *c & 0xf, depth + 1);
	if (*c < 0xa0)
		return put_array(in, *c & 0xf, depth + 1);
	if (*c < 0xc0)
		return put_str(in, *c & 0x1f);
	return put_long(in, *c, depth + 1);
}

int lsc_json_write(const void *data, size_t len, struct lsc_buf *buf, struct lsc_err *err)
{
	struct input in = {data, len ? (const uint8_t *)data + len : data, buf};
	size_t before = buf->len;
	int r = put_value(&in, 0);

	if (r == 0 && in.at != in.end)
		r = -EBADMSG;
	if (r < 0) {
		buf->len = before;
		return lsc_err_set(err, -r, r == -EBADMSG ? "not one msgpack value" : "%m");
	}
	return 0;
}
