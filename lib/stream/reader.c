/* reader - records from a descriptor */
#include "stream/record.h"

#include <unistd.h>

#include "base/io.h"
#include "base/macros.h"

#define READ_BYTES 16384

void lsc_reader_init(struct lsc_reader *reader, int fd)
{
	*reader = (struct lsc_reader){.fd = fd};
}

void lsc_reader_release(struct lsc_reader *reader)
{
	lsc_buf_release(&reader->buf);
	lsc_record_release(&reader->record);
}

int lsc_reader_body(struct lsc_reader *reader, struct lsc_err *err)
{
	uint32_t len;
	ssize_t n;

	if (!reader->announced)
		return 1;
	n = lsc_body_parse(reader->buf.data + reader->used, reader->buf.len - reader->used, &len,
			   err);
	if (n <= 0)
		return n;
	if (len != reader->body_left)
		return lsc_err_set(err, EBADMSG, "a body of %u bytes where %llu were announced",
				   len, (unsigned long long)reader->body_left);
	reader->announced = false;
	reader->used += n;
	return 1;
}

/* What nobody wanted of the last record: 1 when it is over, 0 for more bytes. */
static int skip_body(struct lsc_reader *reader, struct lsc_err *err)
{
	int r = lsc_reader_body(reader, err);
	size_t n;

	if (r <= 0)
		return r;
	n = LSC_MIN(reader->buf.len - reader->used, reader->body_left);
	reader->used += n;
	reader->body_left -= n;
	return reader->body_left == 0;
}

int lsc_reader_parse(struct lsc_reader *reader, struct lsc_err *err)
{
	ssize_t n;

	if (!reader->buf.data) /* nothing was read yet */
		return 0;
	n = skip_body(reader, err);
	if (n <= 0)
		return n;
	n = lsc_record_parse(&reader->record, reader->buf.data + reader->used,
			     reader->buf.len - reader->used, err);
	if (n <= 0)
		return n;
	reader->used += n;
	reader->announced = lsc_record_get(&reader->record, "body");
	n = lsc_record_uint_or(&reader->record, "body", LSC_BODY_MAX_BYTES, 0, &reader->body_left,
			       err);
	return n < 0 ? n : 1;
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
		if (n == 0 && (reader->announced || reader->body_left))
			return lsc_err_set(err, EBADMSG, "the stream ends inside a body");
		if (n == 0 && reader->buf.len > 0)
			return lsc_err_set(err, EBADMSG, "the stream ends inside a record");
		if (n == 0)
			return 0;
	}
}

int lsc_reader_hello(struct lsc_reader *reader, const char *kind, struct lsc_err *err)
{
	int r = lsc_reader_next(reader, err);

	if (r == 0)
		return lsc_err_set(err, EBADMSG, "the stream is empty");
	return r < 0 ? r : lsc_record_hello(&reader->record, kind, err);
}
