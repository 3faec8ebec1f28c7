/* forecast: who feeds whom, held to all steps of the schedule; times */
#include "tap.h"

#include "base/cleanup.h"
#include "send/forecast.h"

#define MAX 40

static char names[MAX][8];
static char *pointers[MAX];

/* Every transfer of the schedule goes along an edge, and along every edge there is one. */
static bool edges_are_those_of(const struct lsc_forecast *f)
{
	static bool used[MAX][MAX];
	uint32_t n = 0;

	memset(used, 0, sizeof(used));
	for (uint32_t rank = 0; rank < f->schedule.nodes; rank++) {
		struct lsc_part part;

		lsc_part_init(&part, &f->schedule, rank);
		for (uint32_t round = 0; round < f->schedule.rounds; round++) {
			struct lsc_step step = lsc_part_step(&part, round);

			if (step.recv_from != LSC_NOBODY)
				used[step.recv_from][rank] = true;
		}
	}
	for (uint32_t i = 0; i < f->n_edges; i++)
		if (!used[f->edges[i] >> 32][(uint32_t)f->edges[i]])
			return false;
	for (uint32_t from = 0; from < MAX; from++)
		for (uint32_t to = 0; to < MAX; to++)
			n += used[from][to];
	return n == f->n_edges;
}

static void test_edges(void)
{
	const struct lsc_image image = {.bytes = 50 << 20, .piece_bytes = 1 << 20, .n_pieces = 50};

	for (int order = 0; order < LSC_ORDER_COUNT; order++) {
		unsigned good = 0, all = 0;

		for (uint32_t n_to = 1; n_to < MAX - 4; n_to++) {
			for (uint32_t n_sources = 0; n_sources < 4; n_sources++, all++) {
				LSC_CLEANUP(lsc_forecast_release)
				struct lsc_forecast f = {
					.image = &image,
					.name = "x",
					.order = order,
					.order_name = lsc_order_name(order),
					.sources = pointers,
					.n_sources = n_sources,
					.to = pointers + n_sources,
					.n_to = n_to,
				};

				good += lsc_forecast_make(&f, NULL) == 0 && edges_are_those_of(&f);
			}
		}
		is_int(good, all, "%s: who feeds whom", lsc_order_name(order));
	}
}

static void test_words(void)
{
	const struct lsc_image image = {
		.bytes = 100000000, .piece_bytes = 1000000, .n_pieces = 100, .n_blocks = 7};
	LSC_CLEANUP(lsc_forecast_release)
	struct lsc_forecast f = {
		.image = &image,
		.name = "m.lsc",
		.to = pointers,
		.n_to = 3,
		.order = LSC_ORDER_CHAIN,
		.order_name = "chain",
		.speed = 1e7,
	};
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT, json = LSC_BUF_INIT;

	is_int(lsc_forecast_make(&f, NULL), 0, "a chain");
	lsc_forecast_text(&f, &text);
	is_str((char *)text.data,
	       "'m.lsc': 100000000 bytes, 100 pieces in 7 blocks, to 3 nodes from 1, chain order\n"
	       "  local feeds n0\n"
	       "  n0    feeds n1\n"
	       "  n1    feeds n2\n"
	       "predicted: 10.2 s, 1.02 x one copy at 10 MB/s (102 rounds of a piece)\n",
	       "for people");
	lsc_forecast_json(&f, &json);
	is_str((char *)json.data,
	       "{\"type\":\"plan\",\"image\":\"m.lsc\",\"bytes\":100000000,\"pieces\":100,"
	       "\"piece_bytes\":1000000,\"blocks\":7,\"order\":\"chain\",\"rounds\":102,"
	       "\"copies\":1.02,\"rate\":10000000.0,\"seconds\":10.2,\"nodes\":["
	       "{\"node\":0,\"name\":\"local\",\"role\":\"source\",\"feeds\":[1]},"
	       "{\"node\":1,\"name\":\"n0\",\"role\":\"receiver\",\"feeds\":[2]},"
	       "{\"node\":2,\"name\":\"n1\",\"role\":\"receiver\",\"feeds\":[3]},"
	       "{\"node\":3,\"name\":\"n2\",\"role\":\"receiver\",\"feeds\":[]}]}\n",
	       "as JSON");
	f.n_to = LSC_SCHEDULE_MAX_NODES;
	is_int(lsc_forecast_make(&f, NULL), -EINVAL, "too many nodes");
}

int main(void)
{
	for (int i = 0; i < MAX; i++) {
		sprintf(names[i], "n%d", i);
		pointers[i] = names[i];
	}
	test_edges();
	test_words();
	return done_testing();
}
