/* Base64 (RFC 4648, section 4): the standard alphabet, padded, no line breaks. */
#ifndef LSC_BASE_BASE64_H
#define LSC_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define LSC_BASE64_BYTES(len) (((len) + 2) / 3 * 4)

/* Appends the text of len bytes.  A long run may come in parts, each but the last of a length
 * that 3 divides. */
int lsc_base64_encode(const void *data, size_t len, struct lsc_buf *buf);

/* Appends the bytes of a text; a long one may come in parts whose length 4 divides.  Only what
 * encode writes is taken: -EBADMSG for other characters, missing padding or stray bits. */
int lsc_base64_decode(const char *text, size_t len, struct lsc_buf *buf);

#endif
