/* client - those who send requests over connections of their own (lsc-stream(5), Connections)
 *
 * A client has a list of its answers, which leave it when they are over, or when the client is not
 * interested any more.  Who does not read what is sent to it is left: what waits for it is bounded.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/serve.h"
#include "pipe.h"
#include "stream/json.h"

#define UNSENT_MAX (8u << 20)
#define EVERY_MIN  0.05
#define EVERY_MAX  3600.0

struct client {
	struct pipe *pipe;
	struct client *next, **previous;
	struct lsc_link *link;
	struct client_place *places;
	struct lsc_timer *watch; /* sends what it wants to be told */
	uint64_t every_ns;
	bool lost; /* it does not read */
};

/* --- answers --- */

void pipe_client_enter(struct client *client, struct client_place *place)
{
	place->client = client;
	place->next = client->places;
	place->previous = &client->places;
	if (place->next)
		place->next->previous = &place->next;
	client->places = place;
}

void pipe_client_leave(struct client_place *place)
{
	if (!place->client)
		return;
	*place->previous = place->next;
	if (place->next)
		place->next->previous = place->previous;
	place->client = NULL;
}

static void cancel(struct client_place *place)
{
	pipe_client_leave(place);
	lsc_router_cancel(place->request);
}

static void cancel_id(struct client *client, const struct lsc_record *record)
{
	const msgpack_object *id = lsc_record_get(record, "id");
	struct client_place *next;

	for (struct client_place *place = client->places; id && place; place = next) {
		next = place->next;
		if (id->type == MSGPACK_OBJECT_POSITIVE_INTEGER
			    ? json_is_integer(place->id) &&
				      (uint64_t)json_integer_value(place->id) == id->via.u64
			    : id->type == MSGPACK_OBJECT_STR && json_is_string(place->id) &&
				      json_string_length(place->id) == id->via.str.size &&
				      !memcmp(json_string_value(place->id), id->via.str.ptr,
					      id->via.str.size))
			cancel(place);
	}
}

/* --- sending --- */

void pipe_client_begin(struct client *client, const char *type, const json_t *id)
{
	struct pipe *pipe = client->pipe;
	double t = lsc_fleet_now(&pipe->router.fleet);

	lsc_pack_begin(&pipe->pack, type);
	lsc_pack_real(&pipe->pack, "t", (double)(long)(t * 1e6) / 1e6);
	if (json_is_integer(id))
		lsc_pack_uint(&pipe->pack, "id", (uint64_t)json_integer_value(id));
	else if (json_is_string(id))
		lsc_pack_strn(&pipe->pack, "id", json_string_value(id), json_string_length(id));
}

static void client_free(struct client *client);

/* A link is not closed while it may be at work: its timer does it. */
void pipe_client_send(struct client *client)
{
	if (client->lost)
		return;
	if (lsc_link_queued(client->link) < UNSENT_MAX &&
	    lsc_link_send(client->link, &client->pipe->pack, NULL, 0, NULL) == 0)
		return;
	client->lost = true;
	lsc_timer_arm(client->watch, 0);
}

void pipe_client_put(struct client *client, const json_t *line)
{
	struct lsc_pack *pack = &client->pipe->pack;
	char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(15));

	pack->buf.len = 0;
	pack->failed = text ? lsc_json_read(text, strlen(text), &pack->buf, NULL) : -ENOMEM;
	free(text);
	pipe_client_send(client);
}

static void on_watch(void *data)
{
	struct client *client = data;

	if (client->lost) {
		lsc_warning("%s does not read its answers, left", lsc_link_peer(client->link));
		client_free(client);
		return;
	}
	pipe_pack_status(client->pipe);
	pipe_client_send(client);
	if (!client->lost)
		lsc_timer_arm(client->watch, client->every_ns);
}

static int take_watch(struct client *client, const struct lsc_record *record, struct lsc_err *err)
{
	double every;
	int r = lsc_record_real(record, "every", &every, err);

	if (r < 0)
		return r;
	if (every < EVERY_MIN || every > EVERY_MAX)
		return lsc_err_set(err, EBADMSG, "record 'watch': every %g s: want %g to %g", every,
				   EVERY_MIN, EVERY_MAX);
	client->every_ns = (uint64_t)(every * 1e9);
	lsc_timer_arm(client->watch, 0);
	return 0;
}

/* --- what comes --- */

/* Ids that go through JSON and back unchanged; what else is wrong with one is found with the rest.
 */
static bool has_good_id(const struct lsc_record *record)
{
	const msgpack_object *id = lsc_record_get(record, "id");

	return !id || id->type == MSGPACK_OBJECT_STR ||
	       (id->type == MSGPACK_OBJECT_POSITIVE_INTEGER && id->via.u64 <= INT64_MAX);
}

static void release_bytes(msgpack_sbuffer *bytes)
{
	msgpack_sbuffer_destroy(bytes);
}

static int take_request(struct client *client, const struct lsc_record *record, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf json = LSC_BUF_INIT;
	LSC_CLEANUP(release_bytes) msgpack_sbuffer bytes = {0};
	msgpack_packer packer;
	int r;

	if (lsc_record_get(record, "body") || !has_good_id(record))
		return lsc_err_set(err, EBADMSG,
				   "record 'request': it has a body, or an id that is neither uint "
				   "nor string");
	msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
	if (msgpack_pack_object(&packer, record->root))
		return lsc_err_set(err, ENOMEM, "no memory for a request");
	r = lsc_json_write(bytes.data, bytes.size, &json, err);
	if (r == 0)
		pipe_take_request(client->pipe, client, (const char *)json.data, json.len);
	return r;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct client *client = data;

	(void)link;
	(void)body_len;
	*ret_body = NULL;
	if (client->lost)
		return 0;
	if (lsc_record_is(record, "request"))
		return take_request(client, record, err);
	if (lsc_record_is(record, "cancel"))
		cancel_id(client, record);
	else if (lsc_record_is(record, "watch"))
		return take_watch(client, record, err);
	return 0;
}

static void on_open(void *data, struct lsc_link *link)
{
	struct client *client = data;

	(void)link;
	pipe_pack_model(client->pipe);
	pipe_client_send(client);
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	if (err->code)
		lsc_warning("%s", err->text);
	else
		lsc_info("%s left", lsc_link_peer(link));
	client_free(data);
}

static const struct lsc_link_events link_events = {
	.on_open = on_open, .on_record = on_record, .on_close = on_close};

/* --- life --- */

static void client_free(struct client *client)
{
	while (client->places)
		cancel(client->places);
	*client->previous = client->next;
	if (client->next)
		client->next->previous = client->previous;
	lsc_timer_free(client->watch);
	lsc_link_close(client->link);
	free(client);
}

static void *on_link(void *data, struct lsc_link *link)
{
	struct client *client = calloc(1, sizeof(*client));
	struct pipe *pipe = data;

	if (!client)
		return NULL;
	*client = (struct client){.pipe = pipe, .link = link};
	if (lsc_timer_new(pipe->loop, on_watch, client, &client->watch, NULL) < 0) {
		free(client);
		return NULL;
	}
	client->next = pipe->clients;
	client->previous = &pipe->clients;
	if (client->next)
		client->next->previous = &client->next;
	pipe->clients = client;
	return client;
}

int pipe_listen(struct pipe *pipe, struct lsc_err *err)
{
	const struct options *opt = pipe->opt;
	const struct lsc_link_options options = {.kind = "requests", .key = opt->access.key};
	struct lsc_endpoint at;
	const char *address;
	int r;

	pipe->probe = calloc(1, sizeof(*pipe->probe));
	if (!pipe->probe)
		return lsc_err_set(err, ENOMEM, "no memory for a router");
	if ((r = lsc_endpoint_parse(&at, opt->listen, err)) < 0 ||
	    (r = lsc_access_check(&opt->access, &at, err)) < 0 ||
	    (r = lsc_listener_open(&pipe->listener, pipe->loop, &at, &options, &link_events,
				   on_link, pipe, err)) < 0)
		return r;
	address = lsc_listener_address(pipe->listener);
	lsc_info("taking requests at %s", address);
	if (!opt->access.key)
		lsc_serve_warn(address, "have requests answered here");
	return lsc_serve_ready(opt->ready_fd, address, err);
}

void pipe_listen_end(struct pipe *pipe)
{
	lsc_listener_close(pipe->listener);
	while (pipe->clients)
		client_free(pipe->clients);
}
