/* link: records and bodies over memory, Unix and TCP links; hello, closing, finishing, errors */
#include "tap.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/macros.h"
#include "net/link.h"
#include "net/link_ops.h"
#include "net/rate.h"

#define BIG (3u << 20)

static uint64_t patience_ns = 300000000;
static struct lsc_loop *loop;
static struct lsc_err err;

/* One end, and what came to it. */
struct end {
	struct lsc_link *link;
	int opened, records, bodies, sent, closed;
	uint64_t numbers; /* sum of the records' n, weighted by their place: finds disorder */
	uint8_t *body;
	struct lsc_err why;
	int close_at; /* closes itself at this record */
	int refuse_at;
	bool skip_bodies;
};

static struct end ends[2];
static uint8_t *big, *arrived;

static void on_open(void *data, struct lsc_link *link)
{
	struct end *end = data;

	end->link = link;
	end->opened++;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *e)
{
	struct end *end = data;
	uint64_t n;

	if (lsc_record_uint(record, "n", UINT32_MAX, &n, e) < 0)
		return -e->code;
	end->numbers += n * ++end->records;
	if (body_len > BIG)
		return lsc_err_set(e, EPROTO, "a body of %u bytes", body_len);
	if (body_len && !end->skip_bodies)
		*ret_body = arrived;
	if (end->records == end->close_at) {
		lsc_link_close(link);
		end->link = NULL;
	}
	if (end->records == end->refuse_at)
		return lsc_err_set(e, EPROTO, "record %d is not wanted", end->records);
	return 0;
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *e)
{
	struct end *end = data;

	(void)link;
	(void)e;
	end->bodies++;
	return 0;
}

static void on_sent(void *data, struct lsc_link *link, void *cookie)
{
	struct end *end = data;

	(void)link;
	end->sent += cookie == big;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *e)
{
	struct end *end = data;

	end->closed++;
	end->why = *e;
	lsc_link_close(link);
	end->link = NULL;
}

static const struct lsc_link_events events = {on_open, on_record, on_body, on_sent, on_close};

static void *on_link(void *data, struct lsc_link *link)
{
	struct end *end = data;

	end->link = link;
	return end;
}

static void *on_unwanted(void *data, struct lsc_link *link)
{
	(void)data;
	(void)link;
	return NULL;
}

static void turns(const int *what, int want)
{
	uint64_t until = lsc_clock_ns() + 5000000000u;

	while (*what < want && lsc_clock_ns() < until)
		lsc_loop_turn(loop, 100, &err);
}

static int send_number(struct end *end, uint32_t n, const void *body, uint32_t body_len)
{
	struct lsc_pack pack = LSC_PACK_INIT;
	int r;

	lsc_pack_begin(&pack, "number");
	lsc_pack_uint(&pack, "n", n);
	if (body_len)
		lsc_pack_uint(&pack, "body", body_len);
	lsc_pack_end(&pack);
	r = lsc_link_send(end->link, &pack, body, body_len, (void *)body);
	lsc_pack_release(&pack);
	return r;
}

static int send_from_file(struct end *end, uint32_t n, int fd, uint64_t offset, uint32_t body_len)
{
	struct lsc_pack pack = LSC_PACK_INIT;
	int r;

	lsc_pack_begin(&pack, "number");
	lsc_pack_uint(&pack, "n", n);
	lsc_pack_uint(&pack, "body", body_len);
	lsc_pack_end(&pack);
	r = lsc_link_send_file(end->link, &pack, big, body_len, fd, offset, big);
	lsc_pack_release(&pack);
	return r;
}

static struct lsc_listener *listen_at(const char *where, const char *kind)
{
	struct lsc_link_options options = {.kind = kind};
	struct lsc_listener *listener = NULL;
	struct lsc_endpoint at;

	if (lsc_endpoint_parse(&at, where, &err) < 0 ||
	    lsc_listener_open(&listener, loop, &at, &options, &events, on_link, &ends[1], &err) < 0)
		printf("# %s\n", err.text);
	return listener;
}

static void connect_to(const char *where, const char *kind)
{
	struct lsc_link_options options = {.kind = kind, .connect_timeout_ns = patience_ns};
	struct lsc_endpoint peer;

	memset(ends, 0, sizeof(ends));
	if (lsc_endpoint_parse(&peer, where, &err) < 0 ||
	    lsc_link_connect(&ends[0].link, loop, &peer, &options, &events, &ends[0], &err) < 0)
		printf("# %s\n", err.text);
}

static void disconnect(void)
{
	lsc_link_close(ends[0].link);
	lsc_link_close(ends[1].link);
	ends[0].link = ends[1].link = NULL;
}

/* 1000 small records and bodies of many sizes each way at once. */
static void test_traffic(const char *name)
{
	uint64_t want = 0;
	int bodies = 0;

	turns(&ends[0].opened, 1);
	turns(&ends[1].opened, 1);
	ok(ends[0].opened == 1 && ends[1].opened == 1, "%s: opens with a hello each way", name);
	if (!ends[0].link || !ends[1].link)
		return;
	memset(arrived, 0, BIG);
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t len = i % 50 == 49 ? (i * 61u) % 70000 + 1 : 0;

		send_number(&ends[0], i, len ? big : NULL, len);
		send_number(&ends[1], i, NULL, 0);
		want += i * (uint64_t)(i + 1);
		bodies += len > 0;
	}
	send_number(&ends[0], 7, big, BIG);
	ok(lsc_link_queued(ends[0].link) > BIG, "%s: what is queued is counted", name);
	turns(&ends[1].bodies, bodies + 1);
	turns(&ends[1].records, 1000);
	is_int(ends[1].records, 1001, "%s: every record comes", name);
	is_int(ends[1].numbers - 7 * 1001, want, "%s: in order", name);
	is_int(ends[0].numbers, want, "%s: and those of the other way", name);
	is_int(ends[1].bodies, bodies + 1, "%s: every body comes", name);
	ok(!memcmp(big, arrived, BIG), "%s: with the bytes that were sent", name);
	turns(&ends[0].sent, bodies + 1); /* which a device may know a little later */
	is_int(ends[0].sent, bodies + 1, "%s: each body is given back", name);
	is_int(lsc_link_queued(ends[0].link), 0, "%s: nothing is queued any more", name);
}

static int open_file(char path[4096])
{
	int fd;

	snprintf(path, 4096, "%s/body", scratch());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
	if (fd < 0 || pwrite(fd, big, BIG, 77) != BIG)
		abort();
	return fd;
}

/* Bodies that lie in a file, between others that do not. */
static void test_file(const char *name, const char *address)
{
	bool memory = !strncmp(name, "memory", 6);
	char path[4096];
	int fd = open_file(path);

	connect_to(address, "test");
	memset(arrived, 0, BIG);
	for (uint32_t i = 0; i < 40; i++) {
		send_from_file(&ends[0], i, fd, 77, 1 + i * 5000);
		send_number(&ends[0], i, NULL, 0);
		send_number(&ends[0], i, big, 1 + i * 100);
	}
	send_from_file(&ends[0], 1, fd, 77, BIG);
	turns(&ends[1].bodies, 81);
	ok(ends[1].records == 121 && ends[0].sent == 81 && !memcmp(big, arrived, BIG),
	   "%s: bodies come from a file and from memory", name);
	memset(arrived, 0, BIG);
	send_from_file(&ends[0], 1, fd, 77, BIG);
	lsc_link_finish(ends[0].link);
	ends[0].link = NULL;
	close(fd);
	unlink(path);
	turns(&ends[1].closed, 1);
	ok(ends[1].why.code == 0 && !memcmp(big, arrived, BIG),
	   "%s: finishing needs the file no more", name);
	disconnect();

	fd = open_file(path);
	connect_to(address, "test");
	if (ftruncate(fd, 77 + BIG / 2) < 0)
		abort();
	send_from_file(&ends[0], 1, fd, 77, BIG);
	turns(memory ? &ends[1].bodies : &ends[1].closed, 1);
	is_int(ends[0].why.code, memory ? 0 : EIO, "%s: a file that was cut: %s", name,
	       memory ? "nobody looks" : ends[0].why.text);
	disconnect();

	/* Whoever sends finds the other gone, and is not killed for it. */
	connect_to(address, "test");
	turns(&ends[1].opened, 1);
	lsc_link_close(ends[1].link);
	ends[1].link = NULL;
	for (int i = 0; i < 50 && ends[0].link; i++) {
		send_from_file(&ends[0], 1, fd, 77, 5000);
		lsc_loop_turn(loop, 10, &err);
	}
	turns(&ends[0].closed, 1);
	is_int(ends[0].closed, 1, "%s: sending a file to who is gone", name);
	disconnect();
	close(fd);
	unlink(path);
}

static void test_finish(const char *name)
{
	uint8_t *gone = malloc(BIG);

	memcpy(gone, big, BIG);
	memset(arrived, 0, BIG);
	send_number(&ends[0], 1, gone, BIG);
	lsc_link_finish(ends[0].link);
	ends[0].link = NULL;
	memset(gone, 0xee, BIG);
	free(gone);
	turns(&ends[1].closed, 1);
	is_int(ends[1].why.code, 0, "%s: finish closes in good order", name);
	ok(!memcmp(big, arrived, BIG), "%s: after all that was queued", name);
	is_int(ends[0].closed, 0, "%s: and its owner hears no more", name);
}

static void test_all(const char *name, const char *where)
{
	struct lsc_listener *listener = listen_at(where, "test");
	char address[400];

	if (!ok(listener != NULL, "%s: listens", name))
		return;
	snprintf(address, sizeof(address), "%s", lsc_listener_address(listener));
	connect_to(address, "test");
	test_traffic(name);
	test_finish(name);
	disconnect();
	test_file(name, address);

	connect_to(address, "other");
	turns(&ends[0].closed, 1);
	turns(&ends[1].closed, 1);
	ok(ends[1].why.code == EPROTO && strstr(ends[1].why.text, "kind"),
	   "%s: another kind is refused", name);
	disconnect();

	connect_to(address, "test");
	ends[1].close_at = 3;
	for (int i = 0; i < 5; i++)
		send_number(&ends[0], i, NULL, 0);
	turns(&ends[0].closed, 1);
	is_int(ends[1].records, 3, "%s: a link closed by its own callback says no more", name);
	is_int(ends[1].closed, 0, "%s: not even that it is closed", name);
	disconnect();

	connect_to(address, "test");
	ends[1].refuse_at = 2;
	for (int i = 0; i < 5; i++)
		send_number(&ends[0], i, NULL, 0);
	turns(&ends[1].closed, 1);
	ok(strstr(ends[1].why.text, ": record 2 is not wanted") != NULL,
	   "%s: a record its owner refuses ends it", name);
	turns(&ends[0].closed, 1);
	ok(ends[0].why.code == EPROTO &&
		   strstr(ends[0].why.text, ": gave up: record 2 is not wanted"),
	   "%s: and the other end hears why: %s", name, ends[0].why.text);
	disconnect();

	/* Both are in the middle of a body when one of them has enough. */
	connect_to(address, "test");
	turns(&ends[1].opened, 1);
	turns(&ends[0].opened, 1);
	memset(arrived, 0, BIG);
	ends[1].refuse_at = 2;
	ends[1].skip_bodies = true;
	send_number(&ends[0], 1, NULL, 0);
	send_number(&ends[1], 1, big, BIG);
	send_number(&ends[1], 2, big, BIG);
	lsc_loop_turn(loop, 0, &err);
	send_number(&ends[0], 2, big, BIG);
	turns(&ends[0].closed, 1);
	ok(ends[0].why.code == EPROTO && strstr(ends[0].why.text, "record 2 is not wanted"),
	   "%s: the reason passes what is on its way: %s", name, ends[0].why.text);
	ok(ends[0].bodies == ends[0].records && (!ends[0].bodies || !memcmp(big, arrived, BIG)),
	   "%s: and none that was begun is cut short (%d)", name, ends[0].bodies);
	disconnect();

	connect_to(address, "test");
	ends[1].skip_bodies = true;
	memset(arrived, 0, 16);
	send_number(&ends[0], 1, big, BIG);
	send_number(&ends[0], 2, NULL, 0);
	turns(&ends[1].records, 2);
	is_int(ends[1].numbers, 5, "%s: a body nobody wants is skipped", name);
	is_int(arrived[0] | arrived[1] | arrived[2], 0, "%s: and not stored", name);
	disconnect();

	lsc_listener_close(listener);
	connect_to(address, "test");
	turns(&ends[0].closed, 1);
	ok(ends[0].why.code && strstr(ends[0].why.text, "cannot connect"),
	   "%s: nobody listens any more", name);
	disconnect();
}

/* A raw socket to a listening link. */
static int raw_connect(const struct lsc_listener *listener)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_port = htons(atoi(strrchr(lsc_listener_address(listener), ':') + 1));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		abort();
	return fd;
}

/* Reads to the end what a link says to a raw socket. */
static size_t read_raw(int fd, uint8_t *bytes, size_t size)
{
	uint64_t until = lsc_clock_ns() + 5000000000u;
	size_t len = 0;
	ssize_t n = -1;

	while (n != 0 && len < size && lsc_clock_ns() < until) {
		lsc_loop_turn(loop, 10, &err);
		n = recv(fd, bytes + len, size - len, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
	}
	return n == 0 ? len : 0;
}

/* Version 2.7 of a kind that is known. */
static void test_version(void)
{
	static const uint8_t hello[] =
		"\x83\xa4type\xa5hello\xa4kind\xa4test\xa7version\x92\x02\x07";
	struct lsc_listener *listener = listen_at("127.0.0.1:0", "test");
	struct lsc_record record = LSC_RECORD_INIT;
	int fd = raw_connect(listener);
	uint8_t said[1024];
	uint64_t code = 0;
	char why[256] = "";
	size_t len;
	ssize_t n;

	memset(ends, 0, sizeof(ends));
	if (send(fd, hello, sizeof(hello) - 1, MSG_NOSIGNAL) < 0)
		abort();
	turns(&ends[1].closed, 1);
	ok(ends[1].why.code == EPROTO && strstr(ends[1].why.text, "2.7") &&
		   strstr(ends[1].why.text, "1.x"),
	   "another version is refused, naming both: %s", ends[1].why.text);
	len = read_raw(fd, said, sizeof(said));
	n = lsc_record_parse(&record, said, len, &err);
	ok(n > 0 && lsc_record_hello(&record, "test", &err) == 0, "its peer gets a hello first");
	n = n > 0 ? lsc_record_parse(&record, said + n, len - n, &err) : n;
	ok(n > 0 && lsc_record_is(&record, "abort") &&
		   lsc_record_uint(&record, "code", 4095, &code, &err) == 0 && code == EPROTO &&
		   lsc_record_text(&record, "why", why, sizeof(why), &err) == 0 &&
		   strstr(why, "2.7"),
	   "and then the reason: %s", why);
	lsc_record_release(&record);
	close(fd);
	disconnect();
	lsc_listener_close(listener);
}

static void send_raw(struct lsc_listener *listener, bool hello, const void *bytes, size_t len)
{
	struct lsc_pack pack = LSC_PACK_INIT;
	int fd = raw_connect(listener);

	memset(ends, 0, sizeof(ends));
	lsc_pack_hello(&pack, "test");
	if ((hello && send(fd, pack.buf.data, pack.buf.len, MSG_NOSIGNAL) < 0) ||
	    (len && send(fd, bytes, len, MSG_NOSIGNAL) < 0))
		abort();
	lsc_pack_release(&pack);
	shutdown(fd, SHUT_WR);
	turns(&ends[1].closed, 1);
	close(fd);
	disconnect();
}

static void test_garbage(void)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n";
	static const uint8_t half[] = {0x82, 0xa4, 't', 'y', 'p', 'e', 0xa1, 'x'};
	static const uint8_t body[] = {0x83, 0xa4, 't', 'y', 'p', 'e', 0xa1, 'x', 0xa1, 'n', 1,
				       0xa4, 'b',  'o', 'd', 'y', 8,   0xc4, 9,   0,    0};
	static const uint8_t huge[] = {0x83, 0xa4, 't', 'y', 'p', 'e',  0xa1, 'x',  0xa1, 'n', 1,
				       0xa4, 'b',  'o', 'd', 'y', 0xce, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t odd[] = "\x83\xa4type\xa5"
				     "abort\xa4"
				     "code\x16\xa3why\xa5no\x1b[m";
	static const uint8_t mute[] = "\x82\xa4type\xa5"
				      "abort\xa4"
				      "code\x47";
	static const uint8_t empty[] = "\x83\xa4type\xa1x\xa1n\x01\xa4"
				       "body\x00\xc4\x00"
				       "\x82\xa4type\xa1y\xa1n\x02";
	struct lsc_listener *listener = listen_at("127.0.0.1:0", "test");

	send_raw(listener, true, odd, sizeof(odd) - 1);
	ok(ends[1].why.code == EPROTO && strstr(ends[1].why.text, "gave up: no?[m"),
	   "an abort's words are made plain: %s", ends[1].why.text);
	send_raw(listener, true, mute, sizeof(mute) - 1);
	ok(ends[1].why.code == EPROTO && strstr(ends[1].why.text, "key 'why' is missing"),
	   "an abort without words: %s", ends[1].why.text);
	send_raw(listener, false, get, strlen(get));
	ok(ends[1].why.code == EPROTO && strstr(ends[1].why.text, "byte 0x47"),
	   "an HTTP client is told off: %s", ends[1].why.text);
	send_raw(listener, false, NULL, 0);
	is_int(ends[1].why.code, ECONNRESET, "closed before its hello: %s", ends[1].why.text);
	send_raw(listener, true, half, sizeof(half));
	is_int(ends[1].why.code, ECONNRESET, "closed inside a record: %s", ends[1].why.text);
	send_raw(listener, true, body, sizeof(body));
	is_int(ends[1].why.code, EPROTO, "a body of another length: %s", ends[1].why.text);
	send_raw(listener, true, huge, sizeof(huge));
	is_int(ends[1].why.code, EPROTO, "a body over the limit: %s", ends[1].why.text);
	send_raw(listener, true, empty, sizeof(empty) - 1);
	ok(ends[1].why.code == 0 && ends[1].records == 2 && ends[1].bodies == 0,
	   "a body of no bytes is none (%d, %d): %s", ends[1].records, ends[1].bodies,
	   ends[1].why.text);
	send_raw(listener, true, NULL, 0);
	ok(ends[1].opened == 1 && ends[1].why.code == 0, "a hello alone is in good order");
	lsc_listener_close(listener);
}

static void test_timeouts(void)
{
	struct lsc_listener *listener = listen_at("127.0.0.1:0", "test");
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char address[64];

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		abort();
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(a.sin_port));
	connect_to(address, "test");
	turns(&ends[0].closed, 1);
	ok(ends[0].why.code == ETIMEDOUT && strstr(ends[0].why.text, address),
	   "a peer that says no hello: %s", ends[0].why.text);
	close(fd);
	connect_to("no-such-host.invalid:1", "test");
	turns(&ends[0].closed, 1);
	ok(strstr(ends[0].why.text, "cannot resolve 'no-such-host.invalid'") != NULL,
	   "an unknown name: %s", ends[0].why.text);
	lsc_listener_close(listener);
}

static void test_pair_and_rate(void)
{
	struct lsc_link_options options = {.kind = "test"};
	void *data[2] = {&ends[0], &ends[1]};
	struct lsc_link *links[2];
	struct lsc_rate rate;
	uint64_t start;
	double seconds;

	memset(ends, 0, sizeof(ends));
	is_int(lsc_link_pair(links, loop, &options, &events, data, &err), 0, "a pair");
	ends[0].link = links[0];
	ends[1].link = links[1];
	test_traffic("pair");
	disconnect();
	memset(ends, 0, sizeof(ends));
	lsc_link_pair(links, loop, &options, &events, data, &err);
	ends[0].link = links[0];
	ends[1].link = links[1];
	start = lsc_clock_ns();
	lsc_rate_init(&rate, 16e6, start);
	lsc_link_set_rate(links[0], &rate);
	send_number(&ends[0], 1, big, BIG);
	turns(&ends[1].bodies, 1);
	seconds = (double)(lsc_clock_ns() - start) / 1e9;
	ok(seconds > 0.9 * BIG / 16e6 && seconds < 2 * BIG / 16e6 + 0.2,
	   "a rate of 16 MB/s holds 3 MiB for 0.2 s (%.3f)", seconds);
	ok(!memcmp(big, arrived, BIG), "and they come whole");
	disconnect();
}

static void test_refused(void)
{
	struct lsc_link_options options = {.kind = "test"};
	struct lsc_listener *listener;
	struct lsc_endpoint at;

	lsc_endpoint_parse(&at, "memory:door", &err);
	lsc_listener_open(&listener, loop, &at, &options, &events, on_unwanted, NULL, &err);
	connect_to("memory:door", "test");
	turns(&ends[0].closed, 1);
	is_int(ends[0].closed, 1, "a listener may refuse who comes");
	lsc_listener_close(listener);
	lsc_endpoint_parse(&at, "null:", &err);
	is_int(lsc_listener_open(&listener, loop, &at, &options, &events, on_link, NULL, &err),
	       -EINVAL, "null: is no place to listen at");
}

int main(void)
{
	char where[400];

	big = malloc(BIG);
	arrived = malloc(BIG);
	for (uint32_t i = 0; i < BIG; i++)
		big[i] = (i * 2654435761u) >> 24;
	if (lsc_loop_new(&loop, &err) < 0)
		return 1;
	test_all("memory", "memory:a");
	test_all("tcp", "127.0.0.1:0");
	snprintf(where, sizeof(where), "unix:%s/link.sock", scratch());
	test_all("unix", where);
	if (getenv("LSC_TEST_RDMA")) {
		snprintf(where, sizeof(where), "rdma://%s:0", getenv("LSC_TEST_RDMA"));
		patience_ns = 5000000000u; /* an emulated machine has a busy one below */
		test_all("rdma", where);
		patience_ns = 300000000;
	}
	test_garbage();
	test_version();
	test_timeouts();
	test_pair_and_rate();
	test_refused();
	lsc_loop_free(loop);
	free(big);
	free(arrived);
	return done_testing();
}
