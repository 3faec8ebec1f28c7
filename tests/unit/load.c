/* load: blocks from files, in order, with others at work on the same memory, and disks that fail */
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "small_model.h"
#include "tier/load.h"

#define MAX_BLOCKS 16

static const struct lsc_model_config small = SMALL_MODEL(6, 300);

static struct lsc_image image = LSC_IMAGE_INIT;
static int image_fd = -1, marks_fd = -1;
static uint8_t *data;
static struct lsc_marks *marks;
static struct lsc_err err;

/* --- a disk that fails: libc's pread64(), as the reader calls it --- */

static _Atomic uint64_t bad_at = UINT64_MAX; /* an offset that cannot be read */

ssize_t pread(int fd, void *to, size_t len, off_t offset)
{
	if (bad_at >= (uint64_t)offset && bad_at < (uint64_t)offset + len) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, to, len, offset);
}

/* --- what a load says --- */

static struct told {
	pthread_mutex_t lock;
	uint32_t begun[MAX_BLOCKS], n_begun;
	uint32_t whole[MAX_BLOCKS], n_whole, n_ours;
	uint32_t failed[MAX_BLOCKS], n_failed, piece;
	struct lsc_err err;
	uint32_t no_memory; /* a block that is not begun */
	atomic_bool over;
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int on_begin(void *arg, uint32_t block, struct lsc_err *why)
{
	struct told *t = arg;

	t->begun[t->n_begun++] = block;
	return block == t->no_memory ? lsc_err_set(why, ENOMEM, "no memory for a block") : 0;
}

static void on_block(void *arg, uint32_t block, bool ours)
{
	struct told *t = arg;

	pthread_mutex_lock(&t->lock);
	t->whole[t->n_whole++] = block;
	t->n_ours += ours;
	pthread_mutex_unlock(&t->lock);
}

static void on_failed(void *arg, uint32_t block, uint32_t piece, const struct lsc_err *why)
{
	struct told *t = arg;

	pthread_mutex_lock(&t->lock);
	t->failed[t->n_failed++] = block;
	t->piece = piece;
	t->err = *why;
	pthread_mutex_unlock(&t->lock);
}

static void on_end(void *arg)
{
	((struct told *)arg)->over = true;
}

static const struct lsc_load_events events = {on_begin, on_block, on_failed, on_end};

static uint32_t count_whole(void)
{
	uint32_t n;

	pthread_mutex_lock(&told.lock);
	n = told.n_whole;
	pthread_mutex_unlock(&told.lock);
	return n;
}

static void wait_whole(uint32_t n)
{
	uint64_t until = lsc_clock_ns() + 10000000000u;

	while (count_whole() < n && lsc_clock_ns() < until)
		usleep(500);
}

static void wait_over(void)
{
	uint64_t until = lsc_clock_ns() + 20000000000u;

	while (!told.over && lsc_clock_ns() < until)
		usleep(500);
}

/* --- a run of it --- */

static struct lsc_run whole_file;

static struct lsc_load_options fresh(void)
{
	memset(data, 0, image.bytes);
	lsc_marks_start(marks, image.n_pieces, image.n_blocks);
	told = (struct told){.lock = PTHREAD_MUTEX_INITIALIZER, .no_memory = UINT32_MAX};
	return (struct lsc_load_options){
		.image = &image,
		.runs = &whole_file,
		.n_runs = 1,
		.data = data,
		.marks = marks,
		.reader = {.path = LSC_READER_PREAD},
		.events = &events,
		.data_of_events = &told,
	};
}

static struct lsc_load *start(const struct lsc_load_options *o)
{
	struct lsc_load *load = NULL;

	if (lsc_load_start(&load, o, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		exit(1);
	}
	return load;
}

static bool all_here(void)
{
	return lsc_marks_count(marks) == image.n_pieces && !memcmp(data, image.data, image.bytes);
}

static bool in_order(const uint32_t *blocks, bool backwards)
{
	for (uint32_t i = 0; i < image.n_blocks; i++)
		if (blocks[i] != (backwards ? image.n_blocks - 1 - i : i))
			return false;
	return true;
}

static struct lsc_claims *join(enum lsc_claim kind)
{
	struct lsc_claims *claims = NULL;

	if (lsc_claims_open(&claims, marks, marks_fd, kind, &err) < 0)
		printf("# %s\n", err.text);
	return claims;
}

/* What a cast does. */
static void bring(uint32_t piece)
{
	uint64_t at = lsc_image_piece_offset(&image, piece);

	memcpy(data + at, image.data + at, lsc_image_piece_bytes(&image, piece));
	lsc_marks_set(marks, piece);
}

static void bring_block(uint32_t block)
{
	for (uint32_t i = 0; i < image.blocks[block].n_pieces; i++)
		bring(image.blocks[block].first_piece + i);
}

/* --- alone --- */

static void test_whole(enum lsc_reader_path path, bool backwards)
{
	struct lsc_load_options o = fresh();
	struct lsc_load_progress p;
	struct lsc_load *load;

	o.reader.path = path;
	o.backwards = backwards;
	load = start(&o);
	wait_over();
	lsc_load_progress(load, &p);
	ok(all_here(), "%s%s: every byte, and marked", lsc_reader_path_name(p.path),
	   backwards ? ", backwards" : "");
	ok(told.n_whole == image.n_blocks && told.n_ours == image.n_blocks && !told.n_failed,
	   "each block is told once");
	ok(in_order(told.begun, backwards), "they are begun in order");
	ok(p.blocks_ours == image.n_blocks && p.blocks_left == 0 &&
		   p.direct + p.cached + p.other == image.bytes && p.seconds > 0,
	   "and counted: %llu bytes of %llu", (unsigned long long)(p.direct + p.cached + p.other),
	   (unsigned long long)image.bytes);
	lsc_load_stop(load);
}

static void test_part(void)
{
	struct lsc_load_options o = fresh();
	uint64_t wanted[1] = {0};
	struct lsc_load_progress p;
	struct lsc_load *load;
	uint64_t bytes = image.blocks[1].bytes + image.blocks[3].bytes;

	lsc_bits_add(wanted, 1);
	lsc_bits_add(wanted, 3);
	lsc_bits_add(wanted, 4);
	bring_block(4);
	bring(image.blocks[1].first_piece);
	bring(image.blocks[3].first_piece + 1);
	o.wanted = wanted;
	load = start(&o);
	wait_over();
	lsc_load_progress(load, &p);
	is_int(told.n_whole, 3, "of all blocks, the three that are wanted");
	is_int(told.n_ours, 2, "of which one was there");
	is_int(p.direct + p.cached + p.other,
	       bytes - lsc_image_piece_bytes(&image, image.blocks[1].first_piece) -
		       lsc_image_piece_bytes(&image, image.blocks[3].first_piece + 1),
	       "and not a byte of the pieces that were");
	ok(lsc_marks_count(marks) ==
		   image.blocks[1].n_pieces + image.blocks[3].n_pieces + image.blocks[4].n_pieces,
	   "nothing else came");
	lsc_load_stop(load);
}

/* The image in two files by turns, cut in the middle of pieces. */
static void test_runs(void)
{
	struct lsc_run runs[64];
	struct lsc_load_options o;
	struct lsc_load *load;
	int fds[2] = {memfd_create("a", MFD_CLOEXEC), memfd_create("b", MFD_CLOEXEC)};
	uint64_t page = 4096, at = 0, there[2] = {0};
	size_t n = 0;

	for (; at < image.bytes; n++) {
		uint64_t bytes = LSC_MIN(image.bytes - at, page * (7 + 5 * (n % 3)));
		int which = n % 2;

		if (n == 63)
			bytes = image.bytes - at;
		runs[n] = (struct lsc_run){at, bytes, fds[which], there[which]};
		lsc_pwrite_full(fds[which], image.data + at, bytes, there[which]);
		there[which] += lsc_align_up(bytes, page);
		at += bytes;
	}
	o = fresh();
	o.runs = runs;
	o.n_runs = n;
	load = start(&o);
	wait_over();
	ok(all_here(), "from %zu runs of two files", n);
	lsc_load_stop(load);

	o = fresh();
	o.runs = runs + 1; /* what lies in the first is nowhere */
	o.n_runs = n - 1;
	load = start(&o);
	wait_over();
	ok(told.n_failed == 1 && told.failed[0] == 0 && told.piece == 0 &&
		   told.n_whole == image.n_blocks - 1,
	   "what lies nowhere fails its block: %s", told.err.text);
	lsc_load_stop(load);
	close(fds[0]);
	close(fds[1]);
}

/* --- what goes wrong --- */

static void test_wrong_hash(void)
{
	uint32_t piece = image.blocks[2].first_piece + 1;
	uint64_t at = lsc_image_piece_offset(&image, piece);
	int fd = memfd_create("spoilt", MFD_CLOEXEC);
	struct lsc_load_options o = fresh();
	struct lsc_run run = {0, image.bytes, fd, 0};
	struct lsc_load_progress p;
	struct lsc_load *load;

	lsc_pwrite_full(fd, image.data, image.bytes, 0);
	lsc_pwrite_full(fd, (uint8_t[]){(uint8_t)~image.data[at + 100]}, 1, at + 100);
	o.runs = &run;
	o.claims = join(LSC_CLAIM_DISK);
	load = start(&o);
	wait_over();
	lsc_load_progress(load, &p);
	ok(told.n_failed == 1 && told.failed[0] == 2 && told.piece == piece &&
		   told.err.code == EBADMSG && p.bad_pieces == 1 && p.blocks_failed == 1,
	   "a piece that is not what it was: %s", told.err.text);
	ok(!lsc_marks_has(marks, piece) && lsc_marks_count(marks) == image.n_pieces - 1,
	   "it alone is not marked");
	ok(lsc_claims_of(marks, 2, NULL) == LSC_CLAIM_NONE && told.n_ours == image.n_blocks - 1,
	   "its block may be brought by someone else");
	lsc_load_stop(load);

	o.blind = true;
	told.over = false;
	load = start(&o);
	wait_over();
	is_int(lsc_marks_count(marks), image.n_pieces, "who does not look takes it as it is");
	lsc_load_stop(load);
	lsc_claims_close(o.claims);
	close(fd);
}

static void test_unreadable(void)
{
	uint32_t piece = image.blocks[1].first_piece + 2;
	struct lsc_load_options o = fresh();
	struct lsc_load *load;

	bad_at = lsc_image_piece_offset(&image, piece) + 77;
	load = start(&o);
	wait_over();
	ok(told.n_failed == 1 && told.failed[0] == 1 && told.piece == piece && told.err.code == EIO,
	   "a piece that cannot be read: %s", told.err.text);
	ok(lsc_marks_count(marks) == image.n_pieces - 1 && told.n_ours == image.n_blocks - 1,
	   "all that lie beside it come");
	bad_at = UINT64_MAX;
	lsc_load_stop(load);
}

static void test_short_file(void)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	struct lsc_load_options o = fresh();
	struct lsc_run run = {0, image.bytes, fd, 0};
	uint32_t last = image.n_blocks - 1;
	struct lsc_load *load;

	lsc_pwrite_full(fd, image.data, image.bytes - 1, 0);
	o.runs = &run;
	load = start(&o);
	wait_over();
	ok(told.n_failed == 1 && told.failed[0] == last && told.piece == image.n_pieces - 1 &&
		   lsc_marks_count(marks) == image.n_pieces - 1,
	   "a file that was cut by a byte: %s", told.err.text);
	lsc_load_stop(load);

	o = fresh();
	told.no_memory = 1;
	load = start(&o);
	wait_over();
	ok(told.n_failed == 1 && told.failed[0] == 1 && told.err.code == ENOMEM &&
		   told.piece == LSC_LOAD_NO_PIECE && told.n_ours == image.n_blocks - 1,
	   "a block for which there is no memory: %s", told.err.text);
	lsc_load_stop(load);
	close(fd);
}

static void test_stop(void)
{
	struct lsc_load_options o = fresh();
	struct lsc_load *load;
	uint64_t began;
	bool dropped = true;

	o.claims = join(LSC_CLAIM_DISK);
	o.reader.rate = 1e6;
	load = start(&o);
	wait_whole(1);
	began = lsc_clock_ns();
	lsc_load_stop(load);
	ok(lsc_clock_ns() - began < 500000000u && !told.over && told.n_failed == 0 &&
		   told.n_whole < image.n_blocks,
	   "stopped half-way, at once and without a word");
	for (uint32_t i = 0; i < image.n_blocks; i++) {
		bool whole = false;

		for (uint32_t k = 0; k < told.n_whole; k++)
			whole = whole || told.whole[k] == i;
		dropped = dropped && (whole || !lsc_claims_has(o.claims, i));
	}
	ok(dropped, "what it did not finish is nobody's");
	o.reader.rate = 0;
	load = start(&o);
	wait_over();
	ok(all_here(), "the next one takes up what is there");
	lsc_load_stop(load);
	lsc_load_stop(NULL);
	lsc_claims_close(o.claims);
}

static void test_rate(void)
{
	struct lsc_load_options o = fresh();
	struct lsc_load *load;
	uint64_t began = lsc_clock_ns();

	o.reader.rate = 65536;
	load = start(&o);
	usleep(50000);
	lsc_load_set_rate(load, (double)image.bytes * 4);
	wait_over();
	ok(all_here() && lsc_clock_ns() - began > 200000000u, "held to a rate, which is changed");
	lsc_load_stop(load);
}

/* --- with others --- */

static void test_claimed(void)
{
	struct lsc_load_options o = fresh();
	struct lsc_claims *cast = join(LSC_CLAIM_CAST);
	struct lsc_load *load;
	bool taken = true;

	o.claims = join(LSC_CLAIM_DISK);
	for (uint32_t i = 0; i < 3; i++)
		taken = taken && lsc_claims_take(cast, i);
	bring(1);
	load = start(&o);
	wait_whole(image.n_blocks - 3);
	usleep(20000);
	ok(told.begun[0] == image.n_blocks - 1 && told.begun[told.n_begun - 1] == 3,
	   "what is left comes from behind, where a cast began at the front");
	ok(taken && told.n_whole == image.n_blocks - 3 && !told.over &&
		   lsc_marks_count(marks) == image.n_pieces - image.blocks[0].n_pieces -
						     image.blocks[1].n_pieces -
						     image.blocks[2].n_pieces + 1,
	   "what a cast has claimed is left to it");
	bring_block(1);
	wait_whole(image.n_blocks - 2);
	is_int(count_whole(), image.n_blocks - 2, "what it brought is told, too");
	lsc_claims_drop(cast, 0);
	wait_whole(image.n_blocks - 1);
	ok(count_whole() == image.n_blocks - 1 && lsc_claims_of(marks, 0, NULL) == LSC_CLAIM_DISK,
	   "what it gives up comes from the disk");
	lsc_claims_close(cast);
	wait_over();
	ok(told.over && all_here() && told.n_ours == image.n_blocks - 1, "and so does the rest");
	lsc_load_stop(load);
	lsc_claims_close(o.claims);
}

static void test_dead_cast(void)
{
	struct lsc_load_options o = fresh();
	struct lsc_load *load;
	int ready[2];
	char c;
	pid_t pid;

	if (pipe(ready) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		struct lsc_claims *cast = join(LSC_CLAIM_CAST);

		lsc_claims_take(cast, 2);
		_exit(write(ready[1], "", 1) != 1 || pause() < 0);
	}
	if (read(ready[0], &c, 1) != 1)
		abort();
	o.claims = join(LSC_CLAIM_DISK);
	load = start(&o);
	wait_whole(image.n_blocks - 1);
	ok(!told.over && lsc_claims_of(marks, 2, NULL) == LSC_CLAIM_CAST,
	   "a block is another process's");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	wait_over();
	ok(told.over && all_here() && told.n_ours == image.n_blocks,
	   "which dies, and is done without");
	lsc_load_stop(load);
	lsc_claims_close(o.claims);
	close(ready[0]);
	close(ready[1]);
}

/* A cast from the front, a disk from behind, as fast as both can: every piece once. */
static void test_meet(void)
{
	struct lsc_load_options o = fresh();
	struct lsc_claims *cast = join(LSC_CLAIM_CAST);
	struct lsc_load_progress p;
	struct lsc_load *load;
	uint64_t brought = 0;

	o.claims = join(LSC_CLAIM_DISK);
	o.backwards = true;
	o.reader.rate = 5e6;
	load = start(&o);
	for (uint32_t i = 0; i < image.n_blocks; i++)
		if (lsc_claims_take(cast, i)) {
			bring_block(i);
			brought += image.blocks[i].bytes;
			usleep(20000);
		}
	wait_over();
	lsc_load_progress(load, &p);
	ok(all_here() && told.n_whole == image.n_blocks, "from both ends");
	is_int(p.direct + p.cached + p.other + brought, image.bytes, "no byte came twice");
	ok(brought && brought < image.bytes, "both did a part (%u and %u blocks)", p.blocks_ours,
	   p.blocks_others);
	lsc_load_stop(load);
	lsc_claims_close(cast);
	lsc_claims_close(o.claims);
}

static void open_image(void)
{
	struct lsc_image_options options = {.dtype = LSC_DTYPE_BF16, .blocks = 8};
	char path[PATH_MAX];
	size_t len;

	options.piece_bytes = 4096;
	snprintf(path, sizeof(path), "%s/image.lsc", scratch());
	if (lsc_image_pack_dummy(&small, path, &options, &err) < 0 ||
	    lsc_image_open(&image, path, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		exit(1);
	}
	strcat(path, "/image");
	image_fd = open(path, O_RDONLY | O_CLOEXEC);
	whole_file = (struct lsc_run){0, image.bytes, image_fd, 0};
	data = mmap(NULL, image.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	len = lsc_marks_bytes(image.n_pieces, image.n_blocks);
	marks_fd = memfd_create("arrivals", MFD_CLOEXEC);
	if (ftruncate(marks_fd, (off_t)len) < 0)
		abort();
	marks = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, marks_fd, 0);
	printf("# %llu bytes, %u pieces, %u blocks\n", (unsigned long long)image.bytes,
	       image.n_pieces, image.n_blocks);
}

int main(void)
{
	open_image();
	test_whole(LSC_READER_AUTO, false);
	test_whole(LSC_READER_PREAD, true);
	test_part();
	test_runs();
	test_wrong_hash();
	test_unreadable();
	test_short_file();
	test_stop();
	test_rate();
	test_claimed();
	test_dead_cast();
	test_meet();
	lsc_image_close(&image);
	return done_testing();
}
