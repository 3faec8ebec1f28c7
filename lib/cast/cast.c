/* cast - offers, plans, listens, and ends a cast
 *
 * Phases: OFFERING until the cast can begin, CASTING until every receiver is complete or has
 * failed, ENDING until every node has closed its link (or LINGER_NS are over), FLUSHING until the
 * reader of the arrival records has them, DONE.
 *
 * The cast begins when all have answered, and without those that take GRACE_NS longer than the
 * first; these join when they come.  A schedule waits for all, and so does a coordinator that lacks
 * pieces itself, until somebody has them.
 */
#include "cast/cast.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "cast/cast_own.h"
#include "cast/missing.h"
#include "cast/usage.h"

#define LINGER_NS 2000000000u
#define FLUSH_NS  20000000u /* from look to look whether the reader has everything */
#define GRACE_NS  1000000000u

/* Plans are as good as what is known is fresh; many nodes have more to say than one can hear. */
#define REPORT_NS      100000000ull
#define REPORT_NODE_NS 1000000ull
#define MAX_REPORT_NS  500000000ull

/* --- the end --- */

static void report_stats(struct lsc_cast *c)
{
	for (uint32_t i = 0; i < c->n_nodes; i++) {
		const struct lsc_control *node = &c->nodes[i];
		struct lsc_pack *record;

		if (!node->counted)
			continue;
		record = lsc_report_begin(&c->report, "stats");
		lsc_pack_uint(record, "node", i);
		lsc_pack_real(record, "cpu", node->stats.cpu_s);
		lsc_pack_uint(record, "received", node->stats.received);
		lsc_pack_uint(record, "sent", node->stats.sent);
		lsc_pack_uint(record, "memory", node->stats.memory);
		lsc_report_end(&c->report);
	}
}

static void on_linger(void *data)
{
	struct lsc_cast *c = data;
	int lost;

	if (c->phase == LSC_CAST_ENDING)
		report_stats(c);
	c->phase = LSC_CAST_FLUSHING;
	if (lsc_report_is_waiting(&c->report)) {
		lsc_timer_arm(c->linger, FLUSH_NS);
		return;
	}
	c->phase = LSC_CAST_DONE;
	lsc_timer_disarm(c->tick);
	lost = lsc_report_lost(&c->report);
	if (c->result == 0 && lost)
		c->result = lsc_err_set(&c->err, lost,
					"all nodes have the image, but arrival records were not "
					"written: %m");
	c->o.on_done(c->o.data, c->result, &c->err);
}

void lsc_cast_left(struct lsc_cast *c)
{
	if (c->phase != LSC_CAST_ENDING)
		return;
	for (uint32_t i = 1; i < c->n_nodes; i++)
		if (c->nodes[i].link)
			return;
	lsc_timer_arm(c->linger, 0);
}

/* Says the last word to all, and waits for them to close. */
static void end(struct lsc_cast *c)
{
	uint32_t open = 0;

	c->phase = LSC_CAST_ENDING;
	c->nodes[0].counted = c->member != NULL;
	c->nodes[0].stats = (struct lsc_stats){
		.cpu_s = lsc_usage_cpu_s() - c->cpu_s,
		.sent = c->member ? lsc_member_sent(c->member) : 0,
		.memory = lsc_usage_memory(),
	};
	for (uint32_t i = 1; i < c->n_nodes; i++)
		open += lsc_control_end(&c->nodes[i], c->result < 0 ? c->err.code : 0, c->err.text);
	lsc_timer_arm(c->linger, open ? LINGER_NS : 0);
}

static void report_failed(struct lsc_cast *c, const struct lsc_control *node, const char *why)
{
	struct lsc_pack *record = lsc_report_begin(&c->report, "failed");

	lsc_pack_uint(record, "node", node->index);
	lsc_pack_str(record, "why", why);
	lsc_report_end(&c->report);
}

static void report_end(struct lsc_cast *c)
{
	struct lsc_pack *record = lsc_report_begin(&c->report, "end");

	lsc_pack_real(record, "seconds", lsc_report_seconds(&c->report));
	lsc_pack_uint(record, "complete", c->n_complete);
	lsc_pack_uint(record, "failed", c->n_failed);
	lsc_report_end(&c->report);
}

/* Every receiver is complete or has failed. */
static void finish(struct lsc_cast *c)
{
	struct lsc_err first = c->err;

	c->result = c->n_failed ? 1 : 0;
	if (c->n_failed && !c->n_complete) {
		c->result = -c->err.code;
	} else {
		c->err = (struct lsc_err)LSC_ERR_INIT;
		if (c->n_failed)
			lsc_err_set(&c->err, first.code, "%u of %u nodes did not get the image",
				    c->n_failed, c->o.n_to);
		report_end(c);
	}
	end(c);
}

static bool is_over(const struct lsc_cast *c)
{
	return c->n_complete + c->n_failed == c->o.n_to;
}

void lsc_cast_abort(struct lsc_cast *c, const char *why)
{
	if (c->phase >= LSC_CAST_ENDING) { /* all that is left to give up */
		lsc_report_drop(&c->report, ECANCELED);
		return;
	}
	c->result = lsc_err_set(&c->err, ECANCELED, "%s", why);
	end(c);
}

/* --- plans --- */

static void plan_node(struct lsc_cast *c, struct lsc_control *node)
{
	struct lsc_plan plan;
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_planner_plan(c->planner, node->index, &plan);

	if (r <= 0) {
		if (r < 0)
			lsc_cast_fail(c, &c->nodes[0],
				      (lsc_err_set(&err, -r, "cannot plan a cast: %m"), &err));
		return;
	}
	if (node->index == 0)
		r = lsc_member_plan(c->member, &plan, &err);
	else if ((r = lsc_control_plan(node, &plan)) < 0)
		lsc_err_set(&err, -r, "%s: cannot send it a plan: %m", node->name);
	lsc_plan_release(&plan);
	if (r < 0)
		lsc_cast_fail(c, node, &err);
}

/* Deferred, since what calls for it comes from inside of what a plan changes. */
static void on_replan(void *data)
{
	struct lsc_cast *c = data;
	const char *why;

	if (c->phase != LSC_CAST_CASTING || !lsc_planner_step(c->planner, lsc_clock_ns(), &why))
		return;
	if (*why)
		lsc_info("%s", why);
	for (uint32_t i = 0; i < c->n_nodes && c->phase == LSC_CAST_CASTING; i++)
		if (c->nodes[i].joined)
			plan_node(c, &c->nodes[i]);
}

/* --- failures --- */

void lsc_cast_fail(struct lsc_cast *c, struct lsc_control *node, const struct lsc_err *err)
{
	if (c->phase >= LSC_CAST_ENDING || node->failed)
		return;
	node->failed = err->code;
	snprintf(node->why, sizeof(node->why), "%.*s", LSC_CAST_WHY - 1, err->text);
	report_failed(c, node, err->text);
	if (!c->err.code)
		c->err = *err;
	if (node->index == 0) {
		c->err = *err;
		c->result = -err->code;
		end(c);
		return;
	}
	if (lsc_control_end(node, err->code, err->text))
		lsc_link_finish(node->link);
	node->link = NULL;
	if (!node->source && !node->complete)
		c->n_failed++;
	if (node->joined) {
		node->joined = false;
		lsc_planner_leave(c->planner, node->index, lsc_clock_ns());
		c->lost = true;
		lsc_timer_arm(c->replan, 0);
	}
	if (is_over(c)) {
		if (c->n_complete)
			lsc_warning("%s", node->why);
		finish(c);
		return;
	}
	lsc_warning("%s, going on without it", node->why);
	lsc_cast_ready(c, NULL); /* nobody waits for it */
}

/* --- the start --- */

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
	lsc_pack_str(record, "order",
		     c->o.scheduled ? lsc_order_name(c->o.order)
		     : c->o.rotate  ? "kway"
				    : "throughput");
	lsc_report_end(&c->report);
	if (c->o.absent)
		return;
	record = lsc_report_begin(&c->report, "node");
	lsc_pack_uint(record, "node", 0);
	lsc_pack_str(record, "name", "local");
	lsc_pack_str(record, "role", "source");
	if (c->o.exec)
		lsc_pack_str(record, "exec", c->o.exec);
	lsc_report_end(&c->report);
}

static void on_member_fault(void *data, uint32_t node, uint32_t piece, const struct lsc_err *err)
{
	struct lsc_cast *c = data;
	struct lsc_failed fault = {.code = err->code, .node = node, .piece = piece};

	snprintf(fault.why, sizeof(fault.why), "%.*s", LSC_CAST_WHY - 1, err->text);
	lsc_cast_fault(c, &c->nodes[0], &fault);
}

static void on_member_failed(void *data, const struct lsc_err *err)
{
	struct lsc_cast *c = data;

	lsc_cast_fail(c, &c->nodes[0], err);
}

static const struct lsc_member_events member_events = {
	.on_fault = on_member_fault,
	.on_failed = on_member_failed,
};

/* What the sending command itself has: all, or a part. */
static uint64_t own_bytes(const struct lsc_cast *c)
{
	const struct lsc_image *image = c->o.image;

	return c->o.segment
		       ? LSC_MIN((uint64_t)lsc_segment_count(c->o.segment) * image->piece_bytes,
				 image->bytes)
		       : image->bytes;
}

static void join(struct lsc_cast *c, struct lsc_control *node)
{
	if (c->o.scheduled && node->complete && !node->source)
		return; /* a schedule has no place for it */
	node->joined = true;
	node->progress_ns = lsc_clock_ns();
	lsc_planner_join(c->planner, node->index, node->source || node->complete, node->name,
			 node->index ? node->bytes : own_bytes(c), node->progress_ns);
	if (node->rdma)
		lsc_planner_rdma(c->planner, node->index);
}

/* A piece that nobody has would be waited for in vain. */
static int check_pieces(struct lsc_cast *c, struct lsc_err *err)
{
	if (!c->o.segment && !c->o.absent)
		return 0;
	for (uint32_t i = 0; c->o.segment && i < c->o.image->n_pieces; i++)
		if (lsc_segment_has(c->o.segment, i, 1))
			lsc_bits_add(c->held, i);
	return lsc_missing_check(c->o.image, c->held, err);
}

static int make_member(struct lsc_cast *c, struct lsc_err *err)
{
	struct lsc_member_options options = {
		.loop = c->loop,
		.cast = c->id,
		.image = c->o.image,
		.data = c->o.image->data,
		.data_fd = lsc_image_fd(c->o.image),
		.segment = (struct lsc_segment *)c->o.segment,
		.key = c->o.key,
		.proof = c->o.cleartext ? &c->proof : NULL,
		.events = &member_events,
		.data_of_events = c,
	};

	return lsc_member_new(&c->member, &options, err);
}

static void begin(struct lsc_cast *c)
{
	struct lsc_err err = LSC_ERR_INIT;
	const struct lsc_planner_options options = {
		.scheduled = c->o.scheduled,
		.order = c->o.order,
		.rotate = c->o.rotate,
		.max_nodes = c->n_nodes,
		.n_pieces = c->o.image->n_pieces,
		.bytes = c->o.image->bytes,
		.blocks = c->o.image->blocks,
		.n_blocks = c->o.image->n_blocks,
		.rate = c->o.rate,
		.timeout_ns = c->o.timeout_ns,
		.report_ns = c->report_ns,
		.rdma = c->o.transport == LSC_TRANSPORT_RDMA,
	};
	int r = check_pieces(c, &err);

	if (r == 0 && !c->o.absent)
		r = make_member(c, &err);
	if (r == 0)
		r = lsc_planner_new(&c->planner, &options, &err);
	if (r < 0) {
		lsc_cast_fail(c, &c->nodes[0], &err);
		return;
	}
	c->phase = LSC_CAST_CASTING;
	c->progress_ns = lsc_clock_ns();
	for (uint32_t i = 0; i < c->n_nodes; i++)
		if (i == 0 ? !c->o.absent : c->nodes[i].ready && !c->nodes[i].failed)
			join(c, &c->nodes[i]);
	on_replan(c);
}

static void consider_beginning(struct lsc_cast *c)
{
	uint32_t waits = 0;
	bool wait, all = true;

	if (!c->first_ready_ns)
		return;
	wait = c->o.scheduled || check_pieces(c, NULL) < 0;
	for (uint32_t i = 1; i < c->n_nodes; i++) {
		const struct lsc_control *node = &c->nodes[i];

		if (node->ready || node->failed)
			continue;
		all = false;
		waits += node->source || wait;
	}
	if (all || (!waits && lsc_clock_ns() - c->first_ready_ns >= GRACE_NS))
		begin(c);
}

void lsc_cast_ready(struct lsc_cast *c, struct lsc_control *node)
{
	if (node && !node->source && !c->first_ready_ns)
		c->first_ready_ns = lsc_clock_ns();
	if (is_over(c) && c->phase < LSC_CAST_ENDING) {
		finish(c);
	} else if (c->phase == LSC_CAST_OFFERING) {
		consider_beginning(c);
	} else if (c->phase == LSC_CAST_CASTING && node && !node->joined) {
		join(c, node);
		lsc_timer_arm(c->replan, 0);
	}
}

/* --- what nodes say --- */

void lsc_cast_complete(struct lsc_cast *c, struct lsc_control *node)
{
	struct lsc_pack *record = lsc_report_begin(&c->report, "complete");

	node->complete = true;
	node->pieces = c->o.image->n_pieces;
	node->bytes = c->o.image->bytes;
	c->progress_ns = lsc_clock_ns();
	lsc_pack_uint(record, "node", node->index);
	lsc_report_end(&c->report);
	c->n_complete++;
	if (c->phase == LSC_CAST_CASTING && is_over(c))
		finish(c);
}

static void note_offers(struct lsc_cast *c, uint32_t from, const struct lsc_node_progress *progress)
{
	for (uint32_t i = 0; i < progress->n_sent; i++) {
		struct lsc_control *to = &c->nodes[progress->sent[i].node];

		if (progress->sent[i].node >= c->n_nodes)
			continue;
		to->offered = progress->sent[i].ready;
		to->offered_by = from;
	}
}

void lsc_cast_progress(struct lsc_cast *c, struct lsc_control *node,
		       const struct lsc_node_progress *progress)
{
	struct lsc_pack *out;
	uint64_t now = lsc_clock_ns();

	if (node->joined)
		lsc_planner_progress(c->planner, node->index, progress, now);
	note_offers(c, node->index, progress);
	if (node->source || node->complete)
		return;
	if (progress->bytes != node->bytes) {
		node->progress_ns = c->progress_ns = now;
		node->trouble.code = 0;
	}
	node->pieces = progress->pieces;
	node->bytes = progress->bytes;
	out = lsc_report_begin(&c->report, "progress");
	lsc_pack_uint(out, "node", node->index);
	lsc_pack_uint(out, "pieces", progress->pieces);
	lsc_pack_uint(out, "bytes", progress->bytes);
	lsc_report_end(&c->report);
}

/* --- time --- */

static void on_tick(void *data)
{
	struct lsc_cast *c = data;
	struct lsc_node_progress progress;

	lsc_cast_watch(c);
	if (c->phase == LSC_CAST_OFFERING)
		consider_beginning(c);
	if (c->phase == LSC_CAST_CASTING && c->member) {
		lsc_member_progress(c->member, &progress);
		lsc_planner_progress(c->planner, 0, &progress, lsc_clock_ns());
		note_offers(c, 0, &progress);
	}
	if (c->phase == LSC_CAST_CASTING)
		on_replan(c);
	if (c->o.on_tick)
		c->o.on_tick(c->o.data, c);
	if (c->phase < LSC_CAST_ENDING)
		lsc_timer_arm(c->tick, c->report_ns);
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
	lsc_timer_free(c->replan);
	lsc_planner_free(c->planner);
	lsc_report_release(&c->report);
	lsc_pack_release(&c->pack);
	free(c->nodes);
	free(c->held);
	free(c);
}

static int make_nodes(struct lsc_cast *c, struct lsc_err *err)
{
	c->n_nodes = 1 + c->o.n_sources + c->o.n_to;
	c->nodes = calloc(c->n_nodes, sizeof(c->nodes[0]));
	c->held = lsc_bits_new(c->o.image->n_pieces);
	if (!c->nodes || !c->held)
		return lsc_err_set(err, ENOMEM, "cannot start a cast: %m");
	for (uint32_t i = 0; i < c->n_nodes; i++)
		c->nodes[i] = (struct lsc_control){
			.cast = c,
			.index = i,
			.name = lsc_cast_node_name(&c->o, i),
			.source = i <= c->o.n_sources,
			.part = i <= c->o.n_sources && i > c->o.n_sources - c->o.n_parts,
			.accuses = LSC_NOBODY,
		};
	c->nodes[0].complete = true;
	return 0;
}

/* RDMA encrypts nothing. */
static int choose_transport(struct lsc_cast *c, struct lsc_err *err)
{
	bool must = c->o.transport == LSC_TRANSPORT_RDMA;
	int r;

	if (c->o.transport == LSC_TRANSPORT_TCP)
		return 0;
	if (c->o.key && !c->o.cleartext)
		return must ? lsc_err_set(
				      err, EINVAL,
				      "data over RDMA is not encrypted: --transport rdma with a "
				      "key needs --cleartext-data")
			    : 0;
	r = lsc_transport_find_rdma(must ? err : NULL);
	c->rdma = true; /* between others, where there is none here */
	c->nodes[0].rdma = r == 0;
	return must ? r : 0;
}

int lsc_cast_start(struct lsc_cast **ret_cast, struct lsc_loop *loop,
		   const struct lsc_cast_options *options, struct lsc_err *err)
{
	struct lsc_cast *c;
	int r = lsc_cast_options_check(options, err);

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return lsc_err_set(err, ENOMEM, "cannot start a cast: %m");
	c->o = *options;
	c->loop = loop;
	c->cpu_s = lsc_usage_cpu_s();
	c->report_ns = LSC_MIN(LSC_MAX(REPORT_NS, REPORT_NODE_NS * options->n_to), MAX_REPORT_NS);
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
		r = lsc_timer_new(loop, on_replan, c, &c->replan, err);
	if (r == 0)
		r = make_nodes(c, err);
	if (r == 0)
		r = choose_transport(c, err);
	for (uint32_t i = 1; r == 0 && i < c->n_nodes; i++)
		r = lsc_control_offer(&c->nodes[i], err);
	if (r == 0)
		r = lsc_report_init(&c->report, loop, c->o.report_fd, c->o.report_json, err);
	if (r < 0) {
		lsc_cast_free(c);
		return r;
	}
	report_cast(c);
	lsc_timer_arm(c->tick, c->report_ns);
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
	const struct lsc_control *n = &c->nodes[node];

	return (struct lsc_cast_node){
		.name = n->name,
		.source = n->source,
		.pieces = n->pieces,
		.had = n->had,
		.bytes = n->bytes,
		.complete = n->complete,
		.why = n->failed ? n->why : NULL,
		.counted = n->counted,
		.stats = n->stats,
	};
}
