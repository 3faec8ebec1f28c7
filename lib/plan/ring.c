/* ring - which receivers and sources are together, as they come and go
 *
 * There are as many segments as there are sources, or receivers where these are fewer: each has a
 * ring of its own, so that the sources do not send the same pieces twice.  A segment that has lost
 * its source is merged into another; sources of one that is complete help the segment that lacks
 * most.  Who has only a part of the image helps a source that has it all, and has no segment of its
 * own, whose receivers would wait for the rest; where nobody has all, there is one segment.
 */
#include "plan/ring.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "plan/ring_state.h"

/* The segment that most needs one more: whose receivers lack most for each source. */
static uint32_t neediest(const struct lsc_ring *ring)
{
	uint32_t best = LSC_RING_NONE;
	double most = 0;

	for (uint32_t g = 0; g < ring->n_segments; g++) {
		const struct lsc_ring_segment *segment = &ring->segments[g];
		double lacks = 0;

		for (uint32_t at = segment->head; at != LSC_RING_NONE; at = ring->nodes[at].next)
			lacks += (double)(ring->bytes - LSC_MIN(ring->bytes, ring->nodes[at].held));
		lacks /= segment->n + segment->n * (double)segment->n_sources;
		if (segment->n && lacks > most) {
			best = g;
			most = lacks;
		}
	}
	return best;
}

/* How far the order of a segment has come. */
static double frontier(const struct lsc_ring *ring, const struct lsc_ring_segment *segment)
{
	uint64_t most = 0;
	double at;

	for (uint32_t id = segment->head; id != LSC_RING_NONE; id = ring->nodes[id].next)
		most = LSC_MAX(most, ring->nodes[id].held);
	at = segment->first + (double)most / (double)LSC_MAX(ring->bytes, 1);
	return at < 1 ? at : at - floor(at);
}

/* A source begins with what nobody has yet, as far as what is held is the beginning of the order.
 */
static void start_at(struct lsc_ring *ring, uint32_t source, double at)
{
	ring->nodes[source].starts = true;
	ring->nodes[source].start = at;
	ring->dirty = true;
}

static void assign(struct lsc_ring *ring, uint32_t source, uint32_t g, uint64_t now_ns)
{
	ring->nodes[source].segment = g;
	ring->segments[g].n_sources++;
	ring->dirty = true;
	if (ring->segments[g].leader != LSC_RING_NONE)
		return;
	ring->segments[g].leader = source;
	lsc_ring_begin(ring, &ring->segments[g], now_ns);
}

/* Sources of a segment whose receivers all have everything, or are gone, help elsewhere. */
static void help(struct lsc_ring *ring, uint32_t g, uint64_t now_ns)
{
	if (ring->segments[g].leader == LSC_RING_NONE ||
	    lsc_ring_unfinished(ring, ring->segments[g].head) != LSC_RING_NONE ||
	    neediest(ring) == LSC_RING_NONE)
		return;
	ring->segments[g].leader = LSC_RING_NONE;
	for (uint32_t i = 0; i < ring->n_order; i++) {
		struct lsc_ring_node *node = &ring->nodes[ring->order[i]];

		if (node->here && node->source && node->segment == g)
			assign(ring, ring->order[i], neediest(ring), now_ns);
	}
	lsc_ring_say(ring, "%u receivers have everything", ring->segments[g].n);
}

static void empty_segment(struct lsc_ring_segment *segment, double first)
{
	*segment = (struct lsc_ring_segment){
		.head = LSC_RING_NONE,
		.tail = LSC_RING_NONE,
		.leader = LSC_RING_NONE,
		.first = first,
		.state = LSC_RING_STEADY,
		.probe = LSC_RING_NONE,
	};
}

/* Whether it is a source that has everything, or one that has not. */
static bool is_source(const struct lsc_ring *ring, uint32_t id, bool lacks)
{
	const struct lsc_ring_node *node = &ring->nodes[id];

	return node->here && node->source && node->lacks == lacks;
}

/* Deals the sources out, those that have everything first. */
static void deal_sources(struct lsc_ring *ring, uint64_t now_ns)
{
	uint32_t n = 0;

	for (int lacks = 0; lacks < 2; lacks++)
		for (uint32_t i = 0; i < ring->n_order; i++)
			if (is_source(ring, ring->order[i], lacks))
				assign(ring, ring->order[i], n++ % ring->n_segments, now_ns);
}

/* Deals sources and receivers out to as many segments as have one of both. */
static void deal(struct lsc_ring *ring, uint64_t now_ns)
{
	uint32_t n[2] = {0, 0}, at = 0;

	for (uint32_t i = 0; i < ring->n_order; i++)
		if (!ring->nodes[ring->order[i]].lacks)
			n[ring->nodes[ring->order[i]].source]++;
	ring->n_segments = LSC_MAX(1, LSC_MIN(n[0], n[1]));
	for (uint32_t g = 0; g < ring->n_segments; g++)
		empty_segment(&ring->segments[g], ring->rotate ? (double)g / ring->n_segments : 0);
	for (uint32_t i = 0; i < ring->n_order; i++) {
		uint32_t id = ring->order[i];

		if (!ring->nodes[id].source)
			lsc_ring_put(ring, id, at++ % ring->n_segments);
	}
	deal_sources(ring, now_ns);
	for (uint32_t g = 0; g < ring->n_segments; g++) {
		struct lsc_ring_segment *segment = &ring->segments[g];

		if (segment->leader != LSC_RING_NONE)
			start_at(ring, segment->leader, frontier(ring, segment));
	}
	ring->started = ring->dirty = true;
}

/* The segment with the fewest receivers, but this, among those led by a source that has everything,
 * or a part. */
static uint32_t smallest(const struct lsc_ring *ring, uint32_t but, bool lacks)
{
	uint32_t best = LSC_RING_NONE;

	for (uint32_t g = 0; g < ring->n_segments; g++) {
		if (g == but || ring->segments[g].leader == LSC_RING_NONE ||
		    ring->nodes[ring->segments[g].leader].lacks != lacks)
			continue;
		if (best == LSC_RING_NONE || ring->segments[g].n < ring->segments[best].n)
			best = g;
	}
	return best;
}

static void merge(struct lsc_ring *ring, uint32_t from, uint32_t to)
{
	while (ring->segments[from].head != LSC_RING_NONE) {
		uint32_t id = ring->segments[from].head;

		lsc_ring_take_out(ring, id);
		lsc_ring_put(ring, id, to);
	}
}

static void add_receiver(struct lsc_ring *ring, uint32_t id, uint64_t now_ns)
{
	uint32_t g = smallest(ring, LSC_RING_NONE, false);
	struct lsc_ring_segment *segment;

	if (g == LSC_RING_NONE)
		g = smallest(ring, LSC_RING_NONE, true);
	for (uint32_t i = 0; g == LSC_RING_NONE; i++)
		if (ring->segments[i].n || i + 1 == ring->n_segments)
			g = i;
	segment = &ring->segments[g];
	lsc_ring_put(ring, id, g);
	/* What comes in elsewhere than at the head waits behind all that this one lacks, before it
	 * is around: no more trials without need, nor of this one. */
	ring->nodes[id].trial = segment->trial;
	segment->pause_ns = UINT64_MAX;
	if (segment->state == LSC_RING_BOTH && segment->alone > 0)
		lsc_ring_at_head(ring, segment, LSC_RING_STEADY, now_ns);
	if (segment->n == 1 && segment->leader != LSC_RING_NONE)
		lsc_ring_begin(ring, segment, now_ns);
}

static void remove_receiver(struct lsc_ring *ring, uint32_t id, uint64_t now_ns)
{
	struct lsc_ring_segment *segment = &ring->segments[ring->nodes[id].segment];
	uint32_t next = lsc_ring_after(ring, id), n = 0;
	bool trial = false;

	lsc_ring_take_out(ring, id);
	if (segment->probe == id)
		segment->probe = LSC_RING_NONE;
	for (uint32_t i = 0; i < segment->n_inject; i++) {
		uint32_t to = segment->inject[i];

		if (to != id)
			segment->inject[n++] = to;
		else
			trial = true;
	}
	segment->n_inject = n;
	if (!trial || segment->head == LSC_RING_NONE)
		return;
	if (segment->state == LSC_RING_BOTH || segment->state == LSC_RING_ALONE) {
		lsc_ring_begin(ring, segment, now_ns);
	} else if (!n) {
		lsc_ring_inject_at(segment, ring->nodes[next].slow ? segment->head : next);
		lsc_ring_enter(ring, segment, LSC_RING_STEADY, now_ns);
	}
}

/* Has the sources of one segment, or of all (LSC_RING_NONE), go to another; returns whether they
 * did.  all: those, too, that have only a part. */
static bool move_sources(struct lsc_ring *ring, uint32_t from, uint32_t to, bool all,
			 uint64_t now_ns)
{
	bool moved = false;

	for (uint32_t i = 0; i < ring->n_order; i++) {
		uint32_t id = ring->order[i];

		if (from != LSC_RING_NONE && ring->nodes[id].segment != from)
			continue;
		if (!is_source(ring, id, false) && !(all && is_source(ring, id, true)))
			continue;
		assign(ring, id, to, now_ns);
		moved = true;
	}
	return moved;
}

static void remove_source(struct lsc_ring *ring, uint32_t id, uint64_t now_ns)
{
	uint32_t g = ring->nodes[id].segment, to;
	struct lsc_ring_segment *segment = &ring->segments[g];

	if (segment->leader != id)
		return;
	segment->leader = LSC_RING_NONE;
	segment->probe = LSC_RING_NONE;
	if (move_sources(ring, g, g, false, now_ns))
		return;
	to = smallest(ring, g, false);
	if (to != LSC_RING_NONE) {
		start_at(ring, ring->segments[to].leader, frontier(ring, segment));
		merge(ring, g, to);
		move_sources(ring, g, to, true, now_ns);
		return;
	}
	/* Nobody has it all, or only receivers do: one ring of all of them. */
	for (uint32_t i = 0; i < ring->n_segments; i++) {
		if (i != g)
			merge(ring, i, g);
		ring->segments[i].leader = LSC_RING_NONE;
	}
	move_sources(ring, LSC_RING_NONE, g, true, now_ns);
}

int lsc_ring_new(struct lsc_ring **ret_ring, uint32_t max_nodes, uint64_t bytes, bool rotate,
		 struct lsc_err *err)
{
	struct lsc_ring *ring = calloc(1, sizeof(*ring));

	if (ring) {
		ring->max_nodes = max_nodes;
		ring->bytes = bytes;
		ring->rotate = rotate;
		ring->nodes = calloc(max_nodes + (size_t)1, sizeof(ring->nodes[0]));
		ring->order = calloc(max_nodes + (size_t)1, sizeof(ring->order[0]));
		ring->some = calloc(2 * (max_nodes + (size_t)1), sizeof(ring->some[0]));
		ring->segments = calloc(max_nodes + (size_t)1, sizeof(ring->segments[0]));
	}
	if (!ring || !ring->nodes || !ring->order || !ring->some || !ring->segments) {
		lsc_ring_free(ring);
		return lsc_err_set(err, ENOMEM, "a ring of %u nodes: %m", max_nodes);
	}
	*ret_ring = ring;
	return 0;
}

void lsc_ring_free(struct lsc_ring *ring)
{
	if (!ring)
		return;
	free(ring->nodes);
	free(ring->order);
	free(ring->some);
	free(ring->segments);
	free(ring);
}

void lsc_ring_join(struct lsc_ring *ring, uint32_t node, bool source, uint64_t now_ns)
{
	if (node >= ring->max_nodes || ring->nodes[node].here || (source && ring->started))
		return;
	ring->nodes[node] = (struct lsc_ring_node){
		.here = true,
		.source = source,
		.done = source,
		.accuser = LSC_RING_NONE,
		.feeder = LSC_RING_NONE,
		.fed = LSC_RING_NONE,
		.held = source ? ring->bytes : 0,
	};
	ring->n_nodes = LSC_MAX(ring->n_nodes, node + 1);
	if (!ring->started)
		ring->order[ring->n_order++] = node;
	else
		add_receiver(ring, node, now_ns);
}

void lsc_ring_leave(struct lsc_ring *ring, uint32_t node, uint64_t now_ns)
{
	if (node >= ring->max_nodes || !ring->nodes[node].here)
		return;
	ring->nodes[node].here = false;
	ring->dirty = true;
	if (!ring->started) {
		for (uint32_t i = 0, n = ring->n_order; i < n; i++)
			if (ring->order[i] == node)
				memmove(&ring->order[i], &ring->order[i + 1],
					(--ring->n_order - i) * sizeof(ring->order[0]));
	} else if (ring->nodes[node].source) {
		remove_source(ring, node, now_ns);
	} else {
		remove_receiver(ring, node, now_ns);
	}
}

void lsc_ring_held(struct lsc_ring *ring, uint32_t node, uint64_t bytes, uint64_t now_ns)
{
	struct lsc_ring_node *who = &ring->nodes[node];

	if (node >= ring->max_nodes || !who->here)
		return;
	if (who->source) {
		who->lacks = bytes < ring->bytes;
		return;
	}
	who->held = bytes;
	lsc_history_add(&who->got, &(struct lsc_sample){.at_ns = now_ns, .bytes = bytes});
	if (who->done != (bytes >= ring->bytes))
		ring->dirty = true;
	who->done = bytes >= ring->bytes;
}

void lsc_ring_sent(struct lsc_ring *ring, uint32_t from, uint32_t to, uint64_t sent_bytes,
		   uint64_t ready_bytes, uint64_t now_ns)
{
	struct lsc_ring_link *link;

	if (from >= ring->max_nodes || to >= ring->max_nodes || !ring->nodes[from].here)
		return;
	link = lsc_ring_link(ring, from, to);
	/* A link carries nothing until it is open, and then at once what its kernel takes, which
	 * says nothing about whom it leads to. */
	if (link && ring->nodes[from].source && link->seen.n == 1 && link->shut) {
		link->shut = lsc_history_back(&link->seen, 0)->bytes == sent_bytes;
		link->seen.n = 0;
	}
	if (link && !ring->nodes[from].source && now_ns < ring->nodes[to].quiet_ns)
		link->seen.n = 0;
	else if (link)
		lsc_history_add(&link->seen, &(struct lsc_sample){
						     .at_ns = now_ns,
						     .bytes = sent_bytes,
						     .ready = ready_bytes,
						     .held = ring->nodes[from].held,
					     });
}

bool lsc_ring_step(struct lsc_ring *ring, uint64_t now_ns)
{
	ring->why[0] = 0;
	if (!ring->started)
		deal(ring, now_ns);
	for (uint32_t g = 0; g < ring->n_segments; g++) {
		struct lsc_ring_segment *segment = &ring->segments[g];

		help(ring, g, now_ns);
		if (segment->head == LSC_RING_NONE)
			continue;
		if (lsc_ring_end(ring, segment, now_ns))
			continue;
		lsc_ring_judge(ring, segment, now_ns);
		lsc_ring_sort_slow(ring, segment, now_ns);
		lsc_ring_steer(ring, segment, now_ns);
		lsc_ring_probe(ring, segment, now_ns);
	}
	return ring->dirty && lsc_ring_refresh(ring, now_ns);
}

bool lsc_ring_part(struct lsc_ring *ring, uint32_t node, struct lsc_ring_part *ret_part)
{
	bool changed = ring->nodes[node].changed;

	*ret_part = ring->nodes[node].part;
	ring->nodes[node].changed = false;
	return changed;
}

const char *lsc_ring_why(const struct lsc_ring *ring)
{
	return ring->why;
}
