/* ring_parts - what each node's part in its ring is
 *
 * The last of those who keep up also sends to the head, so that they are a ring among themselves
 * and owe nothing to the slow, who hang on behind.  Parts are worked out anew for all nodes
 * whenever something changed, and compared with what was told before: nothing else has to remember
 * what depends on what.
 */
#include <string.h>

#include "base/macros.h"
#include "plan/ring_state.h"

/* After a source stopped giving to a receiver, its reports still tell of the time before. */
#define QUIET_MS 300

/* Numbers the sources of each segment in the order in which they joined. */
static void number_sources(struct lsc_ring *ring)
{
	for (uint32_t g = 0; g < ring->n_segments; g++)
		ring->segments[g].n_sources = 0;
	for (uint32_t i = 0; i < ring->n_order; i++) {
		struct lsc_ring_node *node = &ring->nodes[ring->order[i]];

		if (node->here && node->source)
			node->nth = ring->segments[node->segment].n_sources++;
	}
}

static void add_to(struct lsc_ring_part *part, uint32_t from, uint32_t to, bool inject)
{
	if (to == LSC_RING_NONE || to == from || part->n_to == LSC_RING_MAX_TO)
		return;
	for (uint32_t i = 0; i < part->n_to; i++)
		if (part->to[i].node == to)
			return;
	part->to[part->n_to++] = (struct lsc_ring_to){.node = to, .inject = inject};
}

static void receivers_part(const struct lsc_ring *ring, uint32_t id, struct lsc_ring_part *part)
{
	const struct lsc_ring_node *node = &ring->nodes[id];
	const struct lsc_ring_segment *segment = &ring->segments[node->segment];

	add_to(part, id, lsc_ring_after(ring, id), false);
	if (!node->slow && node->next != LSC_RING_NONE && ring->nodes[node->next].slow)
		add_to(part, id, segment->head, false);
}

static void leaders_part(const struct lsc_ring *ring, const struct lsc_ring_segment *segment,
			 struct lsc_ring_part *part)
{
	bool done = true;

	for (uint32_t i = 0; i < segment->n_inject; i++) {
		/* A probe is between two: of three each might take its share, however slow. */
		if (i == 0 || segment->probe == LSC_RING_NONE)
			add_to(part, segment->leader, segment->inject[i], true);
		done = done && ring->nodes[segment->inject[i]].done;
	}
	add_to(part, segment->leader, segment->probe, true);
	/* Those who have everything stay: what their source has left to send is then sent from the
	 * end, and does not meet what comes around the ring. */
	if (done)
		add_to(part, segment->leader, lsc_ring_unfinished(ring, segment->head), true);
}

/* A further source injects elsewhere. */
static void helpers_part(const struct lsc_ring *ring, uint32_t id, struct lsc_ring_part *part)
{
	const struct lsc_ring_segment *segment = &ring->segments[ring->nodes[id].segment];
	uint32_t at = segment->head;

	for (uint32_t i = ring->nodes[id].nth * segment->n / segment->n_sources; i > 0; i--)
		at = lsc_ring_after(ring, at);
	add_to(part, id, at, true);
	if (ring->nodes[at].done)
		add_to(part, id, lsc_ring_unfinished(ring, at), true);
}

static void work_out(const struct lsc_ring *ring, uint32_t id, struct lsc_ring_part *part)
{
	const struct lsc_ring_node *node = &ring->nodes[id];
	const struct lsc_ring_segment *segment = &ring->segments[node->segment];

	*part = (struct lsc_ring_part){.first = segment->first};
	if (!node->here || segment->head == LSC_RING_NONE)
		return;
	if (segment->over) {
		add_to(part, id, node->fed, node->source);
		return;
	}
	if (!node->source) {
		receivers_part(ring, id, part);
		return;
	}
	part->first += (double)node->nth / segment->n_sources;
	if (part->first >= 1)
		part->first -= 1;
	if (node->starts)
		part->first = node->start;
	if (segment->leader == id)
		leaders_part(ring, segment, part);
	else
		helpers_part(ring, id, part);
}

static bool same_part(const struct lsc_ring_part *a, const struct lsc_ring_part *b)
{
	if (a->first != b->first || a->n_to != b->n_to)
		return false;
	for (uint32_t i = 0; i < a->n_to; i++)
		if (a->to[i].node != b->to[i].node || a->to[i].inject != b->to[i].inject)
			return false;
	return true;
}

/* Takes a new part over; what was seen of links that stay is kept. */
static void set_part(struct lsc_ring *ring, uint32_t id, const struct lsc_ring_part *part,
		     uint64_t now_ns)
{
	struct lsc_ring_node *node = &ring->nodes[id];
	struct lsc_ring_link links[LSC_RING_MAX_TO];

	/* Whoever got from the source as well has something to catch up on. */
	for (uint32_t k = 0; node->source && k < node->part.n_to; k++)
		ring->nodes[node->part.to[k].node].quiet_ns = now_ns + QUIET_MS * LSC_RING_MS;
	for (uint32_t i = 0; i < part->n_to; i++) {
		links[i] = (struct lsc_ring_link){.to = part->to[i].node, .shut = true};
		if (!node->held) /* so nothing waits either */
			lsc_history_add(&links[i].seen, &(struct lsc_sample){.at_ns = now_ns});
		for (uint32_t k = 0; k < node->part.n_to; k++)
			if (node->links[k].to == links[i].to)
				links[i] = node->links[k];
	}
	memcpy(node->links, links, part->n_to * sizeof(links[0]));
	node->part = *part;
	node->changed = true;
}

/* Gives all nodes their parts; returns whether some are new. */
bool lsc_ring_refresh(struct lsc_ring *ring, uint64_t now_ns)
{
	bool changed = false;

	number_sources(ring);
	for (uint32_t g = 0; g < ring->n_segments; g++)
		if (ring->segments[g].over)
			lsc_ring_feed(ring, &ring->segments[g]);
	for (uint32_t id = 0; id < ring->n_nodes; id++) {
		struct lsc_ring_part part;

		work_out(ring, id, &part);
		if (same_part(&part, &ring->nodes[id].part))
			continue;
		set_part(ring, id, &part, now_ns);
		changed = true;
	}
	ring->dirty = false;
	return changed;
}
