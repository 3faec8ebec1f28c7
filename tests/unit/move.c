/* A worker takes requests over: from real ones, exactly, also of windows and experts and where it
 * has a part itself; and from one that lies, is silent or goes, which ends in words and leaves
 * nothing behind. */
#include "stage/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macros.h"
#include "exec/kernels.h"
#include "model/image.h"
#include "net/kv_frame.h"
#include "net/link.h"
#include "small_model.h"
#include "tap.h"

#define WORKERS 3 /* two stages, and where their requests go */
#define PROMPT  100
#define TOKENS  6
/* Positions that take a while to move, and to compute. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MANY 1000
#else
#define MANY 3000
#endif

static struct {
	struct lsc_loop *loop;
	struct lsc_worker *workers[WORKERS];
	struct lsc_link *links[WORKERS];
	struct lsc_client_id id;
	unsigned open;
	bool answered, has_moved;
	unsigned n_moved; /* ever */
	struct lsc_token_frame token;
	struct lsc_fail_frame fail;
	struct lsc_moved_frame moved;
	uint32_t ids[MANY + TOKENS];
} client = {.id = {{9}}};

static struct lsc_image image = LSC_IMAGE_INIT;

/* Turns the loop until something is true, ten seconds at most. */
#define turn_until(condition)                                                                      \
	do {                                                                                       \
		uint64_t start_ = lsc_clock_ns();                                                  \
		while (!(condition) && lsc_clock_ns() - start_ < 60000000000ull)                   \
			lsc_loop_turn(client.loop, 10, NULL);                                      \
	} while (0)

static void on_open(void *data, struct lsc_link *link)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;

	(void)data;
	if (lsc_frame_pack_client(&pack, &client.id) == 0)
		lsc_link_send(link, &pack, NULL, 0, NULL);
	client.open++;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	(void)data;
	(void)link;
	(void)body_len;
	*ret_body = NULL;
	client.answered = true;
	if (lsc_record_is(record, "token"))
		return lsc_frame_parse_token(record, &client.token, err);
	client.has_moved = lsc_record_is(record, "moved");
	client.n_moved += client.has_moved;
	if (client.has_moved)
		return lsc_frame_parse_moved(record, &client.moved, err);
	return lsc_frame_parse_fail(record, &client.fail, err);
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	(void)data;
	(void)link;
	printf("# a link closed: %s\n", err->text);
}

static const struct lsc_link_events events = {
	.on_open = on_open, .on_record = on_record, .on_close = on_close};

static bool start(const char *dir, uint64_t kv_bytes)
{
	const struct lsc_link_options link_options = {.kind = "exec"};
	const struct lsc_worker_options options = {.dir = dir, .engine = {.threads = 1}};
	struct lsc_worker_options last = options;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_endpoint at;

	last.engine.kv_bytes = kv_bytes;
	client.open = 0;
	for (int i = 0; i < WORKERS; i++)
		if (lsc_endpoint_parse(&at, "127.0.0.1:0", &err) < 0 ||
		    lsc_worker_open(&client.workers[i], client.loop, &at,
				    i + 1 < WORKERS ? &options : &last, &err) < 0 ||
		    lsc_endpoint_parse(&at, lsc_worker_address(client.workers[i]), &err) < 0 ||
		    lsc_link_connect(&client.links[i], client.loop, &at, &link_options, &events,
				     NULL, &err) < 0)
			return ok(false, "workers: %s", err.text);
	turn_until(client.open == WORKERS);
	return client.open == WORKERS;
}

static void stop(void)
{
	for (int i = 0; i < WORKERS; i++) {
		lsc_link_close(client.links[i]);
		lsc_worker_close(client.workers[i]);
		client.links[i] = NULL;
		client.workers[i] = NULL;
	}
}

static void drop(unsigned worker, uint64_t request)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;

	if (lsc_frame_pack_drop(&pack, &client.id, request) == 0)
		lsc_link_send(client.links[worker], &pack, NULL, 0, NULL);
}

/* The last unit of the first stage, of two. */
static uint32_t cut(void)
{
	uint32_t unit = image.n_units / 2;

	while (!lsc_model_may_begin(&image.config, unit + 1))
		unit++;
	return unit;
}

/* Stages of a route: two workers, or one alone. */
static uint32_t put_route(struct lsc_frame_stage *route, unsigned first, bool two)
{
	for (unsigned s = 0; s <= two; s++) {
		snprintf(route[s].endpoint, sizeof(route[s].endpoint), "%s",
			 lsc_worker_address(client.workers[first + s]));
		route[s].first = s ? cut() + 1 : 0;
		route[s].last = two && !s ? cut() : image.n_units - 1;
	}
	return 1 + two;
}

static bool wait_answer(void)
{
	client.answered = false;
	client.fail = (struct lsc_fail_frame){0};
	client.has_moved = false;
	turn_until(client.answered);
	return client.answered && !client.fail.code;
}

/* Positions from pos to end - 1; the token that follows goes to ids[end]. */
static bool run(unsigned first, bool two, uint64_t request, uint32_t pos, uint32_t end)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP_FREE struct lsc_run_frame *frame = calloc(1, sizeof(*frame));

	*frame = (struct lsc_run_frame){
		.image = image.id,
		.client = client.id,
		.request = request,
		.pos = pos,
		.n = end - pos,
		.sampling = {.top_p = 1, .penalty = 1.3f},
		.ids = client.ids + pos,
	};
	frame->n_stages = put_route(frame->route, first, two);
	if (lsc_frame_pack_run(&pack, frame, 4 * frame->n) < 0 ||
	    lsc_link_send(client.links[first], &pack, client.ids + pos, 4 * frame->n, NULL) < 0 ||
	    !wait_answer())
		return false;
	client.ids[end] = client.token.drawn.token;
	return true;
}

/* TOKENS tokens: the first half over two stages, the others by whoever has it then. */
static bool begin(uint64_t request)
{
	for (uint32_t i = 0; i < PROMPT; i++)
		client.ids[i] = 3 + i * i % (image.config.vocab - 3);
	if (!run(0, true, request, 0, PROMPT))
		return false;
	for (uint32_t end = PROMPT + 1; end < PROMPT + TOKENS / 2; end++)
		if (!run(0, true, request, end - 1, end))
			return false;
	return true;
}

static bool go_on(unsigned first, bool two, uint64_t request)
{
	for (uint32_t end = PROMPT + TOKENS / 2; end < PROMPT + TOKENS; end++)
		if (!run(first, two, request, end - 1, end))
			return false;
	return true;
}

static struct lsc_adopt_frame an_adopt(uint64_t from, uint64_t request)
{
	struct lsc_adopt_frame adopt = {.image = image.id,
					.client = client.id,
					.request = request,
					.from = from,
					.n = PROMPT + TOKENS / 2 - 1};

	adopt.n_stages = put_route(adopt.route, 0, true);
	return adopt;
}

static bool send_adopt(unsigned worker, const struct lsc_adopt_frame *adopt)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;

	return lsc_frame_pack_adopt(&pack, adopt, 4 * adopt->n) == 0 &&
	       lsc_link_send(client.links[worker], &pack, client.ids, 4 * adopt->n, NULL) == 0;
}

static bool adopt_by(unsigned worker, const struct lsc_adopt_frame *adopt)
{
	return send_adopt(worker, adopt) && wait_answer() && client.has_moved;
}

static bool adopt_plainly(uint64_t from, uint64_t request)
{
	const struct lsc_adopt_frame adopt = an_adopt(from, request);

	return adopt_by(2, &adopt);
}

/* Whether a worker comes to hold nothing. */
static bool is_empty(unsigned worker)
{
	turn_until(lsc_worker_stats(client.workers[worker]).kv_bytes == 0 &&
		   lsc_worker_stats(client.workers[worker]).guests == 0);
	return lsc_worker_stats(client.workers[worker]).kv_bytes == 0 &&
	       lsc_worker_stats(client.workers[worker]).guests == 0;
}

static void test_same(const char *what)
{
	uint32_t want[MANY + TOKENS];
	uint64_t bytes;

	ok(begin(1) && go_on(0, true, 1), "%s: two stages answer", what);
	memcpy(want, client.ids, sizeof(want));
	drop(0, 1);
	drop(1, 1);
	ok(begin(2) && adopt_plainly(2, 3), "%s: a third takes the request over: %s", what,
	   client.fail.why);
	bytes = client.moved.bytes;
	ok(client.moved.request == 3 && client.moved.pos == PROMPT + TOKENS / 2 - 1 && bytes > 0,
	   "%s: from where it is, by %llu bytes", what, (unsigned long long)bytes);
	drop(0, 2);
	drop(1, 2);
	ok(is_empty(0) && is_empty(1), "%s: the stages have nothing any more", what);
	ok(go_on(2, false, 3) && !memcmp(want, client.ids, sizeof(want)),
	   "%s: and it goes on with the same tokens", what);
	drop(2, 3);

	ok(begin(4) && adopt_by(0, &(struct lsc_adopt_frame[]){an_adopt(4, 5)}[0]),
	   "%s: a stage takes over what the other has: %s", what, client.fail.why);
	ok(client.moved.bytes < bytes, "%s: of its own nothing is sent", what);
	drop(1, 4);
	drop(0, 4);
	ok(go_on(0, false, 5) && !memcmp(want, client.ids, sizeof(want)),
	   "%s: with the same tokens", what);
	drop(0, 5);
	ok(is_empty(0) && is_empty(1) && is_empty(2), "%s: dropped, all is given back", what);
}

/* What cannot be taken over, and nothing is. */
static void test_refused(void)
{
	struct lsc_adopt_frame adopt;

	ok(begin(10), "a request");
	adopt = an_adopt(10, 11);
	adopt.image.bytes[0] ^= 1;
	ok(!adopt_by(2, &adopt) && client.fail.code == ENOENT && client.fail.request == 11,
	   "of another image: %s", client.fail.why);
	adopt = an_adopt(99, 12);
	ok(!adopt_by(2, &adopt) && client.fail.code == ESTALE, "that nobody knows: %s",
	   client.fail.why);
	adopt = an_adopt(10, 13);
	adopt.n++;
	ok(!adopt_by(2, &adopt) && client.fail.code == ESTALE, "further than it reaches: %s",
	   client.fail.why);
	adopt = an_adopt(10, 14);
	adopt.reach = 100000;
	ok(!adopt_by(2, &adopt) && client.fail.code == ERANGE, "that is too long: %s",
	   client.fail.why);
	adopt = an_adopt(10, 15);
	adopt.route[1].last--;
	ok(!adopt_by(2, &adopt) && client.fail.code == EINVAL, "without an end: %s",
	   client.fail.why);
	adopt = an_adopt(10, 16);
	snprintf(adopt.route[1].endpoint, sizeof(adopt.route[1].endpoint), "127.0.0.1:1");
	ok(!adopt_by(2, &adopt) && client.fail.code == EHOSTDOWN, "from nobody: %s",
	   client.fail.why);
	ok(is_empty(2), "none of it is there");
	ok(adopt_plainly(10, 17), "after all that it can be");
	ok(!adopt_plainly(10, 17) && client.fail.code == EINVAL, "once: %s", client.fail.why);
	for (unsigned i = 0; i < WORKERS; i++) {
		drop(i, 10);
		drop(i, 17);
	}
	ok(is_empty(0) && is_empty(1) && is_empty(2), "and nothing is left");
}

static void test_no_room(void)
{
	ok(begin(20), "a request that has no room elsewhere");
	ok(!adopt_plainly(20, 21) && client.fail.code == EFBIG, "is not taken over: %s",
	   client.fail.why);
	ok(go_on(0, true, 20), "and goes on where it is");
}

/* While much moves, others get their tokens. */
static void test_turns(void)
{
	struct lsc_adopt_frame adopt = an_adopt(40, 41);
	unsigned before = client.n_moved, steps = 0;

	for (uint32_t i = 0; i < MANY; i++)
		client.ids[i] = 3 + i * i % (image.config.vocab - 3);
	ok(run(0, true, 40, 0, MANY), "a long request");
	ok(run(0, true, 42, 0, PROMPT), "and a short one");
	adopt.n = MANY;
	ok(send_adopt(2, &adopt), "the long one is to move");
	while (client.n_moved == before && steps < 100 &&
	       run(0, true, 42, PROMPT + steps, PROMPT + steps + 1))
		steps++;
	turn_until(client.n_moved > before);
	ok(client.n_moved > before && client.moved.bytes == 1ull * MANY * 5 * 2 * 4 * 64 * 4,
	   "it does, by %llu bytes", (unsigned long long)client.moved.bytes);
	ok(steps >= 3, "the short one got %u tokens meanwhile", steps);
	for (unsigned i = 0; i < WORKERS; i++) {
		drop(i, 40);
		drop(i, 41);
		drop(i, 42);
	}
	ok(is_empty(0) && is_empty(1) && is_empty(2), "and all is given back");
}

/* --- a stage that lies --- */

enum lie { SHORT, LONG, UNASKED, NO_NUMBER, CODE, GONE, TRUE };

static struct {
	struct lsc_link *link;
	enum lie lie;
	uint32_t row_bytes;
	float rows[1 << 18];
	unsigned asked;
	char aborted[sizeof(((struct lsc_err *)0)->text)];
} liar;

static int on_liar_record(void *data, struct lsc_link *link, const struct lsc_record *record,
			  uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_pages_frame pages = {.code = liar.lie == CODE ? EOPNOTSUPP : 0,
					.why = "they stay on a device"};
	uint32_t len;
	int r;

	(void)data;
	(void)body_len;
	*ret_body = NULL;
	if (!lsc_record_is(record, "fetch"))
		return 0;
	r = lsc_frame_parse_fetch(record, &pages.of, err);
	if (r < 0)
		return r;
	if (++liar.asked > 1 && liar.lie == GONE) {
		lsc_link_close(link);
		liar.link = NULL;
		return 0;
	}
	len = pages.of.n * liar.row_bytes;
	len = liar.lie == SHORT ? len / 2 : liar.lie == LONG ? 2 * len : len;
	pages.of.layer += liar.lie == UNASKED;
	r = lsc_frame_pack_pages(&pack, &pages, len);
	return r < 0 ? r
		     : lsc_link_send(link, &pack, pages.code ? NULL : liar.rows,
				     pages.code ? 0 : len, NULL);
}

static void on_liar_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	(void)data;
	snprintf(liar.aborted, sizeof(liar.aborted), "%s", err->text);
	lsc_link_close(link);
	liar.link = NULL;
}

static void *on_liar_link(void *data, struct lsc_link *link)
{
	liar.link = link;
	return data;
}

static const struct lsc_link_events liar_events = {.on_record = on_liar_record,
						   .on_close = on_liar_close};

static bool lie_once(struct lsc_listener *listener, enum lie lie, uint64_t request)
{
	struct lsc_adopt_frame adopt = an_adopt(30, request);

	liar.lie = lie;
	liar.asked = 0;
	liar.aborted[0] = 0;
	memset(liar.rows, lie == NO_NUMBER ? 0xff : 0, sizeof(liar.rows));
	snprintf(adopt.route[1].endpoint, sizeof(adopt.route[1].endpoint), "%s",
		 lsc_listener_address(listener));
	return adopt_by(2, &adopt);
}

static void test_liar(void)
{
	const struct lsc_link_options options = {.kind = "exec"};
	struct lsc_listener *listener = NULL;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_endpoint at;

	liar.row_bytes = 8 * image.config.kv_heads * image.config.head_dim;
	if (!ok(lsc_endpoint_parse(&at, "127.0.0.1:0", &err) == 0 &&
			lsc_listener_open(&listener, client.loop, &at, &options, &liar_events,
					  on_liar_link, &liar, &err) == 0 &&
			begin(30),
		"a stage that is none: %s", err.text))
		return;
	ok(!lie_once(listener, SHORT, 31) && client.fail.code == EHOSTDOWN, "too few bytes: %s",
	   client.fail.why);
	turn_until(liar.aborted[0]);
	ok(strstr(liar.aborted, "bytes for"), "it is told so: %s", liar.aborted);
	ok(!lie_once(listener, LONG, 32) && client.fail.code == EHOSTDOWN, "too many: %s",
	   client.fail.why);
	ok(!lie_once(listener, UNASKED, 33) && client.fail.code == EHOSTDOWN,
	   "of a layer that was not asked for: %s", client.fail.why);
	ok(!lie_once(listener, NO_NUMBER, 34) && client.fail.code == EBADMSG, "no numbers: %s",
	   client.fail.why);
	ok(!lie_once(listener, CODE, 35) && client.fail.code == EOPNOTSUPP &&
		   strstr(client.fail.why, "on a device"),
	   "one that has them elsewhere says so: %s", client.fail.why);
	ok(!lie_once(listener, GONE, 36) && client.fail.code == EHOSTDOWN,
	   "one that goes in the middle: %s", client.fail.why);
	ok(is_empty(2), "of all that nothing is left");
	ok(lie_once(listener, TRUE, 37), "one that says zero is believed: %s", client.fail.why);
	drop(2, 37);
	ok(is_empty(2), "until the drop");
	drop(0, 30);
	drop(1, 30);
	lsc_link_close(liar.link);
	lsc_listener_close(listener);
}

static void test_all(void)
{
	test_refused();
	test_liar();
	stop();
	ok(start(scratch(), 3 * LSC_PAGE_POSITIONS * 2 * 2 * 16 * sizeof(float)),
	   "a worker with little room");
	test_no_room();
}

static void test_model(const struct lsc_model_config *config, const char *what, void (*more)(void))
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32, .seed = 3};
	struct lsc_err err = LSC_ERR_INIT;
	char dir[1024], path[1100];

	snprintf(dir, sizeof(dir), "%s", scratch());
	snprintf(path, sizeof(path), "%s/%s", dir, what);
	if (!ok(lsc_image_pack_dummy(config, path, &options, &err) == 0 &&
			lsc_image_open(&image, path, &err) == 0 && start(dir, 0),
		"%s: workers %s", what, err.text))
		return;
	test_same(what);
	if (more)
		more();
	stop();
	lsc_image_close(&image);
	image = (struct lsc_image)LSC_IMAGE_INIT;
}

int main(void)
{
	struct lsc_model_config config = SMALL_MODEL(5, 512);
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_loop_new(&client.loop, &err) < 0)
		return 1;
	test_model(&config, "plain", test_all);
	config.window = 40;
	config.window_first = 1;
	test_model(&config, "windows", NULL);
	config.window = config.window_first = 0;
	config.experts = 4;
	config.experts_used = 2;
	config.expert_ffn = 32;
	test_model(&config, "experts", NULL);
	config = (struct lsc_model_config)SMALL_MODEL(5, 512);
	config.context = MANY + TOKENS;
	config.kv_heads = 4;
	config.head_dim = 64;
	test_model(&config, "wide", test_turns);
	lsc_loop_free(client.loop);
	return done_testing();
}
