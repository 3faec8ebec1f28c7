/* What the files of a ring share: ring.h has its contract, ring_steer.c and ring_judge.c its
 * judgement, ring_parts.c what comes of that, and ring_end.c the end, when the slow alone lack
 * something.
 *
 * A segment is a list of receivers and the sources that feed it.  Those who keep up come first,
 * those who do not come last, the slowest at the very end; the head is where the segment's first
 * source injects.
 */
#ifndef LSC_PLAN_RING_STATE_H
#define LSC_PLAN_RING_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "plan/ring.h"

#define LSC_RING_NONE       UINT32_MAX
#define LSC_HISTORY_SAMPLES 16
#define LSC_RING_MS         1000000ull
#define LSC_RING_RIVALS     4u
#define LSC_RING_UNEQUAL    1.6 /* shares that differ for a reason: TCP's own differ by less */

/* What a history is good for.  Reports come late, and count whole pieces: both take some samples
 * and some time to even out. */
enum lsc_known {
	LSC_KNOWN_NOTHING,
	LSC_KNOWN_SOON, /* what is clear */
	LSC_KNOWN_SURE, /* what is compared by the clock */
	LSC_KNOWN_WELL,
};

struct lsc_sample {
	uint64_t at_ns, bytes;
	uint64_t ready, held; /* of a link: what waits for the peer, what the sender has */
};

/* The latest samples, and how many there were. */
struct lsc_history {
	uint32_t n;
	struct lsc_sample samples[LSC_HISTORY_SAMPLES];
};

struct lsc_ring_link {
	uint32_t to;
	bool shut; /* nothing went over it yet, that we know of */
	struct lsc_history seen;
};

struct lsc_ring_rival {
	uint32_t node;
	uint64_t at_ns;
};

struct lsc_ring_node {
	bool here, source, done;
	bool lacks;  /* a source that has a part of the image */
	bool slow;   /* among the last of its segment */
	bool unsure; /* it is slow, or its accuser is */
	bool chokes; /* slow in sending */
	bool paroled;
	uint64_t convicted_ns; /* when it was last said to choke */
	uint32_t tries;        /* to go before another of the slow */
	struct lsc_ring_rival rivals[LSC_RING_RIVALS];
	uint32_t accuser; /* who had much for it that it did not take */
	uint32_t segment;
	uint32_t prev, next; /* of a receiver: in its segment's list */
	uint32_t trial;      /* the one it was last tried in as a head */
	uint32_t alone;      /* and the one in which it was that alone */
	uint32_t lesser;     /* the one in which it took less than another head */
	uint64_t held;
	uint64_t quiet_ns; /* until then nothing is concluded from what waits for it */
	double rate;       /* bytes a second: of one who is slow, what it can do */
	double best;       /* the most that it got for a while */
	uint32_t feeder;   /* in the end: who alone sends to it; LSC_RING_NONE */
	uint32_t fed;      /* and to whom it sends */
	struct lsc_history got;
	struct lsc_ring_part part;
	bool changed;
	bool starts; /* elsewhere than its segment, at start */
	double start;
	uint32_t nth; /* among the sources of its segment */
	struct lsc_ring_link links[LSC_RING_MAX_TO];
};

enum lsc_ring_state {
	LSC_RING_BOTH,   /* at two, to see which takes more and what both take */
	LSC_RING_ALONE,  /* at one after the other, for one who takes all of that alone */
	LSC_RING_STEADY, /* for as long as the head takes what it did */
};

struct lsc_ring_segment {
	uint32_t head, tail; /* of the list; LSC_RING_NONE */
	uint32_t n, n_sources;
	uint32_t leader; /* the source that state and inject are about; LSC_RING_NONE */
	double first;

	enum lsc_ring_state state;
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
	bool over;          /* all who keep up have everything */
	uint64_t fed_ns;    /* since when in the end feeders are who they are, */
	uint32_t turn;      /* and how often they changed */
	uint32_t probe;     /* offered pieces to see whether it takes them; LSC_RING_NONE */
};

struct lsc_ring {
	uint32_t max_nodes, n_nodes; /* n_nodes: numbers in use are below */
	uint64_t bytes;
	bool rotate, started, dirty;
	struct lsc_ring_node *nodes;
	uint32_t *order; /* of joining */
	uint32_t *some;  /* room for two lists of all */
	uint32_t n_order;
	struct lsc_ring_segment *segments;
	uint32_t n_segments, trials;
	char why[160];
};

/* Samples, and the lists of receivers: ring_state.c */
const struct lsc_sample *lsc_history_back(const struct lsc_history *history, uint32_t by);
void lsc_history_add(struct lsc_history *history, const struct lsc_sample *sample);
uint32_t lsc_history_for(const struct lsc_history *history, enum lsc_known known);
uint32_t lsc_history_window(const struct lsc_history *history);
enum lsc_known lsc_history_known(const struct lsc_history *history);
double lsc_history_rate_over(const struct lsc_history *history, uint32_t n);
double lsc_history_rate(const struct lsc_history *history);
struct lsc_ring_link *lsc_ring_link(struct lsc_ring *ring, uint32_t from, uint32_t to);
__attribute__((format(printf, 2, 3))) void lsc_ring_say(struct lsc_ring *ring, const char *fmt,
							...);
void lsc_ring_take_out(struct lsc_ring *ring, uint32_t id);
void lsc_ring_put_before(struct lsc_ring *ring, uint32_t id, uint32_t g, uint32_t before);
void lsc_ring_put(struct lsc_ring *ring, uint32_t id, uint32_t g);
void lsc_ring_move(struct lsc_ring *ring, uint32_t id);
uint32_t lsc_ring_after(const struct lsc_ring *ring, uint32_t id);
uint32_t lsc_ring_unfinished(const struct lsc_ring *ring, uint32_t from);
void lsc_ring_turn_to(struct lsc_ring *ring, uint32_t id);

/* What each node is to do: ring_parts.c */
bool lsc_ring_refresh(struct lsc_ring *ring, uint64_t now_ns);

/* The end of a segment: ring_end.c.  True where that is all there is to think over. */
bool lsc_ring_end(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns);
void lsc_ring_feed(struct lsc_ring *ring, struct lsc_ring_segment *segment);

/* Where the first source of a segment injects: ring_steer.c */
void lsc_ring_inject_at(struct lsc_ring_segment *segment, uint32_t id);
void lsc_ring_enter(struct lsc_ring *ring, struct lsc_ring_segment *segment,
		    enum lsc_ring_state state, uint64_t now_ns);
void lsc_ring_at_head(struct lsc_ring *ring, struct lsc_ring_segment *segment,
		      enum lsc_ring_state state, uint64_t now_ns);
void lsc_ring_at_two(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns);
void lsc_ring_begin(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns);
double lsc_ring_ratio(const struct lsc_ring_link *link, const struct lsc_ring_link *other);
bool lsc_ring_compare(const struct lsc_ring *ring, const struct lsc_ring_link *link,
		      const struct lsc_ring_link *other, double *ret_ratio);
enum lsc_known lsc_ring_injected(struct lsc_ring *ring, const struct lsc_ring_segment *segment,
				 double *ret_sum);
void lsc_ring_steer(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns);

/* Who is slow: ring_judge.c */
void lsc_ring_judge(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns);
void lsc_ring_sort_slow(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns);
void lsc_ring_probe(struct lsc_ring *ring, struct lsc_ring_segment *segment, uint64_t now_ns);

#endif
