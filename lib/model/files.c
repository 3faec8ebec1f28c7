/* files - what lies on disk, as an image that can be cast */
#include "model/files.h"

#include <endian.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "model/layout.h"

#define MAX_THREADS 64
#define MAX_CUTS    30000u

/* --- blocks --- */

/* Small files are packed, and one that grows shifts those behind it.  Cuts hold that up: they are
 * where a path's hash says, a piece apart on average, so that an updated tree has the same blocks
 * but for those that changed. */
static void cut_small(struct lsc_image *image)
{
	struct lsc_tree *tree = image->tree;
	uint32_t n_small = 0, n_cuts = 0;
	uint64_t wanted = LSC_MAX(tree->packed_bytes / image->piece_bytes, 1u), mask = 1;

	for (uint32_t i = 0; i < tree->n; i++)
		n_small += tree->entries[i].kind == LSC_TREE_FILE &&
			   !lsc_tree_is_large(tree, &tree->entries[i]);
	while (n_small / (mask * 2) >= wanted)
		mask *= 2;
	for (uint32_t i = 0; i < tree->n && n_cuts < MAX_CUTS; i++) {
		struct lsc_tree_entry *entry = &tree->entries[i];
		struct lsc_hash hash = lsc_hash_of(entry->path, strlen(entry->path));
		uint32_t low;

		memcpy(&low, hash.bytes, sizeof(low));
		if (entry->kind != LSC_TREE_FILE || lsc_tree_is_large(tree, entry))
			continue;
		entry->cut = (le32toh(low) & (mask - 1)) == 0;
		n_cuts += entry->cut;
	}
}

/* --- hashes --- */

struct hashing {
	struct lsc_image *image;
	atomic_uint next;
};

static void *hash_some(void *arg)
{
	struct hashing *hashing = arg;
	struct lsc_image *image = hashing->image;

	for (;;) {
		uint32_t piece = atomic_fetch_add(&hashing->next, 1);

		if (piece >= image->n_pieces)
			return NULL;
		image->pieces[piece] =
			lsc_hash_of(image->data + lsc_image_piece_offset(image, piece),
				    lsc_image_piece_bytes(image, piece));
	}
}

static int hash_pieces(struct lsc_image *image, unsigned threads, struct lsc_err *err)
{
	struct hashing hashing = {.image = image};
	pthread_t others[MAX_THREADS];
	unsigned started = 0;

	image->pieces = calloc(image->n_pieces, sizeof(*image->pieces));
	if (!image->pieces)
		return lsc_err_set(err, ENOMEM, "cannot hold %u hashes: %m", image->n_pieces);
	while (started + 1 < LSC_MIN(threads, MAX_THREADS) &&
	       pthread_create(&others[started], NULL, hash_some, &hashing) == 0)
		started++;
	hash_some(&hashing);
	while (started > 0)
		pthread_join(others[--started], NULL);
	return 0;
}

/* --- from disk --- */

static int scan(struct lsc_image *image, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *skipped = malloc(LSC_TREE_MAX_PATH + 1);
	uint32_t n_skipped;
	int r;

	image->tree = calloc(1, sizeof(*image->tree));
	if (!skipped || !image->tree)
		return lsc_err_set(err, ENOMEM, "cannot read '%s': %m", path);
	r = lsc_tree_scan(image->tree, path, &n_skipped, skipped, err);
	if (r < 0)
		return r;
	if (n_skipped)
		lsc_warning("'%s': devices, sockets and pipes are left out: %u, the first is '%s'",
			    path, n_skipped, skipped);
	return 0;
}

/* Small files are held in memory while they are cast. */
static int check_memory(const struct lsc_tree *tree, const char *path, struct lsc_err *err)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0 ||
	    tree->packed_bytes / info.mem_unit < info.totalram / 2 + info.freeswap)
		return 0;
	return lsc_err_set(err, ENOMEM,
			   "'%s': its small files have %llu bytes together, more than half of the "
			   "memory: an archive of them would do",
			   path, (unsigned long long)tree->packed_bytes);
}

static int make_manifest(struct lsc_image *image, struct lsc_err *err)
{
	struct lsc_buf buf = LSC_BUF_INIT;
	int r = lsc_files_pack(image, &buf, err);

	if (r < 0) {
		lsc_buf_release(&buf);
		return r;
	}
	image->manifest = image->own_manifest = buf.data;
	image->manifest_len = buf.len;
	image->id = lsc_hash_of(buf.data, buf.len);
	return 0;
}

static int open_all(struct lsc_image *image, const char *path, unsigned threads,
		    struct lsc_err *err)
{
	uint64_t start = lsc_clock_ns();
	int r = scan(image, path, err);

	if (r < 0 || (r = check_memory(image->tree, path, err)) < 0 ||
	    (r = lsc_tree_map(image->tree, path, &image->tree_data, err)) < 0)
		return r;
	image->data = image->tree_data;
	image->piece_bytes = lsc_layout_piece_bytes(image->tree->bytes);
	cut_small(image);
	if ((r = lsc_files_layout(image, err)) < 0)
		return r;
	lsc_info("'%s': %u entries of %llu bytes are read for their hashes", path, image->tree->n,
		 (unsigned long long)image->bytes);
	if ((r = hash_pieces(image, threads, err)) < 0)
		return r;
	lsc_info("'%s': read in %.1f s", path, (double)(lsc_clock_ns() - start) / 1e9);
	if (!lsc_tree_is_at(image->tree, path))
		return lsc_err_set(err, EBUSY, "'%s' changed while it was read", path);
	return make_manifest(image, err);
}

int lsc_files_open(struct lsc_image *image, const char *path, unsigned threads, struct lsc_err *err)
{
	int r;

	*image = (struct lsc_image)LSC_IMAGE_INIT;
	r = open_all(image, path, threads, err);
	if (r < 0)
		lsc_image_close(image);
	return r;
}

/* --- what a cast brought --- */

/* DIR/.lsc/NAME.manifest of DIR/NAME. */
static int manifest_path(char out[PATH_MAX], const char *path)
{
	size_t len = strlen(path), start;

	while (len > 1 && path[len - 1] == '/')
		len--;
	for (start = len; start > 0 && path[start - 1] != '/'; start--)
		;
	return snprintf(out, PATH_MAX, "%.*s.lsc/%.*s.manifest", (int)start, path,
			(int)(len - start), path + start) < PATH_MAX
		       ? 0
		       : -ENAMETOOLONG;
}

bool lsc_files_is(const char *path)
{
	char manifest[PATH_MAX];

	return manifest_path(manifest, path) == 0 && access(manifest, F_OK) == 0 &&
	       access(path, F_OK) == 0;
}

int lsc_files_open_cast(struct lsc_image *image, const char *path, bool map, struct lsc_err *err)
{
	struct lsc_map manifest = LSC_MAP_INIT;
	char name[PATH_MAX];
	int r = manifest_path(name, path);

	*image = (struct lsc_image)LSC_IMAGE_INIT;
	if (r < 0)
		return lsc_err_set(err, -r, "'%s': %m", path);
	r = lsc_map_open(&manifest, name, err);
	if (r < 0)
		return r;
	if (!lsc_files_is_manifest(manifest.data, manifest.len))
		r = lsc_err_set(err, EBADMSG, "'%s' is no manifest of files", name);
	if (r == 0)
		r = lsc_image_parse_any(image, manifest.data, manifest.len, err);
	image->manifest_map = manifest;
	if (r == 0 && !lsc_tree_is_at(image->tree, path))
		r = lsc_err_set(err, EBADMSG, "'%s' is not any more what was cast", path);
	if (r == 0 && map)
		r = check_memory(image->tree, path, err);
	if (r == 0 && map)
		r = lsc_tree_map(image->tree, path, &image->tree_data, err);
	if (r < 0) {
		lsc_image_close(image);
		return r;
	}
	image->data = image->tree_data;
	return 0;
}
