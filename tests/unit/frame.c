/* frame: what is built is parsed back; what is damaged or out of bounds is refused in words */
#include <math.h>

#include "tap.h"

#include "base/cleanup.h"
#include "base/macros.h"
#include "net/frame.h"

static struct lsc_pack pack = LSC_PACK_INIT;
static struct lsc_record record = LSC_RECORD_INIT;
static struct lsc_err err;

static const struct lsc_client_id client = {
	{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static const uint32_t some_ids[LSC_FRAME_MAX_TOKENS + 1] = {5, 6, 7};

static struct lsc_run_frame some_run(uint32_t stages)
{
	struct lsc_run_frame run = {
		.client = client,
		.request = 1ull << 63,
		.pos = 300,
		.n = 3,
		.n_stages = stages,
		.sampling = {.temp = 0.5f,
			     .top_p = 0.25f,
			     .min_p = 0.125f,
			     .penalty = 1.5f,
			     .top_k = 40,
			     .seed = UINT64_MAX,
			     .logprobs = true,
			     .top = 7},
		.since = 1ull << 50,
		.reach = 4000,
		.ids = some_ids,
	};

	memset(run.image.bytes, 0xab, sizeof(run.image.bytes));
	for (uint32_t i = 0; i < stages; i++) {
		snprintf(run.route[i].endpoint, sizeof(run.route[i].endpoint), "10.0.0.%u:7001", i);
		run.route[i].first = 2 * i;
		run.route[i].last = 2 * i + 1;
	}
	return run;
}

static bool reparse(void)
{
	ssize_t n = lsc_record_parse(&record, pack.buf.data, pack.buf.len, &err);

	return n == (ssize_t)pack.buf.len;
}

static void test_run(void)
{
	struct lsc_run_frame run = some_run(LSC_FRAME_MAX_STAGES), got;
	bool same = true;

	run.stage = 5;
	memset(run.route[6].endpoint, 'h', 279); /* as long as a node's address may be */
	ok(lsc_frame_pack_run(&pack, &run, 3 * 4 * 64) == 0 && reparse(), "a run is a record");
	memset(&got, 0xee, sizeof(got));
	is_int(lsc_frame_parse_run(&record, &got, &err), 0, "and is parsed");
	ok(lsc_hash_equal(&got.image, &run.image) && !memcmp(&got.client, &client, 16),
	   "image and client survive");
	is_int(got.request, 1ull << 63, "the request's number survives");
	ok(got.pos == 300 && got.n == 3 && got.stage == 5 && got.n_stages == LSC_FRAME_MAX_STAGES,
	   "so do the positions and the stage");
	for (uint32_t i = 0; i < got.n_stages; i++)
		same = same && !strcmp(got.route[i].endpoint, run.route[i].endpoint) &&
		       got.route[i].first == run.route[i].first &&
		       got.route[i].last == run.route[i].last;
	ok(same, "and the route of %d stages", LSC_FRAME_MAX_STAGES);
	ok(got.sampling.temp == 0.5f && got.sampling.top_p == 0.25f &&
		   got.sampling.seed == UINT64_MAX,
	   "and how to sample");
	ok(got.sampling.min_p == 0.125f && got.sampling.top_k == 40 &&
		   got.sampling.penalty == 1.5f && got.sampling.logprobs && got.sampling.top == 7,
	   "by all that there is");
	ok(got.ids && !memcmp(got.ids, some_ids, 12), "with the ids that the penalty needs");
	ok(got.since == 1ull << 50 && got.reach == 4000, "its age and how far it reaches survive");
}

static void test_greedy(void)
{
	struct lsc_run_frame run = some_run(2), got;

	run.n = 1;
	run.sampling = (struct lsc_sampling){0};
	run.reach = 0;
	lsc_frame_pack_run(&pack, &run, 4);
	ok(pack.buf.len <= 170, "a greedy run of one position takes %zu bytes", pack.buf.len);
	is_int(reparse() ? lsc_frame_parse_run(&record, &got, &err) : -1, 0, "and is parsed");
	ok(got.sampling.temp == 0 && got.sampling.top_p == 1 && got.sampling.seed == 0 &&
		   got.sampling.top_k == 0 && got.sampling.min_p == 0 && !got.ids &&
		   !lsc_sampling_penalises(&got.sampling) && !got.sampling.logprobs,
	   "what is left out has its usual value");
}

static void refuses(const struct lsc_run_frame *run, uint32_t body, const char *what)
{
	struct lsc_run_frame got;
	int r;

	lsc_frame_pack_run(&pack, run, body);
	r = reparse() ? lsc_frame_parse_run(&record, &got, &err) : 0;
	ok(r == -EBADMSG && err.text[0], "%s is refused: %s", what, err.text);
}

static void test_bad_runs(void)
{
	struct lsc_run_frame run;

#define CASE(body, what, ...)                                                                      \
	do {                                                                                       \
		run = some_run(3);                                                                 \
		__VA_ARGS__;                                                                       \
		refuses(&run, body, what);                                                         \
	} while (0)
	CASE(0, "no positions", run.n = 0);
	CASE(4 * (LSC_FRAME_MAX_TOKENS + 1), "too many positions",
	     run.n = LSC_FRAME_MAX_TOKENS + 1);
	CASE(12, "a position that would overflow", run.pos = UINT32_MAX);
	CASE(12, "a route of no stages", run.n_stages = 0);
	CASE(12, "a stage that is not on the route", run.stage = 3);
	CASE(12, "a route that starts late", run.route[0].first = 1);
	CASE(12, "a gap", run.route[1].first = 3);
	CASE(12, "an overlap", run.route[1].first = 1);
	CASE(12, "a stage that ends before it begins", run.route[2].last = 3);
	CASE(12, "a unit past any image", run.route[2].last = 65536);
	CASE(12, "a nameless endpoint", run.route[1].endpoint[0] = 0);
	CASE(8, "too few ids", (void)0);
	CASE(16, "too many ids", (void)0);
	CASE(0, "no activations", run.stage = 1);
	CASE(12 * 64 + 4, "half a row of activations", run.stage = 1);
	CASE(12, "a temperature of 2000", run.sampling.temp = 2000);
	CASE(12, "a top_p of 0", run.sampling.top_p = 0);
	CASE(12, "a min_p of 2", run.sampling.min_p = 2);
	CASE(12, "a top_k beyond any", run.sampling.top_k = UINT32_MAX);
	CASE(12, "a penalty of 1000", run.sampling.penalty = 1000);
	CASE(12, "21 logprobs", run.sampling.top = 21);
	CASE(12, "a reach beyond any", run.reach = UINT32_MAX);
	CASE(12, "a client of zeros", memset(&run.client, 0, 16));
#undef CASE
}

/* Records built by hand, as a stranger might. */
static void test_foreign(void)
{
	struct lsc_run_frame got;
	struct lsc_client_id id;

	lsc_pack_begin(&pack, "run");
	lsc_pack_bin(&pack, "image", "0123456789abcdef", 16);
	lsc_pack_bin(&pack, "client", client.bytes, 16);
	lsc_pack_uint(&pack, "request", 7);
	lsc_pack_str(&pack, "new", "a key of a later version");
	lsc_pack_uint(&pack, "pos", 0);
	lsc_pack_uint(&pack, "n", 1);
	lsc_pack_array(&pack, "route", 1);
	lsc_pack_array(&pack, NULL, 4);
	lsc_pack_str(&pack, NULL, "h:1");
	lsc_pack_uint(&pack, NULL, 0);
	lsc_pack_uint(&pack, NULL, 6);
	lsc_pack_str(&pack, NULL, "a field of a later version");
	lsc_pack_uint(&pack, "body", 4);
	is_int(lsc_pack_end(&pack), 0, "a run with keys of a later version");
	is_int(reparse() ? lsc_frame_parse_run(&record, &got, &err) : -1, 0, "is parsed");
	ok(got.route[0].last == 6 && got.request == 7, "for what is known of it");

	lsc_pack_begin(&pack, "run");
	lsc_pack_str(&pack, "image", "0123456789abcdef");
	lsc_pack_end(&pack);
	is_int(reparse() ? lsc_frame_parse_run(&record, &got, &err) : 0, -EBADMSG,
	       "an image that is a string is not");
	lsc_pack_begin(&pack, "client");
	lsc_pack_bin(&pack, "client", "short", 5);
	lsc_pack_end(&pack);
	is_int(reparse() ? lsc_frame_parse_client(&record, &id, &err) : 0, -EBADMSG,
	       "nor is a client of 5 bytes");
	ok(strstr(err.text, "5 bytes"), "which is said: %s", err.text);
}

static void test_small(void)
{
	struct lsc_token_frame token = {.request = 9, .pos = 4711}, got_token;
	struct lsc_client_id id;
	uint64_t request;

	token.drawn.token = UINT32_MAX - 1;
	ok(lsc_frame_pack_client(&pack, &client) == 0 && reparse() &&
		   lsc_record_is(&record, "client") &&
		   lsc_frame_parse_client(&record, &id, &err) == 0 && !memcmp(&id, &client, 16),
	   "a client comes back");
	ok(lsc_frame_pack_token(&pack, &token) == 0 && reparse() &&
		   lsc_record_is(&record, "token") &&
		   lsc_frame_parse_token(&record, &got_token, &err) == 0,
	   "a token is parsed");
	ok(got_token.request == 9 && got_token.pos == 4711 &&
		   got_token.drawn.token == UINT32_MAX - 1 && !got_token.logprobs,
	   "and comes back");
	ok(lsc_frame_pack_drop(&pack, &client, 77) == 0 && reparse() &&
		   lsc_record_is(&record, "drop") &&
		   lsc_frame_parse_drop(&record, &id, &request, &err) == 0 && request == 77 &&
		   !memcmp(&id, &client, 16),
	   "a drop comes back");
	ok(lsc_frame_pack_rest(&pack, &client, 78) == 0 && reparse() &&
		   lsc_record_is(&record, "rest") &&
		   lsc_frame_parse_drop(&record, &id, &request, &err) == 0 && request == 78,
	   "and a rest");
}

/* A run with a penalty but without, or with the wrong number of, ids. */
static void test_ids(void)
{
	struct lsc_run_frame run = some_run(1), got;

	for (int n = 0; n < 3; n++) {
		lsc_pack_begin(&pack, "run");
		lsc_pack_bin(&pack, "image", run.image.bytes, 16);
		lsc_pack_bin(&pack, "client", client.bytes, 16);
		lsc_pack_uint(&pack, "request", 7);
		lsc_pack_uint(&pack, "pos", 0);
		lsc_pack_uint(&pack, "n", 2);
		lsc_pack_array(&pack, "route", 1);
		lsc_pack_array(&pack, NULL, 3);
		lsc_pack_str(&pack, NULL, "h:1");
		lsc_pack_uint(&pack, NULL, 0);
		lsc_pack_uint(&pack, NULL, 6);
		lsc_pack_real(&pack, "penalty", 1.5);
		if (n)
			lsc_pack_bin(&pack, "ids", some_ids, 4 * (uint32_t)n);
		lsc_pack_uint(&pack, "body", 8);
		lsc_pack_end(&pack);
		is_int(reparse() ? lsc_frame_parse_run(&record, &got, &err) : -1,
		       n == 2 ? 0 : -EBADMSG, "a penalty with %d of 2 ids", n);
	}
}

static void test_logprobs(void)
{
	struct lsc_token_frame token = {.request = 9, .pos = 1, .logprobs = true}, got;

	token.drawn = (struct lsc_drawn){
		.token = 4, .logprob = -0.5f, .n_top = 2, .top = {{4, -0.5f}, {7, -INFINITY}}};
	lsc_frame_pack_token(&pack, &token);
	is_int(reparse() ? lsc_frame_parse_token(&record, &got, &err) : -1, 0,
	       "a token with logprobs is parsed");
	ok(got.logprobs && got.drawn.logprob == -0.5f && got.drawn.n_top == 2 &&
		   got.drawn.top[0].token == 4 && got.drawn.top[0].logprob == -0.5f &&
		   got.drawn.top[1].logprob < -1e38f,
	   "and comes back, with what has probability 0 as far down as there is");
	lsc_pack_begin(&pack, "token");
	lsc_pack_uint(&pack, "request", 1);
	lsc_pack_uint(&pack, "pos", 1);
	lsc_pack_uint(&pack, "token", 1);
	lsc_pack_uint(&pack, "logprob", 0);
	lsc_pack_array(&pack, "top", 1);
	lsc_pack_array(&pack, NULL, 2);
	lsc_pack_str(&pack, NULL, "x");
	lsc_pack_real(&pack, NULL, 1);
	lsc_pack_end(&pack);
	is_int(reparse() ? lsc_frame_parse_token(&record, &got, &err) : 0, -EBADMSG,
	       "a top token that is none is refused");
}

static void test_fail(void)
{
	struct lsc_fail_frame fail = {.request = 3, .pos = 12, .code = ESTALE}, got;

	memset(fail.why, 'x', sizeof(fail.why));
	memcpy(fail.why, "a\n\033b", 4);
	ok(lsc_frame_pack_fail(&pack, &fail) == 0 && reparse() &&
		   lsc_frame_parse_fail(&record, &got, &err) == 0,
	   "a fail is parsed");
	ok(got.request == 3 && got.pos == 12 && got.code == ESTALE, "and comes back");
	ok(strlen(got.why) == sizeof(got.why) - 1 && !strncmp(got.why, "a??bxx", 6),
	   "its words fit and hold nothing that moves a cursor");
	fail.code = 0;
	lsc_frame_pack_fail(&pack, &fail);
	ok(reparse() && lsc_frame_parse_fail(&record, &got, &err) == 0 && got.code == EIO,
	   "a fail always has a code");
	lsc_pack_begin(&pack, "fail");
	lsc_pack_uint(&pack, "request", 3);
	lsc_pack_end(&pack);
	is_int(reparse() ? lsc_frame_parse_fail(&record, &got, &err) : 0, -EBADMSG,
	       "a fail without the rest is refused");
}

/* What a worker says of itself. */
static void test_state(void)
{
	const struct lsc_pong_frame pong = {
		.runs = 3, .done = 1ull << 40, .works = true, .step_s = 0.25, .unit_s = 1e-6};
	struct lsc_pong_frame got;
	double within_s;

	ok(lsc_frame_pack_pong(&pack, &pong) == 0 && reparse() &&
		   lsc_frame_parse_pong(&record, &got, &err) == 0,
	   "a pong is parsed");
	ok(got.told && got.runs == 3 && got.done == 1ull << 40 && got.works && got.step_s == 0.25 &&
		   got.unit_s == 1e-6,
	   "and comes back");
	lsc_pack_begin(&pack, "pong");
	lsc_pack_end(&pack);
	ok(reparse() && lsc_frame_parse_pong(&record, &got, &err) == 0 && !got.told,
	   "one of version 1.1 tells nothing");
	lsc_pack_begin(&pack, "pong");
	lsc_pack_uint(&pack, "runs", 1);
	lsc_pack_real(&pack, "unit", -1);
	lsc_pack_end(&pack);
	is_int(reparse() ? lsc_frame_parse_pong(&record, &got, &err) : 0, -EBADMSG,
	       "seconds below zero are refused: %s", err.text);
	ok(lsc_frame_pack_leave(&pack, 1.5) == 0 && reparse() &&
		   lsc_frame_parse_leave(&record, &within_s, &err) == 0 && within_s == 1.5,
	   "a leave comes back");
}

int main(void)
{
	test_run();
	test_greedy();
	test_bad_runs();
	test_foreign();
	test_small();
	test_ids();
	test_logprobs();
	test_fail();
	test_state();
	lsc_pack_release(&pack);
	lsc_record_release(&record);
	return done_testing();
}
