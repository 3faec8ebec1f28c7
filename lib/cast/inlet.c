/* inlet - the receiving side of a member: one link from a peer, and where its pieces go
 *
 * A piece that comes over one link is told to the peers of all others, so that hardly any comes
 * twice.  One that is on its way twice nevertheless is taken from who was first; should that link
 * break inside it, or nothing more come of it for a while, everyone is told that it is missing
 * after all.  A machine that is gone does not close its links.
 *
 * A peer that sends what is wrong is reported and not listened to any more.  Its link stays until
 * the coordinator has decided: were it closed, the peer would complain of us.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macros.h"
#include "cast/member_own.h"

#define STALL_NS    700000000u /* more than TCP takes to send again what was lost */
#define TURNS_BYTES (1u << 20) /* that go elsewhere while one of many at a rate waits its turn */

/* What cannot be said costs a piece that comes twice, or once more later. */
void lsc_inlet_tell(struct lsc_member *m, const struct lsc_inlet *but, const char *note,
		    uint32_t piece)
{
	for (struct lsc_inlet *i = m->inlets; i; i = i->next)
		if (i != but && !i->banned && lsc_piece_note_pack(&m->pack, note, piece) == 0)
			lsc_link_send(i->link, &m->pack, NULL, 0, NULL);
}

void lsc_inlet_forgo(struct lsc_member *m, uint32_t piece)
{
	for (struct lsc_inlet *i = m->inlets; i; i = i->next) {
		if (i->piece != piece)
			continue;
		lsc_link_skip_body(i->link);
		i->piece = LSC_NOBODY;
	}
	lsc_bits_remove(m->coming, piece);
}

int lsc_inlet_open(struct lsc_inlet *inlet, struct lsc_member *m, struct lsc_link *link,
		   uint32_t node, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int r;

	if (m->o.data)
		return lsc_err_set(err, EPROTO, "sends to a source");
	*inlet = (struct lsc_inlet){
		.member = m, .link = link, .node = node, .piece = LSC_NOBODY, .next = m->inlets};
	if (m->inlets)
		m->inlets->previous = inlet;
	m->inlets = inlet;
	lsc_claimed_look(m);
	r = lsc_have_pack(&pack, m->told, m->o.image->n_pieces);
	if (r == 0)
		r = lsc_link_send(link, &pack, NULL, 0, NULL);
	if (r == 0)
		return 0;
	lsc_inlet_close(inlet);
	return lsc_err_set(err, -r, "cannot answer: %m");
}

static int blame(struct lsc_inlet *inlet, uint32_t piece, const struct lsc_err *err)
{
	struct lsc_member *m = inlet->member;

	inlet->banned = true;
	m->o.events->on_fault(m->o.data_of_events, inlet->node, piece, err);
	return 0;
}

/* A piece that is here, or on its way from someone else or a disk, is skipped. */
int lsc_inlet_record(struct lsc_inlet *inlet, const struct lsc_record *record, uint32_t body_len,
		     void **ret_body, struct lsc_err *err)
{
	struct lsc_member *m = inlet->member;
	uint32_t piece, bytes;
	uint64_t offset;

	inlet->piece = LSC_NOBODY;
	if (!lsc_record_is(record, "piece") || m->failed || inlet->banned)
		return 0;
	if (lsc_piece_parse(record, m->o.image->n_pieces, &piece, err) < 0) {
		err->code = EBADMSG;
		return blame(inlet, LSC_NOBODY, err);
	}
	bytes = lsc_image_piece_bytes(m->o.image, piece);
	if (body_len != bytes) {
		lsc_err_set(err, EBADMSG, "sent piece %u with %u bytes, and it has %u", piece,
			    body_len, bytes);
		return blame(inlet, LSC_NOBODY, err);
	}
	m->received += bytes;
	if (lsc_bits_has(m->here, piece) || lsc_bits_has(m->coming, piece) ||
	    !lsc_claimed_take(m, piece))
		return 0;
	offset = lsc_image_piece_offset(m->o.image, piece);
	if (lsc_segment_prepare(m->o.segment, offset, bytes, err) < 0) {
		lsc_member_fail(m, err);
		return 0;
	}
	lsc_bits_add(m->coming, piece);
	inlet->piece = piece;
	inlet->left = bytes;
	inlet->moved_ns = lsc_clock_ns();
	*ret_body = m->o.segment->data + offset;
	return 0;
}

int lsc_inlet_body(struct lsc_inlet *inlet, struct lsc_err *err)
{
	struct lsc_member *m = inlet->member;
	uint32_t piece = inlet->piece;
	struct lsc_hash hash;

	inlet->piece = LSC_NOBODY;
	if (piece == LSC_NOBODY)
		return 0;
	lsc_bits_remove(m->coming, piece);
	hash = lsc_hash_of(m->data + lsc_image_piece_offset(m->o.image, piece),
			   lsc_image_piece_bytes(m->o.image, piece));
	if (lsc_hash_equal(&hash, &m->o.image->pieces[piece])) {
		lsc_outlet_has(m, inlet->node, piece);
		lsc_member_take(m, piece);
		lsc_inlet_tell(m, inlet, "got", piece);
		return 0;
	}
	lsc_inlet_tell(m, inlet, "lack", piece);
	lsc_err_set(err, EBADMSG, "sent piece %u with a wrong hash", piece);
	return blame(inlet, piece, err);
}

/* How long nothing of a piece is still on its way.  Where there is a rate, all have it, and give
 * half a burst to one peer and then to the next. */
static uint64_t stall_ns(const struct lsc_member *m)
{
	double bytes = LSC_MAX(2.0 * m->o.image->piece_bytes, (double)TURNS_BYTES);

	return STALL_NS + (m->limited ? (uint64_t)(bytes / m->rate.bytes_per_s * 1e9) : 0);
}

/* Where there is nobody else to have it from, giving it up would only bring its beginning again. */
void lsc_inlet_watch(struct lsc_inlet *inlet, uint64_t now)
{
	struct lsc_member *m = inlet->member;
	uint32_t piece = inlet->piece;

	if (piece == LSC_NOBODY)
		return;
	if (lsc_link_body_left(inlet->link) != inlet->left) {
		inlet->left = lsc_link_body_left(inlet->link);
		inlet->moved_ns = now;
	}
	if (now - inlet->moved_ns < stall_ns(m) || !m->inlets->next)
		return;
	lsc_link_skip_body(inlet->link);
	lsc_bits_remove(m->coming, piece);
	inlet->piece = LSC_NOBODY;
	lsc_inlet_tell(m, inlet, "lack", piece);
	if (lsc_piece_note_pack(&m->pack, "lack", piece) == 0)
		lsc_link_send(inlet->link, &m->pack, NULL, 0, NULL);
}

void lsc_inlet_close(struct lsc_inlet *inlet)
{
	struct lsc_member *m = inlet->member;

	if (!m)
		return;
	if (inlet->next)
		inlet->next->previous = inlet->previous;
	if (inlet->previous)
		inlet->previous->next = inlet->next;
	else
		m->inlets = inlet->next;
	if (inlet->piece != LSC_NOBODY) {
		lsc_bits_remove(m->coming, inlet->piece);
		lsc_inlet_tell(m, inlet, "lack", inlet->piece);
	}
	inlet->member = NULL;
}
