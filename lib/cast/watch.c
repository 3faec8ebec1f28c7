/* watch - whom to believe, and whom to give up
 *
 * A node that is silent, leaves, or says so itself, has failed.  One whose neighbours complain of
 * it has, when it does not get on either.  A piece that is wrong is the fault of who sent it; but
 * where the sender is this node the piece is looked at here, and who complains of a second sender
 * is himself the one whose memory is broken.
 */
#include <math.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/macros.h"
#include "cast/cast_own.h"

/* --- what they say of each other --- */

/* Whether our own piece is what the manifest says.  One that there is not, or that is not here, was
 * not sent by us. */
static bool own_piece_is_good(const struct lsc_cast *c, uint32_t piece)
{
	const struct lsc_image *image = c->o.image;
	struct lsc_hash hash;

	if (!c->member || piece >= image->n_pieces ||
	    !lsc_bits_has(lsc_member_here(c->member), piece))
		return true;
	hash = lsc_hash_of(image->data + lsc_image_piece_offset(image, piece),
			   lsc_image_piece_bytes(image, piece));
	return lsc_hash_equal(&hash, &image->pieces[piece]);
}

void lsc_cast_fault(struct lsc_cast *c, struct lsc_control *accuser, const struct lsc_failed *fault)
{
	struct lsc_control *node = fault->node < c->n_nodes ? &c->nodes[fault->node] : NULL;
	struct lsc_err err = LSC_ERR_INIT;

	if (!node || node->failed || node == accuser || c->phase != LSC_CAST_CASTING)
		return;
	lsc_err_set(&err, fault->code, "%s: %s%s%s%s", node->name, fault->why,
		    accuser->index ? " (said by " : "", accuser->index ? accuser->name : "",
		    accuser->index ? ")" : "");
	if (fault->code != EBADMSG) {
		if (!node->trouble.code)
			node->trouble = err;
		return;
	}
	if ((node->index == 0 && own_piece_is_good(c, fault->piece)) ||
	    (accuser->accuses != LSC_NOBODY && accuser->accuses != fault->node)) {
		lsc_err_set(&err, EBADMSG, "%s: finds pieces wrong that others find good",
			    accuser->name);
		node = accuser;
	}
	accuser->accuses = fault->node;
	lsc_cast_fail(c, node, &err);
}

/* --- silence --- */

/* Who did not get on for want of one that is gone has all his time before him.  Those that are
 * given up in one go are, before the others are forgiven: else each would take a timeout of its
 * own. */
void lsc_cast_forgive(struct lsc_cast *c)
{
	if (!c->lost)
		return;
	c->lost = false;
	c->progress_ns = lsc_clock_ns();
	for (uint32_t i = 0; i < c->n_nodes; i++) {
		c->nodes[i].progress_ns = c->progress_ns;
		c->nodes[i].offered = 0;
	}
}

/* How long no progress is still none to worry about. */
static uint64_t patience(const struct lsc_cast *c)
{
	uint64_t limit = c->o.timeout_ns;

	if (c->o.rate > 0) /* the first piece may have to pass many nodes */
		limit += (uint64_t)(c->o.image->piece_bytes * 1e9 / c->o.rate *
				    (4 + ceil(log2(c->n_nodes))));
	return limit;
}

static bool was_heard(const struct lsc_cast *c, const struct lsc_control *node, uint64_t now)
{
	return node->index == 0 ||
	       (!node->failed && now - LSC_MIN(node->heard_ns, now) <= 6 * c->report_ns);
}

/* It lives, and does not get on, although it could; or, with all, although nobody could.  Of one
 * that is silent, that is all there is to say.  One that has every piece is writing it to its disk,
 * which may take long. */
static bool is_stuck(const struct lsc_cast *c, const struct lsc_control *node, uint64_t now,
		     bool all, struct lsc_err *err)
{
	uint64_t limit = patience(c);

	if (!node->joined || node->source || node->complete ||
	    node->pieces == c->o.image->n_pieces || now - LSC_MIN(node->progress_ns, now) < limit ||
	    !was_heard(c, node, now))
		return false;
	if (!all && !node->trouble.code &&
	    (!node->offered || !was_heard(c, &c->nodes[node->offered_by], now)))
		return false;
	if (node->trouble.code)
		*err = node->trouble;
	else
		lsc_err_set(err, ETIMEDOUT, "%s: no piece arrived there%s for %.1f s", node->name,
			    all ? " or elsewhere" : "", (double)limit / 1e9);
	return true;
}

static void give_up(struct lsc_cast *c, uint64_t now, bool all)
{
	for (uint32_t i = 1; i < c->n_nodes && c->phase < LSC_CAST_ENDING; i++) {
		struct lsc_err err = LSC_ERR_INIT;
		struct lsc_control *node = &c->nodes[i];

		if (node->failed)
			continue;
		if (lsc_control_is_silent(node, now, &err) ||
		    (c->phase == LSC_CAST_CASTING && is_stuck(c, node, now, all, &err)))
			lsc_cast_fail(c, node, &err);
	}
}

/* Where nobody gets on, and nobody is to blame, a piece is nowhere any more, and none of those that
 * wait for it will have it. */
void lsc_cast_watch(struct lsc_cast *c)
{
	uint64_t now = lsc_clock_ns();

	lsc_cast_forgive(c);
	give_up(c, now, false);
	if (!c->lost && now - LSC_MIN(c->progress_ns, now) >= patience(c))
		give_up(c, now, true);
	lsc_cast_forgive(c);
}
