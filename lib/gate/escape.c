/* escape - text as JSON strings */
#include "gate/escape.h"

#include <stdint.h>

#include "stream/json.h"

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

int lsc_escape_add(struct lsc_buf *buf, const char *text, size_t len)
{
	size_t at = 0, good = 0;
	int r = 0;

	while (r == 0 && at < len) {
		size_t n = (uint8_t)text[at] < 0x80 ? 1 : lsc_escape_char(text + at, len - at);

		at += n;
		if (n)
			continue;
		r = lsc_json_escape(text + good, at - good, buf);
		if (r == 0)
			r = lsc_buf_add_str(buf, REPLACEMENT);
		good = ++at;
	}
	return r < 0 ? r : lsc_json_escape(text + good, at - good, buf);
}

int lsc_escape_quote(struct lsc_buf *buf, const char *text, size_t len)
{
	int r = lsc_buf_add(buf, "\"", 1);

	if (r == 0)
		r = lsc_escape_add(buf, text, len);
	return r < 0 ? r : lsc_buf_add(buf, "\"", 1);
}
