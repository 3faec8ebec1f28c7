/* How much lsc-replay sustains: requests a second, and answers that stream at once.
 *
 *	build/release/bench/replay
 *
 * A server of its own, one process on loopback that does next to nothing, answers with tokens at
 *set times.  One JSON line a run: what came of the rate that was asked for, how late requests left,
 *how far apart tokens came that were sent gap_s apart, and the processor time of the sender.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

#define MAX_FDS   8192
#define MAX_BYTES 65536

#define HEAD                                                                                       \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

struct conn {
	char *bytes; /* of a request */
	size_t len;
	unsigned left; /* tokens to send; 0: none is asked for */
	uint64_t next_ns, gap_ns;
};

static struct conn conns[MAX_FDS];

static void put(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) < 0)
		conns[fd].left = 0;
}

static void put_event(int fd, const char *data)
{
	char text[256];

	snprintf(text, sizeof(text), "%zx\r\ndata: %s\n\n\r\n", strlen(data) + 8, data);
	put(fd, text);
}

/* Whole once its body is there: the head says how long that is. */
static void take_request(int fd)
{
	struct conn *conn = &conns[fd];
	const char *head_end, *length, *most, *gap;

	conn->bytes[conn->len] = 0;
	head_end = strstr(conn->bytes, "\r\n\r\n");
	length = strstr(conn->bytes, "Content-Length: ");
	if (!head_end || !length ||
	    conn->len < (size_t)(head_end + 4 - conn->bytes) + strtoul(length + 16, NULL, 10))
		return;
	most = strstr(head_end, "\"max_tokens\":");
	gap = strstr(head_end, "\"model\":\"");
	conn->left = most ? (unsigned)strtoul(most + 13, NULL, 10) : 1;
	conn->gap_ns = gap ? strtoull(gap + 9, NULL, 10) * 1000000 : 0;
	conn->next_ns = lsc_clock_ns();
	conn->len = 0;
	put(fd, HEAD);
}

static void on_ready(int fd)
{
	struct conn *conn = &conns[fd];
	ssize_t n = read(fd, conn->bytes + conn->len, MAX_BYTES - 1 - conn->len);

	if (n > 0) {
		conn->len += (size_t)n;
		take_request(fd);
	} else if (n == 0 || errno != EAGAIN) {
		close(fd);
		free(conn->bytes);
		*conn = (struct conn){0};
	}
}

static void send_tokens(int fd, uint64_t now)
{
	struct conn *conn = &conns[fd];

	while (conn->left && conn->next_ns <= now) {
		put_event(fd, "{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"choices\":[{"
			      "\"index\":0,\"text\":\" token\",\"finish_reason\":null}]}");
		conn->next_ns += conn->gap_ns;
		if (conn->left && --conn->left == 0) {
			put_event(fd, "[DONE]");
			put(fd, "0\r\n\r\n");
		}
	}
}

static void on_accept(int listener, int epoll)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
		int on = 1;

		conns[fd % MAX_FDS] = (struct conn){.bytes = malloc(MAX_BYTES)};
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
	}
}

static void serve(int listener)
{
	int epoll = epoll_create1(0);
	struct epoll_event events[256], event = {.events = EPOLLIN, .data.fd = listener};

	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int n = epoll_wait(epoll, events, 256, 1);
		uint64_t now;

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				on_accept(listener, epoll);
			else
				on_ready(events[i].data.fd);
		}
		now = lsc_clock_ns();
		for (int fd = 0; fd < MAX_FDS; fd++)
			if (conns[fd].left)
				send_tokens(fd, now);
	}
}

/* A process that serves; its port. */
static unsigned start_server(pid_t *ret_pid)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(address);
	struct rlimit limit = {MAX_FDS - 1, MAX_FDS - 1};

	setrlimit(RLIMIT_NOFILE, &limit);
	if (bind(listener, (struct sockaddr *)&address, len) < 0 || listen(listener, 4096) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		exit(71);
	*ret_pid = fork();
	if (*ret_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		serve(listener);
	}
	close(listener);
	return ntohs(address.sin_port);
}

static double cpu_of_children(void)
{
	struct rusage usage;

	getrusage(RUSAGE_CHILDREN, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
	       (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

static double real_of(const json_t *report, const char *key, const char *sub)
{
	const json_t *value = json_object_get(report, key);

	return json_number_value(sub ? json_object_get(value, sub) : value);
}

static void run(unsigned port, unsigned rate, double seconds, unsigned tokens, unsigned gap_ms)
{
	double cpu = cpu_of_children();
	char command[512];
	json_t *report;
	FILE *pipe;

	snprintf(command, sizeof(command),
		 "%s/lsc-replay http://127.0.0.1:%u --gamma %u,0.1 --limit %.0f --prompt-tokens 100"
		 " --output-tokens %u --model %u --json --tokens-per-word 1.35",
		 getenv("LSC_BIN") ? getenv("LSC_BIN") : "bin", port, rate, rate * seconds, tokens,
		 gap_ms);
	pipe = popen(command, "r");
	report = pipe ? json_loadf(pipe, 0, NULL) : NULL;
	if (!pipe || pclose(pipe) || !report) {
		fprintf(stderr, "replay: '%s' fails\n", command);
		exit(1);
	}
	printf("{\"name\":\"replay\",\"asked_requests_s\":%u,\"tokens\":%u,\"gap_s\":%g,"
	       "\"requests_s\":%.1f,\"at_once\":%.0f,\"tokens_s\":%.0f,\"late_p50_s\":%.6f,"
	       "\"late_p99_s\":%.6f,\"itl_p50_s\":%.6f,\"itl_p99_s\":%.6f,\"cpu_s\":%.2f,"
	       "\"seconds\":%.2f}\n",
	       rate, tokens, gap_ms / 1e3, real_of(report, "requests_s", NULL),
	       real_of(report, "at_once", NULL), real_of(report, "tokens_s", NULL),
	       real_of(report, "late_s", "p50"), real_of(report, "late_s", "p99"),
	       real_of(report, "itl_s", "p50"), real_of(report, "itl_s", "p99"),
	       cpu_of_children() - cpu, real_of(report, "seconds", NULL));
	fflush(stdout);
	json_decref(report);
}

int main(void)
{
	static const unsigned rates[] = {500, 1000, 2000, 4000, 8000};
	static const unsigned streams[] = {100, 500, 1000, 2000, 4000};
	pid_t pid;
	unsigned port = start_server(&pid);

	/* Requests that are over at once, and answers of 2 s with a token every 20 ms. */
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		run(port, rates[i], 2, 1, 0);
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
		run(port, streams[i] / 2, 2.5, 101, 20);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return 0;
}
