/* ring - segments of one ring each, and what each node's part in its own is
 *
 * The last of those who keep up also sends to the head, so that they are a ring among themselves
 * and owe nothing to the slow, who hang on behind.  Parts are worked out anew for all nodes
 * whenever something changed, and compared with what was told before: nothing else has to remember
 * what depends on what.
 */
#include "plan/ring.h"

#include <math.h>
#include <stdlib.h>
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

/* ---- parts ---- */

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

static bool refresh(struct lsc_ring *ring, uint64_t now_ns)
{
	bool changed = false;

	number_sources(ring);
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

/* ---- coming and going ---- */
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

/* Deals sources and receivers out to as many segments as have one of both. */
static void deal(struct lsc_ring *ring, uint64_t now_ns)
{
	uint32_t n[2] = {0, 0}, at[2] = {0, 0};

	for (uint32_t i = 0; i < ring->n_order; i++)
		n[ring->nodes[ring->order[i]].source]++;
	ring->n_segments = LSC_MAX(1, LSC_MIN(n[0], n[1]));
	for (uint32_t g = 0; g < ring->n_segments; g++)
		empty_segment(&ring->segments[g], ring->rotate ? (double)g / ring->n_segments : 0);
	for (uint32_t i = 0; i < ring->n_order; i++) {
		uint32_t id = ring->order[i];

		if (!ring->nodes[id].source)
			lsc_ring_put(ring, id, at[0]++ % ring->n_segments);
	}
	for (uint32_t i = 0; i < ring->n_order; i++) {
		uint32_t id = ring->order[i];

		if (ring->nodes[id].source)
			assign(ring, id, at[1]++ % ring->n_segments, now_ns);
	}
	for (uint32_t g = 0; g < ring->n_segments; g++) {
		struct lsc_ring_segment *segment = &ring->segments[g];

		if (segment->leader != LSC_RING_NONE)
			start_at(ring, segment->leader, frontier(ring, segment));
	}
	ring->started = ring->dirty = true;
}

/* The segment with the fewest receivers among those that have a source, but this. */
static uint32_t smallest(const struct lsc_ring *ring, uint32_t but)
{
	uint32_t best = LSC_RING_NONE;

	for (uint32_t g = 0; g < ring->n_segments; g++) {
		if (g == but || ring->segments[g].leader == LSC_RING_NONE)
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
	uint32_t g = smallest(ring, LSC_RING_NONE);
	struct lsc_ring_segment *segment;

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

static void remove_source(struct lsc_ring *ring, uint32_t id, uint64_t now_ns)
{
	uint32_t g = ring->nodes[id].segment, to;
	struct lsc_ring_segment *segment = &ring->segments[g];

	if (segment->leader != id)
		return;
	segment->leader = LSC_RING_NONE;
	segment->probe = LSC_RING_NONE;
	for (uint32_t i = 0; i < ring->n_order; i++) {
		struct lsc_ring_node *node = &ring->nodes[ring->order[i]];

		if (node->here && node->source && node->segment == g) {
			assign(ring, ring->order[i], g, now_ns);
			return;
		}
	}
	to = smallest(ring, g);
	if (to != LSC_RING_NONE) {
		start_at(ring, ring->segments[to].leader, frontier(ring, segment));
		merge(ring, g, to);
		return;
	}
	/* Nobody has it all, or only receivers do: one ring of all of them. */
	for (uint32_t i = 0; i < ring->n_segments; i++)
		if (i != g)
			merge(ring, i, g);
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
		ring->segments = calloc(max_nodes + (size_t)1, sizeof(ring->segments[0]));
	}
	if (!ring || !ring->nodes || !ring->order || !ring->segments) {
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

	if (node >= ring->max_nodes || !who->here || who->source)
		return;
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
		lsc_ring_judge(ring, segment, now_ns);
		lsc_ring_sort_slow(ring, segment);
		lsc_ring_steer(ring, segment, now_ns);
		lsc_ring_probe(ring, segment, now_ns);
	}
	return ring->dirty && refresh(ring, now_ns);
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
