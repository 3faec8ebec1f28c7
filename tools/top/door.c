/* door - a gate, asked by as much of HTTP as that takes */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "top.h"

#define TIMEOUT_NS 3000000000ull
#define MAX_ANSWER (4u << 20)
#define MAX_KEYS   (1u << 20)

int top_door_parse(struct top_door *door, const char *text, struct lsc_err *err)
{
	char plain[LSC_ENDPOINT_TEXT + 8];
	size_t len;

	if (!strncmp(text, "http://", 7))
		text += 7;
	len = strlen(text);
	len -= len && text[len - 1] == '/';
	if (len >= sizeof(plain))
		return lsc_err_set(err, EINVAL, "'%.40s...' is too long", text);
	memcpy(plain, text, len);
	plain[len] = 0;
	if (lsc_endpoint_parse(&door->at, plain, NULL) < 0 || door->at.kind != LSC_ENDPOINT_TCP ||
	    !door->at.port)
		return lsc_err_set(err, EINVAL, "'%s' is no gate's address: want http://HOST:PORT",
				   text);
	snprintf(door->where, sizeof(door->where), "http://%s", plain);
	return 0;
}

int top_door_key(struct top_door *door, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	int r = lsc_file_read(path, MAX_KEYS, &text, err);
	char *line, *rest = (char *)text.data;

	while (r == 0 && rest && (line = strsep(&rest, "\n"))) {
		size_t len = strcspn(line, "\r \t");

		if (!len || line[0] == '#')
			continue;
		if (len >= sizeof(door->key))
			return lsc_err_set(err, EBADMSG, "'%s': a key is too long", path);
		memcpy(door->key, line, len);
		door->key[len] = 0;
		explicit_bzero(text.data, text.len);
		return 0;
	}
	return r < 0 ? r : lsc_err_set(err, EBADMSG, "'%s' has no key", path);
}

/* --- one question --- */

/* What is left of the time, in seconds; 0: nothing, or a signal wants us to end. */
static double left(uint64_t until)
{
	uint64_t now = lsc_clock_ns();

	return top_signals_end() || now >= until ? 0 : (double)(until - now) / 1e9;
}

static int wait_until(int fd, bool writes, uint64_t until)
{
	double seconds;
	int n = 0;

	while (n == 0 && (seconds = left(until)) > 0)
		n = top_wait(fd, writes, seconds);
	return n < 0 ? n : n == 0 ? -ETIMEDOUT : 0;
}

static int connect_to(const struct addrinfo *to, uint64_t until)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), code, r = 0;
	socklen_t len = sizeof(code);

	if (fd < 0)
		return -errno;
	if (connect(fd, to->ai_addr, to->ai_addrlen) < 0)
		r = errno == EINPROGRESS ? wait_until(fd, true, until) : -errno;
	if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) == 0 && code)
		r = -code;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

static int open_link(const struct top_door *door, uint64_t until, struct lsc_err *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found;
	char port[8];
	int code, fd = -EHOSTUNREACH;

	snprintf(port, sizeof(port), "%u", door->at.port);
	code = getaddrinfo(door->at.name, port, &hints, &found);
	if (code)
		return lsc_err_set(err, EHOSTUNREACH, "%s: %s", door->where, gai_strerror(code));
	for (const struct addrinfo *to = found; to && fd < 0; to = to->ai_next)
		fd = connect_to(to, until);
	freeaddrinfo(found);
	return fd < 0 ? lsc_err_set(err, -fd, "%s: %s", door->where, strerror(-fd)) : fd;
}

static int make_question(const struct top_door *door, const char *path, struct lsc_buf *text)
{
	int r = lsc_buf_printf(text, "GET %s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n", path,
			       door->where + 7);

	if (r == 0 && door->key[0])
		r = lsc_buf_printf(text, "Authorization: Bearer %s\r\n", door->key);
	return r ? r : lsc_buf_add_str(text, "\r\n");
}

static int send_all(int fd, const struct lsc_buf *text, uint64_t until)
{
	for (size_t done = 0; done < text->len;) {
		ssize_t n = send(fd, text->data + done, text->len - done, MSG_NOSIGNAL);
		int r = n < 0 && errno != EAGAIN ? -errno : n < 0 ? wait_until(fd, true, until) : 0;

		if (r < 0)
			return r;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Up to the end of the connection. */
static int read_all(int fd, struct lsc_buf *text, uint64_t until)
{
	char data[16384];
	ssize_t n = 1;
	int r = 0;

	while (r == 0 && n) {
		n = recv(fd, data, sizeof(data), 0);
		if (n < 0)
			r = errno == EAGAIN ? wait_until(fd, false, until) : -errno;
		else
			r = text->len + (size_t)n > MAX_ANSWER ? -EFBIG
							       : lsc_buf_add(text, data, (size_t)n);
	}
	return r;
}

/* The status, and what is behind the head, if all of it came. */
static int take_answer(const struct lsc_buf *text, struct lsc_buf *body)
{
	const char *head = (const char *)text->data, *end = head ? strstr(head, "\r\n\r\n") : NULL;
	const char *length;
	size_t len;

	if (!end || strncmp(head, "HTTP/1.", 7) || strlen(head) < 12)
		return -EPROTO;
	len = text->len - (size_t)(end + 4 - head);
	length = strcasestr(head, "\r\nContent-Length:");
	if (length && length < end && strtoull(length + 17, NULL, 10) != len)
		return -EPROTO;
	if (lsc_buf_add(body, end + 4, len) < 0)
		return -ENOMEM;
	return atoi(head + 9);
}

int top_door_get(const struct top_door *door, const char *path, struct lsc_buf *body,
		 struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT, answer = LSC_BUF_INIT;
	uint64_t until = lsc_clock_ns() + TIMEOUT_NS;
	int r, fd = open_link(door, until, err);

	if (fd < 0)
		return fd;
	body->len = 0;
	if ((r = make_question(door, path, &text)) == 0 && (r = send_all(fd, &text, until)) == 0 &&
	    (r = read_all(fd, &answer, until)) == 0)
		r = take_answer(&answer, body);
	explicit_bzero(text.data, text.len);
	close(fd);
	if (r < 0)
		return lsc_err_set(err, -r, "%s: %s", door->where,
				   r == -EPROTO ? "answers, but no HTTP that is whole"
						: strerror(-r));
	return r;
}
