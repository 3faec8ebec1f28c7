/* outlet - the sending side of a member: one link to a peer, and which piece goes over it next
 *
 * An outlet knows which pieces its peer has: those the peer named, and those it was sent.  Of what
 * is here and not there plan/next.h chooses.
 *
 * A send is over when the last of its bytes is in the kernel, which holds at most UNSENT_BYTES that
 * are not on their way: enough for 40 ms of a link of 200 Mbit/s, in which a busy machine may not
 * run us (tests/bench/results/path.md).  A peer has the next piece waiting behind the one under
 * way, so that a link is never idle while there is something for it; no more, to keep the order
 * fresh.
 *
 * A link that breaks is opened again, first soon and then less often, until the coordinator says
 * that the peer is gone: it knows better than its neighbours who lives.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "base/macros.h"
#include "cast/member_own.h"

#define UNSENT_BYTES     1048576
#define MAX_SENDS        2
#define FIRST_PAUSE_NS   50000000u
#define LONGEST_PAUSE_NS 1000000000u

/* --- what goes next --- */

static uint32_t choose(const struct lsc_outlet *outlet)
{
	const struct lsc_next *what = &outlet->member->what;
	uint32_t piece = lsc_next_piece(what, &outlet->to);

	if (piece == LSC_NOBODY && outlet->to.duty == LSC_DUTY_INJECT && !outlet->sends)
		piece = lsc_next_last(what, &outlet->to);
	return piece;
}

uint64_t lsc_outlet_ready(const struct lsc_outlet *outlet)
{
	const struct lsc_member *m = outlet->member;

	return (uint64_t)lsc_next_count(&m->what, &outlet->to) * m->o.image->piece_bytes;
}

void lsc_outlet_has(struct lsc_member *m, uint32_t node, uint32_t piece)
{
	for (struct lsc_outlet *o = m->outlets; o; o = o->next)
		if (o->node == node)
			lsc_bits_add(o->to.has, piece);
}

static bool send_piece(struct lsc_outlet *outlet, uint32_t piece)
{
	struct lsc_member *m = outlet->member;
	uint32_t bytes = lsc_image_piece_bytes(m->o.image, piece);
	uint64_t offset = lsc_image_piece_offset(m->o.image, piece);
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_piece_pack(&m->pack, piece, bytes);

	if (r == 0)
		r = lsc_link_send_file(outlet->link, &m->pack, m->data + offset, bytes,
				       m->o.data_fd, offset, (void *)(uintptr_t)bytes);
	if (r < 0) {
		lsc_err_set(&err, -r, "cannot send piece %u: %m", piece);
		lsc_member_fail(m, &err);
		return false;
	}
	lsc_bits_add(outlet->to.has, piece);
	outlet->sends++;
	return true;
}

void lsc_outlet_pump(struct lsc_outlet *outlet)
{
	while (outlet->to.open && !outlet->resting && !outlet->member->failed &&
	       outlet->sends < MAX_SENDS) {
		uint32_t piece = choose(outlet);

		if (piece == LSC_NOBODY || !send_piece(outlet, piece))
			return;
	}
}

/* --- its link --- */

static void on_sent(void *data, struct lsc_link *link, void *cookie)
{
	struct lsc_outlet *outlet = data;

	(void)link;
	outlet->sends--;
	outlet->sent += (uintptr_t)cookie;
	outlet->member->sent += (uintptr_t)cookie;
	lsc_outlet_pump(outlet);
}

static bool is_rdma(const struct lsc_outlet *outlet)
{
	return !strncmp(outlet->address, "rdma://", 7);
}

/* A link over RDMA that does not even open is one over TCP from now on. */
static bool fall_back(struct lsc_outlet *outlet, const struct lsc_err *why)
{
	if (outlet->to.open || outlet->by_tcp || !is_rdma(outlet) || outlet->member->only_rdma)
		return false;
	lsc_notice("node %u: %s; pieces go there over TCP", outlet->node, why->text);
	outlet->by_tcp = true;
	return true;
}

static int take_have(struct lsc_outlet *outlet, const struct lsc_record *record,
		     struct lsc_err *err)
{
	int r = lsc_have_parse(record, outlet->member->o.image->n_pieces, outlet->to.has, err);

	if (r < 0)
		return r;
	if (!outlet->by_tcp && is_rdma(outlet))
		lsc_info("node %u: pieces go there over RDMA", outlet->node);
	outlet->to.open = true;
	outlet->pause_ns = FIRST_PAUSE_NS;
	lsc_member_pump(outlet->member); /* others may have less to do now, or more */
	return 0;
}

/* The peer has a piece from elsewhere, or has lost what we took it to have. */
static int take_note(struct lsc_outlet *outlet, const struct lsc_record *record,
		     struct lsc_err *err)
{
	uint32_t piece;
	int r = lsc_piece_parse(record, outlet->member->o.image->n_pieces, &piece, err);

	if (r < 0)
		return r;
	if (lsc_record_is(record, "got")) {
		lsc_bits_add(outlet->to.has, piece);
	} else {
		lsc_bits_remove(outlet->to.has, piece);
		lsc_outlet_pump(outlet);
	}
	return 0;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct lsc_outlet *outlet = data;

	(void)link;
	(void)body_len;
	(void)ret_body;
	if (lsc_record_is(record, "have"))
		return take_have(outlet, record, err);
	if (lsc_record_is(record, "got") || lsc_record_is(record, "lack"))
		return take_note(outlet, record, err);
	return 0;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct lsc_outlet *outlet = data;
	struct lsc_member *m = outlet->member;
	struct lsc_err plain = lsc_member_plain(err, link);
	bool lost = lsc_link_lost_body(link), other = fall_back(outlet, &plain);

	if (!err->code)
		lsc_err_set(&plain, ECONNRESET, "closed the link too early");
	lsc_link_close(link);
	outlet->link = NULL;
	outlet->to.open = false;
	outlet->sends = 0;
	memset(outlet->to.has, 0, lsc_bits_words(m->o.image->n_pieces) * sizeof(outlet->to.has[0]));
	if (lost) { /* what is sent is not there any more */
		lsc_err_set(&plain, EIO, "a file was cut shorter by someone while it was sent");
		lsc_member_fail(m, &plain);
		return;
	}
	if (outlet->resting || m->failed)
		return;
	if (other) {
		lsc_timer_arm(outlet->again, 0);
		return;
	}
	lsc_timer_arm(outlet->again, outlet->pause_ns);
	outlet->pause_ns = LSC_MIN(2 * outlet->pause_ns, LONGEST_PAUSE_NS);
	m->o.events->on_fault(m->o.data_of_events, outlet->node, LSC_NOBODY, &plain);
}

static const struct lsc_link_events events = {
	.on_record = on_record,
	.on_sent = on_sent,
	.on_close = on_close,
};

static int open_link(struct lsc_outlet *outlet, struct lsc_err *err)
{
	struct lsc_member *m = outlet->member;
	struct lsc_link_options options = {
		.kind = LSC_CAST_KIND,
		.connect_timeout_ns = m->timeout_ns,
		.unsent_bytes = UNSENT_BYTES,
		.key = m->o.proof ? NULL : m->o.key,
		.proof = m->o.proof,
	};
	struct lsc_endpoint endpoint;
	int r = lsc_endpoint_parse(&endpoint, outlet->address, err);

	if (r == 0 && outlet->by_tcp)
		endpoint.kind = LSC_ENDPOINT_TCP;
	if (r == 0)
		r = lsc_link_connect(&outlet->link, m->o.loop, &endpoint, &options, &events, outlet,
				     err);
	if (r < 0)
		return r;
	if (m->limited)
		lsc_link_set_rate(outlet->link, &m->rate);
	r = lsc_peer_pack(&m->pack, &m->o.cast, m->node);
	if (r == 0)
		r = lsc_link_send(outlet->link, &m->pack, NULL, 0, NULL);
	return r < 0 ? lsc_err_set(err, -r, "cannot send: %m") : 0;
}

void lsc_outlet_connect(struct lsc_outlet *outlet)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (outlet->link || outlet->resting || outlet->member->failed)
		return;
	lsc_timer_disarm(outlet->again);
	if (open_link(outlet, &err) < 0)
		lsc_member_fail(outlet->member, &err);
}

static void on_again(void *data)
{
	lsc_outlet_connect(data);
}

/* --- life --- */

void lsc_outlet_free(struct lsc_outlet *outlet)
{
	if (!outlet)
		return;
	lsc_link_close(outlet->link);
	lsc_timer_free(outlet->again);
	free(outlet->to.has);
	free(outlet->to.part);
	free(outlet);
}

int lsc_outlet_new(struct lsc_outlet **ret_outlet, struct lsc_member *m, uint32_t node,
		   const char *address, struct lsc_err *err)
{
	struct lsc_outlet *outlet = calloc(1, sizeof(*outlet));
	int r = 0;

	if (!outlet)
		return lsc_err_set(err, ENOMEM, "cannot take part in a cast: %m");
	outlet->member = m;
	outlet->node = node;
	outlet->pause_ns = FIRST_PAUSE_NS;
	strcpy(outlet->address, address);
	outlet->to.has = lsc_bits_new(m->o.image->n_pieces);
	if (!outlet->to.has)
		r = lsc_err_set(err, ENOMEM, "cannot take part in a cast: %m");
	if (r == 0)
		r = lsc_timer_new(m->o.loop, on_again, outlet, &outlet->again, err);
	if (r < 0)
		lsc_outlet_free(outlet);
	else
		*ret_outlet = outlet;
	return r;
}
