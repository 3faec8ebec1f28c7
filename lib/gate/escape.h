/* JSON text, written as it comes: no tree of it is made for a token. */
#ifndef LSC_GATE_ESCAPE_H
#define LSC_GATE_ESCAPE_H

#include <stddef.h>

#include "base/buf.h"

/* Appends text as the inside of a JSON string.  What is not UTF-8 becomes U+FFFD. */
int lsc_escape_add(struct lsc_buf *buf, const char *text, size_t len);

/* The same with its quotes. */
int lsc_escape_quote(struct lsc_buf *buf, const char *text, size_t len);

/* The first character of text: its bytes, 0 where they are no UTF-8. */
size_t lsc_escape_char(const char *text, size_t len);

#endif
