/* ring_end - when all who keep up have everything
 *
 * From then on who has everything sends to one of those who lack something, and nobody else does:
 * each gets what its own link takes, and need not be compared with others.  Where there are fewer
 * to send than to get, the slower hang on behind the faster.  What a receiver got at best, while
 * all took part, tells which those are.
 */
#include "plan/ring_state.h"

#include "base/macros.h"

#define STARVES   0.5  /* of what it got at best: its feeder is not what it should be */
#define STARVE_MS 2000 /* for so long */

/* Whether those who lack something are slow, and somebody has everything. */
static bool is_over(const struct lsc_ring *ring, const struct lsc_ring_segment *segment)
{
	bool some = segment->leader != LSC_RING_NONE && !ring->nodes[segment->leader].lacks;
	bool lack = false;

	for (uint32_t at = segment->head; at != LSC_RING_NONE; at = ring->nodes[at].next) {
		const struct lsc_ring_node *node = &ring->nodes[at];

		if (!node->done && (!node->slow || node->chokes))
			return false;
		lack = lack || !node->done;
		some = some || node->done;
	}
	return lack && some;
}

/* Those of a segment who have everything, sources first, or who lack something, the faster first.
 * Returns how many. */
static uint32_t list(const struct lsc_ring *ring, const struct lsc_ring_segment *segment, bool done,
		     uint32_t *ids)
{
	uint32_t n = 0, sources;

	for (uint32_t i = 0; done && i < ring->n_order; i++) {
		const struct lsc_ring_node *node = &ring->nodes[ring->order[i]];

		if (node->here && node->source && !node->lacks &&
		    &ring->segments[node->segment] == segment)
			ids[n++] = ring->order[i];
	}
	sources = n;
	for (uint32_t at = segment->head; at != LSC_RING_NONE; at = ring->nodes[at].next) {
		uint32_t i = n;

		if (ring->nodes[at].done != done)
			continue;
		/* They lie in about this order already. */
		for (; i > sources && ring->nodes[ids[i - 1]].best < ring->nodes[at].best; i--)
			ids[i] = ids[i - 1];
		ids[i] = at;
		n++;
	}
	return n;
}

static void feed(struct lsc_ring *ring, uint32_t from, uint32_t to)
{
	ring->nodes[from].fed = to;
	ring->nodes[to].feeder = from;
}

static uint32_t at_turn(const struct lsc_ring_segment *segment, const uint32_t *full,
			uint32_t n_full, uint32_t i)
{
	return full[(i + segment->turn) % n_full];
}

/* Whether somebody's feeder is gone, or not chosen yet. */
static bool has_lost(const struct lsc_ring *ring, const uint32_t *hungry, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t feeder = ring->nodes[hungry[i]].feeder;

		if (feeder == LSC_RING_NONE || !ring->nodes[feeder].here)
			return true;
	}
	return false;
}

/* Who has everything and feeds somebody goes on with it, as long as nobody lost his feeder. */
void lsc_ring_feed(struct lsc_ring *ring, struct lsc_ring_segment *segment)
{
	uint32_t *full = ring->some, *hungry = ring->some + ring->max_nodes;
	uint32_t n_full = list(ring, segment, true, full), n = list(ring, segment, false, hungry);
	uint32_t next = 0, fed = 0;
	bool anew = has_lost(ring, hungry, n);

	for (uint32_t i = 0; i < n; i++)
		ring->nodes[hungry[i]].fed = LSC_RING_NONE;
	for (uint32_t i = 0; i < n_full; i++) {
		uint32_t *to = &ring->nodes[full[i]].fed;

		if (*to != LSC_RING_NONE &&
		    (anew || !ring->nodes[*to].here || ring->nodes[*to].done ||
		     ring->nodes[*to].feeder != full[i]))
			*to = LSC_RING_NONE;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t *feeder = &ring->nodes[hungry[i]].feeder;

		if (!anew && ring->nodes[*feeder].fed == hungry[i])
			continue;
		*feeder = LSC_RING_NONE;
		while (next < n_full &&
		       ring->nodes[at_turn(segment, full, n_full, next)].fed != LSC_RING_NONE)
			next++;
		if (next < n_full)
			feed(ring, at_turn(segment, full, n_full, next++), hungry[i]);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (ring->nodes[hungry[i]].feeder != LSC_RING_NONE)
			continue;
		while (fed < i && ring->nodes[hungry[fed]].fed != LSC_RING_NONE)
			fed++;
		if (fed < i)
			feed(ring, hungry[fed], hungry[i]);
	}
}

/* Somebody starves whose feeder has everything: all feeders move on by one. */
static void watch(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns)
{
	bool starves = false;

	if (now_ns - segment->fed_ns < STARVE_MS * LSC_RING_MS)
		return;
	for (uint32_t at = segment->head; at != LSC_RING_NONE; at = ring->nodes[at].next) {
		const struct lsc_ring_node *node = &ring->nodes[at];

		if (!node->done && node->feeder != LSC_RING_NONE &&
		    ring->nodes[node->feeder].done &&
		    lsc_history_rate(&node->got) < STARVES * node->best) {
			lsc_ring_say(ring, "node %u gets less from node %u than it did", at,
				     node->feeder);
			starves = true;
		}
	}
	if (!starves)
		return;
	segment->fed_ns = now_ns;
	segment->turn++;
	for (uint32_t at = segment->head; at != LSC_RING_NONE; at = ring->nodes[at].next)
		ring->nodes[at].feeder = LSC_RING_NONE;
}

bool lsc_ring_end(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns)
{
	bool over = is_over(ring, segment);

	if (over && segment->over) {
		watch(ring, segment, now_ns);
		return true;
	}
	if (over != segment->over) {
		segment->over = over;
		segment->fed_ns = now_ns;
		segment->probe = LSC_RING_NONE;
		lsc_ring_say(ring, over ? "those who keep up have everything"
					: "somebody who keeps up lacks something");
		for (uint32_t id = 0; id < ring->n_nodes; id++)
			if (&ring->segments[ring->nodes[id].segment] == segment)
				ring->nodes[id].fed = ring->nodes[id].feeder = LSC_RING_NONE;
		if (!over)
			lsc_ring_begin(ring, segment, now_ns);
		return over;
	}
	for (uint32_t at = segment->head; at != LSC_RING_NONE; at = ring->nodes[at].next) {
		struct lsc_ring_node *node = &ring->nodes[at];

		if (!node->done && lsc_history_known(&node->got) == LSC_KNOWN_WELL)
			node->best = LSC_MAX(node->best, lsc_history_rate(&node->got));
	}
	return false;
}
