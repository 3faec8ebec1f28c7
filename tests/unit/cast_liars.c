/* cast_liars: a coordinator and a node that breaks off, keeps silent or lies at each stage; the
 * cast ends, and says of whom and what */
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "cast/cast.h"
#include "cast/message.h"
#include "net/link.h"
#include "small_model.h"

#define TIMEOUT_NS 400000000u

static const struct lsc_model_config small = SMALL_MODEL(2, 100);

static struct lsc_loop *loop;
static struct lsc_image image = LSC_IMAGE_INIT;
static struct lsc_err err;

/* What it says, to which word of the coordinator's, or does. */
struct liar {
	struct lsc_pack at_once, to_offer, to_plan, to_data;
	bool hangs_up_at_once, hangs_up_at_offer, hangs_up_at_plan;
	bool lives;       /* says progress without any */
	bool coordinated; /* by who has nothing of the image */

	int listener, control, data;
	struct lsc_buf got;
	bool offered, planned;
};

static char address[64];

static void open_listener(struct liar *liar)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);

	liar->control = liar->data = -1;
	liar->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(liar->listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(liar->listener, 5) < 0 ||
	    getsockname(liar->listener, (struct sockaddr *)&a, &len) < 0)
		abort();
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(a.sin_port));
}

static void say(int *fd, const struct lsc_pack *pack, bool hangs_up)
{
	if (*fd >= 0 && pack->buf.len)
		send(*fd, pack->buf.data, pack->buf.len, MSG_NOSIGNAL);
	if (*fd >= 0 && hangs_up) {
		close(*fd);
		*fd = -1;
	}
}

static bool has_heard(const struct liar *liar, const char *word)
{
	return liar->got.data && memmem(liar->got.data, liar->got.len, word, strlen(word));
}

static void act(struct liar *liar)
{
	int fd = accept4(liar->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct lsc_pack pack = LSC_PACK_INIT;
	char data[65536];
	ssize_t n;

	if (fd >= 0 && (liar->offered || liar->control >= 0)) {
		liar->data = fd;
		lsc_pack_hello(&pack, LSC_CAST_KIND);
		say(&fd, &pack, false);
		say(&fd, &liar->to_data, false);
	} else if (fd >= 0) {
		liar->control = fd;
		say(&liar->control, &liar->at_once, liar->hangs_up_at_once);
	}
	while (liar->control >= 0 && (n = recv(liar->control, data, sizeof(data), 0)) > 0)
		lsc_buf_add(&liar->got, data, n);
	if (!liar->offered && has_heard(liar, "offer")) {
		liar->offered = true;
		say(&liar->control, &liar->to_offer, liar->hangs_up_at_offer);
	}
	if (!liar->planned && has_heard(liar, "timeout")) {
		liar->planned = true;
		say(&liar->control, &liar->to_plan, liar->hangs_up_at_plan);
	}
	if (liar->control >= 0 && has_heard(liar, "abort")) {
		close(liar->control);
		liar->control = -1;
	}
	if (liar->lives && liar->offered) {
		lsc_node_progress_pack(&pack, &(struct lsc_node_progress){0});
		say(&liar->control, &pack, false);
	}
	lsc_pack_release(&pack);
}

static bool done;
static int result;

static void on_done(void *data, int r, const struct lsc_err *e)
{
	(void)data;
	done = true;
	result = r;
	err = *e;
}

/* Casts to the liar: it must fail with this code, naming it, with this text, and soon. */
static void expect(struct liar *liar, int code, const char *text, const char *what)
{
	char *names[] = {address};
	struct lsc_cast_options options = {
		.image = &image,
		.absent = liar->coordinated,
		.name = "image.lsc",
		.to = names,
		.n_to = 1,
		.timeout_ns = TIMEOUT_NS,
		.report_fd = -1,
		.on_done = on_done,
	};
	uint64_t until = lsc_clock_ns() + 10000000000u;
	struct lsc_cast *cast = NULL;

	open_listener(liar);
	done = false;
	result = 0;
	if (lsc_cast_start(&cast, loop, &options, &err) < 0)
		abort();
	while (!done && lsc_clock_ns() < until) {
		lsc_loop_turn(loop, 10, NULL);
		act(liar);
	}
	lsc_cast_free(cast);
	ok(done && result == -code && strstr(err.text, address) && strstr(err.text, text), "%s: %s",
	   what, err.text);
	if (result != -code)
		printf("# result %d\n", result);
	if (liar->control >= 0)
		close(liar->control);
	if (liar->data >= 0)
		close(liar->data);
	close(liar->listener);
	lsc_buf_release(&liar->got);
	lsc_pack_release(&liar->at_once);
	lsc_pack_release(&liar->to_offer);
	lsc_pack_release(&liar->to_plan);
	lsc_pack_release(&liar->to_data);
}

static void pack_ready(struct lsc_pack *pack, uint32_t pieces)
{
	const uint64_t bits[64] = {[63] = 1};
	struct lsc_ready ready = {0};

	lsc_ready_pack(pack, &ready, bits, pieces);
}

static void test_hello(void)
{
	struct liar gone = {.hangs_up_at_once = true}, silent = {0}, http = {0}, exec = {0};
	struct liar new = {0};

	expect(&gone, ECONNRESET, "before its hello", "closes at once");
	expect(&silent, ETIMEDOUT, "hello", "says nothing");
	lsc_buf_add_str(&http.at_once.buf, "HTTP/1.1 400 Bad Request\r\n\r\n");
	expect(&http, EPROTO, "not a record", "speaks another protocol");
	lsc_pack_hello(&exec.at_once, "exec");
	expect(&exec, EPROTO, "'cast'", "is a stage worker");
	lsc_pack_hello(&new.at_once, LSC_CAST_KIND);
	new.at_once.buf.data[new.at_once.buf.len - 2] = 3; /* the major version */
	expect(&new, EPROTO, "has version 3.1; this program reads 2.x", "is of another version");
}

static void test_offer(void)
{
	struct liar gone = {.hangs_up_at_offer = true}, silent = {0}, many = {0}, twice = {0};
	struct liar bad = {0}, fails = {0};
	struct lsc_failed failed = {.code = EINVAL, .node = LSC_NOBODY};

	lsc_pack_hello(&gone.at_once, LSC_CAST_KIND);
	expect(&gone, ECONNRESET, "", "closes when it got the offer");
	lsc_pack_hello(&silent.at_once, LSC_CAST_KIND);
	expect(&silent, ETIMEDOUT, "nothing heard for", "does not answer it");
	lsc_pack_hello(&many.at_once, LSC_CAST_KIND);
	pack_ready(&many.to_offer, 64 * 64);
	expect(&many, EPROTO, "key 'bits'", "has more pieces than there are");
	lsc_pack_hello(&twice.at_once, LSC_CAST_KIND);
	pack_ready(&twice.to_offer, 0);
	pack_ready(&twice.to_plan, 0);
	expect(&twice, EPROTO, "out of turn", "is ready twice");
	lsc_pack_hello(&bad.at_once, LSC_CAST_KIND);
	lsc_pack_begin(&bad.to_offer, "ready");
	lsc_pack_str(&bad.to_offer, "bits", "many");
	lsc_pack_end(&bad.to_offer);
	expect(&bad, EPROTO, "key 'bits'", "counts in words");
	lsc_pack_hello(&fails.at_once, LSC_CAST_KIND);
	snprintf(failed.why, sizeof(failed.why), "\x1b[31mred\nalert");
	lsc_failed_pack(&fails.to_offer, &failed);
	expect(&fails, EPROTO, ": ?[31mred?alert", "fails in colour");
}

static void test_plan(void)
{
	struct liar gone = {.hangs_up_at_plan = true}, silent = {0}, block = {0};
	struct liar idle = {.lives = true};
	struct lsc_pack *pack;

	lsc_pack_hello(&gone.at_once, LSC_CAST_KIND);
	pack_ready(&gone.to_offer, 0);
	expect(&gone, ECONNRESET, "", "closes when it gets a plan");
	lsc_pack_hello(&silent.at_once, LSC_CAST_KIND);
	pack_ready(&silent.to_offer, 0);
	expect(&silent, ETIMEDOUT, "nothing heard for", "gets a plan and says no more");
	lsc_pack_hello(&block.at_once, LSC_CAST_KIND);
	pack_ready(&block.to_offer, 0);
	pack = &block.to_plan;
	lsc_pack_begin(pack, "block");
	lsc_pack_uint(pack, "block", image.n_blocks);
	lsc_pack_end(pack);
	expect(&block, EPROTO, "out of turn", "has a block that there is not");
	lsc_pack_hello(&idle.at_once, LSC_CAST_KIND);
	pack_ready(&idle.to_offer, 0);
	expect(&idle, ETIMEDOUT, "no piece arrived there", "lives and takes nothing");
}

/* What a node says of the coordinator, or on its data link, is nothing that ends a cast for others.
 */
static void test_slander(void)
{
	struct liar slander = {.lives = true}, refuses = {.lives = true};
	struct liar blames = {.lives = true, .coordinated = true};
	struct lsc_ready ready = {0};
	uint64_t bits[64];
	struct lsc_failed fault = {.code = EBADMSG, .piece = LSC_NOBODY, .why = "is wrong"};

	lsc_pack_hello(&slander.at_once, LSC_CAST_KIND);
	pack_ready(&slander.to_offer, 0);
	lsc_failed_pack(&slander.to_plan, &fault);
	expect(&slander, EBADMSG, "finds pieces wrong that others find good",
	       "blames the coordinator for a piece without a number");
	lsc_pack_hello(&blames.at_once, LSC_CAST_KIND);
	memset(bits, 0xff, sizeof(bits));
	lsc_ready_pack(&blames.to_offer, &ready, bits, image.n_pieces);
	fault.piece = 3;
	lsc_failed_pack(&blames.to_plan, &fault);
	expect(&blames, EBADMSG, "finds pieces wrong that others find good",
	       "blames a coordinator that has no piece");
	lsc_pack_hello(&refuses.at_once, LSC_CAST_KIND);
	pack_ready(&refuses.to_offer, 0);
	lsc_link_pack_abort(&refuses.to_data, EFAULT, "no memory there");
	expect(&refuses, EFAULT, "gave up: no memory there",
	       "breaks a data link off with a code of our own kernel's");
}

int main(void)
{
	struct lsc_image_options options = {.dtype = LSC_DTYPE_BF16, .blocks = 2};
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/image.lsc", scratch());
	options.piece_bytes = 4096;
	if (lsc_image_pack_dummy(&small, path, &options, &err) < 0 ||
	    lsc_image_open(&image, path, &err) < 0 || lsc_loop_new(&loop, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	test_hello();
	test_offer();
	test_plan();
	test_slander();
	lsc_loop_free(loop);
	lsc_image_close(&image);
	lsc_dir_remove(path, NULL);
	return done_testing();
}
