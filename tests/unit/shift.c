/* Requests that go from a pipeline to one node, in each of the ways there are, with the same tokens
 * in all; which way is taken, by what was measured; and what becomes of those whose move fails. */
#include "route/shift.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macros.h"
#include "exec/device.h"
#include "exec/kernels.h"
#include "small_model.h"
#include "stage/worker.h"
#include "tap.h"
#include "told.h"

#define WORKERS  3
#define REQUESTS 4
#define PROMPT   40
#define ANSWER   60
#define SWITCH   8 /* tokens after which node 2 has all */

static struct {
	struct lsc_router router;
	struct lsc_loop *loop;
	struct lsc_worker *workers[WORKERS];
	struct lsc_image image;
	unsigned done, failed, moved, recomputed, tokens, doubled;
	unsigned ways[REQUESTS]; /* switches of each */
	uint32_t answers[REQUESTS][ANSWER];
	struct lsc_shift last;
	char why[160];

	double bytes_s, positions_s; /* set before node 2 has all */
	uint64_t target_kv;          /* room there; 0: plenty */
	unsigned far;                /* bits: workers whose pages lie on a device */
	void (*on_begin)(void);      /* once, when the first is under way */
	bool complete;
	bool missed; /* something was on its way to node 2, and did not count there */
} t;

/* --- a device: the CPU, whose pages nobody else can get at --- */

static struct lsc_backend_ops far_ops;
static struct lsc_device far_device = {.ops = &far_ops};
static size_t far_page_bytes;

static void *far_take(void *self)
{
	const size_t bytes = lsc_align_up(far_page_bytes, 64);
	void *page = aligned_alloc(64, bytes);

	(void)self;
	return page ? memset(page, 0, bytes) : NULL;
}

static void far_give(void *self, void *page)
{
	(void)self;
	free(page);
}

static int far_open(void **ret_self, const struct lsc_image *image, const uint8_t *data,
		    struct lsc_kv *kv, const struct lsc_engine_options *options,
		    struct lsc_err *err)
{
	far_page_bytes = kv->page_bytes;
	kv->memory = (struct lsc_kv_memory){.take = far_take, .give = far_give};
	return lsc_backend_cpu.open(ret_self, image, data, kv, options, err);
}

/* Two nodes with a half each, and one with nothing. */
static void tell_halves(void)
{
	const uint32_t n = t.image.n_blocks;

	tell_cast(&t.router, WORKERS);
	for (uint32_t i = 0; i < WORKERS; i++) {
		tell_node(&t.router, i, "receiver", lsc_worker_address(t.workers[i]));
		for (uint32_t b = 0; b < n && i < 2; b++)
			if ((b >= n / 2) == i || b + 1 == n || b == 0)
				tell_block(&t.router, i, b);
	}
}

static void complete(void)
{
	struct lsc_fleet_node *node = t.router.fleet.nodes[2];

	t.complete = true;
	tell_complete(&t.router, 2);
	if (fabs(node->rows.start - (double)t.image.bytes / 2) > 1)
		ok(false, "how fast the image came says how fast others come");
	node->rows.seen = t.bytes_s;
	node->positions.seen = t.positions_s;
	node->rows.at_ns = node->positions.at_ns = lsc_clock_ns();
}

static void on_route(struct lsc_router_request *request)
{
	(void)request;
}

static void on_switch(struct lsc_router_request *request, uint32_t node)
{
	(void)node;
	t.ways[(size_t)request->user]++;
	t.moved += request->shift.moved;
	t.recomputed += !request->shift.moved;
	t.last = request->shift;
	if (request->shift.why[0] && !t.why[0]) /* who follows may only be told of the first */
		memcpy(t.why, request->shift.why, sizeof(t.why));
}

static bool on_token(struct lsc_router_request *request, const struct lsc_drawn *drawn,
		     bool logprobs)
{
	(void)logprobs;
	t.doubled += request->ids.ids[request->ids.n - 1] != drawn->token;
	t.tokens++;
	return true;
}

static void on_done(struct lsc_router_request *request, const char *reason, const char *why)
{
	size_t n = request->ids.n - request->n_prompt;

	if (!reason) {
		t.failed++;
		printf("# %s\n", why);
		return;
	}
	t.done++;
	memcpy(t.answers[(size_t)request->user], request->ids.ids + request->n_prompt,
	       LSC_MIN(n, (size_t)ANSWER) * sizeof(uint32_t));
}

static const struct lsc_router_events events = {on_route, on_switch, on_token, on_done};

/* Greedy, and drawn with and without a penalty. */
static void submit(unsigned index)
{
	struct lsc_router_request *request = calloc(1, sizeof(*request));

	for (uint32_t i = 0; i < PROMPT; i++)
		lsc_tokens_add(&request->ids, 3 + (i * i + index) % (t.image.config.vocab - 3));
	request->limit = ANSWER;
	request->user = (void *)(size_t)index;
	request->sampling.top_p = 1;
	request->sampling.temp = index % 2 ? 0.8f : 0;
	request->sampling.seed = index;
	request->sampling.penalty = index & 2 ? 1.2f : 1;
	lsc_router_submit(&t.router, request);
}

static bool any_active(void)
{
	for (struct lsc_router_request *r = t.router.requests; r; r = r->next)
		if (r->shift.active)
			return true;
	return false;
}

static bool start(void)
{
	struct lsc_worker_options options = {.dir = scratch(), .engine = {.threads = 1}};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_endpoint at;

	if (lsc_loop_new(&t.loop, &err) < 0 || lsc_endpoint_parse(&at, "127.0.0.1:0", &err) < 0)
		return ok(false, "%s", err.text);
	for (int i = 0; i < WORKERS; i++) {
		options.engine.kv_bytes = i == 2 ? t.target_kv : 0;
		options.engine.device = t.far >> i & 1 ? &far_device : NULL;
		if (lsc_worker_open(&t.workers[i], t.loop, &at, &options, &err) < 0)
			return ok(false, "a worker: %s", err.text);
	}
	return lsc_router_init(&t.router, &t.image, t.loop, LSC_SOURCES_ASSIST, 0, 0, &events,
			       &err) == 0;
}

static void stop(void)
{
	lsc_router_release(&t.router);
	for (int i = 0; i < WORKERS; i++) {
		lsc_worker_close(t.workers[i]);
		t.workers[i] = NULL;
	}
	lsc_loop_free(t.loop);
}

/* All requests, from halves to node 2; whether all were answered, with each token once. */
static bool run(enum lsc_switching switching)
{
	uint64_t begin = lsc_clock_ns();

	t.done = t.failed = t.moved = t.recomputed = t.tokens = t.doubled = 0;
	t.complete = false;
	t.why[0] = 0;
	memset(t.answers, 0, sizeof(t.answers));
	memset(t.ways, 0, sizeof(t.ways));
	if (!start())
		return false;
	t.router.switching = switching;
	tell_halves();
	for (unsigned i = 0; i < REQUESTS; i++)
		submit(i);
	while (t.done + t.failed < REQUESTS && lsc_clock_ns() - begin < 60000000000u) {
		lsc_loop_turn(t.loop, 10, NULL);
		if (!t.complete && t.tokens >= REQUESTS * SWITCH)
			complete();
		if (any_active())
			t.missed |= t.router.fleet.nodes[2]->busy_units < t.image.n_units;
		if (t.on_begin && any_active()) {
			void (*now)(void) = t.on_begin;

			t.on_begin = NULL;
			now();
		}
	}
	for (uint32_t i = 0; i < WORKERS; i++)
		if (t.router.fleet.nodes[i]->busy || t.router.fleet.nodes[i]->busy_units)
			ok(false, "node %u is thought to be busy", i);
	stop();
	return t.done == REQUESTS && !t.doubled && t.tokens == REQUESTS * ANSWER;
}

static void lose_source(void)
{
	lsc_worker_close(t.workers[1]);
	t.workers[1] = NULL;
}

static void lose_target(void)
{
	lsc_worker_close(t.workers[2]);
	t.workers[2] = NULL;
}

static void test_forecast(void)
{
	struct lsc_shift shift = {.positions = 1000, .bytes = 4000000};
	struct lsc_shift_costs costs = {.bytes_s = 1e6, .trip_s = 0.25, .positions_s = 500};

	lsc_shift_forecast(&shift, &costs);
	ok(shift.move_s == 5 && shift.recompute_s == 2, "bytes and trips, and positions");
	costs.moving = 2;
	costs.busy = 3;
	lsc_shift_forecast(&shift, &costs);
	ok(shift.move_s == 13 && shift.recompute_s == 8, "beside others both take longer");
}

int main(void)
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32, .seed = 3};
	struct lsc_model_config config = SMALL_MODEL(6, 512);
	static uint32_t want[REQUESTS][ANSWER];
	struct lsc_err err = LSC_ERR_INIT;
	char dir[1024];
	bool good;

	test_forecast();
	config.n_eos = 0;
	snprintf(dir, sizeof(dir), "%s/model", scratch());
	if (!ok(lsc_image_pack_dummy(&config, dir, &options, &err) == 0 &&
			lsc_image_open(&t.image, dir, &err) == 0,
		"an image: %s", err.text))
		return done_testing();
#define is_same() (!memcmp(want, t.answers, sizeof(want)))
	good = run(LSC_SWITCH_NEVER);
	ok(good && !t.moved && !t.recomputed, "never: nobody moves");
	memcpy(want, t.answers, sizeof(want));
	good = run(LSC_SWITCH_RECOMPUTE);
	ok(good && is_same(), "recompute: the same tokens");
	ok(t.recomputed == REQUESTS && !t.moved && !t.why[0], "recompute: all do");
	good = run(LSC_SWITCH_MOVE);
	ok(good && is_same(), "move: the same tokens");
	ok(t.moved == REQUESTS && !t.recomputed, "move: all do %s", t.why);
	ok(!t.missed, "move: whoever is on the way counts at the node, with all units");
	ok(t.last.bytes == t.last.positions * 6ull * 2 * 2 * 16 * 4 && t.last.took_s > 0,
	   "move: by the bytes of %u positions", t.last.positions);

	t.bytes_s = 1e4;
	t.positions_s = 1e5;
	good = run(LSC_SWITCH_AUTO);
	ok(good && is_same() && t.recomputed == REQUESTS && !t.why[0],
	   "auto: over a slow link all are computed: %.3f s, not %.3f", t.last.recompute_s,
	   t.last.move_s);
	t.bytes_s = 1e9;
	t.positions_s = 100;
	good = run(LSC_SWITCH_AUTO);
	ok(good && is_same() && t.moved == REQUESTS,
	   "auto: to a slow node all are moved: %.3f s, not %.3f %s", t.last.move_s,
	   t.last.recompute_s, t.why);

	t.on_begin = lose_source;
	good = run(LSC_SWITCH_MOVE);
	ok(good && is_same() && t.recomputed,
	   "a stage that dies in the middle of a move: the same tokens; %s", t.why);
	t.on_begin = lose_target;
	good = run(LSC_SWITCH_MOVE);
	ok(good && is_same(), "so where the node dies that all go to");
	far_ops = lsc_backend_cpu;
	far_ops.open = far_open;
	t.far = 1 << 0;
	good = run(LSC_SWITCH_MOVE);
	/* who comes last may find it known already */
	ok(good && is_same() && t.recomputed == REQUESTS &&
		   (strstr(t.why, "device") || strstr(t.why, "before")),
	   "a stage on a device keeps what it has: %s", t.why);
	t.far = 1 << 2;
	good = run(LSC_SWITCH_AUTO);
	ok(good && is_same() && t.recomputed == REQUESTS,
	   "and a node on one takes nothing: all are computed there");
	t.far = 0;
	t.target_kv = 6 * LSC_PAGE_POSITIONS * 2 * 2 * 16 * sizeof(float) * 4;
	good = run(LSC_SWITCH_MOVE);
	ok(good && is_same(), "and where it has room for one at a time: %s", t.why);
	ok(t.recomputed > 0, "those that there is no room for are computed");
	lsc_image_close(&t.image);
	return done_testing();
}
