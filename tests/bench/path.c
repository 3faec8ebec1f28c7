/* What moving a byte costs: processor seconds a GB, by the way it is sent and received.
 *
 *	build/release/bench/path [MIB [FOLDER]...]
 *
 * Two processes move MIB (256) over a loopback TCP connection in pieces of 256 KiB: from a file,
 * by each way of sending, to a receiver that throws it away; and from memory, as iperf3 does it,
 * by each way of receiving into a file in each FOLDER (a scratch folder, and /dev/shm), with and
 * without hashing.  One JSON line a run.  What the loopback device does is the sender's work here,
 * the peer's half of TCP included.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/macros.h"

#define PIECE    262144
#define CHUNK    131072 /* a call, as iperf3 */
#define RUNS     5
#define MAX_WAYS 16

enum { PLAIN, HASH, STREAM, HUGE = 4 };

static uint64_t bytes;

static void die(const char *what)
{
	perror(what);
	exit(71);
}

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* --- sending: from the mapping, or the file, at an offset --- */

struct source {
	int fd;
	const uint8_t *data;
	int pipe[2];
};

static ssize_t send_memory(const struct source *s, int to, uint64_t at, size_t n)
{
	(void)at;
	return send(to, s->data, n, MSG_NOSIGNAL); /* the same bytes again and again */
}

static ssize_t send_mapped(const struct source *s, int to, uint64_t at, size_t n)
{
	return send(to, s->data + at, n, MSG_NOSIGNAL);
}

static ssize_t send_sendfile(const struct source *s, int to, uint64_t at, size_t n)
{
	off_t offset = (off_t)at;

	return sendfile(to, s->fd, &offset, n);
}

static ssize_t send_splice(const struct source *s, int to, uint64_t at, size_t n)
{
	loff_t offset = (loff_t)at;
	ssize_t got = splice(s->fd, &offset, s->pipe[1], NULL, LSC_MIN(n, 65536u), 0), left = got;

	while (left > 0) {
		ssize_t put = splice(s->pipe[0], NULL, to, NULL, (size_t)left, SPLICE_F_MORE);

		if (put <= 0)
			return -1;
		left -= put;
	}
	return got;
}

/* What the kernel says of pages that are free again is read away. */
static ssize_t send_zerocopy(const struct source *s, int to, uint64_t at, size_t n)
{
	char control[128];
	struct msghdr message = {.msg_control = control, .msg_controllen = sizeof(control)};
	ssize_t put;

	while ((put = send(to, s->data + at, n, MSG_NOSIGNAL | MSG_ZEROCOPY)) < 0 &&
	       errno == ENOBUFS)
		recvmsg(to, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
	recvmsg(to, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
	return put;
}

/* --- receiving: into the mapping, or the file --- */

struct sink {
	int fd;
	uint8_t *data; /* of the file */
	uint8_t *hot;  /* a piece */
	int pipe[2];
	unsigned how;
	struct lsc_hasher *hasher;
};

static void read_full(struct sink *s, int from, uint8_t *to, size_t n)
{
	while (n) {
		ssize_t got = read(from, to, LSC_MIN(n, (size_t)CHUNK));

		if (got <= 0)
			die("read");
		if (s->how & STREAM)
			lsc_hasher_add(s->hasher, to, (size_t)got);
		to += got;
		n -= (size_t)got;
	}
}

static const uint8_t *take_away(struct sink *s, int from, uint64_t at, size_t n)
{
	(void)at;
	read_full(s, from, s->hot, n);
	return s->hot;
}

static const uint8_t *take_mapped(struct sink *s, int from, uint64_t at, size_t n)
{
	read_full(s, from, s->data + at, n);
	return s->data + at;
}

static const uint8_t *take_populated(struct sink *s, int from, uint64_t at, size_t n)
{
	if (madvise(s->data + at, n, MADV_POPULATE_WRITE) < 0)
		die("populate");
	return take_mapped(s, from, at, n);
}

static const uint8_t *take_written(struct sink *s, int from, uint64_t at, size_t n)
{
	read_full(s, from, s->hot, n);
	if (pwrite(s->fd, s->hot, n, (off_t)at) != (ssize_t)n)
		die("pwrite");
	return s->hot;
}

static const uint8_t *take_spliced(struct sink *s, int from, uint64_t at, size_t n)
{
	loff_t offset = (loff_t)at;

	while (n) {
		ssize_t got = splice(from, NULL, s->pipe[1], NULL, n, 0);

		if (got <= 0)
			die("splice");
		n -= (size_t)got;
		while (got > 0) {
			ssize_t put = splice(s->pipe[0], NULL, s->fd, &offset, (size_t)got, 0);

			if (put <= 0)
				die("splice");
			got -= put;
		}
	}
	return s->data + at;
}

/* --- a run --- */

struct way {
	const char *name;
	ssize_t (*send)(const struct source *, int, uint64_t, size_t);
	const uint8_t *(*take)(struct sink *, int, uint64_t, size_t);
	unsigned how;
};

struct cost {
	double sender, receiver, seconds; /* shared between the processes */
	uint32_t check;
};

static void open_sink(struct sink *s, const char *folder)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/sink", folder);
	s->fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
	if (s->fd < 0 || fallocate(s->fd, 0, 0, (off_t)bytes) < 0)
		die(path);
	unlink(path);
	s->data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (s->how & HUGE)
		madvise(s->data, bytes, MADV_HUGEPAGE);
	s->hot = malloc(PIECE);
	s->hasher = lsc_hasher_new();
	if (s->data == MAP_FAILED || !s->hot || !s->hasher || pipe(s->pipe) < 0)
		die("sink");
	fcntl(s->pipe[1], F_SETPIPE_SZ, 1 << 20);
}

static void receive(const struct way *way, int from, const char *folder, struct cost *cost)
{
	double began = cpu_s();
	struct sink s = {.how = way->how};
	uint64_t start;

	open_sink(&s, folder);
	start = lsc_clock_ns();
	for (uint64_t at = 0; at < bytes; at += PIECE) {
		const uint8_t *piece = way->take(&s, from, at, PIECE);
		struct lsc_hash hash = {{0}};

		if (s.how & STREAM)
			hash = lsc_hasher_end(s.hasher);
		else if (s.how & HASH)
			hash = lsc_hash_of(piece, PIECE);
		cost->check += hash.bytes[0];
	}
	cost->seconds = (double)(lsc_clock_ns() - start) / 1e9;
	munmap(s.data, bytes);
	close(s.fd);
	cost->receiver = cpu_s() - began;
}

static void give(const struct way *way, int to, const struct source *s, struct cost *cost)
{
	double began = cpu_s();

	for (uint64_t at = 0; at < bytes;) {
		ssize_t n = way->send(s, to, at, LSC_MIN(bytes - at, (uint64_t)CHUNK));

		if (n <= 0)
			die("send");
		at += (uint64_t)n;
	}
	shutdown(to, SHUT_WR);
	cost->sender = cpu_s() - began;
}

static void connect_both(int ends[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&at, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&at, &len) < 0 ||
	    connect(ends[0], (struct sockaddr *)&at, len) < 0)
		die("connect");
	ends[1] = accept(listener, NULL, NULL);
	setsockopt(ends[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one));
	close(listener);
}

static void run_once(const struct way *way, const struct source *source, const char *folder,
		     struct cost *cost)
{
	int ends[2], status;
	pid_t pid;

	*cost = (struct cost){0};
	connect_both(ends);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		receive(way, ends[1], folder, cost);
		_exit(0);
	}
	close(ends[1]);
	give(way, ends[0], source, cost);
	close(ends[0]);
	waitpid(pid, &status, 0);
	if (status)
		exit(71);
}

/* Each way RUNS times, in turns, and the least of each: what others do on the machine only adds. */
static void run_all(const struct way *ways, unsigned n, const struct source *source,
		    const char *folder, const char *what, struct cost *shared)
{
	double gb = (double)bytes / 1e9;
	struct cost least[MAX_WAYS];

	for (unsigned i = 0; i < n; i++)
		least[i] = (struct cost){1e9, 1e9, 1e9, 0};
	for (unsigned i = 0; i < RUNS * n; i++) {
		struct cost *cost = &least[i % n];

		run_once(&ways[i % n], source, folder, shared);
		if (shared->sender + shared->receiver < cost->sender + cost->receiver)
			*cost = *shared;
	}
	for (unsigned i = 0; i < n; i++)
		printf("{\"name\":\"path\",\"what\":\"%s\",\"way\":\"%s\",\"bytes\":%llu,"
		       "\"seconds\":%.3f,\"sender_cpu_s_per_gb\":%.3f,"
		       "\"receiver_cpu_s_per_gb\":%.3f,\"both_cpu_s_per_gb\":%.3f}\n",
		       what, ways[i].name, (unsigned long long)bytes, least[i].seconds,
		       least[i].sender / gb, least[i].receiver / gb,
		       (least[i].sender + least[i].receiver) / gb);
	fflush(stdout);
}

static void run_memory(const struct source *s)
{
	uint8_t *to = malloc(PIECE);
	double gb = (double)bytes / 1e9, began;
	uint32_t sum = 0;

	if (!to)
		die("malloc");
	began = cpu_s();
	for (uint64_t at = 0; at < bytes; at += PIECE) {
		memcpy(to, s->data + at, PIECE);
		__asm__ volatile("" ::"r"(to) : "memory");
	}
	printf("{\"name\":\"path\",\"what\":\"memory\",\"way\":\"memcpy\",\"bytes\":%llu,"
	       "\"cpu_s_per_gb\":%.3f}\n",
	       (unsigned long long)bytes, (cpu_s() - began) / gb + sum * 0);
	began = cpu_s();
	for (uint64_t at = 0; at < bytes; at += PIECE)
		sum += lsc_hash_of(s->data + at, PIECE).bytes[0];
	printf("{\"name\":\"path\",\"what\":\"memory\",\"way\":\"hash\",\"bytes\":%llu,"
	       "\"cpu_s_per_gb\":%.3f}\n",
	       (unsigned long long)bytes, (cpu_s() - began) / gb + sum * 0);
	began = cpu_s();
	for (uint64_t at = 0; at < bytes; at += PIECE)
		sum += lsc_hash_of(s->data, PIECE).bytes[0];
	printf("{\"name\":\"path\",\"what\":\"memory\",\"way\":\"hash-hot\",\"bytes\":%llu,"
	       "\"cpu_s_per_gb\":%.3f}\n",
	       (unsigned long long)bytes, (cpu_s() - began) / gb + sum * 0);
	free(to);
}

static void make_source(struct source *s, const char *folder)
{
	char path[4096];
	uint8_t *data;

	snprintf(path, sizeof(path), "%s/source", folder);
	s->fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
	if (s->fd < 0)
		die(path);
	unlink(path);
	data = malloc(PIECE);
	for (size_t i = 0; data && i < PIECE; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	for (uint64_t at = 0; data && at < bytes; at += PIECE)
		if (pwrite(s->fd, data, PIECE, (off_t)at) != PIECE)
			die("write");
	free(data);
	s->data = mmap(NULL, bytes, PROT_READ, MAP_SHARED, s->fd, 0);
	if (s->data == MAP_FAILED || pipe(s->pipe) < 0)
		die("source");
}

int main(int argc, char **argv)
{
	static const struct way senders[] = {
		{"memory", send_memory, take_away, PLAIN},
		{"mapped", send_mapped, take_away, PLAIN},
		{"sendfile", send_sendfile, take_away, PLAIN},
		{"splice", send_splice, take_away, PLAIN},
		{"zerocopy", send_zerocopy, take_away, PLAIN},
	};
	static const struct way receivers[] = {
		{"thrown away", send_memory, take_away, PLAIN},
		{"thrown away, hashed", send_memory, take_away, HASH},
		{"mapped", send_memory, take_mapped, PLAIN},
		{"mapped, hashed", send_memory, take_mapped, HASH},
		{"mapped, hashed as it comes", send_memory, take_mapped, STREAM},
		{"populated, hashed", send_memory, take_populated, HASH},
		{"huge, hashed", send_memory, take_mapped, HASH | HUGE},
		{"huge, hashed as it comes", send_memory, take_mapped, STREAM | HUGE},
		{"huge, populated, hashed", send_memory, take_populated, HASH | HUGE},
		{"spliced, hashed", send_memory, take_spliced, HASH},
		{"spliced, hashed, huge", send_memory, take_spliced, HASH | HUGE},
		{"buffer and pwrite, hashed", send_memory, take_written, HASH},
	};
	const char *scratch = getenv("LSC_SCRATCH"), *folders[8];
	struct cost *cost = mmap(NULL, sizeof(*cost), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct source source;
	int n = 0;

	bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 256) << 20;
	for (int i = 2; i < argc && n < 8; i++)
		folders[n++] = argv[i];
	if (n == 0) {
		folders[n++] = scratch ? scratch : "/tmp";
		folders[n++] = "/dev/shm";
	}
	if (bytes == 0 || cost == MAP_FAILED)
		return 64;
	make_source(&source, folders[0]);
	run_memory(&source);
	run_all(senders, LSC_ARRAY_SIZE(senders), &source, folders[0], "send", cost);
	for (int f = 0; f < n; f++)
		run_all(receivers, LSC_ARRAY_SIZE(receivers), &source, folders[f], folders[f],
			cost);
	return 0;
}
