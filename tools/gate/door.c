/* door - where clients come in: a listening socket for HTTP */
#include "door.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/resolve.h"

#define BACKLOG    1024
#define SEND_BYTES (128 << 10) /* in the kernel, for a client that does not read */

int gate_door_parse(const char *text, struct lsc_endpoint *ret_at, struct lsc_err *err)
{
	int r = lsc_endpoint_parse(ret_at, text, err);

	if (r == 0 && ret_at->kind != LSC_ENDPOINT_TCP)
		r = lsc_err_set(err, EINVAL, "'%s' is no address for HTTP: want HOST:PORT", text);
	return r;
}

static int listen_at(const struct addrinfo *a)
{
	const int yes = 1, bytes = SEND_BYTES;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	close(fd);
	return -errno;
}

static int name_it(int fd, char *address, size_t size, struct lsc_err *err)
{
	struct sockaddr_storage at = {0};
	socklen_t len = sizeof(at);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getsockname(fd, (struct sockaddr *)&at, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&at, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return lsc_err_set(err, EIO, "cannot name a socket");
	snprintf(address, size, strchr(host, ':') ? "[%.200s]:%s" : "%.200s:%s", host, port);
	return 0;
}

int gate_door_open(const char *text, int *ret_fd, char *ret_address, size_t size,
		   struct lsc_err *err)
{
	struct lsc_endpoint at;
	struct addrinfo *list;
	int fd = -EADDRNOTAVAIL, r = gate_door_parse(text, &at, err);

	if (r == 0)
		r = lsc_resolve_now(&at, AI_PASSIVE, &list, err);
	if (r < 0)
		return r;
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
		fd = listen_at(a);
	freeaddrinfo(list);
	if (fd < 0)
		return lsc_err_set(err, -fd, "cannot listen at '%s': %m", text);
	*ret_fd = fd;
	return name_it(fd, ret_address, size, err);
}
