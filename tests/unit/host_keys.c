/* host with a key: what comes over plain links while a cast lets them in, and secrets that come
 * over one */
#include "tap.h"

#include <limits.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "cast/host.h"
#include "cast/message.h"
#include "model/image.h"
#include "net/key.h"
#include "net/link.h"
#include "net/pass.h"
#include "net/tls.h"
#include "small_model.h"

static const struct lsc_model_config small = SMALL_MODEL(2, 100);

static struct lsc_loop *loop;
static struct lsc_host *host;
static char dir[PATH_MAX];
static struct lsc_image image = LSC_IMAGE_INIT;
static struct lsc_err err;
static struct lsc_pack pack = LSC_PACK_INIT;
static struct lsc_key key;
static struct lsc_offer offer = {.name = "image", .cleartext = true};

/* --- the coordinator --- */

static struct lsc_link *control;
static bool ready;
static struct lsc_err why;

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *e)
{
	(void)data;
	(void)link;
	(void)body_len;
	(void)ret_body;
	(void)e;
	ready = ready || lsc_record_is(record, "ready");
	return 0;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *e)
{
	(void)data;
	why = *e;
	lsc_link_close(link);
	control = NULL;
}

static const struct lsc_link_events events = {.on_record = on_record, .on_close = on_close};

static void begin_cast(const struct lsc_key *with)
{
	struct lsc_link_options options = {.kind = LSC_CAST_KIND, .key = with};
	uint64_t until = lsc_clock_ns() + 5000000000u;
	struct lsc_endpoint at;

	ready = false;
	why = (struct lsc_err)LSC_ERR_INIT;
	if (lsc_endpoint_parse(&at, lsc_host_address(host), &err) < 0 ||
	    lsc_link_connect(&control, loop, &at, &options, &events, NULL, &err) < 0 ||
	    lsc_offer_pack(&pack, &offer, (uint32_t)image.manifest_len) < 0 ||
	    lsc_link_send(control, &pack, image.manifest, (uint32_t)image.manifest_len, NULL) < 0)
		abort();
	while (!ready && control && lsc_clock_ns() < until)
		lsc_loop_turn(loop, 10, &err);
}

static void end_cast(void)
{
	lsc_link_close(control);
	control = NULL;
	for (int i = 0; i < 10; i++)
		lsc_loop_turn(loop, 5, &err);
}

/* --- plain links, byte by byte --- */

struct caller {
	int fd;
	bool closed;
	struct lsc_buf got;
};

/* Until it is told this, or nothing more. */
static const uint8_t *listen_until(struct caller *caller, const char *word)
{
	uint64_t until = lsc_clock_ns() + 3000000000u;
	const uint8_t *found = NULL;

	while (!found && !caller->closed && lsc_clock_ns() < until) {
		uint8_t data[4096];
		ssize_t n;

		lsc_loop_turn(loop, 10, NULL);
		n = recv(caller->fd, data, sizeof(data), MSG_DONTWAIT);
		if (n > 0)
			lsc_buf_add(&caller->got, data, (size_t)n);
		caller->closed = n == 0 || (n < 0 && errno != EAGAIN);
		if (caller->got.data)
			found = memmem(caller->got.data, caller->got.len, word, strlen(word));
	}
	return found;
}

static void say_pack(struct caller *caller)
{
	if (send(caller->fd, pack.buf.data, pack.buf.len, MSG_NOSIGNAL) < 0)
		caller->closed = true;
}

static void call(struct caller *caller)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

	*caller = (struct caller){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	a.sin_port = htons((uint16_t)atoi(strrchr(lsc_host_address(host), ':') + 1));
	if (connect(caller->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		abort();
	lsc_pack_hello(&pack, LSC_CAST_KIND);
	say_pack(caller);
}

static bool prove(struct caller *caller, const struct lsc_pass *pass)
{
	const uint8_t *nonce = listen_until(caller, "nonce\xc4\x10");

	if (!nonce || lsc_pass_pack(&pack, pass, nonce + 7) < 0)
		return false;
	say_pack(caller);
	return true;
}

static void hang_up(struct caller *caller)
{
	close(caller->fd);
	lsc_buf_release(&caller->got);
	for (int i = 0; i < 3; i++)
		lsc_loop_turn(loop, 2, NULL);
}

/* --- tests --- */

static void test_without_cast(void)
{
	struct caller caller;

	call(&caller);
	ok(listen_until(&caller, "\x15\x03\x03") && caller.got.len == 7,
	   "a plain link gets an alert and nothing else while no cast wants one");
	hang_up(&caller);
}

static void test_during_cast(void)
{
	struct lsc_cast_id other = offer.cast;
	struct caller caller;

	begin_cast(&key);
	ok(ready, "a cast with a secret begins over TLS %s", why.text);

	call(&caller);
	ok(prove(&caller, &offer.proof), "now a plain link is asked for a proof");
	lsc_peer_pack(&pack, &offer.cast, 0);
	say_pack(&caller);
	ok(listen_until(&caller, "have"), "with which it may send for that cast");
	hang_up(&caller);

	other.bytes[0] ^= 1;
	call(&caller);
	prove(&caller, &offer.proof);
	lsc_peer_pack(&pack, &other, 0);
	say_pack(&caller);
	ok(listen_until(&caller, "sends for another cast than it proved"), "and for no other");
	hang_up(&caller);

	call(&caller);
	prove(&caller, &offer.proof);
	lsc_offer_pack(&pack, &offer, (uint32_t)image.manifest_len);
	say_pack(&caller);
	ok(listen_until(&caller, "offers a cast over a link that is not encrypted"),
	   "nor offer one");
	hang_up(&caller);

	call(&caller);
	lsc_peer_pack(&pack, &offer.cast, 0);
	say_pack(&caller);
	ok(listen_until(&caller, "proves nothing") && !listen_until(&caller, "have"),
	   "nothing goes without a proof");
	hang_up(&caller);

	end_cast();
	test_without_cast();
}

static void test_secret_in_the_clear(void)
{
	begin_cast(NULL);
	ok(!ready && strstr(why.text, "a secret over a link that is not encrypted"),
	   "a secret that all could read is refused: %s", why.text);
	end_cast();
}

static int open_host(const struct lsc_key *with)
{
	struct lsc_host_options options = {.dir = dir, .key = with};

	lsc_host_close(host);
	host = NULL;
	if (lsc_endpoint_parse(&options.listen, "127.0.0.1:0", &err) < 0)
		return -1;
	return lsc_host_open(&host, loop, &options, &err);
}

int main(void)
{
	struct lsc_image_options image_options = {.dtype = LSC_DTYPE_BF16, .blocks = 2};
	char path[PATH_MAX];

	if (lsc_tls_check(&err) < 0) {
		skip("%s", err.text);
		return done_testing();
	}
	snprintf(path, sizeof(path), "%s/image.lsc", scratch());
	snprintf(dir, sizeof(dir), "%s/host", scratch());
	mkdir(dir, 0777);
	image_options.piece_bytes = 4096;
	if (lsc_image_pack_dummy(&small, path, &image_options, &err) < 0 ||
	    lsc_image_open(&image, path, &err) < 0 || lsc_loop_new(&loop, &err) < 0 ||
	    lsc_key_draw(&key, &err) < 0 ||
	    lsc_pass_draw(offer.cast.bytes, sizeof(offer.cast.bytes), &err) < 0 ||
	    lsc_pass_draw(offer.proof.secret, sizeof(offer.proof.secret), &err) < 0 ||
	    open_host(&key) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	memcpy(offer.proof.id, offer.cast.bytes, sizeof(offer.proof.id));
	test_without_cast();
	test_during_cast();
	if (open_host(NULL) < 0)
		return 1;
	test_secret_in_the_clear();
	lsc_host_close(host);
	lsc_loop_free(loop);
	lsc_image_close(&image);
	lsc_dir_remove(path, NULL);
	lsc_dir_remove(dir, NULL);
	lsc_pack_release(&pack);
	return done_testing();
}
