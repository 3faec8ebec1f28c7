/* check - reads an image, or files, to its end, and counts the pieces that are not what they were
 *
 * Bytes are read, not mapped, a part at a time: an image that is cut meanwhile is a bad one, and
 * memory does not grow with its pieces.
 */
#include "cast/check.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "mem/lender.h"
#include "mem/segment.h"
#include "model/files.h"
#include "net/task.h"

#define MAX_THREADS 4 /* the node has others to serve */
#define PART_BYTES  (1u << 20)

struct lsc_check {
	char *path;
	const char *dir, *name;
	const void *manifest;
	size_t manifest_len;
	void (*fn)(void *data, const struct lsc_check_result *result);
	void *data;

	struct lsc_task *task;
	atomic_bool stop;
	struct lsc_check_result result;

	/* what is read */
	struct lsc_image image;
	struct lsc_segment segment; /* of a tier's image */
	atomic_uint next, bad, first_bad;
	atomic_int failed; /* -errno of a thread that could not go on */
};

const char *lsc_check_state_name(enum lsc_check_state state)
{
	static const char *const names[] = {
		[LSC_CHECK_GOOD] = "good",
		[LSC_CHECK_BAD] = "bad",
		[LSC_CHECK_OTHER] = "other",
		[LSC_CHECK_ABSENT] = "absent",
	};

	return names[state];
}

/* --- reading --- */

struct reader {
	struct lsc_check *check;
	struct lsc_tree_walk walk;
	struct lsc_hasher *hasher;
	uint8_t *part;
};

static int read_part(struct reader *reader, uint64_t offset, uint32_t bytes)
{
	struct lsc_check *check = reader->check;
	uint8_t *to = reader->part;

	if (check->image.tree)
		return lsc_tree_read(check->image.tree, check->path, &reader->walk, offset, to,
				     bytes);
	if (check->segment.data) {
		memcpy(to, check->segment.data + offset, bytes);
		return 0;
	}
	return lsc_parts_read(&check->image.parts, to, bytes, offset);
}

static bool is_good(struct reader *reader, uint32_t piece)
{
	struct lsc_check *check = reader->check;
	uint64_t offset = lsc_image_piece_offset(&check->image, piece);
	uint32_t left = lsc_image_piece_bytes(&check->image, piece);
	bool whole = true;
	struct lsc_hash hash;

	while (whole && left > 0 && !atomic_load(&check->stop)) {
		uint32_t bytes = LSC_MIN(left, PART_BYTES);

		whole = read_part(reader, offset, bytes) == 0;
		if (whole)
			lsc_hasher_add(reader->hasher, reader->part, bytes);
		offset += bytes;
		left -= bytes;
	}
	hash = lsc_hasher_end(reader->hasher);
	return whole && lsc_hash_equal(&hash, &check->image.pieces[piece]);
}

static void read_pieces(struct reader *reader)
{
	struct lsc_check *check = reader->check;

	for (;;) {
		uint32_t piece = atomic_fetch_add(&check->next, 1);
		uint32_t first = atomic_load(&check->first_bad);

		if (piece >= check->image.n_pieces || atomic_load(&check->stop))
			return;
		if (is_good(reader, piece))
			continue;
		atomic_fetch_add(&check->bad, 1);
		while (piece < first &&
		       !atomic_compare_exchange_weak(&check->first_bad, &first, piece))
			;
	}
}

static void *read_some(void *arg)
{
	struct reader reader = {.check = arg, .walk = {.top = -1, .parent = -1}};
	struct lsc_check *check = arg;
	int r = 0;

	reader.hasher = lsc_hasher_new();
	reader.part = malloc(PART_BYTES);
	if (!reader.hasher || !reader.part)
		r = -ENOMEM;
	if (r == 0 && check->image.tree)
		r = lsc_tree_walk_begin(&reader.walk, check->image.tree, check->path);
	if (r == 0)
		read_pieces(&reader);
	else
		atomic_store(&check->failed, r);
	lsc_tree_walk_end(&reader.walk);
	lsc_hasher_free(reader.hasher);
	free(reader.part);
	return NULL;
}

static void read_all(struct lsc_check *check)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t others[MAX_THREADS];
	unsigned started = 0;

	while (started + 1 < LSC_MIN((unsigned)LSC_MAX(cpus, 1), MAX_THREADS) &&
	       pthread_create(&others[started], NULL, read_some, check) == 0)
		started++;
	read_some(check);
	while (started > 0)
		pthread_join(others[--started], NULL);
}

/* --- what is there --- */

static void set(struct lsc_check *check, enum lsc_check_state state, const char *why)
{
	check->result.state = state;
	snprintf(check->result.why, sizeof(check->result.why), "%.*s",
		 (int)sizeof(check->result.why) - 1, why);
}

static bool is_same_manifest(const struct lsc_check *check)
{
	return check->image.manifest_len == check->manifest_len &&
	       !memcmp(check->image.manifest, check->manifest, check->manifest_len);
}

/* What a tier has is there when all of it is. */
static int open_lent(struct lsc_check *check, struct lsc_err *err)
{
	int r = lsc_segment_open(&check->segment, check->dir, check->name, err);

	if (r == 0 && check->segment.arrivals)
		r = lsc_err_set(err, ENOENT, "it is arriving");
	if (r == 0)
		r = lsc_image_parse(&check->image, check->segment.manifest,
				    check->segment.manifest_len, err);
	if (r == 0 && !is_same_manifest(check))
		r = lsc_err_set(err, EEXIST, "what has its name is another image");
	return r;
}

/* Opens what is there, as what is asked for: -ENOENT, -EEXIST for something else, or -errno. */
static int open_it(struct lsc_check *check, struct lsc_err *err)
{
	bool files = lsc_files_is_manifest(check->manifest, check->manifest_len);
	struct stat st;
	int r;

	if (stat(check->path, &st) < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", check->path);
	if (files ? !lsc_files_is(check->path) : !lsc_image_is(check->path))
		return lsc_err_set(err, EEXIST, "what has its name is something else");
	r = files ? lsc_files_open_cast(&check->image, check->path, false, err)
		  : lsc_image_open(&check->image, check->path, err);
	if (r < 0)
		return r;
	if (!is_same_manifest(check))
		return lsc_err_set(err, EEXIST, "what has its name is another image");
	return 0;
}

static void work(void *data)
{
	struct lsc_check *check = data;
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_lender_is(check->dir) ? open_lent(check, &err) : open_it(check, &err);

	if (r == 0) {
		atomic_store(&check->first_bad, check->image.n_pieces);
		read_all(check);
		r = atomic_load(&check->failed);
		if (r < 0)
			lsc_err_set(&err, -r, "cannot read it: %m");
	}
	if (r < 0) {
		set(check,
		    r == -ENOENT   ? LSC_CHECK_ABSENT
		    : r == -EEXIST ? LSC_CHECK_OTHER
				   : LSC_CHECK_BAD,
		    r == -ENOENT ? "it is not there" : err.text);
		return;
	}
	check->result.bad_pieces = atomic_load(&check->bad);
	check->result.first_bad = atomic_load(&check->first_bad);
	if (check->result.bad_pieces == 0)
		return;
	lsc_err_set(&err, EBADMSG, "%u of %u pieces do not match their hashes, the first is %u",
		    check->result.bad_pieces, check->image.n_pieces, check->result.first_bad);
	set(check, LSC_CHECK_BAD, err.text);
}

static void on_done(void *data)
{
	struct lsc_check *check = data;

	check->fn(check->data, &check->result);
}

int lsc_check_start(struct lsc_check **ret_check, struct lsc_loop *loop, const char *dir,
		    const char *name, const void *manifest, size_t manifest_len,
		    void (*fn)(void *data, const struct lsc_check_result *result), void *data,
		    struct lsc_err *err)
{
	int r = lsc_segment_check_name(name, err);
	struct lsc_check *check;

	if (r < 0)
		return r;
	check = calloc(1, sizeof(*check));
	if (!check)
		return lsc_err_set(err, ENOMEM, "cannot check an image: %m");
	*check = (struct lsc_check){.dir = dir,
				    .name = name,
				    .segment = LSC_SEGMENT_INIT,
				    .manifest = manifest,
				    .manifest_len = manifest_len,
				    .fn = fn,
				    .data = data};
	if (asprintf(&check->path, "%s/%s", dir, name) < 0) {
		check->path = NULL;
		r = lsc_err_set(err, ENOMEM, "cannot check an image: %m");
	}
	if (r == 0)
		r = lsc_task_start(&check->task, loop, work, on_done, check, err);
	if (r < 0) {
		lsc_check_stop(check);
		return r;
	}
	*ret_check = check;
	return 0;
}

void lsc_check_stop(struct lsc_check *check)
{
	if (!check)
		return;
	atomic_store(&check->stop, true);
	lsc_task_stop(check->task);
	lsc_image_close(&check->image);
	lsc_segment_close(&check->segment);
	free(check->path);
	free(check);
}
