/* UTF-8, one character at a time, and what to do with bytes that are none. */
#ifndef LSC_MODEL_UTF8_H
#define LSC_MODEL_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define LSC_UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* The character at data, len > 0: its length (1 to 4) and *ret_cp.  0 where the bytes there are
 * only begin one; -n where the first n belong to none (the Unicode standard's maximal subpart,
 * chapter 3.9: what one U+FFFD stands for). */
int lsc_utf8_next(const uint8_t *data, size_t len, uint32_t *ret_cp);

/* The bytes of a character, which must be one; returns how many. */
unsigned lsc_utf8_put(uint8_t bytes[4], uint32_t cp);

/* How many bytes from the start are whole characters. */
size_t lsc_utf8_valid_prefix(const uint8_t *data, size_t len);

/* Whether text is characters throughout, none of them a control character: fit to be listed. */
bool lsc_utf8_is_plain(const char *text, size_t len);

/* Appends data with U+FFFD for each run of bytes that is no character; 0 or -ENOMEM. */
int lsc_utf8_repair(struct lsc_buf *buf, const uint8_t *data, size_t len);

#endif
