/* control - the coordinator's link to one node: what is said to it, and what it says
 *
 * A node that breaks the protocol here is one that failed, and nothing worse: counts and numbers
 * are held to the image's before anything is done with them.
 */
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "cast/cast_own.h"

/* --- what it says --- */

static int take_ready(struct lsc_control *node, const struct lsc_record *record,
		      struct lsc_err *err)
{
	struct lsc_cast *c = node->cast;
	struct lsc_ready ready;
	uint32_t n;
	int r = lsc_ready_parse(record, c->o.image->n_pieces, &ready, c->held, &n, err);
	struct lsc_pack *out;

	if (r == 0 && (node->ready || (node->source && !node->part && !ready.complete)))
		r = lsc_err_set(err, EPROTO, "is ready out of turn");
	if (r == 0 && c->o.transport == LSC_TRANSPORT_RDMA && !ready.rdma)
		r = lsc_err_set(err, ENODEV, "has no data links over RDMA");
	if (r < 0)
		return r;
	node->ready = true;
	node->rdma = ready.rdma && c->rdma;
	node->pieces = node->had = n;
	node->bytes = LSC_MIN((uint64_t)n * c->o.image->piece_bytes, c->o.image->bytes);
	node->progress_ns = lsc_clock_ns();
	out = lsc_report_begin(&c->report, "node");
	lsc_pack_uint(out, "node", node->index);
	lsc_pack_str(out, "name", node->name);
	lsc_pack_str(out, "role", node->source ? "source" : "receiver");
	lsc_pack_uint(out, "pieces", n);
	if (*ready.exec)
		lsc_pack_str(out, "exec", ready.exec);
	lsc_report_end(&c->report);
	if (ready.complete && !node->source)
		lsc_cast_complete(c, node);
	lsc_cast_ready(c, node);
	return 0;
}

static int take_progress(struct lsc_control *node, const struct lsc_record *record,
			 struct lsc_err *err)
{
	struct lsc_cast *c = node->cast;
	struct lsc_node_progress progress;
	int r = lsc_node_progress_parse(record, &progress, err);

	if (r == 0 &&
	    (progress.pieces > c->o.image->n_pieces || progress.bytes > c->o.image->bytes))
		r = lsc_err_set(err, EPROTO, "has more than there is");
	if (r < 0)
		return r;
	if (node->ready && c->phase == LSC_CAST_CASTING)
		lsc_cast_progress(c, node, &progress);
	return 0;
}

static bool is_arriving(const struct lsc_control *node)
{
	return !node->source && node->joined && !node->complete;
}

static int take_block(struct lsc_control *node, const struct lsc_record *record,
		      struct lsc_err *err)
{
	struct lsc_cast *c = node->cast;
	struct lsc_pack *out;
	uint64_t block;
	int r = lsc_record_uint(record, "block", LSC_IMAGE_MAX_BLOCKS, &block, err);

	if (r == 0 && (block >= c->o.image->n_blocks || !is_arriving(node)))
		r = lsc_err_set(err, EPROTO, "reports a block out of turn");
	if (r < 0)
		return r;
	node->progress_ns = c->progress_ns = lsc_clock_ns();
	out = lsc_report_begin(&c->report, "block");
	lsc_pack_uint(out, "node", node->index);
	lsc_pack_uint(out, "block", block);
	lsc_report_end(&c->report);
	return 0;
}

static int take_complete(struct lsc_control *node, struct lsc_err *err)
{
	if (!is_arriving(node))
		return lsc_err_set(err, EPROTO, "is complete out of turn");
	lsc_cast_complete(node->cast, node);
	return 0;
}

static int take_failed(struct lsc_control *node, const struct lsc_record *record,
		       struct lsc_err *err)
{
	struct lsc_err named = LSC_ERR_INIT;
	struct lsc_failed failed;
	int r = lsc_failed_parse(record, &failed, err);

	if (r < 0)
		return r;
	if (failed.code == EINVAL) /* our command line is not to blame */
		failed.code = EPROTO;
	if (failed.node != LSC_NOBODY) {
		lsc_cast_fault(node->cast, node, &failed);
		return 0;
	}
	lsc_err_set(&named, failed.code, "%s: %s", node->name, failed.why);
	lsc_cast_fail(node->cast, node, &named);
	return 0;
}

static int take_stats(struct lsc_control *node, const struct lsc_record *record,
		      struct lsc_err *err)
{
	int r = lsc_stats_parse(record, &node->stats, err);

	node->counted = r == 0;
	return r;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct lsc_control *node = data;
	int r = 0;

	(void)link;
	(void)body_len;
	(void)ret_body;
	node->heard_ns = lsc_clock_ns();
	if (lsc_record_is(record, "stats"))
		return take_stats(node, record, err);
	if (node->cast->phase >= LSC_CAST_ENDING)
		return 0;
	if (lsc_record_is(record, "progress"))
		r = take_progress(node, record, err);
	else if (lsc_record_is(record, "block"))
		r = take_block(node, record, err);
	else if (lsc_record_is(record, "ready"))
		r = take_ready(node, record, err);
	else if (lsc_record_is(record, "complete"))
		r = take_complete(node, err);
	else if (lsc_record_is(record, "failed") || lsc_record_is(record, "fault"))
		r = take_failed(node, record, err);
	return r == -EBADMSG ? lsc_err_set(err, EPROTO, "%s", err->text) : r;
}

/* --- the link --- */

static void on_open(void *data, struct lsc_link *link)
{
	struct lsc_control *node = data;

	(void)link;
	node->open = true;
	node->heard_ns = lsc_clock_ns();
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct lsc_control *node = data;
	struct lsc_err named = *err;

	lsc_link_close(link);
	node->link = NULL;
	if (!err->code)
		lsc_err_set(&named, ECONNRESET, "%s: left the cast before its end", node->name);
	if (node->cast->phase >= LSC_CAST_ENDING)
		lsc_cast_left(node->cast);
	else
		lsc_cast_fail(node->cast, node, &named);
}

static const struct lsc_link_events events = {
	.on_open = on_open,
	.on_record = on_record,
	.on_close = on_close,
};

/* --- what is said to it --- */

int lsc_control_offer(struct lsc_control *node, struct lsc_err *err)
{
	struct lsc_cast *c = node->cast;
	struct lsc_link_options options = {
		.kind = LSC_CAST_KIND,
		.connect_timeout_ns = c->o.timeout_ns,
		.key = c->o.key,
	};
	struct lsc_offer offer = {
		.cast = c->id,
		.source = node->source,
		.part = node->part,
		.cleartext = c->o.cleartext,
		.proof = c->proof,
	};
	uint32_t len = (uint32_t)c->o.image->manifest_len;
	struct lsc_endpoint endpoint;
	int r = lsc_endpoint_parse(&endpoint, node->name, err);

	if (r == 0 && endpoint.kind == LSC_ENDPOINT_TCP && endpoint.port == 0)
		r = lsc_err_set(err, EINVAL, "'%s' has no port to connect to", node->name);
	if (r == 0)
		r = lsc_link_connect(&node->link, c->loop, &endpoint, &options, &events, node, err);
	if (r < 0)
		return r;
	strcpy(offer.name, c->o.name);
	r = lsc_offer_pack(&c->pack, &offer, len);
	if (r == 0)
		r = lsc_link_send(node->link, &c->pack, c->o.image->manifest, len, NULL);
	return r < 0 ? lsc_err_set(err, -r, "cannot offer an image: %m") : 0;
}

int lsc_control_plan(struct lsc_control *node, const struct lsc_plan *plan)
{
	int r = lsc_plan_pack(&node->cast->pack, plan);

	if (r == 0 && node->cast->pack.buf.len > LSC_RECORD_MAX_BYTES)
		r = -EMSGSIZE;
	return r < 0 ? r : lsc_link_send(node->link, &node->cast->pack, NULL, 0, NULL);
}

bool lsc_control_end(struct lsc_control *node, int code, const char *why)
{
	struct lsc_pack *pack = &node->cast->pack;
	int r = -ENOTCONN;

	if (!node->link)
		return false;
	if (node->open && code) {
		r = lsc_link_pack_abort(pack, code, why);
	} else if (node->open) {
		lsc_pack_begin(pack, "end");
		r = lsc_pack_end(pack);
	}
	if (r == 0)
		r = lsc_link_send(node->link, pack, NULL, 0, NULL);
	if (r == 0)
		return true;
	lsc_link_close(node->link);
	node->link = NULL;
	return false;
}

bool lsc_control_is_silent(struct lsc_control *node, uint64_t now, struct lsc_err *err)
{
	struct lsc_cast *c = node->cast;
	size_t queued;

	if (!node->link || !node->open)
		return false; /* the link itself watches over connecting */
	queued = lsc_link_queued(node->link);
	if (queued != node->queued) /* it takes what we send */
		node->heard_ns = now;
	node->queued = queued;
	if (now - LSC_MIN(node->heard_ns, now) < c->o.timeout_ns)
		return false;
	lsc_err_set(err, ETIMEDOUT, "%s: nothing heard for %.1f s", node->name,
		    (double)c->o.timeout_ns / 1e9);
	return true;
}
