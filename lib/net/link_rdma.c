/* link_rdma - links over RDMA: connections by librdmacm; what goes over them is rdma_pair.c's
 *
 * Each link has its own channel of events, so that it does not depend on who accepted it.  Names
 * are resolved as for TCP, and their addresses tried one after another.
 *
 * A connection that ends, by its owner's will or his death, is the end of a stream to the other
 * end: as with a socket, what had come whole is read first.
 */
#ifdef LSC_HAVE_RDMA
#include <errno.h>
#include <fcntl.h>
#include <rdma/rdma_cma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/macros.h"
#include "net/link_ops.h"
#include "net/rdma_pair.h"
#include "net/resolve.h"

#define DOOR       "/dev/infiniband/rdma_cm"
#define RESOLVE_MS 2000 /* for one address, and then for the way to it */
#define RETRIES    7    /* the most there are */
#define BACKLOG    256

struct lsc_rdma_end {
	struct rdma_event_channel *channel;
	struct rdma_cm_id *id;
	struct lsc_watch *watch;
	struct lsc_rdma_pair *pair;
	bool connected;
};

static int find_device(struct lsc_err *err)
{
	struct ibv_device **list;
	int n = 0;

	if (access(DOOR, R_OK | W_OK) < 0)
		return lsc_err_set(err, ENODEV, "rdma: no device (%s: %s)", DOOR, strerror(errno));
	list = ibv_get_device_list(&n);
	if (list)
		ibv_free_device_list(list);
	return n > 0 ? 0 : lsc_err_set(err, ENODEV, "rdma: no device");
}

/* What the library would say on standard error itself, we say where it belongs. */
static int open_channel(struct rdma_event_channel **ret_channel, struct lsc_err *err)
{
	struct rdma_event_channel *channel;
	int flags, r = find_device(err);

	if (r < 0)
		return r;
	channel = rdma_create_event_channel();
	if (!channel)
		return lsc_err_set(err, errno ? errno : ENODEV, "rdma: no device: %m");
	flags = fcntl(channel->fd, F_GETFL);
	if (flags < 0 || fcntl(channel->fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		lsc_err_set(err, errno, "no channel of events: %m");
		rdma_destroy_event_channel(channel);
		return -err->code;
	}
	*ret_channel = channel;
	return 0;
}

/* --- life --- */

static void drop_connection(struct lsc_rdma_end *end)
{
	if (end->id && end->connected)
		rdma_disconnect(end->id);
	end->connected = false;
	lsc_rdma_pair_free(end->pair);
	end->pair = NULL;
	if (end->id)
		rdma_destroy_id(end->id);
	end->id = NULL;
}

static void rdma_close(struct lsc_link *link)
{
	struct lsc_rdma_end *end = link->rdma;

	lsc_resolve_stop(link->resolve);
	link->resolve = NULL;
	if (link->addresses)
		freeaddrinfo(link->addresses);
	link->addresses = link->next_address = NULL;
	if (!end)
		return;
	link->rdma = NULL;
	lsc_watch_remove(end->watch);
	drop_connection(end);
	if (end->channel)
		rdma_destroy_event_channel(end->channel);
	free(end);
}

static void on_events(void *data, uint32_t events);

static int new_end(struct lsc_link *link, struct lsc_err *err)
{
	struct lsc_rdma_end *end = calloc(1, sizeof(*end));
	int r;

	if (!end)
		return lsc_err_set(err, ENOMEM, "no memory: %m");
	link->rdma = end;
	r = open_channel(&end->channel, err);
	if (r < 0)
		return r;
	return lsc_loop_watch(link->loop, end->channel->fd, EPOLLIN, on_events, link, &end->watch,
			      err);
}

/* --- connecting --- */

static void cannot_connect(struct lsc_link *link, const struct lsc_err *why)
{
	struct lsc_err err = LSC_ERR_INIT;

	lsc_err_set(&err, why->code, "cannot connect to '%s': %s", link->peer, why->text);
	lsc_link_fail(link, &err);
}

/* Begins with the next address, or gives up for why the one before did not do. */
static void try_next(struct lsc_link *link, const struct lsc_err *why)
{
	struct lsc_rdma_end *end = link->rdma;
	struct lsc_err err = *why;

	drop_connection(end);
	while (link->next_address) {
		const struct addrinfo *a = link->next_address;

		link->next_address = a->ai_next;
		if (rdma_create_id(end->channel, &end->id, link, RDMA_PS_TCP) == 0 &&
		    rdma_resolve_addr(end->id, NULL, a->ai_addr, RESOLVE_MS) == 0)
			return;
		lsc_err_set(&err, errno, "%m");
		drop_connection(end);
	}
	cannot_connect(link, &err);
}

static void fill_terms(const struct lsc_rdma_pair *pair, struct rdma_conn_param *param,
		       uint8_t terms[LSC_RDMA_TERMS_BYTES])
{
	lsc_rdma_pair_terms(pair, terms);
	*param = (struct rdma_conn_param){
		.private_data = terms,
		.private_data_len = LSC_RDMA_TERMS_BYTES,
		.responder_resources = 1,
		.initiator_depth = 1,
		.retry_count = RETRIES,
		.rnr_retry_count = RETRIES,
	};
}

static int connect_pair(struct lsc_link *link, struct lsc_err *err)
{
	struct lsc_rdma_end *end = link->rdma;
	uint8_t terms[LSC_RDMA_TERMS_BYTES];
	struct rdma_conn_param param;
	int r = lsc_rdma_pair_new(&end->pair, link, end->id, err);

	if (r < 0)
		return r;
	fill_terms(end->pair, &param, terms);
	return rdma_connect(end->id, &param) < 0 ? lsc_err_set(err, errno, "%m") : 0;
}

/* --- events --- */

/* What is kept of an event, which is given back before it is acted upon. */
struct event {
	enum rdma_cm_event_type type;
	int status;
	struct rdma_cm_id *id;
	uint8_t terms[LSC_RDMA_TERMS_BYTES];
	size_t terms_len;
};

static bool next_event(struct rdma_event_channel *channel, struct event *ret)
{
	struct rdma_cm_event *event;

	if (rdma_get_cm_event(channel, &event) < 0)
		return false;
	ret->type = event->event;
	ret->status = event->status;
	ret->id = event->id;
	ret->terms_len = 0;
	if ((event->event == RDMA_CM_EVENT_CONNECT_REQUEST ||
	     event->event == RDMA_CM_EVENT_ESTABLISHED) &&
	    event->param.conn.private_data) {
		ret->terms_len =
			LSC_MIN((size_t)event->param.conn.private_data_len, sizeof(ret->terms));
		memcpy(ret->terms, event->param.conn.private_data, ret->terms_len);
	}
	rdma_ack_cm_event(event);
	return true;
}

static int established(struct lsc_link *link, const struct event *event, struct lsc_err *err)
{
	struct lsc_rdma_end *end = link->rdma;
	int r = 0;

	if (end->connected)
		return 0;
	end->connected = true;
	if (!link->accepted)
		r = lsc_rdma_pair_take_terms(end->pair, event->terms, event->terms_len, err);
	if (r < 0)
		return r;
	lsc_rdma_pair_up(end->pair);
	if (link->accepted) /* its hello waits for this */
		lsc_rdma_pair_read_on(end->pair);
	else
		lsc_link_up(link);
	return 0;
}

/* 0, or negative errno with words where this address does not do. */
static int take_event(struct lsc_link *link, const struct event *event, struct lsc_err *err)
{
	struct lsc_rdma_end *end = link->rdma;

	switch (event->type) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		return rdma_resolve_route(end->id, RESOLVE_MS) < 0 ? lsc_err_set(err, errno, "%m")
								   : 0;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		return connect_pair(link, err);
	case RDMA_CM_EVENT_ESTABLISHED:
		return established(link, event, err);
	case RDMA_CM_EVENT_ADDR_ERROR:
		return lsc_err_set(err, ENODEV, "no RDMA device leads there");
	case RDMA_CM_EVENT_ROUTE_ERROR:
		return lsc_err_set(err, EHOSTUNREACH, "%m");
	case RDMA_CM_EVENT_UNREACHABLE:
		return lsc_err_set(err, ETIMEDOUT, "%m");
	case RDMA_CM_EVENT_REJECTED:
		return lsc_err_set(err, ECONNREFUSED, "%m");
	case RDMA_CM_EVENT_CONNECT_ERROR:
		return lsc_err_set(err, ECONNABORTED, "%m");
	case RDMA_CM_EVENT_DISCONNECTED:
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		if (end->pair)
			lsc_rdma_pair_gone(end->pair);
		return 0;
	default:
		return 0;
	}
}

static void on_events(void *data, uint32_t events)
{
	struct lsc_link *link = data;
	struct lsc_rdma_end *end = link->rdma;
	struct lsc_err err = LSC_ERR_INIT;
	struct event event;

	(void)events;
	if (!next_event(end->channel, &event) || event.id != end->id)
		return;
	if (take_event(link, &event, &err) == 0)
		return;
	if (link->state == LSC_LINK_CONNECTING)
		try_next(link, &err);
	else if (end->pair)
		lsc_rdma_pair_gone(end->pair);
}

static void try_list(struct lsc_link *link, struct addrinfo *list)
{
	struct lsc_err none = LSC_ERR_INIT;

	lsc_err_set(&none, EHOSTUNREACH, "%m");
	link->addresses = link->next_address = list;
	try_next(link, &none);
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

static void rdma_start(struct lsc_link *link)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct addrinfo *list = NULL;

	if (link->resolve || link->rdma)
		return;
	if (new_end(link, &err) < 0)
		cannot_connect(link, &err);
	else if (lsc_resolve_start(&link->resolve, link->loop, &link->endpoint, on_resolved, link,
				   &list, &err) < 0)
		lsc_link_fail(link, &err);
	else if (list)
		try_list(link, list);
}

/* --- moving bytes --- */

static ssize_t rdma_readv(struct lsc_link *link, const struct iovec *iov, int n)
{
	return lsc_rdma_pair_readv(link->rdma->pair, iov, n);
}

static ssize_t rdma_writev(struct lsc_link *link, const struct iovec *iov, int n)
{
	return lsc_rdma_pair_writev(link->rdma->pair, iov, n);
}

static ssize_t rdma_sendfile(struct lsc_link *link, const struct iovec *iov, int n, int fd,
			     uint64_t offset, size_t len)
{
	return lsc_rdma_pair_sendfile(link->rdma->pair, iov, n, fd, offset, len);
}

static ssize_t rdma_mark(struct lsc_link *link, const void *record,
			 const struct lsc_link_send *send)
{
	const struct lsc_rdma_body body = {send->body, send->body_len, send->fd, send->offset};

	return lsc_rdma_pair_mark(link->rdma->pair, record, send->record_len, &body);
}

static ssize_t rdma_move(struct lsc_link *link, size_t limit)
{
	return lsc_rdma_pair_move(link->rdma->pair, limit);
}

static size_t rdma_flown(struct lsc_link *link)
{
	return lsc_rdma_pair_flown(link->rdma->pair);
}

static int rdma_own(struct lsc_link *link, const void *copy)
{
	return lsc_rdma_pair_own(link->rdma->pair, copy);
}

static bool rdma_place(struct lsc_link *link, void *body, uint32_t len)
{
	return lsc_rdma_pair_place(link->rdma->pair, body, len);
}

static int rdma_placed(struct lsc_link *link, uint32_t *ret_left)
{
	return lsc_rdma_pair_placed(link->rdma->pair, ret_left);
}

static void rdma_skip(struct lsc_link *link)
{
	lsc_rdma_pair_skip(link->rdma->pair);
}

/* Completions and credits that come say it. */
static void rdma_want_write(struct lsc_link *link, bool want)
{
	(void)link;
	(void)want;
}

static void rdma_shut(struct lsc_link *link)
{
	lsc_rdma_pair_shut(link->rdma->pair);
}

static const char *rdma_why(const struct lsc_link *link)
{
	return lsc_rdma_pair_why(link->rdma->pair);
}

static void rdma_read_on(struct lsc_link *link)
{
	lsc_rdma_pair_read_on(link->rdma->pair);
}

/* --- listening --- */

struct rdma_listener {
	struct lsc_listener base;
	struct rdma_event_channel *channel;
	struct rdma_cm_id *id;
	struct lsc_watch *watch;
};

/* "rdma://10.0.0.1:7000" */
static void write_address(const struct sockaddr *address, char *text, size_t size)
{
	socklen_t len = address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						       : sizeof(struct sockaddr_in);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getnameinfo(address, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(text, size, "?");
	else
		snprintf(text, size, strchr(host, ':') ? "rdma://[%.200s]:%s" : "rdma://%.200s:%s",
			 host, port);
}

static int accept_pair(struct lsc_link *link, const struct event *event, struct lsc_err *err)
{
	struct lsc_rdma_end *end = link->rdma;
	uint8_t terms[LSC_RDMA_TERMS_BYTES];
	struct rdma_conn_param param;
	int r = rdma_migrate_id(end->id, end->channel) < 0 ? lsc_err_set(err, errno, "%m") : 0;

	if (r == 0)
		r = lsc_rdma_pair_new(&end->pair, link, end->id, err);
	if (r == 0)
		r = lsc_rdma_pair_take_terms(end->pair, event->terms, event->terms_len, err);
	if (r < 0)
		return r;
	fill_terms(end->pair, &param, terms);
	return rdma_accept(end->id, &param) < 0 ? lsc_err_set(err, errno, "%m") : 0;
}

/* Where there is a key, only who can prove something is let in: 0, or negative errno. */
static int guard(const struct rdma_listener *listener, struct lsc_link *link, struct lsc_err *err)
{
	if (!listener->base.options.key)
		return 0;
	if (!link->find_proof || !link->find_proof(link->find_data, NULL))
		return lsc_err_set(err, EKEYREJECTED, "takes no cleartext data");
	return lsc_link_ask_proof(link, err);
}

static void welcome(struct rdma_listener *listener, const struct event *event)
{
	struct lsc_link *link = lsc_listener_link(&listener->base);
	struct lsc_err err = LSC_ERR_INIT;

	if (!link || new_end(link, &err) < 0) {
		rdma_reject(event->id, NULL, 0);
		rdma_destroy_id(event->id);
		lsc_link_close(link);
		return;
	}
	link->rdma->id = event->id;
	event->id->context = link;
	write_address(rdma_get_peer_addr(event->id), link->peer, sizeof(link->peer));
	if (guard(listener, link, &err) == 0 && accept_pair(link, event, &err) == 0) {
		lsc_listener_take(&listener->base, link);
		return;
	}
	rdma_reject(event->id, NULL, 0);
	lsc_link_close(link);
}

static void on_request(void *data, uint32_t events)
{
	struct rdma_listener *listener = data;
	struct event event;

	(void)events;
	if (next_event(listener->channel, &event) && event.type == RDMA_CM_EVENT_CONNECT_REQUEST)
		welcome(listener, &event);
}

static void rdma_unlisten(struct lsc_listener *base)
{
	struct rdma_listener *listener = LSC_CONTAINER_OF(base, struct rdma_listener, base);

	lsc_watch_remove(listener->watch);
	if (listener->id)
		rdma_destroy_id(listener->id);
	if (listener->channel)
		rdma_destroy_event_channel(listener->channel);
	free(listener);
}

static int bind_rdma(struct rdma_listener *listener, const struct lsc_endpoint *at,
		     struct lsc_err *err)
{
	struct addrinfo *list;
	int code = EADDRNOTAVAIL, r = lsc_resolve_now(at, AI_PASSIVE, &list, err);

	if (r < 0)
		return r;
	for (struct addrinfo *a = list; a && !listener->id; a = a->ai_next) {
		struct rdma_cm_id *id = NULL;

		if (rdma_create_id(listener->channel, &id, listener, RDMA_PS_TCP) == 0 &&
		    rdma_bind_addr(id, a->ai_addr) == 0 && rdma_listen(id, BACKLOG) == 0) {
			listener->id = id;
			break;
		}
		code = errno;
		if (id)
			rdma_destroy_id(id);
	}
	freeaddrinfo(list);
	if (!listener->id)
		return lsc_err_set(err, code, "cannot listen at 'rdma://%s:%u': %m", at->name,
				   at->port);
	write_address(rdma_get_local_addr(listener->id), listener->base.address,
		      sizeof(listener->base.address));
	return 0;
}

static int rdma_listen_at(struct lsc_listener **ret_listener, struct lsc_loop *loop,
			  const struct lsc_endpoint *at, struct lsc_err *err)
{
	struct rdma_listener *listener = calloc(1, sizeof(*listener));
	int r;

	if (!listener)
		return lsc_err_set(err, ENOMEM, "cannot listen: %m");
	r = open_channel(&listener->channel, err);
	if (r == 0)
		r = bind_rdma(listener, at, err);
	if (r == 0)
		r = lsc_loop_watch(loop, listener->channel->fd, EPOLLIN, on_request, listener,
				   &listener->watch, err);
	if (r < 0)
		rdma_unlisten(&listener->base);
	else
		*ret_listener = &listener->base;
	return r;
}

const struct lsc_link_ops lsc_link_rdma_ops = {
	.name = "rdma",
	.plain = true,
	.start = rdma_start,
	.readv = rdma_readv,
	.writev = rdma_writev,
	.sendfile = rdma_sendfile,
	.want_write = rdma_want_write,
	.shut = rdma_shut,
	.close = rdma_close,
	.why = rdma_why,
	.read_on = rdma_read_on,
	.mark = rdma_mark,
	.move = rdma_move,
	.flown = rdma_flown,
	.own = rdma_own,
	.place = rdma_place,
	.placed = rdma_placed,
	.skip = rdma_skip,
	.find_device = find_device,
	.listen = rdma_listen_at,
	.unlisten = rdma_unlisten,
};
#endif
