/* stage - workers answer run frames: alone, as a pipeline, and where they cannot, in words */
#include "stage/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
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
	struct lsc_client_id id;
	unsigned open;
	bool answered;
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
	client->answered = true;
	if (lsc_record_is(record, "token"))
		return lsc_frame_parse_token(record, &client->token, err);
	return lsc_frame_parse_fail(record, &client->fail, err);
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *err)
{
	(void)data;
	(void)link;
	(void)err;
	return 0;
}

static void on_sent(void *data, struct lsc_link *link, void *cookie)
{
	(void)data;
	(void)link;
	(void)cookie;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	(void)data;
	(void)link;
	printf("# a link closed: %s\n", err->text);
}

static const struct lsc_link_events events = {on_open, on_record, on_body, on_sent, on_close};

/* Turns the loop until something is true, ten seconds at most. */
#define turn_until(loop, condition)                                                                \
	do {                                                                                       \
		for (int turns_ = 0; turns_ < 1000 && !(condition); turns_++)                      \
			lsc_loop_turn(loop, 10, NULL);                                             \
	} while (0)

/* Sends a run over a route of n stages that share the units evenly; whether a token came. */
static bool step(struct client *client, struct lsc_worker **workers, const struct lsc_image *image,
		 uint32_t n_stages, uint64_t request, uint32_t pos, const uint32_t *ids, uint32_t n)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP_FREE struct lsc_run_frame *run = calloc(1, sizeof(*run));

	*run = (struct lsc_run_frame){.image = image->id,
				      .client = client->id,
				      .request = request,
				      .pos = pos,
				      .n = n,
				      .n_stages = n_stages,
				      .sampling = {.top_p = 1}};
	for (uint32_t s = 0; s < n_stages; s++) {
		struct lsc_frame_stage *stage = &run->route[s];

		snprintf(stage->endpoint, sizeof(stage->endpoint), "%s",
			 lsc_worker_address(workers[s]));
		stage->first = s * image->n_units / n_stages;
		stage->last = (s + 1) * image->n_units / n_stages - 1;
	}
	client->answered = false;
	client->fail = (struct lsc_fail_frame){0};
	if (lsc_frame_pack_run(&pack, run, n * 4) < 0 ||
	    lsc_link_send(client->links[0], &pack, ids, n * 4, NULL) < 0)
		return false;
	turn_until(client->loop, client->answered);
	if (client->fail.code)
		printf("# %s\n", client->fail.why);
	return client->answered && client->fail.code == 0;
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
		ret_tokens[i] = client->token.token;
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

static bool start(struct client *client, struct lsc_worker **workers, const char *dir)
{
	const struct lsc_worker_options options = {.dir = dir, .engine = {.threads = 1}};
	const struct lsc_link_options link_options = {.kind = "exec"};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_endpoint at;

	for (int i = 0; i < WORKERS; i++) {
		if (lsc_endpoint_parse(&at, "127.0.0.1:0", &err) < 0 ||
		    lsc_worker_open(&workers[i], client->loop, &at, &options, &err) < 0 ||
		    lsc_endpoint_parse(&at, lsc_worker_address(workers[i]), &err) < 0 ||
		    lsc_link_connect(&client->links[i], client->loop, &at, &link_options, &events,
				     client, &err) < 0) {
			printf("# %s\n", err.text);
			return false;
		}
	}
	turn_until(client->loop, client->open == WORKERS);
	return client->open == WORKERS;
}

int main(void)
{
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32, .seed = 3};
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_worker *workers[WORKERS] = {NULL};
	struct client client = {.id = {{9, 9}}};
	struct lsc_err err = LSC_ERR_INIT;
	char dir[1024];

	snprintf(dir, sizeof(dir), "%s/model", scratch());
	ok(lsc_image_pack_dummy(lsc_model_shape("stories260k"), dir, &options, &err) == 0 &&
		   lsc_image_open(&image, dir, &err) == 0 && lsc_loop_new(&client.loop, &err) == 0,
	   "an image");
	if (ok(start(&client, workers, scratch()), "three workers"))
		test_answers(&client, workers, &image);
	for (int i = 0; i < WORKERS; i++) {
		lsc_link_close(client.links[i]);
		lsc_worker_close(workers[i]);
	}
	lsc_loop_free(client.loop);
	return done_testing();
}
