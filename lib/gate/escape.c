/* escape - text as JSON strings */
#include "gate/escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"

#define REPLACEMENT "\xef\xbf\xbd"

size_t lsc_escape_char(const char *text, size_t len)
{
	const uint8_t *at = (const uint8_t *)text;
	size_t n = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

	if (n == 0 || at[0] > 0xf4 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
	    (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return n;
}

static bool is_plain(uint8_t byte)
{
	return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* One byte below 0x80. */
static int add_ascii(struct lsc_buf *buf, uint8_t byte)
{
	static const char shorts[] = "\b\f\n\r\t\"\\", names[] = "bfnrt\"\\";
	const char *found = byte ? strchr(shorts, byte) : NULL;

	if (found)
		return lsc_buf_add(buf, (char[]){'\\', names[found - shorts]}, 2);
	if (byte < 0x20 || byte == 0x7f)
		return lsc_buf_printf(buf, "\\u%04x", byte);
	return lsc_buf_add(buf, &byte, 1);
}

int lsc_escape_add(struct lsc_buf *buf, const char *text, size_t len)
{
	size_t at = 0;
	int r = 0;

	while (r == 0 && at < len) {
		size_t run = at, n;

		while (run < len && is_plain((uint8_t)text[run]))
			run++;
		if (run > at) {
			r = lsc_buf_add(buf, text + at, run - at);
			at = run;
			continue;
		}
		n = lsc_escape_char(text + at, len - at);
		if (n == 1)
			r = add_ascii(buf, (uint8_t)text[at]);
		else if (n)
			r = lsc_buf_add(buf, text + at, n);
		else
			r = lsc_buf_add_str(buf, REPLACEMENT);
		at += LSC_MAX(n, (size_t)1);
	}
	return r;
}

int lsc_escape_quote(struct lsc_buf *buf, const char *text, size_t len)
{
	int r = lsc_buf_add(buf, "\"", 1);

	if (r == 0)
		r = lsc_escape_add(buf, text, len);
	return r < 0 ? r : lsc_buf_add(buf, "\"", 1);
}
