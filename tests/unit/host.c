/* host: what anyone who reaches its port may send, from bytes without sense to offers that lie */
#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "cast/host.h"
#include "cast/message.h"
#include "cast/want.h"
#include "mem/segment.h"
#include "model/image.h"
#include "small_model.h"

#define PATIENCE_NS 300000000u

static const struct lsc_model_config small = SMALL_MODEL(2, 100);

static struct lsc_loop *loop;
static struct lsc_host *host;
static char dir[PATH_MAX - 300], image_dir[PATH_MAX];
static struct lsc_image image = LSC_IMAGE_INIT;
static struct lsc_err err;
static struct lsc_pack pack = LSC_PACK_INIT;
static const struct lsc_cast_id cast = {"0123456789abcde"};

/* --- a caller, and what it was told --- */

struct caller {
	int fd;
	bool closed;
	struct lsc_buf got;
};

static void call(struct caller *caller)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

	*caller = (struct caller){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	a.sin_port = htons(atoi(strrchr(lsc_host_address(host), ':') + 1));
	if (connect(caller->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		abort();
}

static void say(struct caller *caller, const void *data, size_t len)
{
	if (len && send(caller->fd, data, len, MSG_NOSIGNAL) < 0)
		caller->closed = true;
}

static void say_pack(struct caller *caller)
{
	say(caller, pack.buf.data, pack.buf.len);
}

static void say_hello(struct caller *caller)
{
	lsc_pack_hello(&pack, LSC_CAST_KIND);
	say_pack(caller);
}

static bool was_told(const struct caller *caller, const char *text)
{
	return caller->got.data &&
	       memmem(caller->got.data, caller->got.len, text, strlen(text)) != NULL;
}

/* Lets the host work until it closes the link or says this word (which may be NULL), or for so
 * long. */
static void listen_until(struct caller *caller, const char *word, unsigned ms)
{
	uint64_t until = lsc_clock_ns() + ms * 1000000ull;

	do {
		char data[4096];
		ssize_t n;

		lsc_loop_turn(loop, 10, NULL);
		n = recv(caller->fd, data, sizeof(data), MSG_DONTWAIT);
		if (n > 0)
			lsc_buf_add(&caller->got, data, n);
		caller->closed = caller->closed || n == 0 || (n < 0 && errno != EAGAIN);
	} while (!caller->closed && !(word && was_told(caller, word)) && lsc_clock_ns() < until);
}

static void listen_for(struct caller *caller, unsigned ms)
{
	listen_until(caller, NULL, ms);
}

static void hang_up(struct caller *caller)
{
	close(caller->fd);
	lsc_buf_release(&caller->got);
	for (int i = 0; i < 3; i++)
		lsc_loop_turn(loop, 2, NULL);
}

static int count_entries(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	int n = 0;

	while (d && (entry = readdir(d)))
		n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	if (d)
		closedir(d);
	return n;
}

static int count_fds(void)
{
	return count_entries("/proc/self/fd");
}

/* --- offers --- */

static void offer(struct caller *caller, const char *name, size_t name_len, const void *manifest,
		  size_t len)
{
	uint8_t header[5];

	say_hello(caller);
	lsc_pack_begin(&pack, "offer");
	lsc_pack_bin(&pack, "cast", cast.bytes, sizeof(cast.bytes));
	lsc_pack_strn(&pack, "name", name, name_len);
	lsc_pack_bool(&pack, "source", false);
	lsc_pack_uint(&pack, "body", len);
	lsc_pack_end(&pack);
	say_pack(caller);
	say(caller, header, lsc_body_header(header, len));
	say(caller, manifest, len);
}

static void test_names(void)
{
	static char very_long[70000];
	static const struct {
		const char *name;
		size_t len;
	} names[] = {
		{"", 0},        {".", 1},        {"..", 2},        {"../up", 5},
		{"a/b", 3},     {"/tmp/abs", 8}, {"x.part", 6},    {"a\nb", 3},
		{"\x1b[2J", 4}, {"nul\0l", 5},   {very_long, 201}, {very_long, 69999},
	};

	memset(very_long, 'x', sizeof(very_long) - 1);
	for (size_t i = 0; i < LSC_ARRAY_SIZE(names); i++) {
		struct caller caller;

		call(&caller);
		offer(&caller, names[i].name, names[i].len, image.manifest, image.manifest_len);
		listen_for(&caller, 2000);
		ok(caller.closed && !was_told(&caller, "ready") && count_entries(dir) == 0,
		   "name %zu is refused, and nothing made", i);
		hang_up(&caller);
	}
}

static void test_manifests(void)
{
	uint8_t *lie = malloc(image.manifest_len);
	struct caller caller;
	int told = 0, n = 0;

	for (size_t i = 0; i < image.manifest_len; i += 7 + i / 5, n++) {
		memcpy(lie, image.manifest, image.manifest_len);
		lie[i] ^= 0xff;
		call(&caller);
		offer(&caller, "lie", 3, lie, image.manifest_len);
		listen_until(&caller, "complete", 50); /* of a ready */
		if (!was_told(&caller, "ready"))
			listen_until(&caller, "failed", 5000);
		told += was_told(&caller, "failed") || was_told(&caller, "ready");
		hang_up(&caller);
	}
	is_int(told, n, "each of %d damaged manifests is answered", n);
	is_int(count_entries(dir), 0, "and leaves nothing");
	call(&caller);
	offer(&caller, "lie", 3, image.manifest, image.manifest_len / 2);
	listen_until(&caller, "manifest: ", 5000);
	ok(was_told(&caller, "manifest: "), "half a manifest fails in words");
	hang_up(&caller);
	free(lie);
}

/* --- plans --- */

static uint32_t plan_times = 1; /* that a plan names a node */

/* A plan for the node that is offered the image: one that sends to a node with a duty. */
static void plan(struct caller *caller, const char *order, uint32_t rank, uint32_t to,
		 const char *duty)
{
	call(caller);
	offer(caller, "img", 3, image.manifest, image.manifest_len);
	listen_until(caller, "ready", 5000);
	lsc_pack_begin(&pack, "plan");
	lsc_pack_uint(&pack, "node", 1);
	lsc_pack_uint(&pack, "first", 0);
	lsc_pack_real(&pack, "timeout", 1);
	if (*order) {
		lsc_pack_str(&pack, "order", order);
		lsc_pack_uint(&pack, "rank", rank);
		lsc_pack_uint(&pack, "ranks", 3);
		lsc_pack_uint(&pack, "sources", 1);
	}
	lsc_pack_array(&pack, "to", plan_times);
	for (uint32_t i = 0; i < plan_times; i++) {
		lsc_pack_array(&pack, NULL, *order ? 4 : 3);
		lsc_pack_uint(&pack, NULL, to);
		lsc_pack_str(&pack, NULL, "127.0.0.1:1");
		lsc_pack_str(&pack, NULL, duty);
		if (*order)
			lsc_pack_uint(&pack, NULL, 2 - i);
	}
	lsc_pack_array(&pack, "gone", 0);
	lsc_pack_end(&pack);
	say_pack(caller);
}

static void test_plans(void)
{
	static const struct {
		const char *order;
		uint32_t rank, to;
		const char *duty, *what;
	} plans[] = {
		{"", 0, 2, "some", "a duty that there is not"},
		{"", 0, 2, "part", "a part of no schedule"},
		{"chain", 1, 2, "all", "a schedule and other duties"},
		{"chain", 3, 2, "part", "a rank that the cast has not"},
		{"shortest", 1, 2, "part", "an order that there is not"},
		{"", 0, 5000, "all", "a number that no node has"},
	};
	struct caller caller;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(plans); i++) {
		plan(&caller, plans[i].order, plans[i].rank, plans[i].to, plans[i].duty);
		listen_for(&caller, 5000);
		ok(was_told(&caller, "ready") && caller.closed, "refuses %s", plans[i].what);
		hang_up(&caller);
	}
	plan(&caller, "", 0, 1, "all");
	listen_until(&caller, "failed", 5000);
	ok(was_told(&caller, "to itself"), "will not send to itself");
	hang_up(&caller);
	plan_times = 2;
	plan(&caller, "chain", 0, 2, "part");
	listen_until(&caller, "failed", 5000);
	ok(was_told(&caller, "to node 2 twice"), "nor to one twice, in two places of a schedule");
	hang_up(&caller);
	plan_times = 1;
	plan(&caller, "chain", 1, 2, "part");
	listen_until(&caller, "fault", 5000);
	listen_until(&caller, "progress", 5000);
	ok(!caller.closed && was_told(&caller, "fault") && was_told(&caller, "progress"),
	   "a plan that makes sense, and whom it names does not listen");
	hang_up(&caller);
	is_int(count_entries(dir), 0, "no piece came, so nothing is left");
}

/* --- other records --- */

/* What is not known is skipped, with its body. */
static void test_unknown(void)
{
	struct caller caller;
	uint8_t header[5];

	call(&caller);
	offer(&caller, "img", 3, image.manifest, image.manifest_len);
	listen_until(&caller, "ready", 5000);
	caller.got.len = 0;
	lsc_pack_begin(&pack, "later");
	lsc_pack_uint(&pack, "body", 4);
	lsc_pack_end(&pack);
	say_pack(&caller);
	say(&caller, header, lsc_body_header(header, 4));
	say(&caller, "body", 4);
	listen_until(&caller, "ready", 500);
	ok(!caller.closed && !was_told(&caller, "ready") && !was_told(&caller, "failed"),
	   "a record that is not known is skipped, and its body is no manifest");
	hang_up(&caller);
}

/* --- questions --- */

static void want(struct caller *caller, const char *name, bool manifest)
{
	struct lsc_want question = {.manifest = manifest};

	strcpy(question.name, name);
	call(caller);
	say_hello(caller);
	lsc_want_pack(&pack, &question);
	say_pack(caller);
}

static void test_questions(void)
{
	struct caller caller;
	char path[PATH_MAX];

	want(&caller, "img", false);
	listen_until(&caller, "not there", 5000);
	ok(was_told(&caller, "absent") && !caller.closed, "who asks for what is not here is told");
	listen_for(&caller, 1000);
	ok(caller.closed, "and left, when he does not go");
	hang_up(&caller);
	want(&caller, "../up", false);
	listen_for(&caller, 5000);
	ok(caller.closed && was_told(&caller, "abort"), "a name that leads elsewhere is refused");
	hang_up(&caller);

	snprintf(path, sizeof(path), "%s/img", dir);
	if (symlink(image_dir, path) < 0)
		abort();
	want(&caller, "img", false);
	listen_until(&caller, "complete", 5000);
	ok(was_told(&caller, "held") && !was_told(&caller, "body"), "what is here is told");
	lsc_pack_begin(&pack, "offer");
	lsc_pack_uint(&pack, "body", 3);
	lsc_pack_end(&pack);
	say_pack(&caller);
	say(&caller, "\xc4\x03xyz", 5);
	listen_for(&caller, 50);
	ok(!caller.closed && !was_told(&caller, "failed"), "and that was all of the talk");
	hang_up(&caller);
	want(&caller, "img", true);
	do
		listen_for(&caller, 20);
	while (!caller.closed && caller.got.len < image.manifest_len + 100);
	ok(caller.got.len > image.manifest_len &&
		   memmem(caller.got.data, caller.got.len, image.manifest, image.manifest_len),
	   "with its manifest, where that is wanted");
	hang_up(&caller);
	want(&caller, "img", true);
	hang_up(&caller);
	unlink(path);
}

/* A part that is offered as another image's is neither sent nor lost. */
static void test_part(void)
{
	struct lsc_offer offer = {.cast = cast, .name = "img", .source = true, .part = true};
	struct lsc_segment segment = LSC_SEGMENT_INIT;
	struct caller caller;
	char path[PATH_MAX];

	for (int other = 0; other < 2; other++) {
		uint8_t header[5];
		const char *text = other ? "another manifest" : (const char *)image.manifest;
		size_t len = other ? strlen(text) : image.manifest_len;

		if (lsc_segment_create(&segment, dir, "img", text, len, image.bytes, image.n_pieces,
				       &err) < 0)
			abort();
		lsc_segment_mark(&segment, 1);
		lsc_segment_close(&segment);
		call(&caller);
		say_hello(&caller);
		lsc_offer_pack(&pack, &offer, (uint32_t)image.manifest_len);
		say_pack(&caller);
		say(&caller, header, lsc_body_header(header, (uint32_t)image.manifest_len));
		say(&caller, image.manifest, image.manifest_len);
		listen_until(&caller, other ? "failed" : "ready", 5000);
		ok(was_told(&caller, other ? "no part" : "ready"),
		   other ? "a part of another image is none" : "a part makes a source");
		hang_up(&caller);
		if (lsc_segment_open(&segment, dir, "img", &err) < 0)
			abort();
		is_int(lsc_segment_count(&segment), 1, "and stays");
		snprintf(path, sizeof(path), "%s/img.part", dir);
		lsc_dir_remove(path, NULL);
		lsc_segment_close(&segment);
	}
}

/* --- those who do not play --- */

static void test_silent(void)
{
	struct caller dumb, shy, slow, good;
	uint8_t header[5];

	call(&dumb);
	call(&shy);
	say_hello(&shy);
	call(&slow);
	say_hello(&slow);
	lsc_pack_begin(&pack, "offer");
	lsc_pack_bin(&pack, "cast", cast.bytes, sizeof(cast.bytes));
	lsc_pack_str(&pack, "name", "slow");
	lsc_pack_bool(&pack, "source", false);
	lsc_pack_uint(&pack, "body", 10000);
	lsc_pack_end(&pack);
	say_pack(&slow);
	say(&slow, header, lsc_body_header(header, 10000));
	call(&good);
	offer(&good, "good", 4, image.manifest, image.manifest_len);
	listen_for(&good, 1000);
	ok(was_told(&good, "ready") && !good.closed, "who takes part may be silent for long");
	listen_for(&dumb, 50);
	listen_for(&shy, 50);
	listen_for(&slow, 50);
	ok(dumb.closed, "who says nothing is left");
	ok(shy.closed, "who says no more than hello, too");
	ok(slow.closed, "and who does not send the manifest it offers");
	hang_up(&dumb);
	hang_up(&shy);
	hang_up(&slow);
	hang_up(&good);
}

static void test_garbage(void)
{
	uint32_t seed = 1;

	for (int i = 0; i < 100; i++) {
		struct caller caller;
		uint8_t noise[300];

		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = (seed = seed * 1664525 + 1013904223) >> 24;
		call(&caller);
		if (i % 2)
			say_hello(&caller);
		if (i % 3)
			offer(&caller, "half", 4, image.manifest, image.manifest_len);
		say(&caller, noise, i * 3);
		if (i % 5)
			listen_for(&caller, 1);
		hang_up(&caller);
	}
}

int main(void)
{
	struct lsc_image_options image_options = {.dtype = LSC_DTYPE_BF16, .blocks = 2};
	struct lsc_host_options options = {.dir = dir, .patience_ns = PATIENCE_NS};
	int fds;

	snprintf(image_dir, sizeof(image_dir), "%s/image.lsc", scratch());
	snprintf(dir, sizeof(dir), "%s/host", scratch());
	mkdir(dir, 0777);
	image_options.piece_bytes = 4096;
	if (lsc_image_pack_dummy(&small, image_dir, &image_options, &err) < 0 ||
	    lsc_image_open(&image, image_dir, &err) < 0 || lsc_loop_new(&loop, &err) < 0 ||
	    lsc_endpoint_parse(&options.listen, "127.0.0.1:0", &err) < 0 ||
	    lsc_host_open(&host, loop, &options, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	fds = count_fds();
	test_names();
	test_manifests();
	test_plans();
	test_unknown();
	test_questions();
	test_part();
	test_silent();
	test_garbage();
	for (int i = 0; i < 60; i++)
		lsc_loop_turn(loop, 10, NULL);
	is_int(count_fds(), fds, "no descriptor is left behind");
	is_int(count_entries(dir), 0, "and no image");
	lsc_host_close(host);
	lsc_loop_free(loop);
	lsc_image_close(&image);
	lsc_dir_remove(image_dir, NULL);
	lsc_dir_remove(dir, NULL);
	lsc_pack_release(&pack);
	return done_testing();
}
