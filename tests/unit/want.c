/* want: what is asked and answered before a cast, and what a directory has of a name */
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/io.h"
#include "base/tree.h"
#include "cast/lookup.h"
#include "cast/want.h"
#include "model/files.h"
#include "small_model.h"

static const struct lsc_model_config small = SMALL_MODEL(2, 100);
static struct lsc_err err;
static struct lsc_pack pack = LSC_PACK_INIT;
static struct lsc_record record = LSC_RECORD_INIT;
static char dir[PATH_MAX];

static const char *in(const char *name)
{
	static char path[PATH_MAX + 300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void parse(void)
{
	if (lsc_record_parse(&record, pack.buf.data, pack.buf.len, &err) <= 0)
		abort();
}

/* --- messages --- */

static void test_questions(void)
{
	struct lsc_want want = {.name = "a.lsc", .manifest = true}, got;

	ok(lsc_want_pack(&pack, &want) == 0, "a question is packed");
	parse();
	ok(lsc_want_parse(&record, &got, &err) == 0 && !strcmp(got.name, "a.lsc") && got.manifest,
	   "and is what it was");
	want.manifest = false;
	lsc_want_pack(&pack, &want);
	parse();
	ok(lsc_want_parse(&record, &got, &err) == 0 && !got.manifest, "without a manifest");
	strcpy(want.name, "../up");
	lsc_want_pack(&pack, &want);
	parse();
	is_int(lsc_want_parse(&record, &got, &err), -EINVAL, "a name that leads elsewhere");
	lsc_pack_begin(&pack, "want");
	lsc_pack_end(&pack);
	parse();
	is_int(lsc_want_parse(&record, &got, &err), -EBADMSG, "no name");
}

static void test_answers(void)
{
	struct lsc_held held = {.bytes = 12345, .n_pieces = 70, .tier = LSC_HELD_GPU}, got;
	uint64_t bits[2] = {UINT64_C(1) << 5, 1};
	char why[LSC_CAST_WHY];

	held.id.bytes[3] = 7;
	held.bits = bits;
	ok(lsc_held_pack(&pack, &held, 0) == 0, "an answer is packed");
	parse();
	ok(lsc_held_parse(&record, &got, &err) == 0 && lsc_hash_equal(&got.id, &held.id) &&
		   got.bytes == 12345 && got.n_pieces == 70 && got.n_here == 2 && !got.complete &&
		   got.tier == LSC_HELD_GPU && lsc_bits_has(got.bits, 5) &&
		   lsc_bits_has(got.bits, 64),
	   "and is what it was");
	lsc_held_release(&got);
	held.complete = true;
	held.tier = LSC_HELD_DISK;
	lsc_held_pack(&pack, &held, 0);
	parse();
	ok(lsc_held_parse(&record, &got, &err) == 0 && got.complete && got.n_here == 70 &&
		   !got.bits && got.tier == LSC_HELD_DISK,
	   "of all of it there are no bits");
	lsc_pack_begin(&pack, "held");
	lsc_pack_bin(&pack, "id", held.id.bytes, sizeof(held.id.bytes));
	lsc_pack_uint(&pack, "bytes", 1);
	lsc_pack_uint(&pack, "pieces", 1);
	lsc_pack_str(&pack, "tier", "tape");
	lsc_pack_end(&pack);
	parse();
	ok(lsc_held_parse(&record, &got, &err) == 0 && got.tier == LSC_HELD_DISK && !got.n_here,
	   "a tier that is not known is no better than the disk; no bits are none");
	lsc_held_release(&got);
	lsc_pack_begin(&pack, "held");
	lsc_pack_bin(&pack, "id", held.id.bytes, 15);
	lsc_pack_uint(&pack, "bytes", 1);
	lsc_pack_uint(&pack, "pieces", 1);
	lsc_pack_end(&pack);
	parse();
	is_int(lsc_held_parse(&record, &got, &err), -EBADMSG, "a short id");
	ok(lsc_absent_pack(&pack, "it\nis \x1b[2Jnot there") == 0, "absence is packed");
	parse();
	ok(lsc_absent_parse(&record, why, &err) == 0 && !strcmp(why, "it?is ?[2Jnot there"),
	   "and its words are one plain line");
}

/* --- what is there --- */

static void holds(const char *name, int want, uint32_t here, bool complete, const char *what)
{
	struct lsc_lookup lookup = LSC_LOOKUP_INIT;
	struct lsc_err why = LSC_ERR_INIT;
	int r = lsc_lookup_open(&lookup, dir, name, &why);

	is_int(r, want, "%s: %s", what, r < 0 ? why.text : "is there");
	if (r == 0 && want == 0) {
		struct lsc_hash id = lsc_hash_of(lookup.manifest, lookup.manifest_len);

		ok(lsc_hash_equal(&id, &lookup.held.id), "%s: the id is its manifest's", what);
		ok(lookup.held.n_here == here && lookup.held.complete == complete,
		   "%s: %u pieces of %u", what, lookup.held.n_here, lookup.held.n_pieces);
	}
	lsc_lookup_close(&lookup);
}

static void test_images(void)
{
	struct lsc_image_options options = {
		.dtype = LSC_DTYPE_BF16, .blocks = 2, .piece_bytes = 4096};
	struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_segment segment = LSC_SEGMENT_INIT;
	char path[PATH_MAX + 300];

	if (lsc_image_pack_dummy(&small, in("whole"), &options, &err) < 0 ||
	    lsc_image_open(&image, in("whole"), &err) < 0 ||
	    lsc_segment_create(&segment, dir, "half", image.manifest, image.manifest_len,
			       image.bytes, image.n_pieces, &err) < 0)
		abort();
	holds("whole", 0, image.n_pieces, true, "an image");
	holds("half", 0, 0, false, "one that begins to arrive");
	lsc_segment_mark(&segment, 0);
	lsc_segment_mark(&segment, 3);
	holds("half", 0, 2, false, "a part");
	lsc_segment_close(&segment);
	holds("half", 0, 2, false, "the same when its receiver is gone");
	holds("none", -ENOENT, 0, false, "no image");
	holds("../up", -EINVAL, 0, false, "no name");
	snprintf(path, sizeof(path), "%s/whole/image", dir);
	if (truncate(path, (off_t)image.bytes - 1) < 0)
		abort();
	holds("whole", -EBADMSG, 0, false, "one that was cut");
	mkdir(in("other"), 0777);
	holds("other", -ENOENT, 0, false, "a directory of something else");
	snprintf(path, sizeof(path), "%s/half.part/manifest", dir);
	if (truncate(path, 100) < 0)
		abort();
	holds("half", -EBADMSG, 0, false, "half a manifest");
	lsc_image_close(&image);
}

static void test_files(void)
{
	struct lsc_segment segment = LSC_SEGMENT_INIT;
	struct lsc_image files = LSC_IMAGE_INIT;
	char from[PATH_MAX + 300];
	static char bytes[100000];

	snprintf(from, sizeof(from), "%s/from", dir);
	memset(bytes, 'x', sizeof(bytes));
	mkdir(from, 0777);
	lsc_file_write(in("from/a"), bytes, sizeof(bytes), &err);
	if (lsc_files_open(&files, from, 1, &err) < 0 ||
	    lsc_segment_begin_tree(&segment, dir, "files", files.manifest, files.manifest_len,
				   files.tree, files.n_pieces, &err) < 0)
		abort();
	while (lsc_segment_grow(&segment, &err) > 0)
		;
	holds("files", 0, 0, false, "files on their way");
	memcpy(segment.data, files.data, files.bytes);
	for (uint32_t i = 0; i < files.n_pieces; i++)
		lsc_segment_mark(&segment, i);
	if (lsc_segment_commit(&segment, &err) < 0)
		abort();
	lsc_segment_close(&segment);
	holds("files", 0, files.n_pieces, true, "files");
	lsc_file_write(in("files/a"), bytes, 10, &err);
	holds("files", -EBADMSG, 0, false, "files that were changed");
	lsc_image_close(&files);
}

int main(void)
{
	snprintf(dir, sizeof(dir), "%s/dir", scratch());
	mkdir(dir, 0777);
	test_questions();
	test_answers();
	test_images();
	test_files();
	lsc_tree_remove(dir, NULL);
	lsc_pack_release(&pack);
	lsc_record_release(&record);
	return done_testing();
}
