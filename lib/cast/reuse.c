/* reuse - finds pieces by their hashes in what is complete here, and copies them
 *
 * Sources are read with pread(), not mapped: someone may cut them meanwhile.  Their pieces are
 * looked up in a table of the wanted ones, so memory is 12 bytes for each of these and the tables
 * of one source at a time; time is a read of what is copied and a look at the rest's manifests.
 */
#include "cast/reuse.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/tree.h"
#include "mem/claims.h"
#include "mem/lender.h"
#include "model/files.h"
#include "net/task.h"

#define MAX_SOURCES 1024 /* that are looked into */
#define NONE        UINT32_MAX
#define SUFFIX      ".manifest"

struct lsc_reuse {
	const char *dir;
	const struct lsc_image *image;
	struct lsc_segment *segment;
	void (*fn)(void *data, int result, uint32_t pieces, const struct lsc_err *err);
	void *data;

	struct lsc_task *task;
	atomic_bool stop;
	int result;
	struct lsc_err err;

	/* the thread's */
	uint32_t *slots; /* by hash: the first wanted piece, NONE */
	uint32_t mask;
	uint32_t *next; /* by piece: another wanted one of that slot, NONE */
	uint32_t n_wanted, n_found, n_sources;
	int image_fd; /* the segment's, for cloning into; -1 */
	bool lost_room;
};

/* --- what is wanted --- */

static uint32_t slot_of(const struct lsc_reuse *reuse, const struct lsc_hash *hash)
{
	uint32_t key;

	memcpy(&key, hash->bytes, sizeof(key));
	return key & reuse->mask;
}

static int make_index(struct lsc_reuse *reuse, struct lsc_err *err)
{
	uint32_t n = reuse->image->n_pieces;
	uint64_t slots = 64;

	while (slots < (uint64_t)n * 2)
		slots *= 2;
	reuse->mask = (uint32_t)(slots - 1);
	reuse->slots = malloc(slots * sizeof(*reuse->slots));
	reuse->next = malloc(((size_t)n + 1) * sizeof(*reuse->next));
	if (!reuse->slots || !reuse->next)
		return lsc_err_set(err, ENOMEM, "cannot look for pieces: %m");
	memset(reuse->slots, 0xff, slots * sizeof(*reuse->slots));
	for (uint32_t i = 0; i < n; i++) {
		uint32_t *slot = &reuse->slots[slot_of(reuse, &reuse->image->pieces[i])];

		if (lsc_segment_has(reuse->segment, i, 1))
			continue;
		reuse->next[i] = *slot;
		*slot = i;
		reuse->n_wanted++;
	}
	return 0;
}

/* --- what others have --- */

struct source {
	const char *name;
	struct lsc_image image;
	bool no_clone;  /* its file system, or that of the segment, cannot, or it is another */
	const char *at; /* the root of files */
	struct lsc_tree_walk walk;
	bool walking;
};

static int read_piece(struct source *source, uint32_t piece, uint8_t *to, uint32_t bytes)
{
	uint64_t offset = lsc_image_piece_offset(&source->image, piece);

	if (source->walking)
		return lsc_tree_read(source->image.tree, source->at, &source->walk, offset, to,
				     bytes);
	return lsc_parts_read(&source->image.parts, to, bytes, offset);
}

/* Lets both files share the piece's blocks on disk, where the file system can. */
static bool clone_piece(struct lsc_reuse *reuse, struct source *source, uint32_t theirs,
			uint32_t ours, uint32_t bytes)
{
	uint64_t offset = lsc_image_piece_offset(&source->image, theirs);
	const struct lsc_run *run = lsc_parts_at(&source->image.parts, offset);
	struct file_clone_range range = {
		.src_length = bytes,
		.dest_offset = lsc_image_piece_offset(reuse->image, ours),
	};

	if (!run || run->bytes - (offset - run->offset) < bytes) /* of files, or of two runs */
		return false;
	range.src_fd = run->fd;
	range.src_offset = run->fd_offset + (offset - run->offset);
	if (reuse->image_fd < 0 || source->no_clone ||
	    (range.src_offset | range.dest_offset | bytes) % 4096)
		return false;
	source->no_clone = ioctl(reuse->image_fd, FICLONERANGE, &range) < 0;
	return !source->no_clone;
}

/* What was cloned and is damaged gets room of its own again, which a write asks for: the right
 * bytes will come through a mapping, where it would be too late for a full disk to say so. */
static int unshare(struct lsc_reuse *reuse, uint64_t offset, uint32_t bytes)
{
	static const uint8_t zeros[4096];

	for (uint32_t at = 0; at < bytes; at += sizeof(zeros))
		if (lsc_pwrite_full(reuse->image_fd, zeros, sizeof(zeros), offset + at) < 0) {
			reuse->lost_room = true;
			return -ENOSPC;
		}
	return 0;
}

/* Puts a piece in its place: 1, 0 where it is not what it should be, or negative errno. */
static int put_piece(struct lsc_reuse *reuse, struct source *source, uint32_t theirs, uint32_t ours)
{
	uint32_t bytes = lsc_image_piece_bytes(reuse->image, ours);
	uint64_t offset = lsc_image_piece_offset(reuse->image, ours);
	uint8_t *to = reuse->segment->data + offset;
	bool cloned = clone_piece(reuse, source, theirs, ours, bytes);
	int r = cloned ? 0 : lsc_segment_prepare(reuse->segment, offset, bytes, NULL);
	struct lsc_hash hash;

	if (r == -ENOSPC) {
		reuse->lost_room = true;
		return r;
	}
	if (r == 0 && !cloned)
		r = read_piece(source, theirs, to, bytes);
	if (r == 0) {
		hash = lsc_hash_of(to, bytes);
		if (!lsc_hash_equal(&hash, &reuse->image->pieces[ours]))
			r = -EBADMSG;
	}
	if (r < 0) {
		lsc_debug("cast", "piece %u of '%s' is not what its hash says", theirs,
			  source->name);
		return cloned ? unshare(reuse, offset, bytes) : 0;
	}
	lsc_segment_mark(reuse->segment, ours);
	return 1;
}

/* The same, unless someone else fills its block, or has done so. */
static int take_piece(struct lsc_reuse *reuse, struct source *source, uint32_t theirs,
		      uint32_t ours)
{
	struct lsc_claims *claims = reuse->segment->claims;
	uint32_t block = claims ? lsc_image_piece_block(reuse->image, ours) : 0;
	int r;

	if (claims && !lsc_claims_take(claims, block))
		return 0;
	r = claims && lsc_segment_has(reuse->segment, ours, 1)
		    ? 1
		    : put_piece(reuse, source, theirs, ours);
	if (claims)
		lsc_claims_drop(claims, block);
	reuse->n_found += r > 0;
	return r;
}

static int take_same(struct lsc_reuse *reuse, struct source *source, uint32_t theirs)
{
	const struct lsc_hash *hash = &source->image.pieces[theirs];
	uint32_t bytes = lsc_image_piece_bytes(&source->image, theirs);
	uint32_t *link = &reuse->slots[slot_of(reuse, hash)];

	while (*link != NONE) {
		uint32_t ours = *link;
		int r;

		if (!lsc_hash_equal(hash, &reuse->image->pieces[ours]) ||
		    bytes != lsc_image_piece_bytes(reuse->image, ours)) {
			link = &reuse->next[ours];
			continue;
		}
		r = take_piece(reuse, source, theirs, ours);
		if (r <= 0)
			return r; /* it will not do for another place either */
		*link = reuse->next[ours];
	}
	return 0;
}

static bool is_enough(const struct lsc_reuse *reuse)
{
	return reuse->n_found == reuse->n_wanted || atomic_load(&reuse->stop);
}

static int look_into(struct lsc_reuse *reuse, struct source *source)
{
	uint32_t before = reuse->n_found;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < source->image.n_pieces && !is_enough(reuse); i++)
		r = take_same(reuse, source, i);
	if (reuse->n_found > before)
		lsc_info("'%s' has %u of %u pieces of '%s'", source->name, reuse->n_found - before,
			 reuse->image->n_pieces, reuse->segment->name);
	return r;
}

static int open_source(struct source *source, const char *path, bool files, struct lsc_err *err)
{
	int r;

	if (files) {
		r = lsc_files_open_cast(&source->image, path, false, err);
		if (r < 0)
			return r;
		source->at = path;
		r = lsc_tree_walk_begin(&source->walk, source->image.tree, path);
		source->walking = r == 0;
		return r < 0 ? lsc_err_set(err, -r, "cannot open '%s': %m", path) : 0;
	}
	return lsc_image_open(&source->image, path, err);
}

/* A source that is no good is none, and no failure. */
static int try_source(struct lsc_reuse *reuse, const char *name, bool files)
{
	struct source source = {.name = name};
	struct lsc_err err = LSC_ERR_INIT;
	char path[PATH_MAX];
	int r = 0;

	if (snprintf(path, sizeof(path), "%s/%s", reuse->dir, name) >= (int)sizeof(path))
		return 0;
	reuse->n_sources++;
	if (open_source(&source, path, files, &err) == 0)
		r = look_into(reuse, &source);
	else
		lsc_info("%s; its pieces are not used", err.text);
	if (source.walking)
		lsc_tree_walk_end(&source.walk);
	lsc_image_close(&source.image);
	return r;
}

static int try_image(void *data, const char *name, bool arriving)
{
	struct lsc_reuse *reuse = data;

	int r = arriving ? 0 : try_source(reuse, name, false);

	if (r < 0)
		return r;
	return is_enough(reuse) || reuse->n_sources >= MAX_SOURCES;
}

/* Files have their manifests in DIR/.lsc. */
static int try_files(struct lsc_reuse *reuse)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	if (snprintf(path, sizeof(path), "%s/.lsc", reuse->dir) >= (int)sizeof(path))
		return 0;
	dir = opendir(path);
	while (dir && r == 0 && !is_enough(reuse) && reuse->n_sources < MAX_SOURCES &&
	       (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);
		char name[sizeof(entry->d_name)];

		if (len <= strlen(SUFFIX) || strcmp(entry->d_name + len - strlen(SUFFIX), SUFFIX))
			continue;
		memcpy(name, entry->d_name, len - strlen(SUFFIX));
		name[len - strlen(SUFFIX)] = 0;
		if (lsc_segment_check_name(name, NULL) == 0)
			r = try_source(reuse, name, true);
	}
	if (dir)
		closedir(dir);
	return r;
}

/* A tier shares blocks by itself. */
static int search(struct lsc_reuse *reuse, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *image = NULL;
	int r = lsc_lender_is(reuse->dir) ? 0 : make_index(reuse, err);

	reuse->image_fd = -1;
	if (r < 0 || lsc_lender_is(reuse->dir))
		return r;
	if (!reuse->image->tree && asprintf(&image, "%s/image", reuse->segment->dir) >= 0)
		reuse->image_fd = open(image, O_RDWR | O_CLOEXEC); /* it can do without */
	if (r == 0 && !is_enough(reuse))
		r = lsc_segment_each(reuse->dir, try_image, reuse, err);
	if (r >= 0 && !is_enough(reuse))
		r = try_files(reuse);
	if (reuse->lost_room)
		lsc_err_set(err, ENOSPC, "no room for '%s/image': %m", reuse->segment->dir);
	if (reuse->image_fd >= 0)
		close(reuse->image_fd);
	free(reuse->slots);
	free(reuse->next);
	reuse->slots = reuse->next = NULL;
	return r < 0 ? r : 0;
}

/* --- in the background --- */

static void work(void *data)
{
	struct lsc_reuse *reuse = data;

	reuse->result = search(reuse, &reuse->err);
}

static void on_done(void *data)
{
	struct lsc_reuse *reuse = data;

	reuse->fn(reuse->data, reuse->result, reuse->n_found, &reuse->err);
}

int lsc_reuse_start(struct lsc_reuse **ret_reuse, struct lsc_loop *loop, const char *dir,
		    const struct lsc_image *image, struct lsc_segment *segment,
		    void (*fn)(void *data, int result, uint32_t pieces, const struct lsc_err *err),
		    void *data, struct lsc_err *err)
{
	struct lsc_reuse *reuse = calloc(1, sizeof(*reuse));
	int r;

	if (!reuse)
		return lsc_err_set(err, ENOMEM, "cannot look for pieces: %m");
	*reuse = (struct lsc_reuse){
		.dir = dir, .image = image, .segment = segment, .fn = fn, .data = data};
	r = lsc_task_start(&reuse->task, loop, work, on_done, reuse, err);
	if (r < 0) {
		free(reuse);
		return r;
	}
	*ret_reuse = reuse;
	return 0;
}

void lsc_reuse_stop(struct lsc_reuse *reuse)
{
	if (!reuse)
		return;
	atomic_store(&reuse->stop, true);
	lsc_task_stop(reuse->task);
	free(reuse);
}

int64_t lsc_reuse_now(const char *dir, const struct lsc_image *image, struct lsc_segment *segment,
		      struct lsc_err *err)
{
	struct lsc_reuse reuse = {.dir = dir, .image = image, .segment = segment};
	int r = search(&reuse, err);

	return r < 0 ? r : (int64_t)reuse.n_found;
}
