/* Which nodes a request goes to, by what they hold, how fast they are and how much they have to do.
 * No worker is there: what one would say of itself is written down. */
#include "route/way.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tap.h"
#include "told.h"

#define MAX_NODES 8

static struct lsc_image image = LSC_IMAGE_INIT;
static struct lsc_loop *loop;
static struct lsc_router router;
static struct lsc_router_request request;
static unsigned taken[MAX_NODES]; /* requests whose route has the node */
static enum lsc_cover_sources sources = LSC_SOURCES_ASSIST;
static uint32_t n_sources; /* of the nodes, the first */

static void on_route(struct lsc_router_request *it)
{
	(void)it;
}

static const struct lsc_router_events events = {.on_route = on_route};

/* n nodes, receivers but for n_sources, that can be reached and hold the blocks from first[i] to
 * last[i]. */
static void begin(uint32_t n, const uint32_t *first, const uint32_t *last)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_router_init(&router, &image, loop, sources, 0, 0, &events, &err) < 0)
		ok(false, "a router: %s", err.text);
	memset(taken, 0, sizeof(taken));
	tell_cast(&router, n);
	for (uint32_t i = 0; i < n; i++) {
		tell_node(&router, i, i < n_sources ? "source" : "receiver", NULL);
		router.fleet.nodes[i]->open = true;
		for (uint32_t b = first[i]; b <= last[i] && i >= n_sources; b++)
			tell_block(&router, i, b);
		if (i >= n_sources && !first[i] && last[i] + 1 == image.n_blocks)
			tell_complete(&router, i);
	}
	lsc_fleet_end(&router.fleet);
}

static void end(void)
{
	for (uint32_t i = 0; i < router.fleet.n_nodes; i++)
		router.fleet.nodes[i]->open = false;
	lsc_router_release(&router);
}

static void begin_whole(uint32_t n)
{
	static const uint32_t first[MAX_NODES];
	uint32_t last[MAX_NODES];

	for (uint32_t i = 0; i < n; i++)
		last[i] = image.n_blocks - 1;
	begin(n, first, last);
}

static struct lsc_fleet_node *node(uint32_t rank)
{
	return router.fleet.nodes[rank];
}

/* Routes so many requests, none of which ends. */
static bool take(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (lsc_router_find_route(&router, &request) <= 0)
			return false;
		for (uint32_t s = 0; s < request.cover.n; s++) {
			uint32_t rank = request.cover.stages[s].node;

			taken[rank]++;
			node(rank)->busy++;
			node(rank)->busy_units +=
				request.cover.stages[s].last - request.cover.stages[s].first + 1;
		}
	}
	return true;
}

static void test_local(void)
{
	begin_whole(3);
	ok(take(30) && taken[0] == 10 && taken[1] == 10 && taken[2] == 10,
	   "nodes that are alike get as many each");
	end();

	begin_whole(2);
	node(0)->state.unit_s = 0.003;
	node(1)->state.unit_s = 0.001;
	take(40);
	ok(taken[0] + taken[1] == 40 && taken[1] >= 28 && taken[1] <= 32,
	   "one that is three times as fast gets three times as many: %u and %u", taken[0],
	   taken[1]);
	end();

	begin_whole(2);
	node(0)->state.unit_s = 0.00103;
	node(1)->state.unit_s = 0.001;
	ok(take(40) && taken[0] == 20, "what differs by noise counts as alike");
	end();

	begin_whole(3);
	node(0)->state.unit_s = 0.001;
	node(1)->state.unit_s = 0.004;
	ok(take(1) && taken[0] == 1 && take(1) && taken[0] == 1 + !taken[2],
	   "one that was not measured is taken for a usual one");
	end();

	begin_whole(2);
	node(0)->others = 10;
	ok(take(10) && taken[1] == 10 && take(10) && taken[0] == 5,
	   "what a node has of other routers counts");
	node(1)->doubt = 1;
	memset(taken, 0, sizeof(taken));
	ok(take(4) && taken[0] == 4, "a failure weighs as much as four requests");
	node(0)->leaving = true;
	ok(take(3) && taken[1] == 3, "one that leaves gets none");
	node(1)->leaving = true;
	ok(!take(1) && lsc_router_find_route(&router, &request) == 0,
	   "where all leave, requests wait");
	end();
}

/* Two pairs of nodes, each of which holds all of it together: the second is twice as fast. */
static void test_pipeline(void)
{
	uint32_t half = image.n_blocks / 2;
	/* the embedding is in the last block, with the head */
	const uint32_t first[] = {0, half, 0, half};
	const uint32_t last[] = {half - 1, image.n_blocks - 1, half - 1, image.n_blocks - 1};
	unsigned slow, fast;

	begin(4, first, last);
	ok(take(40), "requests over pipelines");
	slow = taken[0], fast = taken[2];
	ok(slow >= 15 && fast >= 15, "nodes that are alike get as many each: %u and %u", slow,
	   fast);
	end();

	begin(4, first, last);
	for (uint32_t i = 0; i < 4; i++)
		node(i)->state.unit_s = i < 2 ? 0.002 : 0.001;
	take(60);
	ok(taken[2] > taken[0] * 3 / 2 && taken[2] < taken[0] * 3,
	   "those that are twice as fast get about twice as many: %u and %u", taken[0], taken[2]);
	end();

	begin(4, first, last);
	node(1)->leaving = true;
	node(2)->leaving = true;
	ok(take(10) && taken[0] == 10 && taken[3] >= 10 && !taken[1] && !taken[2],
	   "what leaves takes no part");
	ok(!lsc_router_has_leaving(&router, &request), "so nothing on the route leaves");
	node(3)->leaving = true;
	ok(lsc_router_has_leaving(&router, &request), "until it does");
	end();
}

static uint32_t units_at(uint32_t rank)
{
	uint32_t units = 0;

	for (uint32_t s = 0; s < request.cover.n; s++)
		if (request.cover.stages[s].node == rank)
			units += request.cover.stages[s].last - request.cover.stages[s].first + 1;
	return units;
}

/* A source that serves, and two receivers: the first has the second quarter, the other the third.
 */
static void test_relief(void)
{
	uint32_t quarter = image.n_blocks / 4;
	const uint32_t first[] = {0, quarter, 2 * quarter};
	const uint32_t last[] = {0, 2 * quarter - 1, 3 * quarter - 1};
	const uint32_t little[] = {0, quarter, quarter};
	struct lsc_cover cover;

	sources = LSC_SOURCES_SERVE;
	n_sources = 1;
	begin(3, first, last);
	ok(take(1) && request.local && taken[0] == 1, "a source that is idle answers alone");
	ok(take(1) && !request.local && units_at(1) && units_at(2),
	   "while it is busy, receivers take off it what they hold");
	ok(units_at(0) + units_at(1) + units_at(2) == image.n_units &&
		   units_at(0) < image.n_units * 3 / 4,
	   "all of that: it runs %u of %u units", units_at(0), image.n_units);
	ok(take(40) && taken[1] >= 20 && taken[2] >= 20, "many of them do");
	router.whole = true;
	ok(take(10) && request.local && units_at(0) == image.n_units,
	   "where none is to run a part, it runs everything");
	end();

	begin(2, first, little);
	ok(take(20) && taken[0] == 20 && !taken[1], "a block is not worth a pipeline");
	end();

	/* what runs at the source already, beside another request */
	begin(3, first, (const uint32_t[]){0, 2 * quarter - 1, image.n_blocks - 1});
	ok(take(1) && request.local, "a request runs at the source");
	ok(lsc_router_find_ease(&router, &request, &cover) && cover.n > 1,
	   "receivers that hold half of it can take it off that");
	node(0)->busy_units = 0;
	ok(!lsc_router_find_ease(&router, &request, &cover), "not where nothing else runs there");
	node(0)->busy_units = image.n_units;
	node(2)->complete = true;
	ok(!lsc_router_find_ease(&router, &request, &cover),
	   "nor where one holds all of it: that is where it may go");
	end();
	begin(2, first, last);
	ok(take(1) && request.local && !lsc_router_find_ease(&router, &request, &cover),
	   "nor for less than half");
	end();

	n_sources = 2;
	begin(3, (const uint32_t[]){0, 0, quarter}, (const uint32_t[]){0, 0, quarter});
	ok(take(20) && taken[0] == 10 && taken[1] == 10 && !taken[2],
	   "nor is one to part a request between two sources");
	end();
	n_sources = 1;

	begin(3, first, (const uint32_t[]){0, 2 * quarter - 1, image.n_blocks - 1});
	node(1)->complete = true;
	memset(node(1)->units, 1, image.n_units);
	ok(take(30) && taken[1] > 10 && taken[0] > 10 && taken[2] > 5,
	   "a receiver that is complete serves as the source does: %u, %u, %u", taken[0], taken[1],
	   taken[2]);
	end();
	sources = LSC_SOURCES_ASSIST;

	begin(3, first, (const uint32_t[]){0, 2 * quarter - 1, image.n_blocks - 1});
	router.whole = true;
	ok(take(4) && taken[0] == 4, "where nothing comes any more, the source does it alone");
	end();
	n_sources = 0;
}

int main(void)
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32, .blocks = 12, .seed = 3};
	struct lsc_model_config config = *lsc_model_shape("stories260k");
	struct lsc_err err = LSC_ERR_INIT;
	char dir[1024];

	config.layers = 10;
	snprintf(dir, sizeof(dir), "%s/model", scratch());
	if (!ok(lsc_loop_new(&loop, &err) == 0 &&
			lsc_image_pack_dummy(&config, dir, &options, &err) == 0 &&
			lsc_image_open(&image, dir, &err) == 0,
		"an image: %s", err.text))
		return done_testing();
	printf("# %u blocks, %u units\n", image.n_blocks, image.n_units);
	test_local();
	test_pipeline();
	test_relief();
	lsc_image_close(&image);
	lsc_loop_free(loop);
	return done_testing();
}
