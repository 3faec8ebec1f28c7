/* cast - offers, starts, listens, and ends a cast
 *
 * Phases: OFFERING until every node is ready, CASTING until every receiver is complete, ENDING
 * until every node has closed its link (or LINGER_NS are over), FLUSHING until the reader of the
 * arrival records has them, DONE.  The first failure leads to ENDING from anywhere; what is heard
 * after it is not reported, since one failure makes others.
 */
#include "cast/cast.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "cast/agenda.h"
#include "cast/member.h"
#include "cast/report.h"

#define LINGER_NS 2000000000u
#define FLUSH_NS  20000000u /* from look to look whether the reader has everything */

enum phase {
	OFFERING,
	CASTING,
	ENDING,
	FLUSHING,
	DONE,
};

struct node {
	struct lsc_cast *cast;
	uint32_t index;
	const char *name;
	bool source;
	struct lsc_link *link; /* NULL: this node, or it is closed */
	bool open, ready, complete;
	uint32_t rank; /* in the schedule, or LSC_NOBODY */
	uint32_t pieces;
	uint64_t bytes;
	uint64_t heard_ns;
	size_t queued; /* at the last tick */
};

struct lsc_cast {
	struct lsc_cast_options o;
	struct lsc_loop *loop;
	struct lsc_cast_id id;
	struct lsc_pass proof; /* of data links, with o.cleartext */
	enum phase phase;
	struct node *nodes;
	uint32_t n_nodes, n_ready, n_complete;
	uint32_t *by_rank; /* nodes */
	uint32_t n_ranks;
	struct lsc_member *member;
	struct lsc_report report;
	struct lsc_pack pack;
	struct lsc_timer *tick, *linger;
	uint64_t progress_ns; /* when anyone last got on */
	int result;
	struct lsc_err err;
};

/* --- the end --- */

static void on_linger(void *data)
{
	struct lsc_cast *c = data;
	int lost;

	c->phase = FLUSHING;
	if (lsc_report_is_waiting(&c->report)) {
		lsc_timer_arm(c->linger, FLUSH_NS);
		return;
	}
	c->phase = DONE;
	lsc_timer_disarm(c->tick);
	lost = lsc_report_lost(&c->report);
	if (c->result == 0 && lost)
		c->result = lsc_err_set(&c->err, lost,
					"all nodes have the image, but arrival records were not "
					"written: %m");
	c->o.on_done(c->o.data, c->result, &c->err);
}

/* Says the last word to all, and waits for them to close. */
static void end(struct lsc_cast *c)
{
	uint32_t open = 0;

	c->phase = ENDING;
	if (c->result < 0) {
		lsc_link_pack_abort(&c->pack, c->err.code, c->err.text);
	} else {
		lsc_pack_begin(&c->pack, "end");
		lsc_pack_end(&c->pack);
	}
	for (uint32_t i = 1; i < c->n_nodes; i++) {
		struct node *node = &c->nodes[i];

		if (!node->link)
			continue;
		if (node->open && lsc_link_send(node->link, &c->pack, NULL, 0, NULL) == 0) {
			open++;
		} else {
			lsc_link_close(node->link);
			node->link = NULL;
		}
	}
	lsc_timer_arm(c->linger, open ? LINGER_NS : 0);
}

static void fail(struct lsc_cast *c, struct node *culprit, const struct lsc_err *err)
{
	struct lsc_pack *record;

	if (c->phase >= ENDING)
		return;
	c->err = *err;
	c->result = -err->code;
	record = lsc_report_begin(&c->report, "failed");
	lsc_pack_uint(record, "node", culprit->index);
	lsc_pack_str(record, "why", err->text);
	lsc_report_end(&c->report);
	end(c);
}

static void succeed(struct lsc_cast *c)
{
	struct lsc_pack *record = lsc_report_begin(&c->report, "end");

	lsc_pack_real(record, "seconds", lsc_report_seconds(&c->report));
	lsc_report_end(&c->report);
	end(c);
}

void lsc_cast_abort(struct lsc_cast *c, const char *why)
{
	if (c->phase >= ENDING) { /* all that is left to give up */
		lsc_report_drop(&c->report, ECANCELED);
		return;
	}
	c->result = lsc_err_set(&c->err, ECANCELED, "%s", why);
	end(c);
}

/* --- the start --- */

static void report_node(struct lsc_cast *c, const struct node *node, const char *exec)
{
	struct lsc_pack *record = lsc_report_begin(&c->report, "node");

	lsc_pack_uint(record, "node", node->index);
	lsc_pack_str(record, "name", node->name);
	lsc_pack_str(record, "role", node->source ? "source" : "receiver");
	if (exec && *exec)
		lsc_pack_str(record, "exec", exec);
	lsc_report_end(&c->report);
}

static void report_cast(struct lsc_cast *c)
{
	const struct lsc_image *image = c->o.image;
	struct lsc_pack *record = lsc_report_begin(&c->report, "cast");

	lsc_pack_real(record, "clock", lsc_clock_wall_s());
	lsc_pack_str(record, "image", c->o.name);
	lsc_pack_bin(record, "id", image->id.bytes, sizeof(image->id.bytes));
	lsc_pack_uint(record, "bytes", image->bytes);
	lsc_pack_uint(record, "pieces", image->n_pieces);
	lsc_pack_uint(record, "blocks", image->n_blocks);
	lsc_pack_uint(record, "nodes", c->n_nodes);
	lsc_pack_str(record, "order", lsc_order_name(c->o.order));
	lsc_report_end(&c->report);
	report_node(c, &c->nodes[0], c->o.exec);
}

static void on_member_failed(void *data, const struct lsc_err *err, uint32_t culprit)
{
	struct lsc_cast *c = data;
	struct node *node = culprit < c->n_ranks ? &c->nodes[c->by_rank[culprit]] : &c->nodes[0];
	struct lsc_err named = *err;

	if (!strstr(err->text, node->name))
		lsc_err_prefix(&named, "%s: ", node->name);
	fail(c, node, &named);
}

static const struct lsc_member_events member_events = {.on_failed = on_member_failed};

/* Ranks: the sources, then the receivers that lack something. */
static void give_ranks(struct lsc_cast *c)
{
	c->n_ranks = 0;
	for (uint32_t i = 0; i < c->n_nodes; i++) {
		struct node *node = &c->nodes[i];

		node->rank = LSC_NOBODY;
		if (!node->source && node->complete)
			continue;
		node->rank = c->n_ranks;
		c->by_rank[c->n_ranks++] = i;
	}
}

static int start_member(struct lsc_cast *c, const struct lsc_start *start, struct lsc_err *err)
{
	struct lsc_member_options options = {
		.loop = c->loop,
		.cast = c->id,
		.image = c->o.image,
		.data = c->o.image->data,
		.key = c->o.key,
		.proof = c->o.cleartext ? &c->proof : NULL,
		.events = &member_events,
		.data_of_events = c,
	};
	int r = lsc_member_new(&c->member, &options, err);

	return r < 0 ? r : lsc_member_start(c->member, start, err);
}

static int start_all(struct lsc_cast *c, struct lsc_start *start, struct lsc_err *err)
{
	for (uint32_t rank = 0; rank < c->n_ranks; rank++)
		snprintf(start->addresses[rank], LSC_CAST_ADDRESS, "%s",
			 rank ? c->nodes[c->by_rank[rank]].name : "");
	for (start->rank = 1; start->rank < c->n_ranks; start->rank++) {
		int r = lsc_start_pack(&c->pack, start);

		if (r == 0 && c->pack.buf.len > LSC_RECORD_MAX_BYTES)
			return lsc_err_set(err, EINVAL, "the nodes' names are too long together");
		if (r == 0)
			r = lsc_link_send(c->nodes[c->by_rank[start->rank]].link, &c->pack, NULL, 0,
					  NULL);
		if (r < 0)
			return lsc_err_set(err, -r, "cannot start a cast: %m");
	}
	start->rank = 0;
	return start_member(c, start, err);
}

/* Everyone is ready. */
static void begin(struct lsc_cast *c)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_start start = {
		.order = c->o.order,
		.sources = c->o.n_sources + 1,
		.rate = c->o.rate,
		.timeout_ns = c->o.timeout_ns,
	};

	give_ranks(c);
	if (c->n_complete == c->o.n_to) {
		succeed(c);
		return;
	}
	c->phase = CASTING;
	start.n_nodes = c->n_ranks;
	start.addresses = calloc(c->n_ranks, sizeof(start.addresses[0]));
	if (!start.addresses)
		lsc_err_set(&err, ENOMEM, "cannot start a cast: %m");
	if (!start.addresses || start_all(c, &start, &err) < 0)
		fail(c, &c->nodes[0], &err);
	lsc_start_release(&start);
}

/* --- what nodes say --- */

static void complete(struct node *node)
{
	struct lsc_cast *c = node->cast;
	struct lsc_pack *record = lsc_report_begin(&c->report, "complete");

	node->complete = true;
	node->pieces = c->o.image->n_pieces;
	node->bytes = c->o.image->bytes;
	lsc_pack_uint(record, "node", node->index);
	lsc_report_end(&c->report);
	c->n_complete++;
}

static int take_ready(struct node *node, const struct lsc_record *record, struct lsc_err *err)
{
	struct lsc_cast *c = node->cast;
	struct lsc_ready ready;
	int r = lsc_ready_parse(record, &ready, err);

	if (r == 0 && ready.pieces > c->o.image->n_pieces)
		r = lsc_err_set(err, EPROTO, "has %u pieces of %u", ready.pieces,
				c->o.image->n_pieces);
	if (r == 0 && (node->ready || c->phase != OFFERING || (node->source && !ready.complete)))
		r = lsc_err_set(err, EPROTO, "is ready out of turn");
	if (r < 0)
		return r;
	node->ready = true;
	node->pieces = ready.pieces;
	report_node(c, node, ready.exec);
	if (ready.complete && !node->source)
		complete(node);
	if (++c->n_ready == c->n_nodes - 1)
		begin(c);
	return 0;
}

static int take_progress(struct node *node, const struct lsc_record *record, struct lsc_err *err)
{
	struct lsc_cast *c = node->cast;
	uint64_t pieces, bytes;
	struct lsc_pack *out;
	int r = lsc_record_uint(record, "pieces", c->o.image->n_pieces, &pieces, err);

	if (r == 0)
		r = lsc_record_uint(record, "bytes", c->o.image->bytes, &bytes, err);
	if (r < 0)
		return r;
	if (node->source || node->complete || c->phase != CASTING)
		return 0;
	if (pieces != node->pieces)
		c->progress_ns = lsc_clock_ns();
	node->pieces = (uint32_t)pieces;
	node->bytes = bytes;
	out = lsc_report_begin(&c->report, "progress");
	lsc_pack_uint(out, "node", node->index);
	lsc_pack_uint(out, "pieces", pieces);
	lsc_pack_uint(out, "bytes", bytes);
	lsc_report_end(&c->report);
	return 0;
}

static int take_block(struct node *node, const struct lsc_record *record, struct lsc_err *err)
{
	struct lsc_cast *c = node->cast;
	struct lsc_pack *out;
	uint64_t block;
	int r = lsc_record_uint(record, "block", LSC_IMAGE_MAX_BLOCKS, &block, err);

	if (r == 0 && (block >= c->o.image->n_blocks || node->source || c->phase != CASTING))
		r = lsc_err_set(err, EPROTO, "reports a block out of turn");
	if (r < 0)
		return r;
	c->progress_ns = lsc_clock_ns();
	out = lsc_report_begin(&c->report, "block");
	lsc_pack_uint(out, "node", node->index);
	lsc_pack_uint(out, "block", block);
	lsc_report_end(&c->report);
	return 0;
}

static int take_complete(struct node *node, struct lsc_err *err)
{
	struct lsc_cast *c = node->cast;

	if (node->complete || node->source || c->phase != CASTING)
		return lsc_err_set(err, EPROTO, "is complete out of turn");
	c->progress_ns = lsc_clock_ns();
	complete(node);
	if (c->n_complete == c->o.n_to)
		succeed(c);
	return 0;
}

static int take_failed(struct node *node, const struct lsc_record *record, struct lsc_err *err)
{
	struct lsc_cast *c = node->cast;
	struct lsc_err named = LSC_ERR_INIT;
	struct lsc_failed failed;
	struct node *culprit = node;
	int r = lsc_failed_parse(record, &failed, err);

	if (r < 0)
		return r;
	if (failed.code == EINVAL) /* our command line is not to blame */
		failed.code = EPROTO;
	if (failed.culprit < c->n_ranks)
		culprit = &c->nodes[c->by_rank[failed.culprit]];
	if (culprit == node)
		lsc_err_set(&named, failed.code, "%s: %s", node->name, failed.why);
	else
		lsc_err_set(&named, failed.code, "%s: %s (said by %s)", culprit->name, failed.why,
			    node->name);
	fail(c, culprit, &named);
	return 0;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct node *node = data;
	int r = 0;

	(void)link;
	(void)body_len;
	(void)ret_body;
	node->heard_ns = lsc_clock_ns();
	if (node->cast->phase >= ENDING)
		return 0;
	if (lsc_record_is(record, "progress"))
		r = take_progress(node, record, err);
	else if (lsc_record_is(record, "block"))
		r = take_block(node, record, err);
	else if (lsc_record_is(record, "ready"))
		r = take_ready(node, record, err);
	else if (lsc_record_is(record, "complete"))
		r = take_complete(node, err);
	else if (lsc_record_is(record, "failed"))
		r = take_failed(node, record, err);
	return r == -EBADMSG ? lsc_err_set(err, EPROTO, "%s", err->text) : r;
}

static void on_open(void *data, struct lsc_link *link)
{
	struct node *node = data;

	(void)link;
	node->open = true;
	node->heard_ns = node->cast->progress_ns = lsc_clock_ns();
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct node *node = data;
	struct lsc_cast *c = node->cast;
	struct lsc_err named = *err;
	bool open = false;

	lsc_link_close(link);
	node->link = NULL;
	if (!err->code)
		lsc_err_set(&named, ECONNRESET, "%s: left the cast before its end", node->name);
	fail(c, node, &named);
	if (c->phase != ENDING)
		return;
	for (uint32_t i = 1; i < c->n_nodes; i++)
		open = open || c->nodes[i].link;
	if (!open)
		lsc_timer_arm(c->linger, 0);
}

static const struct lsc_link_events control_events = {
	.on_open = on_open,
	.on_record = on_record,
	.on_close = on_close,
};

/* --- time --- */

/* A node is silent too long, however much it has to do: it says how it gets on 5 times a second. */
static bool check_node(struct node *node, uint64_t now)
{
	struct lsc_cast *c = node->cast;
	struct lsc_err err = LSC_ERR_INIT;
	size_t queued;

	if (!node->link || !node->open)
		return true; /* the link itself watches over connecting */
	queued = lsc_link_queued(node->link);
	if (queued != node->queued) { /* it takes what we send */
		node->heard_ns = now;
		if (c->phase == OFFERING)
			c->progress_ns = now;
	}
	node->queued = queued;
	if (now - LSC_MIN(node->heard_ns, now) < c->o.timeout_ns)
		return true;
	lsc_err_set(&err, ETIMEDOUT, "%s: nothing heard for %.1f s", node->name,
		    (double)c->o.timeout_ns / 1e9);
	fail(c, node, &err);
	return false;
}

/* All live, and nobody gets on.  Those who have every piece are writing it to their disks, which
 * may take long. */
static void check_progress(struct lsc_cast *c, uint64_t now)
{
	uint64_t limit = c->o.timeout_ns;
	struct lsc_err err = LSC_ERR_INIT;

	if (c->o.rate > 0) /* the first piece may have to pass many nodes */
		limit += (uint64_t)(c->o.image->piece_bytes * 1e9 / c->o.rate *
				    (4 + ceil(log2(c->n_nodes))));
	if (c->phase != CASTING || now - LSC_MIN(c->progress_ns, now) < limit)
		return;
	for (uint32_t i = 1; i < c->n_nodes; i++) {
		struct node *node = &c->nodes[i];

		if (node->source || node->complete || node->pieces == c->o.image->n_pieces)
			continue;
		lsc_err_set(&err, ETIMEDOUT, "%s: no piece arrived there or elsewhere for %.1f s",
			    node->name, (double)limit / 1e9);
		fail(c, node, &err);
		return;
	}
}

static void on_tick(void *data)
{
	struct lsc_cast *c = data;
	uint64_t now = lsc_clock_ns();

	for (uint32_t i = 1; i < c->n_nodes && c->phase < ENDING; i++)
		if (!check_node(&c->nodes[i], now))
			return;
	check_progress(c, now);
	if (c->o.on_tick)
		c->o.on_tick(c->o.data, c);
	if (c->phase < ENDING)
		lsc_timer_arm(c->tick, LSC_CAST_PROGRESS_NS);
}

/* --- life --- */

void lsc_cast_free(struct lsc_cast *c)
{
	if (!c)
		return;
	lsc_member_free(c->member);
	for (uint32_t i = 0; c->nodes && i < c->n_nodes; i++)
		lsc_link_close(c->nodes[i].link);
	lsc_timer_free(c->tick);
	lsc_timer_free(c->linger);
	lsc_report_release(&c->report);
	lsc_pack_release(&c->pack);
	free(c->nodes);
	free(c->by_rank);
	free(c);
}

static int offer(struct lsc_cast *c, struct node *node, struct lsc_err *err)
{
	struct lsc_link_options options = {
		.kind = LSC_CAST_KIND,
		.connect_timeout_ns = c->o.timeout_ns,
		.key = c->o.key,
	};
	struct lsc_offer offer = {.cast = c->id,
				  .source = node->source,
				  .cleartext = c->o.cleartext,
				  .proof = c->proof};
	uint32_t len = (uint32_t)c->o.image->manifest_len;
	struct lsc_endpoint endpoint;
	int r = lsc_endpoint_parse(&endpoint, node->name, err);

	if (r == 0 && endpoint.kind == LSC_ENDPOINT_TCP && endpoint.port == 0)
		r = lsc_err_set(err, EINVAL, "'%s' has no port to connect to", node->name);
	if (r == 0)
		r = lsc_link_connect(&node->link, c->loop, &endpoint, &options, &control_events,
				     node, err);
	if (r < 0)
		return r;
	strcpy(offer.name, c->o.name);
	r = lsc_offer_pack(&c->pack, &offer, len);
	if (r == 0)
		r = lsc_link_send(node->link, &c->pack, c->o.image->manifest, len, NULL);
	return r < 0 ? lsc_err_set(err, -r, "cannot offer an image: %m") : 0;
}

static int check_options(const struct lsc_cast_options *o, struct lsc_err *err)
{
	uint64_t n = 1 + (uint64_t)o->n_sources + o->n_to;
	int r = lsc_segment_check_name(o->name, err);
	struct lsc_schedule schedule;

	if (r < 0)
		return r;
	if (o->n_to == 0 || n > LSC_CAST_MAX_NODES)
		return lsc_err_set(err, EINVAL,
				   "a cast goes to 1 node at least, and has %u at most",
				   LSC_CAST_MAX_NODES);
	r = lsc_schedule_init(&schedule, o->order, (uint32_t)n, o->n_sources + 1,
			      LSC_MAX(o->image->n_pieces, 1u), err);
	if (r == 0)
		r = lsc_agenda_check(&schedule, err);
	if (r < 0)
		return r;
	for (uint32_t i = 1; i < n; i++) {
		const char *name =
			i <= o->n_sources ? o->sources[i - 1] : o->to[i - 1 - o->n_sources];

		if (strlen(name) >= LSC_CAST_ADDRESS)
			return lsc_err_set(err, EINVAL, "'%.32s...' is too long for a node", name);
		for (uint32_t j = 1; j < i; j++)
			if (!strcmp(name, j <= o->n_sources ? o->sources[j - 1]
							    : o->to[j - 1 - o->n_sources]))
				return lsc_err_set(err, EINVAL, "node '%s' is given twice", name);
	}
	return 0;
}

static int make_nodes(struct lsc_cast *c, struct lsc_err *err)
{
	c->n_nodes = 1 + c->o.n_sources + c->o.n_to;
	c->nodes = calloc(c->n_nodes, sizeof(c->nodes[0]));
	c->by_rank = calloc(c->n_nodes, sizeof(c->by_rank[0]));
	if (!c->nodes || !c->by_rank)
		return lsc_err_set(err, ENOMEM, "cannot start a cast: %m");
	for (uint32_t i = 0; i < c->n_nodes; i++) {
		struct node *node = &c->nodes[i];

		*node = (struct node){.cast = c, .index = i, .source = i <= c->o.n_sources};
		node->name = i == 0         ? "local"
			     : node->source ? c->o.sources[i - 1]
					    : c->o.to[i - 1 - c->o.n_sources];
	}
	c->nodes[0].complete = true;
	return 0;
}

int lsc_cast_start(struct lsc_cast **ret_cast, struct lsc_loop *loop,
		   const struct lsc_cast_options *options, struct lsc_err *err)
{
	struct lsc_cast *c;
	int r = check_options(options, err);

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return lsc_err_set(err, ENOMEM, "cannot start a cast: %m");
	c->o = *options;
	c->loop = loop;
	c->progress_ns = lsc_clock_ns();
	c->report = (struct lsc_report)LSC_REPORT_INIT;
	if (getrandom(c->id.bytes, sizeof(c->id.bytes), 0) != sizeof(c->id.bytes))
		r = lsc_err_set(err, EIO, "cannot draw random bytes: %m");
	memcpy(c->proof.id, c->id.bytes, sizeof(c->proof.id));
	if (r == 0)
		r = lsc_pass_draw(c->proof.secret, sizeof(c->proof.secret), err);
	if (r == 0)
		r = lsc_timer_new(loop, on_tick, c, &c->tick, err);
	if (r == 0)
		r = lsc_timer_new(loop, on_linger, c, &c->linger, err);
	if (r == 0)
		r = make_nodes(c, err);
	for (uint32_t i = 1; r == 0 && i < c->n_nodes; i++)
		r = offer(c, &c->nodes[i], err);
	if (r == 0)
		r = lsc_report_init(&c->report, loop, c->o.report_fd, err);
	if (r < 0) {
		lsc_cast_free(c);
		return r;
	}
	report_cast(c);
	lsc_timer_arm(c->tick, LSC_CAST_PROGRESS_NS);
	*ret_cast = c;
	return 0;
}

const struct lsc_image *lsc_cast_image(const struct lsc_cast *c)
{
	return c->o.image;
}

uint32_t lsc_cast_n_nodes(const struct lsc_cast *c)
{
	return c->n_nodes;
}

struct lsc_cast_node lsc_cast_node(const struct lsc_cast *c, uint32_t node)
{
	const struct node *n = &c->nodes[node];

	return (struct lsc_cast_node){n->name, n->source, n->pieces, n->bytes, n->complete};
}
