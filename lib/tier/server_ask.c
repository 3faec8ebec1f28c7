/* server_ask - what clients ask of a tier, one function a request */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "tier/server_own.h"
#include "tier/wishes.h"

typedef int request_fn(struct lsc_client *client, struct lsc_err *err);

/* --- what requests name --- */

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
		*ret_holding = lsc_stock_find(lsc_server_stock(client), name);
		return *ret_holding ? 0 : lsc_err_set(err, ENOENT, "no image '%s' here", name);
	}
	r = lsc_record_bin(record, "id", LSC_HASH_BYTES, &bytes, &len, err);
	if (r < 0)
		return r;
	if (len != LSC_HASH_BYTES)
		return lsc_err_set(err, EBADMSG, "an id of %u bytes", len);
	memcpy(id.bytes, bytes, sizeof(id.bytes));
	*ret_holding = lsc_stock_find_id(lsc_server_stock(client), &id);
	return *ret_holding
		       ? 0
		       : lsc_err_set(err, ENOENT, "no image %s here", lsc_hash_text(&id, text));
}

/* That which the client receives. */
static int received(struct lsc_client *client, struct lsc_holding **ret_holding,
		    struct lsc_err *err)
{
	*ret_holding =
		client->name[0] ? lsc_stock_find(lsc_server_stock(client), client->name) : NULL;
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
		r = lsc_stock_want(lsc_server_stock(client), holding, err);
	return r < 0 ? r : lsc_server_lend(client, holding, false, err);
}

/* The answer comes when it is there, unless nobody waits for that. */
static int do_load(struct lsc_client *client, struct lsc_err *err)
{
	const struct lsc_record *record = &client->packet.record;
	struct lsc_holding *holding;
	uint64_t priority;
	double rate;
	bool wait;
	int r = find(client, &holding, err);

	if (r == 0)
		r = lsc_record_real_or(record, "rate", 0, &rate, err);
	if (r == 0)
		r = lsc_record_bool_or(record, "wait", true, &wait, err);
	if (r == 0 && !(rate >= 0))
		r = lsc_err_set(err, EBADMSG, "a rate below 0");
	if (r == 0)
		r = lsc_record_uint_or(record, "priority", LSC_PRIORITY_MAX,
				       (uint64_t)holding->priority, &priority, err);
	if (r == 0 && (int)priority != holding->priority)
		r = lsc_stock_wish(lsc_server_stock(client), holding, holding->pinned,
				   (int)priority, err);
	if (r == 0 && !holding->whole && (!holding->cells || holding->on_disk))
		r = lsc_stock_fetch(lsc_server_stock(client), holding, rate, err);
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
	r = lsc_stock_receive(lsc_server_stock(client), name, fd, &holding, err);
	if (r < 0)
		return r;
	r = lsc_stock_want(lsc_server_stock(client), holding, err);
	if (r == 0)
		r = lsc_server_lend(client, holding, true, err);
	if (r == 0)
		strcpy(client->name, name);
	else if ((holding = lsc_stock_find(lsc_server_stock(client), name)))
		lsc_stock_leave(lsc_server_stock(client), holding);
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
		r = lsc_stock_commit(lsc_server_stock(client), holding, err);
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
	lsc_stock_discard(lsc_server_stock(client), holding, "its receiver gave up");
	lsc_server_say(client, "done");
	return 0;
}

static int do_list(struct lsc_client *client, struct lsc_err *err)
{
	(void)err;
	for (struct lsc_holding *h = lsc_stock_first(lsc_server_stock(client)); h; h = h->next)
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

	if (r == 0)
		r = lsc_stock_wish(lsc_server_stock(client), holding, pinned, holding->priority,
				   err);
	if (r < 0)
		return r;
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
		r = lsc_stock_evict(lsc_server_stock(client), holding, err);
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
	r = lsc_stock_remove(lsc_server_stock(client), holding, on_chore, client, err);
	if (r < 0)
		client->chores = false;
	return r;
}

static int do_gc(struct lsc_client *client, struct lsc_err *err)
{
	bool parts;
	int r = lsc_record_bool_or(&client->packet.record, "parts", false, &parts, err);

	if (r == 0)
		r = lsc_stock_clean(lsc_server_stock(client),
				    parts ? LSC_CHORE_GC_PARTS : LSC_CHORE_GC, on_chore, client,
				    err);
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
	if (holding->cells)
		lsc_stock_explain(lsc_server_stock(client), holding, text, sizeof(text));
	else
		snprintf(text, sizeof(text), "on disk alone%s; comes to memory when it is wanted%s",
			 holding->pinned ? ", pinned" : "",
			 holding->damaged ? ", but is damaged" : "");
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

int lsc_server_answer(struct lsc_client *client, struct lsc_err *err)
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
