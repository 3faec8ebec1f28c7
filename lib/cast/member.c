/* member - one node's part in one cast: what is here, and what the plan says
 *
 * Every peer is sent to at once, and the network shares the node's link among them.  A schedule
 * takes turns instead, which is only as good where all turns are equally long: links do not keep
 * time, and then two nodes send to a third, each at half its speed, while a fourth gets nothing.
 * What flows to all peers all the time evens out, and a slow peer delays only who waits for pieces
 * from it.
 */
#include "cast/member.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/macros.h"
#include "cast/member_own.h"

/* --- life --- */

void lsc_member_free(struct lsc_member *m)
{
	if (!m)
		return;
	while (m->outlets) {
		struct lsc_outlet *outlet = m->outlets;

		m->outlets = outlet->next;
		lsc_outlet_free(outlet);
	}
	lsc_claimed_stop(m);
	lsc_pack_release(&m->pack);
	free(m->here);
	free(m->coming);
	free(m->told);
	free(m->blocks);
	free(m);
}

bool lsc_member_count(struct lsc_member *m, uint32_t piece)
{
	lsc_bits_add(m->here, piece);
	lsc_bits_add(m->told, piece);
	m->n_here++;
	m->bytes_here += lsc_image_piece_bytes(m->o.image, piece);
	return --m->blocks[lsc_image_piece_block(m->o.image, piece)] == 0;
}

int lsc_member_new(struct lsc_member **ret_member, const struct lsc_member_options *options,
		   struct lsc_err *err)
{
	const struct lsc_image *image = options->image;
	struct lsc_member *m = calloc(1, sizeof(*m));

	if (!m)
		return lsc_err_set(err, ENOMEM, "cannot take part in a cast: %m");
	m->o = *options;
	m->data = m->o.data ? m->o.data : m->o.segment->data;
	m->here = lsc_bits_new(image->n_pieces);
	m->coming = lsc_bits_new(image->n_pieces);
	m->told = lsc_bits_new(image->n_pieces);
	m->blocks = calloc(image->n_blocks + (size_t)1, sizeof(m->blocks[0]));
	m->what = (struct lsc_next){.here = m->here, .n_pieces = image->n_pieces};
	if (!m->here || !m->coming || !m->told || !m->blocks) {
		lsc_member_free(m);
		return lsc_err_set(err, ENOMEM, "cannot take part in a cast: %m");
	}
	for (uint32_t i = 0; i < image->n_blocks; i++)
		m->blocks[i] = image->blocks[i].n_pieces;
	for (uint32_t i = 0; i < image->n_pieces; i++)
		if (!m->o.segment || lsc_segment_has(m->o.segment, i, 1))
			lsc_member_count(m, i);
	if (lsc_claimed_start(m, err) < 0) {
		lsc_member_free(m);
		return -ENOMEM;
	}
	*ret_member = m;
	return 0;
}

const struct lsc_cast_id *lsc_member_cast(const struct lsc_member *m)
{
	return &m->o.cast;
}

const uint64_t *lsc_member_here(const struct lsc_member *m)
{
	return m->here;
}

uint64_t lsc_member_received(const struct lsc_member *m)
{
	return m->received;
}

uint64_t lsc_member_sent(const struct lsc_member *m)
{
	return m->sent;
}

void lsc_member_progress(struct lsc_member *m, struct lsc_node_progress *ret)
{
	uint64_t now = lsc_clock_ns();

	for (struct lsc_inlet *i = m->inlets; i; i = i->next)
		lsc_inlet_watch(i, now);
	*ret = (struct lsc_node_progress){.pieces = m->n_here, .bytes = m->bytes_here};
	for (const struct lsc_inlet *i = m->inlets; i; i = i->next)
		if (i->piece != LSC_NOBODY)
			ret->bytes += lsc_image_piece_bytes(m->o.image, i->piece) -
				      lsc_link_body_left(i->link);
	for (const struct lsc_outlet *o = m->outlets; o && ret->n_sent < LSC_CAST_MAX_SENT;
	     o = o->next)
		if (!o->resting)
			ret->sent[ret->n_sent++] =
				(struct lsc_sent){o->node, o->sent, lsc_outlet_ready(o)};
}

void lsc_member_fail(struct lsc_member *m, const struct lsc_err *err)
{
	if (m->failed)
		return;
	m->failed = true;
	m->o.events->on_failed(m->o.data_of_events, err);
}

struct lsc_err lsc_member_plain(const struct lsc_err *err, const struct lsc_link *link)
{
	size_t len = strlen(lsc_link_peer(link));
	struct lsc_err plain = *err;

	if (!strncmp(err->text, lsc_link_peer(link), len) && !strncmp(err->text + len, ": ", 2))
		lsc_err_set(&plain, err->code, "%s", err->text + len + 2);
	return plain;
}

/* --- pieces --- */

void lsc_member_pump(struct lsc_member *m)
{
	for (struct lsc_outlet *outlet = m->outlets; outlet; outlet = outlet->next)
		lsc_outlet_pump(outlet);
}

void lsc_member_report(struct lsc_member *m, uint32_t block, bool whole)
{
	if (!m->planned)
		return; /* blocks are reported by the first plan */
	if (whole)
		m->o.events->on_block(m->o.data_of_events, block);
	if (m->n_here == m->o.image->n_pieces)
		m->o.events->on_all(m->o.data_of_events);
}

void lsc_member_take(struct lsc_member *m, uint32_t piece)
{
	bool whole = lsc_member_count(m, piece);

	lsc_segment_wrote(m->o.segment, lsc_image_piece_offset(m->o.image, piece),
			  lsc_image_piece_bytes(m->o.image, piece));
	lsc_segment_mark(m->o.segment, piece);
	lsc_member_pump(m);
	lsc_member_report(m, lsc_image_piece_block(m->o.image, piece), whole);
}

/* --- plans --- */

static struct lsc_outlet *find_outlet(struct lsc_member *m, uint32_t node)
{
	struct lsc_outlet *outlet = m->outlets;

	while (outlet && outlet->node != node)
		outlet = outlet->next;
	return outlet;
}

/* Outlets came or went. */
static void relink(struct lsc_member *m)
{
	m->what.peers = NULL;
	for (struct lsc_outlet *o = m->outlets; o; o = o->next) {
		o->to.next = m->what.peers;
		m->what.peers = &o->to;
	}
}

static void forget(struct lsc_member *m, uint32_t node)
{
	for (struct lsc_outlet **at = &m->outlets; *at; at = &(*at)->next) {
		struct lsc_outlet *outlet = *at;

		if (outlet->node != node)
			continue;
		*at = outlet->next;
		lsc_outlet_free(outlet);
		return;
	}
}

static int make_outlets(struct lsc_member *m, const struct lsc_plan *plan, struct lsc_err *err)
{
	for (struct lsc_outlet *o = m->outlets; o; o = o->next)
		o->resting = true;
	for (uint32_t i = 0; i < plan->n_to; i++) {
		const struct lsc_plan_to *to = &plan->to[i];
		struct lsc_outlet *outlet = find_outlet(m, to->node);

		if (to->node == m->node)
			return lsc_err_set(err, EPROTO, "is to send to itself");
		if (outlet && !outlet->resting)
			return lsc_err_set(err, EPROTO, "is to send to node %u twice", to->node);
		if (!outlet) {
			int r = lsc_outlet_new(&outlet, m, to->node, to->address, err);

			if (r < 0)
				return r;
			outlet->next = m->outlets;
			m->outlets = outlet;
		}
		outlet->to.duty = to->duty;
		outlet->resting = false;
	}
	return 0;
}

/* Works out which piece goes to which peer: each set is of the outlet whose rank in the schedule
 * the step names. */
static int take_schedule(struct lsc_member *m, const struct lsc_plan *plan, struct lsc_err *err)
{
	struct lsc_schedule schedule;
	struct lsc_part part;
	uint64_t **parts;
	int r = lsc_schedule_init(&schedule, plan->order, plan->ranks, plan->sources,
				  LSC_MAX(m->o.image->n_pieces, 1u), err);

	if (r < 0)
		return r;
	if (schedule.rounds > LSC_CAST_MAX_ROUNDS)
		return lsc_err_set(err, EPROTO, "is to follow a schedule of %u rounds",
				   schedule.rounds);
	parts = calloc(plan->ranks, sizeof(parts[0]));
	if (!parts)
		return lsc_err_set(err, ENOMEM, "cannot follow a schedule: %m");
	for (uint32_t i = 0; i < plan->n_to && r == 0; i++) {
		struct lsc_outlet *outlet = find_outlet(m, plan->to[i].node);

		if (plan->to[i].rank >= plan->ranks) {
			r = lsc_err_set(err, EPROTO, "is to send to rank %u of %u",
					plan->to[i].rank, plan->ranks);
			break;
		}
		free(outlet->to.part);
		outlet->to.part = parts[plan->to[i].rank] = lsc_bits_new(schedule.pieces);
		if (!outlet->to.part)
			r = lsc_err_set(err, ENOMEM, "cannot follow a schedule: %m");
	}
	lsc_part_init(&part, &schedule, plan->rank);
	for (uint32_t round = 0; r == 0 && round < schedule.rounds; round++) {
		struct lsc_step step = lsc_part_step(&part, round);

		if (step.send_to != LSC_NOBODY && parts[step.send_to])
			lsc_bits_add(parts[step.send_to], step.send_piece);
	}
	free(parts);
	return r;
}

static void report_start(struct lsc_member *m)
{
	if (!m->o.segment || m->o.data)
		return;
	for (uint32_t i = 0; i < m->o.image->n_blocks; i++)
		if (m->blocks[i] == 0)
			m->o.events->on_block(m->o.data_of_events, i);
	if (m->n_here == m->o.image->n_pieces)
		m->o.events->on_all(m->o.data_of_events);
}

int lsc_member_plan(struct lsc_member *m, const struct lsc_plan *plan, struct lsc_err *err)
{
	bool first = !m->planned;
	int r;

	m->node = plan->node;
	m->what.first = plan->first < m->o.image->n_pieces ? plan->first : 0;
	m->timeout_ns = plan->timeout_ns;
	m->only_rdma = plan->rdma;
	if (first && plan->rate > 0) {
		m->limited = true;
		lsc_rate_init(&m->rate, plan->rate, lsc_clock_ns());
	}
	for (uint32_t i = 0; i < plan->n_gone; i++)
		forget(m, plan->gone[i]);
	r = make_outlets(m, plan, err);
	relink(m);
	if (r == 0 && plan->scheduled)
		r = take_schedule(m, plan, err);
	if (r < 0) { /* outlets may be half of the old plan and half of this */
		m->failed = true;
		return r;
	}
	for (struct lsc_outlet *o = m->outlets; o; o = o->next)
		lsc_outlet_connect(o);
	m->planned = true;
	lsc_member_pump(m);
	if (first)
		report_start(m);
	return 0;
}
