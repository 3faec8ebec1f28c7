/* claimed: a cast and a disk fill one image, from both ends; the disk is slow, fails, stalls and
 * dies
 *
 * A sender and two receivers in one process: the sender sends to the first, that to the second. The
 * first one's memory is filled from behind by a thread or process that plays the disk.
 */
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "base/runs.h"
#include "cast/member.h"
#include "mem/claims.h"
#include "mem/marks.h"
#include "small_model.h"

static const struct lsc_model_config small = SMALL_MODEL(24, 100);
static const struct lsc_cast_id cast_id = {"0123456789abcde"};

static struct lsc_loop *loop;
static struct lsc_image image = LSC_IMAGE_INIT;
static struct lsc_err err;

/* --- a receiver: a listener, a member and its memory --- */

struct receiver {
	uint32_t node;
	struct lsc_listener *listener;
	struct lsc_member *member;
	struct lsc_segment segment;
	int marks_fd;
	struct sender {
		struct lsc_link *link;
		struct lsc_inlet inlet;
	} senders[4];
	uint32_t n_senders;
	uint32_t blocks, faults, failed;
	bool all;
};

static void on_block(void *data, uint32_t block)
{
	(void)block;
	((struct receiver *)data)->blocks++;
}

static void on_all(void *data)
{
	((struct receiver *)data)->all = true;
}

static void on_fault(void *data, uint32_t node, uint32_t piece, const struct lsc_err *why)
{
	((struct receiver *)data)->faults++;
	printf("# node %u, piece %u: %s\n", node, piece, why->text);
}

static void on_failed(void *data, const struct lsc_err *why)
{
	((struct receiver *)data)->failed++;
	printf("# failed: %s\n", why->text);
}

static const struct lsc_member_events member_events = {on_block, on_all, on_fault, on_failed};

static struct receiver first, second;

static struct sender *sender_of(struct receiver *r, struct lsc_link *link)
{
	for (uint32_t i = 0; i < r->n_senders; i++)
		if (r->senders[i].link == link)
			return &r->senders[i];
	return NULL;
}

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *why)
{
	struct receiver *r = data;
	struct sender *sender = sender_of(r, link);
	struct lsc_cast_id id;
	uint32_t node;

	if (sender->inlet.member)
		return lsc_inlet_record(&sender->inlet, record, body_len, ret_body, why);
	if (lsc_peer_parse(record, &id, &node, why) < 0)
		return -EPROTO;
	return lsc_inlet_open(&sender->inlet, r->member, link, node, why);
}

static int on_body(void *data, struct lsc_link *link, struct lsc_err *why)
{
	return lsc_inlet_body(&sender_of(data, link)->inlet, why);
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *why)
{
	struct sender *sender = sender_of(data, link);

	(void)why;
	lsc_inlet_close(&sender->inlet);
	lsc_link_close(link);
	sender->link = NULL;
}

static void *on_link(void *data, struct lsc_link *link)
{
	struct receiver *r = data;

	r->senders[r->n_senders++].link = link;
	return r;
}

static const struct lsc_link_events link_events = {
	.on_record = on_record, .on_body = on_body, .on_close = on_close};

/* Memory that nothing is in yet, with claims. */
static void make_memory(struct receiver *r)
{
	size_t len = lsc_marks_bytes(image.n_pieces, image.n_blocks);
	struct lsc_run run = {.bytes = image.bytes};
	struct lsc_segment *s = &r->segment;

	*s = (struct lsc_segment)LSC_SEGMENT_INIT;
	s->name = strdup("image");
	s->bytes = image.bytes;
	run.fd = memfd_create("image", MFD_CLOEXEC);
	if (ftruncate(run.fd, (off_t)image.bytes) < 0 ||
	    lsc_runs_map(&run, 1, image.bytes, PROT_READ | PROT_WRITE, &s->data, &err) < 0)
		abort();
	close(run.fd);
	r->marks_fd = memfd_create("arrivals", MFD_CLOEXEC);
	if (ftruncate(r->marks_fd, (off_t)len) < 0)
		abort();
	s->arrivals = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, r->marks_fd, 0);
	s->arrivals_len = len;
	s->n_pieces = image.n_pieces;
	lsc_marks_start(s->arrivals, image.n_pieces, image.n_blocks);
	if (lsc_claims_open(&s->claims, s->arrivals, r->marks_fd, LSC_CLAIM_CAST, &err) < 0)
		printf("# %s\n", err.text);
}

static void open_receiver(struct receiver *r, uint32_t node)
{
	struct lsc_link_options link_options = {.kind = LSC_CAST_KIND};
	struct lsc_member_options options = {
		.loop = loop,
		.cast = cast_id,
		.image = &image,
		.data_fd = -1,
		.segment = &r->segment,
		.events = &member_events,
		.data_of_events = r,
	};
	struct lsc_endpoint at;
	char address[32];

	*r = (struct receiver){.node = node};
	make_memory(r);
	snprintf(address, sizeof(address), "memory:node%u", node);
	if (lsc_endpoint_parse(&at, address, &err) < 0 ||
	    lsc_listener_open(&r->listener, loop, &at, &link_options, &link_events, on_link, r,
			      &err) < 0 ||
	    lsc_member_new(&r->member, &options, &err) < 0)
		abort();
}

static void close_receiver(struct receiver *r)
{
	for (uint32_t i = 0; i < r->n_senders; i++)
		if (r->senders[i].link) {
			lsc_inlet_close(&r->senders[i].inlet);
			lsc_link_close(r->senders[i].link);
		}
	lsc_listener_close(r->listener);
	lsc_member_free(r->member);
	lsc_segment_close(&r->segment);
	close(r->marks_fd);
}

static void plan(struct lsc_member *member, uint32_t node, uint32_t to, double rate)
{
	struct lsc_plan_to whom = {.node = to, .duty = LSC_DUTY_ALL};
	struct lsc_plan p = {
		.node = node,
		.rate = rate,
		.timeout_ns = 2000000000u,
		.report_ns = 200000000u,
		.n_to = to ? 1 : 0,
		.to = &whom,
	};

	snprintf(whom.address, sizeof(whom.address), "memory:node%u", to);
	if (lsc_member_plan(member, &p, &err) < 0)
		printf("# plan: %s\n", err.text);
}

/* --- the disk --- */

struct disk {
	struct lsc_claims *claims;
	double rate;                  /* bytes a second */
	uint32_t fails_at, stalls_at; /* the block that it reaches so far; image.n_blocks: none */
	atomic_bool stop;
	_Atomic uint64_t brought;
};

static void bring(struct disk *disk, uint32_t piece)
{
	uint64_t at = lsc_image_piece_offset(&image, piece);
	uint32_t bytes = lsc_image_piece_bytes(&image, piece);

	if (disk->rate > 0)
		usleep((useconds_t)(bytes / disk->rate * 1e6));
	memcpy(first.segment.data + at, image.data + at, bytes);
	lsc_marks_set(first.segment.arrivals, piece);
	disk->brought += bytes;
}

/* From behind; fails at a block, or stays in it for ever, after two of its pieces. */
static void *play(void *arg)
{
	struct disk *disk = arg;

	for (uint32_t i = image.n_blocks; i-- > 0 && !disk->stop;) {
		const struct lsc_block *b = &image.blocks[i];

		if (!lsc_claims_take(disk->claims, i))
			continue;
		for (uint32_t k = 0; k < b->n_pieces && !disk->stop; k++) {
			if (k == 2 && i == disk->fails_at) {
				lsc_claims_drop(disk->claims, i);
				break;
			}
			while (k == 2 && i == disk->stalls_at && !disk->stop)
				usleep(1000);
			if (!lsc_marks_has(first.segment.arrivals, b->first_piece + k))
				bring(disk, b->first_piece + k);
		}
	}
	return NULL;
}

static void join(struct disk *disk)
{
	if (lsc_claims_open(&disk->claims, first.segment.arrivals, first.marks_fd, LSC_CLAIM_DISK,
			    &err) < 0)
		printf("# %s\n", err.text);
}

/* --- a cast --- */

static struct lsc_member *source;

static void set_up(void)
{
	struct lsc_member_options options = {
		.loop = loop,
		.cast = cast_id,
		.image = &image,
		.data = image.data,
		.data_fd = -1,
		.events = &member_events,
		.data_of_events = &(struct receiver){0},
	};
	static struct receiver nobody;

	options.data_of_events = &nobody;
	open_receiver(&first, 1);
	open_receiver(&second, 2);
	if (lsc_member_new(&source, &options, &err) < 0)
		abort();
}

static void begin(double rate)
{
	plan(second.member, 2, 0, 0);
	plan(first.member, 1, 2, 0);
	plan(source, 3, 1, rate);
}

/* Until all have it; how long it took. */
static double turn(double longest_s)
{
	uint64_t began = lsc_clock_ns();

	while ((!first.all || !second.all) && (double)(lsc_clock_ns() - began) < longest_s * 1e9)
		lsc_loop_turn(loop, 5, NULL);
	return (double)(lsc_clock_ns() - began) / 1e9;
}

static bool same(const struct receiver *r)
{
	return r->all && !r->failed && !r->faults && r->blocks == image.n_blocks &&
	       lsc_marks_count(r->segment.arrivals) == image.n_pieces &&
	       !memcmp(r->segment.data, image.data, image.bytes);
}

static void tear_down(void)
{
	lsc_member_free(source);
	close_receiver(&first);
	close_receiver(&second);
}

/* Bytes of the largest block. */
static uint64_t largest(void)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < image.n_blocks; i++)
		bytes = LSC_MAX(bytes, image.blocks[i].bytes);
	return bytes;
}

/* --- tests --- */

static double alone_s;

static void test_alone(void)
{
	set_up();
	begin((double)image.bytes / 0.5);
	alone_s = turn(10);
	ok(same(&first) && same(&second), "no disk: all of it comes over links, in %.2f s",
	   alone_s);
	is_int(lsc_member_received(first.member), image.bytes, "once");
	tear_down();
}

static void test_both(void)
{
	struct disk disk = {
		.rate = (double)image.bytes / 0.5, .fails_at = UINT32_MAX, .stalls_at = UINT32_MAX};
	uint64_t twice;
	pthread_t thread;
	double s;

	set_up();
	join(&disk);
	begin((double)image.bytes / 0.5);
	pthread_create(&thread, NULL, play, &disk);
	s = turn(10);
	pthread_join(thread, NULL);
	twice = lsc_member_received(first.member) + disk.brought - image.bytes;
	ok(same(&first), "from both ends: every byte, and each block is told");
	ok(same(&second) && lsc_member_received(second.member) == image.bytes,
	   "what the disk brought is sent on, once");
	ok(twice <= largest(), "%llu bytes came twice, of %llu of the network and %llu of the disk",
	   (unsigned long long)twice, (unsigned long long)lsc_member_received(first.member),
	   (unsigned long long)disk.brought);
	ok(disk.brought > image.bytes / 5 && lsc_member_received(first.member) > image.bytes / 5,
	   "both did their part, in %.2f s of %.2f", s, alone_s);
	lsc_claims_close(disk.claims);
	tear_down();
}

/* All of it is on the disk, and nobody sends. */
static void test_disk_alone(void)
{
	struct disk disk = {.fails_at = UINT32_MAX, .stalls_at = UINT32_MAX};
	pthread_t thread;

	set_up();
	join(&disk);
	plan(second.member, 2, 0, 0);
	plan(first.member, 1, 2, 0);
	pthread_create(&thread, NULL, play, &disk);
	turn(10);
	pthread_join(thread, NULL);
	ok(same(&first) && lsc_member_received(first.member) == 0, "a disk alone completes a cast");
	ok(same(&second), "and feeds the next node");
	lsc_claims_close(disk.claims);
	tear_down();
}

/* What was claimed is skipped by the sender, and sent when it is given up. */
static void test_fails(void)
{
	struct disk disk = {.rate = (double)image.bytes / 0.5,
			    .fails_at = image.n_blocks - 2,
			    .stalls_at = UINT32_MAX};
	pthread_t thread;

	set_up();
	join(&disk);
	begin((double)image.bytes / 0.5);
	pthread_create(&thread, NULL, play, &disk);
	turn(10);
	pthread_join(thread, NULL);
	ok(same(&first) && same(&second), "a block that the disk gives up comes over the link");
	ok(lsc_member_received(first.member) + disk.brought <= image.bytes + largest(),
	   "its pieces that were there did not");
	lsc_claims_close(disk.claims);
	tear_down();
}

static void test_stalls(void)
{
	struct disk disk = {.fails_at = UINT32_MAX, .stalls_at = image.n_blocks - 2};
	pthread_t thread;
	double s;

	set_up();
	join(&disk);
	pthread_create(&thread, NULL, play, &disk);
	while (lsc_claims_of(first.segment.arrivals, disk.stalls_at, NULL) != LSC_CLAIM_DISK)
		usleep(100);
	begin(0);
	s = turn(10);
	ok(same(&first) && same(&second),
	   "a disk that lives, and does not get on, is done without");
	ok(s > 0.9 && s < 4, "after a while: %.2f s", s);
	disk.stop = true;
	pthread_join(thread, NULL);
	lsc_claims_close(disk.claims);
	tear_down();
}

/* A process that claims half of it, and is killed. */
static void test_dies(void)
{
	struct disk disk = {0};
	int ready[2];
	pid_t pid;
	double s;
	char c;

	set_up();
	if (pipe(ready) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		join(&disk);
		for (uint32_t i = image.n_blocks / 2; i < image.n_blocks; i++)
			lsc_claims_take(disk.claims, i);
		bring(&disk, image.blocks[image.n_blocks - 1].first_piece);
		_exit(write(ready[1], "", 1) != 1 || pause() < 0);
	}
	if (read(ready[0], &c, 1) != 1)
		abort();
	begin(0);
	turn(0.3);
	ok(!first.all && first.blocks >= image.n_blocks / 2 && first.blocks < image.n_blocks,
	   "half of it is another process's (%u blocks are here)", first.blocks);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	s = turn(10);
	ok(same(&first) && same(&second), "which dies: the rest comes over the link");
	ok(s < 2, "soon: %.2f s", s);
	ok(lsc_member_received(first.member) <= image.bytes + largest(), "and hardly any twice");
	close(ready[0]);
	close(ready[1]);
	tear_down();
}

int main(void)
{
	struct lsc_image_options options = {.dtype = LSC_DTYPE_BF16, .blocks = 24};
	char path[PATH_MAX];

	options.piece_bytes = 4096;
	snprintf(path, sizeof(path), "%s/image.lsc", scratch());
	if (lsc_image_pack_dummy(&small, path, &options, &err) < 0 ||
	    lsc_image_open(&image, path, &err) < 0 || lsc_loop_new(&loop, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	printf("# %llu bytes, %u pieces, %u blocks\n", (unsigned long long)image.bytes,
	       image.n_pieces, image.n_blocks);
	test_alone();
	test_both();
	test_disk_alone();
	test_fails();
	test_stalls();
	test_dies();
	lsc_loop_free(loop);
	lsc_image_close(&image);
	return done_testing();
}
