/* kv_frame: what is built is parsed back; what is out of bounds is refused in words.  With folders
 * given, as arguments, the frames are left there as seeds for tests/fuzz/frame. */
#include "net/kv_frame.h"

#include <errno.h>
#include <stdio.h>

#include "tap.h"

static struct lsc_pack pack = LSC_PACK_INIT;
static struct lsc_record record = LSC_RECORD_INIT;
static struct lsc_err err;

static const struct lsc_fetch_frame some = {
	.image = {{1, 2}}, .client = {{3}}, .request = 1ull << 63, .layer = 7, .pos = 64, .n = 32};

static bool reparse(void)
{
	return lsc_record_parse(&record, pack.buf.data, pack.buf.len, &err) ==
	       (ssize_t)pack.buf.len;
}

static struct lsc_adopt_frame some_adopt(void)
{
	struct lsc_adopt_frame adopt = {.image = some.image,
					.client = some.client,
					.request = 5,
					.from = 4,
					.n = 1000,
					.reach = 1001,
					.since = 1ull << 50,
					.n_stages = 2};

	snprintf(adopt.route[0].endpoint, sizeof(adopt.route[0].endpoint), "10.0.0.1:7001");
	snprintf(adopt.route[1].endpoint, sizeof(adopt.route[1].endpoint), "10.0.0.2:7001");
	adopt.route[0].last = 3;
	adopt.route[1].first = 4;
	adopt.route[1].last = 9;
	return adopt;
}

static void test_adopt(void)
{
	struct lsc_adopt_frame adopt = some_adopt(), got;

	memset(&got, 0xee, sizeof(got));
	ok(lsc_frame_pack_adopt(&pack, &adopt, 4000) == 0 && reparse() &&
		   lsc_frame_parse_adopt(&record, &got, &err) == 0,
	   "adopt comes back");
	ok(lsc_hash_equal(&got.image, &adopt.image) && got.request == 5 && got.from == 4 &&
		   got.n == 1000 && got.reach == 1001 && got.since == 1ull << 50,
	   "with all its numbers");
	ok(got.n_stages == 2 && got.route[1].first == 4 && got.route[1].last == 9 &&
		   !strcmp(got.route[1].endpoint, "10.0.0.2:7001"),
	   "and the route");
	ok(lsc_frame_pack_adopt(&pack, &adopt, 3999) == 0 && reparse() &&
		   lsc_frame_parse_adopt(&record, &got, &err) == -EBADMSG,
	   "ids of some positions: %s", err.text);
	adopt.n = 0;
	ok(lsc_frame_pack_adopt(&pack, &adopt, 0) == 0 && reparse() &&
		   lsc_frame_parse_adopt(&record, &got, &err) == -EBADMSG,
	   "of none: %s", err.text);
	adopt = some_adopt();
	adopt.route[1].first = 5;
	ok(lsc_frame_pack_adopt(&pack, &adopt, 0) == 0 && reparse() &&
		   lsc_frame_parse_adopt(&record, &got, &err) == -EBADMSG,
	   "a route with a gap: %s", err.text);
	adopt.n_stages = 0;
	ok(lsc_frame_pack_adopt(&pack, &adopt, 0) == 0 && reparse() &&
		   lsc_frame_parse_adopt(&record, &got, &err) == -EBADMSG,
	   "of no stages: %s", err.text);
}

static void test_moved(void)
{
	const struct lsc_moved_frame moved = {9, 1000, 1ull << 40};
	struct lsc_moved_frame got = {0};

	ok(lsc_frame_pack_moved(&pack, &moved) == 0 && reparse() &&
		   lsc_frame_parse_moved(&record, &got, &err) == 0 && got.request == 9 &&
		   got.pos == 1000 && got.bytes == 1ull << 40,
	   "moved comes back");
}

static int fetch(struct lsc_fetch_frame frame)
{
	struct lsc_fetch_frame got;
	int r = lsc_frame_pack_fetch(&pack, &frame);

	if (r == 0 && reparse())
		r = lsc_frame_parse_fetch(&record, &got, &err);
	return r < 0 ? r : lsc_fetch_is_same(&got, &frame);
}

static void test_fetch(void)
{
	struct lsc_fetch_frame frame = some;

	is_int(fetch(frame), 1, "fetch comes back");
	frame.n = LSC_FRAME_MAX_TOKENS + 1;
	ok(fetch(frame) == -EBADMSG, "too much: %s", err.text);
	frame.n = 0;
	ok(fetch(frame) == -EBADMSG, "nothing: %s", err.text);
	frame = some;
	frame.pos = UINT32_MAX - 5;
	ok(fetch(frame) == -EBADMSG, "too far: %s", err.text);
	frame = some;
	frame.layer = 65536;
	ok(fetch(frame) == -EBADMSG, "too deep: %s", err.text);
	frame = some;
	frame.client = (struct lsc_client_id){{0}};
	ok(fetch(frame) == -EBADMSG, "of nobody: %s", err.text);
}

static int pages(const struct lsc_pages_frame *frame, uint32_t body_len,
		 struct lsc_pages_frame *ret_got)
{
	return lsc_frame_pack_pages(&pack, frame, body_len) == 0 && reparse()
		       ? lsc_frame_parse_pages(&record, ret_got, &err)
		       : -EINVAL;
}

static void test_pages(void)
{
	struct lsc_pages_frame frame = {.of = some}, got;

	ok(pages(&frame, 32 * 512, &got) == 0 && !got.code && lsc_fetch_is_same(&got.of, &some),
	   "pages come back");
	ok(pages(&frame, 32 * 512 + 4, &got) == -EBADMSG, "odd ones do not: %s", err.text);
	ok(pages(&frame, 0, &got) == -EBADMSG, "nor none: %s", err.text);
	ok(pages(&frame, LSC_KV_MAX_BYTES + 128, &got) == -EBADMSG, "nor too many: %s", err.text);
	frame.code = ESTALE;
	strcpy(frame.why, "gone\nby now");
	ok(pages(&frame, 0, &got) == 0 && got.code == ESTALE && !strcmp(got.why, "gone?by now"),
	   "and why there are none");

	lsc_pack_begin(&pack, "pages");
	lsc_pack_bin(&pack, "image", some.image.bytes, 16);
	lsc_pack_bin(&pack, "client", some.client.bytes, 16);
	lsc_pack_uint(&pack, "request", 1);
	lsc_pack_uint(&pack, "layer", 1);
	lsc_pack_uint(&pack, "pos", 0);
	lsc_pack_uint(&pack, "n", 1);
	lsc_pack_str(&pack, "form", "f16");
	lsc_pack_uint(&pack, "body", 128);
	ok(lsc_pack_end(&pack) == 0 && reparse() &&
		   lsc_frame_parse_pages(&record, &got, &err) == -EBADMSG,
	   "another form is refused: %s", err.text);
}

static void leave(const char *dir, const char *name)
{
	char path[1100];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "wb");
	if (!file || fwrite(pack.buf.data, 1, pack.buf.len, file) != pack.buf.len ||
	    fclose(file) != 0)
		ok(false, "cannot write '%s'", path);
}

static void leave_seeds(const char *dir)
{
	const struct lsc_adopt_frame adopt = some_adopt();
	const struct lsc_moved_frame moved = {9, 1000, 1ull << 40};
	struct lsc_pages_frame frame = {.of = some};

	lsc_frame_pack_adopt(&pack, &adopt, 4000);
	leave(dir, "adopt");
	lsc_frame_pack_moved(&pack, &moved);
	leave(dir, "moved");
	lsc_frame_pack_fetch(&pack, &some);
	leave(dir, "fetch");
	lsc_frame_pack_pages(&pack, &frame, 32 * 512);
	leave(dir, "pages");
	frame.code = ESTALE;
	strcpy(frame.why, "gone by now");
	lsc_frame_pack_pages(&pack, &frame, 0);
	leave(dir, "pages-fail");
}

int main(int argc, char **argv)
{
	test_adopt();
	test_moved();
	test_fetch();
	test_pages();
	if (argc > 1)
		leave_seeds(argv[1]);
	lsc_pack_release(&pack);
	lsc_record_release(&record);
	return done_testing();
}
