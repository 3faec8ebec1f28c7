/* A ring: who feeds whom in a cast whose links do not keep time, and whose nodes may be lost.
 *
 * Receivers form one closed ring for each source: every receiver sends its successor whatever that
 * lacks, and the source injects each piece once, at one receiver or a few.  Where links are equal
 * and injection is at one place, that is a chain, which is the soonest a cast can be: each link
 * carries every byte once, and the link that closes the ring carries none.  It is there for what a
 * chain cannot do: a piece gets everywhere wherever it came in, so pieces that receivers held
 * before are passed on from where they lie, and a source may inject at two places at once, at
 * little cost, and see which of them takes more.
 *
 * This is arithmetic on what it is told, on a clock it is given: it sees no socket.  What it is
 * told is what senders observe.  A sender that has much ready for a peer which the peer does not
 * take has a slow peer; slow receivers go to the end of their ring, the slowest last, so that
 * nobody's pieces come through someone slower than himself.  Where it may be the sender that is
 * slow, the source offers the peer pieces as well: one who takes those was not.
 *
 * Once those who keep up have everything there is no ring any more: each of those who lack
 * something gets it from one who does not, as far as there are enough of these.
 *
 * What nodes are to do with a part: a sender gives each peer what that lacks, in order from first,
 * around the end of the image.  A source gives each of its inject-peers what it has sent to nobody
 * yet and none of them has; when nothing is left of that, what the peer lacks, from the last piece
 * of the order backwards, so that it does not meet what comes around the ring.  A receiver tells
 * all who send to it what it got elsewhere.
 *
 * Nodes are numbers below max_nodes.  All functions but new() succeed; times are in nanoseconds.
 */
#ifndef LSC_PLAN_RING_H
#define LSC_PLAN_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct lsc_ring;

#define LSC_RING_MAX_TO 4 /* nodes that one node sends to */

struct lsc_ring_to {
	uint32_t node;
	bool inject; /* pieces that nobody was sent and none of its inject-peers has, not all */
};

/* What a node is to do. */
struct lsc_ring_part {
	double first; /* where in the image it begins, 0 <= first < 1; the order wraps around */
	uint32_t n_to;
	struct lsc_ring_to to[LSC_RING_MAX_TO];
};

/* bytes: of the image.  rotate: the sources begin at different places, so that their rings together
 * hold every piece early. */
int lsc_ring_new(struct lsc_ring **ret_ring, uint32_t max_nodes, uint64_t bytes, bool rotate,
		 struct lsc_err *err);
void lsc_ring_free(struct lsc_ring *ring);

/* A node takes part from now on; receivers may come later than the first step.  Sources are added
 * before the first step, and what receivers hold by then is told before it, too.  Parts change in
 * lsc_ring_step() alone. */
void lsc_ring_join(struct lsc_ring *ring, uint32_t node, bool source, uint64_t now_ns);

/* It is gone: dead, banned or failed. */
void lsc_ring_leave(struct lsc_ring *ring, uint32_t node, uint64_t now_ns);

/* What was observed: a receiver holds so many bytes of the image, or a source does, where that is
 * not all; from has sent to so many bytes
 * since the cast began, and has ready bytes more for it that it waits to send.  What one report of
 * a node says is told at the same time, held first: it is the parts of one report that are
 * compared.  Ten reports a second from each node are best, five do; they may come late. */
void lsc_ring_held(struct lsc_ring *ring, uint32_t node, uint64_t bytes, uint64_t now_ns);
void lsc_ring_sent(struct lsc_ring *ring, uint32_t from, uint32_t to, uint64_t sent_bytes,
		   uint64_t ready_bytes, uint64_t now_ns);

/* Thinks it over, some times a second; true when some node's part is another now. */
bool lsc_ring_step(struct lsc_ring *ring, uint64_t now_ns);

/* A node's part, and whether it changed since this was last asked. */
bool lsc_ring_part(struct lsc_ring *ring, uint32_t node, struct lsc_ring_part *ret_part);

/* Why the last step changed something, for people: "node 3 is slow (6.1 MB/s)"; "" where nothing.
 */
const char *lsc_ring_why(const struct lsc_ring *ring);

#endif
