/* fuzz lines: any bytes as a stream of records and as JSON lines; a stream that is understood
 * survives the way there and back, with its bodies */
#include "stream/lines.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

typedef int turn_fn(int in, int out, struct lsc_err *err);

/* Runs one way over bytes; ret_buf gets what it wrote. */
static int turn(turn_fn *fn, const void *data, size_t len, struct lsc_buf *ret_buf)
{
	static int in = -1, out = -1;
	off_t size;
	int r;

	if (in < 0) {
		in = memfd_create("in", MFD_CLOEXEC);
		out = memfd_create("out", MFD_CLOEXEC);
	}
	check(ftruncate(in, 0) == 0 && ftruncate(out, 0) == 0);
	check(lsc_pwrite_full(in, data, len, 0) == 0);
	lseek(in, 0, SEEK_SET);
	lseek(out, 0, SEEK_SET);
	r = fn(in, out, NULL);
	size = lseek(out, 0, SEEK_END);
	ret_buf->len = 0;
	check(size >= 0 && lsc_buf_reserve(ret_buf, size) == 0);
	check(pread(out, ret_buf->data, size, 0) == size);
	ret_buf->len = size;
	return r;
}

/* Lines that we wrote become records, and these the same lines. */
static void there_and_back(const struct lsc_buf *lines)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf records = LSC_BUF_INIT, again = LSC_BUF_INIT;

	check(turn(lsc_lines_to_records, lines->data, lines->len, &records) == 0);
	check(turn(lsc_lines_from_records, records.data, records.len, &again) == 0);
	check(again.len == lines->len && !memcmp(again.data, lines->data, lines->len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf records = LSC_BUF_INIT, lines = LSC_BUF_INIT;

	if (turn(lsc_lines_from_records, data, len, &lines) == 0)
		there_and_back(&lines);
	if (turn(lsc_lines_to_records, data, len, &records) == 0 &&
	    turn(lsc_lines_from_records, records.data, records.len, &lines) == 0)
		there_and_back(&lines);
	return 0;
}
