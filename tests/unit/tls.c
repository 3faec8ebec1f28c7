/* tls: keys and their files; links with TLS, through a relay that listens, changes, cuts, replays;
 * plain links with a proof */
#include "tap.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/macros.h"
#include "net/access.h"
#include "net/key.h"
#include "net/link.h"
#include "net/link_ops.h"
#include "net/pass.h"
#include "net/tls.h"

#define BIG    (3u << 20)
#define MARKER "a plain text that nobody may read"

static struct lsc_loop *loop;
static struct lsc_err err;
static struct lsc_key key, other_key;

/* --- two ends --- */

struct end {
	struct lsc_link *link;
	int opened, records, bodies, closed;
	uint8_t *body;
	struct lsc_err why;
};

static struct end ends[2]; /* who connects, who accepts */
static uint8_t *big;
static struct lsc_pass secret;
static bool with_secret; /* the listener takes plain links that prove it */

static void on_open(void *data, struct lsc_link *link)
{
	(void)link;
	((struct end *)data)->opened++;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *e)
{
	struct end *end = data;

	(void)link;
	(void)record;
	end->records++;
	if (body_len > BIG)
		return lsc_err_set(e, EPROTO, "a body of %u bytes", body_len);
	if (body_len)
		*ret_body = end->body;
	return 0;
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *e)
{
	(void)link;
	(void)e;
	((struct end *)data)->bodies++;
	return 0;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *e)
{
	struct end *end = data;

	end->closed++;
	end->why = *e;
	lsc_link_close(link);
	end->link = NULL;
}

static const struct lsc_link_events events = {on_open, on_record, on_body, NULL, on_close};

static void *on_link(void *data, struct lsc_link *link)
{
	struct end *end = data;

	lsc_link_close(end->link);
	end->link = link;
	return end;
}

static const struct lsc_pass *find_proof(void *data, const uint8_t *id)
{
	(void)data;
	if (!with_secret || (id && memcmp(id, secret.id, sizeof(secret.id)) != 0))
		return NULL;
	return &secret;
}

static void turns(const int *what, int want)
{
	uint64_t until = lsc_clock_ns() + 5000000000u;

	while (*what < want && lsc_clock_ns() < until)
		lsc_loop_turn(loop, 100, &err);
}

static void some_turns(int ms)
{
	uint64_t until = lsc_clock_ns() + (uint64_t)ms * 1000000;

	while (lsc_clock_ns() < until)
		lsc_loop_turn(loop, 10, &err);
}

static struct lsc_listener *listen_with(const struct lsc_key *k, uint64_t timeout_ns)
{
	struct lsc_link_options options = {.kind = "test",
					   .key = k,
					   .connect_timeout_ns = timeout_ns,
					   .find_proof = find_proof};
	struct lsc_listener *listener = NULL;
	struct lsc_endpoint at;

	if (lsc_endpoint_parse(&at, "127.0.0.1:0", &err) < 0 ||
	    lsc_listener_open(&listener, loop, &at, &options, &events, on_link, &ends[1], &err) < 0)
		printf("# %s\n", err.text);
	return listener;
}

static void reset(void)
{
	uint8_t *bodies[2] = {ends[0].body, ends[1].body};

	for (int i = 0; i < 2; i++) {
		lsc_link_close(ends[i].link);
		ends[i] = (struct end){.body = bodies[i]};
	}
}

static void connect_with(const char *where, const struct lsc_key *k, const struct lsc_pass *proof)
{
	struct lsc_link_options options = {
		.kind = "test", .key = k, .proof = proof, .connect_timeout_ns = 2000000000};
	struct lsc_endpoint peer;

	reset();
	if (lsc_endpoint_parse(&peer, where, &err) < 0 ||
	    lsc_link_connect(&ends[0].link, loop, &peer, &options, &events, &ends[0], &err) < 0)
		printf("# %s\n", err.text);
}

static int send_record(struct end *end, const char *text, const void *body, uint32_t body_len)
{
	struct lsc_pack pack = LSC_PACK_INIT;
	int r;

	lsc_pack_begin(&pack, "text");
	lsc_pack_str(&pack, "text", text);
	if (body_len)
		lsc_pack_uint(&pack, "body", body_len);
	lsc_pack_end(&pack);
	r = lsc_link_send(end->link, &pack, body, body_len, NULL);
	lsc_pack_release(&pack);
	return r;
}

/* --- a relay between them, which sees and may change everything --- */

static struct relay {
	int listen_fd, fds[2]; /* [0]: from who connects */
	struct lsc_watch *listen_watch, *watches[2];
	uint16_t to;
	char where[32];
	struct lsc_buf seen[2];
	size_t flip_at; /* of what who connects sends; SIZE_MAX: nowhere */
	size_t cut_at;  /* ends there */
} relay;

static int tcp_socket(uint16_t port, bool listens)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listens && (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 8) < 0))
		abort();
	if (!listens && connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		abort();
	return fd;
}

static uint16_t port_of(const struct lsc_listener *listener)
{
	return (uint16_t)atoi(strrchr(lsc_listener_address(listener), ':') + 1);
}

static void relay_cut(void)
{
	for (int i = 0; i < 2; i++) {
		lsc_watch_remove(relay.watches[i]);
		relay.watches[i] = NULL;
		if (relay.fds[i] >= 0)
			close(relay.fds[i]);
		relay.fds[i] = -1;
	}
}

static bool push(int fd, const uint8_t *data, size_t len)
{
	for (ssize_t n; len; data += n, len -= (size_t)n) {
		n = send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0)
			return false;
	}
	return true;
}

static void relay_move(int from)
{
	uint8_t data[65536];
	ssize_t n = recv(relay.fds[from], data, sizeof(data), MSG_DONTWAIT);
	size_t before = relay.seen[from].len;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		relay_cut();
		return;
	}
	if (from == 0 && relay.cut_at - before < (size_t)n)
		n = (ssize_t)(relay.cut_at - before);
	lsc_buf_add(&relay.seen[from], data, (size_t)n);
	if (from == 0 && relay.flip_at >= before && relay.flip_at < before + (size_t)n)
		data[relay.flip_at - before] ^= 1;
	if (!push(relay.fds[!from], data, (size_t)n) ||
	    (from == 0 && relay.seen[0].len == relay.cut_at))
		relay_cut();
}

static void on_forth(void *data, uint32_t what)
{
	(void)data;
	(void)what;
	relay_move(0);
}

static void on_back(void *data, uint32_t what)
{
	(void)data;
	(void)what;
	relay_move(1);
}

static void on_relayed(void *data, uint32_t what)
{
	(void)data;
	(void)what;
	relay_cut();
	relay.fds[0] = accept4(relay.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	relay.fds[1] = tcp_socket(relay.to, false);
	lsc_loop_watch(loop, relay.fds[0], EPOLLIN, on_forth, NULL, &relay.watches[0], NULL);
	lsc_loop_watch(loop, relay.fds[1], EPOLLIN, on_back, NULL, &relay.watches[1], NULL);
}

static void relay_to(const struct lsc_listener *listener)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	relay = (struct relay){
		.fds = {-1, -1}, .to = port_of(listener), .flip_at = SIZE_MAX, .cut_at = SIZE_MAX};
	relay.listen_fd = tcp_socket(0, true);
	getsockname(relay.listen_fd, (struct sockaddr *)&at, &len);
	snprintf(relay.where, sizeof(relay.where), "127.0.0.1:%u", ntohs(at.sin_port));
	lsc_loop_watch(loop, relay.listen_fd, EPOLLIN, on_relayed, NULL, &relay.listen_watch, NULL);
}

static void relay_end(void)
{
	relay_cut();
	lsc_watch_remove(relay.listen_watch);
	close(relay.listen_fd);
	lsc_buf_release(&relay.seen[0]);
	lsc_buf_release(&relay.seen[1]);
}

static bool was_seen(const char *text)
{
	return memmem(relay.seen[0].data, relay.seen[0].len, text, strlen(text)) ||
	       memmem(relay.seen[1].data, relay.seen[1].len, text, strlen(text));
}

/* What a peer that is none of ours gets back for its bytes, until the end. */
static ssize_t answer_to(const struct lsc_listener *listener, const void *data, size_t len,
			 uint8_t answer[4096])
{
	int fd = tcp_socket(port_of(listener), false);
	uint64_t until = lsc_clock_ns() + 3000000000u;
	ssize_t n = 0, got = -1;

	if (!push(fd, data, len))
		printf("# cannot write\n");
	while (lsc_clock_ns() < until) {
		lsc_loop_turn(loop, 10, &err);
		got = recv(fd, answer + n, 4096 - (size_t)n, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		n += got > 0 ? got : 0;
	}
	close(fd);
	some_turns(30);
	return got == 0 ? n : -1;
}

/* --- keys --- */

#define DIGITS "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void test_key_lines(void)
{
	static const char *const bad[] = {
		"",
		"\n",
		"lsc-key1",
		"lsc-key1 ",
		"lsc-key1 00",
		"lsc-key2 " DIGITS,
		"lsc-key1  " DIGITS,
		" lsc-key1 " DIGITS,
		"lsc-key1 " DIGITS "\n\n",
		"lsc-key1 " DIGITS "00",
		"lsc-key1 " DIGITS " ",
		"lsc-key1 0x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"lsc-key1 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
	};
	struct lsc_buf line = LSC_BUF_INIT;
	struct lsc_key parsed = {0}, same;
	int refused = 0;

	is_int(lsc_key_parse(&parsed, "lsc-key1 " DIGITS "\n", 74, &err), 0, "a key is parsed");
	is_int(parsed.secret[31], 31, "with all its bytes");
	is_int(lsc_key_parse(&same, "lsc-key1 " DIGITS, 73, &err), 0, "without a newline too");
	ok(!memcmp(&same, &parsed, sizeof(same)), "and is the same");
	ok(lsc_key_line(&parsed, &line) == 0 && line.len == 74 &&
		   !memcmp(line.data, "lsc-key1 " DIGITS "\n", 74),
	   "written, it is that line");
	for (size_t i = 0; i < LSC_ARRAY_SIZE(bad); i++)
		refused += lsc_key_parse(&same, bad[i], strlen(bad[i]), &err) == -EBADMSG;
	is_int(refused, LSC_ARRAY_SIZE(bad), "what is no key is refused");
	is_int(lsc_key_parse(&same, "lsc-key1 \0" DIGITS, 74, &err), -EBADMSG, "a 0 among it too");
	lsc_buf_release(&line);
}

static void test_key_streams(void)
{
	static const char text[] = "lsc-key1 " DIGITS "\nmore";
	struct lsc_key parsed, read_key;
	char more[8] = "";
	int fds[2];

	lsc_key_parse(&parsed, text, 74, &err);
	ok(pipe2(fds, O_NONBLOCK) == 0 && write(fds[1], text, sizeof(text)) == sizeof(text),
	   "a pipe that stays open");
	is_int(lsc_key_read_line(&read_key, fds[0], "it", &err), 0, "has a key");
	ok(!memcmp(parsed.secret, read_key.secret, sizeof(parsed.secret)) &&
		   !strcmp(parsed.id, read_key.id),
	   "the same");
	ok(read(fds[0], more, sizeof(more)) == 5 && !strcmp(more, "more"), "what follows is left");
	ok(write(fds[1], text, 73) == 73 && close(fds[1]) == 0 &&
		   lsc_key_read_line(&read_key, fds[0], "it", &err) == 0,
	   "the last line needs no newline");
	is_int(lsc_key_read_line(&read_key, fds[0], "it", &err), -EBADMSG, "the end is no key");
	close(fds[0]);
	is_int(lsc_key_read_line(&read_key, fds[0], "it", &err), -EBADF, "nor is what is not open");
	is_str(err.text, "cannot read a key from it: Bad file descriptor", "which is told");
}

static void test_key_files(void)
{
	char path[512], link_path[520];
	struct lsc_key drawn, read;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/key", scratch());
	snprintf(link_path, sizeof(link_path), "%s/link", scratch());
	umask(0);
	is_int(lsc_key_draw(&drawn, &err), 0, "a key is drawn");
	is_int(lsc_key_write(&drawn, path, &err), 0, "and written");
	ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "for its owner alone");
	is_int(lsc_key_read(&read, path, &err), 0, "it is read");
	ok(!memcmp(&read, &drawn, sizeof(read)), "and is the same");
	is_int(lsc_key_write(&drawn, path, &err), -EEXIST, "a file that is there stays");
	ok(symlink("nowhere", link_path) == 0 && lsc_key_write(&drawn, link_path, &err) == -EEXIST,
	   "nothing is written through a link");
	chmod(path, 0640);
	is_int(lsc_key_read(&read, path, &err), -EPERM, "what a group may read is refused");
	ok(strstr(err.text, "mode 640") && strstr(err.text, "chmod 600"), "and said: %s", err.text);
	chmod(path, 0604);
	is_int(lsc_key_read(&read, path, &err), -EPERM, "what others may read too");
	chmod(path, 0602);
	is_int(lsc_key_read(&read, path, &err), -EPERM, "or write");
	chmod(path, 0400);
	is_int(lsc_key_read(&read, path, &err), 0, "read-only is fine");
	chmod(path, 0600);
	fd = open(path, O_WRONLY);
	ok(ftruncate(fd, 40) == 0 && lsc_key_read(&read, path, &err) == -EBADMSG &&
		   strstr(err.text, path),
	   "one cut short is refused: %s", err.text);
	ok(ftruncate(fd, 1 << 20) == 0 && lsc_key_read(&read, path, &err) == -EBADMSG,
	   "and one that is long");
	close(fd);
	is_int(lsc_key_read(&read, scratch(), &err) < 0, 1, "a folder is no key");
	unlink(path);
	is_int(lsc_key_read(&read, path, &err), -ENOENT, "nor is nothing");
}

static void test_access(void)
{
	static const struct {
		const char *where;
		bool local;
	} places[] = {
		{"127.0.0.1:7000", true},    {"127.99.1.2:1", true},
		{"[::1]:7000", true},        {"localhost:7000", true},
		{"unix:a.sock", true},       {"[::ffff:127.0.0.1]:1", true},
		{"10.0.0.1:7000", false},    {"0.0.0.0:7000", false},
		{"[::]:7000", false},        {"node1:7000", false},
		{"127.0.0.1.evil:1", false}, {"[::ffff:10.0.0.1]:1", false},
		{"localhost.evil:1", false},
	};
	struct lsc_access none = {0}, insecure = {.insecure = true}, keyed = {.key = &key};
	struct lsc_endpoint at;
	int right = 0;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(places); i++) {
		lsc_endpoint_parse(&at, places[i].where, &err);
		right += lsc_access_is_local(&at) == places[i].local &&
			 lsc_access_check(&none, &at, &err) == (places[i].local ? 0 : -EINVAL) &&
			 lsc_access_check(&insecure, &at, &err) == 0 &&
			 lsc_access_check(&keyed, &at, &err) == 0;
	}
	is_int(right, LSC_ARRAY_SIZE(places), "other machines need a key, or the word");
}

/* --- TLS --- */

static void test_right_key(void)
{
	struct lsc_listener *listener = listen_with(&key, 0);

	relay_to(listener);
	connect_with(relay.where, &key, NULL);
	is_int(send_record(&ends[0], MARKER, big, BIG), 0, "a record with a body is sent");
	for (int i = 0; i < 500; i++)
		send_record(&ends[0], MARKER, NULL, 0);
	turns(&ends[1].records, 501);
	is_int(ends[0].opened + ends[1].opened, 2, "with the same key both ends open");
	is_int(ends[1].records, 501, "all records arrive");
	ok(ends[1].bodies == 1 && !memcmp(ends[1].body, big, BIG), "and the body, as it was");
	ok(lsc_link_key(ends[1].link) == &key && lsc_link_key(ends[0].link) == &key,
	   "both know that it was the key");
	lsc_tls_rekey(ends[1].link->tls);
	send_record(&ends[1], MARKER, big, BIG);
	turns(&ends[0].bodies, 1);
	ok(ends[0].bodies == 1 && !memcmp(ends[0].body, big, BIG),
	   "and back, with new traffic keys");
	ok(relay.seen[0].len > BIG && relay.seen[1].len > BIG && !was_seen(MARKER) &&
		   !was_seen("hello") && !memmem(relay.seen[0].data, relay.seen[0].len, big, 64),
	   "nothing of it can be read on the way");
	ok(relay.seen[0].len < BIG + 200000, "%zu bytes for %u", relay.seen[0].len, BIG);
	send_record(&ends[0], MARKER, big, BIG);
	lsc_link_finish(ends[0].link);
	ends[0].link = NULL;
	turns(&ends[1].closed, 1);
	ok(ends[1].bodies == 2 && ends[1].closed == 1 && ends[1].why.code == 0,
	   "a link that finishes ends in good order, with everything there");
	relay_end();
	lsc_listener_close(listener);
}

/* Who connects with what to whom, and what each end is told; "" for a server that sees no link. */
static void test_no_agreement(void)
{
	static const struct {
		const struct lsc_key *connects, *accepts;
		const char *what, *connector, *acceptor;
	} cases[] = {
		{&other_key, &key, "another key", "refused key %s: it has another one",
		 "has another key: %s, not "},
		{NULL, &key, "no key", "wants a key: give --key-file", "does not speak TLS"},
		{&key, NULL, "a key for one that has none",
		 "does not speak TLS: it was started without",
		 "speaks TLS, and no --key-file was given here"},
	};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		struct lsc_listener *listener = listen_with(cases[i].accepts, 0);
		const char *id = cases[i].connects ? cases[i].connects->id : "";
		char want[128];

		connect_with(lsc_listener_address(listener), cases[i].connects, NULL);
		send_record(&ends[0], MARKER, NULL, 0);
		turns(&ends[0].closed, 1);
		turns(&ends[1].closed, 1);
		snprintf(want, sizeof(want), cases[i].connector, id);
		ok(ends[0].why.code == EKEYREJECTED && strstr(ends[0].why.text, want) &&
			   strstr(ends[0].why.text, lsc_listener_address(listener)),
		   "%s: %s", cases[i].what, ends[0].why.text);
		snprintf(want, sizeof(want), cases[i].acceptor, id);
		ok(ends[1].why.code == EKEYREJECTED && strstr(ends[1].why.text, want) &&
			   strstr(ends[1].why.text, "127.0.0.1:"),
		   "and there: %s", ends[1].why.text);
		ok(!ends[0].opened && !ends[1].opened && !ends[1].records, "nothing got through");
		lsc_listener_close(listener);
	}
}

/* Everyone can see a key's id, and name it: each bit of the key counts. */
static void test_forged(void)
{
	struct lsc_listener *listener = listen_with(&key, 0);
	int refused = 0;

	for (int bit = 0; bit < 8 * LSC_KEY_BYTES; bit++) {
		struct lsc_key forged = key;

		forged.secret[bit / 8] ^= (uint8_t)(1 << bit % 8);
		connect_with(lsc_listener_address(listener), &forged, NULL);
		send_record(&ends[0], MARKER, NULL, 0);
		turns(&ends[1].closed, 1);
		turns(&ends[0].closed, 1);
		refused += !ends[0].opened && !ends[1].opened && !ends[1].records &&
			   ends[1].why.code == EKEYREJECTED;
	}
	is_int(refused, 8 * LSC_KEY_BYTES, "a key that differs in a bit is refused: %s",
	       ends[1].why.text);
	lsc_listener_close(listener);
}

/* A byte of the data, and bytes all over the handshake, of which TLS does not look at the versions
 * in records' heads. */
static void test_changed_on_the_way(void)
{
	struct lsc_listener *listener = listen_with(&key, 300000000);
	size_t handshake;
	int got_through = 0, n = 0;

	relay_to(listener);
	connect_with(relay.where, &key, NULL);
	turns(&ends[0].opened, 1);
	turns(&ends[1].opened, 1);
	handshake = relay.seen[0].len;
	relay.flip_at = handshake + 100000;
	send_record(&ends[0], MARKER, big, BIG);
	turns(&ends[1].closed, 1);
	ok(ends[1].records == 1 && ends[1].bodies == 0, "a body that was changed does not arrive");
	ok(ends[1].why.code == EPROTO && strstr(ends[1].why.text, "changed on the way"),
	   "and the link ends: %s", ends[1].why.text);
	for (size_t at = 0; at < handshake; at += 7, n++) {
		reset();
		relay_cut();
		relay.seen[0].len = relay.seen[1].len = 0;
		relay.flip_at = at;
		connect_with(relay.where, &key, NULL);
		send_record(&ends[0], MARKER, NULL, 0);
		while (!ends[0].closed && !ends[1].records)
			lsc_loop_turn(loop, 100, &err);
		got_through += ends[1].records;
	}
	ok(n > 30 && got_through <= 1, "nor does anything when the handshake was (%d places)", n);
	relay_end();
	lsc_listener_close(listener);
}

static void test_cut(void)
{
	struct lsc_listener *listener = listen_with(&key, 0);

	relay_to(listener);
	connect_with(relay.where, &key, NULL);
	turns(&ends[1].opened, 1);
	send_record(&ends[0], MARKER, NULL, 0);
	turns(&ends[1].records, 1);
	relay_cut(); /* between two records: a plain link could not tell */
	turns(&ends[1].closed, 1);
	ok(ends[1].why.code == ECONNRESET && strstr(ends[1].why.text, "cut"),
	   "a link that someone cuts is not one that ended: %s", ends[1].why.text);
	turns(&ends[0].closed, 1);
	relay_end();
	lsc_listener_close(listener);
}

static void test_replay(void)
{
	struct lsc_listener *listener = listen_with(&key, 0);
	uint8_t answer[4096];

	relay_to(listener);
	connect_with(relay.where, &key, NULL);
	send_record(&ends[0], MARKER, NULL, 0);
	turns(&ends[1].records, 1);
	is_int(ends[1].records, 1, "a session is recorded");
	reset();
	some_turns(20);
	answer_to(listener, relay.seen[0].data, relay.seen[0].len, answer);
	ok(!ends[1].opened && !ends[1].records && ends[1].closed == 1 && ends[1].why.code,
	   "played again, it is refused: %s", ends[1].why.text);
	relay_end();
	lsc_listener_close(listener);
}

/* Bytes of every kind: whoever sends them is told no, and the owner sees no record. */
static void test_garbage(void)
{
	struct lsc_listener *listener = listen_with(&key, 300000000);
	uint8_t data[1000], answer[4096];
	unsigned seed = 5;
	int good = 0;

	reset();
	is_int(answer_to(listener, "GET / HTTP/1.0\r\n\r\n", 18, answer), 7, "one alert");
	ok(answer[0] == LSC_TLS_ALERT && answer[6] == 71, "for one that speaks no TLS");
	for (int i = 0; i < 60; i++) {
		size_t len = 1 + (size_t)rand_r(&seed) % sizeof(data);

		for (size_t at = 0; at < len; at++)
			data[at] = (uint8_t)rand_r(&seed);
		if (i % 2) { /* looks like a handshake, with a length that is right or not */
			memcpy(data, "\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03",
			       LSC_MIN(len, 11u));
			if (i % 4 == 1 && len > 6)
				data[3] = (uint8_t)rand_r(&seed);
		}
		answer_to(listener, data, len, answer);
		good += ends[1].opened == 0 && ends[1].records == 0;
	}
	is_int(good, 60, "and whatever comes, nothing of it is used");
	lsc_listener_close(listener);
}

/* Neither silence nor one byte holds a link for longer than its deadline. */
static void test_slow(void)
{
	struct lsc_listener *listener = listen_with(&key, 200000000);

	for (size_t len = 0; len < 2; len++) {
		uint64_t start = lsc_clock_ns();
		int fd = tcp_socket(port_of(listener), false);

		reset();
		if (len && write(fd, "\x16", 1) != 1)
			printf("# cannot write\n");
		turns(&ends[1].closed, 1);
		ok(ends[1].why.code == ETIMEDOUT && lsc_clock_ns() - start < 2000000000u,
		   "%zu bytes, then nothing: %s", len, ends[1].why.text);
		close(fd);
	}
	lsc_listener_close(listener);
}

/* Hundreds who say nothing do not keep out one who has the key. */
static void *on_crowd(void *data, struct lsc_link *link)
{
	static struct end crowd[400];
	unsigned *n = data;

	ends[1].link = link;
	return *n < 400 ? &crowd[(*n)++] : NULL;
}

static void test_crowd(void)
{
	struct lsc_link_options options = {.kind = "test", .key = &key};
	struct lsc_listener *listener = NULL;
	struct lsc_endpoint at;
	int fds[300], gone = 0;
	unsigned n = 0;
	char c;

	reset();
	if (lsc_endpoint_parse(&at, "127.0.0.1:0", &err) < 0 ||
	    lsc_listener_open(&listener, loop, &at, &options, &events, on_crowd, &n, &err) < 0)
		abort();
	for (int i = 0; i < 300; i++) {
		fds[i] = tcp_socket(port_of(listener), false);
		some_turns(1);
	}
	some_turns(50);
	for (int i = 0; i < 300; i++)
		gone += recv(fds[i], &c, 1, MSG_DONTWAIT) == 0;
	is_int(gone, 300 - 256, "of 300 who say nothing the oldest are let go");
	connect_with(lsc_listener_address(listener), &key, NULL);
	turns(&ends[0].opened, 1);
	is_int(ends[0].opened, 1, "and one who has the key gets in");
	for (int i = 0; i < 300; i++)
		close(fds[i]);
	lsc_listener_close(listener);
	some_turns(200);
	reset();
}

/* The peer does not read: what is queued waits, and arrives when it does. */
static void test_backlog(void)
{
	struct lsc_listener *listener = listen_with(&key, 0);
	enum { BODIES = 12 };

	relay_to(listener);
	connect_with(relay.where, &key, NULL);
	turns(&ends[1].opened, 1);
	lsc_watch_remove(relay.watches[0]);
	relay.watches[0] = NULL;
	for (int i = 0; i < BODIES; i++)
		send_record(&ends[0], MARKER, big, BIG);
	some_turns(100);
	ok(lsc_link_queued(ends[0].link) > BIG, "who is not read waits");
	lsc_loop_watch(loop, relay.fds[0], EPOLLIN, on_forth, NULL, &relay.watches[0], NULL);
	turns(&ends[1].bodies, BODIES);
	ok(ends[1].bodies == BODIES && !memcmp(ends[1].body, big, BIG), "and is heard in the end");
	relay_end();
	lsc_listener_close(listener);
}

/* --- plain links to a listener with a key --- */

static void expect_refusal(const char *name, const struct lsc_listener *listener,
			   const struct lsc_pass *proof, const char *why)
{
	connect_with(lsc_listener_address(listener), NULL, proof);
	send_record(&ends[0], MARKER, NULL, 0);
	turns(&ends[0].closed, 1);
	turns(&ends[1].closed, 1);
	ok(!ends[1].opened && !ends[1].records && ends[1].why.code == EKEYREJECTED &&
		   strstr(ends[1].why.text, why),
	   "%s: %s", name, ends[1].why.text);
	ok(ends[0].why.code == EKEYREJECTED, "and is told: %s", ends[0].why.text);
}

static void test_proof(void)
{
	struct lsc_listener *listener = listen_with(&key, 0);
	struct lsc_pass wrong = secret, unknown = secret;
	uint8_t answer[4096];

	wrong.secret[3] ^= 1;
	unknown.id[3] ^= 1;
	expect_refusal("no plain link without a cast that wants it", listener, &secret,
		       "does not speak TLS");
	with_secret = true;
	relay_to(listener);
	connect_with(relay.where, NULL, &secret);
	send_record(&ends[0], MARKER, big, BIG);
	turns(&ends[1].bodies, 1);
	ok(ends[1].bodies == 1 && !memcmp(ends[1].body, big, BIG), "a proof opens a plain link");
	ok(!lsc_link_key(ends[1].link), "which is not taken for one with TLS");
	ok(was_seen(MARKER) && !memmem(relay.seen[0].data, relay.seen[0].len, secret.secret, 32),
	   "its data can be read on the way, and the secret not");
	reset();
	some_turns(20);
	answer_to(listener, relay.seen[0].data, LSC_MIN(relay.seen[0].len, 4096u), answer);
	ok(!ends[1].opened && !ends[1].records && ends[1].why.code == EKEYREJECTED,
	   "played again, it is refused: %s", ends[1].why.text);
	relay_end();
	expect_refusal("a wrong secret", listener, &wrong, "wrong proof");
	expect_refusal("a secret for nothing", listener, &unknown, "no cast");
	expect_refusal("no proof", listener, NULL, "proves nothing");
	connect_with(lsc_listener_address(listener), &key, NULL);
	send_record(&ends[0], MARKER, NULL, 0);
	turns(&ends[1].records, 1);
	ok(lsc_link_key(ends[1].link) == &key, "TLS is still taken beside them");
	reset();
	with_secret = false;
	lsc_listener_close(listener);

	listener = listen_with(NULL, 0);
	connect_with(lsc_listener_address(listener), NULL, &secret);
	send_record(&ends[0], MARKER, NULL, 0);
	turns(&ends[1].opened, 1);
	turns(&ends[0].closed, 1);
	send_record(&ends[1], MARKER, NULL, 0);
	some_turns(50);
	ok(!ends[1].records, "nothing but hello goes to one that asks for no proof");
	lsc_listener_close(listener);
}

int main(void)
{
	test_key_lines();
	test_key_streams();
	test_key_files();
	if (lsc_tls_check(&err) < 0) {
		skip("%s", err.text);
		return done_testing();
	}
	big = malloc(BIG);
	ends[0].body = calloc(1, BIG);
	ends[1].body = calloc(1, BIG);
	if (!big || !ends[0].body || !ends[1].body || lsc_loop_new(&loop, &err) < 0 ||
	    lsc_key_draw(&key, &err) < 0 || lsc_key_draw(&other_key, &err) < 0 ||
	    lsc_pass_draw(secret.id, sizeof(secret.id), &err) < 0 ||
	    lsc_pass_draw(secret.secret, sizeof(secret.secret), &err) < 0)
		return 1;
	for (size_t i = 0; i < BIG; i++)
		big[i] = (uint8_t)(i * 2654435761u >> 13);
	ok(strlen(key.id) == 16 && strcmp(key.id, other_key.id), "keys have names");
	test_access();
	test_right_key();
	test_no_agreement();
	test_forged();
	test_changed_on_the_way();
	test_cut();
	test_replay();
	test_garbage();
	test_slow();
	test_crowd();
	test_backlog();
	test_proof();
	reset();
	lsc_loop_free(loop);
	free(big);
	free(ends[0].body);
	free(ends[1].body);
	return done_testing();
}
