/* ring_steer - which receiver is the head, and whether injecting there alone is enough
 *
 * A source injects at two and sees what each takes.  Shares come from one report and tell soon who
 * is the faster, unless the source could send neither more: then both take half, however fast they
 * are, and what they take together is compared with what one takes alone.  That needs a clock, and
 * reports that come late make it take longer.  While the ring keeps up all this costs next to
 * nothing, since what comes in at the second place gets to the first around the ring.
 */
#include "plan/ring_state.h"

#include <math.h>

#include "base/macros.h"

#define FAR_LESS   0.6 /* of what two took: no need to look longer */
#define CLEARLY    2.5 /* no shares of TCP's own making, once one got so much of the image: */
#define CLEAR_PART 96
#define AGAIN_MS   3000 /* before the head is doubted again */
#define PAUSE_MS   4000 /* before another is tried beside it; twice as long each time */

void lsc_ring_enter(struct lsc_ring *ring, struct lsc_ring_segment *segment,
		    enum lsc_ring_state state, uint64_t now_ns)
{
	segment->state = state;
	segment->since_ns = now_ns;
	if (segment->leader == LSC_RING_NONE)
		return;
	for (uint32_t i = 0; i < LSC_RING_MAX_TO; i++)
		ring->nodes[segment->leader].links[i].seen.n = 0;
	ring->dirty = true;
}

void lsc_ring_inject_at(struct lsc_ring_segment *segment, uint32_t id)
{
	segment->inject[0] = id;
	segment->n_inject = 1;
}

/* Somebody who keeps up and was not tried in this trial. */
static uint32_t untried(const struct lsc_ring *ring, const struct lsc_ring_segment *segment)
{
	uint32_t at = ring->nodes[segment->head].next;

	while (at != LSC_RING_NONE && !ring->nodes[at].slow)
		if (ring->nodes[at].trial != segment->trial)
			return at;
		else
			at = ring->nodes[at].next;
	return LSC_RING_NONE;
}

/* Somebody who keeps up, took no less than others and was not the head alone in this trial. */
static uint32_t not_alone(const struct lsc_ring *ring, const struct lsc_ring_segment *segment)
{
	uint32_t at = ring->nodes[segment->head].next;

	while (at != LSC_RING_NONE && !ring->nodes[at].slow)
		if (ring->nodes[at].alone != segment->trial &&
		    ring->nodes[at].lesser != segment->trial)
			return at;
		else
			at = ring->nodes[at].next;
	return LSC_RING_NONE;
}

void lsc_ring_at_head(struct lsc_ring *ring, struct lsc_ring_segment *segment,
		      enum lsc_ring_state state, uint64_t now_ns)
{
	lsc_ring_inject_at(segment, segment->head);
	lsc_ring_enter(ring, segment, state, now_ns);
}

/* Injects at the head and at another who may be as good, if there is one. */
void lsc_ring_at_two(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns)
{
	uint32_t second = untried(ring, segment);

	if (second == LSC_RING_NONE) {
		lsc_ring_at_head(ring, segment,
				 segment->n > 1 && !segment->alone ? LSC_RING_ALONE
								   : LSC_RING_STEADY,
				 now_ns);
		return;
	}
	lsc_ring_inject_at(segment, segment->head);
	segment->inject[segment->n_inject++] = second;
	lsc_ring_enter(ring, segment, LSC_RING_BOTH, now_ns);
}

void lsc_ring_begin(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns)
{
	segment->probe = LSC_RING_NONE;
	segment->most = segment->alone = segment->peak = 0;
	segment->spare = false;
	segment->pairs = 0;
	segment->trial = ++ring->trials;
	segment->n_inject = 0;
	segment->pause_ns = PAUSE_MS * LSC_RING_MS;
	if (segment->head != LSC_RING_NONE)
		lsc_ring_at_two(ring, segment, now_ns);
}

/* What one of a source's links carries to what another does, over the same reports. */
double lsc_ring_ratio(const struct lsc_ring_link *link, const struct lsc_ring_link *other)
{
	uint32_t n = link && other ? LSC_MIN(link->seen.n, other->seen.n) : 0;
	uint64_t a, b;

	if (n < 2)
		return 0;
	n = LSC_MIN(n, lsc_history_window(&link->seen));
	a = lsc_history_back(&link->seen, 0)->bytes - lsc_history_back(&link->seen, n - 1)->bytes;
	b = lsc_history_back(&other->seen, 0)->bytes - lsc_history_back(&other->seen, n - 1)->bytes;
	return (double)a / (double)LSC_MAX(b, 1);
}

/* The same where it is known: soon, and at once where one got much and the other little of it. */
bool lsc_ring_compare(const struct lsc_ring *ring, const struct lsc_ring_link *link,
		      const struct lsc_ring_link *other, double *ret_ratio)
{
	uint64_t most = 0;
	uint32_t n;

	if (!link || !other)
		return false;
	*ret_ratio = lsc_ring_ratio(link, other);
	if (lsc_history_known(&link->seen) >= LSC_KNOWN_SOON &&
	    lsc_history_known(&other->seen) >= LSC_KNOWN_SOON)
		return true;
	n = LSC_MIN(link->seen.n, other->seen.n);
	if (n < 2 || (*ret_ratio > 1 / CLEARLY && *ret_ratio < CLEARLY))
		return false;
	for (int i = 0; i < 2; i++) {
		const struct lsc_history *seen = i ? &other->seen : &link->seen;

		most = LSC_MAX(most, lsc_history_back(seen, 0)->bytes -
					     lsc_history_back(seen, n - 1)->bytes);
	}
	return most > ring->bytes / CLEAR_PART;
}

/* What the source sends to those it injects at, and how much is known of that. */
enum lsc_known lsc_ring_injected(struct lsc_ring *ring, const struct lsc_ring_segment *segment,
				 double *ret_sum)
{
	enum lsc_known known = LSC_KNOWN_WELL;

	*ret_sum = 0;
	for (uint32_t i = 0; i < segment->n_inject; i++) {
		struct lsc_ring_link *link =
			lsc_ring_link(ring, segment->leader, segment->inject[i]);

		if (!link)
			return LSC_KNOWN_NOTHING;
		known = LSC_MIN(known, lsc_history_known(&link->seen));
		*ret_sum += lsc_history_rate(&link->seen);
	}
	return segment->n_inject ? known : LSC_KNOWN_NOTHING;
}

/* Shares are known soon, since they are free of the clock, and what both take together later.  If
 * that is more than the head takes alone, the source could send more than it does. */
static void after_both(struct lsc_ring *ring, struct lsc_ring_segment *segment, double rate,
		       enum lsc_known known, uint64_t now_ns)
{
	uint32_t first = segment->inject[0], second = segment->inject[1];
	double share;

	if (!lsc_ring_compare(ring, lsc_ring_link(ring, segment->leader, second),
			      lsc_ring_link(ring, segment->leader, first), &share))
		return;
	if (share > LSC_RING_UNEQUAL) {
		ring->nodes[first].trial = ring->nodes[first].lesser = segment->trial;
		lsc_ring_say(ring, "node %u takes more than node %u", second, first);
		lsc_ring_turn_to(ring, second);
		segment->alone = segment->peak = 0;
		lsc_ring_at_two(ring, segment, now_ns);
	} else if (share < 1 / LSC_RING_UNEQUAL) {
		ring->nodes[second].trial = ring->nodes[second].lesser = segment->trial;
		lsc_ring_at_two(ring, segment, now_ns);
	} else if (known >= LSC_KNOWN_SURE && segment->alone > 0) {
		ring->nodes[second].trial = segment->trial;
		segment->spare = rate > segment->alone * sqrt(1 + share);
		lsc_ring_inject_at(segment, segment->spare ? second : first);
		lsc_ring_enter(ring, segment, segment->spare ? LSC_RING_ALONE : LSC_RING_STEADY,
			       now_ns);
	} else if (known >= LSC_KNOWN_SURE) {
		if (rate > segment->most) {
			segment->most = rate;
			segment->share = share;
		}
		ring->nodes[second].trial = segment->trial;
		/* Two who are slow alike look like two who are not: a third tells. */
		if (!segment->pairs++ && untried(ring, segment) != LSC_RING_NONE)
			lsc_ring_at_two(ring, segment, now_ns);
		else
			lsc_ring_at_head(ring, segment, LSC_RING_ALONE, now_ns);
	}
}

static void after_alone(struct lsc_ring *ring, struct lsc_ring_segment *segment, double rate,
			enum lsc_known known, uint64_t now_ns)
{
	uint32_t id = segment->inject[0], next;
	const struct lsc_ring_link *link = lsc_ring_link(ring, segment->leader, id);
	uint32_t n = link ? lsc_history_for(&link->seen, known) : 0;

	/* What still comes around the ring takes its part of the link. */
	rate = LSC_MAX(rate, lsc_history_rate_over(&ring->nodes[id].got, n));
	if (known < LSC_KNOWN_SOON ||
	    (known < LSC_KNOWN_WELL && rate > FAR_LESS * segment->most && rate < segment->most))
		return;
	ring->nodes[id].trial = ring->nodes[id].alone = segment->trial;
	if (id == segment->head) {
		segment->alone = rate;
		segment->spare = rate < segment->most / sqrt(1 + segment->share);
	} else if (rate > 1.2 * segment->alone) {
		lsc_ring_say(ring, "node %u is faster than node %u", id, segment->head);
		lsc_ring_turn_to(ring, id);
		segment->alone = rate;
		segment->spare = rate < 0.8 * segment->most;
	}
	next = segment->spare ? not_alone(ring, segment) : LSC_RING_NONE;
	if (next != LSC_RING_NONE) {
		lsc_ring_inject_at(segment, next);
		lsc_ring_enter(ring, segment, LSC_RING_ALONE, now_ns);
		return;
	}
	segment->peak = 0; /* what is known soon may be too much */
	lsc_ring_at_head(ring, segment, LSC_RING_STEADY, now_ns);
}

/* The head may take less than it did, if it or the source has become slow; and where some are slow,
 * somebody else might take more than the head.  Where all are alike that is not tried: each trial
 * costs a hundredth of a cast of ten seconds, for two flows share a link less well than one has it.
 */
static void watch_head(struct lsc_ring *ring, struct lsc_ring_segment *segment, double rate,
		       uint64_t now_ns)
{
	uint64_t for_ns = now_ns - segment->since_ns;

	if (segment->n < 2 || ring->nodes[segment->inject[0]].done)
		return;
	rate = LSC_MAX(rate, lsc_history_rate(&ring->nodes[segment->inject[0]].got));
	segment->peak = LSC_MAX(segment->peak, rate);
	if (rate < 0.6 * segment->peak && for_ns > AGAIN_MS * LSC_RING_MS) {
		lsc_ring_say(ring, "node %u takes less than it did", segment->inject[0]);
		lsc_ring_begin(ring, segment, now_ns);
	} else if (!segment->spare && ring->nodes[segment->tail].slow &&
		   for_ns > segment->pause_ns && untried(ring, segment) != LSC_RING_NONE &&
		   ring->nodes[segment->head].held < ring->bytes / 2) {
		segment->alone = rate;
		segment->pause_ns *= 2;
		lsc_ring_at_two(ring, segment, now_ns);
	}
}

void lsc_ring_steer(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns)
{
	enum lsc_known known;
	double sum;

	if (segment->leader == LSC_RING_NONE || segment->probe != LSC_RING_NONE)
		return;
	if (segment->state == LSC_RING_BOTH && ring->nodes[segment->inject[1]].slow)
		lsc_ring_at_two(ring, segment, now_ns);
	known = lsc_ring_injected(ring, segment, &sum);
	switch (segment->state) {
	case LSC_RING_BOTH:
		after_both(ring, segment, sum, known, now_ns);
		return;
	case LSC_RING_ALONE:
		after_alone(ring, segment, sum, known, now_ns);
		return;
	case LSC_RING_STEADY:
		if (known >= LSC_KNOWN_WELL)
			watch_head(ring, segment, sum, now_ns);
		return;
	}
}
