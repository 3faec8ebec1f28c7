/* schedule: rounds and proofs for every order and many sizes; the proof finds what is broken */
#include "tap.h"

#include "base/cleanup.h"
#include "base/macros.h"
#include "plan/schedule.h"

static struct lsc_err err;

static uint32_t log2_up(uint32_t n)
{
	uint32_t log = 0;

	while ((1ull << log) < n)
		log++;
	return log;
}

/* Whether the proof holds and it takes that many rounds; says what is wrong. */
static bool proven(enum lsc_order order, uint32_t nodes, uint32_t sources, uint32_t pieces,
		   uint32_t rounds, uint32_t *ret_covered)
{
	struct lsc_schedule schedule;
	const char *name = lsc_order_name(order);

	err.text[0] = 0;
	if (lsc_schedule_init(&schedule, order, nodes, sources, pieces, &err) < 0 ||
	    lsc_schedule_check(&schedule, ret_covered, &err) < 0) {
		printf("# %s, %u nodes, %u sources, %u pieces: %s\n", name, nodes, sources, pieces,
		       err.text);
		return false;
	}
	if (schedule.rounds == rounds)
		return true;
	printf("# %s, %u nodes, %u sources, %u pieces: %u rounds, want %u\n", name, nodes, sources,
	       pieces, schedule.rounds, rounds);
	return false;
}

static void test_round_optimal(void)
{
	bool good = true;
	uint32_t covered;

	for (uint32_t n = 2; n <= 128 && good; n++)
		for (uint32_t b = 1; b <= 64 && good; b++)
			good = proven(LSC_ORDER_ROUND_OPTIMAL, n, 1, b, b + log2_up(n) - 1,
				      &covered) &&
			       covered == b;
	ok(good, "round-optimal: b + ceil(log2 N) - 1 rounds for N to 128 and b to 64");

	for (uint32_t n = 129; n <= 1100 && good; n += 7)
		good = proven(LSC_ORDER_ROUND_OPTIMAL, n, 1, 13, 12 + log2_up(n), &covered);
	good = good && proven(LSC_ORDER_ROUND_OPTIMAL, 65536, 1, 5, 4 + 16, &covered) &&
	       proven(LSC_ORDER_ROUND_OPTIMAL, 65535, 1, 18, 17 + 16, &covered) &&
	       proven(LSC_ORDER_ROUND_OPTIMAL, 32769, 1, 33, 32 + 16, &covered) &&
	       proven(LSC_ORDER_ROUND_OPTIMAL, 2, 1, 100000, 100000, &covered);
	ok(good, "round-optimal: larger ones");
}

static void test_kway(void)
{
	static const uint32_t pieces[] = {1, 2, 3, 5, 8, 13, 16, 31, 64};
	bool good = true, soon = true;
	uint32_t covered = 0;

	for (uint32_t k = 1; k <= 9; k++) {
		for (uint32_t n = 2 * k; n <= 128 && good; n += n < 40 ? 1 : 3) {
			for (size_t i = 0; i < LSC_ARRAY_SIZE(pieces) && good; i++) {
				uint32_t b = pieces[i];
				uint32_t log = log2_up((uint32_t)lsc_div_up(n, k));

				good = proven(LSC_ORDER_KWAY, n, k, b, b + log - 1, &covered);
				soon = soon && covered == lsc_div_up(b, k);
			}
		}
	}
	ok(good, "kway: b + ceil(log2(N/k)) - 1 rounds, for N to 128 and k to 9");
	ok(soon, "kway: the groups together hold everything after ceil(b/k) rounds");
	ok(proven(LSC_ORDER_KWAY, 11, 8, 24, 24, &covered) && covered == 8,
	   "kway: groups without a receiver leave the pieces to the others");
	ok(proven(LSC_ORDER_KWAY, 5, 5, 7, 0, &covered) && covered == 0, "kway: no receivers");
}

/* The bound that is promised, for N nodes in all of which k are sources, and so k groups: whenever
 * each group has a receiver, what the receivers of all groups hold together is everything after at
 * most ceil(b/k) + ceil(log2(N/k)) rounds.  (2^q >= N/k and 2^q >= ceil(N/k) are the same.) */
static void test_kway_bound(void)
{
	uint32_t proofs = 0, covered = 0;
	bool good = true;

	for (uint32_t k = 1; k <= 16; k++) {
		for (uint32_t n = 2 * k; n <= 128 && good; n += n < 48 ? 1 : 5) {
			for (uint32_t b = 1; b <= 64 && good; b += b < 24 ? 1 : 4, proofs++) {
				uint32_t log = log2_up((uint32_t)lsc_div_up(n, k));

				good = proven(LSC_ORDER_KWAY, n, k, b, b + log - 1, &covered) &&
				       covered <= lsc_div_up(b, k) + log;
			}
		}
	}
	ok(good && proofs > 10000,
	   "kway: k groups together hold everything within ceil(b/k) + ceil(log2(N/k)), %u proofs",
	   proofs);
}

/* After how many rounds every receiver of a group holds the first n blocks of its order. */
static uint32_t prefix_rounds(const struct lsc_schedule *schedule, uint32_t group, uint32_t n)
{
	uint32_t last = 0;

	for (uint32_t p = 1; p < lsc_schedule_group_size(schedule, group); p++) {
		struct lsc_part part;

		lsc_part_init(&part, schedule, lsc_schedule_rank(schedule, group, p));
		for (uint32_t round = 0; round < schedule->rounds; round++) {
			struct lsc_step step = lsc_part_step(&part, round);
			uint32_t block = (step.recv_piece + schedule->pieces - part.first) %
					 schedule->pieces;

			if (step.recv_from != LSC_NOBODY && block < n)
				last = LSC_MAX(last, round + 1);
		}
	}
	return last;
}

/* One node of each group, any one, makes a pipeline once they all hold their group's own share. */
static void test_kway_pipelines(void)
{
	bool good = true;

	for (uint32_t k = 1; k <= 5 && good; k++) {
		for (uint32_t n = 2 * k; n <= 70 && good; n++) {
			for (uint32_t b = 1; b <= 40 && good; b += 3) {
				struct lsc_schedule schedule;
				uint32_t share = (uint32_t)lsc_div_up(b, k);
				uint32_t log = log2_up((uint32_t)lsc_div_up(n, k));

				if (lsc_schedule_init(&schedule, LSC_ORDER_KWAY, n, k, b, &err) < 0)
					good = false;
				for (uint32_t g = 0; g < k && good; g++)
					good = prefix_rounds(&schedule, g, share) <=
					       share + 2 * (log - 1);
			}
		}
	}
	ok(good,
	   "kway: every node holds its group's share after ceil(b/k) + 2 ceil(log2(N/k)) - 2");
}

static uint32_t heap_depth_rounds(uint32_t size, uint32_t b)
{
	uint32_t first[64] = {0}, worst = 0;

	for (uint32_t p = 1; p < size; p++) {
		first[p] = first[(p - 1) / 2] + (p % 2 ? 1 : 2);
		worst = LSC_MAX(worst, first[p]);
	}
	return size < 2 ? 0 : worst + (size > 2 ? 2 : 1) * (b - 1);
}

static void test_baselines(void)
{
	bool chain = true, tree = true, sequential = true, split = true;
	uint32_t covered;

	for (uint32_t n = 1; n <= 60; n++) {
		for (uint32_t k = 1; k <= n && k <= 4; k++) {
			for (uint32_t b = 1; b <= 9; b++) {
				uint32_t size = (n - 1) / k + 1;
				uint32_t none = size < 2;

				chain = chain && proven(LSC_ORDER_CHAIN, n, k, b,
							none ? 0 : b + size - 2, &covered);
				tree = tree && proven(LSC_ORDER_TREE, n, k, b,
						      heap_depth_rounds(size, b), &covered);
				sequential = sequential && proven(LSC_ORDER_SEQUENTIAL, n, k, b,
								  b * (size - 1), &covered);
				split = split && proven(LSC_ORDER_ROUND_OPTIMAL, n, k, b,
							none ? 0 : b + log2_up(size) - 1, &covered);
			}
		}
	}
	ok(chain, "chain: b + N - 2 rounds");
	ok(tree, "tree: two rounds a piece after the way down");
	ok(sequential, "sequential: b (N - 1) rounds");
	ok(split, "round-optimal with several sources");
}

/* --- broken schedules --- */

struct broken {
	const struct lsc_part *parts;
	uint32_t rank, round; /* where the step is another one */
	struct lsc_step step;
	uint32_t shift; /* rounds by which everything is late */
};

static struct lsc_step broken_step(const void *data, uint32_t rank, uint32_t round)
{
	const struct broken *broken = data;

	if (rank == broken->rank && round == broken->round)
		return broken->step;
	if (round < broken->shift)
		return (struct lsc_step){LSC_NOBODY, 0, LSC_NOBODY, 0};
	return lsc_part_step(&broken->parts[rank], round - broken->shift);
}

static void expect_broken(const struct lsc_schedule *schedule, const struct broken *broken,
			  const char *text)
{
	uint32_t covered = 12345;
	int r = lsc_schedule_check_steps(schedule, broken_step, broken, &covered, &err);

	ok(r == -EBADMSG && covered == 12345 && !strcmp(err.text, text), "finds: %s", text);
	if (r >= 0 || strcmp(err.text, text))
		printf("# %d: %s\n", r, r < 0 ? err.text : "nothing found");
}

/* A chain of four nodes and three pieces: in round 2, node 0 sends piece 2 to node 1, node 1 sends
 * piece 1 to node 2, node 2 sends piece 0 to node 3. */
static void test_broken(void)
{
	static const struct {
		uint32_t rank, round;
		struct lsc_step step;
		const char *text;
	} cases[] = {
		{0,
		 2,
		 {1, 1, LSC_NOBODY, 0},
		 "round 2: node 1 expects piece 2 from node 0, but node 0 sends it piece 1"},
		{1,
		 2,
		 {2, 1, 0, 1},
		 "round 2: node 1 expects piece 1 from node 0, but node 0 sends it piece 2"},
		{1, 2, {2, 2, 0, 2}, "round 2: node 1 sends piece 2, which it does not hold"},
		{3,
		 0,
		 {2, 0, LSC_NOBODY, 0},
		 "round 0: node 3 sends piece 0, which it does not hold"},
		{1, 2, {3, 1, 0, 2}, "round 2: node 3 receives from node 1 and from node 2"},
		{0,
		 2,
		 {LSC_NOBODY, 0, LSC_NOBODY, 0},
		 "round 2: node 1 expects piece 2 from node 0, which does not send to it"},
		{1,
		 2,
		 {2, 1, LSC_NOBODY, 0},
		 "round 2: node 0 sends piece 2 to node 1, which does not expect it"},
		{1,
		 2,
		 {2, 1, 2, 2},
		 "round 2: node 1 expects piece 2 from node 2, but node 0 sends it piece 2"},
		{0, 2, {4, 2, LSC_NOBODY, 0}, "round 2: node 0 sends to node 4"},
		{0, 2, {0, 2, LSC_NOBODY, 0}, "round 2: node 0 sends to node 0"},
		{0, 2, {1, 3, LSC_NOBODY, 0}, "round 2: node 0 sends piece 3 of 3"},
		{3,
		 3,
		 {0, 0, 2, 1},
		 "round 3: node 3 sends piece 0 to node 0, which does not expect it"},
	};
	struct lsc_schedule schedule;
	struct lsc_part parts[4];
	struct broken broken = {.parts = parts, .rank = LSC_NOBODY};
	uint32_t covered = 0;

	lsc_schedule_init(&schedule, LSC_ORDER_CHAIN, 4, 1, 3, &err);
	for (uint32_t i = 0; i < 4; i++)
		lsc_part_init(&parts[i], &schedule, i);
	ok(lsc_schedule_check_steps(&schedule, broken_step, &broken, &covered, &err) == 0 &&
		   covered == 3,
	   "the chain that is broken below is right");
	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		broken.rank = cases[i].rank;
		broken.round = cases[i].round;
		broken.step = cases[i].step;
		expect_broken(&schedule, &broken, cases[i].text);
	}

	broken.rank = LSC_NOBODY;
	broken.shift = 1;
	expect_broken(&schedule, &broken, "round 0: nobody sends anything");
	broken.shift = 0;
	schedule.rounds = 4;
	expect_broken(&schedule, &broken, "node 3 lacks piece 2 after 4 rounds");
	schedule.rounds = 6;
	expect_broken(&schedule, &broken, "everyone holds everything after 5 of 6 rounds");
}

/* --- every single change of a right schedule is found --- */

/* A schedule as a table of its steps, which can be changed. */
struct table {
	struct lsc_schedule schedule;
	struct lsc_step *steps; /* [round][rank] */
};

static struct lsc_step *table_at(const struct table *table, uint32_t rank, uint32_t round)
{
	return &table->steps[(size_t)round * table->schedule.nodes + rank];
}

static struct lsc_step table_step(const void *data, uint32_t rank, uint32_t round)
{
	return *table_at(data, rank, round);
}

static bool is_wrong(const struct table *table)
{
	uint32_t covered;

	return lsc_schedule_check_steps(&table->schedule, table_step, table, &covered, &err) ==
	       -EBADMSG;
}

static void table_init(struct table *table, enum lsc_order order, uint32_t nodes, uint32_t sources,
		       uint32_t pieces)
{
	lsc_schedule_init(&table->schedule, order, nodes, sources, pieces, &err);
	table->steps = calloc((size_t)nodes * table->schedule.rounds, sizeof(table->steps[0]));
	for (uint32_t rank = 0; rank < nodes; rank++) {
		struct lsc_part part;

		lsc_part_init(&part, &table->schedule, rank);
		for (uint32_t round = 0; round < table->schedule.rounds; round++)
			*table_at(table, rank, round) = lsc_part_step(&part, round);
	}
}

/* Changes what one node thinks that it sends or receives, to every other value there is. */
static bool finds_one_sided(const struct table *table, struct lsc_step *step)
{
	const struct lsc_step was = *step;
	bool found = true;

	for (uint32_t other = 0; other <= table->schedule.nodes; other++) {
		uint32_t node = other < table->schedule.nodes ? other : LSC_NOBODY;

		if (node != was.send_to) {
			step->send_to = node;
			found = found && is_wrong(table);
			*step = was;
		}
		if (node != was.recv_from) {
			step->recv_from = node;
			found = found && is_wrong(table);
			*step = was;
		}
	}
	for (uint32_t piece = 0; piece <= table->schedule.pieces; piece++) {
		if (was.send_to != LSC_NOBODY && piece != was.send_piece) {
			step->send_piece = piece;
			found = found && is_wrong(table);
			*step = was;
		}
		if (was.recv_from != LSC_NOBODY && piece != was.recv_piece) {
			step->recv_piece = piece;
			found = found && is_wrong(table);
			*step = was;
		}
	}
	return found;
}

/* Changes a transfer in both its ends: leaves it out, takes another piece, another receiver. */
static bool finds_two_sided(const struct table *table, uint32_t rank, uint32_t round)
{
	struct lsc_step *from = table_at(table, rank, round), *to;
	struct lsc_step from_was = *from, to_was;
	bool found = true;

	if (from->send_to == LSC_NOBODY)
		return true;
	to = table_at(table, from->send_to, round);
	to_was = *to;
	for (uint32_t piece = 0; piece < table->schedule.pieces; piece++) {
		if (piece == from_was.send_piece)
			continue;
		from->send_piece = to->recv_piece = piece;
		found = found && is_wrong(table);
	}
	*from = from_was;
	*to = to_was;
	from->send_to = to->recv_from = LSC_NOBODY;
	found = found && is_wrong(table);
	for (uint32_t other = 0; other < table->schedule.nodes; other++) {
		struct lsc_step *third = table_at(table, other, round);
		struct lsc_step third_was = *third;

		if (other == from_was.send_to || other == rank || third->recv_from != LSC_NOBODY)
			continue;
		from->send_to = other;
		third->recv_from = rank;
		third->recv_piece = from->send_piece;
		found = found && is_wrong(table);
		*third = third_was;
	}
	*from = from_was;
	*to = to_was;
	return found;
}

static void test_changed(enum lsc_order order, uint32_t nodes, uint32_t sources, uint32_t pieces)
{
	struct table table;
	bool one = true, two = true;

	table_init(&table, order, nodes, sources, pieces);
	for (uint32_t round = 0; round < table.schedule.rounds; round++) {
		for (uint32_t rank = 0; rank < nodes; rank++) {
			one = one && finds_one_sided(&table, table_at(&table, rank, round));
			two = two && finds_two_sided(&table, rank, round);
		}
	}
	ok(!is_wrong(&table) && one && two,
	   "%s, %u nodes, %u sources, %u pieces: no change of a transfer goes unnoticed",
	   lsc_order_name(order), nodes, sources, pieces);
	free(table.steps);
}

static struct lsc_step twice_step(const void *data, uint32_t rank, uint32_t round)
{
	struct lsc_step step = {LSC_NOBODY, 0, LSC_NOBODY, 0};

	(void)data;
	(void)round;
	if (!rank)
		step.send_to = 1;
	else
		step.recv_from = 0;
	return step;
}

static void test_twice(void)
{
	struct lsc_schedule schedule = {LSC_ORDER_CHAIN, 2, 1, 2, 2};
	uint32_t covered;

	is_int(lsc_schedule_check_steps(&schedule, twice_step, NULL, &covered, &err), -EBADMSG,
	       "a piece sent twice is found");
	is_str(err.text, "round 1: node 1 gets piece 0, which it holds already", "and named");
}

static void expect_refused(enum lsc_order order, uint32_t nodes, uint32_t sources, uint32_t pieces,
			   const char *text)
{
	struct lsc_schedule schedule = {.rounds = 77};
	int r = lsc_schedule_init(&schedule, order, nodes, sources, pieces, &err);

	ok(r == -EINVAL && schedule.rounds == 77 && strstr(err.text, text), "refuses: %s", text);
}

static void test_limits(void)
{
	struct lsc_schedule schedule;
	struct lsc_part part;
	struct lsc_step step;
	enum lsc_order order;
	uint32_t covered;

	expect_refused(LSC_ORDER_CHAIN, 0, 1, 1, "0 nodes");
	expect_refused(LSC_ORDER_CHAIN, 65537, 1, 1, "65537 nodes");
	expect_refused(LSC_ORDER_CHAIN, 2, 0, 1, "0 sources");
	expect_refused(LSC_ORDER_CHAIN, 2, 3, 1, "3 sources among 2 nodes");
	expect_refused(LSC_ORDER_CHAIN, 2, 1, 0, "0 pieces");
	expect_refused(LSC_ORDER_CHAIN, 2, 1, LSC_SCHEDULE_MAX_PIECES + 1, "4194305 pieces");
	expect_refused(LSC_ORDER_SEQUENTIAL, 65536, 1, LSC_SCHEDULE_MAX_PIECES,
		       "274873712640 rounds in sequential order");
	is_int(lsc_schedule_init(&schedule, LSC_ORDER_ROUND_OPTIMAL, 65536, 1,
				 LSC_SCHEDULE_MAX_PIECES, &err),
	       0, "the largest schedule there is");
	is_int(lsc_schedule_check(&schedule, &covered, &err), -EINVAL,
	       "which is too large to prove");
	lsc_part_init(&part, &schedule, 65535);
	step = lsc_part_step(&part, schedule.rounds - 1);
	ok(step.recv_from != LSC_NOBODY && step.recv_piece < LSC_SCHEDULE_MAX_PIECES,
	   "its last round");
	step = lsc_part_step(&part, schedule.rounds);
	ok(step.recv_from == LSC_NOBODY && step.send_to == LSC_NOBODY, "nothing after it");
	step = lsc_part_step(&part, UINT32_MAX);
	ok(step.recv_from == LSC_NOBODY && step.send_to == LSC_NOBODY, "nothing ever after");

	for (int i = 0; i < LSC_ORDER_COUNT; i++)
		ok(lsc_order_parse(lsc_order_name(i), &order, &err) == 0 && (int)order == i,
		   "order %s by name", lsc_order_name(i));
	ok(lsc_chain_is_fastest(2, 1) && lsc_chain_is_fastest(9, 1024) &&
		   !lsc_chain_is_fastest(9, 100) && !lsc_chain_is_fastest(1025, 1024),
	   "a chain is chosen while it is short against the pieces");
	ok(lsc_order_parse("random", &order, &err) == -EINVAL && strstr(err.text, "'random'"),
	   "no other order");
}

int main(void)
{
	test_round_optimal();
	test_kway();
	test_kway_bound();
	test_kway_pipelines();
	test_baselines();
	test_broken();
	test_changed(LSC_ORDER_ROUND_OPTIMAL, 7, 1, 5);
	test_changed(LSC_ORDER_ROUND_OPTIMAL, 8, 1, 4);
	test_changed(LSC_ORDER_KWAY, 9, 2, 5);
	test_changed(LSC_ORDER_TREE, 6, 1, 3);
	test_twice();
	test_limits();
	return done_testing();
}
