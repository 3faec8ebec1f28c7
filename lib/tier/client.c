/* client - a connection that is never waited for */
#include "tier/client.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"

#define MAX_OUTGOING 4096

struct lsc_outgoing {
	struct lsc_pack pack;
	int fds[LSC_PACKET_MAX_FDS];
	unsigned n_fds;
	struct lsc_outgoing *next;
};

static void outgoing_free(struct lsc_outgoing *out)
{
	for (unsigned i = 0; i < out->n_fds; i++)
		close(out->fds[i]);
	lsc_pack_release(&out->pack);
	free(out);
}

static void leave(struct lsc_client *client, const char *why)
{
	if (!client->gone)
		lsc_info("a client of process %d is let go: %s", (int)client->peer.pid, why);
	client->gone = true;
	shutdown(client->fd, SHUT_RDWR); /* which wakes whoever looks at it, us */
}

static void listen_for(struct lsc_client *client)
{
	/* Who does not read its answers is asked for no more questions. */
	lsc_watch_modify(client->watch, client->first ? EPOLLOUT : client->deaf ? 0 : EPOLLIN);
}

void lsc_client_listen(struct lsc_client *client, bool listen)
{
	client->deaf = !listen;
	listen_for(client);
}

/* --- sending --- */

static void queue(struct lsc_client *client, const int *fds, unsigned n_fds)
{
	struct lsc_outgoing *out = NULL;

	if (client->n_outgoing < MAX_OUTGOING)
		out = calloc(1, sizeof(*out));
	if (!out || lsc_buf_add(&out->pack.buf, client->pack.buf.data, client->pack.buf.len) < 0) {
		free(out);
		leave(client, "it does not read");
		return;
	}
	for (unsigned i = 0; i < n_fds; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			outgoing_free(out);
			leave(client, "no more descriptors");
			return;
		}
		out->fds[out->n_fds++] = fd;
	}
	*client->last = out;
	client->last = &out->next;
	client->n_outgoing++;
	listen_for(client);
}

void lsc_client_send(struct lsc_client *client, const int *fds, unsigned n_fds)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r = -EAGAIN;

	if (client->gone)
		return;
	if (!client->first)
		r = lsc_packet_send(client->fd, &client->pack, fds, n_fds, &err);
	if (r == -EAGAIN)
		queue(client, fds, n_fds);
	else if (r < 0)
		leave(client, err.text);
}

static void flush(struct lsc_client *client)
{
	struct lsc_err err = LSC_ERR_INIT;

	while (client->first && !client->gone) {
		struct lsc_outgoing *out = client->first;
		int r = lsc_packet_send(client->fd, &out->pack, out->fds, out->n_fds, &err);

		if (r == -EAGAIN)
			return;
		if (r < 0)
			leave(client, err.text);
		client->first = out->next;
		client->n_outgoing--;
		outgoing_free(out);
	}
	if (!client->first)
		client->last = &client->first;
	listen_for(client);
}

void lsc_client_fail(struct lsc_client *client, const struct lsc_err *err)
{
	lsc_pack_begin(&client->pack, "failed");
	lsc_pack_uint(&client->pack, "code", (uint64_t)err->code);
	lsc_pack_strn(&client->pack, "why", err->text, strnlen(err->text, 399));
	lsc_pack_end(&client->pack);
	lsc_client_send(client, NULL, 0);
}

/* --- the whole --- */

static void on_event(void *data, uint32_t events)
{
	struct lsc_client *client = data;

	if (events & EPOLLOUT)
		flush(client);
	if (events & EPOLLIN)
		client->fn(client);
}

int lsc_client_new(struct lsc_client **ret_client, struct lsc_loop *loop, int fd,
		   void (*fn)(struct lsc_client *client), void *server, struct lsc_err *err)
{
	struct lsc_client *client = calloc(1, sizeof(*client));
	int r;

	if (!client) {
		close(fd);
		return lsc_err_set(err, ENOMEM, "no memory for a client");
	}
	*client = (struct lsc_client){.fd = fd, .fn = fn, .server = server};
	client->last = &client->first;
	r = lsc_peer_of(&client->peer, fd, err);
	if (r == 0)
		r = lsc_loop_watch(loop, fd, EPOLLIN, on_event, client, &client->watch, err);
	if (r < 0) {
		lsc_client_free(client);
		return r;
	}
	*ret_client = client;
	return 0;
}

void lsc_client_free(struct lsc_client *client)
{
	struct lsc_outgoing *out;

	if (!client)
		return;
	lsc_watch_remove(client->watch);
	while ((out = client->first)) {
		client->first = out->next;
		outgoing_free(out);
	}
	if (client->fd >= 0)
		close(client->fd);
	lsc_packet_release(&client->packet);
	lsc_pack_release(&client->pack);
	free(client);
}
