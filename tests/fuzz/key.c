/* fuzz key: any bytes as a key file, which when taken is written as it was read; and as a stream
 * that begins with a line of one, of which no more than that line is read */
#include "net/key.h"

#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void read_line(const uint8_t *data, size_t len)
{
	const uint8_t *end = len ? memchr(data, '\n', len) : NULL;
	size_t line_len = end ? (size_t)(end + 1 - data) : len, left = 0;
	struct lsc_key key, same;
	uint8_t byte;
	int fds[2];

	check(pipe(fds) == 0);
	check(write(fds[1], data, len) == (ssize_t)len);
	close(fds[1]);
	if (lsc_key_read_line(&key, fds[0], "input", NULL) == 0) {
		check(lsc_key_parse(&same, (const char *)data, line_len, NULL) == 0);
		check(!memcmp(key.secret, same.secret, sizeof(key.secret)));
		while (read(fds[0], &byte, 1) == 1)
			left++;
		check(left == len - line_len);
	} else {
		check(lsc_key_parse(&same, (const char *)data, line_len, NULL) < 0);
	}
	close(fds[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf line = LSC_BUF_INIT;
	struct lsc_key key;

	read_line(data, LSC_MIN(len, (size_t)4096));
	if (lsc_key_parse(&key, (const char *)data, len, NULL) < 0)
		return 0;
	check(lsc_key_line(&key, &line) == 0);
	check(line.len == len || line.len == len + 1);
	check(!memcmp(line.data, data, len));
	return 0;
}
