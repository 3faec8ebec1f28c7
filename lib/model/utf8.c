/* utf8 - characters from bytes and back */
#include "model/utf8.h"

#include <string.h>

static unsigned sequence_len(uint8_t lead)
{
	if (lead < 0x80)
		return 1;
	if (lead < 0xc2)
		return 0; /* a continuation, or an overlong form of ASCII */
	if (lead < 0xe0)
		return 2;
	if (lead < 0xf0)
		return 3;
	return lead < 0xf5 ? 4 : 0;
}

/* The second byte is where overlong forms, surrogates and what lies above U+10FFFF are seen. */
static int second_is_good(uint8_t lead, uint8_t second)
{
	uint8_t min = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	uint8_t max = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

	return second >= min && second <= max;
}

int lsc_utf8_next(const uint8_t *data, size_t len, uint32_t *ret_cp)
{
	unsigned n = sequence_len(data[0]), have = 1;
	uint32_t cp;

	if (n == 1) {
		*ret_cp = data[0];
		return 1;
	}
	if (n == 0)
		return -1;
	cp = data[0] & (0x7f >> n);
	while (have < n && have < len) {
		uint8_t byte = data[have];

		if (have == 1 ? !second_is_good(data[0], byte) : (byte & 0xc0) != 0x80)
			return -(int)have;
		cp = cp << 6 | (byte & 0x3f);
		have++;
	}
	if (have < n)
		return 0;
	*ret_cp = cp;
	return n;
}

unsigned lsc_utf8_put(uint8_t bytes[4], uint32_t cp)
{
	unsigned n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;

	if (n == 1) {
		bytes[0] = cp;
		return 1;
	}
	bytes[0] = (0xf0 << (4 - n)) | cp >> (6 * (n - 1));
	for (unsigned i = 1; i < n; i++)
		bytes[i] = 0x80 | (cp >> (6 * (n - 1 - i)) & 0x3f);
	return n;
}

size_t lsc_utf8_valid_prefix(const uint8_t *data, size_t len)
{
	size_t at = 0;

	while (at < len) {
		uint64_t eight;
		uint32_t cp;
		int n;

		if (len - at >= 8) {
			memcpy(&eight, data + at, 8);
			if (!(eight & 0x8080808080808080u)) {
				at += 8;
				continue;
			}
		}
		n = lsc_utf8_next(data + at, len - at, &cp);
		if (n <= 0)
			break;
		at += n;
	}
	return at;
}

bool lsc_utf8_is_plain(const char *text, size_t len)
{
	uint32_t cp;
	int n;

	for (size_t at = 0; at < len; at += n) {
		n = lsc_utf8_next((const uint8_t *)text + at, len - at, &cp);
		if (n <= 0 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
			return false;
	}
	return true;
}

int lsc_utf8_repair(struct lsc_buf *buf, const uint8_t *data, size_t len)
{
	size_t at = 0;

	for (;;) {
		size_t good = lsc_utf8_valid_prefix(data + at, len - at);
		uint32_t cp;
		int n, r = lsc_buf_add(buf, data + at, good);

		at += good;
		if (r < 0 || at == len)
			return r;
		r = lsc_buf_add_str(buf, LSC_UTF8_REPLACEMENT);
		if (r < 0)
			return r;
		n = lsc_utf8_next(data + at, len - at, &cp);
		if (n == 0) /* one that the end cuts off */
			return 0;
		at += -n;
	}
}
