/* Requests that go on from what others left: with the tokens that they would have had anyway, where
 * it lies, and as if nothing had been there where it gave way. */
#include "route/rest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "route/router.h"
#include "small_model.h"
#include "stage/worker.h"
#include "tap.h"
#include "told.h"

#define WORKERS 2
#define PROMPT  60
#define ANSWER  24

static struct {
	struct lsc_image image;
	struct lsc_loop *loop;
	struct lsc_worker *workers[WORKERS];
	struct lsc_router router;

	unsigned done, failed;
	uint32_t ids[1024]; /* of the request that ended last */
	size_t n;
	uint32_t reused, node; /* of it */
	char why[160];
} t;

static void on_route(struct lsc_router_request *request)
{
	(void)request;
}

static void on_switch(struct lsc_router_request *request, uint32_t node)
{
	(void)request;
	(void)node;
}

static bool on_token(struct lsc_router_request *request, const struct lsc_drawn *drawn,
		     bool logprobs)
{
	(void)request;
	(void)drawn;
	(void)logprobs;
	return true;
}

static void on_done(struct lsc_router_request *request, const char *reason, const char *why)
{
	t.done += reason != NULL;
	t.failed += !reason;
	snprintf(t.why, sizeof(t.why), "%s", why ? why : "");
	t.n = LSC_MIN(request->ids.n, LSC_ARRAY_SIZE(t.ids));
	memcpy(t.ids, request->ids.ids, t.n * sizeof(t.ids[0]));
	t.reused = request->reused;
	t.node = request->cover.stages[0].node;
}

static const struct lsc_router_events events = {on_route, on_switch, on_token, on_done};

static void open_all(uint64_t kv_bytes)
{
	const struct lsc_worker_options options = {.dir = scratch(),
						   .engine = {.threads = 1, .kv_bytes = kv_bytes}};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_endpoint at;

	t.done = t.failed = 0;
	if (lsc_loop_new(&t.loop, &err) < 0 || lsc_endpoint_parse(&at, "127.0.0.1:0", &err) < 0 ||
	    lsc_worker_open(&t.workers[0], t.loop, &at, &options, &err) < 0 ||
	    lsc_worker_open(&t.workers[1], t.loop, &at, &options, &err) < 0 ||
	    lsc_router_init(&t.router, &t.image, t.loop, LSC_SOURCES_ASSIST, 0, 0, &events, &err) <
		    0) {
		ok(false, "workers and a router: %s", err.text);
		exit(1);
	}
	tell_cast(&t.router, WORKERS);
	for (uint32_t i = 0; i < WORKERS; i++) {
		tell_node(&t.router, i, "receiver", lsc_worker_address(t.workers[i]));
		tell_complete(&t.router, i);
	}
	lsc_fleet_end(&t.router.fleet);
}

static void close_all(void)
{
	lsc_router_release(&t.router);
	for (uint32_t i = 0; i < WORKERS; i++)
		lsc_worker_close(t.workers[i]);
	lsc_loop_free(t.loop);
}

static void submit(const uint32_t *ids, size_t n, float penalty)
{
	struct lsc_router_request *request = calloc(1, sizeof(*request));

	for (size_t i = 0; i < n; i++)
		lsc_tokens_add(&request->ids, ids[i]);
	request->limit = ANSWER;
	request->sampling.top_p = 1;
	request->sampling.penalty = penalty;
	lsc_router_submit(&t.router, request);
}

static void wait_for(unsigned answers)
{
	uint64_t end = lsc_clock_ns() + 60000000000u;

	while (t.done + t.failed < answers && lsc_clock_ns() < end)
		lsc_loop_turn(t.loop, 10, NULL);
}

static void ask(const uint32_t *ids, size_t n, float penalty)
{
	submit(ids, n, penalty);
	wait_for(t.done + t.failed + 1);
}

static void prompt(uint32_t *ids, uint32_t n, uint32_t kind)
{
	for (uint32_t i = 0; i < n; i++)
		ids[i] = 3 + (i * i * 7 + kind * 31) % 500;
}

/* What a worker that knows nothing of it answers. */
static void answer(const uint32_t *ids, size_t n, float penalty, uint32_t *ret_ids)
{
	uint32_t most = t.router.rests.most;

	t.router.rests.most = 0;
	for (uint32_t i = 0; i < WORKERS; i++)
		lsc_rests_lost(&t.router, i);
	ask(ids, n, penalty);
	memcpy(ret_ids, t.ids, sizeof(t.ids));
	t.router.rests.most = most;
}

/* Turns of one chat. */
static void test_chat(float penalty)
{
	uint32_t ids[1024], want[1024], n = PROMPT, node = 0;
	bool same = true, near = true;
	uint32_t reused[3];

	open_all(0);
	prompt(ids, n, 1);
	for (int turn = 0; turn < 3; turn++) {
		ask(ids, n, penalty);
		reused[turn] = t.reused;
		near = near && (turn == 0 || t.node == node);
		node = t.node;
		n = (uint32_t)t.n;
		memcpy(ids, t.ids, sizeof(ids));
		prompt(ids + n, 20, 2 + (uint32_t)turn);
		n += 20;
	}
	ok(reused[0] == 0 && reused[1] == PROMPT + ANSWER - 1 &&
		   reused[2] == PROMPT + 2 * ANSWER + 20 - 1,
	   "each turn goes on from the last: %u, %u, %u", reused[0], reused[1], reused[2]);
	ok(near, "where that was");
	for (uint32_t turn = 0, at = PROMPT; turn < 3; turn++, at += ANSWER + 20) {
		answer(ids, at, penalty, want);
		same = same && !memcmp(ids, want, (at + ANSWER) * sizeof(ids[0]));
	}
	ok(same && !t.failed, "with the same tokens: penalty %g %s", (double)penalty, t.why);
	close_all();
}

/* Two who begin with the same, at once: one gets it, both are right; and one who does not. */
static void test_share(void)
{
	uint32_t ids[1024], other[1024], want[1024];
	uint32_t n, first;

	open_all(0);
	prompt(ids, PROMPT, 1);
	ask(ids, PROMPT, 1);
	n = (uint32_t)t.n;
	memcpy(ids, t.ids, sizeof(ids));
	memcpy(other, ids, sizeof(ids));
	prompt(ids + n, 10, 3);
	prompt(other + n, 10, 4);
	submit(ids, n + 10, 1);
	submit(other, n + 10, 1);
	wait_for(2);
	first = t.reused;
	wait_for(3);
	ok((first > 0) != (t.reused > 0), "of two, one goes on from it: %u and %u", first,
	   t.reused);
	is_int(t.router.rests.n, 2, "and both are there for others");
	ask(ids, n / 3, 1);
	is_int(t.reused, 0, "who would do away with more than it gains leaves it");
	ask(ids, 5, 1);
	is_int(t.router.rests.n, 3, "what is short is not kept");
	ask(ids, n + 10, 1.3f);
	is_int(t.reused, 0, "a penalty needs tokens that were not noted");
	ask(ids, n + 10, 1);
	ok(t.reused >= n - 1 && t.reused <= n + 9, "the same prompt again goes on: %u of %u",
	   t.reused, n + 10);
	memcpy(other, t.ids, sizeof(other));
	answer(ids, n + 10, 1, want);
	ok(!memcmp(other, want, (n + 10 + ANSWER) * sizeof(want[0])), "and gets the same answer");
	close_all();
}

/* As if something had given way this very moment: no worker knows of it. */
static void leave_nothing(void)
{
	struct lsc_router_request request = {.routed = true, .local = true, .number = 999};

	prompt(t.ids, PROMPT + ANSWER, 7);
	request.ids = (struct lsc_tokens){.ids = t.ids, .n = PROMPT + ANSWER};
	request.cover = (struct lsc_cover){.n = 1, .stages = {{0, 0, t.image.n_units - 1}}};
	if (!lsc_rests_keep(&t.router, &request, PROMPT + ANSWER))
		ok(false, "it cannot be kept");
}

static void test_gone(void)
{
	const struct lsc_model_config *c = &t.image.config;
	const uint64_t page = (uint64_t)c->layers * c->kv_heads *
			      (c->head_dim + lsc_align_up(c->head_dim, 16)) * LSC_PAGE_POSITIONS *
			      sizeof(float);
	uint32_t ids[1024], busy;

	open_all(page * lsc_div_up(2 * (PROMPT + ANSWER), LSC_PAGE_POSITIONS));
	for (uint32_t i = 0; i < 8; i++) {
		prompt(ids, PROMPT, i);
		ask(ids, PROMPT, 1);
	}
	ok(t.done == 8 && t.router.rests.n < 8 && t.router.rests.n >= 2,
	   "what rests gives way to others: %u of 8 are left", t.router.rests.n);
	ask(ids, PROMPT, 1);
	is_int(t.reused, PROMPT - 1, "the latest is there");
	prompt(ids, PROMPT, 0);
	ask(ids, PROMPT, 1);
	is_int(t.reused, 0, "the oldest is not");
	close_all();

	open_all(0);
	t.router.rests.most = 2;
	for (uint32_t i = 0; i < 5; i++) {
		prompt(ids, PROMPT, i);
		ask(ids, PROMPT, 1);
	}
	is_int(t.router.rests.n, 2, "no more rest than may");
	leave_nothing();
	prompt(ids, PROMPT, 7);
	ask(ids, PROMPT, 1);
	ok(t.done == 6 && !t.router.fleet.nodes[0]->doubt && !t.router.fleet.nodes[1]->doubt,
	   "who finds it gone begins anew, and nobody is blamed");
	is_int(t.reused, 0, "with nothing");
	lsc_rests_lost(&t.router, 0);
	lsc_rests_lost(&t.router, 1);
	is_int(t.router.rests.n, 0, "a node that is lost takes all with it");
	ask(ids, PROMPT, 1);
	busy = t.node;
	t.router.fleet.nodes[busy]->busy_units += 100000;
	ask(ids, PROMPT, 1);
	ok(t.node != busy && !t.reused, "where there is much to do first, others compute it again");
	t.router.fleet.nodes[busy]->busy_units -= 100000;
	close_all();
}

int main(void)
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32, .seed = 3};
	struct lsc_model_config config = SMALL_MODEL(3, 512);
	struct lsc_err err = LSC_ERR_INIT;
	char dir[1024];

	config.n_eos = 0;
	config.context = 512;
	snprintf(dir, sizeof(dir), "%s/model", scratch());
	if (!ok(lsc_image_pack_dummy(&config, dir, &options, &err) == 0 &&
			lsc_image_open(&t.image, dir, &err) == 0,
		"an image: %s", err.text))
		return done_testing();
	test_chat(1);
	test_chat(1.3f);
	test_share();
	test_gone();
	lsc_image_close(&t.image);
	return done_testing();
}
