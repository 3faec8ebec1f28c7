/* reader - records from a descriptor */
#include "stream/record.h"

#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macros.h"

#define READ_BYTES 16384

void lsc_reader_init(struct lsc_reader *reader, int fd)
{
	*reader = (struct lsc_reader){ .fd = fd };
}

void lsc_reader_release(struct lsc_reader *reader)
{
	lsc_buf_release(&reader->buf);
	lsc_record_release(&reader->record);
}

int lsc_reader_parse(struct lsc_reader *reader, struct lsc_err *err)
{
	ssize_t n;

	if (!reader->buf.data) /* nothing was read yet */
		return 0;
	n = lsc_record_parse(&reader->record, reader->buf.data + reader->used,
			     reader->buf.len - reader->used, err);
	if (n <= 0)
		return n;
	reader->used += n;
	return 1;
}

/* Moves what is left to the front: records already returned are no longer valid. */
ssize_t lsc_reader_fill(struct lsc_reader *reader, struct lsc_err *err)
{
	ssize_t n;

	lsc_buf_consume(&reader->buf, reader->used);
	reader->used = 0;
	if (lsc_buf_reserve(&reader->buf, READ_BYTES) < 0)
		return lsc_err_set(err, ENOMEM, "cannot read records: %m");
	do
		n = read(reader->fd, reader->buf.data + reader->buf.len, READ_BYTES);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return lsc_err_set(err, errno, "cannot read records: %m");
	if (n == 0)
		reader->eof = true;
	reader->buf.len += n;
	return n;
}

int lsc_reader_next(struct lsc_reader *reader, struct lsc_err *err)
{
	for (;;) {
		ssize_t n;
		int r = lsc_reader_parse(reader, err);

		if (r != 0)
			return r;
		n = lsc_reader_fill(reader, err);
		if (n < 0)
			return n;
		if (n == 0 && reader->buf.len > 0)
			return lsc_err_set(err, EBADMSG, "the stream ends inside a record");
		if (n == 0)
			return 0;
	}
}

/* Takes len bytes, first from what was read ahead. */
static int take(struct lsc_reader *reader, void *data, size_t len, struct lsc_err *err)
{
	size_t ahead = LSC_MIN(len, reader->buf.len - reader->used);
	ssize_t n;

	if (ahead)
		memcpy(data, reader->buf.data + reader->used, ahead);
	reader->used += ahead;
	n = lsc_read_full(reader->fd, (char *)data + ahead, len - ahead);
	if (n < 0)
		return lsc_err_set(err, -n, "cannot read a body: %m");
	if ((size_t)n < len - ahead)
		return lsc_err_set(err, EBADMSG, "the stream ends inside a body");
	return 0;
}

int lsc_reader_body(struct lsc_reader *reader, void *data, uint32_t len, struct lsc_err *err)
{
	uint8_t header[5];
	uint32_t announced = 0;
	unsigned have = 1;
	int r = take(reader, header, 1, err);

	while (r == 0) {
		ssize_t n = lsc_body_parse(header, have, &announced, err);

		if (n < 0)
			return n;
		if (n > 0)
			break;
		r = take(reader, header + have++, 1, err);
	}
	if (r < 0)
		return r;
	if (announced != len)
		return lsc_err_set(err, EBADMSG, "a body of %u bytes where %u were announced",
				   announced, len);
	return take(reader, data, len, err);
}
