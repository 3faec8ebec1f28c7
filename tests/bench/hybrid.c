/* A cast and a disk that fill one image together, each held to the same rate: how much sooner it is
 * there than by either alone.
 *
 *	build/release/bench/hybrid [MIB [RATE_MB [BLOCKS [ROUNDS [FOLDER]]]]]
 *
 * An image of MIB (512) in BLOCKS (16) comes into memory ROUNDS (3) times in turns from a node on
 * loopback TCP, from a file in FOLDER (a scratch folder), each held to RATE_MB (200) million bytes
 *a second, and from both: the node from the front, the disk from behind.  One JSON line a way, with
 * the median of its seconds, and of what both gain over the faster one of the same round.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "cast/member.h"
#include "mem/claims.h"
#include "mem/marks.h"
#include "tier/load.h"

#define PIECE      262144u
#define MAX_ROUNDS 25

static struct lsc_image image = LSC_IMAGE_INIT;
static struct lsc_run file;
static uint8_t *content;
static struct lsc_loop *loop;
static struct lsc_err err;
static double rate = 200e6;
static const struct lsc_cast_id cast_id = {"0123456789abcde"};

static void check(int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "hybrid: %s\n", err.text);
	exit(71);
}

static void make_image(const char *path, uint64_t bytes, uint32_t blocks)
{
	uint64_t seed = 88172645463325252ull, block = lsc_align_up(bytes / blocks, PIECE);

	image.bytes = bytes;
	image.piece_bytes = PIECE;
	image.n_pieces = (uint32_t)(bytes / PIECE);
	image.n_blocks = (uint32_t)lsc_div_up(bytes, block);
	image.pieces = calloc(image.n_pieces, sizeof(image.pieces[0]));
	image.blocks = calloc(image.n_blocks, sizeof(image.blocks[0]));
	content = malloc(bytes);
	for (uint64_t i = 0; i < bytes / 8; i++) {
		seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
		((uint64_t *)content)[i] = seed;
	}
	for (uint32_t i = 0; i < image.n_blocks; i++) {
		struct lsc_block *b = &image.blocks[i];

		b->offset = i * block;
		b->bytes = LSC_MIN(bytes - b->offset, block);
		b->first_piece = (uint32_t)(b->offset / PIECE);
		b->n_pieces = (uint32_t)(b->bytes / PIECE);
	}
	for (uint32_t i = 0; i < image.n_pieces; i++)
		image.pieces[i] = lsc_hash_of(content + (uint64_t)i * PIECE, PIECE);
	file = (struct lsc_run){0, bytes, open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), 0};
	if (file.fd < 0 || lsc_write_full(file.fd, content, bytes) < 0) {
		perror(path);
		exit(71);
	}
	unlink(path);
	fsync(file.fd);
}

/* --- the node that receives --- */

static struct receiver {
	struct lsc_listener *listener;
	struct lsc_member *member, *source;
	struct lsc_link *link;
	struct lsc_inlet inlet;
	struct lsc_segment segment;
	int marks_fd;
	bool all;
} node;

static void on_block(void *data, uint32_t block)
{
	(void)data;
	(void)block;
}

static void on_all(void *data)
{
	(void)data;
	node.all = true;
}

static void on_fault(void *data, uint32_t number, uint32_t piece, const struct lsc_err *why)
{
	(void)data;
	(void)piece;
	fprintf(stderr, "hybrid: node %u: %s\n", number, why->text);
}

static void on_failed(void *data, const struct lsc_err *why)
{
	(void)data;
	err = *why;
	check(-1);
}

static const struct lsc_member_events member_events = {on_block, on_all, on_fault, on_failed};

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *why)
{
	struct lsc_cast_id id;
	uint32_t number;

	(void)data;
	if (node.inlet.member)
		return lsc_inlet_record(&node.inlet, record, body_len, ret_body, why);
	if (lsc_peer_parse(record, &id, &number, why) < 0)
		return -EPROTO;
	return lsc_inlet_open(&node.inlet, node.member, link, number, why);
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *why)
{
	(void)data;
	(void)link;
	return lsc_inlet_body(&node.inlet, why);
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *why)
{
	(void)data;
	(void)why;
	lsc_inlet_close(&node.inlet);
	lsc_link_close(link);
	node.link = NULL;
}

static void *on_link(void *data, struct lsc_link *link)
{
	(void)data;
	node.link = link;
	return &node;
}

static const struct lsc_link_events link_events = {
	.on_record = on_record, .on_body = on_body, .on_close = on_close};

static void make_memory(void)
{
	size_t len = lsc_marks_bytes(image.n_pieces, image.n_blocks);
	struct lsc_run memory = {.bytes = image.bytes, .fd = memfd_create("image", MFD_CLOEXEC)};
	struct lsc_segment *s = &node.segment;

	*s = (struct lsc_segment)LSC_SEGMENT_INIT;
	node.marks_fd = memfd_create("arrivals", MFD_CLOEXEC);
	if (ftruncate(memory.fd, (off_t)image.bytes) < 0 ||
	    ftruncate(node.marks_fd, (off_t)len) < 0)
		exit(71);
	check(lsc_runs_map(&memory, 1, image.bytes, PROT_READ | PROT_WRITE, &s->data, &err));
	close(memory.fd);
	s->bytes = image.bytes;
	s->arrivals = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, node.marks_fd, 0);
	s->arrivals_len = len;
	s->n_pieces = image.n_pieces;
	lsc_marks_start(s->arrivals, image.n_pieces, image.n_blocks);
	check(lsc_claims_open(&s->claims, s->arrivals, node.marks_fd, LSC_CLAIM_CAST, &err));
}

static void open_node(void)
{
	struct lsc_link_options link_options = {.kind = LSC_CAST_KIND};
	struct lsc_member_options o = {
		.loop = loop,
		.cast = cast_id,
		.image = &image,
		.data_fd = -1,
		.segment = &node.segment,
		.events = &member_events,
	};
	struct lsc_endpoint at;

	node = (struct receiver){0};
	make_memory();
	check(lsc_endpoint_parse(&at, "127.0.0.1:0", &err));
	check(lsc_listener_open(&node.listener, loop, &at, &link_options, &link_events, on_link,
				NULL, &err));
	check(lsc_member_new(&node.member, &o, &err));
	o.segment = NULL;
	o.data = content;
	check(lsc_member_new(&node.source, &o, &err));
}

static void close_node(void)
{
	lsc_member_free(node.source);
	if (node.link) {
		lsc_inlet_close(&node.inlet);
		lsc_link_close(node.link);
	}
	lsc_listener_close(node.listener);
	lsc_member_free(node.member);
	lsc_segment_close(&node.segment);
	close(node.marks_fd);
}

/* --- a run --- */

enum { CAST = 1, DISK = 2 };

static void plan(bool cast)
{
	struct lsc_plan_to to = {.node = 1, .duty = LSC_DUTY_ALL};
	struct lsc_plan p = {.node = 1, .timeout_ns = 2000000000u, .report_ns = 200000000u};

	check(lsc_member_plan(node.member, &p, &err));
	if (!cast)
		return;
	snprintf(to.address, sizeof(to.address), "%s", lsc_listener_address(node.listener));
	p.node = 0;
	p.rate = rate;
	p.n_to = 1;
	p.to = &to;
	check(lsc_member_plan(node.source, &p, &err));
}

static double run_once(int what, uint64_t *ret_received)
{
	struct lsc_claims *claims = NULL;
	struct lsc_load *load = NULL;
	uint64_t began;
	double seconds;

	posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED);
	open_node();
	check(lsc_claims_open(&claims, node.segment.arrivals, node.marks_fd, LSC_CLAIM_DISK, &err));
	began = lsc_clock_ns();
	if (what & DISK) {
		struct lsc_load_options o = {
			.image = &image,
			.runs = &file,
			.n_runs = 1,
			.data = node.segment.data,
			.marks = node.segment.arrivals,
			.claims = claims,
			.backwards = true,
			.reader = {.rate = rate},
		};

		check(lsc_load_start(&load, &o, &err));
	}
	plan(what & CAST);
	while (!node.all)
		lsc_loop_turn(loop, 5, NULL);
	seconds = (double)(lsc_clock_ns() - began) / 1e9;
	lsc_load_stop(load);
	lsc_claims_close(claims);
	*ret_received += lsc_member_received(node.member);
	if (memcmp(node.segment.data, content, image.bytes)) {
		fprintf(stderr, "hybrid: what came is not what was sent\n");
		exit(1);
	}
	close_node();
	return seconds;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(values[0]), compare);
	return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

int main(int argc, char **argv)
{
	static const char *const names[] = {[CAST] = "cast", [DISK] = "disk", [3] = "both"};
	uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 512, received[4] = {0};
	uint32_t blocks = argc > 3 ? (uint32_t)atoi(argv[3]) : 16;
	int rounds = argc > 4 ? atoi(argv[4]) : 3;
	const char *dir = argc > 5 ? argv[5] : getenv("LSC_SCRATCH");
	double seconds[4][MAX_ROUNDS], gains[MAX_ROUNDS];
	char path[4096];

	rate = argc > 2 ? atof(argv[2]) * 1e6 : rate;
	if (!mib || rate <= 0 || !blocks || rounds < 1 || rounds > MAX_ROUNDS) {
		fprintf(stderr, "usage: hybrid [MIB [RATE_MB [BLOCKS [ROUNDS [FOLDER]]]]]\n");
		return 64;
	}
	snprintf(path, sizeof(path), "%s/lsc-hybrid-%d", dir ? dir : "/tmp", (int)getpid());
	make_image(path, mib << 20, blocks);
	check(lsc_loop_new(&loop, &err));
	for (int i = 0; i < rounds; i++) {
		for (int what = CAST; what <= 3; what++)
			seconds[what][i] = run_once(what, &received[what]);
		gains[i] = LSC_MIN(seconds[CAST][i], seconds[DISK][i]) / seconds[3][i];
	}
	for (int what = CAST; what <= 3; what++) {
		printf("{\"name\":\"hybrid\",\"way\":\"%s\",\"bytes\":%llu,\"blocks\":%u,"
		       "\"rate_bytes_per_s\":%.0f,\"rounds\":%d,\"seconds\":%.3f,"
		       "\"received_bytes\":%llu",
		       names[what], (unsigned long long)image.bytes, image.n_blocks, rate, rounds,
		       median(seconds[what], rounds),
		       (unsigned long long)received[what] / (unsigned)rounds);
		if (what == 3)
			printf(",\"gain\":%.3f", median(gains, rounds));
		printf("}\n");
	}
	lsc_loop_free(loop);
	return 0;
}
