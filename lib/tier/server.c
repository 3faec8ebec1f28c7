/* server - takes requests of a tier's clients, one after another, and has the stock do them */
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

typedef int request_fn(struct lsc_client *client, struct lsc_err *err);

/* --- what requests name --- */

static struct lsc_stock *stock_of(struct lsc_client *client)
{
	return ((struct lsc_server *)client->server)->stock;
}

/* By `name`, or by `id`. */
static int find(struct lsc_client *client, struct lsc_holding **ret_holding, struct lsc_err *err)
{
	const struct lsc_record *record = &client->packet.record;
	char name[LSC_SEGMENT_NAME] = "", text[LSC_HASH_TEXT];
	struct lsc_hash id;
	const void *bytes;
	uint32_t len;
	int r;

	if (!lsc_record_get(record, "id")) {
		r = lsc_record_text(record, "name", name, sizeof(name), err);
		if (r < 0)
			return r;
		*ret_holding = lsc_stock_find(stock_of(client), name);
		return *ret_holding ? 0 : lsc_err_set(err, ENOENT, "no image '%s' here", name);
	}
	r = lsc_record_bin(record, "id", LSC_HASH_BYTES, &bytes, &len, err);
	if (r < 0)
		return r;
	if (len != LSC_HASH_BYTES)
		return lsc_err_set(err, EBADMSG, "an id of %u bytes", len);
	memcpy(id.bytes, bytes, sizeof(id.bytes));
	*ret_holding = lsc_stock_find_id(stock_of(client), &id);
	return *ret_holding
		       ? 0
		       : lsc_err_set(err, ENOENT, "no image %s here", lsc_hash_text(&id, text));
}

/* That which the client receives. */
static int received(struct lsc_client *client, struct lsc_holding **ret_holding,
		    struct lsc_err *err)
{
	*ret_holding = client->name[0] ? lsc_stock_find(stock_of(client), client->name) : NULL;
	return *ret_holding ? 0 : lsc_err_set(err, EPROTO, "nothing is being received");
}

/* --- requests --- */

static int do_open(struct lsc_client *client, struct lsc_err *err)
{
	struct lsc_holding *holding;
	bool load;
	int r = find(client, &holding, err);

	if (r == 0)
		r = lsc_record_bool_or(&client->packet.record, "load", true, &load, err);
	if (r == 0 && !load && !holding->cells) {
		lsc_server_show(client, holding);
		return 0;
	}
	if (r == 0)
		r = lsc_stock_want(stock_of(client), holding, err);
	return r < 0 ? r : lsc_server_lend(client, holding, false, err);
}

/* The answer comes when it is there, unless nobody waits for that. */
static int do_load(struct lsc_client *client, struct lsc_err *err)
{
	const struct lsc_record *record = &client->packet.record;
	struct lsc_holding *holding;
	double rate;
	bool wait;
	int r = find(client, &holding, err);

	if (r == 0)
		r = lsc_record_real_or(record, "rate", 0, &rate, err);
	if (r == 0)
		r = lsc_record_bool_or(record, "wait", true, &wait, err);
	if (r == 0 && !(rate >= 0))
		r = lsc_err_set(err, EBADMSG, "a rate below 0");
	if (r == 0 && !holding->whole && (!holding->cells || holding->on_disk))
		r = lsc_stock_fetch(stock_of(client), holding, rate, err);
	if (r < 0)
		return r;
	if (wait && !holding->whole)
		strcpy(client->waits, holding->name);
	else
		lsc_server_say(client, "done");
	return 0;
}

static int do_receive(struct lsc_client *client, struct lsc_err *err)
{
	char name[LSC_SEGMENT_NAME];
	struct lsc_holding *holding;
	int fd, r = lsc_record_text(&client->packet.record, "name", name, sizeof(name), err);

	if (r == 0 && client->name[0])
		r = lsc_err_set(err, EPROTO, "'%s' is being received already", client->name);
	if (r < 0)
		return r;
	/* It stays with the packet, which may be taken again. */
	fd = client->packet.n_fds ? client->packet.fds[0] : -1;
	if (fd < 0)
		return lsc_err_set(err, EBADMSG, "'receive' comes without a manifest");
	/* Of another file a client could choose how long it takes to read. */
	if (fcntl(fd, F_GET_SEALS) < 0)
		return lsc_err_set(err, EBADMSG, "a manifest that is no memfd");
	r = lsc_stock_receive(stock_of(client), name, fd, &holding, err);
	if (r < 0)
		return r;
	r = lsc_stock_want(stock_of(client), holding, err);
	if (r == 0)
		r = lsc_server_lend(client, holding, true, err);
	if (r == 0)
		strcpy(client->name, name);
	else if ((holding = lsc_stock_find(stock_of(client), name)))
		lsc_stock_leave(stock_of(client), holding);
	return r;
}

/* Who received from a daemon before this one: the table of arrivals that it maps is locked still,
 * and its lock, by the description that it sends, is its proof. */
static int do_again(struct lsc_client *client, struct lsc_err *err)
{
	const struct lsc_packet *packet = &client->packet;
	struct lsc_holding *holding;
	int r = find(client, &holding, err);

	if (r == 0 && holding->whole)
		r = lsc_err_set(err, EALREADY, "'%s' is whole already", holding->name);
	if (r == 0 && !(packet->n_fds && lsc_holding_is_filler(holding, packet->fds[0])))
		r = lsc_err_set(err, EPERM, "'%s' is not being received by this client",
				holding->name);
	if (r < 0)
		return r;
	strcpy(client->name, holding->name);
	lsc_server_say(client, "done");
	return 0;
}

static int do_commit(struct lsc_client *client, struct lsc_err *err)
{
	struct lsc_holding *holding;
	int r = received(client, &holding, err);

	if (r == 0)
		r = lsc_stock_commit(stock_of(client), holding, err);
	if (r < 0)
		return r;
	client->name[0] = 0;
	lsc_server_say(client, "done");
	return 0;
}

static int do_discard(struct lsc_client *client, struct lsc_err *err)
{
	struct lsc_holding *holding;
	int r = received(client, &holding, err);

	if (r < 0)
		return r;
	client->name[0] = 0;
	lsc_stock_discard(stock_of(client), holding, "its receiver gave up");
	lsc_server_say(client, "done");
	return 0;
}

static int do_list(struct lsc_client *client, struct lsc_err *err)
{
	(void)err;
	for (struct lsc_holding *h = lsc_stock_first(stock_of(client)); h; h = h->next)
		lsc_server_say_image(client, h);
	lsc_server_say(client, "end");
	return 0;
}

static int do_stat(struct lsc_client *client, struct lsc_err *err)
{
	(void)err;
	lsc_server_say_node(client);
	return 0;
}

static int do_watch(struct lsc_client *client, struct lsc_err *err)
{
	(void)err;
	client->watches = true;
	return 0;
}

static int set_pin(struct lsc_client *client, bool pinned, struct lsc_err *err)
{
	struct lsc_holding *holding;
	int r = find(client, &holding, err);

	if (r < 0)
		return r;
	lsc_stock_pin(stock_of(client), holding, pinned);
	lsc_server_say(client, "done");
	return 0;
}

static int do_pin(struct lsc_client *client, struct lsc_err *err)
{
	return set_pin(client, true, err);
}

static int do_unpin(struct lsc_client *client, struct lsc_err *err)
{
	return set_pin(client, false, err);
}

static int do_evict(struct lsc_client *client, struct lsc_err *err)
{
	struct lsc_holding *holding;
	int r = find(client, &holding, err);

	if (r == 0)
		r = lsc_stock_evict(stock_of(client), holding, err);
	if (r == 0)
		lsc_server_say(client, "done");
	return r;
}

static void on_chore(void *data, const struct lsc_chore_result *result)
{
	struct lsc_client *client = data;

	client->chores = false;
	if (result->result < 0) {
		lsc_client_fail(client, &result->err);
		return;
	}
	lsc_pack_begin(&client->pack, "done");
	lsc_pack_uint(&client->pack, "freed", result->freed);
	lsc_pack_uint(&client->pack, "used", result->used);
	lsc_pack_end(&client->pack);
	lsc_client_send(client, NULL, 0);
}

static int do_remove(struct lsc_client *client, struct lsc_err *err)
{
	struct lsc_holding *holding;
	int r = find(client, &holding, err);

	if (r < 0)
		return r;
	client->chores = true;
	r = lsc_stock_remove(stock_of(client), holding, on_chore, client, err);
	if (r < 0)
		client->chores = false;
	return r;
}

static int do_gc(struct lsc_client *client, struct lsc_err *err)
{
	bool parts;
	int r = lsc_record_bool_or(&client->packet.record, "parts", false, &parts, err);

	if (r == 0)
		r = lsc_stock_clean(stock_of(client), parts ? LSC_CHORE_GC_PARTS : LSC_CHORE_GC,
				    on_chore, client, err);
	client->chores = r == 0;
	return r;
}

static int do_explain(struct lsc_client *client, struct lsc_err *err)
{
	struct lsc_holding *holding;
	char text[LSC_ERR_TEXT];
	int r = find(client, &holding, err);

	if (r < 0)
		return r;
	lsc_stock_explain(stock_of(client), holding, text, sizeof(text));
	lsc_pack_begin(&client->pack, "why");
	lsc_pack_str(&client->pack, "why", text);
	lsc_pack_end(&client->pack);
	lsc_client_send(client, NULL, 0);
	return 0;
}

static const struct request {
	const char *type;
	unsigned right;
	request_fn *fn;
} requests[] = {
	{"open", LSC_RIGHT_READ, do_open},        {"list", LSC_RIGHT_READ, do_list},
	{"stat", LSC_RIGHT_READ, do_stat},        {"watch", LSC_RIGHT_READ, do_watch},
	{"receive", LSC_RIGHT_WRITE, do_receive}, {"again", LSC_RIGHT_WRITE, do_again},
	{"commit", LSC_RIGHT_WRITE, do_commit},   {"discard", LSC_RIGHT_WRITE, do_discard},
	{"pin", LSC_RIGHT_MANAGE, do_pin},        {"unpin", LSC_RIGHT_MANAGE, do_unpin},
	{"evict", LSC_RIGHT_MANAGE, do_evict},    {"load", LSC_RIGHT_MANAGE, do_load},
	{"remove", LSC_RIGHT_MANAGE, do_remove},  {"gc", LSC_RIGHT_MANAGE, do_gc},
	{"explain", LSC_RIGHT_READ, do_explain},
};

/* What is not known is of a later version; whoever asks waits for an answer. */
static int answer(struct lsc_client *client, struct lsc_err *err)
{
	const struct lsc_record *record = &client->packet.record;

	for (unsigned i = 0; i < LSC_ARRAY_SIZE(requests); i++) {
		const struct request *request = &requests[i];

		if (!lsc_record_is(record, request->type))
			continue;
		if (request->right & ~client->rights)
			return lsc_err_set(err, EACCES, "user %u may not '%s' here",
					   (unsigned)client->peer.uid, request->type);
		return request->fn(client, err);
	}
	return lsc_err_set(err, EOPNOTSUPP, "this tier knows no '%.*s'", (int)record->type_len,
			   record->type);
}

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
		client->name[0] ? lsc_stock_find(stock_of(client), client->name) : NULL;

	if (holding && !holding->whole)
		lsc_stock_leave(stock_of(client), holding);
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
	int r = client->greeted ? answer(client, &err) : greet(client, &err);

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
