/* json_read - JSON to msgpack
 *
 * A container's head says how many elements follow, which is known when it ends: five bytes are
 * kept free for it, and what a small one does not need of them is closed up.
 */
#include "stream/json.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"

#define HEAD 5

struct text {
	const char *start, *at, *end;
	struct lsc_buf *out;
	struct lsc_err *err;
	struct lsc_buf string; /* the last one parsed, without its quotes and escapes */
};

static int wrong(struct text *in, const char *what)
{
	return lsc_err_set(in->err, EBADMSG, "byte %zu: %s", (size_t)(in->at - in->start) + 1,
			   what);
}

static int no_memory(struct text *in)
{
	return lsc_err_set(in->err, ENOMEM, "%m");
}

static void skip_space(struct text *in)
{
	while (in->at < in->end &&
	       (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r'))
		in->at++;
}

/* Takes a character if it comes next, white space before it allowed. */
static bool take(struct text *in, char c)
{
	skip_space(in);
	if (in->at == in->end || *in->at != c)
		return false;
	in->at++;
	return true;
}

static int need(struct text *in, char c)
{
	char what[] = "'?' expected";

	what[1] = c;
	return take(in, c) ? 0 : wrong(in, what);
}

static int put(struct text *in, const void *data, size_t len)
{
	return lsc_buf_add(in->out, data, len) < 0 ? no_memory(in) : 0;
}

/* A first byte and a big-endian number of so many bytes. */
static int put_be(struct text *in, uint8_t first, uint64_t value, unsigned bytes)
{
	uint8_t data[9] = {first};

	for (unsigned i = 0; i < bytes; i++)
		data[1 + i] = value >> (8 * (bytes - 1 - i));
	return put(in, data, 1 + bytes);
}

/* The smallest head of a length: fixed, when it is below its limit, or 8, 16, 32 bits. */
static int put_head(struct text *in, uint64_t len, uint8_t fix, unsigned fix_limit, int first8,
		    uint8_t first16)
{
	if (len < fix_limit)
		return put_be(in, fix | len, 0, 0);
	if (len < 1u << 8 && first8 >= 0)
		return put_be(in, first8, len, 1);
	if (len < 1u << 16)
		return put_be(in, first16, len, 2);
	if (len <= UINT32_MAX)
		return put_be(in, first16 + 1, len, 4);
	return wrong(in, "too long");
}

static int put_data(struct text *in, const struct lsc_buf *data, bool is_bin)
{
	int r = is_bin ? put_head(in, data->len, 0, 0, 0xc4, 0xc5)
		       : put_head(in, data->len, 0xa0, 32, 0xd9, 0xda);

	return r ? r : put(in, data->data, data->len);
}

/* --- strings --- */

static int parse_hex4(struct text *in, unsigned *ret_code)
{
	*ret_code = 0;
	for (int i = 0; i < 4; i++, in->at++) {
		char c = in->at < in->end ? *in->at : 0;
		unsigned digit = c >= '0' && c <= '9'   ? c - '0'
				 : c >= 'a' && c <= 'f' ? c - 'a' + 10
				 : c >= 'A' && c <= 'F' ? c - 'A' + 10
							: 16;

		if (digit == 16)
			return wrong(in, "four hexadecimal digits expected");
		*ret_code = *ret_code << 4 | digit;
	}
	return 0;
}

static int add_code(struct text *in, unsigned code)
{
	char utf8[4];
	unsigned n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	if (n == 1)
		utf8[0] = code;
	else
		utf8[0] = (0xf0 << (4 - n)) | code >> (6 * (n - 1));
	for (unsigned i = 1; i < n; i++)
		utf8[i] = 0x80 | (code >> (6 * (n - 1 - i)) & 0x3f);
	return lsc_buf_add(&in->string, utf8, n) < 0 ? no_memory(in) : 0;
}

/* Behind \u: one code, or a pair of surrogates. */
static int parse_code(struct text *in)
{
	unsigned high, low;
	int r = parse_hex4(in, &high);

	if (r < 0)
		return r;
	if (high < 0xd800 || high > 0xdfff)
		return add_code(in, high);
	if (high > 0xdbff || in->end - in->at < 2 || in->at[0] != '\\' || in->at[1] != 'u')
		return wrong(in, "half a surrogate pair");
	in->at += 2;
	r = parse_hex4(in, &low);
	if (r < 0)
		return r;
	if (low < 0xdc00 || low > 0xdfff)
		return wrong(in, "half a surrogate pair");
	return add_code(in, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
}

static int parse_escape(struct text *in)
{
	static const char plain[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
	char c = in->at < in->end ? *in->at++ : 0;

	if (c == 'u')
		return parse_code(in);
	for (const char *p = plain; *p; p += 2)
		if (c == p[0])
			return add_code(in, (unsigned char)p[1]);
	return wrong(in, "no such escape");
}

/* A string into in->string. */
static int parse_string(struct text *in)
{
	int r = need(in, '"');

	in->string.len = 0;
	while (r == 0) {
		const char *run = in->at;

		while (in->at < in->end && *in->at != '"' && *in->at != '\\' &&
		       (unsigned char)*in->at >= 0x20)
			in->at++;
		if (!lsc_utf8_is_valid(run, in->at - run))
			return wrong(in, "not valid UTF-8 before here");
		if (lsc_buf_add(&in->string, run, in->at - run) < 0)
			return no_memory(in);
		if (in->at == in->end)
			return wrong(in, "the string does not end");
		switch (*in->at++) {
		case '"':
			return 0;
		case '\\':
			r = parse_escape(in);
			break;
		default:
			in->at--;
			return wrong(in, "a control character in a string");
		}
	}
	return r;
}

/* The last string, which may hold zeros. */
static bool string_is(const struct text *in, const char *text)
{
	return in->string.len == strlen(text) && !memcmp(in->string.data, text, in->string.len);
}

static int parse_base64(struct text *in, struct lsc_buf *ret_data)
{
	int r = parse_string(in);

	if (r < 0)
		return r;
	r = lsc_base64_decode((char *)in->string.data, in->string.len, ret_data);
	if (r == -EBADMSG)
		return wrong(in, "not base64");
	return r < 0 ? no_memory(in) : 0;
}

/* --- numbers --- */

static int put_int(struct text *in, bool negative, uint64_t value)
{
	int64_t minus = 0 - value; /* as unsigned: -2^63 has no positive */

	if (!negative || value == 0)
		return value < 0x80          ? put_be(in, value, 0, 0)
		       : value <= UINT8_MAX  ? put_be(in, 0xcc, value, 1)
		       : value <= UINT16_MAX ? put_be(in, 0xcd, value, 2)
		       : value <= UINT32_MAX ? put_be(in, 0xce, value, 4)
					     : put_be(in, 0xcf, value, 8);
	if (value > (uint64_t)INT64_MAX + 1)
		return wrong(in, "the number is below -2^63");
	return minus >= -32         ? put_be(in, minus, 0, 0)
	       : minus >= INT8_MIN  ? put_be(in, 0xd0, minus, 1)
	       : minus >= INT16_MIN ? put_be(in, 0xd1, minus, 2)
	       : minus >= INT32_MIN ? put_be(in, 0xd2, minus, 4)
				    : put_be(in, 0xd3, minus, 8);
}

static size_t digits(const char *at, const char *end)
{
	const char *start = at;

	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at - start;
}

/* The extent of a number by JSON's grammar; 0 when there is none.  *ret_real: a float. */
static size_t number_length(const char *start, const char *end, bool *ret_real)
{
	const char *at = start + (start < end && *start == '-');
	size_t n = digits(at, end);

	*ret_real = false;
	if (n == 0 || (n > 1 && *at == '0'))
		return 0;
	at += n;
	if (at < end && *at == '.') {
		*ret_real = true;
		n = digits(++at, end);
		if (n == 0)
			return 0;
		at += n;
	}
	if (at < end && (*at == 'e' || *at == 'E')) {
		*ret_real = true;
		at++;
		at += at < end && (*at == '+' || *at == '-');
		n = digits(at, end);
		if (n == 0)
			return 0;
		at += n;
	}
	return at - start;
}

/* Copies the number out of the text, which has no 0 behind it, for strto...(). */
static int take_number(struct text *in, bool *ret_real)
{
	size_t n;

	skip_space(in);
	n = number_length(in->at, in->end, ret_real);
	in->string.len = 0;
	if (n == 0)
		return wrong(in, "a value expected");
	if (lsc_buf_add(&in->string, in->at, n) < 0)
		return no_memory(in);
	in->at += n;
	return 0;
}

static int put_f64(struct text *in, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return put_be(in, 0xcb, bits, 8);
}

static int parse_number(struct text *in)
{
	bool real;
	const char *text;
	uint64_t value;
	int r = take_number(in, &real);

	if (r < 0)
		return r;
	text = (const char *)in->string.data;
	if (real) {
		double number = strtod(text, NULL);

		return isfinite(number) ? put_f64(in, number) : wrong(in, "no float64 is as large");
	}
	errno = 0;
	value = strtoull(text + (*text == '-'), NULL, 10);
	return errno ? wrong(in, "no 64-bit integer is as large")
		     : put_int(in, *text == '-', value);
}

/* {"$f32":...} and {"$f64":...}: bits by name or in hexadecimal, or for f32 a number. */
static int parse_float(struct text *in, bool is_f32)
{
	static const struct {
		const char *name;
		uint64_t f64, f32;
	} names[] = {
		{"inf", 0x7ff0000000000000, 0x7f800000},
		{"-inf", 0xfff0000000000000, 0xff800000},
		{"nan", 0x7ff8000000000000, 0x7fc00000},
	};
	const char *text;
	bool real;
	double number;
	float value;
	uint32_t bits;
	int r;

	skip_space(in);
	if (in->at < in->end && *in->at != '"') {
		r = take_number(in, &real);
		if (r < 0)
			return r;
		number = strtod((char *)in->string.data, NULL);
		value = strtof((char *)in->string.data, NULL);
		if (!isfinite(is_f32 ? value : number))
			return wrong(in, "no such float is as large");
		memcpy(&bits, &value, sizeof(bits));
		return is_f32 ? put_be(in, 0xca, bits, 4) : put_f64(in, number);
	}
	r = parse_string(in);
	if (r < 0)
		return r;
	text = in->string.len ? (char *)in->string.data : "";
	for (unsigned i = 0; i < 3; i++)
		if (string_is(in, names[i].name))
			return is_f32 ? put_be(in, 0xca, names[i].f32, 4)
				      : put_be(in, 0xcb, names[i].f64, 8);
	if (in->string.len != (is_f32 ? 10 : 18) || strncmp(text, "0x", 2) ||
	    strspn(text + 2, "0123456789abcdef") != in->string.len - 2)
		return wrong(in, "not \"inf\", \"-inf\", \"nan\" or 0x and all of its digits");
	return put_be(in, is_f32 ? 0xca : 0xcb, strtoull(text, NULL, 16), is_f32 ? 4 : 8);
}

/* --- containers --- */

static int parse_value(struct text *in, unsigned depth);

static int open_container(struct text *in, size_t *ret_start)
{
	static const uint8_t head[HEAD];

	*ret_start = in->out->len;
	return put(in, head, HEAD);
}

static int close_container(struct text *in, size_t start, uint64_t n, bool is_map)
{
	size_t len = in->out->len - start - HEAD, head;
	uint8_t *at = in->out->data + start, first = at[HEAD];
	int r;

	in->out->len = start;
	r = put_head(in, n, is_map ? 0x80 : 0x90, 16, -1, is_map ? 0xde : 0xdc);
	if (r < 0)
		return r;
	head = in->out->len - start;
	at[HEAD] = first; /* the 0 that a buffer keeps behind its end fell on it if head is 5 */
	memmove(at + head, at + HEAD, len);
	in->out->len += len;
	at[head + len] = 0;
	return 0;
}

static int parse_array(struct text *in, unsigned depth)
{
	uint64_t n = 0;
	size_t start;
	int r = open_container(in, &start);

	if (r == 0 && !take(in, ']')) {
		do {
			r = parse_value(in, depth);
			n++;
		} while (r == 0 && take(in, ','));
		if (r == 0)
			r = need(in, ']');
	}
	return r ? r : close_container(in, start, n, false);
}

/* {"$map":[[key, value], ...]} */
static int parse_pairs(struct text *in, unsigned depth)
{
	uint64_t n = 0;
	size_t start;
	int r = open_container(in, &start);

	if (r == 0)
		r = need(in, '[');
	if (r == 0 && !take(in, ']')) {
		do {
			r = need(in, '[');
			if (r == 0)
				r = parse_value(in, depth);
			if (r == 0)
				r = need(in, ',');
			if (r == 0)
				r = parse_value(in, depth);
			if (r == 0)
				r = need(in, ']');
			n++;
		} while (r == 0 && take(in, ','));
		if (r == 0)
			r = need(in, ']');
	}
	return r ? r : close_container(in, start, n, true);
}

/* {"$ext":[type, "base64"]} */
static int parse_ext(struct text *in)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf data = LSC_BUF_INIT;
	bool real;
	long type = 0;
	uint8_t byte;
	int r = need(in, '[');

	if (r == 0)
		r = take_number(in, &real);
	if (r == 0)
		type = strtol((char *)in->string.data, NULL, 10);
	if (r == 0 && (real || type < INT8_MIN || type > INT8_MAX))
		r = wrong(in, "an extension's type is a number from -128 to 127");
	if (r == 0)
		r = need(in, ',');
	if (r == 0)
		r = parse_base64(in, &data);
	if (r == 0)
		r = need(in, ']');
	if (r < 0)
		return r;
	if (data.len && data.len <= 16 && !(data.len & (data.len - 1)))
		r = put_be(in, 0xd4 + __builtin_ctz(data.len), 0, 0);
	else
		r = put_head(in, data.len, 0, 0, 0xc7, 0xc8);
	byte = type;
	if (r == 0)
		r = put(in, &byte, 1);
	return r ? r : put(in, data.data, data.len);
}

static int parse_data(struct text *in, bool is_bin)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf data = LSC_BUF_INIT;
	int r = parse_base64(in, &data);

	return r ? r : put_data(in, &data, is_bin);
}

/* The value behind a key that starts with one $, and the brace that ends the object. */
static int parse_tagged(struct text *in, unsigned depth)
{
	int r;

	if (string_is(in, "$bin"))
		r = parse_data(in, true);
	else if (string_is(in, "$str"))
		r = parse_data(in, false);
	else if (string_is(in, "$f32"))
		r = parse_float(in, true);
	else if (string_is(in, "$f64"))
		r = parse_float(in, false);
	else if (string_is(in, "$ext"))
		r = parse_ext(in);
	else if (string_is(in, "$map"))
		r = parse_pairs(in, depth);
	else
		return wrong(in, "no such tag; a key that starts with $ is written with one more");
	return r ? r : need(in, '}');
}

static int parse_object(struct text *in, unsigned depth)
{
	size_t start;
	uint64_t n = 0;
	int r = open_container(in, &start);

	if (r < 0 || take(in, '}'))
		return r ? r : close_container(in, start, 0, true);
	do {
		struct lsc_buf key;
		bool dollar;

		r = parse_string(in);
		if (r == 0)
			r = need(in, ':');
		if (r < 0)
			return r;
		key = in->string;
		dollar = key.len && key.data[0] == '$';
		if (dollar && (key.len < 2 || key.data[1] != '$')) {
			if (n)
				return wrong(in, "a tag is the only key of its object");
			in->out->len = start;
			return parse_tagged(in, depth);
		}
		key.data += dollar;
		key.len -= dollar;
		r = put_data(in, &key, false);
		if (r == 0)
			r = parse_value(in, depth);
		n++;
	} while (r == 0 && take(in, ','));
	if (r == 0)
		r = need(in, '}');
	return r ? r : close_container(in, start, n, true);
}

static int parse_word(struct text *in, const char *word, uint8_t byte)
{
	size_t len = strlen(word);

	if ((size_t)(in->end - in->at) < len || memcmp(in->at, word, len))
		return wrong(in, "a value expected");
	in->at += len;
	return put_be(in, byte, 0, 0);
}

static int parse_value(struct text *in, unsigned depth)
{
	int r;

	skip_space(in);
	if (in->at == in->end)
		return wrong(in, "a value expected");
	if (depth == LSC_JSON_MAX_DEPTH)
		return wrong(in, "nested too deep");
	switch (*in->at) {
	case '{':
		in->at++;
		return parse_object(in, depth + 1);
	case '[':
		in->at++;
		return parse_array(in, depth + 1);
	case '"':
		r = parse_string(in);
		return r ? r : put_data(in, &in->string, false);
	case 'n':
		return parse_word(in, "null", 0xc0);
	case 'f':
		return parse_word(in, "false", 0xc2);
	case 't':
		return parse_word(in, "true", 0xc3);
	default:
		return parse_number(in);
	}
}

int lsc_json_read(const char *text, size_t len, struct lsc_buf *buf, struct lsc_err *err)
{
	struct text in = {text, text, text + len, buf, err, LSC_BUF_INIT};
	size_t before = buf->len;
	int r = parse_value(&in, 0);

	skip_space(&in);
	if (r == 0 && in.at != in.end)
		r = wrong(&in, "more than one value");
	if (r < 0)
		buf->len = before;
	lsc_buf_release(&in.string);
	return r;
}
