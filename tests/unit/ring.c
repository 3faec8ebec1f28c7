/* ring: casts over modelled links, piece by piece, with a clock of their own
 *
 * Links are full duplex; a node's uplink and downlink are shared by those who use them (max-min
 * fair, as TCP comes to, or by weights, as it does for a while).  Every node does what
 * lsc_ring_part() says, 20 ms later, and 60 ms more for a new connection.
 *
 * Each reports every 0.1 s, or 0.2 s, what it holds, has sent and has ready, and these reports come
 * late by up to as much.  They are what nodes can know: a piece that is on its way counts as far as
 * it came; what a peer got elsewhere is known up to 20 ms late; a megabyte, 4 pieces, that went
 * into the kernel counts as sent.  Time is in units of one copy over one link of rate 1, which
 * takes 11 s.
 *
 * An argument is the number of another set of seeds.
 */
#include "plan/ring_state.h"
#include "ring_sim.h"

/* The latest to finish, in copies of one link; but is left out. */
static double latest(const struct sim *sim, uint32_t but)
{
	double last = 0;

	for (uint32_t i = 0; i < sim->n_nodes; i++)
		if (!sim->nodes[i].source && sim->nodes[i].alive && i != but)
			last = LSC_MAX(last, sim->nodes[i].finished);
	return last;
}

/* What the last of a chain is late at best: it connects, is told, and each passes whole pieces on.
 */
static double fill(const struct sim *sim)
{
	return 0.1 / sim->seconds + 1.5 * sim->n_nodes / sim->pieces;
}

/* A bound for reports every 0.1 s, and for those every 0.2 s. */
static double bound(double often, double seldom)
{
	return every < 0.15 ? often : seldom;
}

static void test_uniform(void)
{
	double worst = 0, most_twice = 0, moves = 0;
	bool good = true;

	for (uint32_t n = 1; n <= 16; n++) {
		struct sim sim;

		setup(&sim, 1, n);
		good = run(&sim) && good;
		worst = LSC_MAX(worst, latest(&sim, NOBODY) - fill(&sim));
		most_twice = LSC_MAX(most_twice, (double)sim.twice / sim.pieces / n);
		moves += sim.moves;
	}
	ok(good && worst <= 1.015, "uniform, 1 to 16 receivers: %.3f copies and the fill", worst);
	ok(most_twice < 0.01 && moves == 0, "no one is moved, %.2f %% is sent twice",
	   100 * most_twice);
}

static void test_one_slow(bool down)
{
	double worst = 0, late = 0, slow = 0;
	bool good = true;
	uint32_t moves = 0;

	for (uint32_t n = 2; n <= 8; n++) {
		for (uint32_t at = 1; at <= n; at++) {
			struct sim sim;

			setup(&sim, 1, n);
			sim.nodes[at].up = 0.25;
			if (down)
				sim.nodes[at].down = 0.25;
			good = run(&sim) && good;
			worst = LSC_MAX(worst, latest(&sim, at));
			late = LSC_MAX(late, latest(&sim, at) - fill(&sim) - 1);
			slow = LSC_MAX(slow, sim.nodes[at].finished);
			moves = LSC_MAX(moves, sim.moves);
		}
	}
	ok(good && late < (down ? bound(0.045, 0.065) : bound(0.1, 0.18)),
	   "one %s a quarter, at every place of 2 to 8: others %.3f copies, %.3f late",
	   down ? "has" : "sends at", worst, late);
	ok(slow < (down ? 4.05 : bound(1.2, 1.3)) && moves <= 4,
	   "and itself %.3f; %u moves at most", slow, moves);
}

/* Of all receivers of some casts: what each took, in copies over its own link. */
struct tally {
	uint32_t n, late;
	double worst, sum;
};

static void mixed(const double *rates, uint32_t n, struct tally *tally)
{
	struct sim sim;
	bool good;

	setup(&sim, 1, n);
	for (uint32_t i = 0; i < n; i++)
		set_rate(&sim, i + 1, rates[i]);
	good = run(&sim);
	for (uint32_t i = 1; i <= n; i++) {
		double took = good ? sim.nodes[i].finished * rates[i - 1] : NEVER;

		tally->n++;
		tally->late += took > 1.1;
		tally->sum += took;
		tally->worst = LSC_MAX(tally->worst, took);
	}
}

/* Every order of what there is n of each. */
static void orders(double *rates, uint32_t at, uint32_t *left, uint32_t n, struct tally *tally)
{
	static const double kinds[] = {1, 0.5, 0.25};

	if (at == n)
		mixed(rates, n, tally);
	for (uint32_t kind = 0; kind < 3; kind++) {
		if (!left[kind])
			continue;
		left[kind]--;
		rates[at] = kinds[kind];
		orders(rates, at + 1, left, n, tally);
		left[kind]++;
	}
}

static void test_mixed(void)
{
	double rates[6];

	for (uint32_t each = 1; each <= 2; each++) {
		struct tally tally = {0};

		orders(rates, 0, (uint32_t[]){each, each, each}, 3 * each, &tally);
		/* Of six, some whole ones end up behind a half, and once in a thousand casts a half
		 * behind a quarter. */
		ok(tally.worst < (each == 1 ? bound(1.12, 1.17) : 2.2) &&
			   tally.sum < bound(1.09, 1.12) * tally.n,
		   "whole, half and quarter in every order of %u: %.3f of one's own copy, "
		   "%.3f at most, %u of %u above 1.1",
		   3 * each, tally.sum / tally.n, tally.worst, tally.late, tally.n);
	}
}

static void test_source_speed(void)
{
	static const double rates[] = {0.25, 4};

	for (uint32_t i = 0; i < LSC_ARRAY_SIZE(rates); i++) {
		double worst = 0, covered = 0;
		bool good = true;

		for (uint32_t n = 1; n <= 8; n++) {
			struct sim sim;

			setup(&sim, 1, n);
			set_rate(&sim, 0, rates[i]);
			good = run(&sim) && good;
			worst = LSC_MAX(worst,
					LSC_MIN(1, rates[i]) * (latest(&sim, NOBODY) - fill(&sim)));
			covered = LSC_MAX(covered, n < 4 ? 0 : sim.covered);
		}
		ok(good && worst < 1.02,
		   "a source of %g: %.3f of what is possible, 4 to 8 receivers cover at %.3f",
		   rates[i], worst, covered);
	}
}

/* A source that is faster than receivers meets, on their downlinks, those who send to them too, and
 * TCP need not share alike. */
static void test_push(void)
{
	static const double pushes[] = {0.25, 4};

	for (uint32_t i = 0; i < LSC_ARRAY_SIZE(pushes); i++) {
		double worst = 0, most_twice = 0;
		uint32_t moves = 0;
		bool good = true;

		for (uint32_t n = 2; n <= 8; n++) {
			struct sim sim;

			setup(&sim, 1, n);
			set_rate(&sim, 0, 4);
			sim.push = pushes[i];
			good = run(&sim) && good;
			worst = LSC_MAX(worst, latest(&sim, NOBODY) - fill(&sim));
			most_twice = LSC_MAX(most_twice, (double)sim.twice / sim.pieces / n);
			moves += sim.moves;
		}
		ok(good && worst < 1.05 && most_twice < 0.02 && moves <= bound(7, 14),
		   "a source of 4 whose flows get %g of what others do: %.3f copies, %.1f %% "
		   "twice, "
		   "%u moves in 7 casts",
		   pushes[i], worst, 100 * most_twice, moves);
	}
}

static void test_sources(void)
{
	for (uint32_t k = 2; k <= 4; k += 2) {
		double worst = 0, covered = 0;
		bool good = true;

		for (uint32_t n = k; n <= 12; n++) {
			struct sim sim;

			setup(&sim, k, n);
			sim.rotate = true;
			good = run(&sim) && good;
			worst = LSC_MAX(worst, latest(&sim, NOBODY) - fill(&sim));
			covered = LSC_MAX(covered, k * sim.covered);
		}
		ok(good && covered < 1.1 && worst < 1.05,
		   "%u sources: receivers cover at %.3f of 1/%u, end at %.3f and the fill", k,
		   covered, k, worst);
	}
	for (uint32_t n = 1; n <= 3; n++) {
		struct sim sim;
		bool good;

		setup(&sim, 4, n);
		sim.rotate = true;
		for (uint32_t i = 0; i < 4; i++)
			set_rate(&sim, i, 0.25 * n);
		good = run(&sim);
		ok(good && latest(&sim, NOBODY) < 1.55,
		   "4 slow sources that have just enough for %u receivers: %.3f", n,
		   latest(&sim, NOBODY));
	}
}

static void test_receiver_dies(void)
{
	double worst = 0;
	bool good = true;

	for (uint32_t n = 2; n <= 8; n++) {
		for (uint32_t at = 1; at <= n; at++) {
			struct sim sim;
			double last;

			setup(&sim, 1, n);
			sim.dies[0] = at;
			sim.dies_at[0] = sim.seconds / 2;
			good = run(&sim) && good;
			last = latest(&sim, NOBODY) - 0.4 / sim.seconds;
			worst = LSC_MAX(worst, last);
		}
	}
	ok(good && worst < 1.25, "one dies half-way, at every place of 2 to 8: others %.3f copies",
	   worst);
}

static void test_source_dies(void)
{
	double worst = 0;
	bool good = true;
	struct sim sim;

	for (uint32_t n = 2; n <= 8; n++) {
		setup(&sim, 2, n);
		sim.rotate = true;
		sim.dies[0] = n % 2;
		sim.dies_at[0] = sim.seconds / 3;
		good = run(&sim) && good;
		worst = LSC_MAX(worst, latest(&sim, NOBODY) - 0.4 / sim.seconds);
	}
	ok(good && worst < 1.1, "one of two sources dies after a third: %.3f copies", worst);

	worst = 0;
	for (uint32_t n = 4; n <= 8; n++) {
		setup(&sim, 2, n);
		sim.rotate = true;
		sim.dies[0] = 0;
		sim.dies[1] = 1;
		sim.dies_at[0] = 0.58 * sim.seconds;
		sim.dies_at[1] = 0.6 * sim.seconds;
		good = run(&sim) && good;
		worst = LSC_MAX(worst, latest(&sim, NOBODY) - 0.4 / sim.seconds);
	}
	ok(good && worst < 1.25, "both die once receivers cover everything: %.3f copies", worst);

	setup(&sim, 1, 4);
	sim.dies[0] = 0;
	sim.dies_at[0] = 0.5 * sim.seconds;
	ok(!run(&sim) && sim.covered == NEVER, "what nobody has does not come");
}

/* Each receiver has another part of the image to begin with, and the source is slow. */
static void test_partial(void)
{
	for (uint32_t n = 2; n <= 8; n += 3) {
		struct sim sim;
		bool good;

		setup(&sim, 1, n);
		set_rate(&sim, 0, 0.25);
		for (uint32_t piece = 0; piece < sim.pieces / 2; piece++)
			put_in(&sim.nodes[1 + piece % n].has, piece);
		good = run(&sim);
		/* Half comes at a quarter of the rate: 2 copies at best, for a source that knows
		 * what is there.  This one sends some of it until the ring has passed it on. */
		ok(good && latest(&sim, NOBODY) < 2.6,
		   "half is there in parts, a source of a quarter, %u receivers: %.3f copies", n,
		   latest(&sim, NOBODY));
	}
	for (uint32_t n = 3; n <= 6; n += 3) {
		struct sim sim;
		bool good;

		setup(&sim, 1, n);
		set_rate(&sim, 0, 0.01);
		for (uint32_t piece = 0; piece < sim.pieces; piece++)
			put_in(&sim.nodes[1 + piece * n / sim.pieces].has, piece);
		good = run(&sim);
		ok(good && latest(&sim, NOBODY) < 1.1,
		   "all is there in parts, a source of next to nothing, %u receivers: %.3f copies",
		   n, latest(&sim, NOBODY));
	}
}

/* The sources after the first whole ones have a part each, which together is everything. */
static bool run_parts(struct sim *sim, uint32_t n_whole, uint32_t n_parts, uint32_t n)
{
	setup(sim, n_whole + n_parts, n);
	sim->rotate = true;
	for (uint32_t piece = 0; piece < sim->pieces; piece++)
		put_in(&sim->nodes[n_whole + piece * n_parts / sim->pieces].has, piece);
	return run(sim);
}

static void test_part_sources(void)
{
	double worst = 0, with_whole = 0;
	bool good = true, good_with = true;
	struct sim sim;

	for (uint32_t n = 1; n <= 8; n++) {
		for (uint32_t parts = 1; parts <= 4; parts++) {
			good = run_parts(&sim, 0, parts, n) && good;
			worst = LSC_MAX(worst, latest(&sim, NOBODY) - fill(&sim));
			good_with = run_parts(&sim, 2, parts, n) && good_with;
			with_whole = LSC_MAX(with_whole, latest(&sim, NOBODY) - fill(&sim));
		}
	}
	ok(good && worst < 1.6, "sources of a part each, 1 to 4 and 1 to 8 receivers: %.3f copies",
	   worst);
	/* Not better than without them (1.05): they send what is on its way around the ring. */
	ok(good_with && with_whole < 2, "beside two that have it all: %.3f copies", with_whole);

	good = true;
	for (uint32_t n = 2; n <= 8; n++) {
		setup(&sim, 4, n);
		sim.rotate = true;
		for (uint32_t piece = 0; piece < sim.pieces; piece++)
			put_in(&sim.nodes[2 + piece % 2].has, piece);
		sim.dies[0] = 0;
		sim.dies[1] = 1;
		sim.dies_at[0] = 0.2 * sim.seconds;
		sim.dies_at[1] = 0.3 * sim.seconds;
		good = run(&sim) && good;
	}
	ok(good, "those that have it all die: parts at two others are enough");
}

static void test_late(void)
{
	double worst = 0, others = 0;
	bool good = true;

	for (uint32_t n = 2; n <= 8; n++) {
		struct sim sim;

		setup(&sim, 1, n);
		sim.joins = n;
		sim.joins_at = 0.4 * sim.seconds;
		good = run(&sim) && good;
		worst = LSC_MAX(worst, sim.nodes[n].finished - 0.4);
		others = LSC_MAX(others, latest(&sim, n));
	}
	ok(good && worst < 1.05 && others < 1.05,
	   "one who joins late needs %.3f copies, those before him %.3f", worst, others);
}

/* Rates differ by 15 % for 0.2 s at a time, and a few pieces always wait. */
static void test_jitter(void)
{
	double worst = 0, sum = 0, took;
	uint32_t moves = 0, most = 0;
	bool good = true;

	for (uint32_t run_no = 0; run_no < 10; run_no++) {
		struct sim sim, still;

		setup(&sim, 1, 8);
		sim.jitter = 0.15;
		sim.noise = 3;
		still = sim;
		still.frozen = true;
		good = run(&sim) && run(&still) && good;
		took = latest(&sim, NOBODY) / latest(&still, NOBODY);
		worst = LSC_MAX(worst, took);
		sum += took;
		moves += sim.moves;
		most = LSC_MAX(most, sim.moves);
	}
	ok(good && most <= 2 && moves <= 4 && sum < 10.2 && worst < 1.04,
	   "rates that vary: %u moves in 10 casts, %.3f of a chain's time, %.3f at most", moves,
	   sum / 10, worst);
}

/* Processes that do not run for a while, as on a machine with much else to do. */
static void test_stalls(void)
{
	double worst = 0, sum = 0;
	uint32_t moves = 0;
	bool good = true;

	for (uint32_t run_no = 0; run_no < 10; run_no++) {
		struct sim sim, still;
		double took;

		setup(&sim, 1, 8);
		sim.stalls = 0.1;
		still = sim;
		still.frozen = true;
		good = run(&sim) && run(&still) && good;
		took = latest(&sim, NOBODY) / latest(&still, NOBODY);
		worst = LSC_MAX(worst, took);
		sum += took;
		moves += sim.moves;
	}
	ok(good && sum < 10.3 && worst < 1.1,
	   "processes that stall: %.3f of a chain's time, %.3f at most; %u moves in 10 casts",
	   sum / 10, worst, moves);
}

/* Whether every part names others who are there, and pieces get to all who lack some. */
static bool sound(struct lsc_ring *ring, const bool *here, const bool *source, const bool *done,
		  uint32_t n)
{
	uint32_t reach[64], n_reach = 0, receivers = 0;
	struct lsc_ring_part parts[64];
	bool seen[64] = {0};

	for (uint32_t i = 0; i < n; i++) {
		lsc_ring_part(ring, i, &parts[i]);
		receivers += here[i] && !source[i] && !done[i];
		if (parts[i].n_to > LSC_RING_MAX_TO || (!here[i] && parts[i].n_to) ||
		    parts[i].first < 0 || parts[i].first >= 1)
			return false;
		for (uint32_t k = 0; k < parts[i].n_to; k++) {
			uint32_t to = parts[i].to[k].node;

			if (to >= n || to == i || !here[to] || source[to] ||
			    parts[i].to[k].inject != source[i])
				return false;
		}
		/* All who have everything, or anyone where nobody has. */
		if (here[i] && (source[i] || done[i])) {
			seen[i] = true;
			reach[n_reach++] = i;
		}
	}
	for (uint32_t i = 0; i < n && !n_reach; i++) {
		if (here[i])
			reach[n_reach++] = i;
		seen[i] = here[i];
	}
	for (uint32_t at = 0; at < n_reach; at++) {
		for (uint32_t k = 0; k < parts[reach[at]].n_to; k++) {
			uint32_t to = parts[reach[at]].to[k].node;

			if (!seen[to])
				reach[n_reach++] = to;
			seen[to] = true;
		}
	}
	for (uint32_t at = 0; at < n_reach; at++)
		receivers -= !source[reach[at]] && !done[reach[at]];
	return receivers == 0;
}

/* Who sends to a node, if that is one alone; LSC_RING_NONE. */
static uint32_t only_feeder(struct lsc_ring *ring, uint32_t to, uint32_t n)
{
	uint32_t feeder = LSC_RING_NONE, many = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct lsc_ring_part part;

		lsc_ring_part(ring, i, &part);
		for (uint32_t k = 0; k < part.n_to; k++)
			if (part.to[k].node == to) {
				feeder = i;
				many++;
			}
	}
	return many == 1 ? feeder : LSC_RING_NONE;
}

/* Three slow ones that alone lack something get it from those who have it, each from one. */
static void test_end(bool part)
{
	const uint64_t bytes = 1 << 30, second = 1000000000;
	uint32_t feeder, other;
	struct lsc_ring *ring;
	uint64_t now = 1;

	if (!ok(lsc_ring_new(&ring, 6, bytes, false, &err) == 0, "a ring"))
		return;
	for (uint32_t i = 0; i < 6; i++)
		lsc_ring_join(ring, i, i == 0, now);
	lsc_ring_held(ring, 0, bytes - part, now);
	lsc_ring_step(ring, now);
	for (uint32_t i = 3; i < 6; i++) {
		ring->nodes[i].slow = true;
		ring->nodes[i].best = ring->nodes[i].rate = 1e7 * (6 - i);
		lsc_ring_move(ring, i);
	}
	lsc_ring_held(ring, 1, bytes, now);
	lsc_ring_step(ring, now += second);
	ok(only_feeder(ring, 5, 6) == 4, "until all who keep up have everything they are a ring");
	lsc_ring_held(ring, 2, bytes, now);
	lsc_ring_step(ring, now += second);
	for (uint32_t i = 3; i < 6; i++)
		ok(only_feeder(ring, i, 6) == i - 3 + part,
		   "then node %u is fed by one who has everything, as far as there are such", i);
	if (part) { /* a source that does not have it all feeds nobody */
		lsc_ring_free(ring);
		return;
	}
	lsc_ring_leave(ring, 1, now);
	lsc_ring_step(ring, now += second);
	feeder = only_feeder(ring, 3, 6);
	other = only_feeder(ring, 4, 6);
	ok(feeder + other == 2 && feeder != other, "one of them dies, and the fastest are fed");
	is_int(only_feeder(ring, 5, 6), 3, "the slowest hangs on behind the fastest");
	for (uint32_t i = 0; i < 30; i++)
		for (uint32_t id = 3; id < 6; id++)
			lsc_ring_held(ring, id, 1 << 20, now += second / 30);
	lsc_ring_step(ring, now);
	ok(only_feeder(ring, 3, 6) == other && only_feeder(ring, 4, 6) == feeder,
	   "they get nothing, and feeders change");
	lsc_ring_free(ring);
}

/* Whatever is told, parts stay such that a cast would end. */
static void test_anything(void)
{
	struct sim sim = {.random = 7};
	uint32_t unsound = 0, casts = 400;

	for (uint32_t cast = 0; cast < casts; cast++) {
		uint32_t n = 2 + (uint32_t)(draw(&sim) * 20), sources = (uint32_t)(draw(&sim) * 5);
		bool here[64] = {0}, source[64] = {0}, done[64] = {0};
		uint64_t held[64] = {0}, sent[64] = {0}, now = 1;
		struct lsc_ring *ring;

		if (lsc_ring_new(&ring, n, 1 << 30, cast & 1, &err) < 0)
			break;
		for (uint32_t step_no = 0; step_no < 200; step_no++, now += 200000000) {
			for (uint32_t i = 0; i < n; i++) {
				struct lsc_ring_part part;

				if (!here[i] && draw(&sim) < (step_no ? 0.02 : 0.8)) {
					source[i] = !step_no && i < sources;
					lsc_ring_join(ring, i, source[i], now);
					here[i] = true;
					held[i] = 0;
				} else if (here[i] && draw(&sim) < 0.02) {
					lsc_ring_leave(ring, i, now);
					here[i] = false;
				}
				held[i] += (uint64_t)(draw(&sim) * (1 << 24));
				if (step_no == 0 && draw(&sim) < 0.5)
					continue;
				lsc_ring_held(ring, i, LSC_MIN(held[i], 1u << 30), now);
				done[i] = here[i] && held[i] >= 1u << 30;
				lsc_ring_part(ring, i, &part);
				for (uint32_t k = 0; k < part.n_to; k++)
					lsc_ring_sent(ring, i, part.to[k].node,
						      sent[i] += (uint64_t)(draw(&sim) * (1 << 24)),
						      (uint64_t)(draw(&sim) * held[i]), now);
			}
			lsc_ring_step(ring, now);
			unsound += !sound(ring, here, source, done, n);
		}
		lsc_ring_free(ring);
	}
	is_int(unsound, 0, "%u casts of nodes that come, go and report anything", casts);
}

int main(int argc, char **argv)
{
	seed = argc > 1 ? strtoull(argv[1], NULL, 10) * 1000003 : 0;
	for (every = 0.1; every < 0.25; every += 0.1) {
		printf("# reports every %.1f s\n", every);
		test_uniform();
		test_one_slow(true);
		test_one_slow(false);
		test_mixed();
		test_push();
		test_late();
		test_jitter();
		test_stalls();
	}
	every = 0.1;
	test_source_speed();
	test_sources();
	test_receiver_dies();
	test_source_dies();
	test_partial();
	test_part_sources();
	test_end(false);
	test_end(true);
	test_anything();
	return done_testing();
}
