/* image - opening an image and finding one's way in it */
#include "model/image.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "base/tree.h"
#include "model/files.h"
#include "model/manifest.h"

#define MAX_THREADS 64

static void begin_parse(struct lsc_image *image, const void *manifest, size_t len)
{
	*image = (struct lsc_image)LSC_IMAGE_INIT;
	image->manifest = manifest;
	image->manifest_len = len;
	image->id = lsc_hash_of(manifest, len);
}

int lsc_image_parse(struct lsc_image *image, const void *manifest, size_t len, struct lsc_err *err)
{
	begin_parse(image, manifest, len);
	if (lsc_files_is_manifest(manifest, len))
		return lsc_err_set(err, EBADMSG, "it holds files that were cast, and no model");
	return lsc_manifest_parse(image, manifest, len, err);
}

int lsc_image_parse_any(struct lsc_image *image, const void *manifest, size_t len,
			struct lsc_err *err)
{
	if (!lsc_files_is_manifest(manifest, len))
		return lsc_image_parse(image, manifest, len, err);
	begin_parse(image, manifest, len);
	return lsc_files_parse(image, manifest, len, err);
}

static int map_in(struct lsc_map *map, const char *dir, const char *name, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *path = NULL;

	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return lsc_err_set(err, ENOMEM, "cannot open '%s': %m", dir);
	}
	return lsc_map_open(map, path, err);
}

static int parse_mapped(struct lsc_image *image, const char *dir, const struct lsc_map *manifest,
			struct lsc_err *err)
{
	int r;

	if (manifest->len > LSC_MANIFEST_MAX_BYTES)
		return lsc_err_set(err, EFBIG, "the manifest of '%s' is larger than %u bytes", dir,
				   LSC_MANIFEST_MAX_BYTES);
	r = lsc_image_parse(image, manifest->data, manifest->len, err);
	return r < 0 ? lsc_err_prefix(err, "image '%s': ", dir) : 0;
}

/* What is there and is something else, a model that was not packed for one, is told so. */
static int open_manifest(struct lsc_map *manifest, const char *dir, struct lsc_err *err)
{
	int r = map_in(manifest, dir, "manifest", err);

	if ((r == -ENOENT || r == -ENOTDIR) && lsc_files_is(dir))
		return lsc_err_set(err, EBADMSG, "'%s' holds files that were cast, and no model",
				   dir);
	if ((r == -ENOENT || r == -ENOTDIR) && access(dir, F_OK) == 0)
		return lsc_err_set(err, -r, "'%s' is no image: it has no manifest", dir);
	return r;
}

/* The descriptors stay open: who sends the image need not copy it from the map. */
static int open_data(struct lsc_image *image, const char *dir, struct lsc_err *err)
{
	struct lsc_parts *parts = &image->parts;
	int r = lsc_parts_open(parts, dir, err);

	if (r < 0)
		return r;
	if (parts->bytes != image->bytes)
		return lsc_err_set(
			err, EBADMSG, "image '%s': it has %llu bytes where its manifest says %llu",
			dir, (unsigned long long)parts->bytes, (unsigned long long)image->bytes);
	r = lsc_runs_map(parts->runs, parts->n, parts->bytes, PROT_READ, &image->data_map, err);
	if (r < 0)
		return lsc_err_prefix(err, "'%s/image': ", dir);
	image->data = image->data_map;
	return 0;
}

int lsc_image_open(struct lsc_image *image, const char *dir, struct lsc_err *err)
{
	struct lsc_map manifest = LSC_MAP_INIT;
	int r;

	*image = (struct lsc_image)LSC_IMAGE_INIT;
	r = open_manifest(&manifest, dir, err);
	if (r < 0)
		return r;
	r = parse_mapped(image, dir, &manifest, err);
	image->manifest_map = manifest;
	if (r == 0)
		r = open_data(image, dir, err);
	if (r < 0)
		lsc_image_close(image);
	return r;
}

void lsc_image_close(struct lsc_image *image)
{
	if (!image)
		return;
	free(image->tensors);
	free(image->units);
	free(image->blocks);
	free(image->pieces);
	lsc_chat_release(&image->chat);
	if (image->tree)
		lsc_tree_unmap(image->tree, image->tree_data);
	lsc_tree_release(image->tree);
	free(image->tree);
	free(image->own_manifest);
	lsc_map_close(&image->manifest_map);
	lsc_runs_unmap(image->data_map, image->bytes);
	lsc_parts_close(&image->parts);
	*image = (struct lsc_image)LSC_IMAGE_INIT;
}

int lsc_image_fd(const struct lsc_image *image)
{
	return image->data && image->data == image->data_map ? lsc_parts_fd(&image->parts) : -1;
}

const struct lsc_run *lsc_image_runs(const struct lsc_image *image, uint32_t *ret_n)
{
	*ret_n = image->parts.n;
	return image->parts.runs;
}

bool lsc_image_is(const char *path)
{
	LSC_CLEANUP_FREE char *manifest = NULL;
	struct stat st;

	if (asprintf(&manifest, "%s/manifest", path) < 0) {
		manifest = NULL;
		return false;
	}
	return stat(manifest, &st) == 0 && S_ISREG(st.st_mode);
}

const struct lsc_tensor *lsc_image_tensor(const struct lsc_image *image, uint32_t unit,
					  enum lsc_tensor_role role)
{
	if (unit >= image->n_units)
		return NULL;
	for (uint32_t i = 0; i < image->units[unit].n_tensors; i++) {
		const struct lsc_tensor *tensor =
			&image->tensors[image->units[unit].first_tensor + i];

		if (tensor->role == role)
			return tensor;
	}
	return NULL;
}

/* The block that holds a piece: the last one whose first piece is not after it. */
uint32_t lsc_image_piece_block(const struct lsc_image *image, uint32_t piece)
{
	uint32_t low = 0, high = image->n_blocks;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (image->blocks[middle].first_piece <= piece)
			low = middle;
		else
			high = middle;
	}
	return low;
}

uint64_t lsc_image_piece_offset(const struct lsc_image *image, uint32_t piece)
{
	const struct lsc_block *block = &image->blocks[lsc_image_piece_block(image, piece)];

	return block->offset + (uint64_t)(piece - block->first_piece) * image->piece_bytes;
}

uint32_t lsc_image_piece_bytes(const struct lsc_image *image, uint32_t piece)
{
	const struct lsc_block *block = &image->blocks[lsc_image_piece_block(image, piece)];
	uint64_t before = (uint64_t)(piece - block->first_piece) * image->piece_bytes;

	return (uint32_t)LSC_MIN(block->bytes - before, image->piece_bytes);
}

struct lsc_hash lsc_image_block_hash(const struct lsc_image *image, uint32_t block)
{
	const struct lsc_block *b = &image->blocks[block];
	struct lsc_hash pieces =
		lsc_hash_of(&image->pieces[b->first_piece], b->n_pieces * sizeof(*image->pieces));
	uint8_t all[LSC_HASH_BYTES + 8];

	memcpy(all, pieces.bytes, LSC_HASH_BYTES);
	for (int i = 0; i < 8; i++)
		all[LSC_HASH_BYTES + i] = (uint8_t)(b->bytes >> (8 * i));
	return lsc_hash_of(all, sizeof(all));
}

/* --- verifying --- */

struct verify {
	const struct lsc_image *image;
	atomic_uint next;
	atomic_uint bad; /* the first bad piece found so far */
};

static void *verify_some(void *arg)
{
	struct verify *verify = arg;
	const struct lsc_image *image = verify->image;

	for (;;) {
		uint32_t piece = atomic_fetch_add(&verify->next, 1);
		uint32_t bad = atomic_load(&verify->bad);
		struct lsc_hash hash;

		if (piece >= bad)
			return NULL;
		hash = lsc_hash_of(image->data + lsc_image_piece_offset(image, piece),
				   lsc_image_piece_bytes(image, piece));
		if (lsc_hash_equal(&hash, &image->pieces[piece]))
			continue;
		while (piece < bad && !atomic_compare_exchange_weak(&verify->bad, &bad, piece))
			;
	}
}

int lsc_image_verify(const struct lsc_image *image, unsigned threads, uint32_t *ret_piece,
		     struct lsc_err *err)
{
	struct verify verify = {.image = image, .bad = image->n_pieces};
	pthread_t others[MAX_THREADS];
	unsigned started = 0;

	if (!image->data)
		return lsc_err_set(err, EINVAL, "there are no bytes to verify");
	while (started + 1 < LSC_MIN(threads, MAX_THREADS) &&
	       pthread_create(&others[started], NULL, verify_some, &verify) == 0)
		started++;
	verify_some(&verify);
	while (started > 0)
		pthread_join(others[--started], NULL);
	*ret_piece = verify.bad;
	return 0;
}
