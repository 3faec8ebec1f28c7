/* A byte buffer that grows.
 *
 * data[len] is always 0 once anything was added, so a text can be read as a C string.  The add
 * functions return 0 or -ENOMEM, and leave the buffer as it was when they fail.
 */
#ifndef LSC_BASE_BUF_H
#define LSC_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct lsc_buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

#define LSC_BUF_INIT                                                                               \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

void lsc_buf_release(struct lsc_buf *buf);

/* Room for extra more bytes after len (and the 0 behind them); data may move. */
int lsc_buf_reserve(struct lsc_buf *buf, size_t extra);

int lsc_buf_add(struct lsc_buf *buf, const void *data, size_t len);
int lsc_buf_add_str(struct lsc_buf *buf, const char *text);
int lsc_buf_printf(struct lsc_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Appends zeros up to the next multiple of align, a power of two. */
int lsc_buf_pad(struct lsc_buf *buf, size_t align);

/* Drops the first n bytes (n <= len), keeping the rest. */
void lsc_buf_consume(struct lsc_buf *buf, size_t n);

#endif
