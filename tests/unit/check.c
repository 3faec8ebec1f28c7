/* check: good, bad, absent and other, of images and of files; stopped half-way */
#include "tap.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "cast/check.h"
#include "mem/segment.h"
#include "model/files.h"
#include "small_model.h"

static struct lsc_err err;
static struct lsc_loop *loop;
static char dir[4096];
static int calls;
static struct lsc_check_result last;

static const char *in(const char *name)
{
	static char path[8][8192];
	static unsigned next;
	char *p = path[next++ % 8];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static void on_done(void *data, const struct lsc_check_result *result)
{
	(void)data;
	calls++;
	last = *result;
}

static enum lsc_check_state check(const char *name, const struct lsc_image *image)
{
	uint64_t until = lsc_clock_ns() + 10000000000u;
	struct lsc_check *check = NULL;

	calls = 0;
	memset(&last, 0xff, sizeof(last));
	if (lsc_check_start(&check, loop, dir, name, image->manifest, image->manifest_len, on_done,
			    NULL, &err) < 0)
		return 99;
	while (!calls && lsc_clock_ns() < until)
		lsc_loop_turn(loop, 10, NULL);
	lsc_check_stop(check);
	return last.state;
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t byte = 0;

	if (pread(fd, &byte, 1, at) == 1)
		byte ^= 1;
	if (pwrite(fd, &byte, 1, at) != 1)
		abort();
	close(fd);
}

static void pack(const char *name, uint64_t seed)
{
	struct lsc_model_config config = SMALL_MODEL(6, 512);
	struct lsc_image_options options = {
		.dtype = LSC_DTYPE_F32, .blocks = 4, .piece_bytes = 4096, .seed = seed};

	is_int(lsc_image_pack_dummy(&config, in(name), &options, &err), 0, "a model");
}

static void test_image(void)
{
	struct lsc_image image = LSC_IMAGE_INIT;
	off_t at;

	pack("m", 1);
	pack("other", 2);
	lsc_image_open(&image, in("m"), &err);
	is_int(check("m", &image), LSC_CHECK_GOOD, "good");
	is_int(check("none", &image), LSC_CHECK_ABSENT, "absent: %s", last.why);
	is_int(check("other", &image), LSC_CHECK_OTHER, "another: %s", last.why);
	is_int(check("../m", &image), 99, "no name: %s", err.text);
	mkdir(in("dir"), 0777);
	is_int(check("dir", &image), LSC_CHECK_OTHER, "no image: %s", last.why);

	at = (off_t)lsc_image_piece_offset(&image, 9);
	flip(in("m/image"), at + 7);
	flip(in("m/image"), at + 4096 * 5);
	is_int(check("m", &image), LSC_CHECK_BAD, "bad: %s", last.why);
	ok(last.bad_pieces == 2 && last.first_bad == 9, "and which");
	flip(in("m/image"), at + 7);
	flip(in("m/image"), at + 4096 * 5);
	is_int(check("m", &image), LSC_CHECK_GOOD, "good again");
	ok(truncate(in("m/image"), at) == 0, "cut");
	is_int(check("m", &image), LSC_CHECK_BAD, "bad: %s", last.why);
	ok(truncate(in("m/image"), (off_t)image.bytes) == 0, "with a hole");
	is_int(check("m", &image), LSC_CHECK_BAD, "bad: %s", last.why);
	flip(in("m/manifest"), 200);
	is_int(check("m", &image) != LSC_CHECK_GOOD, 1, "another manifest: %s", last.why);
	lsc_image_close(&image);
}

static void test_stop(void)
{
	struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_check *checking = NULL;

	pack("n", 3);
	lsc_image_open(&image, in("n"), &err);
	calls = 0;
	is_int(lsc_check_start(&checking, loop, dir, "n", image.manifest, image.manifest_len,
			       on_done, NULL, &err),
	       0, "started");
	lsc_check_stop(checking);
	lsc_loop_turn(loop, 50, NULL);
	is_int(calls, 0, "stopped, and nobody is called");
	lsc_check_stop(NULL);
	lsc_image_close(&image);
}

static void test_files(void)
{
	static uint8_t bytes[700000];
	struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_segment segment = LSC_SEGMENT_INIT;
	struct timespec times[2];
	struct stat st;
	int r;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 9);
	mkdir(in("src"), 0777);
	lsc_file_write(in("src/large"), bytes, sizeof(bytes), NULL);
	lsc_file_write(in("src/a"), bytes, 3000, NULL);
	lsc_file_write(in("src/b"), bytes + 3000, 5, NULL);
	is_int(lsc_files_open(&image, in("src"), 1, &err), 0, "files");
	r = lsc_segment_begin_tree(&segment, dir, "t", image.manifest, image.manifest_len,
				   image.tree, image.n_pieces, &err);
	while (r >= 0 && (r = lsc_segment_grow(&segment, &err)) > 0)
		;
	memcpy(segment.data, image.data, image.bytes);
	for (uint32_t i = 0; i < image.n_pieces; i++)
		lsc_segment_mark(&segment, i);
	is_int(lsc_segment_commit(&segment, &err), 0, "that arrive");
	lsc_segment_close(&segment);
	is_int(check("t", &image), LSC_CHECK_GOOD, "good: %s", last.why);
	is_int(check("src", &image), LSC_CHECK_OTHER, "no cast brought these: %s", last.why);

	stat(in("t/b"), &st);
	flip(in("t/b"), 2);
	is_int(check("t", &image), LSC_CHECK_BAD, "changed, and seen at once: %s", last.why);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	utimensat(AT_FDCWD, in("t/b"), times, 0);
	is_int(check("t", &image), LSC_CHECK_BAD, "and when it hides: %s", last.why);
	is_int(last.bad_pieces, 1, "in one piece");
	flip(in("t/b"), 2);
	utimensat(AT_FDCWD, in("t/b"), times, 0);
	is_int(check("t", &image), LSC_CHECK_GOOD, "good again");
	unlink(in("t/a"));
	is_int(check("t", &image), LSC_CHECK_BAD, "a file is gone: %s", last.why);
	lsc_image_close(&image);
}

int main(void)
{
	snprintf(dir, sizeof(dir), "%s/check", scratch());
	mkdir(dir, 0777);
	if (lsc_loop_new(&loop, &err) < 0)
		return 1;
	test_image();
	test_stop();
	test_files();
	for (unsigned i = 0; i < 4; i++)
		is_str(lsc_check_state_name(i),
		       ((const char *[]){"good", "bad", "other", "absent"})[i], "a name");
	lsc_loop_free(loop);
	lsc_tree_remove(dir, NULL);
	return done_testing();
}
