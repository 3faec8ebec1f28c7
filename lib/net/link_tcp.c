/* link_tcp - links over stream sockets: TCP and Unix
 *
 * With a key, TLS goes over them (link_tls.c).
 *
 * Names are resolved when the link starts, and their addresses tried one after another, until the
 * link's deadline.
 */
#include <assert.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "net/link_ops.h"
#include "net/resolve.h"
#include "net/tls.h"

#define KEEPALIVE_IDLE_S     10
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES     3
#define USER_TIMEOUT_MS      30000 /* for bytes that are not acknowledged */
#define BACKLOG              256
#define ACCEPT_PAUSE_NS      100000000 /* while we are out of descriptors */

/* What a socket is set to is for speed or for noticing a dead peer: one that refuses a setting
 * works as well without it. */
static void set_option(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof(value));
}

static void configure(int fd, bool tcp, uint64_t unsent_bytes)
{
	if (!tcp)
		return;
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
	if (unsent_bytes)
		set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, LSC_MIN(unsent_bytes, 1u << 30));
}

static int fill_unix(struct sockaddr_un *address, const char *path, struct lsc_err *err)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address->sun_path))
		return lsc_err_set(err, EINVAL, "socket path '%s' is longer than %zu bytes", path,
				   sizeof(address->sun_path) - 1);
	strcpy(address->sun_path, path);
	return 0;
}

/* "10.0.0.2:7000", "[fe80::1]:7000" */
static void write_address(const struct sockaddr_storage *address, socklen_t len, char *text,
			  size_t size)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (address->ss_family == AF_UNIX)
		snprintf(text, size, "unix:%s",
			 len > offsetof(struct sockaddr_un, sun_path)
				 ? ((const struct sockaddr_un *)address)->sun_path
				 : "");
	else if (getnameinfo((const struct sockaddr *)address, len, host, sizeof(host), port,
			     sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(text, size, "?");
	else
		snprintf(text, size, strchr(host, ':') ? "[%.200s]:%s" : "%.200s:%s", host, port);
}

/* --- moving bytes --- */

static ssize_t tcp_readv(struct lsc_link *link, const struct iovec *iov, int n)
{
	ssize_t got;

	if (link->tls)
		return lsc_tls_readv(link->tls, iov, n);
	do
		got = readv(link->fd, iov, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static ssize_t send_memory(struct lsc_link *link, const struct iovec *iov, int n, int flags)
{
	struct msghdr message = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
	ssize_t put;

	if (link->tls)
		return lsc_link_tls_writev(link, iov, n);
	do
		put = sendmsg(link->fd, &message, MSG_NOSIGNAL | flags);
	while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : put;
}

static ssize_t tcp_writev(struct lsc_link *link, const struct iovec *iov, int n)
{
	return send_memory(link, iov, n, 0);
}

/* sendfile() knows no MSG_NOSIGNAL: a SIGPIPE of its own is kept from the program and taken back.
 */
static ssize_t send_file(struct lsc_link *link, int fd, uint64_t offset, size_t len)
{
	const struct timespec at_once = {0, 0};
	off_t at = (off_t)offset;
	sigset_t pipe, before;
	ssize_t put;
	int code;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, &before);
	do
		put = sendfile(link->fd, fd, &at, len);
	while (put < 0 && errno == EINTR);
	code = errno;
	if (put < 0 && code == EPIPE && !sigismember(&before, SIGPIPE))
		sigtimedwait(&pipe, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return put < 0 ? -code : put;
}

/* The pages of the file go out as they lie (tests/bench/results/path.md).  MSG_MORE: the record in
 * front makes no packet of its own. */
static ssize_t tcp_sendfile(struct lsc_link *link, const struct iovec *iov, int n, int fd,
			    uint64_t offset, size_t len)
{
	ssize_t put = 0, sent;
	size_t whole = 0;

	for (int i = 0; i < n; i++)
		whole += iov[i].iov_len;
	if (whole)
		put = send_memory(link, iov, n, MSG_MORE);
	if (put < 0 || (size_t)put < whole)
		return put;
	sent = send_file(link, fd, offset, len);
	if (sent > 0)
		return put + sent;
	return put ? put : sent; /* the next call will say it again */
}

static void tcp_want_write(struct lsc_link *link, bool want)
{
	(void)want; /* write_wanted says it */
	lsc_link_watch(link);
}

static void tcp_shut(struct lsc_link *link)
{
	if (link->tls)
		lsc_link_tls_shut(link);
	else
		shutdown(link->fd, SHUT_WR);
}

static const char *tcp_why(const struct lsc_link *link)
{
	return link->tls ? lsc_tls_why(link->tls) : NULL;
}

static void tcp_read_on(struct lsc_link *link)
{
	if (link->tls)
		lsc_link_tls_read_on(link);
}

static void drop_socket(struct lsc_link *link)
{
	lsc_watch_remove(link->watch);
	link->watch = NULL;
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
}

static void tcp_close(struct lsc_link *link)
{
	if (link->tls)
		lsc_link_tls_close(link);
	drop_socket(link);
	lsc_resolve_stop(link->resolve);
	link->resolve = NULL;
	if (link->addresses)
		freeaddrinfo(link->addresses);
	link->addresses = link->next_address = NULL;
}

static void on_socket(void *data, uint32_t events)
{
	struct lsc_link *link = data;
	int room = events & EPOLLOUT ? 1 : 0;

	if (link->securing) {
		lsc_link_secure_on(link);
		return;
	}
	if (link->tls && room)
		room = lsc_link_tls_flush(link);
	lsc_link_ready(link, room < 0 || events & EPOLLIN, room > 0);
}

/* --- connecting --- */

static void cannot_connect(struct lsc_link *link, int code)
{
	struct lsc_err err = LSC_ERR_INIT;

	lsc_err_set(&err, code, "cannot connect to '%s': %m", link->peer);
	lsc_link_fail(link, &err);
}

static void up(struct lsc_link *link)
{
	configure(link->fd, link->endpoint.kind == LSC_ENDPOINT_TCP, link->unsent_bytes);
	if (link->key)
		lsc_link_secure(link);
	else
		lsc_link_up(link);
}

static void try_addresses(struct lsc_link *link, int code);

static void on_connected(void *data, uint32_t events)
{
	struct lsc_link *link = data;
	int code = 0, fd = link->fd, r;
	socklen_t len = sizeof(code);

	(void)events;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	if (code) {
		drop_socket(link);
		try_addresses(link, code);
		return;
	}
	lsc_watch_remove(link->watch);
	link->watch = NULL;
	r = lsc_loop_watch(link->loop, fd, EPOLLIN, on_socket, link, &link->watch, NULL);
	if (r < 0)
		cannot_connect(link, -r);
	else
		up(link);
}

/* Starts connecting to one address: 0, or negative errno. */
static int try_one(struct lsc_link *link, const struct sockaddr *address, socklen_t len)
{
	int r;

	link->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (link->fd < 0)
		return -errno;
	if (connect(link->fd, address, len) < 0 && errno != EINPROGRESS)
		r = -errno;
	else
		r = lsc_loop_watch(link->loop, link->fd, EPOLLOUT, on_connected, link, &link->watch,
				   NULL);
	if (r < 0)
		drop_socket(link);
	return r;
}

/* code: why the address before did not do. */
static void try_addresses(struct lsc_link *link, int code)
{
	while (link->next_address) {
		const struct addrinfo *a = link->next_address;
		int r;

		link->next_address = a->ai_next;
		r = try_one(link, a->ai_addr, a->ai_addrlen);
		if (r == 0)
			return;
		code = -r;
	}
	cannot_connect(link, code);
}

static void try_list(struct lsc_link *link, struct addrinfo *list)
{
	link->addresses = link->next_address = list;
	try_addresses(link, EHOSTUNREACH);
}

static void on_resolved(void *data, int result, struct addrinfo *list, const struct lsc_err *err)
{
	struct lsc_link *link = data;
	struct lsc_err copy = *err; /* which goes with the resolve */

	lsc_resolve_stop(link->resolve);
	link->resolve = NULL;
	if (result < 0)
		lsc_link_fail(link, &copy);
	else
		try_list(link, list);
}

static int start_unix(struct lsc_link *link, struct lsc_err *err)
{
	struct sockaddr_un address;
	int r = fill_unix(&address, link->endpoint.name, err);

	if (r < 0)
		return r;
	r = try_one(link, (struct sockaddr *)&address, sizeof(address));
	return r < 0 ? lsc_err_set(err, -r, "cannot connect to '%s': %m", link->peer) : 0;
}

static void tcp_start(struct lsc_link *link)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct addrinfo *list = NULL;
	int r;

	if (link->endpoint.kind == LSC_ENDPOINT_UNIX)
		r = start_unix(link, &err);
	else
		r = lsc_resolve_start(&link->resolve, link->loop, &link->endpoint, on_resolved,
				      link, &list, &err);
	if (r < 0)
		lsc_link_fail(link, &err);
	else if (list)
		try_list(link, list);
}

/* --- listening --- */

struct tcp_listener {
	struct lsc_listener base;
	int fd;
	char *path; /* of a Unix socket, to be unlinked */
	struct lsc_watch *watch;
	struct lsc_timer *pause;
};

/* Who came is given a link, or is gone again. */
static void welcome(struct tcp_listener *listener, int fd, const struct sockaddr_storage *address,
		    socklen_t len)
{
	struct lsc_link *link = lsc_listener_link(&listener->base);

	if (!link) {
		close(fd);
		return;
	}
	link->fd = fd;
	write_address(address, len, link->peer, sizeof(link->peer));
	configure(fd, address->ss_family != AF_UNIX, link->unsent_bytes);
	if (lsc_loop_watch(link->loop, fd, EPOLLIN, on_socket, link, &link->watch, NULL) < 0)
		lsc_link_close(link);
	else
		lsc_listener_take(&listener->base, link);
}

static void on_accept(void *data, uint32_t events)
{
	struct tcp_listener *listener = data;
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);
	int fd = accept4(listener->fd, (struct sockaddr *)&address, &len,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0) {
		welcome(listener, fd, &address, len);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
		lsc_watch_modify(listener->watch, 0);
		lsc_timer_arm(listener->pause, ACCEPT_PAUSE_NS);
	}
}

static void on_pause_over(void *data)
{
	struct tcp_listener *listener = data;

	lsc_watch_modify(listener->watch, EPOLLIN);
}

/* A socket file that nobody listens at any more is in the way of its next owner. */
static bool is_stale(const struct sockaddr_un *address)
{
	LSC_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
	       errno == ECONNREFUSED;
}

static int bind_unix(struct tcp_listener *listener, const char *path, struct lsc_err *err)
{
	struct sockaddr_un address;
	int r = fill_unix(&address, path, err);

	if (r < 0)
		return r;
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener->fd < 0)
		return lsc_err_set(err, errno, "cannot make a socket: %m");
	r = bind(listener->fd, (struct sockaddr *)&address, sizeof(address));
	if (r < 0 && errno == EADDRINUSE && is_stale(&address)) {
		unlink(path);
		r = bind(listener->fd, (struct sockaddr *)&address, sizeof(address));
	}
	if (r < 0 || listen(listener->fd, BACKLOG) < 0)
		return lsc_err_set(err, errno, "cannot listen at 'unix:%s': %m", path);
	listener->path = strdup(path);
	if (!listener->path)
		return lsc_err_set(err, ENOMEM, "cannot listen at 'unix:%s': %m", path);
	return 0;
}

static int bind_tcp(struct tcp_listener *listener, const struct lsc_endpoint *at,
		    struct lsc_err *err)
{
	struct addrinfo *list;
	int code = EADDRNOTAVAIL, r = lsc_resolve_now(at, AI_PASSIVE, &list, err);

	if (r < 0)
		return r;
	for (struct addrinfo *a = list; a && listener->fd < 0; a = a->ai_next) {
		int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		if (fd >= 0)
			set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
		if (fd < 0 || bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
			code = errno;
			if (fd >= 0)
				close(fd);
			continue;
		}
		listener->fd = fd;
	}
	freeaddrinfo(list);
	if (listener->fd < 0)
		return lsc_err_set(err, code, "cannot listen at '%s:%u': %m", at->name, at->port);
	return 0;
}

static void tcp_unlisten(struct lsc_listener *base)
{
	struct tcp_listener *listener = LSC_CONTAINER_OF(base, struct tcp_listener, base);

	lsc_watch_remove(listener->watch);
	lsc_timer_free(listener->pause);
	if (listener->fd >= 0)
		close(listener->fd);
	if (listener->path)
		unlink(listener->path);
	free(listener->path);
	free(listener);
}

static int tcp_listen(struct lsc_listener **ret_listener, struct lsc_loop *loop,
		      const struct lsc_endpoint *at, struct lsc_err *err)
{
	struct tcp_listener *listener = calloc(1, sizeof(*listener));
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);
	int r;

	if (!listener)
		return lsc_err_set(err, ENOMEM, "cannot listen: %m");
	listener->fd = -1;
	r = at->kind == LSC_ENDPOINT_UNIX ? bind_unix(listener, at->name, err)
					  : bind_tcp(listener, at, err);
	if (r < 0)
		goto fail;
	r = lsc_timer_new(loop, on_pause_over, listener, &listener->pause, err);
	if (r < 0)
		goto fail;
	r = lsc_loop_watch(loop, listener->fd, EPOLLIN, on_accept, listener, &listener->watch, err);
	if (r < 0)
		goto fail;
	if (getsockname(listener->fd, (struct sockaddr *)&address, &len) < 0) {
		r = lsc_err_set(err, errno, "cannot name a socket: %m");
		goto fail;
	}
	write_address(&address, len, listener->base.address, sizeof(listener->base.address));
	*ret_listener = &listener->base;
	return 0;
fail:
	tcp_unlisten(&listener->base);
	return r;
}

const struct lsc_link_ops lsc_link_tcp_ops = {
	.name = "tcp",
	.start = tcp_start,
	.readv = tcp_readv,
	.writev = tcp_writev,
	.sendfile = tcp_sendfile,
	.want_write = tcp_want_write,
	.shut = tcp_shut,
	.close = tcp_close,
	.why = tcp_why,
	.read_on = tcp_read_on,
	.listen = tcp_listen,
	.unlisten = tcp_unlisten,
};
