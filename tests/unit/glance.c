/* what lies here of an image: all, some or nothing, whatever else lies there */
#include "tap.h"

#include <sys/stat.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "cast/glance.h"
#include "mem/segment.h"
#include "model/files.h"
#include "model/pack.h"
#include "small_model.h"

static struct lsc_err err;
static char dir[4096];

static const char *in(const char *name)
{
	static char path[8][8192];
	static unsigned next;
	char *p = path[next++ % 8];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static struct lsc_glance look(const char *name, bool manifest)
{
	struct lsc_glance glance = {0};

	if (lsc_glance_look(&glance, dir, name, manifest, &err) < 0)
		abort();
	return glance;
}

static enum lsc_held_state state(const char *name)
{
	struct lsc_glance glance = look(name, true);
	enum lsc_held_state held = glance.held.state;

	if ((held == LSC_HELD_ABSENT) != (glance.manifest == NULL))
		abort();
	lsc_glance_release(&glance);
	return held;
}

static void test_whole(struct lsc_image *image)
{
	struct lsc_model_config config = SMALL_MODEL(6, 512);
	struct lsc_image_options options = {
		.dtype = LSC_DTYPE_F32, .blocks = 4, .piece_bytes = 4096, .seed = 1};
	struct lsc_glance glance;

	is_int(state("m"), LSC_HELD_ABSENT, "nothing is there");
	mkdir(in("m"), 0777);
	is_int(state("m"), LSC_HELD_ABSENT, "nor in an empty directory");
	rmdir(in("m"));
	is_int(lsc_image_pack_dummy(&config, in("m"), &options, &err), 0, "a model");
	is_int(lsc_image_open(image, in("m"), &err), 0, "an image");
	glance = look("m", true);
	ok(glance.held.state == LSC_HELD_WHOLE && glance.held.pieces == image->n_pieces &&
		   glance.held.there == image->n_pieces && !glance.held.bits &&
		   glance.held.bytes == image->bytes && lsc_hash_equal(&glance.held.id, &image->id),
	   "is whole");
	ok(glance.manifest_len == image->manifest_len &&
		   !memcmp(glance.manifest, image->manifest, image->manifest_len),
	   "with its manifest");
	lsc_glance_release(&glance);
	glance = look("m", false);
	ok(glance.held.state == LSC_HELD_WHOLE && !glance.manifest, "which may be left out");
	lsc_glance_release(&glance);
}

static void test_part(const struct lsc_image *image)
{
	struct lsc_segment segment = LSC_SEGMENT_INIT;
	struct lsc_glance glance;

	is_int(lsc_segment_create(&segment, dir, "p", image->manifest, image->manifest_len,
				  image->bytes, image->n_pieces, &err),
	       0, "one that is about to arrive");
	glance = look("p", true);
	ok(glance.held.state == LSC_HELD_PART && glance.held.there == 0, "has no pieces");
	ok(glance.manifest_len == image->manifest_len, "and its manifest");
	lsc_glance_release(&glance);
	lsc_segment_mark(&segment, 1);
	lsc_segment_mark(&segment, image->n_pieces - 1);
	glance = look("p", false);
	ok(glance.held.there == 2 && lsc_bits_has(glance.held.bits, 1) &&
		   lsc_bits_has(glance.held.bits, image->n_pieces - 1) &&
		   lsc_bits_count(glance.held.bits, image->n_pieces) == 2,
	   "then those that came");
	lsc_glance_release(&glance);
	for (uint32_t i = 0; i < image->n_pieces; i++)
		lsc_segment_mark(&segment, i);
	is_int(lsc_segment_commit(&segment, &err), 0, "all of it");
	is_int(state("p"), LSC_HELD_WHOLE, "is whole");
	lsc_segment_close(&segment);
}

static void test_bad(void)
{
	FILE *file;

	is_int(truncate(in("p/image"), 100), 0, "one that is cut");
	is_int(state("p"), LSC_HELD_ABSENT, "is none");
	file = fopen(in("m/manifest"), "w");
	fputs("something else", file);
	fclose(file);
	is_int(state("m"), LSC_HELD_ABSENT, "nor is one without its manifest");
	file = fopen(in("file"), "w");
	fclose(file);
	is_int(state("file"), LSC_HELD_ABSENT, "nor is a file");
	is_int(state("file/m"), LSC_HELD_ABSENT, "or what is in none");
}

/* What is told survives the way there and back. */
static void test_records(void)
{
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	struct lsc_want want = {"m", true}, wanted;
	uint64_t bits = 0x5;
	struct lsc_held held = {LSC_HELD_PART, {{7}}, 1000, 9, 2, &bits}, told;

	ok(lsc_want_pack(&pack, &want) == 0 &&
		   lsc_record_parse(&record, pack.buf.data, pack.buf.len, &err) > 0 &&
		   lsc_want_parse(&record, &wanted, &err) == 0 && !strcmp(wanted.name, "m") &&
		   wanted.manifest,
	   "a question");
	ok(lsc_held_pack(&pack, &held, 0) == 0 &&
		   lsc_record_parse(&record, pack.buf.data, pack.buf.len, &err) > 0 &&
		   lsc_held_parse(&record, &told, &err) == 0 && told.there == 2 &&
		   told.bits[0] == 5 && told.bytes == 1000,
	   "and an answer");
	lsc_held_release(&told);
	held.pieces = 2;
	held.state = LSC_HELD_ABSENT;
	ok(lsc_held_pack(&pack, &held, 0) == 0 &&
		   lsc_record_parse(&record, pack.buf.data, pack.buf.len, &err) > 0 &&
		   lsc_held_parse(&record, &told, &err) == 0 && told.state == LSC_HELD_ABSENT &&
		   !told.pieces,
	   "that it is absent");
	strcpy(want.name, "../m");
	ok(lsc_want_pack(&pack, &want) == 0 &&
		   lsc_record_parse(&record, pack.buf.data, pack.buf.len, &err) > 0 &&
		   lsc_want_parse(&record, &wanted, &err) < 0,
	   "a name that leads elsewhere is refused");
}

int main(void)
{
	struct lsc_image image = LSC_IMAGE_INIT;

	snprintf(dir, sizeof(dir), "%s/dir", scratch());
	mkdir(dir, 0777);
	test_whole(&image);
	test_part(&image);
	test_bad();
	lsc_image_close(&image);
	test_records();
	return done_testing();
}
