/* ring_state - what was observed lately, and the lists of receivers
 *
 * Reports come late, each by another time, so a rate is the slope of a line through some of them.
 * Nodes link to each other by number: a move costs no more than the slow that it passes.
 */
#include "plan/ring_state.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/macros.h"

const struct lsc_sample *lsc_history_back(const struct lsc_history *history, uint32_t by)
{
	return &history->samples[(history->n - 1 - by) % LSC_HISTORY_SAMPLES];
}

/* How many of the latest samples tell so much; 0 where there are too few. */
uint32_t lsc_history_for(const struct lsc_history *history, enum lsc_known known)
{
	static const struct {
		uint32_t n, ms;
	} least[] = {
		[LSC_KNOWN_NOTHING] = {0, 0},
		[LSC_KNOWN_SOON] = {3, 350},
		[LSC_KNOWN_SURE] = {6, 600},
		[LSC_KNOWN_WELL] = {8, 1000},
	};
	uint32_t have = LSC_MIN(history->n, LSC_HISTORY_SAMPLES);

	for (uint32_t n = least[known].n; n && n <= have; n++)
		if (lsc_history_back(history, 0)->at_ns - lsc_history_back(history, n - 1)->at_ns >=
		    least[known].ms * LSC_RING_MS)
			return n;
	return 0;
}

enum lsc_known lsc_history_known(const struct lsc_history *history)
{
	enum lsc_known known = LSC_KNOWN_WELL;

	while (known && !lsc_history_for(history, known))
		known--;
	return known;
}

/* The samples that are used where all that is known lately is. */
uint32_t lsc_history_window(const struct lsc_history *history)
{
	uint32_t n = lsc_history_for(history, LSC_KNOWN_WELL);

	return n ? n : LSC_MIN(history->n, LSC_HISTORY_SAMPLES);
}

/* Keeps samples half of a tenth of a second apart, however often they come. */
void lsc_history_add(struct lsc_history *history, const struct lsc_sample *sample)
{
	if (history->n >= 2 &&
	    sample->at_ns - lsc_history_back(history, 1)->at_ns < 50 * LSC_RING_MS)
		history->n--;
	history->samples[history->n++ % LSC_HISTORY_SAMPLES] = *sample;
}

/* Bytes a second over the samples there are: the slope of the line through them, since each is late
 * by another amount. */
double lsc_history_rate_over(const struct lsc_history *history, uint32_t n)
{
	double t = 0, b = 0, tt = 0, tb = 0;

	n = LSC_MIN(n, LSC_MIN(history->n, LSC_HISTORY_SAMPLES));
	if (n < 2)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct lsc_sample *from = lsc_history_back(history, n - 1),
					*sample = lsc_history_back(history, i);
		double x = (double)(sample->at_ns - from->at_ns) / 1e9;
		double y = (double)(sample->bytes - LSC_MIN(sample->bytes, from->bytes));

		t += x;
		b += y;
		tt += x * x;
		tb += x * y;
	}
	if (n * tt - t * t < 1e-6)
		return 0;
	return LSC_MAX(0, (n * tb - t * b) / (n * tt - t * t));
}

double lsc_history_rate(const struct lsc_history *history)
{
	return lsc_history_rate_over(history, lsc_history_window(history));
}

struct lsc_ring_link *lsc_ring_link(struct lsc_ring *ring, uint32_t from, uint32_t to)
{
	struct lsc_ring_node *node = &ring->nodes[from];

	for (uint32_t i = 0; i < node->part.n_to; i++)
		if (node->links[i].to == to)
			return &node->links[i];
	return NULL;
}

void lsc_ring_say(struct lsc_ring *ring, const char *fmt, ...)
{
	va_list ap;

	ring->dirty = true;
	if (ring->why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(ring->why, sizeof(ring->why), fmt, ap);
	va_end(ap);
}

void lsc_ring_take_out(struct lsc_ring *ring, uint32_t id)
{
	struct lsc_ring_node *node = &ring->nodes[id];
	struct lsc_ring_segment *segment = &ring->segments[node->segment];

	*(node->prev == LSC_RING_NONE ? &segment->head : &ring->nodes[node->prev].next) =
		node->next;
	*(node->next == LSC_RING_NONE ? &segment->tail : &ring->nodes[node->next].prev) =
		node->prev;
	segment->n--;
	ring->dirty = true;
}

/* Puts a node that is in no list before another, or last. */
void lsc_ring_put_before(struct lsc_ring *ring, uint32_t id, uint32_t g, uint32_t before)
{
	struct lsc_ring_node *node = &ring->nodes[id];
	struct lsc_ring_segment *segment = &ring->segments[g];

	node->segment = g;
	node->next = before;
	node->prev = before == LSC_RING_NONE ? segment->tail : ring->nodes[before].prev;
	*(node->prev == LSC_RING_NONE ? &segment->head : &ring->nodes[node->prev].next) = id;
	*(node->next == LSC_RING_NONE ? &segment->tail : &ring->nodes[node->next].prev) = id;
	segment->n++;
	ring->dirty = true;
}

/* Where a node belongs: before this one.  Who keeps up goes before the first who does not. */
static uint32_t place_of(const struct lsc_ring *ring, uint32_t id, uint32_t g)
{
	const struct lsc_ring_node *node = &ring->nodes[id];
	uint32_t before = LSC_RING_NONE, at = ring->segments[g].tail;

	while (at != LSC_RING_NONE) {
		const struct lsc_ring_node *other = &ring->nodes[at];

		if (!other->slow || (node->slow && other->rate >= node->rate))
			break;
		before = at;
		at = other->prev;
	}
	return before;
}

void lsc_ring_put(struct lsc_ring *ring, uint32_t id, uint32_t g)
{
	lsc_ring_put_before(ring, id, g, place_of(ring, id, g));
}

void lsc_ring_move(struct lsc_ring *ring, uint32_t id)
{
	uint32_t g = ring->nodes[id].segment;

	lsc_ring_take_out(ring, id);
	lsc_ring_put(ring, id, g);
}

/* The next in a ring after a node, which may be itself. */
uint32_t lsc_ring_after(const struct lsc_ring *ring, uint32_t id)
{
	const struct lsc_ring_node *node = &ring->nodes[id];

	return node->next == LSC_RING_NONE ? ring->segments[node->segment].head : node->next;
}

/* The first from here on, around the ring, who lacks something; LSC_RING_NONE where nobody does. */
uint32_t lsc_ring_unfinished(const struct lsc_ring *ring, uint32_t from)
{
	uint32_t at = from;

	if (at == LSC_RING_NONE)
		return LSC_RING_NONE;
	do {
		if (!ring->nodes[at].done)
			return at;
		at = lsc_ring_after(ring, at);
	} while (at != from);
	return LSC_RING_NONE;
}

/* Who was called slow in sending while somebody slow was the head may not be. */
static void acquit(struct lsc_ring *ring, struct lsc_ring_segment *segment)
{
	for (uint32_t at = segment->head, next; at != LSC_RING_NONE; at = next) {
		struct lsc_ring_node *node = &ring->nodes[at];

		next = node->next;
		if (!node->chokes)
			continue;
		node->chokes = node->slow = false;
		lsc_ring_move(ring, at);
	}
}

/* Makes one of those who keep up the head; those before it come after the others who do. */
void lsc_ring_turn_to(struct lsc_ring *ring, uint32_t id)
{
	struct lsc_ring_segment *segment = &ring->segments[ring->nodes[id].segment];

	if (ring->nodes[id].slow)
		return;
	while (segment->head != id)
		lsc_ring_move(ring, segment->head);
	acquit(ring, segment);
}
