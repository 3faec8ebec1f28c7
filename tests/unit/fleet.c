/* A router between a worker that works and one that does not: it hangs, loses what it was sent, or
 * leaves.  Each request is answered by the other one nevertheless. */
#include "route/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "net/frame.h"
#include "net/link.h"
#include "stage/worker.h"
#include "tap.h"
#include "told.h"

#define STAGE_NS 200000000u /* the stage timeout here */
#define TOKENS   40

enum manner { STANDS_STILL, COMPUTES, LOSES, LEAVES, OLD };

static struct {
	unsigned routes[2], done, failed;
	size_t tokens;
	uint64_t moved_ns; /* when the second route came */
	uint64_t began_ns;
	bool over; /* the router is about to end */
} seen;

/* --- a worker that is none --- */

static struct {
	enum manner manner;
	struct lsc_link *link;
	uint8_t body[4 * LSC_FRAME_MAX_TOKENS];
	unsigned runs, pings;
} fake;

static void answer_ping(struct lsc_link *link)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	const struct lsc_pong_frame pong = {.runs = fake.manner != LOSES && fake.runs,
					    .done = 7,
					    .works = fake.manner == COMPUTES,
					    .unit_s = 1e-9};

	fake.pings++;
	if (fake.manner == OLD) {
		lsc_pack_begin(&pack, "pong");
		lsc_pack_end(&pack);
	} else {
		lsc_frame_pack_pong(&pack, &pong);
	}
	lsc_link_send(link, &pack, NULL, 0, NULL);
}

static void refuse(struct lsc_link *link, const struct lsc_record *record)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_fail_frame fail = {.code = ESHUTDOWN, .why = "this worker leaves"};
	static struct lsc_run_frame run;

	if (lsc_frame_parse_run(record, &run, NULL) < 0)
		return;
	fail.request = run.request;
	lsc_frame_pack_fail(&pack, &fail);
	lsc_link_send(link, &pack, NULL, 0, NULL);
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	(void)data;
	(void)err;
	*ret_body = body_len ? fake.body : NULL;
	if (lsc_record_is(record, "ping"))
		answer_ping(link);
	if (!lsc_record_is(record, "run"))
		return 0;
	fake.runs++;
	if (fake.manner == LEAVES)
		refuse(link, record);
	return 0;
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *err)
{
	(void)data;
	(void)link;
	(void)err;
	return 0;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	(void)data;
	(void)err;
	if (fake.link == link)
		fake.link = NULL;
	lsc_link_close(link);
}

static void *on_link(void *data, struct lsc_link *link)
{
	fake.link = link;
	return data;
}

static const struct lsc_link_events fake_events = {
	.on_record = on_record, .on_body = on_body, .on_close = on_close};

/* --- the router's client --- */

static void on_route(struct lsc_router_request *request)
{
	seen.routes[request->cover.stages[0].node]++;
	if (request->cover.stages[0].node == 1 && !seen.moved_ns)
		seen.moved_ns = lsc_clock_ns();
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
	seen.tokens++;
	return true;
}

static void on_done(struct lsc_router_request *request, const char *reason, const char *why)
{
	(void)request;
	if (!reason)
		printf("# %s\n", why);
	seen.done += reason != NULL;
	seen.failed += reason == NULL && !seen.over;
}

static const struct lsc_router_events events = {on_route, on_switch, on_token, on_done};

static void submit(struct lsc_router *router)
{
	struct lsc_router_request *request = calloc(1, sizeof(*request));

	for (uint32_t i = 0; i < 20; i++)
		lsc_tokens_add(&request->ids, 1 + i);
	request->limit = TOKENS;
	request->sampling.top_p = 1;
	lsc_router_submit(router, request);
}

/* --- the nodes of a cast --- */

static void tell_all(struct lsc_router *router, const char *const *exec)
{
	tell_cast(router, 2);
	for (uint32_t i = 0; i < 2; i++) {
		tell_node(router, i, "receiver", exec[i]);
		tell_complete(router, i);
	}
	lsc_fleet_end(&router->fleet);
}

static void turn(struct lsc_loop *loop, bool until_done, double seconds)
{
	uint64_t end = lsc_clock_ns() + (uint64_t)(seconds * 1e9);

	while (!(until_done && seen.done + seen.failed) && lsc_clock_ns() < end)
		lsc_loop_turn(loop, 10, NULL);
}

/* One request, which goes to the worker that is none first; for so long at most. */
static bool run(const struct lsc_image *image, enum manner manner, double seconds)
{
	const struct lsc_worker_options options = {.dir = scratch(), .engine = {.threads = 1}};
	const struct lsc_link_options link_options = {.kind = "exec"};
	struct lsc_listener *listener = NULL;
	struct lsc_worker *worker = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_loop *loop = NULL;
	struct lsc_router router;
	struct lsc_endpoint at;

	memset(&seen, 0, sizeof(seen));
	fake.manner = manner;
	fake.runs = fake.pings = 0;
	if (lsc_loop_new(&loop, &err) < 0 || lsc_endpoint_parse(&at, "127.0.0.1:0", &err) < 0 ||
	    lsc_worker_open(&worker, loop, &at, &options, &err) < 0 ||
	    lsc_listener_open(&listener, loop, &at, &link_options, &fake_events, on_link, &fake,
			      &err) < 0 ||
	    lsc_router_init(&router, image, loop, LSC_SOURCES_ASSIST, 2000000000u, STAGE_NS,
			    &events, &err) < 0)
		return ok(false, "workers and a router: %s", err.text);
	tell_all(&router,
		 (const char *[]){lsc_listener_address(listener), lsc_worker_address(worker)});
	submit(&router);
	seen.began_ns = lsc_clock_ns();
	turn(loop, true, seconds);
	seen.over = true;
	lsc_router_release(&router);
	lsc_listener_close(listener);
	lsc_link_close(fake.link);
	fake.link = NULL;
	lsc_worker_close(worker);
	lsc_loop_free(loop);
	return true;
}

static void expect_moved(const char *what, double least, double most)
{
	double after = (double)(seen.moved_ns - seen.began_ns) / 1e9;

	ok(seen.done == 1 && !seen.failed && seen.tokens == TOKENS, "%s: the answer is whole, %zu",
	   what, seen.tokens);
	ok(seen.routes[0] == 1 && seen.routes[1] == 1 && after >= least && after < most,
	   "%s: by another worker, after %.2f s", what, after);
}

int main(void)
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32, .seed = 3};
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	char dir[1024];

	snprintf(dir, sizeof(dir), "%s/model", scratch());
	ok(lsc_image_pack_dummy(lsc_model_shape("stories260k"), dir, &options, &err) == 0 &&
		   lsc_image_open(&image, dir, &err) == 0,
	   "an image");
	run(&image, STANDS_STILL, 20);
	expect_moved("a worker that has a run and does nothing", 0.2, 2);
	run(&image, COMPUTES, 20);
	expect_moved("one whose first step takes too long", 0.9, 5);
	run(&image, LOSES, 20);
	expect_moved("one that knows of no run that it was sent", 0.2, 2);
	run(&image, LEAVES, 20);
	expect_moved("one that leaves", 0, 0.3);
	run(&image, OLD, 1);
	ok(!seen.done && !seen.failed && seen.routes[1] == 0 && fake.pings > 3,
	   "one that does not say what it is at is waited for as long as it answers");
	return done_testing();
}
