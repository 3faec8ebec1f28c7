/* census - a link to each node, with a question; then one more question to one of them */
#include "send/census.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "mem/segment.h"
#include "model/image.h"
#include "net/link.h"

#define TICK_NS 50000000ull

struct asked {
	struct lsc_census *census;
	uint32_t index;
	struct lsc_link *link; /* NULL: it is over */
	bool answered;         /* or is not to be waited for any more */
	bool tried;            /* it was asked for the manifest */
	struct lsc_held held;
	struct lsc_err err; /* code 0: it has said what it holds */
};

struct lsc_census {
	struct lsc_census_options o;
	struct lsc_loop *loop;
	struct asked *nodes;
	uint32_t n_answers;
	struct lsc_timer *tick;
	uint64_t since_ns; /* of the last sign that matters */
	size_t left;       /* of the manifest, at the last tick */
	struct lsc_pack pack;
	const struct lsc_hash *id; /* of the image that is meant; NULL: not known yet, or none */
	struct asked *giver;       /* of the manifest */
	uint8_t *manifest;
	uint32_t manifest_len;
	struct lsc_err lost; /* why the last of those who had it did not give it */
	bool done;
};

static void finish(struct lsc_census *c, int result, const struct lsc_err *err)
{
	if (c->done)
		return;
	c->done = true;
	lsc_timer_disarm(c->tick);
	c->o.on_done(c->o.data, result, err);
}

/* --- which image is meant --- */

/* Nodes with that image, where a whole one counts for more than any parts. */
static uint64_t count_holders(const struct lsc_census *c, const struct lsc_hash *id)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < c->o.n_nodes; i++) {
		const struct lsc_held *held = &c->nodes[i].held;

		if (held->state != LSC_HELD_ABSENT && lsc_hash_equal(&held->id, id))
			count += held->state == LSC_HELD_WHOLE ? LSC_CAST_MAX_NODES + 1u : 1;
	}
	return count;
}

static void choose_image(struct lsc_census *c)
{
	uint64_t most = 0;

	c->id = c->o.id;
	for (uint32_t i = 0; i < c->o.n_nodes && !c->o.id; i++) {
		const struct lsc_held *held = &c->nodes[i].held;
		uint64_t count;

		if (held->state == LSC_HELD_ABSENT || (c->id && lsc_hash_equal(c->id, &held->id)))
			continue;
		count = count_holders(c, &held->id);
		if (count > most) {
			most = count;
			c->id = &held->id;
		}
	}
}

static bool is_meant(const struct lsc_census *c, const struct asked *node)
{
	return c->id && node->held.state != LSC_HELD_ABSENT &&
	       lsc_hash_equal(c->id, &node->held.id);
}

/* --- questions --- */

static int ask(struct asked *node, bool manifest)
{
	struct lsc_census *c = node->census;
	struct lsc_want want = {.manifest = manifest};
	int r;

	strcpy(want.name, c->o.name);
	c->since_ns = lsc_clock_ns();
	r = lsc_want_pack(&c->pack, &want);
	return r < 0 ? r : lsc_link_send(node->link, &c->pack, NULL, 0, NULL);
}

/* Asks one that has it and is still there, whole ones first. */
static void ask_for_manifest(struct lsc_census *c)
{
	c->giver = NULL;
	free(c->manifest);
	c->manifest = NULL;
	for (int parts = 0; parts < 2; parts++) {
		for (uint32_t i = 0; i < c->o.n_nodes; i++) {
			struct asked *node = &c->nodes[i];

			if (!node->link || node->tried || !is_meant(c, node) ||
			    (node->held.state == LSC_HELD_PART) != parts)
				continue;
			node->tried = true;
			if (ask(node, true) < 0)
				continue;
			c->giver = node;
			return;
		}
	}
	finish(c,
	       lsc_err_set(&c->lost, c->lost.code ? c->lost.code : EHOSTUNREACH, "%s",
			   c->lost.code ? c->lost.text : "nobody gave the manifest"),
	       &c->lost);
}

/* Everyone has said what he holds, or never will. */
static void go_on(struct lsc_census *c)
{
	struct lsc_err err = LSC_ERR_INIT;
	const struct lsc_err *why = NULL;

	choose_image(c);
	if (c->o.id) {
		finish(c, 0, &err);
		return;
	}
	if (c->id) {
		ask_for_manifest(c);
		return;
	}
	for (uint32_t i = 0; i < c->o.n_nodes && !why; i++)
		why = c->nodes[i].err.code ? &c->nodes[i].err : NULL;
	lsc_err_set(&err, ENODATA, "'%s' is neither here nor at any node that was asked%s%s",
		    c->o.name, why ? "; " : "", why ? why->text : "");
	finish(c, -ENODATA, &err);
}

static void settle(struct asked *node)
{
	if (node->answered)
		return;
	node->answered = true;
	node->census->n_answers++;
}

/* The giver did not: another is asked. */
static void lose(struct asked *node, const struct lsc_err *err)
{
	struct lsc_census *c = node->census;

	lsc_link_close(node->link);
	node->link = NULL;
	if (!node->answered)
		node->err = *err;
	settle(node);
	if (c->giver != node || c->done)
		return;
	c->lost = *err;
	ask_for_manifest(c);
}

/* --- answers --- */

/* Of the image that was to be given, and no other. */
static int take_manifest(struct asked *node, const struct lsc_held *held, uint32_t body_len,
			 void **ret_body, struct lsc_err *err)
{
	struct lsc_census *c = node->census;

	if (held->state == LSC_HELD_ABSENT || !lsc_hash_equal(&held->id, c->id))
		return lsc_err_set(err, ENODATA, "has '%s' no more", c->o.name);
	if (!body_len || body_len > LSC_MANIFEST_MAX_BYTES)
		return lsc_err_set(err, EPROTO, "gives a manifest of %u bytes", body_len);
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
	struct asked *node = data;
	struct lsc_census *c = node->census;
	struct lsc_held held;
	int r;

	(void)link;
	if (!lsc_record_is(record, "held"))
		return 0;
	if (node->answered && (c->giver != node || c->manifest))
		return lsc_err_set(err, EPROTO, "answers what was not asked");
	r = lsc_held_parse(record, &held, err);
	if (r < 0)
		return r;
	c->since_ns = lsc_clock_ns();
	if (node->answered) {
		r = take_manifest(node, &held, body_len, ret_body, err);
		lsc_held_release(&held);
		return r;
	}
	node->held = held;
	settle(node);
	return 0;
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *err)
{
	struct asked *node = data;
	struct lsc_census *c = node->census;
	struct lsc_err none = LSC_ERR_INIT;
	struct lsc_hash id;

	(void)link;
	if (c->giver != node || !c->manifest)
		return 0;
	id = lsc_hash_of(c->manifest, c->manifest_len);
	if (!lsc_hash_equal(&id, c->id))
		return lsc_err_set(err, EBADMSG, "gives a manifest that is not what it says");
	finish(c, 0, &none);
	return 0;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct lsc_err named = *err;

	(void)link;
	if (!err->code)
		lsc_err_set(&named, ECONNRESET, "left without an answer");
	lose(data, &named);
}

static const struct lsc_link_events events = {
	.on_record = on_record, .on_body = on_body, .on_close = on_close};

/* Leaves those that say nothing for too long, and goes on when all have answered. */
static void on_tick(void *data)
{
	struct lsc_census *c = data;
	uint64_t now = lsc_clock_ns();
	size_t left = c->giver && c->manifest ? lsc_link_body_left(c->giver->link) : 0;
	struct lsc_err err = LSC_ERR_INIT;

	if (left != c->left)
		c->since_ns = now;
	c->left = left;
	if (now - LSC_MIN(c->since_ns, now) >= c->o.timeout_ns) {
		lsc_err_set(&err, ETIMEDOUT, "nothing heard for %.1f s",
			    (double)c->o.timeout_ns / 1e9);
		for (uint32_t i = 0; i < c->o.n_nodes && !c->giver; i++)
			if (!c->nodes[i].answered)
				lose(&c->nodes[i], &err);
		if (c->giver)
			lose(c->giver, &err);
	}
	if (!c->giver && !c->done && c->n_answers == c->o.n_nodes)
		go_on(c);
	if (!c->done)
		lsc_timer_arm(c->tick, TICK_NS);
}

/* --- life --- */

void lsc_census_free(struct lsc_census *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; c->nodes && i < c->o.n_nodes; i++) {
		lsc_link_close(c->nodes[i].link);
		lsc_held_release(&c->nodes[i].held);
	}
	lsc_timer_free(c->tick);
	lsc_pack_release(&c->pack);
	free(c->manifest);
	free(c->nodes);
	free(c);
}

static int open_link(struct asked *node, struct lsc_err *err)
{
	struct lsc_census *c = node->census;
	const char *name = c->o.nodes[node->index];
	const struct lsc_link_options options = {
		.kind = LSC_CAST_KIND,
		.connect_timeout_ns = c->o.timeout_ns,
		.key = c->o.key,
	};
	struct lsc_endpoint endpoint;
	int r = lsc_endpoint_parse(&endpoint, name, err);

	if (r == 0 && endpoint.kind == LSC_ENDPOINT_TCP && endpoint.port == 0)
		r = lsc_err_set(err, EINVAL, "'%s' has no port to connect to", name);
	if (r == 0)
		r = lsc_link_connect(&node->link, c->loop, &endpoint, &options, &events, node, err);
	if (r < 0)
		return r;
	r = ask(node, false);
	return r < 0 ? lsc_err_set(err, -r, "cannot ask a node: %m") : 0;
}

int lsc_census_start(struct lsc_census **ret_census, struct lsc_loop *loop,
		     const struct lsc_census_options *options, struct lsc_err *err)
{
	struct lsc_census *c;
	int r = lsc_segment_check_name(options->name, err);

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return lsc_err_set(err, ENOMEM, "cannot ask nodes: %m");
	*c = (struct lsc_census){.o = *options, .loop = loop, .since_ns = lsc_clock_ns()};
	c->nodes = calloc(options->n_nodes + (size_t)1, sizeof(c->nodes[0]));
	if (!c->nodes)
		r = lsc_err_set(err, ENOMEM, "cannot ask nodes: %m");
	if (r == 0)
		r = lsc_timer_new(loop, on_tick, c, &c->tick, err);
	for (uint32_t i = 0; r == 0 && i < options->n_nodes; i++) {
		c->nodes[i] =
			(struct asked){.census = c, .index = i, .held.state = LSC_HELD_ABSENT};
		r = open_link(&c->nodes[i], err);
	}
	if (r < 0) {
		lsc_census_free(c);
		return r;
	}
	lsc_timer_arm(c->tick, 0);
	*ret_census = c;
	return 0;
}

struct lsc_census_answer lsc_census_answer(const struct lsc_census *c, uint32_t node)
{
	const struct asked *asked = &c->nodes[node];

	return (struct lsc_census_answer){
		.held = asked->err.code ? NULL : &asked->held,
		.why = asked->err.text,
		.meant = is_meant(c, asked),
	};
}

const uint8_t *lsc_census_manifest(const struct lsc_census *c, size_t *ret_len)
{
	*ret_len = c->manifest_len;
	return c->manifest;
}
