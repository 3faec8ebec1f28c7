/* member - one node's part in one cast: links out, pieces in
 *
 * Every peer is sent to at once, and the network shares the node's link among them.  A schedule
 * takes turns instead, which is only as good where all turns are equally long: links do not keep
 * time, and then two nodes send to a third, each at half its speed, while a fourth gets nothing.
 * What flows to all peers all the time evens out (8 receivers on a busy machine: 1.24 times a
 * plain copy instead of 1.59), and a slow peer delays only who waits for pieces from it.
 *
 * When a peer just closes its link, it or whoever watches it knows better why than we do.  We say
 * so only HEARSAY_NS later, should nobody else have.
 *
 * A send is over when the last of its bytes is in the kernel, which holds at most UNSENT_BYTES that
 * are not on their way.  A peer has the next piece waiting behind the one under way, so that a link
 * is never idle while there is something for it; no more, to keep the order fresh.
 */
#include "cast/member.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macros.h"
#include "cast/agenda.h"
#include "net/rate.h"

#define UNSENT_BYTES 131072
#define MAX_SENDS    2 /* to one peer */
#define HEARSAY_NS   500000000

enum piece_state {
	PIECE_MISSING,
	PIECE_COMING,
	PIECE_HERE,
};

struct outlet {
	struct lsc_member *member;
	struct lsc_link *link; /* NULL once it is closed */
	uint32_t peer;         /* in the agenda */
	uint32_t sends;        /* under way */
};

struct lsc_member {
	struct lsc_member_options o;
	uint8_t *pieces;  /* enum piece_state */
	uint32_t *blocks; /* by block: pieces that are missing */
	uint32_t n_here;
	uint64_t bytes_here;
	bool started, failed;

	struct lsc_agenda agenda;
	struct outlet *outlets; /* by the agenda's peer */
	bool *busy;             /* likewise: it has enough to do, or cannot be sent to */
	struct lsc_rate rate;
	struct lsc_pack pack; /* reused from piece to piece */

	struct lsc_timer *hearsay;
	struct lsc_err heard;
	uint32_t heard_of; /* rank */
};

/* --- life --- */

void lsc_member_free(struct lsc_member *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; m->outlets && i < m->agenda.n_peers; i++)
		lsc_link_close(m->outlets[i].link);
	lsc_timer_free(m->hearsay);
	lsc_pack_release(&m->pack);
	lsc_agenda_release(&m->agenda);
	free(m->outlets);
	free(m->busy);
	free(m->pieces);
	free(m->blocks);
	free(m);
}

static void fail(struct lsc_member *m, const struct lsc_err *err, uint32_t culprit);

static void on_hearsay(void *data)
{
	struct lsc_member *m = data;

	fail(m, &m->heard, m->heard_of);
}

/* Counts a piece that is here and verified; true when its block is whole. */
static bool count_piece(struct lsc_member *m, uint32_t piece)
{
	m->pieces[piece] = PIECE_HERE;
	m->n_here++;
	m->bytes_here += lsc_image_piece_bytes(m->o.image, piece);
	return --m->blocks[lsc_image_piece_block(m->o.image, piece)] == 0;
}

int lsc_member_new(struct lsc_member **ret_member, const struct lsc_member_options *options,
		   struct lsc_err *err)
{
	const struct lsc_image *image = options->image;
	struct lsc_member *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return lsc_err_set(err, ENOMEM, "cannot take part in a cast: %m");
	m->o = *options;
	m->pieces = calloc(image->n_pieces + (size_t)1, 1);
	m->blocks = calloc(image->n_blocks + (size_t)1, sizeof(m->blocks[0]));
	r = lsc_timer_new(m->o.loop, on_hearsay, m, &m->hearsay, err);
	if (!m->pieces || !m->blocks)
		r = lsc_err_set(err, ENOMEM, "cannot take part in a cast: %m");
	if (r < 0) {
		lsc_member_free(m);
		return r;
	}
	for (uint32_t i = 0; i < image->n_blocks; i++)
		m->blocks[i] = image->blocks[i].n_pieces;
	for (uint32_t i = 0; i < image->n_pieces; i++)
		if (!m->o.segment || lsc_segment_has(m->o.segment, i, 1))
			count_piece(m, i);
	*ret_member = m;
	return 0;
}

const struct lsc_cast_id *lsc_member_cast(const struct lsc_member *m)
{
	return &m->o.cast;
}

uint32_t lsc_member_pieces(const struct lsc_member *m)
{
	return m->n_here;
}

uint64_t lsc_member_bytes(const struct lsc_member *m)
{
	return m->bytes_here;
}

static void fail(struct lsc_member *m, const struct lsc_err *err, uint32_t culprit)
{
	if (m->failed)
		return;
	m->failed = true;
	lsc_timer_disarm(m->hearsay);
	m->o.events->on_failed(m->o.data_of_events, err, culprit);
}

/* A link ended that was still needed. */
static void lost(struct lsc_member *m, const struct lsc_err *err, uint32_t culprit)
{
	bool closed = err->code == ECONNRESET || err->code == EPIPE;

	if (!closed) {
		fail(m, err, culprit);
	} else if (!m->heard.code) {
		m->heard = *err;
		m->heard_of = culprit;
		lsc_timer_arm(m->hearsay, HEARSAY_NS);
	}
}

/* The words of err without the name of the link's other end: who it is says culprit. */
static struct lsc_err without_name(const struct lsc_err *err, const struct lsc_link *link)
{
	size_t len = strlen(lsc_link_peer(link));
	struct lsc_err plain = *err;

	if (!strncmp(err->text, lsc_link_peer(link), len) && !strncmp(err->text + len, ": ", 2))
		lsc_err_set(&plain, err->code, "%s", err->text + len + 2);
	return plain;
}

/* --- sending --- */

static const uint8_t *piece_data(const struct lsc_member *m, uint32_t piece)
{
	const uint8_t *data = m->o.segment ? m->o.segment->data : m->o.data;

	return data + lsc_image_piece_offset(m->o.image, piece);
}

static void send_piece(struct lsc_member *m, struct outlet *outlet, uint32_t piece)
{
	uint32_t bytes = lsc_image_piece_bytes(m->o.image, piece);
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_piece_pack(&m->pack, piece, bytes);

	if (r == 0)
		r = lsc_link_send(outlet->link, &m->pack, piece_data(m, piece), bytes, outlet);
	if (r < 0) {
		lsc_err_set(&err, -r, "cannot send piece %u: %m", piece);
		fail(m, &err, LSC_NOBODY);
		return;
	}
	m->busy[outlet->peer] = ++outlet->sends == MAX_SENDS;
}

static void pump(struct lsc_member *m)
{
	uint32_t peer, piece;

	while (m->started && !m->failed && lsc_agenda_next(&m->agenda, m->busy, &peer, &piece))
		send_piece(m, &m->outlets[peer], piece);
}

static void outlet_on_sent(void *data, struct lsc_link *link, void *cookie)
{
	struct outlet *outlet = data;

	(void)link;
	(void)cookie;
	outlet->sends--;
	outlet->member->busy[outlet->peer] = false;
	pump(outlet->member);
}

static void skip_piece(void *data, uint32_t piece)
{
	struct outlet *outlet = data;

	lsc_agenda_skip(&outlet->member->agenda, outlet->peer, piece);
}

static int outlet_on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
			    uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct outlet *outlet = data;
	struct lsc_member *m = outlet->member;
	int r;

	(void)link;
	(void)body_len;
	(void)ret_body;
	if (!lsc_record_is(record, "have"))
		return 0;
	r = lsc_have_parse(record, m->agenda.n_pieces, skip_piece, outlet, err);
	if (r < 0)
		return r;
	m->busy[outlet->peer] = false;
	pump(m);
	return 0;
}

static void outlet_on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct outlet *outlet = data;
	struct lsc_member *m = outlet->member;
	bool unfinished = m->agenda.left[outlet->peer] || outlet->sends;
	struct lsc_err early = without_name(err, link);

	if (!err->code)
		lsc_err_set(&early, ECONNRESET, "closed the link too early");
	lsc_link_close(link);
	outlet->link = NULL;
	m->busy[outlet->peer] = true;
	if (unfinished)
		lost(m, &early, m->agenda.peer_ranks[outlet->peer]);
}

static const struct lsc_link_events outlet_events = {
	.on_record = outlet_on_record,
	.on_sent = outlet_on_sent,
	.on_close = outlet_on_close,
};

static int open_outlet(struct lsc_member *m, uint32_t peer, const struct lsc_start *start,
		       struct lsc_err *err)
{
	struct lsc_link_options options = {
		.kind = LSC_CAST_KIND,
		.connect_timeout_ns = start->timeout_ns,
		.unsent_bytes = UNSENT_BYTES,
		.key = m->o.proof ? NULL : m->o.key,
		.proof = m->o.proof,
	};
	struct outlet *outlet = &m->outlets[peer];
	struct lsc_endpoint endpoint;
	int r;

	*outlet = (struct outlet){.member = m, .peer = peer};
	m->busy[peer] = true;
	r = lsc_endpoint_parse(&endpoint, start->addresses[m->agenda.peer_ranks[peer]], err);
	if (r == 0)
		r = lsc_link_connect(&outlet->link, m->o.loop, &endpoint, &options, &outlet_events,
				     outlet, err);
	if (r < 0)
		return r;
	if (start->rate > 0)
		lsc_link_set_rate(outlet->link, &m->rate);
	r = lsc_peer_pack(&m->pack, &m->o.cast, start->rank);
	if (r == 0)
		r = lsc_link_send(outlet->link, &m->pack, NULL, 0, NULL);
	return r < 0 ? lsc_err_set(err, -r, "cannot send: %m") : 0;
}

int lsc_member_start(struct lsc_member *m, const struct lsc_start *start, struct lsc_err *err)
{
	struct lsc_schedule schedule;
	int r;

	assert(!m->started);
	r = lsc_schedule_init(&schedule, start->order, start->n_nodes, start->sources,
			      m->o.image->n_pieces, err);
	if (r == 0)
		r = lsc_agenda_init(&m->agenda, &schedule, start->rank, err);
	if (r < 0)
		return r;
	m->outlets = calloc(m->agenda.n_peers + (size_t)1, sizeof(m->outlets[0]));
	m->busy = calloc(m->agenda.n_peers + (size_t)1, sizeof(m->busy[0]));
	if (!m->outlets || !m->busy)
		return lsc_err_set(err, ENOMEM, "cannot take part in a cast: %m");
	if (start->rate > 0)
		lsc_rate_init(&m->rate, start->rate, lsc_clock_ns());
	for (uint32_t i = 0; i < m->o.image->n_pieces; i++)
		if (m->pieces[i] == PIECE_HERE)
			lsc_agenda_arrived(&m->agenda, i);
	for (uint32_t peer = 0; peer < m->agenda.n_peers; peer++) {
		r = open_outlet(m, peer, start, err);
		if (r < 0)
			return r;
	}
	m->started = true;
	if (m->o.segment)
		for (uint32_t i = 0; i < m->o.image->n_blocks; i++)
			if (m->blocks[i] == 0)
				m->o.events->on_block(m->o.data_of_events, i);
	if (m->o.segment && m->n_here == m->o.image->n_pieces)
		m->o.events->on_all(m->o.data_of_events);
	return 0;
}

/* --- receiving --- */

int lsc_inlet_open(struct lsc_inlet *inlet, struct lsc_member *m, struct lsc_link *link,
		   uint32_t rank, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP_FREE uint64_t *bits = NULL;
	uint32_t n = m->o.image->n_pieces;
	int r;

	*inlet = (struct lsc_inlet){m, link, rank, LSC_NOBODY};
	if (m->n_here) {
		bits = calloc(lsc_div_up(n, 64), sizeof(bits[0]));
		if (!bits)
			return lsc_err_set(err, ENOMEM, "cannot take part in a cast: %m");
		for (uint32_t i = 0; i < n; i++)
			if (m->pieces[i] == PIECE_HERE)
				bits[i / 64] |= 1ull << (i % 64);
	}
	r = lsc_have_pack(&pack, bits, n);
	if (r == 0)
		r = lsc_link_send(link, &pack, NULL, 0, NULL);
	return r < 0 ? lsc_err_set(err, -r, "cannot answer: %m") : 0;
}

/* What the sender did wrong is told to the coordinator.  Its link stays until that ends the cast:
 * were it closed, the sender would complain of us, and might be heard first. */
static int blame(struct lsc_inlet *inlet, const struct lsc_err *err)
{
	fail(inlet->member, err, inlet->rank);
	return 0;
}

/* A piece that is here, or on its way from someone else, is skipped. */
int lsc_inlet_record(struct lsc_inlet *inlet, const struct lsc_record *record, uint32_t body_len,
		     void **ret_body, struct lsc_err *err)
{
	struct lsc_member *m = inlet->member;
	uint32_t piece, bytes;

	inlet->piece = LSC_NOBODY;
	if (!lsc_record_is(record, "piece") || m->failed)
		return 0;
	if (lsc_piece_parse(record, m->o.image->n_pieces, &piece, err) < 0) {
		err->code = EPROTO;
		return blame(inlet, err);
	}
	bytes = lsc_image_piece_bytes(m->o.image, piece);
	if (body_len != bytes) {
		lsc_err_set(err, EPROTO, "sent piece %u with %u bytes, and it has %u", piece,
			    body_len, bytes);
		return blame(inlet, err);
	}
	if (m->pieces[piece] != PIECE_MISSING)
		return 0;
	m->pieces[piece] = PIECE_COMING;
	inlet->piece = piece;
	*ret_body = m->o.segment->data + lsc_image_piece_offset(m->o.image, piece);
	return 0;
}

static void take_piece(struct lsc_member *m, uint32_t piece)
{
	uint32_t block = lsc_image_piece_block(m->o.image, piece);
	bool whole = count_piece(m, piece);

	lsc_segment_mark(m->o.segment, piece);
	if (m->started)
		lsc_agenda_arrived(&m->agenda, piece);
	pump(m);
	if (!m->started)
		return; /* blocks are reported by start */
	if (whole)
		m->o.events->on_block(m->o.data_of_events, block);
	if (m->n_here == m->o.image->n_pieces)
		m->o.events->on_all(m->o.data_of_events);
}

int lsc_inlet_body(struct lsc_inlet *inlet, struct lsc_err *err)
{
	struct lsc_member *m = inlet->member;
	uint32_t piece = inlet->piece;
	struct lsc_hash hash;

	inlet->piece = LSC_NOBODY;
	if (piece == LSC_NOBODY)
		return 0;
	hash = lsc_hash_of(piece_data(m, piece), lsc_image_piece_bytes(m->o.image, piece));
	if (lsc_hash_equal(&hash, &m->o.image->pieces[piece])) {
		take_piece(m, piece);
		return 0;
	}
	m->pieces[piece] = PIECE_MISSING;
	lsc_err_set(err, EBADMSG, "sent piece %u with a wrong hash", piece);
	return blame(inlet, err);
}

void lsc_inlet_close(struct lsc_inlet *inlet, const struct lsc_err *err)
{
	struct lsc_member *m = inlet->member;
	struct lsc_err plain = without_name(err, inlet->link);

	if (!m)
		return;
	if (inlet->piece != LSC_NOBODY)
		m->pieces[inlet->piece] = PIECE_MISSING;
	inlet->member = NULL;
	if (err->code)
		lost(m, &plain, inlet->rank);
}
