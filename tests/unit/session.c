/* A session: the same answer from a whole image and from one that arrives meanwhile; how it ends;
 * and that a token costs no allocation. */
#include "exec/session.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "allocations.h"
#include "base/cleanup.h"
#include "base/macros.h"
#include "exec/arrival.h"
#include "model/image.h"
#include "tap.h"

#define TOKENS 20

static const uint32_t prompt[] = {1, 17, 300, 5};

static unsigned allocations;

#ifndef SANITIZED
static void count_allocation(void)
{
	__atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
}
#endif

/* --- sessions --- */

struct subject {
	struct lsc_image image;
	struct lsc_segment segment;
	struct lsc_engine *engine;
	struct lsc_session session;
};

static int open_subject(struct subject *s, const char *dir, const char *name, unsigned threads,
			int timeout_ms, struct lsc_err *err)
{
	const struct lsc_engine_options options = {.threads = threads};
	const struct lsc_session_options session = {.sampling = LSC_SAMPLING_INIT,
						    .timeout_ms = timeout_ms};
	int r;

	memset(s, 0, sizeof(*s));
	s->segment.lock_fd = -1;
	r = lsc_segment_open(&s->segment, dir, name, err);
	if (r == 0)
		r = lsc_image_parse(&s->image, s->segment.manifest, s->segment.manifest_len, err);
	if (r == 0)
		r = lsc_arrival_check(&s->image, &s->segment, err);
	if (r == 0)
		r = lsc_engine_open(&s->engine, &s->image, s->segment.data, &options, err);
	return r ? r
		 : lsc_session_init(&s->session, &s->image, &s->segment, s->engine, &session, err);
}

static void close_subject(struct subject *s)
{
	lsc_session_release(&s->session);
	lsc_engine_close(s->engine);
	lsc_image_close(&s->image);
	lsc_segment_close(&s->segment);
}

static int answer(struct subject *s, uint32_t tokens[TOKENS], struct lsc_err *err)
{
	struct lsc_drawn drawn = {0};
	int r = lsc_session_feed(&s->session, prompt, LSC_ARRAY_SIZE(prompt), &drawn, err);

	tokens[0] = drawn.token;
	for (int i = 1; i < TOKENS && r == 0; i++) {
		r = lsc_session_feed(&s->session, &tokens[i - 1], 1, &drawn, err);
		tokens[i] = drawn.token;
	}
	return r;
}

static void test_whole(const char *name, uint32_t want[TOKENS])
{
	struct lsc_err err = LSC_ERR_INIT;
	struct subject s;
	struct lsc_drawn drawn;
	uint32_t pos;
	int r = open_subject(&s, scratch(), name, 2, -1, &err);
	unsigned before;

	ok(r == 0 && answer(&s, want, &err) == 0, "an answer from a whole image%s%s", r ? ": " : "",
	   err.text);
	/* Positions 23 to 30: within a page of KV, where there is nothing to grow. */
	drawn.token = want[TOKENS - 1];
	before = allocations;
	for (pos = s.session.pos; pos < 31 && r == 0; pos++)
		r = lsc_session_feed(&s.session, &drawn.token, 1, &drawn, &err);
#ifdef SANITIZED
	(void)before;
	skip("allocations are not counted under a sanitizer");
#else
	is_int(allocations - before, 0, "eight more tokens allocate nothing");
#endif
	while (r == 0)
		r = lsc_session_feed(&s.session, &drawn.token, 1, &drawn, &err);
	ok(r == -ERANGE && s.session.pos == s.image.config.context, "the context ends it: %s",
	   err.text);
	close_subject(&s);
}

/* --- an image that arrives --- */

struct sender {
	struct lsc_segment segment;
	const struct lsc_image *image;
	uint32_t n_pieces; /* to send */
};

static void *send_pieces(void *data)
{
	struct sender *sender = data;
	const struct timespec pause = {0, 1000000};

	for (uint32_t i = 0; i < sender->n_pieces; i++) {
		uint64_t at = lsc_image_piece_offset(sender->image, i);

		memcpy(sender->segment.data + at, sender->image->data + at,
		       lsc_image_piece_bytes(sender->image, i));
		lsc_segment_mark(&sender->segment, i);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

/* n pieces of the image arrive under a name, from a thread; then it is gone, or goes on. */
static void test_arriving(const struct lsc_image *image, const char *name, uint32_t n_pieces,
			  bool discard, int want_result, const uint32_t want[TOKENS])
{
	struct sender sender = {.image = image, .n_pieces = n_pieces};
	struct lsc_err err = LSC_ERR_INIT;
	uint32_t tokens[TOKENS];
	pthread_t thread;
	struct subject s;
	int r = lsc_segment_create(&sender.segment, scratch(), name, image->manifest,
				   image->manifest_len, image->bytes, image->n_pieces, &err);

	if (r == 0)
		r = open_subject(&s, scratch(), name, 1, 300, &err);
	if (r < 0 || pthread_create(&thread, NULL, send_pieces, &sender)) {
		ok(false, "%s: %s", name, err.text);
		return;
	}
	if (discard) {
		pthread_join(thread, NULL);
		lsc_segment_discard(&sender.segment, &err);
	}
	r = answer(&s, tokens, &err);
	if (!discard)
		pthread_join(thread, NULL);
	ok(r == want_result && (r < 0 || !memcmp(tokens, want, sizeof(tokens))), "%s: %s", name,
	   r < 0 ? err.text : "the same answer");
	close_subject(&s);
	lsc_segment_close(&sender.segment);
}

static void test_model(const struct lsc_model_config *config, uint32_t blocks, const char *name)
{
	const struct lsc_image_options options = {
		.dtype = LSC_DTYPE_F32, .blocks = blocks, .seed = 3};
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	uint32_t want[TOKENS];
	char dir[1024];

	snprintf(dir, sizeof(dir), "%s/%s", scratch(), name);
	if (!ok(lsc_image_pack_dummy(config, dir, &options, &err) == 0 &&
			lsc_image_open(&image, dir, &err) == 0,
		"%s: an image%s%s", name, err.code ? ": " : "", err.text))
		return;
	test_whole(name, want);
	test_arriving(&image, "all-of-it", image.n_pieces, false, 0, want);
	test_arriving(&image, "some-of-it", image.n_pieces / 2, false, -ETIMEDOUT, want);
	test_arriving(&image, "some-and-no-more", image.n_pieces / 2, true, -EPIPE, want);
}

int main(void)
{
	struct lsc_model_config config = *lsc_model_shape("stories260k");

	config.context = 100;
	test_model(&config, 0, "dense");
	config.layers = 2;
	config.experts = 4;
	config.experts_used = 2;
	config.expert_ffn = 16;
	test_model(&config, 0, "experts");
	test_model(&config, 11, "experts-in-blocks-of-their-own");
	return done_testing();
}
