/* server - who connects to a tier: hellos, requests one after another, and those that wait */
#include "tier/server.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/macros.h"
#include "tier/server_own.h"

#define RETRY_NS    200000000ull /* not all that one may wait for is an event */
#define MAX_CLIENTS 4096
#define MAX_OF_USER 256

static int greet(struct lsc_client *client, struct lsc_err *err)
{
	int r = lsc_record_hello(&client->packet.record, "tier", err);

	lsc_pack_hello(&client->pack, "tier");
	lsc_client_send(client, NULL, 0);
	client->greeted = true;
	return r;
}

/* --- clients --- */

/* Of an image that nobody brings any more the pieces stay, if there are some. */
static void end_receiving(struct lsc_client *client)
{
	struct lsc_holding *holding =
		client->name[0] ? lsc_stock_find(lsc_server_stock(client), client->name) : NULL;

	if (holding && !holding->whole)
		lsc_stock_leave(lsc_server_stock(client), holding);
}

static void drop(struct lsc_client *client)
{
	struct lsc_server *server = client->server;
	struct lsc_client **at = &server->clients;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	if (client->chores)
		lsc_stock_leave_chore(server->stock);
	end_receiving(client);
	lsc_client_free(client);
	server->n_clients--;
	lsc_watch_modify(server->watch, EPOLLIN);
}

/* What has to wait for room is tried again when something has changed; till then the client, which
 * waits for its answer, is not listened to. */
static void take(struct lsc_client *client)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r = client->greeted ? lsc_server_answer(client, &err) : greet(client, &err);

	if ((r == -EAGAIN) != client->parked) {
		client->parked = r == -EAGAIN;
		lsc_client_listen(client, !client->parked);
	}
	if (client->parked)
		lsc_timer_arm(((struct lsc_server *)client->server)->retry, RETRY_NS);
	if (r < 0 && r != -EAGAIN) {
		lsc_debug("tier", "process %d: %s", (int)client->peer.pid, err.text);
		lsc_client_fail(client, &err);
	}
	if (client->gone)
		drop(client);
}

static void on_client(struct lsc_client *client)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	if (client->gone || client->parked) { /* a hang-up comes to who is parked, too */
		drop(client);
		return;
	}
	r = lsc_packet_receive(client->fd, &client->packet, &err);
	if (r == -EAGAIN)
		return;
	if (r <= 0)
		drop(client);
	else
		take(client);
}

static void on_retry(void *data)
{
	struct lsc_server *server = data;
	struct lsc_client *next;

	for (struct lsc_client *client = server->clients; client; client = next) {
		next = client->next;
		if (client->parked)
			take(client);
	}
}

/* One of the others must not keep all the rest out. */
static bool has_too_many(const struct lsc_server *server, const struct lsc_client *client)
{
	unsigned n = 0;

	for (const struct lsc_client *c = server->clients; c; c = c->next)
		n += c->peer.uid == client->peer.uid;
	return n > MAX_OF_USER && client->peer.uid != 0 && client->peer.uid != geteuid();
}

static void on_accept(void *data, uint32_t events)
{
	struct lsc_server *server = data;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_client *client;
	int fd = -1;

	(void)events;
	if (server->n_clients < MAX_CLIENTS)
		fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		/* The next who goes makes room. */
		if (server->n_clients >= MAX_CLIENTS || errno == EMFILE || errno == ENFILE)
			lsc_watch_modify(server->watch, server->n_clients ? 0 : EPOLLIN);
		return;
	}
	if (lsc_client_new(&client, server->loop, fd, on_client, server, &err) < 0) {
		lsc_warning("%s", err.text);
		return;
	}
	client->rights = lsc_rights_of(server->o.rights, &client->peer);
	client->next = server->clients;
	server->clients = client;
	server->n_clients++;
	if (!client->rights || has_too_many(server, client)) {
		lsc_debug("tier", "user %u may not connect", (unsigned)client->peer.uid);
		drop(client);
	}
}

/* Answers who waits for an image, if this is how it ends. */
static void end_wait(struct lsc_client *client, const struct lsc_holding *holding,
		     enum lsc_stock_event event, const char *why)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (strcmp(client->waits, holding->name) != 0)
		return;
	if (event == LSC_STOCK_WHOLE) {
		client->waits[0] = 0;
		lsc_server_say(client, "done");
	} else if (event == LSC_STOCK_FAILED || event == LSC_STOCK_EVICTED) {
		client->waits[0] = 0;
		lsc_err_set(&err, EIO, "'%s' did not come: %s", holding->name, why ? why : "");
		lsc_client_fail(client, &err);
	}
}

static void on_changed(void *data, const struct lsc_holding *holding, enum lsc_stock_event event,
		       const char *why)
{
	struct lsc_server *server = data;

	for (struct lsc_client *client = server->clients; client; client = client->next) {
		if (client->watches)
			lsc_server_say_event(client, holding, event, why);
		end_wait(client, holding, event, why);
	}
	lsc_timer_arm(server->retry, 0);
}

/* --- the whole --- */

static bool somebody_listens(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool yes = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

/* Before anything else is touched: the holder of another tier is not ours to talk to. */
static int check_socket(const char *path, struct sockaddr_un *ret_address, struct lsc_err *err)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret_address->sun_path))
		return lsc_err_set(err, ENAMETOOLONG, "socket '%s': %m", path);
	strcpy(ret_address->sun_path, path);
	if (somebody_listens(ret_address))
		return lsc_err_set(err, EADDRINUSE, "a tier listens at 'unix:%s' already", path);
	return 0;
}

/* Others may connect where the options name some; what they may is asked of the kernel then. */
static int listen_at(struct lsc_server *server, struct lsc_err *err)
{
	const char *path = server->o.socket;
	struct sockaddr_un address;
	int r = check_socket(path, &address, err);

	if (r < 0)
		return r;
	unlink(path);
	server->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server->fd < 0 || fchmod(server->fd, 0600) < 0 ||
	    bind(server->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(path, server->o.rights->n ? 0666 : 0600) < 0 || listen(server->fd, 128) < 0)
		return lsc_err_set(err, errno, "cannot listen at 'unix:%s': %m", path);
	return lsc_loop_watch(server->loop, server->fd, EPOLLIN, on_accept, server, &server->watch,
			      err);
}

int lsc_server_open(struct lsc_server **ret_server, struct lsc_loop *loop,
		    const struct lsc_server_options *options, struct lsc_err *err)
{
	struct lsc_server *server = calloc(1, sizeof(*server));
	struct sockaddr_un address;
	int r;

	if (!server)
		return lsc_err_set(err, ENOMEM, "no memory for a tier");
	*server = (struct lsc_server){.loop = loop, .o = *options, .fd = -1};
	server->o.stock.changed = on_changed;
	server->o.stock.data = server;
	r = check_socket(options->socket, &address, err);
	if (r == 0)
		r = lsc_timer_new(loop, on_retry, server, &server->retry, err);
	if (r == 0)
		r = lsc_stock_open(&server->stock, loop, &server->o.stock, err);
	if (r == 0)
		r = listen_at(server, err);
	if (r < 0) {
		lsc_server_close(server, true);
		return r;
	}
	*ret_server = server;
	return 0;
}

void lsc_server_close(struct lsc_server *server, bool leave)
{
	if (!server)
		return;
	while (server->clients)
		drop(server->clients);
	lsc_watch_remove(server->watch);
	if (server->fd >= 0) {
		close(server->fd);
		if (server->watch)
			unlink(server->o.socket);
	}
	lsc_stock_close(server->stock, leave);
	lsc_timer_free(server->retry);
	free(server);
}
