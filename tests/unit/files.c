/* files: what lies on disk as an image; manifests that peers might send; files that arrive */
#include "tap.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/io.h"
#include "mem/segment.h"
#include "model/files.h"

static struct lsc_err err;
static char root[4096];

static const char *in(const char *name)
{
	static char path[8][8192];
	static unsigned next;
	char *p = path[next++ % 8];

	snprintf(p, sizeof(path[0]), "%s/%s", root, name);
	return p;
}

static void put(const char *name, size_t bytes, unsigned seed)
{
	uint8_t *data = malloc(bytes + 1);

	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)((i * 2654435761u + seed * 40503u) >> 7);
	lsc_file_write(in(name), data, bytes, NULL);
	free(data);
}

static void make_tree(void)
{
	char name[64];

	mkdir(root, 0777);
	mkdir(in("dir"), 0777);
	mkdir(in("src"), 0777);
	mkdir(in("src/sub"), 0777);
	put("src/large", 1000000, 1);
	put("src/sub/large", 262144, 2);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "src/sub/s%02u", i);
		put(name, i * 371, i);
	}
	ok(symlink("../large", in("src/sub/link")) == 0, "a tree");
	mkfifo(in("src/pipe"), 0666);
}

static uint32_t shared_pieces(const struct lsc_image *a, const struct lsc_image *b)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->n_pieces; i++)
		for (uint32_t j = 0; j < a->n_pieces; j++)
			if (lsc_hash_equal(&b->pieces[i], &a->pieces[j])) {
				n++;
				break;
			}
	return n;
}

static void test_open(void)
{
	struct lsc_image image = LSC_IMAGE_INIT, again = LSC_IMAGE_INIT, parsed = LSC_IMAGE_INIT;
	uint64_t at = 0;
	uint32_t bad;
	bool gap = false;

	is_int(lsc_files_open(&image, in("src"), 2, &err), 0, "a tree is an image: %s", err.text);
	is_int(lsc_files_open(&again, in("src"), 1, &err), 0, "again");
	ok(lsc_hash_equal(&image.id, &again.id), "the same one");
	for (uint32_t i = 0; i < image.n_pieces; i++) {
		gap = gap || lsc_image_piece_offset(&image, i) != at;
		at += lsc_image_piece_bytes(&image, i);
	}
	ok(!gap && at == image.bytes, "its pieces follow each other");
	is_int(image.tree->n_large, 2, "large files");
	ok(lsc_image_verify(&image, 2, &bad, &err) == 0 && bad == image.n_pieces, "it verifies");
	is_int(lsc_image_parse_any(&parsed, image.manifest, image.manifest_len, &err), 0,
	       "its manifest is read: %s", err.text);
	ok(parsed.n_pieces == image.n_pieces && parsed.n_blocks == image.n_blocks &&
		   parsed.bytes == image.bytes && parsed.tree->n == image.tree->n,
	   "and says the same");
	lsc_image_close(&parsed);
	is_int(lsc_image_parse(&parsed, image.manifest, image.manifest_len, &err), -EBADMSG,
	       "it is no model: %s", err.text);
	lsc_image_close(&parsed);
	lsc_image_close(&again);

	put("src/sub/s30", 30 * 371 + 5, 99);
	is_int(lsc_files_open(&again, in("src"), 1, &err), 0, "a small file grows");
	ok(shared_pieces(&image, &again) + 6 >= again.n_pieces &&
		   shared_pieces(&image, &again) < again.n_pieces,
	   "%u of %u pieces stay", shared_pieces(&image, &again), again.n_pieces);
	lsc_image_close(&again);
	lsc_image_close(&image);
	is_int(lsc_files_open(&image, "/dev/null", 1, &err), -EINVAL, "a device: %s", err.text);
	is_int(lsc_files_open(&image, in("none"), 1, &err), -ENOENT, "nothing: %s", err.text);
}

/* --- from peers --- */

static int parse_changed(const struct lsc_image *good, void (*change)(struct lsc_image *image))
{
	struct lsc_image image = *good, parsed = LSC_IMAGE_INIT;
	struct lsc_buf buf = LSC_BUF_INIT;
	struct lsc_tree tree;
	int r;

	lsc_tree_copy(&tree, good->tree, &err);
	image.tree = &tree;
	change(&image);
	r = lsc_files_pack(&image, &buf, &err);
	if (r == 0)
		r = lsc_image_parse_any(&parsed, buf.data, buf.len, &err);
	lsc_image_close(&parsed);
	lsc_buf_release(&buf);
	lsc_tree_release(&tree);
	return r;
}

static void rename_last(struct lsc_image *image, const char *path)
{
	struct lsc_tree_entry *entry = &image->tree->entries[image->tree->n - 1];

	free(entry->path);
	entry->path = strdup(path);
}

static void nothing(struct lsc_image *image)
{
	(void)image;
}

static void absolute(struct lsc_image *image)
{
	rename_last(image, "/etc/passwd");
}

static void upwards(struct lsc_image *image)
{
	rename_last(image, "sub/../../x");
}

static void orphan(struct lsc_image *image)
{
	rename_last(image, "nodir/x");
}

static void through_file(struct lsc_image *image)
{
	rename_last(image, "large/x");
}

static void twice(struct lsc_image *image)
{
	rename_last(image, "sub/s01");
}

static void setuid_bit(struct lsc_image *image)
{
	image->tree->entries[2].mode = 04755;
}

static void more_bytes(struct lsc_image *image)
{
	image->tree->entries[3].bytes += 8192;
}

static void fewer_pieces(struct lsc_image *image)
{
	image->n_pieces--;
}

static void odd_pieces(struct lsc_image *image)
{
	image->piece_bytes = 12345;
}

static void no_target(struct lsc_image *image)
{
	image->tree->entries[image->tree->n - 1].target[0] = 0;
}

static void test_hostile(void)
{
	static const struct {
		const char *what;
		void (*change)(struct lsc_image *image);
	} bad[] = {
		{"an absolute path", absolute},
		{"a path upwards", upwards},
		{"a path in no directory", orphan},
		{"a path through a file", through_file},
		{"a path twice", twice},
		{"a setuid bit", setuid_bit},
		{"other bytes", more_bytes},
		{"too few hashes", fewer_pieces},
		{"odd pieces", odd_pieces},
		{"a link to nothing", no_target},
	};
	struct lsc_image image = LSC_IMAGE_INIT;

	is_int(lsc_files_open(&image, in("src"), 1, &err), 0, "a good one");
	is_int(parse_changed(&image, nothing), 0, "is read");
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_int(parse_changed(&image, bad[i].change), -EBADMSG, "%s: %s", bad[i].what,
		       err.text);
	lsc_image_close(&image);
}

/* --- arriving --- */

static int receive(struct lsc_segment *segment, const struct lsc_image *image)
{
	int r;

	*segment = (struct lsc_segment)LSC_SEGMENT_INIT;
	r = lsc_segment_begin_tree(segment, in("dir"), "t", image->manifest, image->manifest_len,
				   image->tree, image->n_pieces, &err);
	while (r >= 0 && (r = lsc_segment_grow(segment, &err)) > 0)
		;
	return r;
}

static void take(struct lsc_segment *segment, const struct lsc_image *image, uint32_t piece)
{
	uint64_t offset = lsc_image_piece_offset(image, piece);

	memcpy(segment->data + offset, image->data + offset, lsc_image_piece_bytes(image, piece));
	lsc_segment_mark(segment, piece);
}

static void test_arrive(void)
{
	struct lsc_image image = LSC_IMAGE_INIT, there = LSC_IMAGE_INIT;
	struct lsc_segment segment;
	uint32_t half;
	int fd;

	lsc_files_open(&image, in("src"), 1, &err);
	half = image.n_pieces / 2;
	is_int(receive(&segment, &image), 0, "a segment of files: %s", err.text);
	for (uint32_t i = 0; i < half; i++)
		take(&segment, &image, i);
	lsc_segment_close(&segment);
	is_int(receive(&segment, &image), 0, "taken up again");
	is_int(lsc_segment_count(&segment), half, "with what it had");
	for (uint32_t i = half; i < image.n_pieces; i++)
		take(&segment, &image, i);
	ok(access(in("dir/t"), F_OK) < 0 && !lsc_files_is(in("dir/t")), "no name before the end");
	is_int(lsc_segment_commit(&segment, &err), 0, "whole: %s", err.text);
	ok(!memcmp(segment.data, image.data, image.bytes), "the mapping stays good");
	lsc_segment_close(&segment);
	ok(access(in("dir/t.part"), F_OK) < 0, "nothing is left");
	is_int(lsc_files_open_cast(&there, in("dir/t"), true, &err), 0, "opened: %s", err.text);
	ok(!memcmp(there.data, image.data, image.bytes), "the same bytes");
	lsc_image_close(&there);
	is_int(receive(&segment, &image), -EEXIST, "once is enough: %s", err.text);
	put("dir/t/large", 1000000, 8);
	is_int(lsc_files_open_cast(&there, in("dir/t"), true, &err), -EBADMSG, "changed: %s",
	       err.text);

	/* What a receiver leaves that is killed when the tree has its name. */
	mkdir(in("dir/t.part"), 0777);
	put("dir/t.part/image", 10, 0);
	put("dir/t.part/arrivals", 10, 0);
	fd = open(in("dir/t.part/arrivals"), O_RDWR);
	ok(flock(fd, LOCK_EX) == 0, "somebody is at work");
	lsc_segment_sweep(in("dir"), "t");
	ok(access(in("dir/t.part"), F_OK) == 0, "and is left alone");
	close(fd);
	lsc_segment_sweep(in("dir"), "t");
	ok(access(in("dir/t.part"), F_OK) < 0, "nobody is: swept");

	/* A large file that was cut while nobody looked is not what its marks say. */
	lsc_tree_remove(in("dir/t"), NULL);
	receive(&segment, &image);
	for (uint32_t i = 0; i < image.n_pieces; i++)
		take(&segment, &image, i);
	lsc_segment_close(&segment);
	ok(truncate(in("dir/t.part/tree/large"), 5) == 0, "cut");
	is_int(receive(&segment, &image), 0, "taken up");
	is_int(lsc_segment_count(&segment), 0, "from the start");
	is_int(lsc_segment_discard(&segment, &err), 0, "discarded");
	lsc_segment_close(&segment);
	ok(access(in("dir/t.part"), F_OK) < 0, "and gone");
	lsc_image_close(&image);
	lsc_tree_remove(root, NULL);
}

int main(void)
{
	snprintf(root, sizeof(root), "%s/files", scratch());
	make_tree();
	test_open();
	test_hostile();
	test_arrive();
	return done_testing();
}
