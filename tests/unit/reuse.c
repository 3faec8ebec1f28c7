/* reuse: pieces from what is here; damaged, malformed and absent sources; stopped half-way */
#include "tap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/tree.h"
#include "cast/reuse.h"
#include "mem/claims.h"
#include "mem/marks.h"
#include "model/files.h"
#include "small_model.h"

static struct lsc_err err;
static struct lsc_loop *loop;
static char dir[4096], model[4200];
static int calls, last_result;
static uint32_t last_pieces;

static const char *in(const char *name)
{
	static char path[8][8192];
	static unsigned next;
	char *p = path[next++ % 8];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static void pack(const char *path, uint64_t seed)
{
	struct lsc_model_config config = SMALL_MODEL(6, 512);
	struct lsc_image_options options = {
		.dtype = LSC_DTYPE_F32, .blocks = 4, .piece_bytes = 4096, .seed = seed};

	is_int(lsc_image_pack_dummy(&config, path, &options, &err), 0, "a model %s", err.text);
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t byte;

	if (pread(fd, &byte, 1, at) == 1) {
		byte ^= 1;
		ok(pwrite(fd, &byte, 1, at) == 1, "a flipped bit");
	}
	close(fd);
}

static void begin(struct lsc_segment *segment, const struct lsc_image *image, const char *name)
{
	int r;

	*segment = (struct lsc_segment)LSC_SEGMENT_INIT;
	r = image->tree
		    ? lsc_segment_begin_tree(segment, dir, name, image->manifest,
					     image->manifest_len, image->tree, image->n_pieces,
					     &err)
		    : lsc_segment_begin(segment, dir, name, image->manifest, image->manifest_len,
					image->bytes, image->n_pieces, &err);
	while (r >= 0 && (r = lsc_segment_grow(segment, &err)) > 0)
		;
	is_int(r, 0, "a segment");
}

static bool all_right(const struct lsc_segment *segment, const struct lsc_image *image)
{
	for (uint32_t i = 0; i < image->n_pieces; i++) {
		uint64_t offset = lsc_image_piece_offset(image, i);

		if (lsc_segment_has(segment, i, 1) &&
		    memcmp(segment->data + offset, image->data + offset,
			   lsc_image_piece_bytes(image, i)))
			return false;
	}
	return true;
}

static void drop(struct lsc_segment *segment)
{
	lsc_segment_discard(segment, NULL);
	lsc_segment_close(segment);
}

static void test_model(void)
{
	struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_segment segment;

	pack(model, 1);
	is_int(lsc_image_open(&image, model, &err), 0, "opened");
	begin(&segment, &image, "new");
	is_int(lsc_reuse_now(dir, &image, &segment, &err), 0, "nothing here, nothing found");

	pack(in("other"), 2);
	ok(lsc_reuse_now(dir, &image, &segment, &err) < 8, "only norms are alike in another");
	ok(all_right(&segment, &image), "and in their places");
	lsc_dir_remove(in("other"), NULL);
	drop(&segment);

	begin(&segment, &image, "new");
	pack(in("old"), 1);
	lsc_segment_mark(&segment, 3); /* as if it had come */
	memcpy(segment.data + lsc_image_piece_offset(&image, 3),
	       image.data + lsc_image_piece_offset(&image, 3), lsc_image_piece_bytes(&image, 3));
	is_int(lsc_reuse_now(dir, &image, &segment, &err), image.n_pieces - 1, "all but what was");
	ok(all_right(&segment, &image) && lsc_segment_count(&segment) == image.n_pieces,
	   "each in its place");
	is_int(lsc_reuse_now(dir, &image, &segment, &err), 0, "nothing is wanted any more");
	drop(&segment);

	flip(in("old/image"), (off_t)lsc_image_piece_offset(&image, 77) + 5);
	begin(&segment, &image, "new");
	is_int(lsc_reuse_now(dir, &image, &segment, &err), image.n_pieces - 1,
	       "a damaged piece is not used");
	ok(!lsc_segment_has(&segment, 77, 1) && all_right(&segment, &image), "nor marked");
	drop(&segment);

	flip(in("old/manifest"), 100);
	begin(&segment, &image, "new");
	is_int(lsc_reuse_now(dir, &image, &segment, &err), 0, "nor is a damaged manifest");
	flip(in("old/manifest"), 100);
	ok(truncate(in("old/image"), 4096) == 0, "cut");
	is_int(lsc_reuse_now(dir, &image, &segment, &err), 0, "nor an image that was cut");
	drop(&segment);
	lsc_dir_remove(in("old"), NULL);
	lsc_image_close(&image);
}

/* A disk has claimed a block of the memory that is filled. */
static void test_claimed(void)
{
	struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_claims *disk = NULL;
	struct lsc_segment segment;
	uint32_t theirs;
	size_t len;
	int fd;

	is_int(lsc_image_open(&image, model, &err), 0, "opened");
	begin(&segment, &image, "new");
	pack(in("old"), 1);
	munmap(segment.arrivals, segment.arrivals_len);
	len = segment.arrivals_len = lsc_marks_bytes(image.n_pieces, image.n_blocks);
	fd = memfd_create("arrivals", MFD_CLOEXEC);
	is_int(ftruncate(fd, (off_t)len), 0, "a table with claims");
	segment.arrivals = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	lsc_marks_start(segment.arrivals, image.n_pieces, image.n_blocks);
	lsc_claims_open(&segment.claims, segment.arrivals, fd, LSC_CLAIM_CAST, &err);
	lsc_claims_open(&disk, segment.arrivals, fd, LSC_CLAIM_DISK, &err);
	ok(disk && segment.claims && lsc_claims_take(disk, 1), "a disk has a block");
	theirs = image.blocks[1].n_pieces;
	lsc_segment_mark(&segment, 0); /* it came; no byte of it is to be written again */
	is_int(lsc_reuse_now(dir, &image, &segment, &err), image.n_pieces - theirs - 1,
	       "all but that are taken");
	ok(!lsc_segment_has(&segment, image.blocks[1].first_piece, 1) &&
		   lsc_claims_of(segment.arrivals, 0, NULL) == LSC_CLAIM_NONE &&
		   lsc_claims_of(segment.arrivals, 1, NULL) == LSC_CLAIM_DISK,
	   "and no block is kept");
	lsc_claims_close(disk);
	drop(&segment);
	close(fd);
	lsc_dir_remove(in("old"), NULL);
	lsc_image_close(&image);
}

/* --- in the background --- */

static void on_done(void *data, int result, uint32_t pieces, const struct lsc_err *why)
{
	(void)data;
	(void)why;
	calls++;
	last_result = result;
	last_pieces = pieces;
}

static void test_background(void)
{
	struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_segment segment;
	struct lsc_reuse *reuse = NULL;
	uint64_t until = lsc_clock_ns() + 10000000000u;

	pack(in("old"), 1);
	lsc_image_open(&image, model, &err);
	begin(&segment, &image, "new");
	is_int(lsc_reuse_start(&reuse, loop, dir, &image, &segment, on_done, NULL, &err), 0,
	       "started");
	while (!calls && lsc_clock_ns() < until)
		lsc_loop_turn(loop, 10, NULL);
	ok(calls == 1 && last_result == 0 && last_pieces == image.n_pieces, "done, and told");
	lsc_reuse_stop(reuse);
	drop(&segment);

	begin(&segment, &image, "new");
	lsc_reuse_start(&reuse, loop, dir, &image, &segment, on_done, NULL, &err);
	lsc_reuse_stop(reuse);
	lsc_loop_turn(loop, 50, NULL);
	ok(calls == 1 && all_right(&segment, &image), "stopped, and nobody is called");
	drop(&segment);
	is_int(lsc_reuse_start(&reuse, loop, "/nowhere", &image, &segment, on_done, NULL, &err), 0,
	       "no directory");
	lsc_reuse_stop(reuse);
	lsc_reuse_stop(NULL);
	lsc_image_close(&image);
	lsc_dir_remove(in("old"), NULL);
}

/* --- files --- */

static void put(const char *path, size_t bytes, unsigned seed)
{
	uint8_t *data = malloc(bytes + 1);

	srand(seed);
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(rand() >> 8);
	lsc_file_write(path, data, bytes, NULL);
	free(data);
}

static void test_files(void)
{
	struct lsc_image old = LSC_IMAGE_INIT, image = LSC_IMAGE_INIT;
	struct lsc_segment segment;
	char name[64];
	int64_t n;

	mkdir(in("src"), 0777);
	put(in("src/one"), 600000, 1);
	put(in("src/two"), 300001, 2);
	for (unsigned i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "src/s%u", i);
		put(in(name), 1500 * i, i + 10);
	}
	is_int(lsc_files_open(&old, in("src"), 1, &err), 0, "files");
	begin(&segment, &old, "files");
	memcpy(segment.data, old.data, old.bytes);
	for (uint32_t i = 0; i < old.n_pieces; i++)
		lsc_segment_mark(&segment, i);
	is_int(lsc_segment_commit(&segment, &err), 0, "that are here: %s", err.text);
	lsc_segment_close(&segment);

	begin(&segment, &old, "same");
	is_int(lsc_reuse_now(dir, &old, &segment, &err), old.n_pieces, "all of them again");
	ok(all_right(&segment, &old), "each in its place");
	drop(&segment);

	put(in("src/two"), 300001, 3);
	lsc_files_open(&image, in("src"), 1, &err);
	begin(&segment, &image, "same");
	n = lsc_reuse_now(dir, &image, &segment, &err);
	ok(n == image.n_pieces - 19 && all_right(&segment, &image),
	   "one changes: %lld of %u are here", (long long)n, image.n_pieces);
	drop(&segment);

	put(in("files/one"), 600000, 9);
	begin(&segment, &image, "same");
	is_int(lsc_reuse_now(dir, &image, &segment, &err), 0,
	       "files that were changed are not used");
	drop(&segment);
	lsc_image_close(&old);
	lsc_image_close(&image);
}

int main(void)
{
	snprintf(dir, sizeof(dir), "%s/reuse", scratch());
	snprintf(model, sizeof(model), "%s/model.lsc", scratch());
	mkdir(dir, 0777);
	if (lsc_loop_new(&loop, &err) < 0)
		return 1;
	test_model();
	test_claimed();
	test_background();
	test_files();
	lsc_loop_free(loop);
	lsc_tree_remove(dir, NULL);
	lsc_tree_remove(model, NULL);
	return done_testing();
}
