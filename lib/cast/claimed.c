/* claimed - a member whose segment others fill as well: a disk, from the other end
 *
 * A block is claimed when its first piece begins to come.  One that someone else has claimed is as
 * if it came over another link: peers are told `got` for its pieces, and `lack` where it is given
 * up (lsc-wire(5)), so that what they send meanwhile are the others.  What is marked by others is
 * found by looking at a number some hundred times a second, which costs no system call, and is
 * reported and sent on like what came.
 *
 * Who dies with claims held is found out and buried; one who lives and does not get on is waited
 * for while there is anything else to receive, and STALL_NS longer.
 */
#include <stdlib.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/log.h"
#include "cast/member_own.h"
#include "mem/claims.h"
#include "mem/marks.h"

#define LOOK_NS  3000000u
#define BURY_NS  100000000u
#define STALL_NS 1000000000u

static void on_look(void *data)
{
	struct lsc_member *m = data;

	lsc_claimed_look(m);
	if (!m->failed && m->n_here < m->o.image->n_pieces)
		lsc_timer_arm(m->look, LOOK_NS);
}

int lsc_claimed_start(struct lsc_member *m, struct lsc_err *err)
{
	if (m->o.data || !m->o.segment || !m->o.segment->claims)
		return 0;
	m->foreign = lsc_bits_new(m->o.image->n_blocks);
	if (!m->foreign)
		return lsc_err_set(err, ENOMEM, "cannot take part in a cast: %m");
	m->claims = m->o.segment->claims;
	m->seen = lsc_segment_generation(m->o.segment) - 1;
	if (lsc_timer_new(m->o.loop, on_look, m, &m->look, err) < 0)
		return -ENOMEM;
	lsc_timer_arm(m->look, 0);
	return 0;
}

void lsc_claimed_stop(struct lsc_member *m)
{
	lsc_timer_free(m->look);
	free(m->foreign);
}

/* --- pieces that others have marked --- */

static void notice(struct lsc_member *m, uint32_t piece)
{
	uint32_t block = lsc_image_piece_block(m->o.image, piece);

	if (lsc_bits_has(m->coming, piece))
		lsc_inlet_forgo(m, piece);
	if (!lsc_bits_has(m->told, piece))
		lsc_inlet_tell(m, NULL, "got", piece);
	lsc_member_report(m, block, lsc_member_count(m, piece));
}

static bool notice_marks(struct lsc_member *m)
{
	bool any = false;

	for (uint32_t w = 0; w < lsc_bits_words(m->o.image->n_pieces); w++) {
		uint64_t word = lsc_marks_word(m->o.segment->arrivals, w) & ~m->here[w];

		for (; word && !m->failed; word &= word - 1, any = true)
			notice(m, w * 64 + (uint32_t)__builtin_ctzll(word));
	}
	return any;
}

/* --- blocks that others have claimed --- */

/* Tells everyone that the pieces of a block which are missing come, or do not; unless they are on
 * their way over a link. */
static void tell_block(struct lsc_member *m, uint32_t block, bool come)
{
	const struct lsc_block *b = &m->o.image->blocks[block];

	for (uint32_t i = b->first_piece; i < b->first_piece + b->n_pieces; i++) {
		if (lsc_bits_has(m->here, i) || lsc_bits_has(m->told, i) == come)
			continue;
		if (come)
			lsc_bits_add(m->told, i);
		else
			lsc_bits_remove(m->told, i);
		if (!lsc_bits_has(m->coming, i))
			lsc_inlet_tell(m, NULL, come ? "got" : "lack", i);
	}
}

static void note_claim(struct lsc_member *m, uint32_t block)
{
	bool known = lsc_bits_has(m->foreign, block);
	bool foreign = m->blocks[block] &&
		       lsc_claims_of(m->o.segment->arrivals, block, NULL) != LSC_CLAIM_NONE &&
		       !lsc_claims_has(m->claims, block);

	if (foreign == known)
		return;
	if (foreign) {
		m->moved_ns = m->n_foreign++ ? m->moved_ns : lsc_clock_ns();
		lsc_bits_add(m->foreign, block);
	} else {
		m->n_foreign--;
		lsc_bits_remove(m->foreign, block);
	}
	tell_block(m, block, foreign);
}

static void note_claims(struct lsc_member *m)
{
	for (uint32_t i = 0; i < m->o.image->n_blocks; i++)
		note_claim(m, i);
}

bool lsc_claimed_take(struct lsc_member *m, uint32_t piece)
{
	uint32_t block = lsc_image_piece_block(m->o.image, piece);

	if (!m->claims)
		return true;
	/* It may be given up just now: what is skipped then would never be sent again. */
	while (!lsc_claims_take(m->claims, block)) {
		note_claim(m, block);
		if (lsc_bits_has(m->foreign, block))
			return false;
	}
	if (lsc_marks_has(m->o.segment->arrivals, piece))
		return false; /* since we have looked */
	lsc_bits_add(m->coming, piece);
	note_claim(m, block);
	return true;
}

/* --- those who do not get on --- */

/* Whether all that is missing is in blocks of others. */
static bool is_idle(const struct lsc_member *m)
{
	for (uint32_t i = 0; i < m->o.image->n_blocks; i++)
		if (m->blocks[i] && !lsc_bits_has(m->foreign, i))
			return false;
	return true;
}

static void seize(struct lsc_member *m)
{
	for (uint32_t i = 0; i < m->o.image->n_blocks; i++) {
		uint32_t pid = 0;

		if (!lsc_bits_has(m->foreign, i))
			continue;
		lsc_claims_of(m->o.segment->arrivals, i, &pid);
		lsc_warning("'%s': process %u does not get on with block %u, receiving it",
			    m->o.segment->name ? m->o.segment->name : "", pid, i);
		lsc_claims_seize(m->claims, i);
		note_claim(m, i);
	}
}

static void watch_others(struct lsc_member *m)
{
	uint64_t now = lsc_clock_ns();

	if (now - m->buried_ns >= BURY_NS) {
		m->buried_ns = now;
		if (lsc_claims_bury(m->claims))
			note_claims(m);
	}
	if (m->n_foreign && now - m->moved_ns >= STALL_NS && is_idle(m))
		seize(m);
}

void lsc_claimed_look(struct lsc_member *m)
{
	uint32_t seen;

	if (!m->claims || m->failed || m->n_here == m->o.image->n_pieces)
		return;
	seen = lsc_segment_generation(m->o.segment);
	if (seen != m->seen) {
		m->seen = seen;
		if (notice_marks(m)) {
			m->moved_ns = lsc_clock_ns();
			lsc_member_pump(m);
		}
		note_claims(m);
	}
	if (m->n_foreign)
		watch_others(m);
}
