/* Stage workers: run frames are answered alone and as a pipeline; where they cannot be, in words;
 * and what clients leave behind goes. */
#include "stage/worker.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "exec/kernels.h"
#include "mem/segment.h"
#include "model/image.h"
#include "net/frame.h"
#include "net/link.h"
#include "tap.h"

#define WORKERS 3
#define TOKENS  12

/* A router in small: one link to each worker, the last token or failure seen. */
struct client {
	struct lsc_loop *loop;
	struct lsc_link *links[WORKERS];
	struct lsc_client_id id, names; /* names: in its runs, where that is another */
	unsigned open, closed;
	bool answered, ponged;
	struct lsc_pong_frame pong;
	double leave_s; /* that a worker gave itself; -1: none did */
	struct lsc_token_frame token;
	struct lsc_fail_frame fail;
};

static void on_open(void *data, struct lsc_link *link)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct client *client = data;

	if (lsc_frame_pack_client(&pack, &client->id) == 0)
		lsc_link_send(link, &pack, NULL, 0, NULL);
	client->open++;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	struct client *client = data;

	(void)link;
	(void)body_len;
	*ret_body = NULL;
	if (lsc_record_is(record, "pong")) {
		client->ponged = true;
		return lsc_frame_parse_pong(record, &client->pong, err);
	}
	if (lsc_record_is(record, "leave"))
		return lsc_frame_parse_leave(record, &client->leave_s, err);
	client->answered = true;
	if (lsc_record_is(record, "token"))
		return lsc_frame_parse_token(record, &client->token, err);
	return lsc_frame_parse_fail(record, &client->fail, err);
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	struct client *client = data;

	(void)link;
	client->closed++;
	printf("# a link closed: %s\n", err->text);
}

static const struct lsc_link_events events = {
	.on_open = on_open,
	.on_record = on_record,
	.on_close = on_close,
};

/* Turns the loop until something is true, ten seconds at most. */
#define turn_until(loop, condition)                                                                \
	do {                                                                                       \
		for (int turns_ = 0; turns_ < 1000 && !(condition); turns_++)                      \
			lsc_loop_turn(loop, 10, NULL);                                             \
	} while (0)

/* Sends a run over a route of n stages that share the units evenly. */
static bool send_run(struct client *client, struct lsc_worker **workers,
		     const struct lsc_image *image, uint32_t n_stages, uint64_t request,
		     uint32_t pos, const uint32_t *ids, uint32_t n)
{
	static const struct lsc_client_id none;
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP_FREE struct lsc_run_frame *run = calloc(1, sizeof(*run));

	*run = (struct lsc_run_frame){.image = image->id,
				      .client = client->id,
				      .request = request,
				      .pos = pos,
				      .n = n,
				      .n_stages = n_stages,
				      .sampling = {.top_p = 1}};
	if (memcmp(&client->names, &none, sizeof(none)))
		run->client = client->names;
	for (uint32_t s = 0; s < n_stages; s++) {
		struct lsc_frame_stage *stage = &run->route[s];

		snprintf(stage->endpoint, sizeof(stage->endpoint), "%s",
			 lsc_worker_address(workers[s]));
		stage->first = s * image->n_units / n_stages;
		stage->last = (s + 1) * image->n_units / n_stages - 1;
	}
	client->answered = false;
	client->fail = (struct lsc_fail_frame){0};
	return lsc_frame_pack_run(&pack, run, n * 4) == 0 &&
	       lsc_link_send(client->links[0], &pack, ids, n * 4, NULL) == 0;
}

/* The same; whether a token came. */
static bool step(struct client *client, struct lsc_worker **workers, const struct lsc_image *image,
		 uint32_t n_stages, uint64_t request, uint32_t pos, const uint32_t *ids, uint32_t n)
{
	if (!send_run(client, workers, image, n_stages, request, pos, ids, n))
		return false;
	turn_until(client->loop, client->answered);
	if (client->fail.code)
		printf("# %s\n", client->fail.why);
	return client->answered && client->fail.code == 0;
}

static void drop(struct client *client, unsigned worker, uint64_t request)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;

	if (lsc_frame_pack_drop(&pack, &client->id, request) == 0)
		lsc_link_send(client->links[worker], &pack, NULL, 0, NULL);
}

/* A greedy answer of TOKENS tokens over n stages. */
static bool answer(struct client *client, struct lsc_worker **workers,
		   const struct lsc_image *image, uint32_t n_stages, uint32_t ret_tokens[TOKENS])
{
	static const uint32_t prompt[] = {1, 17, 300, 5};
	uint32_t pos = 0, n = LSC_ARRAY_SIZE(prompt);
	const uint32_t *ids = prompt;

	for (int i = 0; i < TOKENS; i++) {
		if (!step(client, workers, image, n_stages, n_stages, pos, ids, n))
			return false;
		pos += n;
		if (client->token.request != n_stages || client->token.pos != pos)
			return false;
		ret_tokens[i] = client->token.drawn.token;
		ids = &ret_tokens[i];
		n = 1;
	}
	return true;
}

static void test_answers(struct client *client, struct lsc_worker **workers,
			 const struct lsc_image *image)
{
	static const uint32_t one_id[] = {1};
	struct lsc_image other = *image;
	uint32_t alone[TOKENS], piped[TOKENS];

	ok(answer(client, workers, image, 1, alone), "one worker answers");
	ok(answer(client, workers, image, 2, piped) && !memcmp(alone, piped, sizeof(alone)),
	   "two in a row give the same tokens");
	ok(answer(client, workers, image, 3, piped) && !memcmp(alone, piped, sizeof(alone)),
	   "three as well");
	ok(!step(client, workers, image, 2, 77, 9, one_id, 1) && client->fail.code != 0,
	   "a position without its past fails: %s", client->fail.why);
	other.id.bytes[0] ^= 1;
	ok(!step(client, workers, &other, 1, 78, 0, one_id, 1) && client->fail.code != 0,
	   "an image that is not there fails: %s", client->fail.why);
	ok(answer(client, workers, image, 3, piped) && !memcmp(alone, piped, sizeof(alone)),
	   "and the workers go on");
}

static bool start(struct client *client, struct lsc_worker **workers, const char *dir,
		  uint64_t kv_bytes, uint64_t body_bytes, uint64_t wait_ns)
{
	const struct lsc_worker_options options = {.dir = dir,
						   .engine = {.threads = 1, .kv_bytes = kv_bytes},
						   .body_bytes = body_bytes,
						   .wait_ns = wait_ns};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_endpoint at;

	for (int i = 0; i < WORKERS; i++)
		if (lsc_endpoint_parse(&at, "127.0.0.1:0", &err) < 0 ||
		    lsc_worker_open(&workers[i], client->loop, &at, &options, &err) < 0) {
			printf("# %s\n", err.text);
			return false;
		}
	return true;
}

static bool join(struct client *client, struct lsc_worker **workers)
{
	const struct lsc_link_options link_options = {.kind = "exec"};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_endpoint at;

	for (int i = 0; i < WORKERS; i++)
		if (lsc_endpoint_parse(&at, lsc_worker_address(workers[i]), &err) < 0 ||
		    lsc_link_connect(&client->links[i], client->loop, &at, &link_options, &events,
				     client, &err) < 0) {
			printf("# %s\n", err.text);
			return false;
		}
	turn_until(client->loop, client->open == WORKERS);
	return client->open == WORKERS;
}

static void leave(struct client *client)
{
	for (int i = 0; i < WORKERS; i++) {
		lsc_link_close(client->links[i]);
		client->links[i] = NULL;
	}
	client->open = 0;
}

static void stop(struct lsc_worker **workers)
{
	for (int i = 0; i < WORKERS; i++) {
		lsc_worker_close(workers[i]);
		workers[i] = NULL;
	}
}

/* Bytes of the KV of one request of up to a page of positions, through all units. */
static uint64_t kv_of_one(const struct lsc_image *image)
{
	const struct lsc_model_config *c = &image->config;

	return (uint64_t)c->layers * c->kv_heads *
	       (c->head_dim + lsc_align_up(c->head_dim, LSC_LANES)) * LSC_PAGE_POSITIONS *
	       sizeof(float);
}

/* Asks until there is room, which comes when what was before is swept up. */
static bool has_room(struct client *client, struct lsc_worker **workers,
		     const struct lsc_image *image, uint32_t n_stages, uint64_t request)
{
	static const uint32_t ids[] = {1, 17};

	for (int i = 0; i < 100; i++, request += 1000) {
		if (step(client, workers, image, n_stages, request, 0, ids, 2)) {
			for (int w = 0; w < WORKERS; w++)
				drop(client, w, request);
			return true;
		}
		lsc_loop_turn(client->loop, 10, NULL);
	}
	return false;
}

/* Workers with room for the KV of one request. */
static void test_room(struct client *client, struct lsc_worker **workers,
		      const struct lsc_image *image)
{
	static const uint32_t ids[] = {1, 17};
	struct client other = {.loop = client->loop, .id = {{7}}};

	ok(step(client, workers, image, 1, 1, 0, ids, 2), "room for one request");
	ok(!step(client, workers, image, 1, 2, 0, ids, 2) && client->fail.code == ENOSPC,
	   "and for no second: %s", client->fail.why);
	ok(step(client, workers, image, 1, 1, 2, ids, 1), "the first goes on");
	drop(client, 0, 1);
	ok(step(client, workers, image, 1, 3, 0, ids, 2), "dropped, it makes room");
	drop(client, 0, 3);

	/* The drop overtakes activations that are on their way from the stage before. */
	drop(client, 1, 4);
	send_run(client, workers, image, 2, 4, 0, ids, 2);
	for (int i = 0; i < 30 && !client->answered; i++)
		lsc_loop_turn(client->loop, 10, NULL);
	ok(!client->answered, "a dropped request is not answered");
	drop(client, 0, 4);
	ok(has_room(client, workers, image, 2, 5), "and what still came for it holds no KV");

	client->names = (struct lsc_client_id){{66}};
	send_run(client, workers, image, 1, 1, 0, ids, 2);
	client->names = (struct lsc_client_id){{0}};
	ok(has_room(client, workers, image, 1, 6), "a client without a link keeps no KV");

	ok(join(&other, workers) && step(&other, workers, image, 2, 1, 0, ids, 2),
	   "another client takes the room");
	leave(&other);
	ok(has_room(client, workers, image, 2, 7), "which comes back when it is gone");
}

static void test_limits(struct client *client, struct lsc_worker **workers,
			const struct lsc_image *image)
{
	static const uint32_t ids[300];
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack ping = LSC_PACK_INIT, rename = LSC_PACK_INIT;

	ok(!step(client, workers, image, 2, 1, 0, ids, 300) && client->fail.code == ENOBUFS &&
		   strstr(client->fail.why, "next stage"),
	   "activations beyond the limit: %s", client->fail.why);
	ok(step(client, workers, image, 2, 2, 0, ids, 2), "within it they pass");
	lsc_frame_pack_ping(&ping);
	/* What a step took is known a moment after what it gave. */
	for (int i = 0; i < 100 && (client->pong.step_s <= 0 || client->pong.works); i++) {
		client->ponged = false;
		lsc_link_send(client->links[1], &ping, NULL, 0, NULL);
		turn_until(client->loop, client->ponged);
		lsc_loop_turn(client->loop, 10, NULL);
	}
	ok(client->ponged && client->pong.told, "a ping is answered");
	ok(client->pong.runs == 0 && client->pong.done > 0 && !client->pong.works &&
		   client->pong.step_s > 0,
	   "with what the worker is at");
	lsc_frame_pack_client(&rename, &(struct lsc_client_id){{5}});
	lsc_link_send(client->links[2], &rename, NULL, 0, NULL);
	turn_until(client->loop, client->closed);
	ok(client->closed == 1, "a client that changes its name is shown the door");
}

/* --- images that arrive --- */

static void test_arriving(struct client *client, struct lsc_worker **workers, const char *dir)
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32, .seed = 4};
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	LSC_CLEANUP(lsc_segment_close) struct lsc_segment segment = LSC_SEGMENT_INIT;
	static const uint32_t ids[] = {1, 17};
	struct lsc_err err = LSC_ERR_INIT;
	char path[1100];

	snprintf(path, sizeof(path), "%s/elsewhere", dir);
	if (!ok(mkdir(path, 0700) == 0, "another folder"))
		return;
	strcat(path, "/source");
	ok(lsc_image_pack_dummy(lsc_model_shape("stories260k"), path, &options, &err) == 0 &&
		   lsc_image_open(&image, path, &err) == 0 &&
		   lsc_segment_create(&segment, dir, "arriving", image.manifest, image.manifest_len,
				      image.bytes, image.n_pieces, &err) == 0,
	   "an image that arrives%s", err.text);
	ok(!step(client, workers, &image, 1, 1, 0, ids, 2) && client->fail.code == ETIMEDOUT,
	   "units that do not come: %s", client->fail.why);
	lsc_segment_close(&segment);
	snprintf(path, sizeof(path), "%s/arriving.part", dir);
	ok(lsc_dir_remove(path, &err) == 0 &&
		   lsc_segment_create(&segment, dir, "arriving", image.manifest, image.manifest_len,
				      image.bytes, image.n_pieces, &err) == 0,
	   "somebody removes it all and it arrives anew%s", err.text);
	memcpy(segment.data, image.data, image.bytes);
	for (uint32_t i = 0; i < image.blocks[1].first_piece; i++)
		lsc_segment_mark(&segment, i);
	send_run(client, workers, &image, 2, 2, 0, ids, 2);
	for (int i = 0; i < 5; i++)
		lsc_loop_turn(client->loop, 10, NULL);
	for (uint32_t i = 0; i < image.n_pieces; i++)
		lsc_segment_mark(&segment, i);
	turn_until(client->loop, client->answered);
	ok(client->answered && client->fail.code == 0 && client->token.request == 2,
	   "a run that waits goes on when they come");
	ok(lsc_segment_commit(&segment, &err) == 0 &&
		   step(client, workers, &image, 3, 3, 0, ids, 2),
	   "and others when the image is whole");
}

/* One whose receiver gives up. */
static void test_given_up(struct client *client, struct lsc_worker **workers, const char *dir)
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32, .seed = 5};
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	LSC_CLEANUP(lsc_segment_close) struct lsc_segment segment = LSC_SEGMENT_INIT;
	static const uint32_t ids[] = {1, 17};
	struct lsc_err err = LSC_ERR_INIT;
	char path[1100];

	snprintf(path, sizeof(path), "%s/elsewhere/other", dir);
	ok(lsc_image_pack_dummy(lsc_model_shape("stories260k"), path, &options, &err) == 0 &&
		   lsc_image_open(&image, path, &err) == 0 &&
		   lsc_segment_create(&segment, dir, "going", image.manifest, image.manifest_len,
				      image.bytes, image.n_pieces, &err) == 0,
	   "another that arrives%s", err.text);
	send_run(client, workers, &image, 1, 4, 0, ids, 2);
	for (int i = 0; i < 5; i++)
		lsc_loop_turn(client->loop, 10, NULL);
	lsc_segment_discard(&segment, &err);
	turn_until(client->loop, client->answered);
	ok(client->fail.code == EPIPE, "and is given up: %s", client->fail.why);
}

/* --- strangers --- */

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int call(const struct lsc_worker *worker)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_port = htons((uint16_t)atoi(strrchr(lsc_worker_address(worker), ':') + 1));
	return connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 ? fd : -1;
}

/* What strangers say, as records behind a good hello or instead of one. */
static void say(int fd, unsigned what, const struct lsc_image *image)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP_FREE struct lsc_run_frame *run = calloc(1, sizeof(*run));
	static const char later[] = "\x83\xa4type\xa5hello\xa4kind\xa4"
				    "exec\xa7version\x92\x02";
	static const uint8_t noise[] = "GET / HTTP/1.1\r\n\r\n",
			     huge[] = {0xdf, 255, 255, 255, 255};
	ssize_t n = 0;

	*run = (struct lsc_run_frame){.image = image->id, .client = {{3}}, .n = 1, .n_stages = 1};
	memcpy(run->route[0].endpoint, "x:1", 4);
	run->route[0].last = what % 4 ? 60000 : image->n_units - 1;
	lsc_pack_hello(&pack, what % 12 == 3 ? "cast" : "exec");
	if (what % 12 > 3 && what % 12 < 8)
		lsc_frame_pack_run(&pack, run, what % 12 == 4 ? 1 << 30 : 4);
	if (what % 12 == 1)
		n = write(fd, noise, sizeof(noise));
	else if (what % 12 == 2)
		n = write(fd, huge, sizeof(huge));
	else if (what % 12 != 11)
		n = write(fd, pack.buf.data, pack.buf.len - (what % 12 == 8));
	if (what % 12 == 6)
		n = write(fd, "\xc4\x04\x01\0\0", 6); /* a body, short of a byte */
	if (what % 12 == 7)
		n = write(fd, "\xc4\x04\x01\0\0\0", 7);
	if (what % 12 == 9)
		n = write(fd, noise, sizeof(noise));
	if (what % 12 == 10)
		n = write(fd, huge, sizeof(huge));
	if (what % 12 == 11)                         /* of another version */
		n = write(fd, later, sizeof(later)); /* with the 0 */
	(void)n;
}

static void test_strangers(struct client *client, struct lsc_worker **workers,
			   const struct lsc_image *image)
{
	static const uint32_t ids[] = {1};
	int before = count_fds();

	for (unsigned i = 0; i < 1000; i++) {
		int fd = call(workers[0]);

		if (fd < 0) {
			ok(false, "stranger %u gets through", i);
			return;
		}
		say(fd, i, image);
		lsc_loop_turn(client->loop, 0, NULL);
		close(fd);
		lsc_loop_turn(client->loop, 0, NULL);
	}
	turn_until(client->loop, count_fds() <= before);
	is_int(count_fds(), before, "after 1000 strangers no descriptor is left");
	ok(step(client, workers, image, 1, 900, 0, ids, 1), "and the worker answers");
}

static void on_left(void *data)
{
	*(bool *)data = true;
}

/* A worker that leaves finishes what it has. */
static void test_leaving(struct client *client, struct lsc_worker **workers,
			 const struct lsc_image *image)
{
	static const uint32_t ids[] = {1, 17, 5};
	struct client late = {.loop = client->loop, .id = {{8}}, .leave_s = -1};
	struct lsc_err err = LSC_ERR_INIT;
	bool left = false;

	ok(step(client, workers, image, 1, 950, 0, ids, 2), "a request begins");
	client->leave_s = -1;
	is_int(lsc_worker_leave(workers[0], 60000000000u, on_left, &left, &err), 0,
	       "its worker leaves");
	turn_until(client->loop, client->leave_s >= 0);
	ok(client->leave_s == 60, "and says so, and for how long it stays");
	ok(!step(client, workers, image, 1, 951, 0, ids, 2) && client->fail.code == ESHUTDOWN,
	   "a new request is refused: %s", client->fail.why);
	ok(step(client, workers, image, 1, 950, 2, ids + 2, 1), "the old one goes on");
	ok(join(&late, workers), "somebody comes late");
	turn_until(client->loop, late.leave_s >= 0);
	ok(late.leave_s > 50 && late.leave_s < 60, "and is told as well");
	leave(&late);
	for (int i = 0; i < 10; i++)
		lsc_loop_turn(client->loop, 10, NULL);
	ok(!left, "it stays while there is a request");
	leave(client);
	turn_until(client->loop, left);
	ok(left, "and is gone when there is none");

	left = false;
	ok(join(client, workers) && step(client, workers, image, 1, 952, 0, ids, 2) == false,
	   "what has left takes nothing");
	ok(lsc_worker_leave(workers[1], 100000000u, on_left, &left, &err) == 0, "another leaves");
	turn_until(client->loop, left);
	ok(left, "and is gone in time");
}

int main(void)
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32, .seed = 3};
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_worker *workers[WORKERS] = {NULL};
	struct client client = {.id = {{9, 9}}}, second = client, third = client, fourth = client;
	struct lsc_err err = LSC_ERR_INIT;
	char dir[1024];

	snprintf(dir, sizeof(dir), "%s/model", scratch());
	ok(lsc_image_pack_dummy(lsc_model_shape("stories260k"), dir, &options, &err) == 0 &&
		   lsc_image_open(&image, dir, &err) == 0 && lsc_loop_new(&client.loop, &err) == 0,
	   "an image");
	second.loop = third.loop = client.loop;
	if (ok(start(&client, workers, scratch(), 0, 0, 0) && join(&client, workers),
	       "three workers")) {
		test_answers(&client, workers, &image);
		test_strangers(&client, workers, &image);
		test_leaving(&client, workers, &image);
	}
	leave(&client);
	stop(workers);
	if (ok(start(&second, workers, scratch(), kv_of_one(&image), 0, 0) &&
		       join(&second, workers),
	       "three with little room"))
		test_room(&second, workers, &image);
	leave(&second);
	stop(workers);
	if (ok(start(&third, workers, scratch(), 0, 60000, 0) && join(&third, workers),
	       "three that take few activations"))
		test_limits(&third, workers, &image);
	leave(&third);
	stop(workers);
	fourth.loop = client.loop;
	if (ok(start(&fourth, workers, scratch(), 0, 0, 500000000) && join(&fourth, workers),
	       "three that wait half a second")) {
		test_arriving(&fourth, workers, scratch());
		test_given_up(&fourth, workers, scratch());
	}
	leave(&fourth);
	stop(workers);
	lsc_loop_free(client.loop);
	return done_testing();
}
