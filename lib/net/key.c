/* key - reads and writes key files
 *
 * The form is strict, so that a file that is something else is found to be, and a key has one
 * spelling.  Secrets are erased from the buffers that they pass through.
 */
#include "net/key.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "net/tls.h"

#define HEAD     "lsc-key1 "
#define HEAD_LEN (sizeof(HEAD) - 1)
#define MAX_LINE 128  /* of a stream, where a key's is shorter */
#define MAX_FILE 1024 /* a longer one is no key file, and need not be read to know that */

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int lsc_key_parse(struct lsc_key *key, const char *text, size_t len, struct lsc_err *err)
{
	struct lsc_key parsed;

	if (len && text[len - 1] == '\n')
		len--;
	if (len < HEAD_LEN || memcmp(text, HEAD, HEAD_LEN))
		return lsc_err_set(err, EBADMSG, "no key: it does not begin with '" HEAD "'");
	if (len != HEAD_LEN + (size_t)2 * LSC_KEY_BYTES)
		return lsc_err_set(err, EBADMSG, "no key: %zu characters follow '" HEAD "', not %d",
				   len - HEAD_LEN, 2 * LSC_KEY_BYTES);
	for (int i = 0; i < LSC_KEY_BYTES; i++) {
		int high = digit(text[HEAD_LEN + 2 * i]), low = digit(text[HEAD_LEN + 2 * i + 1]);

		if (high < 0 || low < 0) {
			lsc_key_erase(&parsed);
			return lsc_err_set(err, EBADMSG,
					   "no key: its digits are 0 to 9 and a to f");
		}
		parsed.secret[i] = (uint8_t)(high << 4 | low);
	}
	lsc_tls_key_id(parsed.secret, parsed.id);
	*key = parsed;
	lsc_key_erase(&parsed);
	return 0;
}

void lsc_key_line_erase(struct lsc_buf *line)
{
	if (line->data)
		explicit_bzero(line->data, line->cap);
	lsc_buf_release(line);
}

int lsc_key_read(struct lsc_key *key, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	LSC_CLEANUP(lsc_key_line_erase) struct lsc_buf text = LSC_BUF_INIT;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return lsc_err_set(err, errno, "cannot read key file '%s': %m", path);
	if (st.st_mode & 077)
		return lsc_err_set(
			err, EPERM,
			"key file '%s' has mode %03o, so others may use it: chmod 600 it", path,
			st.st_mode & 0777);
	if (lsc_buf_reserve(&text, MAX_FILE + 1) < 0) /* it does not move, so one place is erased */
		return lsc_err_set(err, ENOMEM, "cannot read key file '%s': %m", path);
	r = lsc_fd_read(fd, path, MAX_FILE, &text, err);
	if (r == -EFBIG)
		return lsc_err_set(err, EBADMSG, "'%s' is no key file: it is too long", path);
	if (r < 0)
		return r;
	r = lsc_key_parse(key, (const char *)text.data, text.len, err);
	return r < 0 ? lsc_err_prefix(err, "'%s': ", path) : 0;
}

/* One byte: 1, 0 at the end, or negative errno. */
static int read_byte(int fd, char *byte)
{
	struct pollfd ready = {fd, POLLIN, 0};

	for (;;) {
		ssize_t n = read(fd, byte, 1);

		if (n >= 0)
			return (int)n;
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
		if (errno == EAGAIN && poll(&ready, 1, -1) < 0 && errno != EINTR)
			return -errno;
	}
}

int lsc_key_read_line(struct lsc_key *key, int fd, const char *name, struct lsc_err *err)
{
	char line[MAX_LINE];
	size_t len = 0;
	int r;

	do
		r = read_byte(fd, &line[len]);
	while (r > 0 && line[len++] != '\n' && len < sizeof(line));
	if (r < 0)
		lsc_err_set(err, -r, "cannot read a key from %s: %m", name);
	else if (r > 0 && line[len - 1] != '\n')
		r = lsc_err_set(err, EBADMSG, "%s: no key: the line is too long", name);
	else if ((r = lsc_key_parse(key, line, len, err)) < 0)
		lsc_err_prefix(err, "%s: ", name);
	explicit_bzero(line, sizeof(line));
	return r;
}

int lsc_key_draw(struct lsc_key *key, struct lsc_err *err)
{
	if (getrandom(key->secret, sizeof(key->secret), 0) != sizeof(key->secret))
		return lsc_err_set(err, EIO, "cannot draw random bytes: %m");
	lsc_tls_key_id(key->secret, key->id);
	return 0;
}

int lsc_key_line(const struct lsc_key *key, struct lsc_buf *line)
{
	int r = lsc_buf_reserve(line, HEAD_LEN + (size_t)2 * LSC_KEY_BYTES + 1);

	if (r == 0)
		r = lsc_buf_add_str(line, HEAD);
	for (int i = 0; i < LSC_KEY_BYTES && r == 0; i++)
		r = lsc_buf_printf(line, "%02x", key->secret[i]);
	return r == 0 ? lsc_buf_add_str(line, "\n") : r;
}

int lsc_key_write(const struct lsc_key *key, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_key_line_erase) struct lsc_buf line = LSC_BUF_INIT;
	LSC_CLEANUP_FD int fd = -1;
	int r = lsc_key_line(key, &line);

	if (r < 0)
		return lsc_err_set(err, -r, "cannot write key file '%s': %m", path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return lsc_err_set(err, errno, "cannot write key file '%s': %m", path);
	r = fchmod(fd, 0600) < 0 ? -errno : lsc_write_full(fd, line.data, line.len);
	if (r == 0 && fsync(fd) < 0 && errno != EINVAL)
		r = -errno;
	if (r < 0) {
		unlink(path);
		return lsc_err_set(err, -r, "cannot write key file '%s': %m", path);
	}
	return 0;
}

void lsc_key_erase(struct lsc_key *key)
{
	explicit_bzero(key, sizeof(*key));
}
