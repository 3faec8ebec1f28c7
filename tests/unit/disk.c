/* disk: blocks that are there twice held once, images removed, what crashes left; killed anywhere
 */
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/tree.h"
#include "mem/segment.h"
#include "model/manifest.h"
#include "small_model.h"
#include "tier/disk.h"

#define KILLS 110

static struct lsc_err err;
static char dir[PATH_MAX];
static uint64_t block_bytes;

static const char *in(const char *name)
{
	static char path[8][PATH_MAX + 300];
	static unsigned next;
	char *p = path[next++ % 8];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static void write_file(const char *name, const void *data, size_t len)
{
	int fd = open(in(name), O_WRONLY | O_CREAT | O_EXCL, 0600);

	if (fd < 0 || lsc_write_full(fd, data, len) < 0)
		abort();
	close(fd);
}

static void base(const char *name)
{
	struct lsc_model_config config = SMALL_MODEL(6, 512);
	struct lsc_image_options options = {
		.dtype = LSC_DTYPE_F32, .blocks = 8, .piece_bytes = 4096, .seed = 1};

	if (lsc_image_pack_dummy(&config, in(name), &options, &err) < 0)
		abort();
}

/* A copy of an image with some blocks changed: a fine-tune of a part of its layers. */
static void tune(const char *from, const char *name, unsigned seed, uint32_t first, uint32_t n)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf manifest = LSC_BUF_INIT;
	uint8_t *data;
	char file[300];

	if (lsc_image_open(&image, in(from), &err) < 0)
		abort();
	data = malloc(image.bytes);
	memcpy(data, image.data, image.bytes);
	for (uint32_t b = first; b < first + n; b++)
		for (uint32_t p = 0; p < image.blocks[b].n_pieces; p++) {
			uint32_t piece = image.blocks[b].first_piece + p;
			uint8_t *at = data + lsc_image_piece_offset(&image, piece);

			at[8] ^= (uint8_t)seed;
			image.pieces[piece] = lsc_hash_of(at, lsc_image_piece_bytes(&image, piece));
		}
	block_bytes = image.blocks[1].bytes;
	if (lsc_manifest_pack(&image, NULL, 0, &manifest, &err) < 0 || mkdir(in(name), 0700) < 0)
		abort();
	snprintf(file, sizeof(file), "%s/image", name);
	write_file(file, data, image.bytes);
	snprintf(file, sizeof(file), "%s/manifest", name);
	write_file(file, manifest.data, manifest.len);
	free(data);
}

/* Whether an image is there, and all its bytes are right. */
static bool is_right(const char *name)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	uint32_t bad;

	if (lsc_image_open(&image, in(name), &err) < 0 ||
	    lsc_image_verify(&image, 1, &bad, &err) < 0) {
		printf("# %s\n", err.text);
		return false;
	}
	if (bad < image.n_pieces)
		printf("# '%s': piece %u is bad\n", name, bad);
	return bad == image.n_pieces;
}

static bool exists(const char *name)
{
	return access(in(name), F_OK) == 0;
}

static void begin(const char *name)
{
	snprintf(dir, sizeof(dir), "%s/%s", scratch(), name);
	if (mkdir(dir, 0700) < 0)
		abort();
}

static void test_share(void)
{
	LSC_CLEANUP(lsc_disk_close) struct lsc_disk disk = LSC_DISK_INIT;
	LSC_CLEANUP(lsc_segment_close) struct lsc_segment segment = LSC_SEGMENT_INIT;
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	uint64_t freed = 0, used, gives;
	uint32_t n;

	begin("share");
	base("a");
	tune("a", "b", 7, 2, 1);
	tune("a", "c", 9, 3, 2);
	is_int(lsc_disk_open(&disk, dir, &err), 0, "opened %s", err.text);
	is_int(disk.n, 3, "three images");
	used = disk.used;
	ok(used > 3 * disk.images[0]->image.bytes, "that use %llu bytes", (unsigned long long)used);
	ok(disk.images[1]->freed == disk.images[1]->used, "each gives back all that it uses");
	is_int(lsc_disk_share(&disk, &freed, &err), 0, "shared %s", err.text);
	ok(freed > disk.images[0]->image.bytes, "which frees %llu bytes, more than one image",
	   (unsigned long long)freed);
	is_int(disk.used, used - freed, "what is used is less by that");
	ok(is_right("a") && is_right("b") && is_right("c"), "all three are right");
	ok(exists("b/shares") && exists("b/share.0") && !exists("a/shares"), "two have tables");
	ok(lsc_image_open(&image, in("b"), &err) == 0 && lsc_image_fd(&image) == -1 &&
		   lsc_image_runs(&image, &n) && n > 1,
	   "one is no single file");
	is_int(lsc_segment_open(&segment, dir, "b", &err), 0, "opened as a segment %s", err.text);
	ok(segment.bytes == image.bytes && !memcmp(segment.data, image.data, image.bytes),
	   "which has the same bytes");
	lsc_segment_close(&segment);
	lsc_image_close(&image);
	is_int(lsc_disk_share(&disk, &freed, &err), 0, "shared again");
	is_int(freed, 0, "frees nothing");
	gives = lsc_disk_find(&disk, "a")->freed;
	used = disk.used;
	is_int(lsc_disk_remove(&disk, "a", &err), 0, "the one that has the bytes removed");
	ok(!exists("a") && is_right("b") && is_right("c"), "the others are right");
	is_int(used - disk.used, gives, "what it gave is what was said");
	is_int(lsc_disk_remove(&disk, "c", &err), 0, "and another one");
	ok(is_right("b"), "the last is right");
	ok(disk.used < disk.images[0]->image.bytes * 3 / 2, "and %llu bytes are used",
	   (unsigned long long)disk.used);
	is_int(lsc_disk_remove(&disk, "a", &err), -ENOENT, "it is gone: %s", err.text);
}

/* Somebody has it mapped: no byte goes from under him. */
static void test_in_use(void)
{
	LSC_CLEANUP(lsc_disk_close) struct lsc_disk disk = LSC_DISK_INIT;
	LSC_CLEANUP(lsc_image_close)
	struct lsc_image user = LSC_IMAGE_INIT, before = LSC_IMAGE_INIT;
	uint64_t freed = 1;
	uint32_t bad = 0;

	begin("use");
	base("a");
	tune("a", "b", 7, 2, 1);
	lsc_image_open(&user, in("b"), &err);
	lsc_disk_open(&disk, dir, &err);
	is_int(lsc_disk_share(&disk, &freed, &err), 0, "shared while one is mapped");
	ok(is_right("a") && is_right("b"), "both are right");
	ok(lsc_image_verify(&user, 1, &bad, &err) == 0 && bad == user.n_pieces,
	   "and so is what is mapped");
	lsc_image_close(&user);
	is_int(lsc_disk_gc(&disk, false, &freed, &err), 0, "later");
	ok(freed >= 4 * block_bytes, "its bytes go: %llu", (unsigned long long)freed);
	ok(is_right("a") && is_right("b"), "both are right");
	lsc_image_open(&before, in("a"), &err);
	is_int(lsc_disk_remove(&disk, "a", &err), 0, "one that is mapped is removed");
	ok(lsc_image_verify(&before, 1, &bad, &err) == 0 && bad == before.n_pieces && is_right("b"),
	   "and stays for who has it");
	lsc_image_close(&before);
	lsc_disk_gc(&disk, false, &freed, &err);
	ok(freed >= block_bytes && is_right("b"), "until he closes it: %llu",
	   (unsigned long long)freed);
}

static void flip(const char *name, off_t at)
{
	int fd = open(in(name), O_RDWR);
	uint8_t byte;

	if (pread(fd, &byte, 1, at) != 1)
		abort();
	byte ^= 1;
	if (pwrite(fd, &byte, 1, at) != 1)
		abort();
	close(fd);
}

static void test_damage(void)
{
	LSC_CLEANUP(lsc_disk_close) struct lsc_disk disk = LSC_DISK_INIT;
	uint64_t freed;

	begin("damage");
	base("a");
	tune("a", "b", 7, 2, 1);
	tune("a", "c", 7, 2, 1);
	flip("a/image", (off_t)block_bytes * 4);
	lsc_disk_open(&disk, dir, &err);
	is_int(lsc_disk_share(&disk, &freed, &err), 0, "shared while a block of one is bad");
	ok(is_right("b") && is_right("c"), "what was right stays so");
	ok(is_right("a"), "and the bad block was replaced");
	truncate(in("c/share.0"), 4096);
	is_int(lsc_disk_scan(&disk, &err), 0, "a file that was cut");
	flip("b/manifest", 100);
	is_int(lsc_disk_scan(&disk, &err), 0, "and a manifest that is damaged");
	ok(lsc_disk_find(&disk, "b")->damage.code == EBADMSG, "it is said: %s",
	   lsc_disk_find(&disk, "b")->damage.text);
	is_int(lsc_disk_gc(&disk, false, &freed, &err), 0, "bytes of what is not understood");
	is_int(freed, 0, "are left alone");
	is_int(lsc_disk_remove(&disk, "b", &err), 0, "it can be removed");
}

static void test_leftovers(void)
{
	LSC_CLEANUP(lsc_disk_close) struct lsc_disk disk = LSC_DISK_INIT;
	LSC_CLEANUP(lsc_segment_close) struct lsc_segment segment = LSC_SEGMENT_INIT;
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	uint64_t freed;

	begin("left");
	base("a");
	base(".gone-b");
	base("d");
	mkdir(in("c.tmp"), 0700);
	write_file("c.tmp/image", "1234", 4);
	mkdir(in("mine.tmp"), 0700);
	write_file("mine.tmp/letter", "1234", 4);
	mkdir(in("other"), 0700);
	if (symlink("/etc", in("link")) < 0 || link(in("d/image"), in("a/share.3")) < 0)
		abort();
	write_file("a/shares.tmp123", "1234", 4);
	lsc_image_open(&image, in("a"), &err);
	lsc_segment_create(&segment, dir, "p", image.manifest, image.manifest_len, image.bytes,
			   image.n_pieces, &err);
	is_int(lsc_disk_open(&disk, dir, &err), 0, "opened");
	ok(disk.n == 3 && lsc_disk_find(&disk, "p")->arriving, "what is no image is not seen");
	is_int(lsc_disk_remove(&disk, "p", &err), -EBUSY, "one is on its way: %s", err.text);
	is_int(lsc_disk_gc(&disk, true, &freed, &err), 0, "cleaned");
	ok(!exists(".gone-b") && !exists("c.tmp") && !exists("a/share.3") &&
		   !exists("a/shares.tmp123"),
	   "what crashes left is gone");
	ok(exists("mine.tmp/letter") && exists("link") && exists("other") && exists("p.part"),
	   "what is others' is there");
	ok(is_right("a") && is_right("d"), "images are right");
	lsc_segment_close(&segment);
	lsc_disk_gc(&disk, false, &freed, &err);
	ok(exists("p.part"), "what nobody receives stays");
	lsc_disk_gc(&disk, true, &freed, &err);
	ok(!exists("p.part"), "unless it is to go");
}

static void test_write(void)
{
	LSC_CLEANUP(lsc_disk_close) struct lsc_disk disk = LSC_DISK_INIT;
	LSC_CLEANUP(lsc_image_close) struct lsc_image b = LSC_IMAGE_INIT;
	uint8_t *data;
	uint64_t used;

	begin("write");
	base("a");
	tune("a", "b", 7, 2, 1);
	lsc_image_open(&b, in("b"), &err);
	data = malloc(b.bytes);
	memcpy(data, b.data, b.bytes);
	lsc_disk_open(&disk, dir, &err);
	is_int(lsc_disk_write(&disk, "b", b.manifest, b.manifest_len, data, UINT64_MAX, &err),
	       -EEXIST, "it is there: %s", err.text);
	lsc_disk_remove(&disk, "b", &err);
	used = disk.used;
	is_int(lsc_disk_write(&disk, "b", b.manifest, b.manifest_len, data, used + 100, &err),
	       -ENOSPC, "no room: %s", err.text);
	is_int(disk.used, used, "nothing is written");
	data[b.blocks[2].offset] ^= 1;
	is_int(lsc_disk_write(&disk, "b", b.manifest, b.manifest_len, data, UINT64_MAX, &err),
	       -EBADMSG, "memory is damaged: %s", err.text);
	ok(!exists("b") && !exists(".new-b"), "nothing is left");
	data[b.blocks[2].offset] ^= 1;
	is_int(lsc_disk_write(&disk, "b", b.manifest, b.manifest_len, data, UINT64_MAX, &err), 0,
	       "written %s", err.text);
	ok(is_right("b") && disk.used - used < b.bytes / 2, "%llu bytes, the rest is linked",
	   (unsigned long long)(disk.used - used));
	lsc_disk_remove(&disk, "a", &err);
	ok(is_right("b"), "it has what it needs");
	lsc_disk_remove(&disk, "b", &err);
	is_int(lsc_disk_write(&disk, "b", b.manifest, b.manifest_len, data, UINT64_MAX, &err), 0,
	       "written alone");
	ok(is_right("b") && !exists("b/shares"), "it is a plain image");
	is_int(lsc_disk_write(&disk, "../b", b.manifest, b.manifest_len, data, UINT64_MAX, &err),
	       -EINVAL, "no name: %s", err.text);
	free(data);
}

static void test_limits(void)
{
	LSC_CLEANUP(lsc_disk_close) struct lsc_disk disk = LSC_DISK_INIT;
	int fd;

	begin("limits");
	base("a");
	lsc_disk_open(&disk, dir, &err);
	is_int(lsc_disk_check_room(&disk, 1, disk.used, &err), -ENOSPC, "full: %s", err.text);
	is_int(lsc_disk_check_room(&disk, 1, disk.used + 1, &err), 0, "a byte is left");
	is_int(lsc_disk_check_room(&disk, 1ull << 60, UINT64_MAX, &err), -ENOSPC,
	       "no such disk: %s", err.text);
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	flock(fd, LOCK_EX);
	is_int(lsc_disk_remove(&disk, "a", &err), -EBUSY, "locked: %s", err.text);
	close(fd);
	lsc_disk_close(&disk);
	is_int(lsc_disk_open(&disk, in("none"), &err), -ENOENT, "no directory: %s", err.text);
}

/* What the child is killed at: everything that changes the directory, again and again. */
static void work(void)
{
	struct lsc_disk disk = LSC_DISK_INIT;
	uint64_t freed;

	if (lsc_disk_open(&disk, dir, NULL) < 0)
		_exit(1);
	lsc_disk_share(&disk, &freed, NULL);
	lsc_disk_remove(&disk, "c", NULL);
	lsc_disk_gc(&disk, false, &freed, NULL);
	_exit(0);
}

static uint64_t run_for(uint64_t ns, int *ret_status)
{
	struct timespec wait = {.tv_nsec = (long)ns}, start, end;
	pid_t pid;

	clock_gettime(CLOCK_MONOTONIC, &start);
	pid = fork();
	if (pid == 0)
		work();
	if (ns) {
		nanosleep(&wait, NULL);
		kill(pid, SIGKILL);
	}
	waitpid(pid, ret_status, 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (uint64_t)((end.tv_sec - start.tv_sec) * 1000000000 + end.tv_nsec - start.tv_nsec);
}

static void make_four(void)
{
	lsc_tree_remove(dir, NULL);
	mkdir(dir, 0700);
	base("a");
	tune("a", "b", 7, 2, 1);
	tune("a", "c", 9, 3, 2);
	tune("b", "d", 5, 5, 1);
}

static void test_kills(void)
{
	LSC_CLEANUP(lsc_disk_close) struct lsc_disk disk = LSC_DISK_INIT;
	unsigned killed = 0, done = 0, bad = 0;
	uint64_t freed, longest;
	int status;

	begin("kills");
	srand(7);
	make_four();
	longest = run_for(0, &status);
	for (unsigned i = 0; i < 10 * KILLS && killed < KILLS; i++) {
		if (i % 3 == 0 || !exists("c")) /* else from where the last was killed */
			make_four();
		run_for((uint64_t)rand() % longest + 1, &status);
		killed += WIFSIGNALED(status);
		done += WIFEXITED(status) && WEXITSTATUS(status) == 0;
		bad += !is_right("a") || !is_right("b") || !is_right("d") ||
		       (exists("c") && !is_right("c"));
	}
	ok(killed == KILLS, "%u kills, %u ran to the end", killed, done);
	is_int(bad, 0, "every image is right after each, or gone");
	lsc_disk_open(&disk, dir, &err);
	lsc_disk_share(&disk, &freed, &err);
	lsc_disk_gc(&disk, false, &freed, &err);
	ok(is_right("a") && is_right("b") && is_right("d") && !exists(".gone-c"),
	   "and what is left is cleaned");
}

/* disk DIR: shares what is there, for tests of what opens such images. */
static int share(const char *at)
{
	LSC_CLEANUP(lsc_disk_close) struct lsc_disk disk = LSC_DISK_INIT;
	uint64_t freed = 0;
	int r = lsc_disk_open(&disk, at, &err);

	if (r == 0)
		r = lsc_disk_share(&disk, &freed, &err);
	printf("%llu\n", (unsigned long long)freed);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	return r < 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return share(argv[1]);
	test_share();
	test_in_use();
	test_damage();
	test_leftovers();
	test_write();
	test_limits();
	test_kills();
	return done_testing();
}
