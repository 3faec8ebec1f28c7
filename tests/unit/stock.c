/* stock: images arrive, share, are sealed and leave; never over capacity; found again after a while
 */
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/io.h"
#include "mem/marks.h"
#include "model/pack.h"
#include "small_model.h"
#include "tier/hold.h"
#include "tier/stock.h"

static const struct lsc_model_config small = SMALL_MODEL(6, 300);

static struct lsc_err err;
static struct lsc_loop *loop;
static struct lsc_stock *stock;
static struct lsc_image image = LSC_IMAGE_INIT;
static char dir[PATH_MAX], hold_path[108];
static pid_t holder;
static unsigned events[LSC_STOCK_EVENTS];

static void on_changed(void *data, const struct lsc_holding *holding, enum lsc_stock_event event,
		       const char *why)
{
	(void)data;
	(void)holding;
	(void)why;
	events[event]++;
}

static void start_holder(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, hold_path);
	unlink(hold_path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0)
		abort();
	holder = fork();
	if (holder == 0)
		_exit(lsc_hold_run(fd, NULL) == 0 ? 0 : 1);
	close(fd);
}

static bool open_stock(uint64_t host_bytes)
{
	struct lsc_stock_options options = {
		.dir = dir, .hold = hold_path, .host_bytes = host_bytes, .changed = on_changed};

	if (lsc_stock_open(&stock, loop, &options, &err) < 0) {
		printf("# %s\n", err.text);
		return false;
	}
	return true;
}

static struct lsc_stock_usage usage(void)
{
	struct lsc_stock_usage all;

	lsc_stock_usage(stock, &all);
	return all;
}

static int manifest_fd(void)
{
	int fd = memfd_create("manifest", MFD_CLOEXEC);

	if (lsc_write_full(fd, image.manifest, image.manifest_len) < 0)
		abort();
	return fd;
}

static int receive(const char *name, struct lsc_holding **ret)
{
	int fd = manifest_fd();
	int r = lsc_stock_receive(stock, name, fd, ret, &err);

	close(fd);
	return r;
}

/* What a cast does, to n blocks; who does it may be gone then. */
static void fill(struct lsc_holding *h, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct lsc_block *block = &image.blocks[i];

		if (!h->cells[i]->whole && pwrite(h->cells[i]->fd, image.data + block->offset,
						  block->bytes, 0) != (ssize_t)block->bytes)
			abort();
		for (uint32_t p = 0; p < block->n_pieces; p++)
			lsc_marks_set(h->marks, block->first_piece + p);
	}
}

static bool is_right(const struct lsc_holding *h)
{
	for (uint32_t i = 0; i < image.n_blocks; i++) {
		const struct lsc_block *block = &image.blocks[i];
		void *at = mmap(NULL, block->bytes, PROT_READ, MAP_SHARED, h->cells[i]->fd, 0);
		bool same =
			at != MAP_FAILED && !memcmp(at, image.data + block->offset, block->bytes);

		if (at != MAP_FAILED)
			munmap(at, block->bytes);
		if (!same)
			return false;
	}
	return true;
}

static void turn(int ms)
{
	for (int i = 0; i < ms / 50; i++)
		lsc_loop_turn(loop, 50, NULL);
}

/* --- one --- */

static void test_one(void)
{
	struct lsc_holding *h = NULL, *other;
	int lock;

	is_int(receive("a", &h), 0, "an image begins");
	ok(h && h->cells && h->marks && events[LSC_STOCK_BEGUN] == 1, "with memory, and marks");
	is_int(receive("../a", &other), -EINVAL, "a name that is none");
	is_int(lsc_stock_commit(stock, h, &err), -EINVAL, "it is not whole yet: %s", err.text);
	lock = lsc_holding_lend_marks(h, true, &err);
	ok(lock >= 0 && lsc_holding_is_filled(h), "somebody fills it");
	ok(lsc_holding_is_filler(h, lock) && !lsc_holding_is_filler(h, h->manifest_fd),
	   "and can prove that");
	is_int(receive("a", &other), -EBUSY, "nobody else does meanwhile");
	is_int(lsc_stock_evict(stock, h, &err), -EBUSY, "nor is it evicted: %s", err.text);
	fill(h, image.n_blocks);
	close(lock);
	is_int(lsc_stock_commit(stock, h, &err), 0, "it is whole");
	ok(h->whole && !h->marks && is_right(h) && events[LSC_STOCK_WHOLE] == 1, "and right");
	is_int(receive("a", &other), -EEXIST, "it does not come again");
	ok(usage().host_bytes <= image.bytes + image.n_blocks * 4096ull + image.manifest_len,
	   "it takes what it is large, and pages");
}

static void test_shared(void)
{
	struct lsc_holding *a = lsc_stock_find(stock, "a"), *b = NULL;
	uint64_t before = usage().host_bytes;
	unsigned cells = usage().cells;

	is_int(receive("b", &b), 0, "another one of the same blocks");
	ok(b && lsc_holding_is_full(b), "is there as it begins");
	is_int(usage().cells, cells, "in the same cells");
	is_int(lsc_stock_commit(stock, b, &err), 0, "it is whole");
	is_int((long long)(usage().host_bytes - before), (long long)image.manifest_len,
	       "for the price of a manifest");
	is_int(lsc_stock_evict(stock, a, &err), 0, "the first one leaves");
	ok(!lsc_stock_find(stock, "a") && is_right(b), "and the other one stays");
}

static void test_lent(void)
{
	struct lsc_holding *b = lsc_stock_find(stock, "b");
	int lease = lsc_cell_lend(b->cells[0], &err);

	is_int(lsc_stock_evict(stock, b, &err), -EBUSY, "what is in use stays: %s", err.text);
	close(lease);
	lsc_stock_wish(stock, b, true, 0, NULL);
	is_int(lsc_stock_evict(stock, b, &err), -EBUSY, "and what is pinned: %s", err.text);
	lsc_stock_wish(stock, b, false, 0, NULL);
	is_int(lsc_stock_evict(stock, b, &err), 0, "then it leaves");
	is_int((long long)usage().host_bytes, 0, "and takes nothing");
}

/* --- what comes to nothing, and what is left --- */

static void test_leave(void)
{
	struct lsc_holding *h = NULL;
	uint64_t left;
	int lease, lock;

	receive("a", &h);
	lsc_stock_leave(stock, h);
	ok(!lsc_stock_find(stock, "a"), "nothing came, nothing stays");
	receive("a", &h);
	fill(h, 2);
	lsc_stock_leave(stock, h);
	ok(lsc_stock_find(stock, "a") == h && lsc_marks_count(h->marks) > 0, "what came stays");
	is_int(receive("a", &h), 0, "and is gone on with");
	lease = lsc_cell_lend(h->cells[0], &err);
	lsc_stock_discard(stock, h, "a test");
	left = usage().host_leaving;
	ok(left > 0 && usage().host_bytes == left, "what is discarded and mapped still counts");
	lsc_stock_close(stock, true);
	ok(open_stock(64 << 20) && usage().host_leaving == left, "for the next daemon, too");
	close(lease);
	turn(1500);
	is_int((long long)usage().host_bytes, 0, "until it is let go");
	receive("a", &h);
	lock = lsc_holding_lend_marks(h, true, &err);
	fill(h, image.n_blocks);
	lsc_stock_leave(stock, h);
	ok(!h->whole, "who fills it is not gone yet");
	close(lock);
	turn(1500);
	ok(h->whole && is_right(h), "when it is, what is all there is whole");
	lsc_stock_evict(stock, h, &err);
}

/* --- kept --- */

static void test_adopted(void)
{
	struct lsc_holding *h = NULL;
	uint32_t had;

	receive("a", &h);
	fill(h, image.n_blocks);
	lsc_stock_commit(stock, h, &err);
	lsc_stock_close(stock, true);
	ok(open_stock(64 << 20) && (h = lsc_stock_find(stock, "a")) && h->whole && is_right(h),
	   "what is whole is found again");
	lsc_stock_evict(stock, h, &err);
	receive("b", &h);
	fill(h, 3);
	had = lsc_marks_count(h->marks);
	lsc_stock_close(stock, true);
	ok(open_stock(64 << 20) && (h = lsc_stock_find(stock, "b")) && !h->whole &&
		   lsc_marks_count(h->marks) == had,
	   "and what is not, with its marks");
	fill(h, image.n_blocks);
	ok(lsc_stock_commit(stock, h, &err) == 0 && is_right(h), "which becomes whole");
	kill(holder, SIGKILL);
	waitpid(holder, NULL, 0);
	turn(300);
	lsc_stock_close(stock, true);
	ok(open_stock(64 << 20) && (h = lsc_stock_find(stock, "b")) && h->whole && is_right(h),
	   "a holder that was killed is replaced, and has it all");
	lsc_stock_evict(stock, h, &err);
	lsc_stock_close(stock, true);
	ok(open_stock(64 << 20) && !lsc_stock_first(stock) && usage().host_bytes == 0,
	   "what left is not found");
}

/* Whoever fills an image could write to all of its table. */
static void test_spoiled(void)
{
	struct lsc_holding *h = NULL;

	receive("a", &h);
	fill(h, 2);
	memset((char *)h->marks + 12, 0xff, 4); /* its pieces */
	lsc_stock_close(stock, true);
	ok(open_stock(64 << 20) && !lsc_stock_find(stock, "a"), "a spoiled table makes no image");
	lsc_stock_close(stock, true);
	ok(open_stock(64 << 20) && usage().host_bytes == 0, "and nothing of it stays");
}

/* --- room --- */

static void test_room(void)
{
	uint64_t room = image.bytes + image.n_blocks * 4096ull + 2 * image.manifest_len + 65536;
	struct lsc_holding *h = NULL;
	int lease;

	lsc_stock_close(stock, true);
	ok(open_stock(4096), "a small place");
	is_int(receive("a", &h), -ENOSPC, "has no room: %s", err.text);
	is_int((long long)usage().host_bytes, 0, "and none is taken");
	lsc_stock_close(stock, true);
	open_stock(room);
	receive("a", &h);
	fill(h, image.n_blocks);
	lsc_stock_commit(stock, h, &err);
	lease = lsc_cell_lend(h->cells[0], &err);
	ok(receive("b", &h) == 0 && usage().host_bytes <= room,
	   "one that shares all of it has room");
	lsc_stock_discard(stock, h, "a test");
	close(lease);
	ok(usage().host_bytes <= room && lsc_stock_find(stock, "a"),
	   "the first one is there still");
	lsc_stock_evict(stock, lsc_stock_find(stock, "a"), &err);
}

static void test_two(void)
{
	struct lsc_stock_options options = {.dir = dir, .hold = hold_path, .host_bytes = 4096};
	struct lsc_stock *other = NULL;

	is_int(lsc_stock_open(&other, loop, &options, &err), -EADDRINUSE, "another tier: %s",
	       err.text);
}

int main(int argc, char **argv)
{
	struct lsc_image_options options = {
		.dtype = LSC_DTYPE_BF16, .blocks = 8, .piece_bytes = 4096};
	char path[PATH_MAX];

	if (argc > 1 && !strcmp(argv[1], "hold")) /* as the stock starts it, by its own program */
		return lsc_hold_run(LSC_HOLD_LISTENER, NULL) < 0;
	snprintf(path, sizeof(path), "%s/image.lsc", scratch());
	snprintf(dir, sizeof(dir), "%s/disk", scratch());
	snprintf(hold_path, sizeof(hold_path), "%s/hold", scratch());
	if (lsc_loop_new(&loop, &err) < 0 || mkdir(dir, 0777) < 0 ||
	    lsc_image_pack_dummy(&small, path, &options, &err) < 0 ||
	    lsc_image_open(&image, path, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	start_holder();
	ok(open_stock(64 << 20), "a stock");
	test_two();
	test_one();
	test_shared();
	test_lent();
	test_leave();
	test_adopted();
	test_spoiled();
	test_room();
	lsc_stock_close(stock, false);
	lsc_image_close(&image);
	lsc_loop_free(loop);
	return done_testing();
}
