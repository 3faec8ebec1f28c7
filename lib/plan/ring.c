/* ring - segments of one ring each, moved about by what senders see
 *
 * A segment is a list of receivers and the sources that feed it.  Those who keep up come first,
 * those who do not come last, the slowest at the very end; the head is where the segment's first
 * source injects.  The last of those who keep up also sends to the head, so that they are a ring
 * among themselves and owe nothing to the slow.
 *
 * Who is slow is judged by what waits.  A sender's own report says what came in and what it has
 * ready for its successor, so the part of what came in that did not go on is free of the clock,
 * which matters: reports come late by as much as lies between two of them.
 *
 * What waits for long has two causes, a receiver who does not take it and a sender who does not get
 * it out.  Both go to the end at once, side by side, so that nobody else waits until it is known
 * which; then the source offers pieces to the receiver as well.  If it takes them it was the
 * sender.
 */
#include "plan/ring.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define NONE    UINT32_MAX
#define SAMPLES 8
#define MS      1000000ull

/* A machine that does other things as well lets pieces wait for some tens of milliseconds. */
#define WAITS_S     0.15
#define WAITS_PART  128 /* of the image: less than this is never much */
#define FALLS_SHORT 0.2 /* part of what came in that did not go on: slow, seen twice */
#define FALLS_FAR   0.5 /* slow, seen once */
#define TAKES_ALL   0.75
#define FAR_LESS    0.6
#define UNEQUAL     1.6
#define SOON        4 /* samples: enough for what is clear */
#define MAX_TRIES   5
#define SURE        6
#define AGAIN_MS    3000
#define QUIET_MS    300
#define PAUSE_MS    4000

struct sample {
	uint64_t at_ns, bytes;
	uint64_t ready, held; /* of a link: what waits for the peer, what the sender has */
};

/* The latest samples, and how many there were. */
struct history {
	uint32_t n;
	struct sample samples[SAMPLES];
};

struct link {
	uint32_t to;
	struct history seen;
};

struct node {
	bool here, source, done;
	bool slow;   /* among the last of its segment */
	bool unsure; /* slow, or its accuser is */
	bool chokes; /* slow in sending */
	uint32_t tries;
	uint32_t accuser;
	uint32_t segment;
	uint32_t prev, next; /* of a receiver: in its segment's list */
	uint32_t trial;      /* the one it was last tried in as a head */
	uint64_t held;
	uint64_t quiet_ns; /* until then nothing is concluded from what waits for it */
	double rate;       /* bytes a second: of one who is slow, what it can do */
	struct history got;
	struct lsc_ring_part part;
	bool changed;
	bool starts; /* elsewhere than its segment, at start */
	double start;
	uint32_t nth; /* among the sources of its segment */
	struct link links[LSC_RING_MAX_TO];
};

enum state {
	BOTH,   /* at two, to see which takes more and what both take */
	ALONE,  /* at one after the other, for one who takes all of that alone */
	MANY,   /* at one more as long as that takes more: the source is faster than any receiver */
	STEADY, /* for as long as the head takes what it did */
};

struct segment {
	uint32_t head, tail; /* of the list; NONE */
	uint32_t n, n_sources;
	uint32_t leader; /* the source that state and inject are about; NONE */
	double first;

	enum state state;
	uint64_t since_ns;
	uint32_t inject[LSC_RING_MAX_TO];
	uint32_t n_inject;
	uint32_t trial;
	double most;        /* what the first two took together */
	double share;       /* and what the second to the first */
	double alone, peak; /* what the head takes lately, and at best */
	uint32_t pairs;     /* that took alike, so far */
	bool spare;         /* the source could send more than the head takes */
	uint64_t pause_ns;  /* between trials */
	uint32_t probe;     /* offered pieces to see whether it takes them; NONE */
};

struct lsc_ring {
	uint32_t max_nodes, n_nodes; /* n_nodes: numbers in use are below */
	uint64_t bytes;
	bool rotate, started, dirty;
	struct node *nodes;
	uint32_t *order; /* of joining */
	uint32_t n_order;
	struct segment *segments;
	uint32_t n_segments, trials;
	char why[160];
};

/* ---- samples ---- */

static const struct sample *back(const struct history *history, uint32_t by)
{
	return &history->samples[(history->n - 1 - by) % SAMPLES];
}

/* Keeps samples a tenth of a second apart, however often they come. */
static void record(struct history *history, const struct sample *sample)
{
	if (history->n >= 2 && sample->at_ns - back(history, 1)->at_ns < 100 * MS)
		history->n--;
	history->samples[history->n++ % SAMPLES] = *sample;
}

/* Bytes a second over the samples there are: the slope of the line through them, since each is late
 * by another amount. */
static double rate_over(const struct history *history, uint32_t n)
{
	double t = 0, b = 0, tt = 0, tb = 0;

	n = LSC_MIN(n, LSC_MIN(history->n, SAMPLES));
	if (n < 2)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct sample *from = back(history, n - 1), *sample = back(history, i);
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

static double rate_of(const struct history *history)
{
	return rate_over(history, SAMPLES);
}

static struct link *link_of(struct lsc_ring *ring, uint32_t from, uint32_t to)
{
	struct node *node = &ring->nodes[from];

	for (uint32_t i = 0; i < node->part.n_to; i++)
		if (node->links[i].to == to)
			return &node->links[i];
	return NULL;
}

__attribute__((format(printf, 2, 3))) static void say(struct lsc_ring *ring, const char *fmt, ...)
{
	va_list ap;

	ring->dirty = true;
	if (ring->why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(ring->why, sizeof(ring->why), fmt, ap);
	va_end(ap);
}

/* ---- lists ---- */

static void take_out(struct lsc_ring *ring, uint32_t id)
{
	struct node *node = &ring->nodes[id];
	struct segment *segment = &ring->segments[node->segment];

	*(node->prev == NONE ? &segment->head : &ring->nodes[node->prev].next) = node->next;
	*(node->next == NONE ? &segment->tail : &ring->nodes[node->next].prev) = node->prev;
	segment->n--;
	ring->dirty = true;
}

/* Puts a node that is in no list before another, or last. */
static void put_before(struct lsc_ring *ring, uint32_t id, uint32_t g, uint32_t before)
{
	struct node *node = &ring->nodes[id];
	struct segment *segment = &ring->segments[g];

	node->segment = g;
	node->next = before;
	node->prev = before == NONE ? segment->tail : ring->nodes[before].prev;
	*(node->prev == NONE ? &segment->head : &ring->nodes[node->prev].next) = id;
	*(node->next == NONE ? &segment->tail : &ring->nodes[node->next].prev) = id;
	segment->n++;
	ring->dirty = true;
}

/* Where a node belongs: before this one.  Who keeps up goes before the first who does not. */
static uint32_t place_of(const struct lsc_ring *ring, uint32_t id, uint32_t g)
{
	const struct node *node = &ring->nodes[id];
	uint32_t at = ring->segments[g].head;

	while (at != NONE) {
		const struct node *other = &ring->nodes[at];

		if (other->slow && (!node->slow || other->rate < node->rate))
			break;
		at = other->next;
	}
	return at;
}

static void put(struct lsc_ring *ring, uint32_t id, uint32_t g)
{
	put_before(ring, id, g, place_of(ring, id, g));
}

static void move(struct lsc_ring *ring, uint32_t id)
{
	uint32_t g = ring->nodes[id].segment;

	take_out(ring, id);
	put(ring, id, g);
}

/* The next in a ring after a node, which may be itself. */
static uint32_t after(const struct lsc_ring *ring, uint32_t id)
{
	const struct node *node = &ring->nodes[id];

	return node->next == NONE ? ring->segments[node->segment].head : node->next;
}

/* The first from here on, around the ring, who lacks something; NONE where nobody does. */
static uint32_t unfinished(const struct lsc_ring *ring, uint32_t from)
{
	uint32_t at = from;

	if (at == NONE)
		return NONE;
	do {
		if (!ring->nodes[at].done)
			return at;
		at = after(ring, at);
	} while (at != from);
	return NONE;
}

/* Who was called slow in sending while somebody slow was the head may not be. */
static void acquit(struct lsc_ring *ring, struct segment *segment)
{
	for (uint32_t at = segment->head, next; at != NONE; at = next) {
		struct node *node = &ring->nodes[at];

		next = node->next;
		if (!node->chokes)
			continue;
		node->chokes = node->slow = false;
		move(ring, at);
	}
}

/* Makes one of those who keep up the head; those before it come after the others who do. */
static void turn_to(struct lsc_ring *ring, uint32_t id)
{
	struct segment *segment = &ring->segments[ring->nodes[id].segment];

	if (ring->nodes[id].slow)
		return;
	while (segment->head != id)
		move(ring, segment->head);
	acquit(ring, segment);
}

/* ---- where the first source of a segment injects ---- */

static void enter(struct lsc_ring *ring, struct segment *segment, enum state state, uint64_t now_ns)
{
	segment->state = state;
	segment->since_ns = now_ns;
	if (segment->leader == NONE)
		return;
	for (uint32_t i = 0; i < LSC_RING_MAX_TO; i++)
		ring->nodes[segment->leader].links[i].seen.n = 0;
	ring->dirty = true;
}

static void inject_at(struct segment *segment, uint32_t id)
{
	segment->inject[0] = id;
	segment->n_inject = 1;
}

/* Somebody who keeps up and was not tried in this trial. */
static uint32_t untried(const struct lsc_ring *ring, const struct segment *segment)
{
	uint32_t at = ring->nodes[segment->head].next;

	while (at != NONE && !ring->nodes[at].slow)
		if (ring->nodes[at].trial != segment->trial)
			return at;
		else
			at = ring->nodes[at].next;
	return NONE;
}

static void at_head(struct lsc_ring *ring, struct segment *segment, enum state state,
		    uint64_t now_ns)
{
	inject_at(segment, segment->head);
	enter(ring, segment, state, now_ns);
}

/* Injects at the head and at another who may be as good, if there is one. */
static void at_two(struct lsc_ring *ring, struct segment *segment, uint64_t now_ns)
{
	uint32_t second = untried(ring, segment);

	if (second == NONE) {
		at_head(ring, segment, segment->n > 1 && !segment->alone ? ALONE : STEADY, now_ns);
		return;
	}
	inject_at(segment, segment->head);
	segment->inject[segment->n_inject++] = second;
	enter(ring, segment, BOTH, now_ns);
}

static void begin(struct lsc_ring *ring, struct segment *segment, uint64_t now_ns)
{
	segment->probe = NONE;
	segment->most = segment->alone = segment->peak = 0;
	segment->spare = false;
	segment->pairs = 0;
	segment->trial = ++ring->trials;
	segment->n_inject = 0;
	segment->pause_ns = PAUSE_MS * MS;
	if (segment->head != NONE)
		at_two(ring, segment, now_ns);
}

/* What one of a source's links carries to what another does, over the same reports. */
static double ratio(const struct link *link, const struct link *other)
{
	uint32_t n = link && other ? LSC_MIN(link->seen.n, other->seen.n) : 0;
	uint64_t a, b;

	if (n < 2)
		return 0;
	n = LSC_MIN(n, SAMPLES);
	a = back(&link->seen, 0)->bytes - back(&link->seen, n - 1)->bytes;
	b = back(&other->seen, 0)->bytes - back(&other->seen, n - 1)->bytes;
	return (double)a / (double)LSC_MAX(b, 1);
}

/* What the source sends to those it injects at; returns from how many samples. */
static uint32_t injected(struct lsc_ring *ring, const struct segment *segment, double *ret_sum)
{
	uint32_t n = SAMPLES;

	*ret_sum = 0;
	for (uint32_t i = 0; i < segment->n_inject; i++) {
		struct link *link = link_of(ring, segment->leader, segment->inject[i]);

		if (!link)
			return 0;
		n = LSC_MIN(n, link->seen.n);
		*ret_sum += rate_of(&link->seen);
	}
	return segment->n_inject ? n : 0;
}

/* Shares are known soon, since they are free of the clock, and what both take together later.  If
 * that is more than the head takes alone, the source could send more than it does. */
static void after_both(struct lsc_ring *ring, struct segment *segment, double rate, uint32_t n,
		       uint64_t now_ns)
{
	uint32_t first = segment->inject[0], second = segment->inject[1];
	double share;

	if (n < SOON)
		return;
	share = ratio(link_of(ring, segment->leader, second),
		      link_of(ring, segment->leader, first));
	if (share > UNEQUAL) {
		ring->nodes[first].trial = segment->trial;
		say(ring, "node %u takes more than node %u", second, first);
		turn_to(ring, second);
		segment->alone = segment->peak = 0;
		at_two(ring, segment, now_ns);
	} else if (share < 1 / UNEQUAL) {
		ring->nodes[second].trial = segment->trial;
		at_two(ring, segment, now_ns);
	} else if (n >= SURE && segment->alone > 0) {
		ring->nodes[second].trial = segment->trial;
		segment->spare = rate > segment->alone * sqrt(1 + share);
		inject_at(segment, segment->spare ? second : first);
		enter(ring, segment, segment->spare ? ALONE : STEADY, now_ns);
	} else if (n >= SURE) {
		if (rate > segment->most) {
			segment->most = rate;
			segment->share = share;
		}
		ring->nodes[second].trial = segment->trial;
		if (!segment->pairs++ && untried(ring, segment) != NONE)
			at_two(ring, segment, now_ns);
		else
			at_head(ring, segment, ALONE, now_ns);
	}
}

static void after_alone(struct lsc_ring *ring, struct segment *segment, double rate, uint32_t n,
			uint64_t now_ns)
{
	uint32_t id = segment->inject[0], next;

	if (n < SOON || (n < SAMPLES && rate > FAR_LESS * segment->most && rate < segment->most))
		return;
	/* What still comes around the ring takes its part of the link. */
	rate = LSC_MAX(rate, rate_over(&ring->nodes[id].got, n));
	ring->nodes[id].trial = segment->trial;
	if (id == segment->head) {
		segment->alone = rate;
		segment->spare = rate < segment->most / sqrt(1 + segment->share);
	} else if (rate > 1.2 * segment->alone) {
		say(ring, "node %u is faster than node %u", id, segment->head);
		turn_to(ring, id);
		segment->alone = rate;
		segment->spare = rate < 0.8 * segment->most;
	}
	next = segment->spare ? untried(ring, segment) : NONE;
	if (next != NONE) {
		inject_at(segment, next);
		enter(ring, segment, ALONE, now_ns);
		return;
	}
	segment->peak = segment->alone;
	at_head(ring, segment, segment->spare ? MANY : STEADY, now_ns);
}

/* Injects at one more, as far as possible from the others. */
static bool one_more(struct lsc_ring *ring, struct segment *segment)
{
	uint32_t at = segment->head, well = 0, step;

	for (uint32_t id = at; id != NONE && !ring->nodes[id].slow; id = ring->nodes[id].next)
		well++;
	if (segment->n_inject == LSC_RING_MAX_TO || segment->n_inject >= well)
		return false;
	segment->n_inject++;
	step = well / segment->n_inject;
	for (uint32_t i = 0, k = 0; at != NONE && i < segment->n_inject; at = ring->nodes[at].next)
		if (k++ == i * step)
			segment->inject[i++] = at;
	return true;
}

static void after_many(struct lsc_ring *ring, struct segment *segment, double rate, uint64_t now_ns)
{
	if ((segment->n_inject == 1 || rate > 1.2 * segment->alone) && one_more(ring, segment)) {
		segment->alone = rate;
		say(ring, "node %u is faster than any it sends to", segment->leader);
		enter(ring, segment, MANY, now_ns);
		return;
	}
	if (segment->n_inject > 1 && rate <= 1.2 * segment->alone)
		segment->n_inject--;
	segment->peak = 0;
	enter(ring, segment, STEADY, now_ns);
}

/* The head may take less than it did, if it or the source has become slow; and somebody else might
 * take more than the head, which costs nothing to find out while the ring keeps up. */
static void watch_head(struct lsc_ring *ring, struct segment *segment, double rate, uint64_t now_ns)
{
	uint64_t for_ns = now_ns - segment->since_ns;

	if (segment->n < 2 || ring->nodes[segment->inject[0]].done)
		return;
	rate = LSC_MAX(rate, rate_of(&ring->nodes[segment->inject[0]].got));
	segment->peak = LSC_MAX(segment->peak, rate);
	if (rate < 0.6 * segment->peak && for_ns > AGAIN_MS * MS) {
		say(ring, "node %u takes less than it did", segment->inject[0]);
		begin(ring, segment, now_ns);
	} else if (segment->n_inject == 1 && for_ns > segment->pause_ns &&
		   untried(ring, segment) != NONE &&
		   ring->nodes[segment->head].held < ring->bytes / 2) {
		segment->alone = rate;
		segment->pause_ns *= 2;
		at_two(ring, segment, now_ns);
	}
}

static void steer(struct lsc_ring *ring, struct segment *segment, uint64_t now_ns)
{
	double sum;
	uint32_t n;

	if (segment->leader == NONE || segment->probe != NONE)
		return;
	if (segment->state == BOTH && ring->nodes[segment->inject[1]].slow)
		at_two(ring, segment, now_ns);
	n = injected(ring, segment, &sum);
	switch (segment->state) {
	case BOTH:
		after_both(ring, segment, sum, n, now_ns);
		return;
	case ALONE:
		after_alone(ring, segment, sum, n, now_ns);
		return;
	case MANY:
		if (n >= SURE)
			after_many(ring, segment, sum, now_ns);
		return;
	case STEADY:
		if (n >= SAMPLES)
			watch_head(ring, segment, sum, now_ns);
		return;
	}
}

/* ---- who is slow ---- */

static bool much(const struct lsc_ring *ring, uint32_t from, uint64_t ready)
{
	double waits = WAITS_S * rate_of(&ring->nodes[from].got);

	return ready > ring->bytes / WAITS_PART && (double)ready > waits;
}

/* The least that waited lately: one who came late, or had to wait, stays behind by as much. */
static uint64_t least_ready(const struct history *history)
{
	uint64_t least = back(history, 0)->ready;

	for (uint32_t by = 1; by < LSC_MIN(history->n, SAMPLES); by++)
		least = LSC_MIN(least, back(history, by)->ready);
	return least;
}

/* The part of what came in that did not go on, if much more waits than did, and more each time. */
static double shortfall(const struct lsc_ring *ring, uint32_t from, const struct link *link)
{
	const struct history *seen = &link->seen;
	const struct sample *now, *before;
	double most = 0;

	if (seen->n < 2 || !much(ring, from, back(seen, 0)->ready - least_ready(seen)))
		return 0;
	now = back(seen, 0);
	for (uint32_t by = 1; by < LSC_MIN(seen->n, 3); by++) {
		before = back(seen, by);
		if (back(seen, by - 1)->ready <= before->ready || now->held <= before->held)
			return most;
		most = (double)(now->ready - before->ready) / (double)(now->held - before->held);
		if (by == 1 && most < FALLS_FAR)
			most = 0;
		if (by == 2 && most < FALLS_SHORT)
			most = 0;
	}
	return LSC_MIN(most, 1);
}

static void call_slow(struct lsc_ring *ring, uint32_t id)
{
	struct node *node = &ring->nodes[id];

	node->slow = true;
	node->rate = LSC_MAX(rate_over(&node->got, 3), rate_over(&node->got, SURE));
	say(ring, "node %u is slow (%.1f MB/s)", id, node->rate / 1e6);
	move(ring, id);
}

static void convict_sender(struct lsc_ring *ring, uint32_t from, uint32_t to, uint64_t now_ns)
{
	struct segment *segment = &ring->segments[ring->nodes[from].segment];
	struct link *link = link_of(ring, from, to);
	bool head = segment->head == from;

	ring->nodes[to].unsure = false;
	if (ring->nodes[to].slow) {
		ring->nodes[to].slow = false;
		move(ring, to);
	}
	ring->nodes[from].slow = ring->nodes[from].chokes = true;
	ring->nodes[from].rate = link ? rate_of(&link->seen) : 0;
	say(ring, "node %u is slow in sending (%.1f MB/s)", from, ring->nodes[from].rate / 1e6);
	move(ring, from);
	if (head)
		begin(ring, segment, now_ns);
	else if (segment->state == BOTH)
		at_two(ring, segment, now_ns);
}

enum answer { NO, YES, UNKNOWN, NOT_GIVEN };

/* Whether the source gives this receiver, too, and it takes what the others do.  One who does need
 * not take all that its sender has as well. */
static enum answer takes_share(struct lsc_ring *ring, uint32_t id)
{
	struct segment *segment = &ring->segments[ring->nodes[id].segment];
	struct link *link = NULL, *other = NULL;
	bool given = segment->probe == id;

	for (uint32_t i = 0; segment->leader != NONE && i < segment->n_inject; i++) {
		given = given || segment->inject[i] == id;
		*(segment->inject[i] == id ? &link : &other) =
			link_of(ring, segment->leader, segment->inject[i]);
	}
	if (!given)
		return NOT_GIVEN;
	if (!link || !other || LSC_MIN(link->seen.n, other->seen.n) < 3)
		return UNKNOWN;
	return ratio(link, other) > 1 / UNEQUAL ? YES : NO;
}

/* Whether a receiver gets less from its sender, who has much, than from its source. */
static enum answer gives_less(struct lsc_ring *ring, uint32_t from, uint32_t to)
{
	const struct segment *segment = &ring->segments[ring->nodes[to].segment];
	const struct link *link = link_of(ring, from, to);
	const struct link *direct = link_of(ring, segment->leader, to);
	uint32_t n = link && direct ? LSC_MIN(link->seen.n, direct->seen.n) : 0;
	double part;

	if (n < 3)
		return UNKNOWN;
	part = rate_over(&link->seen, n) / LSC_MAX(1, rate_over(&direct->seen, n));
	if (n < SURE && part > 0.45 && part < 1.1)
		return UNKNOWN;
	return part < 0.7 ? YES : NO;
}

static void offer(struct lsc_ring *ring, struct segment *segment, uint32_t id)
{
	segment->probe = id;
	say(ring, "node %u is offered pieces directly", id);
}

/* Returns whether that changed the order. */
static bool accuse(struct lsc_ring *ring, uint32_t from, uint32_t to, uint64_t now_ns)
{
	struct node *sender = &ring->nodes[from], *node = &ring->nodes[to];
	struct segment *segment = &ring->segments[sender->segment];

	if (node->slow) {
		if (node->accuser != from)
			node->unsure = false;
		return false;
	}
	switch (takes_share(ring, to)) {
	case YES:
		if (gives_less(ring, from, to) != YES)
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
	if (segment->head == from && segment->leader != NONE) {
		if (segment->probe == NONE)
			offer(ring, segment, to);
		return false;
	}
	node->unsure = true;
	call_slow(ring, to);
	if (!sender->slow && segment->head != from)
		move(ring, from);
	return true;
}

static void judge(struct lsc_ring *ring, struct segment *segment, uint64_t now_ns)
{
	uint32_t next;

	for (uint32_t at = segment->head; at != NONE; at = next) {
		struct node *node = &ring->nodes[at];
		struct link *link;
		double falls;

		next = node->next;
		if (next == NONE || ring->nodes[next].done)
			continue;
		link = link_of(ring, at, next);
		if (link && now_ns < ring->nodes[next].quiet_ns)
			link->seen.n = 0;
		falls = link ? shortfall(ring, at, link) : 0;
		if (falls > 0 && accuse(ring, at, next, now_ns))
			return;
	}
}

/* What is known of a slow node by now.  Where pieces waited for it all the time its rate is what it
 * can do; where none did it may be held up by whoever sends to it. */
static enum answer keeps_up(struct lsc_ring *ring, uint32_t id)
{
	struct node *node = &ring->nodes[id];
	struct link *link = link_of(ring, node->prev, id);
	uint64_t some = ring->bytes / WAITS_PART;
	bool waited = false, idle = false;

	if (!link || link->seen.n < SOON || node->done)
		return UNKNOWN;
	for (uint32_t by = 0; by < LSC_MIN(link->seen.n, SURE); by++)
		*(back(&link->seen, by)->ready > some ? &waited : &idle) = true;
	if (waited && !idle && link->seen.n >= SURE && !node->chokes) {
		double rate = rate_over(&node->got, SURE);

		/* Whoever sends to it may not be able to send more. */
		if (ring->nodes[node->prev].slow && rate > 0.75 * ring->nodes[node->prev].rate)
			return YES;
		node->rate = rate;
	}
	return waited && idle ? UNKNOWN : waited ? NO : YES;
}

/* Those among the slow who are faster than the one before them go before it, as do those who may
 * be, once. */
static void sort_slow(struct lsc_ring *ring, struct segment *segment)
{
	for (uint32_t at = segment->tail, prev; at != NONE && ring->nodes[at].slow; at = prev) {
		struct node *node = &ring->nodes[at];
		bool up;

		prev = node->prev;
		if (prev == NONE)
			return;
		up = keeps_up(ring, at) == YES && !node->chokes && node->tries < MAX_TRIES;
		if (up && !ring->nodes[prev].slow && !node->unsure) {
			node->slow = false;
			say(ring, "node %u keeps up", at);
			return;
		}
		if (!ring->nodes[prev].slow || !(up || node->rate > 1.3 * ring->nodes[prev].rate))
			continue;
		if (up)
			node->rate = LSC_MAX(node->rate, ring->nodes[prev].rate);
		node->tries += up;
		say(ring, "node %u may be faster than node %u", at, prev);
		take_out(ring, at);
		put_before(ring, at, node->segment, prev);
		return;
	}
}

/* ---- whether a receiver is slow, or who sends to it ---- */

static void end_probe(struct lsc_ring *ring, struct segment *segment, uint64_t now_ns)
{
	segment->probe = NONE;
	enter(ring, segment, segment->state, now_ns);
}

static void verdict(struct lsc_ring *ring, struct segment *segment, uint64_t now_ns)
{
	uint32_t id = segment->probe;
	struct node *node = &ring->nodes[id];
	struct link *mine = link_of(ring, segment->leader, id);
	struct link *others = link_of(ring, segment->leader, segment->inject[0]);
	enum answer less = NO;

	if (!mine || mine->seen.n < 3 || !others || others->seen.n < 3)
		return;
	if (node->accuser == node->prev && !ring->nodes[node->prev].slow &&
	    ratio(mine, others) > 1 / UNEQUAL)
		less = gives_less(ring, node->prev, id);
	if (less == UNKNOWN && mine->seen.n < SAMPLES)
		return;
	node->unsure = false;
	end_probe(ring, segment, now_ns);
	if (less == YES)
		convict_sender(ring, node->prev, id, now_ns);
	else if (!node->slow)
		call_slow(ring, id);
}

static void probe(struct lsc_ring *ring, struct segment *segment, uint64_t now_ns)
{
	double sum;

	if (segment->leader == NONE || !segment->n_inject)
		return;
	if (segment->probe != NONE) {
		verdict(ring, segment, now_ns);
		return;
	}
	if (ring->nodes[segment->inject[0]].done ||
	    (segment->state == BOTH && !segment->pairs && injected(ring, segment, &sum) < SOON))
		return;
	for (uint32_t at = segment->tail; at != NONE && ring->nodes[at].slow;
	     at = ring->nodes[at].prev) {
		struct node *node = &ring->nodes[at];

		if (!node->unsure || node->done || node->prev != node->accuser)
			continue;
		offer(ring, segment, at);
		return;
	}
}

/* ---- sources ---- */

/* Numbers the sources of each segment in the order in which they joined. */
static void number_sources(struct lsc_ring *ring)
{
	for (uint32_t g = 0; g < ring->n_segments; g++)
		ring->segments[g].n_sources = 0;
	for (uint32_t i = 0; i < ring->n_order; i++) {
		struct node *node = &ring->nodes[ring->order[i]];

		if (node->here && node->source)
			node->nth = ring->segments[node->segment].n_sources++;
	}
}

/* The segment that most needs one more: whose receivers lack most for each source. */
static uint32_t neediest(const struct lsc_ring *ring)
{
	uint32_t best = NONE;
	double most = 0;

	for (uint32_t g = 0; g < ring->n_segments; g++) {
		const struct segment *segment = &ring->segments[g];
		double lacks = 0;

		for (uint32_t at = segment->head; at != NONE; at = ring->nodes[at].next)
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
static double frontier(const struct lsc_ring *ring, const struct segment *segment)
{
	uint64_t most = 0;
	double at;

	for (uint32_t id = segment->head; id != NONE; id = ring->nodes[id].next)
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
	if (ring->segments[g].leader != NONE)
		return;
	ring->segments[g].leader = source;
	begin(ring, &ring->segments[g], now_ns);
}

/* Sources of a segment whose receivers all have everything, or are gone, help elsewhere. */
static void help(struct lsc_ring *ring, uint32_t g, uint64_t now_ns)
{
	if (ring->segments[g].leader == NONE || unfinished(ring, ring->segments[g].head) != NONE ||
	    neediest(ring) == NONE)
		return;
	ring->segments[g].leader = NONE;
	for (uint32_t i = 0; i < ring->n_order; i++) {
		struct node *node = &ring->nodes[ring->order[i]];

		if (node->here && node->source && node->segment == g)
			assign(ring, ring->order[i], neediest(ring), now_ns);
	}
	say(ring, "%u receivers have everything", ring->segments[g].n);
}

/* ---- parts ---- */

static void add_to(struct lsc_ring_part *part, uint32_t from, uint32_t to, bool inject)
{
	if (to == NONE || to == from || part->n_to == LSC_RING_MAX_TO)
		return;
	for (uint32_t i = 0; i < part->n_to; i++)
		if (part->to[i].node == to)
			return;
	part->to[part->n_to++] = (struct lsc_ring_to){.node = to, .inject = inject};
}

static void receivers_part(const struct lsc_ring *ring, uint32_t id, struct lsc_ring_part *part)
{
	const struct node *node = &ring->nodes[id];
	const struct segment *segment = &ring->segments[node->segment];

	add_to(part, id, after(ring, id), false);
	if (!node->slow && node->next != NONE && ring->nodes[node->next].slow)
		add_to(part, id, segment->head, false);
}

static void leaders_part(const struct lsc_ring *ring, const struct segment *segment,
			 struct lsc_ring_part *part)
{
	bool done = true;

	for (uint32_t i = 0; i < segment->n_inject; i++) {
		/* A probe is between two: of three each might take its share, however slow. */
		if (i == 0 || segment->probe == NONE)
			add_to(part, segment->leader, segment->inject[i], true);
		done = done && ring->nodes[segment->inject[i]].done;
	}
	add_to(part, segment->leader, segment->probe, true);
	/* Those who have everything stay: what their source has left to send is then sent from the
	 * end, and does not meet what comes around the ring. */
	if (done)
		add_to(part, segment->leader, unfinished(ring, segment->head), true);
}

/* A further source injects elsewhere. */
static void helpers_part(const struct lsc_ring *ring, uint32_t id, struct lsc_ring_part *part)
{
	const struct segment *segment = &ring->segments[ring->nodes[id].segment];
	uint32_t at = segment->head;

	for (uint32_t i = ring->nodes[id].nth * segment->n / segment->n_sources; i > 0; i--)
		at = after(ring, at);
	add_to(part, id, at, true);
	if (ring->nodes[at].done)
		add_to(part, id, unfinished(ring, at), true);
}

static void work_out(const struct lsc_ring *ring, uint32_t id, struct lsc_ring_part *part)
{
	const struct node *node = &ring->nodes[id];
	const struct segment *segment = &ring->segments[node->segment];

	*part = (struct lsc_ring_part){.first = segment->first};
	if (!node->here || segment->head == NONE)
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
	struct node *node = &ring->nodes[id];
	struct link links[LSC_RING_MAX_TO];

	/* Whoever got from the source as well has something to catch up on. */
	for (uint32_t k = 0; node->source && k < node->part.n_to; k++)
		ring->nodes[node->part.to[k].node].quiet_ns = now_ns + QUIET_MS * MS;
	for (uint32_t i = 0; i < part->n_to; i++) {
		links[i] = (struct link){.to = part->to[i].node};
		if (!node->held) /* so nothing waits either */
			record(&links[i].seen, &(struct sample){.at_ns = now_ns});
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

static void empty_segment(struct segment *segment, double first)
{
	*segment = (struct segment){
		.head = NONE,
		.tail = NONE,
		.leader = NONE,
		.first = first,
		.state = STEADY,
		.probe = NONE,
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
			put(ring, id, at[0]++ % ring->n_segments);
	}
	for (uint32_t i = 0; i < ring->n_order; i++) {
		uint32_t id = ring->order[i];

		if (ring->nodes[id].source)
			assign(ring, id, at[1]++ % ring->n_segments, now_ns);
	}
	for (uint32_t g = 0; g < ring->n_segments; g++) {
		struct segment *segment = &ring->segments[g];

		if (segment->leader != NONE)
			start_at(ring, segment->leader, frontier(ring, segment));
	}
	ring->started = ring->dirty = true;
}

/* The segment with the fewest receivers among those that have a source, but this. */
static uint32_t smallest(const struct lsc_ring *ring, uint32_t but)
{
	uint32_t best = NONE;

	for (uint32_t g = 0; g < ring->n_segments; g++) {
		if (g == but || ring->segments[g].leader == NONE)
			continue;
		if (best == NONE || ring->segments[g].n < ring->segments[best].n)
			best = g;
	}
	return best;
}

static void merge(struct lsc_ring *ring, uint32_t from, uint32_t to)
{
	while (ring->segments[from].head != NONE) {
		uint32_t id = ring->segments[from].head;

		take_out(ring, id);
		put(ring, id, to);
	}
}

static void add_receiver(struct lsc_ring *ring, uint32_t id, uint64_t now_ns)
{
	uint32_t g = smallest(ring, NONE);
	struct segment *segment;

	for (uint32_t i = 0; g == NONE; i++)
		if (ring->segments[i].n || i + 1 == ring->n_segments)
			g = i;
	segment = &ring->segments[g];
	put(ring, id, g);
	if (segment->n <= 2 && segment->leader != NONE)
		begin(ring, segment, now_ns);
}

static void remove_receiver(struct lsc_ring *ring, uint32_t id, uint64_t now_ns)
{
	struct segment *segment = &ring->segments[ring->nodes[id].segment];
	uint32_t next = after(ring, id), n = 0;
	bool trial = false;

	take_out(ring, id);
	if (segment->probe == id)
		segment->probe = NONE;
	for (uint32_t i = 0; i < segment->n_inject; i++) {
		uint32_t to = segment->inject[i];

		if (to != id)
			segment->inject[n++] = to;
		else
			trial = true;
	}
	segment->n_inject = n;
	if (!trial || segment->head == NONE)
		return;
	if (segment->state == BOTH || segment->state == ALONE) {
		begin(ring, segment, now_ns);
	} else if (!n) {
		inject_at(segment, ring->nodes[next].slow ? segment->head : next);
		enter(ring, segment, STEADY, now_ns);
	}
}

static void remove_source(struct lsc_ring *ring, uint32_t id, uint64_t now_ns)
{
	uint32_t g = ring->nodes[id].segment, to;
	struct segment *segment = &ring->segments[g];

	if (segment->leader != id)
		return;
	segment->leader = NONE;
	segment->probe = NONE;
	for (uint32_t i = 0; i < ring->n_order; i++) {
		struct node *node = &ring->nodes[ring->order[i]];

		if (node->here && node->source && node->segment == g) {
			assign(ring, ring->order[i], g, now_ns);
			return;
		}
	}
	to = smallest(ring, g);
	if (to != NONE) {
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
	ring->nodes[node] = (struct node){
		.here = true,
		.source = source,
		.done = source,
		.accuser = NONE,
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
	struct node *who = &ring->nodes[node];

	if (node >= ring->max_nodes || !who->here || who->source)
		return;
	who->held = bytes;
	record(&who->got, &(struct sample){.at_ns = now_ns, .bytes = bytes});
	if (who->done != (bytes >= ring->bytes))
		ring->dirty = true;
	who->done = bytes >= ring->bytes;
}

void lsc_ring_sent(struct lsc_ring *ring, uint32_t from, uint32_t to, uint64_t sent_bytes,
		   uint64_t ready_bytes, uint64_t now_ns)
{
	struct link *link;

	if (from >= ring->max_nodes || to >= ring->max_nodes || !ring->nodes[from].here)
		return;
	link = link_of(ring, from, to);
	/* A link carries nothing until it is open, which says nothing about whom it leads to. */
	if (link && ring->nodes[from].source && link->seen.n == 1 &&
	    back(&link->seen, 0)->bytes == sent_bytes)
		link->seen.n = 0;
	if (link && !ring->nodes[from].source && now_ns < ring->nodes[to].quiet_ns)
		link->seen.n = 0;
	else if (link)
		record(&link->seen, &(struct sample){
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
		struct segment *segment = &ring->segments[g];

		help(ring, g, now_ns);
		if (segment->head == NONE)
			continue;
		judge(ring, segment, now_ns);
		sort_slow(ring, segment);
		steer(ring, segment, now_ns);
		probe(ring, segment, now_ns);
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
