/* ring_judge - who does not keep up, and whether it is him or who sends to him
 *
 * Who is slow is judged by what waits.  A sender's own report says what came in and what it has
 * ready for its successor, so the part of what came in that did not go on is free of the clock,
 * which matters: reports come late by as much as lies between two of them.  Where three quarters do
 * not go on that is seen 0.4 to 0.6 s after they began to come in, with reports every 0.1 s: 0.06 s
 * until the kernel's buffer is full, 0.1 s until what waits is much, two reports, and the time that
 * they take.
 *
 * What waits for long has two causes, a receiver who does not take it and a sender who does not get
 * it out.  Both go to the end at once, side by side, so that nobody else waits until it is known
 * which; then the source offers pieces to the receiver as well.  If it takes them it was the
 * sender.
 */
#include "plan/ring_state.h"

#include "base/macros.h"

#define WAITS_PART 128 /* of the image: less than this is never much, */
#define FULL       0.85
#define AS_ANY     0.8
#define AS_BEST    0.75 /* of what another got at best: who got less is not tried before him */
#define PAROLE_MS  2000
#define RETRY_MS   10000ull /* before one of two equals tries again to go before the other */

/* Far too little goes on, and more waits in each of two reports; or too little does, in three.  A
 * sender that did not run for a while has a lot more to send in one report, and no more in the
 * next: that was 7 of 8 wrong verdicts.  In seconds of what comes in, the least that counts as
 * much. */
#define FAR_PART      0.5
#define FAR_REPORTS   2
#define FAR_WAITS_S   0.1
#define SHORT_PART    0.2
#define SHORT_REPORTS 3
#define SHORT_WAITS_S 0.15

static bool much(const struct lsc_ring *ring, uint32_t from, uint64_t ready, double seconds)
{
	double waits = seconds * lsc_history_rate(&ring->nodes[from].got);

	return ready > ring->bytes / WAITS_PART && (double)ready > waits;
}

/* The least that waited lately: one who came late, or had to wait, stays behind by as much. */
static uint64_t least_ready(const struct lsc_history *history)
{
	uint64_t least = lsc_history_back(history, 0)->ready;

	for (uint32_t by = 1; by < lsc_history_window(history); by++)
		least = LSC_MIN(least, lsc_history_back(history, by)->ready);
	return least;
}

/* The part of what came in over some samples that did not go on, if more waited each time. */
static double kept(const struct lsc_history *seen, uint32_t by)
{
	const struct lsc_sample *now = lsc_history_back(seen, 0);
	const struct lsc_sample *before = lsc_history_back(seen, by);

	for (uint32_t i = 0; i < by; i++)
		if (lsc_history_back(seen, i)->ready <= lsc_history_back(seen, i + 1)->ready)
			return 0;
	if (now->held <= before->held)
		return 0;
	return (double)(now->ready - before->ready) / (double)(now->held - before->held);
}

/* Whether clearly less goes on than comes in, and much more waits than did. */
static bool falls_behind(const struct lsc_ring *ring, uint32_t from, const struct lsc_history *seen)
{
	uint64_t more;

	if (seen->n < 1 + FAR_REPORTS)
		return false;
	more = lsc_history_back(seen, 0)->ready - least_ready(seen);
	if (much(ring, from, more, FAR_WAITS_S) && kept(seen, FAR_REPORTS) > FAR_PART)
		return true;
	return seen->n > SHORT_REPORTS && much(ring, from, more, SHORT_WAITS_S) &&
	       kept(seen, SHORT_REPORTS) > SHORT_PART;
}

static double rate_for(const struct lsc_history *history, enum lsc_known known)
{
	uint32_t n = lsc_history_for(history, known);

	return lsc_history_rate_over(history, n ? n : lsc_history_window(history));
}

static void call_slow(struct lsc_ring *ring, uint32_t id)
{
	struct lsc_ring_node *node = &ring->nodes[id];

	node->slow = true;
	node->rate =
		LSC_MAX(rate_for(&node->got, LSC_KNOWN_SOON), rate_for(&node->got, LSC_KNOWN_SURE));
	lsc_ring_say(ring, "node %u is slow (%.1f MB/s)", id, node->rate / 1e6);
	lsc_ring_move(ring, id);
}

static void convict_sender(struct lsc_ring *ring, uint32_t from, uint32_t to, uint64_t now_ns)
{
	struct lsc_ring_segment *segment = &ring->segments[ring->nodes[from].segment];
	struct lsc_ring_link *link = lsc_ring_link(ring, from, to);
	bool head = segment->head == from;

	ring->nodes[to].unsure = false;
	if (ring->nodes[to].slow) {
		ring->nodes[to].slow = false;
		lsc_ring_move(ring, to);
	}
	ring->nodes[from].slow = ring->nodes[from].chokes = true;
	ring->nodes[from].convicted_ns = now_ns;
	ring->nodes[from].rate = link ? lsc_history_rate(&link->seen) : 0;
	lsc_ring_say(ring, "node %u is slow in sending (%.1f MB/s)", from,
		     ring->nodes[from].rate / 1e6);
	lsc_ring_move(ring, from);
	if (head)
		lsc_ring_begin(ring, segment, now_ns);
	else if (segment->state == LSC_RING_BOTH)
		lsc_ring_at_two(ring, segment, now_ns);
}

/* How much is known of two links over the same time. */
static enum lsc_known both_known(const struct lsc_ring_link *a, const struct lsc_ring_link *b)
{
	if (!a || !b)
		return LSC_KNOWN_NOTHING;
	return LSC_MIN(lsc_history_known(&a->seen), lsc_history_known(&b->seen));
}

enum lsc_ring_answer { NO, YES, UNKNOWN, NOT_GIVEN };

/* Whether the source gives this receiver, too, and it takes what the others do.  One who does need
 * not take all that its sender has as well. */
static enum lsc_ring_answer takes_share(struct lsc_ring *ring, uint32_t id)
{
	struct lsc_ring_segment *segment = &ring->segments[ring->nodes[id].segment];
	struct lsc_ring_link *link = NULL, *other = NULL;
	bool given = segment->probe == id;
	double ratio;

	for (uint32_t i = 0; segment->leader != LSC_RING_NONE && i < segment->n_inject; i++) {
		given = given || segment->inject[i] == id;
		*(segment->inject[i] == id ? &link : &other) =
			lsc_ring_link(ring, segment->leader, segment->inject[i]);
	}
	if (!given)
		return ring->nodes[id].lesser == segment->trial ? NO : NOT_GIVEN;
	if (!lsc_ring_compare(ring, link, other, &ratio))
		return UNKNOWN;
	return ratio > 1 / LSC_RING_UNEQUAL ? YES : NO;
}

/* Whether a receiver gets less from its sender, who has much, than from its source. */
static enum lsc_ring_answer gives_less(struct lsc_ring *ring, uint32_t from, uint32_t to)
{
	const struct lsc_ring_segment *segment = &ring->segments[ring->nodes[to].segment];
	const struct lsc_ring_link *link = lsc_ring_link(ring, from, to);
	const struct lsc_ring_link *direct = lsc_ring_link(ring, segment->leader, to);
	enum lsc_known known = both_known(link, direct);
	double part;

	if (known < LSC_KNOWN_SOON)
		return UNKNOWN;
	part = rate_for(&link->seen, known) / LSC_MAX(1, rate_for(&direct->seen, known));
	if (known < LSC_KNOWN_SURE && part > 0.45 && part < 1.1)
		return UNKNOWN;
	return part < 0.7 ? YES : NO;
}

/* Whether a receiver gets about as much as its sender does, from all who send to it: its own link
 * is full then, and a sender who waits is squeezed out there by the source, however TCP shares it.
 */
static bool is_full(const struct lsc_ring *ring, uint32_t from, uint32_t to)
{
	return rate_for(&ring->nodes[to].got, LSC_KNOWN_WELL) >
	       FULL * rate_for(&ring->nodes[from].got, LSC_KNOWN_WELL);
}

static void offer(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint32_t id)
{
	segment->probe = id;
	lsc_ring_say(ring, "node %u is offered pieces directly", id);
}

/* Returns whether that changed the order. */
static bool accuse(struct lsc_ring *ring, uint32_t from, uint32_t to, uint64_t now_ns)
{
	struct lsc_ring_node *sender = &ring->nodes[from], *node = &ring->nodes[to];
	struct lsc_ring_segment *segment = &ring->segments[sender->segment];

	if (node->slow) {
		if (node->accuser != from)
			node->unsure = false;
		return false;
	}
	switch (takes_share(ring, to)) {
	case YES:
		if (gives_less(ring, from, to) != YES || is_full(ring, from, to))
			return false;
		convict_sender(ring, from, to, now_ns);
		return true;
	case UNKNOWN:
		return false;
	case NO:
		call_slow(ring, to);
		return true;
	case NOT_GIVEN:
		break;
	}
	node->accuser = from;
	if (segment->head == from && segment->leader != LSC_RING_NONE) {
		if (segment->probe == LSC_RING_NONE)
			offer(ring, segment, to);
		return false;
	}
	node->unsure = true;
	call_slow(ring, to);
	if (!sender->slow && segment->head != from)
		lsc_ring_move(ring, from);
	return true;
}

/* Once, in case that the verdict was wrong: the last of those who keep up holds up nobody of them.
 */
static void parole(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns)
{
	for (uint32_t at = segment->tail; at != LSC_RING_NONE && ring->nodes[at].slow;
	     at = ring->nodes[at].prev) {
		struct lsc_ring_node *node = &ring->nodes[at];

		if (!node->chokes || node->paroled ||
		    now_ns - node->convicted_ns < PAROLE_MS * LSC_RING_MS)
			continue;
		node->paroled = true;
		node->slow = node->chokes = false;
		lsc_ring_say(ring, "node %u may not be slow in sending", at);
		lsc_ring_move(ring, at);
		return;
	}
}

/* What the fastest receiver of a segment gets lately. */
static double best_rate(const struct lsc_ring *ring, const struct lsc_ring_segment *segment)
{
	double best = 0;

	for (uint32_t at = segment->head; at != LSC_RING_NONE; at = ring->nodes[at].next)
		best = LSC_MAX(best, rate_for(&ring->nodes[at].got, LSC_KNOWN_WELL));
	return best;
}

/* Nobody is accused of a receiver who gets as much as any does: what waits for it at one sender is
 * squeezed out by another. */
void lsc_ring_judge(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns)
{
	double enough = AS_ANY * best_rate(ring, segment);
	uint32_t next;

	parole(ring, segment, now_ns);
	for (uint32_t at = segment->head; at != LSC_RING_NONE; at = next) {
		struct lsc_ring_node *node = &ring->nodes[at];
		struct lsc_ring_link *link;

		next = node->next;
		if (next == LSC_RING_NONE || ring->nodes[next].done)
			continue;
		link = lsc_ring_link(ring, at, next);
		if (link && now_ns < ring->nodes[next].quiet_ns)
			link->seen.n = 0;
		if (link && falls_behind(ring, at, &link->seen) &&
		    rate_for(&ring->nodes[next].got, LSC_KNOWN_WELL) < enough &&
		    accuse(ring, at, next, now_ns))
			return;
	}
}

/* Whether a sender gave what came in: a peer who is ahead of it has that already. */
static bool went_on(const struct lsc_history *seen, uint32_t n, double part)
{
	const struct lsc_sample *now = lsc_history_back(seen, 0),
				*before = lsc_history_back(seen, n - 1);

	return now->held > before->held &&
	       (double)(now->bytes - before->bytes) > part * (double)(now->held - before->held);
}

/* What is known of a slow node by now.  Where pieces waited for it all the time its rate is what it
 * can do; where none did it may be held up by whoever sends to it. */
static enum lsc_ring_answer keeps_up(struct lsc_ring *ring, uint32_t id)
{
	struct lsc_ring_node *node = &ring->nodes[id];
	struct lsc_ring_link *link = lsc_ring_link(ring, node->prev, id);
	uint64_t some = ring->bytes / WAITS_PART;
	bool waited = false, idle = false;
	enum lsc_known known;
	uint32_t n;

	known = link ? lsc_history_known(&link->seen) : LSC_KNOWN_NOTHING;
	known = LSC_MIN(known, LSC_KNOWN_SURE);
	if (known < LSC_KNOWN_SOON || node->done)
		return UNKNOWN;
	n = lsc_history_for(&link->seen, known);
	for (uint32_t by = 0; by < n; by++)
		*(lsc_history_back(&link->seen, by)->ready > some ? &waited : &idle) = true;
	if (waited && !idle && known == LSC_KNOWN_SURE && !node->chokes) {
		double rate = rate_for(&node->got, LSC_KNOWN_SURE);

		/* Whoever sends to it may not be able to send more. */
		if (ring->nodes[node->prev].slow && rate > 0.75 * ring->nodes[node->prev].rate)
			return YES;
		node->rate = rate;
	}
	/* One who stays behind by as much as ever takes all that comes. */
	if (waited && !ring->nodes[node->prev].slow && known == LSC_KNOWN_SURE &&
	    went_on(&link->seen, n, 0.9))
		return YES;
	if (waited)
		return idle ? UNKNOWN : NO;
	return went_on(&link->seen, n, 0.7) ? YES : UNKNOWN;
}

/* Whether one of the slow did not go before this other lately. */
static bool may_try(const struct lsc_ring_node *node, uint32_t other, uint64_t now_ns)
{
	for (uint32_t i = 0; i < LSC_MIN(node->tries, LSC_RING_RIVALS); i++)
		if (node->rivals[i].node == other &&
		    now_ns - node->rivals[i].at_ns < RETRY_MS * LSC_RING_MS)
			return false;
	return true;
}

/* Those among the slow who are faster than the one before them go before it, as do those who may
 * be, now and then: each of two equals tries. */
void lsc_ring_sort_slow(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns)
{
	for (uint32_t at = segment->tail, prev; at != LSC_RING_NONE && ring->nodes[at].slow;
	     at = prev) {
		struct lsc_ring_node *node = &ring->nodes[at];
		bool up;

		prev = node->prev;
		if (prev == LSC_RING_NONE)
			return;
		up = keeps_up(ring, at) == YES && !node->chokes;
		if (up && !ring->nodes[prev].slow && !node->unsure) {
			node->slow = false;
			lsc_ring_say(ring, "node %u keeps up", at);
			return;
		}
		if (!ring->nodes[prev].slow || node->best < AS_BEST * ring->nodes[prev].best)
			continue;
		up = up && may_try(node, prev, now_ns);
		if (!up && node->rate <= 1.3 * ring->nodes[prev].rate)
			continue;
		if (up)
			node->rate = LSC_MAX(node->rate, ring->nodes[prev].rate);
		if (up)
			node->rivals[node->tries++ % LSC_RING_RIVALS] =
				(struct lsc_ring_rival){prev, now_ns};
		lsc_ring_say(ring, "node %u may be faster than node %u", at, prev);
		lsc_ring_take_out(ring, at);
		lsc_ring_put_before(ring, at, node->segment, prev);
		return;
	}
}

static void end_probe(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns)
{
	segment->probe = LSC_RING_NONE;
	lsc_ring_enter(ring, segment, segment->state, now_ns);
}

static void verdict(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns)
{
	uint32_t id = segment->probe;
	struct lsc_ring_node *node = &ring->nodes[id];
	struct lsc_ring_link *mine = lsc_ring_link(ring, segment->leader, id);
	struct lsc_ring_link *others = lsc_ring_link(ring, segment->leader, segment->inject[0]);
	enum lsc_ring_answer less = NO;

	if (both_known(mine, others) < LSC_KNOWN_SOON)
		return;
	if (node->accuser == node->prev && !ring->nodes[node->prev].slow &&
	    lsc_ring_ratio(mine, others) > 1 / LSC_RING_UNEQUAL)
		less = gives_less(ring, node->prev, id);
	if (less == UNKNOWN && lsc_history_known(&mine->seen) < LSC_KNOWN_WELL)
		return;
	node->unsure = false;
	end_probe(ring, segment, now_ns);
	if (less == YES)
		convict_sender(ring, node->prev, id, now_ns);
	else if (!node->slow)
		call_slow(ring, id);
}

void lsc_ring_probe(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns)
{
	double sum;

	if (segment->leader == LSC_RING_NONE || !segment->n_inject)
		return;
	if (segment->probe != LSC_RING_NONE) {
		verdict(ring, segment, now_ns);
		return;
	}
	if (ring->nodes[segment->inject[0]].done ||
	    (segment->state == LSC_RING_BOTH && !segment->pairs &&
	     lsc_ring_injected(ring, segment, &sum) < LSC_KNOWN_SOON))
		return;
	for (uint32_t at = segment->tail; at != LSC_RING_NONE && ring->nodes[at].slow;
	     at = ring->nodes[at].prev) {
		struct lsc_ring_node *node = &ring->nodes[at];

		if (!node->unsure || node->done || node->prev != node->accuser)
			continue;
		offer(ring, segment, at);
		return;
	}
}
