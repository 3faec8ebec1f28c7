/* record: parsing whole, a byte at a time and over every limit; reading from a pipe */
#include "tap.h"

#include "base/clock.h"
#include "base/macros.h"
#include "stream/record.h"

#define MANY 100000 /* elements of a record that comes slowly */

static struct lsc_err err;

/* Feeds a record a byte at a time: what the parser says at the end, 1 where it was done early. */
static ssize_t drip(struct lsc_record *record, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		ssize_t n = lsc_record_parse(record, data, i, &err);

		if (n < 0)
			return n;
		if (n > 0)
			return 1;
	}
	return lsc_record_parse(record, data, len, &err);
}

static void test_drip(void)
{
	struct lsc_record record = LSC_RECORD_INIT;
	struct lsc_pack pack = LSC_PACK_INIT;
	uint64_t start, value = 0;

	lsc_pack_begin(&pack, "odd");
	lsc_pack_array(&pack, "nested", 2);
	lsc_pack_array(&pack, NULL, 3);
	lsc_pack_uint(&pack, NULL, 1);
	lsc_pack_str(&pack, NULL, "a string that is longer than 31 bytes, so that it has a head");
	lsc_pack_array(&pack, NULL, 0);
	lsc_pack_real(&pack, NULL, 0.5);
	lsc_pack_bin(&pack, "bin", "\0\1\2", 3);
	lsc_pack_uint(&pack, "last", 70000);
	lsc_pack_end(&pack);
	for (int again = 0; again < 2; again++) {
		is_int(drip(&record, pack.buf.data, pack.buf.len), pack.buf.len,
		       "a record that comes a byte at a time");
		ok(lsc_record_uint(&record, "last", UINT32_MAX, &value, &err) == 0 &&
			   value == 70000,
		   "is the same");
	}

	lsc_pack_begin(&pack, "many");
	lsc_pack_array(&pack, "n", MANY);
	for (uint32_t i = 0; i < MANY; i++)
		lsc_pack_uint(&pack, NULL, i & 1);
	lsc_pack_end(&pack);
	start = lsc_clock_ns();
	is_int(drip(&record, pack.buf.data, pack.buf.len), pack.buf.len, "one of %d elements",
	       MANY);
	ok(lsc_clock_ns() - start < 2000000000u, "takes no longer for being slow: %.3f s",
	   (double)(lsc_clock_ns() - start) / 1e9);
	lsc_record_release(&record);
	lsc_pack_release(&pack);
}

static void test_limits(void)
{
	static const struct {
		const char *bytes;
		size_t len;
		ssize_t want;
		const char *what;
	} cases[] = {
		{"", 0, 0, "nothing yet"},
		{"\x81", 1, 0, "a head alone"},
		{"\x81\xa4type\xa1x", 8, 8, "the smallest record"},
		{"\x81\xa4typ", 5, 0, "a key that is cut"},
		{"\xdf\xff\xff\xff\xff", 5, -EBADMSG, "a map of 2^32 pairs"},
		{"\xdf\x00\x10\x00\x00", 5, -EBADMSG, "one of 2^20"},
		{"\x81\xa4type\xdb\xff\xff\xff\xff", 11, -EBADMSG, "a string of 2^32 bytes"},
		{"\x81\xa1x\xc6\x00\x20\x00\x00", 8, -EBADMSG, "a bin of 2 MiB"},
		{"\x81\xa1x\xc1", 4, -EBADMSG, "the byte that msgpack never uses"},
		{"\x91\x01", 2, -EBADMSG, "an array"},
		{"GET / HTTP/1.1\r\n", 16, -EBADMSG, "another protocol"},
		{"\x81\xa1x\x01", 4, -EBADMSG, "no type"},
		{"\x81\xa4type\x01", 7, -EBADMSG, "a type that is a number"},
		{"\x81\xa1x\x91\x91\x91\x91\x91\x91\x91\x91\x01", 12, -EBADMSG, "too deep"},
		{"\x82\xa4type\xa1x\xa1y\x91\x91\x91\x91\x91\x91\x91\x01", 18, 18, "deep enough"},
	};
	struct lsc_record record = LSC_RECORD_INIT;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		is_int(lsc_record_parse(&record, cases[i].bytes, cases[i].len, &err), cases[i].want,
		       "%s", cases[i].what);
		lsc_record_release(&record);
		is_int(drip(&record, (const uint8_t *)cases[i].bytes, cases[i].len), cases[i].want,
		       "%s, a byte at a time", cases[i].what);
		lsc_record_release(&record);
	}
}

static void test_endless(void)
{
	struct lsc_record record = LSC_RECORD_INIT;
	uint8_t *data = malloc(LSC_RECORD_MAX_BYTES + 1u);
	static const uint8_t head[] = {0x81, 0xa1, 'x', 0xdd, 0x00, 0x10, 0x00, 0x00};
	ssize_t n = 0;
	size_t len = sizeof(head);

	memset(data, 1, LSC_RECORD_MAX_BYTES + 1u);
	memcpy(data, head, sizeof(head));
	for (; n == 0 && len <= LSC_RECORD_MAX_BYTES; len += 4093)
		n = lsc_record_parse(&record, data, len, &err);
	if (n == 0)
		n = lsc_record_parse(&record, data, LSC_RECORD_MAX_BYTES, &err);
	is_int(n, -EBADMSG, "a record that does not end: %s", err.text);
	lsc_record_release(&record);
	free(data);
}

static void test_reader(void)
{
	struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_reader reader;
	int fds[2];

	if (pipe(fds) < 0)
		abort();
	lsc_pack_hello(&pack, "test");
	lsc_pack_more(&pack, "x");
	lsc_pack_end(&pack);
	lsc_pack_more(&pack, "y");
	lsc_pack_end(&pack);
	lsc_buf_add(&pack.buf, "\x81\xa4", 2);
	lsc_pack_write(&pack, fds[1], &err);
	close(fds[1]);
	lsc_reader_init(&reader, fds[0]);
	ok(lsc_reader_next(&reader, &err) == 1 &&
		   lsc_record_hello(&reader.record, "test", &err) == 0,
	   "a hello");
	ok(lsc_record_hello(&reader.record, "other", &err) == -EPROTO && strstr(err.text, "'test'"),
	   "of another kind than was wanted: %s", err.text);
	ok(lsc_reader_next(&reader, &err) == 1 && lsc_record_is(&reader.record, "x"), "a record");
	ok(lsc_reader_next(&reader, &err) == 1 && lsc_record_is(&reader.record, "y"),
	   "the next one");
	is_int(lsc_reader_next(&reader, &err), -EBADMSG, "half a record at the end: %s", err.text);
	lsc_reader_release(&reader);
	lsc_pack_release(&pack);
	close(fds[0]);
}

int main(void)
{
	test_drip();
	test_limits();
	test_endless();
	test_reader();
	return done_testing();
}
