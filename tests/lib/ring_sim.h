/* A network in which a ring is tried: pieces that move over modelled links, nodes that do what
 * their parts say, and reports that come late.  tests/unit/ring.c says what is modelled. */
#ifndef LSC_TESTS_RING_SIM_H
#define LSC_TESTS_RING_SIM_H

#include "tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "plan/ring.h"

#define MAX_NODES  24
#define MAX_PIECES 1024
#define WORDS      (MAX_PIECES / 64)
#define PIECE      1000000ull /* bytes */
#define NEVER      1e30
#define NOBODY     UINT32_MAX
#define IN_KERNEL  4 /* pieces */
#define MAX_NOTES  4096

struct set {
	uint64_t words[WORDS];
};

struct flow {
	uint32_t to;
	bool inject;
	double opens; /* when it can be used */
	int piece;    /* on its way, or -1 */
	double done;  /* part of it */
	double rate;  /* pieces a second */
};

struct report {
	double at; /* when it comes */
	uint32_t n_to;
	double held, sent[LSC_RING_MAX_TO], ready[LSC_RING_MAX_TO];
	uint32_t to[LSC_RING_MAX_TO];
};

struct node {
	bool alive, source;
	double up, down; /* part of the rate of one link */
	double up_now, down_now;
	double stalls_at, idle_at, runs_at; /* runs_at: it does not run until then, or NEVER */
	struct set has, gone;               /* gone: sent to somebody */
	struct set noted;                   /* what others know of has */
	struct set sent_to[MAX_NODES];      /* or got from */
	uint32_t n_has;
	double finished;

	uint32_t first, n_flows;
	struct flow flows[LSC_RING_MAX_TO];
	double sent[MAX_NODES];
	bool told; /* a part is on its way to it */
	double told_at;
	struct lsc_ring_part part;
	double report_at;
	uint32_t n_reports; /* on their way, in order */
	struct report reports[4];
};

/* That a node has a piece, on its way to those who may send to it. */
struct note {
	double at;
	uint32_t node, piece;
};

struct sim {
	/* What there is. */
	double seconds; /* of one copy */
	double every;   /* seconds from report to report, and from step to step */
	double push;    /* weight of a source's flows where they meet others */
	uint32_t pieces, n_nodes;
	bool rotate, frozen;
	double noise;     /* pieces of backlog reported too many */
	double jitter;    /* part by which rates vary over 0.2 s */
	double stalls;    /* how often a second a node's process does not run, up to 0.2 s */
	uint32_t dies[2]; /* nodes */
	double dies_at[2];
	uint32_t joins; /* node, NOBODY */
	double joins_at;
	struct node nodes[MAX_NODES];

	/* What comes out. */
	double now, all; /* when all receivers have everything */
	double covered;  /* when they do together */
	uint32_t moves, changes, twice;

	struct lsc_ring *ring;
	double step_at, jitter_at;
	double drawn[MAX_NODES][2];
	bool stale;       /* rates of flows are to be worked out */
	double learns[2]; /* when a death is noticed */
	uint64_t random;
	struct note notes[MAX_NOTES]; /* in order of time */
	uint32_t first_note, n_notes;
	bool verbose;
};

static struct lsc_err err;
static uint64_t seed;
static double every = 0.1; /* of the casts that are set up */

static double draw(struct sim *sim)
{
	sim->random = sim->random * 6364136223846793005ull + 1442695040888963407ull;
	return (double)(sim->random >> 40) / (double)(1 << 24);
}

static bool in_set(const struct set *set, uint32_t piece)
{
	return set->words[piece / 64] >> piece % 64 & 1;
}

static void put_in(struct set *set, uint32_t piece)
{
	set->words[piece / 64] |= 1ull << piece % 64;
}

static struct set whole(uint32_t pieces)
{
	struct set set = {0};

	for (uint32_t i = 0; i < pieces; i++)
		put_in(&set, i);
	return set;
}

static uint32_t count(const struct set *set)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < WORDS; i++)
		n += (uint32_t)__builtin_popcountll(set->words[i]);
	return n;
}

/* n receivers after k sources, all of rate 1. */
static void setup(struct sim *sim, uint32_t sources, uint32_t receivers)
{
	*sim = (struct sim){
		.seconds = 11,
		.every = every,
		.push = 1,
		.pieces = MAX_PIECES,
		.n_nodes = sources + receivers,
		.dies = {NOBODY, NOBODY},
		.joins = NOBODY,
		.learns = {NEVER, NEVER},
		.random = ++seed,
	};
	for (uint32_t i = 0; i < sim->n_nodes; i++) {
		struct node *node = &sim->nodes[i];

		*node = (struct node){.alive = true, .source = i < sources, .up = 1, .down = 1};
		node->finished = NEVER;
	}
}

static void set_rate(struct sim *sim, uint32_t node, double rate)
{
	sim->nodes[node].up = sim->nodes[node].down = rate;
}

/* ---- what nodes do with their parts ---- */

/* What a node has and its peer does not, as far as the node knows. */
static struct set missing(const struct sim *sim, const struct node *node, const struct flow *flow)
{
	const struct node *peer = &sim->nodes[flow->to];
	struct set set;

	for (uint32_t w = 0; w < WORDS; w++)
		set.words[w] = node->has.words[w] & ~peer->noted.words[w] &
			       ~node->sent_to[flow->to].words[w];
	if (flow->piece >= 0)
		set.words[flow->piece / 64] &= ~(1ull << flow->piece % 64);
	return set;
}

/* What it has sent to nobody yet, and none of those it injects at has or is being sent. */
static struct set uninjected(const struct sim *sim, const struct node *node)
{
	struct set set = node->has;

	for (uint32_t w = 0; w < WORDS; w++)
		set.words[w] &= ~node->gone.words[w];
	for (uint32_t i = 0; i < node->n_flows; i++) {
		const struct flow *flow = &node->flows[i];

		if (!flow->inject)
			continue;
		for (uint32_t w = 0; w < WORDS; w++)
			set.words[w] &= ~sim->nodes[flow->to].noted.words[w];
		if (flow->piece >= 0)
			set.words[flow->piece / 64] &= ~(1ull << flow->piece % 64);
	}
	return set;
}

static int first_from(const struct set *set, uint32_t from)
{
	for (uint32_t i = 0; i <= WORDS; i++) {
		uint32_t w = (from / 64 + i) % WORDS;
		uint64_t word = set->words[w];

		if (i == 0)
			word &= ~0ull << from % 64;
		if (i == WORDS)
			word &= ~(~0ull << from % 64);
		if (word)
			return (int)(w * 64 + (uint32_t)__builtin_ctzll(word));
	}
	return -1;
}

static int last_before(const struct set *set, uint32_t pieces, uint32_t from)
{
	for (uint32_t i = 1; i <= pieces; i++) {
		uint32_t piece = (from + pieces - i) % pieces;

		if (in_set(set, piece))
			return (int)piece;
	}
	return -1;
}

static int choose(const struct sim *sim, const struct node *node, const struct flow *flow)
{
	struct set set;
	int piece;

	if (flow->inject) {
		set = uninjected(sim, node);
		piece = first_from(&set, node->first);
		if (piece >= 0)
			return piece;
		set = missing(sim, node, flow);
		return last_before(&set, sim->pieces, node->first);
	}
	set = missing(sim, node, flow);
	return first_from(&set, node->first);
}

static void start_flows(struct sim *sim, struct node *node)
{
	for (uint32_t i = 0; i < node->n_flows; i++) {
		struct flow *flow = &node->flows[i];

		if (flow->piece >= 0 || flow->opens > sim->now || !sim->nodes[flow->to].alive)
			continue;
		flow->piece = choose(sim, node, flow);
		flow->done = 0;
		sim->stale |= flow->piece >= 0;
	}
}

/* Others hear of a piece 1 to 20 ms after it came, in order. */
static void note(struct sim *sim, uint32_t node, uint32_t piece)
{
	struct note *last = &sim->notes[(sim->first_note + sim->n_notes - 1) % MAX_NOTES];
	double at = sim->now + 0.001 + 0.019 * draw(sim);

	if (sim->n_notes && last->at > at)
		at = last->at;
	if (sim->n_notes == MAX_NOTES)
		abort();
	sim->notes[(sim->first_note + sim->n_notes++) % MAX_NOTES] =
		(struct note){.at = at, .node = node, .piece = piece};
}

static void read_notes(struct sim *sim)
{
	while (sim->n_notes && sim->notes[sim->first_note].at <= sim->now) {
		struct note *note = &sim->notes[sim->first_note];

		put_in(&sim->nodes[note->node].noted, note->piece);
		sim->first_note = (sim->first_note + 1) % MAX_NOTES;
		sim->n_notes--;
	}
}

static void arrive(struct sim *sim, struct node *node, struct flow *flow)
{
	struct node *peer = &sim->nodes[flow->to];

	node->sent[flow->to]++;
	put_in(&node->gone, (uint32_t)flow->piece);
	put_in(&node->sent_to[flow->to], (uint32_t)flow->piece);
	put_in(&peer->sent_to[node - sim->nodes], (uint32_t)flow->piece);
	note(sim, flow->to, (uint32_t)flow->piece);
	if (in_set(&peer->has, (uint32_t)flow->piece))
		sim->twice++;
	else
		peer->n_has++;
	put_in(&peer->has, (uint32_t)flow->piece);
	flow->piece = -1;
	if (peer->n_has == sim->pieces && peer->finished == NEVER)
		peer->finished = sim->now / sim->seconds;
}

static void take_part(struct sim *sim, struct node *node)
{
	struct flow flows[LSC_RING_MAX_TO];

	node->told = false;
	for (uint32_t i = 0; i < node->part.n_to; i++) {
		const struct lsc_ring_to *to = &node->part.to[i];

		flows[i] = (struct flow){.to = to->node, .piece = -1, .opens = sim->now + 0.06};
		for (uint32_t k = 0; k < node->n_flows; k++)
			if (node->flows[k].to == to->node)
				flows[i] = node->flows[k];
		flows[i].inject = to->inject;
	}
	node->first = (uint32_t)(node->part.first * sim->pieces) % sim->pieces;
	node->n_flows = node->part.n_to;
	memcpy(node->flows, flows, sizeof(flows));
	sim->stale = true;
}

/* ---- rates ---- */

static double weight(const struct sim *sim, const struct flow *flow)
{
	return flow->inject ? sim->push : 1;
}

/* Fills all links at once, and fixes the flows of each as it becomes full. */
static void share(struct sim *sim)
{
	struct flow *flows[MAX_NODES * LSC_RING_MAX_TO];
	double left[2][MAX_NODES], weights[2][MAX_NODES] = {0};
	uint32_t from[MAX_NODES * LSC_RING_MAX_TO], n = 0;
	double speed = sim->pieces / sim->seconds;

	for (uint32_t i = 0; i < sim->n_nodes; i++) {
		struct node *node = &sim->nodes[i];

		left[0][i] =
			node->runs_at == NEVER || node->idle_at != NEVER ? node->up_now * speed : 0;
		left[1][i] = node->down_now * speed;
		for (uint32_t k = 0; k < node->n_flows; k++) {
			if (node->flows[k].piece < 0)
				continue;
			from[n] = i;
			flows[n++] = &node->flows[k];
			weights[0][i] += weight(sim, &node->flows[k]);
			weights[1][node->flows[k].to] += weight(sim, &node->flows[k]);
		}
	}
	while (n > 0) {
		double least = NEVER;
		uint32_t side = 0, at = 0;

		for (uint32_t s = 0; s < 2; s++) {
			for (uint32_t i = 0; i < sim->n_nodes; i++) {
				if (weights[s][i] > 1e-9 && left[s][i] / weights[s][i] < least) {
					least = left[s][i] / weights[s][i];
					side = s;
					at = i;
				}
			}
		}
		for (uint32_t i = n; i-- > 0;) {
			double heavy = weight(sim, flows[i]);
			uint32_t to = flows[i]->to;

			if ((side ? to : from[i]) != at)
				continue;
			flows[i]->rate = least * heavy;
			left[0][from[i]] -= least * heavy;
			left[1][to] -= least * heavy;
			weights[0][from[i]] -= heavy;
			weights[1][to] -= heavy;
			flows[i] = flows[--n];
			from[i] = from[n];
		}
	}
	sim->stale = false;
}

/* Two windows together are what they would be without. */
static void vary(struct sim *sim)
{
	uint64_t window = (uint64_t)(sim->jitter_at / 0.2 + 0.5);

	for (uint32_t i = 0; i < sim->n_nodes; i++) {
		struct node *node = &sim->nodes[i];

		for (int s = 0; s < 2; s++)
			sim->drawn[i][s] =
				window % 2 ? -sim->drawn[i][s] : sim->jitter * (2 * draw(sim) - 1);
		node->up_now = node->up * (1 + sim->drawn[i][0]);
		node->down_now = node->down * (1 + sim->drawn[i][1]);
	}
	sim->jitter_at = sim->jitter > 0 ? sim->jitter_at + 0.2 : NEVER;
	sim->stale = true;
}

static double pause_between(struct sim *sim)
{
	return sim->stalls > 0 ? -log(1 - draw(sim)) / sim->stalls : NEVER;
}

/* A process that does not run takes what its kernel got in the meantime when it does again; what
 * the kernel has to send lasts for 40 ms. */
static void stall(struct sim *sim, struct node *node)
{
	if (node->stalls_at <= sim->now) {
		node->runs_at = sim->now + 0.04 + 0.2 * draw(sim);
		node->idle_at = sim->now + 0.04;
		node->stalls_at = NEVER;
		node->report_at = LSC_MAX(node->report_at, node->runs_at);
		sim->stale = true;
	} else if (node->runs_at <= sim->now) {
		node->runs_at = NEVER;
		node->stalls_at = sim->now + pause_between(sim);
		sim->stale = true;
	} else if (node->idle_at <= sim->now) {
		node->idle_at = NEVER;
		sim->stale = true;
	}
}

/* ---- what the ring is told, and tells ---- */

static uint64_t ns(double seconds)
{
	return (uint64_t)(seconds * 1e9) + 1;
}

/* What of pieces is there that did not come wholly yet. */
static double partly(const struct sim *sim, uint32_t id)
{
	double pieces = 0;

	for (uint32_t i = 0; i < sim->n_nodes; i++)
		for (uint32_t k = 0; k < sim->nodes[i].n_flows; k++)
			if (sim->nodes[i].flows[k].to == id && sim->nodes[i].flows[k].piece >= 0)
				pieces += sim->nodes[i].flows[k].done;
	return LSC_MIN(pieces, sim->pieces - sim->nodes[id].n_has);
}

static void write_report(struct sim *sim, struct node *node)
{
	struct report *report = &node->reports[node->n_reports];
	double late = sim->every * draw(sim);

	node->report_at += sim->every;
	if (node->n_reports == LSC_ARRAY_SIZE(node->reports))
		return;
	*report = (struct report){.at = sim->now + late,
				  .held = node->n_has + partly(sim, (uint32_t)(node - sim->nodes))};
	if (node->n_reports && node->reports[node->n_reports - 1].at > report->at)
		report->at = node->reports[node->n_reports - 1].at;
	for (uint32_t i = 0; i < node->n_flows; i++) {
		const struct flow *flow = &node->flows[i];
		struct set set = flow->inject ? uninjected(sim, node) : missing(sim, node, flow);
		uint32_t waits = count(&set), ahead = LSC_MIN(waits, IN_KERNEL);

		if (flow->opens > sim->now)
			ahead = 0;
		report->to[i] = flow->to;
		report->sent[i] = node->sent[flow->to] + ahead;
		report->ready[i] = waits - ahead + floor(draw(sim) * (sim->noise + 0.999));
	}
	report->n_to = node->n_flows;
	node->n_reports++;
}

static void deliver_report(struct sim *sim, uint32_t id)
{
	struct node *node = &sim->nodes[id];
	const struct report *report = &node->reports[0];

	if (!node->source)
		lsc_ring_held(sim->ring, id, (uint64_t)(report->held * (double)PIECE),
			      ns(sim->now));
	for (uint32_t i = 0; i < report->n_to; i++)
		lsc_ring_sent(sim->ring, id, report->to[i],
			      (uint64_t)(report->sent[i] * (double)PIECE),
			      (uint64_t)report->ready[i] * PIECE, ns(sim->now));
	node->n_reports--;
	memmove(node->reports, node->reports + 1, node->n_reports * sizeof(*report));
}

static void step(struct sim *sim)
{
	bool changed;

	if (sim->frozen && sim->changes)
		return;
	changed = lsc_ring_step(sim->ring, ns(sim->now));
	if (strstr(lsc_ring_why(sim->ring), "slow"))
		sim->moves++;
	if (!changed)
		return;
	sim->changes++;
	if (sim->verbose)
		printf("# %.2f: %s\n#  ", sim->now, lsc_ring_why(sim->ring));
	for (uint32_t i = 0; i < sim->n_nodes; i++) {
		struct node *node = &sim->nodes[i];

		if (node->alive && lsc_ring_part(sim->ring, i, &node->part)) {
			node->told_at = node->told ? node->told_at : sim->now + 0.02;
			node->told = true;
		}
		for (uint32_t k = 0; sim->verbose && k < node->part.n_to; k++)
			printf(" %u%s%u", i, node->part.to[k].inject ? "=>" : ">",
			       node->part.to[k].node);
	}
	if (sim->verbose)
		printf("\n");
}

static void die(struct sim *sim, uint32_t i)
{
	struct node *node = &sim->nodes[sim->dies[i]];

	node->alive = false;
	node->n_flows = node->n_reports = 0;
	sim->dies_at[i] = NEVER;
	for (uint32_t id = 0; id < sim->n_nodes; id++)
		for (uint32_t k = 0; k < sim->nodes[id].n_flows; k++)
			if (sim->nodes[id].flows[k].to == sim->dies[i])
				sim->nodes[id].flows[k].piece = -1;
	sim->stale = true;
}

/* ---- the clock ---- */

static double next_event(const struct sim *sim)
{
	double at = LSC_MIN(sim->step_at, sim->jitter_at);

	for (uint32_t i = 0; i < 2; i++) {
		if (sim->dies[i] != NOBODY)
			at = LSC_MIN(at, LSC_MIN(sim->dies_at[i], sim->learns[i]));
	}
	if (sim->joins != NOBODY)
		at = LSC_MIN(at, sim->joins_at);
	for (uint32_t i = 0; i < sim->n_nodes; i++) {
		const struct node *node = &sim->nodes[i];

		if (!node->alive)
			continue;
		at = LSC_MIN(at, LSC_MIN(node->stalls_at, node->runs_at));
		at = LSC_MIN(at, node->idle_at);
		at = LSC_MIN(at, node->report_at);
		if (node->told)
			at = LSC_MIN(at, node->told_at);
		if (node->n_reports)
			at = LSC_MIN(at, node->reports[0].at);
		for (uint32_t k = 0; k < node->n_flows; k++) {
			const struct flow *flow = &node->flows[k];

			if (flow->piece >= 0 && flow->rate > 0)
				at = LSC_MIN(at, sim->now + (1 - flow->done) / flow->rate);
			else if (flow->piece < 0 && flow->opens > sim->now)
				at = LSC_MIN(at, flow->opens);
		}
	}
	return LSC_MAX(at, sim->now);
}

static void pass(struct sim *sim, double to)
{
	double time = to - sim->now;

	sim->now = to;
	for (uint32_t i = 0; i < sim->n_nodes; i++) {
		for (uint32_t k = 0; k < sim->nodes[i].n_flows; k++) {
			struct flow *flow = &sim->nodes[i].flows[k];

			if (flow->piece < 0)
				continue;
			flow->done += time * flow->rate;
			if (flow->done < 1 - 1e-9)
				continue;
			arrive(sim, &sim->nodes[i], flow);
			sim->stale = true;
		}
	}
}

static void happen(struct sim *sim)
{
	bool again = false;

	for (uint32_t i = 0; i < 2; i++) {
		if (sim->dies[i] == NOBODY)
			continue;
		if (sim->dies_at[i] <= sim->now) {
			sim->learns[i] = sim->dies_at[i] + 0.4;
			die(sim, i);
		}
		if (sim->learns[i] <= sim->now) {
			lsc_ring_leave(sim->ring, sim->dies[i], ns(sim->now));
			sim->learns[i] = NEVER;
			again = true;
		}
	}
	if (sim->joins != NOBODY && sim->joins_at <= sim->now) {
		sim->nodes[sim->joins].alive = true;
		lsc_ring_join(sim->ring, sim->joins, false, ns(sim->now));
		sim->joins_at = NEVER;
		again = true;
	}
	for (uint32_t i = 0; i < sim->n_nodes; i++) {
		struct node *node = &sim->nodes[i];

		if (!node->alive)
			continue;
		stall(sim, node);
		if (node->told && node->told_at <= sim->now)
			take_part(sim, node);
		if (node->report_at <= sim->now)
			write_report(sim, node);
		while (node->n_reports && node->reports[0].at <= sim->now)
			deliver_report(sim, i);
	}
	if (sim->jitter_at <= sim->now)
		vary(sim);
	if (again || sim->step_at <= sim->now)
		step(sim);
	if (sim->step_at <= sim->now)
		sim->step_at += sim->every;
}

static bool finished(struct sim *sim)
{
	struct set all = {0};
	bool done = true;

	for (uint32_t i = 0; i < sim->n_nodes; i++) {
		const struct node *node = &sim->nodes[i];

		if (sim->joins == i && !node->alive)
			done = false;
		if (node->source || !node->alive)
			continue;
		done = done && node->n_has == sim->pieces;
		for (uint32_t w = 0; w < WORDS && sim->covered == NEVER; w++)
			all.words[w] |= node->has.words[w];
	}
	if (sim->covered == NEVER && count(&all) == sim->pieces)
		sim->covered = sim->now / sim->seconds;
	return done;
}

/* Runs a cast to its end; false where it does not end. */
static bool run(struct sim *sim)
{
	bool done = false;

	if (lsc_ring_new(&sim->ring, MAX_NODES, sim->pieces * PIECE, sim->rotate, &err) < 0)
		return false;
	sim->covered = NEVER;
	for (uint32_t i = 0; i < sim->n_nodes; i++) {
		struct node *node = &sim->nodes[i];

		if (node->source && !count(&node->has)) /* else it has a part */
			node->has = whole(sim->pieces);
		node->n_has = count(&node->has);
		node->noted = node->has;
		node->report_at = sim->every * draw(sim);
		node->stalls_at = pause_between(sim);
		node->runs_at = node->idle_at = NEVER;
		if (sim->joins == i)
			node->alive = false;
		else
			lsc_ring_join(sim->ring, i, node->source, ns(0));
	}
	for (uint32_t i = 0; i < sim->n_nodes; i++)
		if (sim->nodes[i].n_has)
			lsc_ring_held(sim->ring, i, sim->nodes[i].n_has * PIECE, ns(0));
	vary(sim);
	while (sim->now < 40 * sim->seconds && !(done = finished(sim))) {
		pass(sim, next_event(sim));
		read_notes(sim);
		happen(sim);
		for (uint32_t i = 0; i < sim->n_nodes; i++)
			start_flows(sim, &sim->nodes[i]);
		if (sim->stale)
			share(sim);
	}
	sim->all = sim->now / sim->seconds;
	lsc_ring_free(sim->ring);
	return done;
}

#endif
