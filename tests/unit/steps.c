/* The steps of a stage worker: what waits runs together and changes nothing by that, prompts leave
 * decodes their pace, keys and values have room or give way, and what is dropped is gone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macros.h"
#include "exec/kernels.h"
#include "model/image.h"
#include "net/frame.h"
#include "net/link.h"
#include "stage/worker.h"
#include "tap.h"

#define WORKERS  2
#define REQUESTS 200
#define TOKENS   20
#define MANY     60 /* tokens */
#define LONG     700

struct request { /* its number is its index + 1 */
	uint32_t n_prompt, wanted;
	uint64_t since;
	unsigned cut;   /* the route: units 0 .. cut - 1 at the first worker; 0: all */
	bool back;      /* and the last unit at the first again */
	uint32_t reach; /* that it says; 0: what it has */
	struct lsc_sampling sampling;
	uint32_t ids[LONG + MANY];
	float logprobs[MANY];
	uint32_t n; /* tokens that came */
	struct lsc_fail_frame fail;
};

static struct lsc_image image;
static struct lsc_worker *workers[WORKERS];
static struct lsc_link *links[WORKERS];
static struct lsc_loop *loop;
static struct request requests[REQUESTS], before[REQUESTS];
static unsigned n_requests, n_open;
static bool go_back; /* of what is asked from now on */
static const struct lsc_client_id client = {{4, 2}};

static struct lsc_token_frame latest;

/* When the first token of one came. */
static struct {
	const struct request *request;
	struct lsc_stage_stats stats;
	unsigned open;     /* requests that were not done */
	uint32_t n_tokens; /* of all others */
} first;

static void send_part(uint64_t number, const struct request *request, uint32_t pos, uint32_t n)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP_FREE struct lsc_run_frame *run = calloc(1, sizeof(*run));
	uint32_t last = image.n_units - 1;

	*run = (struct lsc_run_frame){.image = image.id,
				      .client = client,
				      .request = number,
				      .pos = pos,
				      .n = n,
				      .n_stages = request->cut ? 2 + request->back : 1,
				      .sampling = request->sampling,
				      .since = request->since,
				      .reach = request->reach ? request->reach
							      : request->n_prompt + request->n,
				      .ids = request->ids + pos};
	for (unsigned s = 0; s < run->n_stages; s++)
		snprintf(run->route[s].endpoint, sizeof(run->route[s].endpoint), "%s",
			 lsc_worker_address(workers[s % 2]));
	run->route[0].last = request->cut ? request->cut - 1 : last;
	run->route[1].first = request->cut;
	run->route[1].last = last - request->back;
	run->route[2].first = run->route[2].last = last;
	if (lsc_frame_pack_run(&pack, run, n * 4) == 0)
		lsc_link_send(links[0], &pack, request->ids + pos, n * 4, NULL);
}

static void drop(uint64_t number)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;

	if (lsc_frame_pack_drop(&pack, &client, number) == 0)
		for (int i = 0; i < WORKERS; i++)
			lsc_link_send(links[i], &pack, NULL, 0, NULL);
}

static unsigned count_open(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_requests; i++)
		n += !requests[i].fail.code && requests[i].n < requests[i].wanted;
	return n;
}

static uint32_t count_tokens(void)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < n_requests; i++)
		n += requests[i].n;
	return n;
}

static void note_first(void)
{
	first.stats = lsc_worker_stats(workers[0]);
	first.open = count_open();
	first.n_tokens = count_tokens() - 1;
}

static void take_token(const struct lsc_token_frame *token)
{
	struct request *request = &requests[token->request - 1];
	uint32_t at = request->n_prompt + request->n;

	latest = *token;
	if (token->pos != at || request->n == request->wanted)
		return;
	request->ids[at] = token->drawn.token;
	request->logprobs[request->n++] = token->drawn.logprob;
	if (request == first.request && request->n == 1)
		note_first();
	if (request->n < request->wanted)
		send_part(token->request, request, at, 1);
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct lsc_token_frame token;
	struct lsc_fail_frame fail;
	int r;

	(void)data;
	(void)link;
	(void)body_len;
	*ret_body = NULL;
	if (lsc_record_is(record, "fail")) {
		r = lsc_frame_parse_fail(record, &fail, err);
		if (r == 0 && !requests[fail.request - 1].fail.code)
			requests[fail.request - 1].fail = fail;
		return r;
	}
	r = lsc_frame_parse_token(record, &token, err);
	if (r == 0)
		take_token(&token);
	return r;
}

static void on_open(void *data, struct lsc_link *link)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;

	(void)data;
	if (lsc_frame_pack_client(&pack, &client) == 0)
		lsc_link_send(link, &pack, NULL, 0, NULL);
	n_open++;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	(void)data;
	(void)link;
	printf("# a link closed: %s\n", err->text);
}

#define turn_until(condition)                                                                      \
	do {                                                                                       \
		for (int turns_ = 0; turns_ < 3000 && !(condition); turns_++)                      \
			lsc_loop_turn(loop, 10, NULL);                                             \
	} while (0)

static bool connect_all(void)
{
	static const struct lsc_link_events events = {
		.on_open = on_open, .on_record = on_record, .on_close = on_close};
	const struct lsc_link_options options = {.kind = "exec"};
	struct lsc_endpoint at;

	n_open = 0;
	for (int i = 0; i < WORKERS; i++)
		if (lsc_endpoint_parse(&at, lsc_worker_address(workers[i]), NULL) < 0 ||
		    lsc_link_connect(&links[i], loop, &at, &options, &events, NULL, NULL) < 0)
			return false;
	turn_until(n_open == WORKERS);
	return n_open == WORKERS;
}

static bool start(uint64_t kv_bytes)
{
	const struct lsc_worker_options options = {.dir = scratch(),
						   .engine = {.threads = 1, .kv_bytes = kv_bytes}};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_endpoint at;

	for (int i = 0; i < WORKERS; i++)
		if (lsc_endpoint_parse(&at, "127.0.0.1:0", &err) < 0 ||
		    lsc_worker_open(&workers[i], loop, &at, &options, &err) < 0) {
			printf("# %s\n", err.text);
			return false;
		}
	n_requests = 0;
	return connect_all();
}

static void hang_up(void)
{
	for (int i = 0; i < WORKERS; i++) {
		lsc_link_close(links[i]);
		links[i] = NULL;
	}
}

static void stop(void)
{
	hang_up();
	for (int i = 0; i < WORKERS; i++) {
		lsc_worker_close(workers[i]);
		workers[i] = NULL;
	}
}

/* A request with a prompt of its own; it is sent at once. */
static struct request *ask(uint32_t n_prompt, uint32_t wanted, unsigned cut)
{
	uint64_t number = ++n_requests;
	struct request *request = &requests[number - 1];

	*request = (struct request){.n_prompt = n_prompt,
				    .wanted = wanted,
				    .since = number,
				    .cut = cut,
				    .back = go_back,
				    .sampling = {.top_p = 1, .logprobs = true}};
	for (uint32_t i = 0; i < n_prompt; i++)
		request->ids[i] = (uint32_t)(3 + i * number * 7 % 500);
	return request;
}

static void send_all(unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++)
		send_part(i + 1, &requests[i], 0, requests[i].n_prompt);
}

/* Each of the requests alone, one after another, at one worker: what they should get. */
static void answer_alone(void)
{
	for (unsigned i = 0; i < n_requests; i++) {
		struct request *request = &requests[i];
		unsigned cut = request->cut;

		request->cut = 0;
		send_all(i, 1);
		turn_until(request->n == request->wanted);
		drop(i + 1);
		request->cut = cut;
		before[i] = *request;
		request->n = 0;
	}
}

/* Numbers are used once: the same requests come again under others. */
static void renumber(void)
{
	unsigned n = n_requests;

	for (unsigned i = 0; i < n; i++)
		requests[i + n] = requests[i];
	n_requests = 2 * n;
}

static bool same_as_before(unsigned n)
{
	bool same = true;

	for (unsigned i = 0; i < n; i++) {
		const struct request *got = &requests[i + n], *want = &before[i];

		if (got->fail.code)
			printf("# request %u: %s\n", i, got->fail.why);
		same = same && got->n == want->wanted &&
		       !memcmp(got->ids, want->ids,
			       (want->n_prompt + want->n) * sizeof(uint32_t)) &&
		       !memcmp(got->logprobs, want->logprobs, want->n * sizeof(float));
	}
	return same;
}

static void turn_some(void)
{
	for (int i = 0; i < 20; i++)
		lsc_loop_turn(loop, 5, NULL);
}

static void test_together(void)
{
	struct lsc_stage_stats then, now;
	double each;

	if (!ok(start(0), "two workers"))
		return;
	for (int i = 0; i < 12; i++)
		ask(4 + (uint32_t)i, TOKENS, 0);
	answer_alone();
	renumber();
	then = lsc_worker_stats(workers[0]);
	send_all(12, 12);
	turn_until(requests[12].n > 2);
	turn_until(count_open() == 12);
	now = lsc_worker_stats(workers[0]);
	ok(same_as_before(12), "12 requests at once get the tokens, and logprobs, of each alone");
	each = (double)(now.decodes - then.decodes) / (double)(now.steps - then.steps);
	ok(each > 1.5, "%.1f of them run in a step, as far as they meet", each);
	stop();
}

static void test_routes(void)
{
	struct lsc_sampling how = {.temp = 0.8f,
				   .top_p = 0.95f,
				   .top_k = 50,
				   .penalty = 1.3f,
				   .seed = 11,
				   .logprobs = true};

	if (!ok(start(0), "two workers again"))
		return;
	for (unsigned i = 0; i < 12; i++)
		ask(5 + i, TOKENS, i % 4)->sampling =
			i % 2 ? how
			      : (struct lsc_sampling){
					.top_p = 1, .penalty = 1.2f, .logprobs = true};
	answer_alone();
	renumber();
	send_all(12, 12);
	turn_until(count_open() == 12);
	ok(same_as_before(12),
	   "over routes that are cut anywhere, and drawn with a penalty, the tokens are the same");
	stop();
}

/* n requests that decode and, once they do, n_prompts beside them, of which the first has most
 * tokens; how many tokens each of the n got, on average, until that had its first.  *ret_steps:
 * steps till then. */
static double ask_beside(unsigned n, unsigned n_prompts, uint32_t most, unsigned cut,
			 uint64_t *ret_steps)
{
	struct lsc_stage_stats then;
	unsigned all = n + n_prompts;
	uint32_t tokens;

	for (unsigned i = 0; i < n; i++)
		ask(6, MANY, cut);
	for (unsigned i = 0; i < n_prompts; i++)
		ask(i ? 20 : most, 4, cut);
	answer_alone();
	renumber();
	first.request = &requests[all + n];
	send_all(all, n);
	turn_until(requests[all].n > 2);
	then = lsc_worker_stats(workers[0]);
	tokens = count_tokens();
	send_all(all + n, n_prompts);
	turn_until(first.request->n);
	*ret_steps = first.stats.steps - then.steps;
	tokens = first.n_tokens - tokens;
	turn_until(count_open() == all);
	return (double)tokens / n;
}

static void test_long_prompt(void)
{
	uint64_t steps;
	double each;

	if (!ok(start(0), "and again"))
		return;
	each = ask_beside(4, 1, LONG, 0, &steps);
	ok(same_as_before(5), "a long prompt beside decodes: nothing changes for either");
	ok(steps > 20 && each > 5, "it takes %llu steps, in which the others get %.1f tokens each",
	   (unsigned long long)steps, each);
	stop();
}

/* More than a step takes. */
static void test_crowd(void)
{
	uint64_t steps;
	double each;

	if (!ok(start(0), "and for a crowd"))
		return;
	each = ask_beside(4, 70, LONG, 0, &steps);
	ok(same_as_before(74), "74 at once: nothing changes for any");
	ok(each > 5, "those that decode get %.1f tokens each while prompts crowd in", each);
	stop();
	if (!ok(start(0), "and for another"))
		return;
	ask_beside(80, 1, 40, 0, &steps);
	ok(same_as_before(81), "80 decode beside a prompt: nothing changes for any");
	ok(first.open > 81 + 1, "which is answered while %u of them go on", first.open - 82);
	stop();
}

static void test_alternation(void)
{
	uint64_t steps;

	if (!ok(start(0), "and for those that go round"))
		return;
	ask_beside(8, 1, 100, 2, &steps);
	ok(same_as_before(9), "a prompt beside 8 that go round two workers: nothing changes");
	ok(first.open > 9 + 1, "it is answered while %u of them go on", first.open - 10);
	stop();
}

/* The first worker has the first units and the last: what waits for one cannot run with the
 * other. */
static void test_turns(void)
{
	uint64_t steps;
	double each;

	if (!ok(start(0), "and for those that come back"))
		return;
	go_back = true;
	each = ask_beside(4, 1, LONG, 2, &steps);
	go_back = false;
	ok(same_as_before(5), "over three stages at two workers: nothing changes");
	ok(each > 5, "decodes get %.1f tokens each while a prompt is at other units", each);
	stop();
}

/* A prompt in parts, as a router sends it. */
static void test_parts(void)
{
	struct request *request;
	bool drawn = false;

	if (!ok(start(0), "and for parts"))
		return;
	request = ask(40, TOKENS, 0);
	answer_alone();
	renumber();
	request = &requests[1];
	request->reach = 40;
	for (uint32_t pos = 0; pos < 40; pos += 8) {
		send_part(2, request, pos, 8);
		turn_until(latest.pos == pos + 8);
		drawn = drawn || (pos < 32 && latest.drawn.token);
		request->reach = pos + 16 < 40 ? 40 : 0;
	}
	turn_until(count_open() == 1);
	ok(same_as_before(1), "a prompt in parts gets the same answer");
	ok(!drawn, "only the last of them draws a token");
	stop();
}

/* --- room --- */

static uint64_t kv_of(uint32_t positions)
{
	const struct lsc_model_config *c = &image.config;

	return (uint64_t)c->layers * c->kv_heads *
	       (c->head_dim + lsc_align_up(c->head_dim, LSC_LANES)) *
	       lsc_align_up(positions, LSC_PAGE_POSITIONS) * sizeof(float);
}

static uint64_t kv_held(void)
{
	return lsc_worker_stats(workers[0]).kv_bytes;
}

static void test_room(void)
{
	struct request *older, *younger;

	if (!ok(start(kv_of(96)), "workers with room for 96 positions"))
		return;
	/* The younger one has its room first. */
	older = ask(40, TOKENS, 0);
	older->since = 1;
	younger = ask(40, TOKENS, 0);
	younger->since = 2;
	send_all(1, 1);
	turn_until(younger->n > 1);
	send_all(0, 1);
	turn_until(older->n == older->wanted);
	ok(younger->fail.code == ENOSPC, "the younger gives way: %s", younger->fail.why);
	ok(older->n == older->wanted && !older->fail.code, "and the older is answered");
	turn_until(lsc_worker_stats(workers[0]).gave_way == 1);
	is_int(lsc_worker_stats(workers[0]).gave_way, 1, "which is counted");
	older = ask(40, TOKENS, 0);
	older->since = 7;
	send_all(2, 1);
	turn_until(older->fail.code);
	ok(older->fail.code == ENOSPC && older->n == 0,
	   "one that is younger than all is refused: %s", older->fail.why);
	turn_until(lsc_worker_stats(workers[0]).guests == 1);
	is_int(lsc_worker_stats(workers[0]).guests, 1, "and holds nothing");
	drop(1);
	turn_until(kv_held() == 0);
	older = ask(97, 1, 0);
	send_all(3, 1);
	turn_until(older->fail.code);
	ok(older->fail.code == EFBIG, "what never fits is refused as such: %s", older->fail.why);
	older = ask(90, TOKENS, 0);
	send_all(4, 1);
	turn_until(older->fail.code);
	ok(older->fail.code == EFBIG && older->n >= 6, "so is what comes to that: %s",
	   older->fail.why);
	turn_until(kv_held() == 0);
	is_int(kv_held(), 0, "and keeps nothing");
	stop();
}

static void test_vain(void)
{
	struct request *request;

	if (!ok(start(kv_of(192)), "workers with room for 192 positions"))
		return;
	ask(40, 2, 0)->since = 1;
	send_all(0, 1);
	turn_until(requests[0].n == 2);
	ask(20, 2, 0)->since = 3;
	send_all(1, 1);
	turn_until(requests[1].n == 2);
	/* One of 4 pages a layer, where the oldest has 2 and wants one more, and the youngest has
	 * one, of 6. */
	request = ask(100, 2, 0);
	request->since = 2;
	send_all(2, 1);
	turn_until(request->fail.code);
	is_int(request->fail.code, ENOSPC, "one that has no room if younger ones go is refused");
	turn_until(lsc_worker_stats(workers[0]).guests == 2);
	ok(lsc_worker_stats(workers[0]).gave_way == 0 && lsc_worker_stats(workers[0]).guests == 2,
	   "and none of these gives way in vain");
	stop();
}

/* What one says it will need counts against others: it has to be possible. */
static void test_reach(void)
{
	struct request *greedy, *other;

	if (!ok(start(kv_of(96)), "workers with room for 96 positions again"))
		return;
	greedy = ask(5, 1, 0);
	send_all(0, 1);
	turn_until(greedy->n == 1);
	greedy->reach = image.config.context + 1;
	send_part(1, greedy, 5, 1);
	turn_until(greedy->fail.code);
	ok(greedy->fail.code == ERANGE, "more than the context is never needed: %s",
	   greedy->fail.why);
	other = ask(20, 3, 0);
	send_all(1, 1);
	turn_until(other->n == 3 || other->fail.code);
	ok(other->n == 3, "who says so keeps nobody out: %s", other->fail.why);
	stop();
}

static void test_gone(void)
{
	struct request *request;

	if (!ok(start(0), "workers with room"))
		return;
	ask(LONG, 1, 0);
	ask(5, TOKENS, 0);
	send_all(0, 2);
	turn_until(kv_held() > 0);
	drop(1);
	turn_until(requests[1].n == TOKENS && kv_held() <= kv_of(32));
	ok(requests[1].n == TOKENS && kv_held() <= kv_of(32),
	   "a prompt that is dropped on its way is gone, others get on");
	drop(2);
	turn_until(kv_held() == 0);
	is_int(kv_held(), 0, "a drop frees all pages");
	ask(LONG, TOKENS, 3);
	send_all(2, 1);
	turn_until(kv_held() > 0);
	hang_up();
	turn_until(kv_held() == 0 && lsc_worker_stats(workers[0]).guests == 0 &&
		   lsc_worker_stats(workers[1]).kv_bytes == 0);
	is_int(kv_held(), 0, "so does a client that hangs up");
	turn_some();
	is_int(lsc_worker_stats(workers[1]).kv_bytes, 0, "at every stage");
	if (ok(connect_all(), "another call")) {
		request = ask(5, 3, 2);
		send_all(n_requests - 1, 1);
		turn_until(request->n == 3);
		is_int(request->n, 3, "is answered");
	}
	stop();
}

int main(void)
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32, .seed = 3};
	struct lsc_model_config config = *lsc_model_shape("stories260k");
	struct lsc_err err = LSC_ERR_INIT;
	char dir[1024];

	config.context = 4000;
	config.layers = 3;
	snprintf(dir, sizeof(dir), "%s/model", scratch());
	if (!ok(lsc_image_pack_dummy(&config, dir, &options, &err) == 0 &&
			lsc_image_open(&image, dir, &err) == 0 && lsc_loop_new(&loop, &err) == 0,
		"an image"))
		return done_testing();
	test_together();
	test_routes();
	test_long_prompt();
	test_crowd();
	test_alternation();
	test_turns();
	test_parts();
	test_room();
	test_vain();
	test_reach();
	test_gone();
	lsc_loop_free(loop);
	lsc_image_close(&image);
	return done_testing();
}
