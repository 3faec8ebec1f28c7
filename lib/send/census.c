/* census - a link to each node, over which it is asked one thing */
#include "send/census.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "model/image.h"
#include "net/link.h"

#define TICK_NS 50000000u

struct asked {
	struct lsc_census *census;
	uint32_t index;
	struct lsc_link *link; /* NULL: it has answered, or will not */
	uint64_t heard_ns;
	uint32_t left; /* of the manifest, at the last tick */
};

struct lsc_census {
	struct lsc_census_options o;
	struct lsc_loop *loop;
	struct asked *asked;
	struct lsc_census_node *nodes;
	struct lsc_timer *tick;
	struct lsc_pack pack;

	/* of the one that is asked for its manifest */
	struct asked fetch;
	struct lsc_hash id;
	uint8_t *manifest;
	uint32_t manifest_len;
	struct lsc_err fetched; /* code 0: it is there */
};

static bool is_fetch(const struct asked *asked)
{
	return asked == &asked->census->fetch;
}

/* --- answers --- */

static void part(struct asked *asked)
{
	lsc_link_finish(asked->link);
	asked->link = NULL;
	lsc_timer_arm(asked->census->tick, 0);
}

/* The link is over for this reason, whose words may begin with the node's name. */
static void settle(struct asked *asked, enum lsc_census_state state, const struct lsc_err *err)
{
	struct lsc_census *c = asked->census;
	const char *name = c->o.nodes[asked->index], *text = err->text;
	struct lsc_err *why = is_fetch(asked) ? &c->fetched : &c->nodes[asked->index].why;
	size_t len = strlen(name);

	if (!strncmp(text, name, len) && !strncmp(text + len, ": ", 2))
		text += len + 2;
	lsc_err_set(why, err->code, "%s", text);
	if (!is_fetch(asked))
		c->nodes[asked->index].state = state;
	lsc_timer_arm(c->tick, 0);
}

static int take_manifest(struct asked *asked, const struct lsc_record *record, uint32_t body_len,
			 void **ret_body, struct lsc_err *err)
{
	struct lsc_census *c = asked->census;
	struct lsc_held held;
	int r = lsc_held_parse(record, &held, err);

	if (r < 0)
		return r;
	lsc_held_release(&held);
	if (c->manifest)
		return lsc_err_set(err, EPROTO, "answers twice");
	if (body_len == 0 || body_len > LSC_MANIFEST_MAX_BYTES)
		return lsc_err_set(err, EPROTO, "answers with a manifest of %u bytes", body_len);
	c->manifest = malloc(body_len);
	if (!c->manifest)
		return lsc_err_set(err, ENOMEM, "cannot take a manifest: %m");
	c->manifest_len = body_len;
	*ret_body = c->manifest;
	return 0;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct asked *asked = data;
	struct lsc_census_node *node = &asked->census->nodes[asked->index];
	char words[LSC_CAST_WHY];
	int r = 0;

	(void)link;
	asked->heard_ns = lsc_clock_ns();
	if (lsc_record_is(record, "absent")) {
		r = lsc_absent_parse(record, words, err);
		if (r == 0) {
			struct lsc_err why = {.code = is_fetch(asked) ? ENOENT : 0};

			memcpy(why.text, words, sizeof(words));
			settle(asked, LSC_CENSUS_ABSENT, &why);
			part(asked);
		}
	} else if (lsc_record_is(record, "held") && is_fetch(asked)) {
		r = take_manifest(asked, record, body_len, ret_body, err);
	} else if (lsc_record_is(record, "held")) {
		r = lsc_held_parse(record, &node->held, err);
		if (r == 0) {
			node->state = LSC_CENSUS_HELD;
			part(asked);
		}
	}
	return r == -EBADMSG ? lsc_err_set(err, EPROTO, "%s", err->text) : r;
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *err)
{
	struct asked *asked = data;
	struct lsc_census *c = asked->census;
	struct lsc_hash id;

	(void)link;
	if (!is_fetch(asked) || !c->manifest)
		return 0;
	id = lsc_hash_of(c->manifest, c->manifest_len);
	if (!lsc_hash_equal(&id, &c->id))
		return lsc_err_set(err, EBADMSG, "has another manifest than it said");
	c->fetched = (struct lsc_err)LSC_ERR_INIT;
	part(asked);
	return 0;
}

static void on_open(void *data, struct lsc_link *link)
{
	struct asked *asked = data;
	struct lsc_census *c = asked->census;
	struct lsc_want want = {.manifest = is_fetch(asked)};
	struct lsc_err why = LSC_ERR_INIT;
	int r;

	asked->heard_ns = lsc_clock_ns();
	if (lsc_link_minor(link) < LSC_WANT_MINOR) {
		lsc_err_set(&why, EPROTO,
			    "speaks version 2.%u of the protocol, which cannot say what it has",
			    lsc_link_minor(link));
		settle(asked, LSC_CENSUS_OLD, &why);
		part(asked);
		return;
	}
	strcpy(want.name, c->o.name);
	r = lsc_want_pack(&c->pack, &want);
	if (r == 0)
		r = lsc_link_send(link, &c->pack, NULL, 0, NULL);
	if (r < 0) {
		lsc_err_set(&why, -r, "cannot ask a node: %m");
		settle(asked, LSC_CENSUS_UNKNOWN, &why);
		part(asked);
	}
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct asked *asked = data;
	struct lsc_err named = *err;

	if (!err->code)
		lsc_err_set(&named, ECONNRESET, "left without an answer");
	lsc_link_close(link);
	asked->link = NULL;
	settle(asked, LSC_CENSUS_UNKNOWN, &named);
}

static const struct lsc_link_events events = {
	.on_open = on_open,
	.on_record = on_record,
	.on_body = on_body,
	.on_close = on_close,
};

/* --- time --- */

/* Ends one that has said nothing for too long. */
static bool is_open(struct asked *asked, uint64_t now)
{
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t timeout = asked->census->o.timeout_ns;
	uint32_t left;

	if (!asked->link)
		return false;
	left = lsc_link_body_left(asked->link);
	if (left != asked->left)
		asked->heard_ns = now;
	asked->left = left;
	if (now - LSC_MIN(asked->heard_ns, now) < timeout)
		return true;
	lsc_err_set(&err, ETIMEDOUT, "nothing heard for %.1f s", (double)timeout / 1e9);
	lsc_link_close(asked->link);
	asked->link = NULL;
	settle(asked, LSC_CENSUS_UNKNOWN, &err);
	return false;
}

static void on_tick(void *data)
{
	struct lsc_census *c = data;
	uint64_t now = lsc_clock_ns();
	bool open = is_open(&c->fetch, now);

	for (uint32_t i = 0; i < c->o.n_nodes; i++)
		open = is_open(&c->asked[i], now) || open;
	lsc_timer_disarm(c->tick);
	if (open)
		lsc_timer_arm(c->tick, TICK_NS);
	else
		c->o.on_done(c->o.data);
}

/* --- life --- */

static int ask(struct asked *asked, struct lsc_err *err)
{
	struct lsc_census *c = asked->census;
	const char *name = c->o.nodes[asked->index];
	const struct lsc_link_options options = {
		.kind = LSC_CAST_KIND,
		.connect_timeout_ns = c->o.timeout_ns,
		.key = c->o.key,
	};
	struct lsc_endpoint endpoint;
	int r = lsc_endpoint_parse(&endpoint, name, err);

	if (r == 0 && endpoint.kind == LSC_ENDPOINT_TCP && endpoint.port == 0)
		r = lsc_err_set(err, EINVAL, "'%s' has no port to connect to", name);
	if (r < 0)
		return r;
	asked->heard_ns = lsc_clock_ns();
	return lsc_link_connect(&asked->link, c->loop, &endpoint, &options, &events, asked, err);
}

void lsc_census_free(struct lsc_census *c)
{
	if (!c)
		return;
	lsc_link_close(c->fetch.link);
	for (uint32_t i = 0; i < c->o.n_nodes; i++) {
		if (c->asked)
			lsc_link_close(c->asked[i].link);
		if (c->nodes)
			lsc_held_release(&c->nodes[i].held);
	}
	lsc_timer_free(c->tick);
	lsc_pack_release(&c->pack);
	free(c->manifest);
	free(c->asked);
	free(c->nodes);
	free(c);
}

int lsc_census_start(struct lsc_census **ret_census, struct lsc_loop *loop,
		     const struct lsc_census_options *options, struct lsc_err *err)
{
	struct lsc_census *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return lsc_err_set(err, ENOMEM, "cannot ask nodes: %m");
	c->o = *options;
	c->loop = loop;
	c->asked = calloc(options->n_nodes + (size_t)1, sizeof(c->asked[0]));
	c->nodes = calloc(options->n_nodes + (size_t)1, sizeof(c->nodes[0]));
	if (!c->asked || !c->nodes)
		r = lsc_err_set(err, ENOMEM, "cannot ask nodes: %m");
	c->fetch.census = c;
	if (r == 0)
		r = lsc_timer_new(loop, on_tick, c, &c->tick, err);
	for (uint32_t i = 0; r == 0 && i < options->n_nodes; i++) {
		c->nodes[i] = (struct lsc_census_node){.held = LSC_HELD_INIT};
		c->asked[i] = (struct asked){.census = c, .index = i};
		r = ask(&c->asked[i], err);
	}
	if (r < 0) {
		lsc_census_free(c);
		return r;
	}
	lsc_timer_arm(c->tick, TICK_NS);
	*ret_census = c;
	return 0;
}

const struct lsc_census_node *lsc_census_node(const struct lsc_census *c, uint32_t node)
{
	return &c->nodes[node];
}

int lsc_census_fetch(struct lsc_census *c, uint32_t node, struct lsc_err *err)
{
	int r;

	free(c->manifest);
	c->manifest = NULL;
	c->id = c->nodes[node].held.id;
	c->fetch = (struct asked){.census = c, .index = node};
	lsc_err_set(&c->fetched, ECONNRESET, "left without an answer");
	r = ask(&c->fetch, err);
	if (r == 0)
		lsc_timer_arm(c->tick, TICK_NS);
	return r;
}

int lsc_census_manifest(const struct lsc_census *c, const void **ret_manifest, size_t *ret_len,
			struct lsc_err *err)
{
	if (c->fetched.code)
		return lsc_err_set(err, c->fetched.code, "%s: %s", c->o.nodes[c->fetch.index],
				   c->fetched.text);
	*ret_manifest = c->manifest;
	*ret_len = c->manifest_len;
	return 0;
}
