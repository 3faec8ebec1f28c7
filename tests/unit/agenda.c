/* agenda: the steps of a schedule, each done once, in the order of rounds where nothing is late */
#include "tap.h"

#include "base/macros.h"
#include "cast/agenda.h"

static struct lsc_err err;

/* Runs all nodes' agendas in rounds: in each, every node takes its next step with what it held
 * before.  Returns the number of rounds, 0 where someone lacks a piece or got one twice. */
static uint32_t run(const struct lsc_schedule *s)
{
	struct lsc_agenda *agendas = calloc(s->nodes, sizeof(*agendas));
	uint8_t *held = calloc(s->nodes, s->pieces);
	bool *busy = calloc(s->nodes, sizeof(bool));
	uint32_t missing = (s->nodes - s->sources) * s->pieces, rounds = 0;
	bool twice = false;

	for (uint32_t rank = 0; rank < s->nodes; rank++) {
		lsc_agenda_init(&agendas[rank], s, rank, &err);
		for (uint32_t p = 0; rank < s->sources && p < s->pieces; p++) {
			held[rank * s->pieces + p] = 1;
			lsc_agenda_arrived(&agendas[rank], p);
		}
	}
	while (missing && rounds < 4 * s->rounds + 8) {
		uint32_t to[256], what[256];

		rounds++;
		for (uint32_t rank = 0; rank < s->nodes; rank++) {
			uint32_t peer;

			to[rank] = LSC_NOBODY;
			if (lsc_agenda_next(&agendas[rank], busy, &peer, &what[rank]))
				to[rank] = agendas[rank].peer_ranks[peer];
		}
		for (uint32_t rank = 0; rank < s->nodes; rank++) {
			if (to[rank] == LSC_NOBODY)
				continue;
			twice = twice || held[to[rank] * s->pieces + what[rank]]++;
			missing--;
			lsc_agenda_arrived(&agendas[to[rank]], what[rank]);
			lsc_agenda_arrived(&agendas[to[rank]], what[rank]);
		}
	}
	for (uint32_t rank = 0; rank < s->nodes; rank++) {
		for (uint32_t i = 0; i < agendas[rank].n_peers; i++)
			twice = twice || agendas[rank].left[i];
		lsc_agenda_release(&agendas[rank]);
	}
	free(agendas);
	free(held);
	free(busy);
	return missing || twice ? 0 : rounds;
}

static void test_orders(void)
{
	static const uint32_t nodes[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 23, 64};
	static const uint32_t pieces[] = {1, 2, 5, 40};

	for (int order = 0; order < LSC_ORDER_COUNT; order++) {
		uint32_t worst = 0, runs = 0, bad = 0;

		for (unsigned n = 0; n < LSC_ARRAY_SIZE(nodes); n++)
			for (unsigned p = 0; p < LSC_ARRAY_SIZE(pieces); p++)
				for (uint32_t k = 1; k <= LSC_MIN(nodes[n], 3u); k++) {
					struct lsc_schedule s;
					uint32_t rounds;

					if (lsc_schedule_init(&s, order, nodes[n], k, pieces[p],
							      &err) < 0) {
						bad++;
						continue;
					}
					rounds = run(&s);
					bad += rounds == 0 && nodes[n] > k;
					worst = LSC_MAX(worst,
							rounds > s.rounds ? rounds - s.rounds : 0);
					runs++;
				}
		ok(runs > 100 && bad == 0, "%s: everyone gets everything once",
		   lsc_order_name(order));
		is_int(worst, 0, "%s: in no more rounds than the schedule takes",
		       lsc_order_name(order));
	}
}

static void test_steps(void)
{
	struct lsc_schedule s;
	struct lsc_agenda agenda;
	bool busy[8] = {0};
	uint32_t peer, piece;

	lsc_schedule_init(&s, LSC_ORDER_TREE, 3, 1, 3, &err);
	lsc_agenda_init(&agenda, &s, 0, &err);
	is_int(agenda.n_peers, 2, "the root of a tree of three has two peers");
	ok(!lsc_agenda_next(&agenda, busy, &peer, &piece), "nothing is ready before it arrived");
	lsc_agenda_arrived(&agenda, 2);
	lsc_agenda_arrived(&agenda, 0);
	ok(lsc_agenda_next(&agenda, busy, &peer, &piece) && piece == 0 && peer == 0,
	   "the earliest round goes first, in whatever order pieces come");
	busy[peer] = true;
	ok(lsc_agenda_next(&agenda, busy, &peer, &piece) && piece == 0 && peer == 1,
	   "then the other child's");
	ok(lsc_agenda_next(&agenda, busy, &peer, &piece) && piece == 2 && peer == 1,
	   "a busy peer is passed over, and a piece that is late");
	busy[0] = false;
	lsc_agenda_skip(&agenda, 0, 2);
	lsc_agenda_skip(&agenda, 1, 1);
	lsc_agenda_skip(&agenda, 1, 1);
	ok(!lsc_agenda_next(&agenda, busy, &peer, &piece), "what a peer has is not sent to it");
	lsc_agenda_arrived(&agenda, 1);
	ok(lsc_agenda_next(&agenda, busy, &peer, &piece) && piece == 1 && peer == 0,
	   "neither when it arrives later");
	ok(!lsc_agenda_next(&agenda, busy, &peer, &piece) && !agenda.left[0] && !agenda.left[1],
	   "and then all is done");
	lsc_agenda_release(&agenda);
}

/* What a peer may have us set up is bounded. */
static void test_limit(void)
{
	struct lsc_schedule s;
	struct lsc_agenda agenda;

	lsc_schedule_init(&s, LSC_ORDER_SEQUENTIAL, 4096, 1, 1u << 20, &err);
	is_int(lsc_agenda_init(&agenda, &s, 0, &err), -EINVAL, "too many rounds: %s", err.text);
	lsc_agenda_release(&agenda);
	lsc_schedule_init(&s, LSC_ORDER_TREE, 4096, 1, LSC_SCHEDULE_MAX_PIECES, &err);
	is_int(lsc_agenda_check(&s, &err), 0, "the largest image may be cast to many by a tree");
}

int main(void)
{
	test_orders();
	test_steps();
	test_limit();
	return done_testing();
}
