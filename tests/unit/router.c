/* A router over real workers in one loop: crowds that there is no room for, and prompts that are
 * longer than a frame. */
#include "route/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macros.h"
#include "exec/kernels.h"
#include "stage/worker.h"
#include "tap.h"
#include "told.h"

#define WORKERS  2
#define MAX_KEPT 4096

static struct {
	struct lsc_loop *loop;
	struct lsc_worker *workers[WORKERS];
	struct lsc_router router;
} t;

static struct {
	unsigned done, failed, routes;
	unsigned first[WORKERS]; /* routes that begin with each */
	uint32_t kept[MAX_KEPT]; /* the tokens of the answer that ended last */
	size_t n_kept;
	bool same; /* all answers were the same so far */
	bool ordered;
	unsigned submitted, started; /* requests; of those that got a token */
	unsigned more;               /* to be submitted, one whenever one is done */
	unsigned most_passed;        /* by which others got their first token before their turn */
	char why[200];
} seen;

static void on_route(struct lsc_router_request *request)
{
	seen.routes++;
	seen.first[request->cover.stages[0].node]++;
}

static void on_switch(struct lsc_router_request *request, uint32_t node)
{
	(void)request;
	(void)node;
}

static bool on_token(struct lsc_router_request *request, const struct lsc_drawn *drawn,
		     bool logprobs)
{
	unsigned index = (unsigned)(size_t)request->user;

	(void)drawn;
	(void)logprobs;
	if (request->ids.n != request->n_prompt + 1)
		return true;
	seen.most_passed = LSC_MAX(seen.most_passed, seen.started > index ? seen.started - index
									  : index - seen.started);
	seen.started++;
	return true;
}

static void submit(struct lsc_router *router, uint32_t n_prompt, uint32_t limit, unsigned index);

/* Short and long ones; what came before has the first places. */
static void submit_another(struct lsc_router *router)
{
	unsigned index = seen.submitted++;

	submit(router, index % 3 ? 4 : 60, index % 4 ? 12 : 60, index);
}

static void on_done(struct lsc_router_request *request, const char *reason, const char *why)
{
	size_t n = request->ids.n - request->n_prompt;

	if (!reason) {
		snprintf(seen.why, sizeof(seen.why), "%s", why);
		seen.failed++;
		return;
	}
	if (seen.more) {
		seen.more--;
		submit_another(request->router);
	}
	/* Two workers have room for one each. */
	seen.ordered &= (size_t)request->user < seen.done + 1 + 2 * WORKERS;
	if (seen.done++)
		seen.same &=
			n == seen.n_kept && !memcmp(seen.kept, request->ids.ids + request->n_prompt,
						    n * sizeof(uint32_t));
	seen.n_kept = LSC_MIN(n, (size_t)MAX_KEPT);
	memcpy(seen.kept, request->ids.ids + request->n_prompt, seen.n_kept * sizeof(uint32_t));
}

static const struct lsc_router_events events = {on_route, on_switch, on_token, on_done};

static void submit(struct lsc_router *router, uint32_t n_prompt, uint32_t limit, unsigned index)
{
	struct lsc_router_request *request = calloc(1, sizeof(*request));

	for (uint32_t i = 0; i < n_prompt; i++)
		lsc_tokens_add(&request->ids, i ? 3 + i * i % 500 : 1);
	request->limit = limit;
	request->user = (void *)(size_t)index;
	request->sampling.top_p = 1;
	lsc_router_submit(router, request);
}

static void turn(struct lsc_loop *loop, unsigned answers)
{
	uint64_t start = lsc_clock_ns();

	while (seen.done + seen.failed < answers && lsc_clock_ns() - start < 60000000000u)
		lsc_loop_turn(loop, 10, NULL);
}

/* Two receivers: each holds half of the blocks, or all. */
static void tell_all(struct lsc_router *router, struct lsc_worker **workers, bool halves)
{
	const uint32_t n = router->fleet.image->n_blocks;

	tell_cast(router, WORKERS);
	for (uint32_t i = 0; i < WORKERS; i++) {
		tell_node(router, i, "receiver", lsc_worker_address(workers[i]));
		for (uint32_t b = 0; halves && b < n; b++)
			/* the embedding is in the last block */
			if ((b >= n / 2) == i || b + 1 == n)
				tell_block(router, i, b);
		if (!halves)
			tell_complete(router, i);
	}
	lsc_fleet_end(&router->fleet);
}

static bool open_all(const struct lsc_image *image, uint64_t kv_bytes, double patience_s)
{
	const struct lsc_worker_options options = {.dir = scratch(),
						   .engine = {.threads = 1, .kv_bytes = kv_bytes}};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_endpoint at;
	bool good = lsc_loop_new(&t.loop, &err) == 0 &&
		    lsc_endpoint_parse(&at, "127.0.0.1:0", &err) == 0;

	for (int i = 0; i < WORKERS && good; i++)
		good = lsc_worker_open(&t.workers[i], t.loop, &at, &options, &err) == 0;
	memset(&seen, 0, sizeof(seen));
	return ok(good && lsc_router_init(&t.router, image, t.loop, LSC_SOURCES_ASSIST,
					  (uint64_t)(patience_s * 1e9), 0, &events, &err) == 0,
		  "workers and a router: %s", err.text);
}

static void close_all(void)
{
	lsc_router_release(&t.router);
	for (int i = 0; i < WORKERS; i++)
		lsc_worker_close(t.workers[i]);
	lsc_loop_free(t.loop);
}

/* count equal requests over workers with kv_bytes each; how long it took. */
static double run(const struct lsc_image *image, uint64_t kv_bytes, bool halves, unsigned count,
		  uint32_t n_prompt, uint32_t limit, double patience_s)
{
	uint64_t start = lsc_clock_ns();

	if (!open_all(image, kv_bytes, patience_s))
		return 0;
	seen.same = seen.ordered = true;
	tell_all(&t.router, t.workers, halves);
	for (unsigned i = 0; i < count; i++)
		submit(&t.router, n_prompt, limit, i);
	turn(t.loop, count);
	if (seen.failed)
		printf("# %s\n", seen.why);
	close_all();
	return (double)(lsc_clock_ns() - start) / 1e9;
}

/* A request that is too large for one worker while the other, which has room, is away. */
static void test_away(const struct lsc_image *image, uint64_t small)
{
	struct lsc_worker_options options = {.dir = scratch(), .engine = {.threads = 1}};
	struct lsc_worker *workers[WORKERS] = {NULL};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_loop *loop = NULL;
	struct lsc_router router;
	struct lsc_endpoint at, away;

	memset(&seen, 0, sizeof(seen));
	if (lsc_loop_new(&loop, &err) < 0 || lsc_endpoint_parse(&at, "127.0.0.1:0", &err) < 0 ||
	    lsc_worker_open(&workers[0], loop, &at, &options, &err) < 0 ||
	    lsc_endpoint_parse(&away, lsc_worker_address(workers[0]), &err) < 0 ||
	    lsc_router_init(&router, image, loop, LSC_SOURCES_ASSIST, 0, 0, &events, &err) < 0) {
		ok(false, "a worker and a router: %s", err.text);
		return;
	}
	options.engine.kv_bytes = small;
	ok(lsc_worker_open(&workers[1], loop, &at, &options, &err) == 0, "a small worker");
	tell_all(&router, workers, false);
	lsc_worker_close(workers[0]);
	submit(&router, 70, 20, 0);
	for (int i = 0; i < 50; i++)
		lsc_loop_turn(loop, 10, NULL);
	ok(seen.first[1] == 1 && !seen.done && !seen.failed,
	   "what is too large for a worker waits for one that is away");
	options.engine.kv_bytes = 0;
	is_int(lsc_worker_open(&workers[0], loop, &away, &options, &err), 0, "which is back");
	turn(loop, 1);
	ok(seen.done == 1 && seen.first[0] == 1, "and answers it");
	lsc_router_release(&router);
	for (int i = 0; i < WORKERS; i++)
		lsc_worker_close(workers[i]);
	lsc_loop_free(loop);
}

/* One for which there was no room, and that is not to be tried for a long time: nodes that come to
 * hold everything are tried at once. */
static void test_more(const struct lsc_image *image)
{
	if (!open_all(image, 0, 0))
		return;
	submit(&t.router, 20, 8, 0);
	t.router.requests->crowded = true;
	t.router.requests->again_ns = lsc_clock_ns() + 3600000000000u;
	tell_all(&t.router, t.workers, false);
	for (int i = 0; i < 200 && !seen.done; i++)
		lsc_loop_turn(t.loop, 10, NULL);
	is_int(seen.done, 1, "what found no room is tried again where more is held");
	close_all();
}

/* Requests that nobody wants any more: one that waits, and one that is being answered. */
static void test_cancel(const struct lsc_image *image)
{
	if (!open_all(image, 0, 0))
		return;
	submit(&t.router, 20, 80, 0);
	lsc_router_cancel(t.router.requests);
	ok(seen.failed == 1 && !strcmp(seen.why, "cancelled") && !t.router.requests,
	   "one that waits is cancelled");
	tell_all(&t.router, t.workers, false);
	for (int i = 0; i < 50 && !lsc_fleet_usable(t.router.fleet.nodes[1]); i++)
		lsc_loop_turn(t.loop, 10, NULL);
	submit(&t.router, 20, 15000, 0);
	ok(!t.router.requests->routed, "one that came in this turn has no route yet");
	lsc_router_turn(&t.router);
	ok(t.router.requests->routed, "and is given one when that is asked for");
	for (int i = 0; i < 20; i++)
		lsc_loop_turn(t.loop, 10, NULL);
	lsc_router_cancel(t.router.requests);
	ok(seen.failed == 2 && !t.router.requests, "it is cancelled while it is answered");
	submit(&t.router, 20, 80, 0);
	turn(t.loop, 3);
	is_int(seen.done, 1, "the next one has an answer");
	close_all();
}

/* Requests keep coming while there are more than there is room for. */
static void test_fair(const struct lsc_image *image, uint64_t kv_bytes)
{
	if (!open_all(image, kv_bytes, 0))
		return;
	tell_all(&t.router, t.workers, false);
	seen.more = 180;
	for (int i = 0; i < 20; i++)
		submit_another(&t.router);
	turn(t.loop, 200);
	ok(seen.done == 200 && !seen.failed, "200 requests, of which 20 are there at a time");
	/* One that starved would see nearly all of them pass; how many do is a busy machine's. */
	ok(seen.most_passed < 90, "none starves: of those behind it %u came before it",
	   seen.most_passed);
	seen.more = 0;
	close_all();
}

static uint64_t kv_of(const struct lsc_image *image, uint32_t positions)
{
	const struct lsc_model_config *c = &image->config;

	return (uint64_t)c->layers * c->kv_heads *
	       (c->head_dim + lsc_align_up(c->head_dim, LSC_LANES)) *
	       lsc_align_up(positions, LSC_PAGE_POSITIONS) * sizeof(float);
}

int main(void)
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32, .seed = 3};
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_model_config config = *lsc_model_shape("stories260k");
	uint32_t want[MAX_KEPT];
	struct lsc_err err = LSC_ERR_INIT;
	char dir[1024];
	double seconds;

	config.context = 20000;
	config.layers = 2; /* attention over thousands of positions takes its time */
	config.heads = 2;
	config.kv_heads = 1;
	snprintf(dir, sizeof(dir), "%s/model", scratch());
	ok(lsc_image_pack_dummy(&config, dir, &options, &err) == 0 &&
		   lsc_image_open(&image, dir, &err) == 0,
	   "an image with a long context");

	run(&image, 0, false, 1, 20, 80, 0);
	is_int(seen.done, 1, "one answer");
	memcpy(want, seen.kept, sizeof(want));
	seconds = run(&image, kv_of(&image, 200), false, 40, 20, 80, 0);
	ok(seen.done == 40 && seen.same && !memcmp(want, seen.kept, 80 * sizeof(want[0])),
	   "40 requests where there is room for 4 at a time: all answered alike, %u routes, %.1f s",
	   seen.routes, seconds);
	ok(seen.routes > 40, "and some had to wait");
	run(&image, 0, false, 40, 4, 2, 0);
	ok(seen.done == 40 && seen.first[0] == 20 && seen.first[1] == 20,
	   "those that are there at the start are shared out: %u and %u", seen.first[0],
	   seen.first[1]);
	memset(seen.kept, 0, sizeof(seen.kept));
	run(&image, kv_of(&image, 64), false, 1, 20, 80, 1);
	ok(seen.done == 1 && !memcmp(want, seen.kept, 80 * sizeof(want[0])),
	   "one that is too large for any worker is shared by two, %u routes: %s", seen.routes,
	   seen.why);
	run(&image, kv_of(&image, 64), false, 2, 20, 120, 1);
	ok(seen.failed == 2, "one that is too large for these too ends in words: %s", seen.why);
	test_away(&image, kv_of(&image, 64));
	seconds = run(&image, kv_of(&image, 64), false, 3, 9000, 30, 0);
	ok(seen.failed == 3 && seconds < 10, "at once: %.1f s", seconds);
	run(&image, kv_of(&image, 128), false, 30, 40, 60, 0);
	ok(seen.done == 30 && seen.same && seen.ordered,
	   "of 30 that wait for room none passes those before it by more than is at work: %s",
	   seen.ordered ? "in order" : "out of order");

	test_more(&image);
	test_cancel(&image);
	test_fair(&image, kv_of(&image, 128));

	run(&image, 0, false, 1, 9000, 30, 0);
	ok(seen.done == 1, "a prompt of 9000 tokens, more than a frame holds");
	memcpy(want, seen.kept, sizeof(want));
	run(&image, 0, true, 1, 9000, 30, 0);
	ok(seen.done == 1 && !memcmp(want, seen.kept, 30 * sizeof(want[0])),
	   "gets the same answer over a pipeline");
	return done_testing();
}
