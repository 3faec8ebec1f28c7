/* What lsc-gate adds to a token: from the router's send to the client's read.
 *
 *	build/release/bench/gate [STREAMS]
 *
 * A router of its own, a process that sends tokens at set times, and clients that stream, 256 by
 * default, on both sides of the program.  A token's text is the time at which it was sent.  One
 *JSON line a run: "apart" has the tokens of all streams spread evenly over the gap between two of
 *one stream, "together" all of them at the same moment, as a batch has them.  "direct" is the same
 * client on the router's socket, without a gate and without HTTP.  All run ahead of what else the
 * machine does (SCHED_FIFO), where that is allowed: "ahead".  Where it has fewer processors than
 *the three processes, they wait for each other.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/link.h"
#include "net/loop.h"

#define MAX_STREAMS 1024
#define TOKENS      100 /* of a stream */
#define GAP_NS      50000000ull
#define SETTLE_NS   200000000ull
#define BUFFER      65536

#define check(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "gate: %s failed\n", #what);                               \
			exit(71);                                                                  \
		}                                                                                  \
	} while (0)

static char socket_path[108];
static unsigned n_streams = 256;
static bool ahead;

/* --- the router --- */

static struct {
	struct lsc_loop *loop;
	struct lsc_timer *tick;
	struct lsc_link *link;
	struct lsc_pack pack;
	uint64_t ids[MAX_STREAMS];
	unsigned n, next, round;
	bool together;
	uint64_t start_ns;
} router;

static void begin(const char *type, uint64_t id)
{
	lsc_pack_begin(&router.pack, type);
	lsc_pack_real(&router.pack, "t", 0);
	lsc_pack_uint(&router.pack, "id", id);
}

static void send_pack(void)
{
	check(lsc_pack_end(&router.pack) == 0);
	check(lsc_link_send(router.link, &router.pack, NULL, 0, NULL) == 0);
}

static void send_token(uint64_t id)
{
	char text[32];

	snprintf(text, sizeof(text), "@%llu@", (unsigned long long)lsc_clock_ns());
	begin("token", id);
	lsc_pack_uint(&router.pack, "pos", router.round);
	lsc_pack_uint(&router.pack, "token", 1);
	lsc_pack_str(&router.pack, "text", text);
	send_pack();
}

static void send_done(uint64_t id)
{
	begin("done", id);
	lsc_pack_str(&router.pack, "reason", "length");
	lsc_pack_str(&router.pack, "rest", "");
	lsc_pack_uint(&router.pack, "tokens", TOKENS);
	lsc_pack_uint(&router.pack, "prompt_tokens", 1);
	send_pack();
}

/* The next token, or the next of each stream. */
static void on_tick(void *data)
{
	uint64_t now, due;

	(void)data;
	do {
		send_token(router.ids[router.next]);
		if (++router.next == router.n) {
			router.next = 0;
			router.round++;
		}
	} while (router.together && router.next);
	if (router.round == TOKENS) {
		for (unsigned i = 0; i < router.n; i++)
			send_done(router.ids[i]);
		router.n = router.round = 0;
		return;
	}
	due = router.start_ns + router.round * GAP_NS + router.next * GAP_NS / router.n;
	now = lsc_clock_ns();
	lsc_timer_arm(router.tick, due > now ? due - now : 0);
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	uint64_t max = 0;

	(void)data;
	(void)link;
	(void)body_len;
	*ret_body = NULL;
	if (!lsc_record_is(record, "request"))
		return 0;
	lsc_record_uint(record, "max_tokens", UINT32_MAX, &max, err);
	router.together = max > TOKENS;
	lsc_record_uint(record, "id", INT64_MAX, &router.ids[router.n], err);
	begin("accepted", router.ids[router.n++]);
	lsc_pack_uint(&router.pack, "prompt_tokens", 1);
	send_pack();
	if (router.n == n_streams) {
		router.start_ns = lsc_clock_ns() + SETTLE_NS;
		lsc_timer_arm(router.tick, SETTLE_NS);
	}
	return 0;
}

static void on_open(void *data, struct lsc_link *link)
{
	static const uint8_t image[16];

	(void)data;
	router.link = link;
	lsc_pack_begin(&router.pack, "model");
	lsc_pack_str(&router.pack, "name", "none");
	lsc_pack_str(&router.pack, "chat", "none");
	lsc_pack_bin(&router.pack, "image", image, sizeof(image));
	lsc_pack_uint(&router.pack, "context", 4096);
	lsc_pack_uint(&router.pack, "vocab", 2);
	lsc_pack_uint(&router.pack, "units", 1);
	lsc_pack_uint(&router.pack, "blocks", 1);
	lsc_pack_uint(&router.pack, "bytes", 1);
	send_pack();
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	(void)data;
	(void)err;
	lsc_link_close(link);
	lsc_timer_disarm(router.tick);
	router.n = router.round = router.next = 0;
}

static void *on_link(void *data, struct lsc_link *link)
{
	(void)link;
	return data;
}

static const struct lsc_link_events link_events = {
	.on_open = on_open, .on_record = on_record, .on_close = on_close};

static void run_router(int ready_fd)
{
	const struct lsc_link_options options = {.kind = "requests"};
	struct lsc_endpoint at = {.kind = LSC_ENDPOINT_UNIX};
	struct lsc_listener *listener;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	strcpy(at.name, socket_path);
	check(lsc_loop_new(&router.loop, NULL) == 0);
	check(lsc_timer_new(router.loop, on_tick, NULL, &router.tick, NULL) == 0);
	check(lsc_listener_open(&listener, router.loop, &at, &options, &link_events, on_link,
				&router, NULL) == 0);
	check(write(ready_fd, "x", 1) == 1);
	lsc_loop_run(router.loop, NULL);
}

/* --- the client --- */

static struct {
	double *delays; /* microseconds */
	size_t n;
	unsigned done;
} told;

/* Takes the times between the marks; keeps what may be the start of one.  Returns what is kept. */
static size_t take_times(char *text, size_t len)
{
	uint64_t now = lsc_clock_ns();
	char *at = text, *end = text + len, *open, *close;

	while ((open = memchr(at, '@', (size_t)(end - at)))) {
		close = memchr(open + 1, '@', (size_t)(end - open - 1));
		if (!close)
			break;
		told.delays[told.n++] = (double)(now - strtoull(open + 1, NULL, 10)) / 1e3;
		at = close + 1;
	}
	if (!open)
		open = end;
	memmove(text, open, (size_t)(end - open));
	return (size_t)(end - open);
}

static int connect_to(const char *address)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	const char *port = strrchr(address, ':');
	int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

	in.sin_port = htons((uint16_t)atoi(port + 1));
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	check(fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	return fd;
}

static int ask(const char *address, bool together)
{
	char body[100], head[300];
	int fd = connect_to(address);

	snprintf(body, sizeof(body), "{\"prompt\":\"a\",\"stream\":true,\"max_tokens\":%d}",
		 together ? TOKENS + 1 : TOKENS);
	snprintf(head, sizeof(head),
		 "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
		 "application/json\r\nContent-Length: %zu\r\n\r\n%s",
		 strlen(body), body);
	check(write(fd, head, strlen(head)) == (ssize_t)strlen(head));
	return fd;
}

static void read_streams(const char *address, bool together)
{
	static char buffers[MAX_STREAMS][BUFFER];
	static size_t lens[MAX_STREAMS];
	static int fds[MAX_STREAMS];
	size_t want = (size_t)n_streams * TOKENS;
	int epoll = epoll_create1(0);

	for (unsigned i = 0; i < n_streams; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

		lens[i] = 0;
		fds[i] = ask(address, together);
		check(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) == 0);
	}
	while (told.n < want) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll, events, 64, 10000);

		check(n > 0);
		for (int k = 0; k < n; k++) {
			unsigned i = events[k].data.u32;
			ssize_t got = read(fds[i], buffers[i] + lens[i], BUFFER - lens[i]);

			check(got > 0);
			lens[i] = take_times(buffers[i], lens[i] + (size_t)got);
		}
	}
	for (unsigned i = 0; i < n_streams; i++)
		close(fds[i]);
	close(epoll);
}

/* --- without a gate --- */

static struct lsc_loop *direct_loop;
static bool direct_together;

static int direct_record(void *data, struct lsc_link *link, const struct lsc_record *record,
			 uint32_t body_len, void **ret_body, struct lsc_err *err)
{
	const char *text;
	uint32_t len;
	char copy[64];

	(void)data;
	(void)link;
	(void)body_len;
	*ret_body = NULL;
	if (lsc_record_is(record, "token") &&
	    lsc_record_str(record, "text", sizeof(copy) - 1, &text, &len, err) == 0) {
		memcpy(copy, text, len);
		take_times(copy, len);
	}
	if (told.n == (size_t)n_streams * TOKENS)
		lsc_loop_stop(direct_loop, 0);
	return 0;
}

static void direct_open(void *data, struct lsc_link *link)
{
	(void)data;
	for (unsigned i = 0; i < n_streams; i++) {
		lsc_pack_begin(&router.pack, "request");
		lsc_pack_uint(&router.pack, "id", i);
		lsc_pack_uint(&router.pack, "max_tokens", TOKENS + direct_together);
		check(lsc_pack_end(&router.pack) == 0);
		check(lsc_link_send(link, &router.pack, NULL, 0, NULL) == 0);
	}
}

static void direct_close(void *data, struct lsc_link *link, const struct lsc_err *err)
{
	(void)data;
	(void)link;
	fprintf(stderr, "gate: %s\n", err->text);
	exit(71);
}

static void read_directly(bool together)
{
	static const struct lsc_link_events events = {
		.on_open = direct_open, .on_record = direct_record, .on_close = direct_close};
	const struct lsc_link_options options = {.kind = "requests"};
	struct lsc_endpoint at = {.kind = LSC_ENDPOINT_UNIX};
	struct lsc_link *link;

	strcpy(at.name, socket_path);
	direct_together = together;
	check(lsc_loop_new(&direct_loop, NULL) == 0);
	check(lsc_link_connect(&link, direct_loop, &at, &options, &events, NULL, NULL) == 0);
	lsc_loop_run(direct_loop, NULL);
	lsc_link_close(link);
	lsc_loop_free(direct_loop);
}

/* --- the whole --- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(const char *how, bool together, double cpu_s)
{
	qsort(told.delays, told.n, sizeof(double), compare);
	printf("{\"name\":\"gate\",\"how\":\"%s\",\"tokens\":\"%s\",\"streams\":%u,"
	       "\"ahead\":%s,\"p50_us\":%.0f,"
	       "\"p90_us\":%.0f,\"p99_us\":%.0f,\"p999_us\":%.0f,\"max_us\":%.0f",
	       how, together ? "together" : "apart", n_streams, ahead ? "true" : "false",
	       told.delays[told.n / 2], told.delays[told.n * 9 / 10],
	       told.delays[told.n * 99 / 100], told.delays[told.n * 999 / 1000],
	       told.delays[told.n - 1]);
	if (cpu_s > 0)
		printf(",\"cpu_us_a_token\":%.1f", cpu_s * 1e6 / (double)told.n);
	printf("}\n");
	fflush(stdout);
	told.n = 0;
}

static double seconds(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

/* Starts the gate; its address goes to address. */
static pid_t start_gate(char address[64])
{
	const char *bin = getenv("LSC_BIN");
	char program[300], upstream[130];
	int fds[2];
	ssize_t n;
	pid_t pid;

	snprintf(program, sizeof(program), "%s/lsc-gate", bin ? bin : "bin");
	snprintf(upstream, sizeof(upstream), "unix:%s", socket_path);
	check(pipe(fds) == 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fds[1], 3);
		execl(program, program, "-q", "127.0.0.1:0", "--router", upstream, "--ready-fd",
		      "3", "--connections", "2048", NULL);
		_exit(127);
	}
	close(fds[1]);
	n = read(fds[0], address, 63);
	check(n > 1);
	address[n - 1] = 0;
	close(fds[0]);
	usleep(500000); /* until it has found the router */
	return pid;
}

static bool run_gate(bool together)
{
	char address[64];
	struct rusage usage;
	pid_t pid = start_gate(address);
	int status;

	read_streams(address, together);
	kill(pid, SIGTERM);
	if (wait4(pid, &status, 0, &usage) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		return false;
	report("gate", together, seconds(&usage.ru_utime) + seconds(&usage.ru_stime));
	return true;
}

int main(int argc, char **argv)
{
	const struct sched_param priority = {.sched_priority = 5};
	const char *scratch = getenv("LSC_SCRATCH");
	char ready;
	int fds[2];
	pid_t pid;

	if (argc > 1)
		n_streams = (unsigned)strtoul(argv[1], NULL, 10);
	check(n_streams > 0 && n_streams <= MAX_STREAMS);
	snprintf(socket_path, sizeof(socket_path), "%.80s/gate.%d", scratch ? scratch : "/tmp",
		 (int)getpid());
	ahead = sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
	told.delays = calloc((size_t)n_streams * TOKENS, sizeof(double));
	check(told.delays && pipe(fds) == 0);
	pid = fork();
	if (pid == 0) {
		run_router(fds[1]);
		_exit(0);
	}
	check(read(fds[0], &ready, 1) == 1);
	for (int together = 0; together < 2; together++) {
		read_directly(together);
		report("direct", together, 0);
		check(run_gate(together));
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(socket_path);
	return 0;
}
