/* save - copies cells into a segment of files, and commits that
 *
 * The segment does what it does for a cast: room first, pieces as they are there, to the disk at
 * once, a rename in the end; so a save that is killed leaves nothing that looks complete.
 */
#include "tier/save.h"

#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "mem/segment.h"
#include "net/task.h"

struct lsc_save {
	struct lsc_task *task;
	const char *dir;
	char name[LSC_SEGMENT_NAME];
	const struct lsc_holding *holding; /* its tables, which stay while it is leased */
	int *leases;                       /* by block; -1 */
	void (*fn)(void *data, int result, const struct lsc_err *err);
	void *data;
	atomic_bool stop;
	int result;
	struct lsc_err err;
};

static int copy_piece(struct lsc_segment *segment, const struct lsc_image *image, uint32_t piece,
		      const uint8_t *block, uint64_t block_offset, struct lsc_err *err)
{
	uint64_t offset = lsc_image_piece_offset(image, piece);
	uint32_t bytes = lsc_image_piece_bytes(image, piece);
	int r = lsc_segment_prepare(segment, offset, bytes, err);

	if (r < 0)
		return r;
	memcpy(segment->data + offset, block + (offset - block_offset), bytes);
	lsc_segment_wrote(segment, offset, bytes);
	lsc_segment_mark(segment, piece);
	return 0;
}

static int copy_block(struct lsc_save *save, struct lsc_segment *segment, uint32_t i,
		      struct lsc_err *err)
{
	const struct lsc_image *image = &save->holding->image;
	const struct lsc_block *block = &image->blocks[i];
	void *from = mmap(NULL, block->bytes, PROT_READ, MAP_SHARED, save->leases[i], 0);
	int r = 0;

	if (from == MAP_FAILED)
		return lsc_err_set(err, errno, "cannot map a block: %m");
	for (uint32_t p = block->first_piece; r == 0 && p < block->first_piece + block->n_pieces;
	     p++) {
		if (atomic_load(&save->stop))
			r = -ECANCELED;
		else if (!lsc_segment_has(segment, p, 1))
			r = copy_piece(segment, image, p, from, block->offset, err);
	}
	munmap(from, block->bytes);
	return r;
}

/* It was in memory before, and is likely to be wanted there; once more in the page cache it would
 * only take room. */
static void leave_cache(const struct lsc_save *save)
{
	char path[PATH_MAX];
	LSC_CLEANUP_FD int fd = -1;

	if (snprintf(path, sizeof(path), "%s/%s/image", save->dir, save->name) >= PATH_MAX)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void work(void *data)
{
	struct lsc_save *save = data;
	const struct lsc_image *image = &save->holding->image;
	LSC_CLEANUP(lsc_segment_close) struct lsc_segment segment = LSC_SEGMENT_INIT;
	int r = lsc_segment_create(&segment, save->dir, save->name, image->manifest,
				   image->manifest_len, image->bytes, image->n_pieces, &save->err);

	if (r < 0) {
		save->result = r;
		return;
	}
	for (uint32_t i = 0; r == 0 && i < image->n_blocks; i++)
		r = copy_block(save, &segment, i, &save->err);
	if (r == 0)
		r = lsc_segment_commit(&segment, &save->err);
	if (r < 0 && r != -ECANCELED)
		lsc_segment_discard(&segment, NULL);
	if (r == 0)
		leave_cache(save);
	save->result = r;
}

static void on_done(void *data)
{
	struct lsc_save *save = data;

	save->fn(save->data, save->result, &save->err);
}

static int lease(struct lsc_save *save, struct lsc_err *err)
{
	uint32_t n = save->holding->image.n_blocks;

	save->leases = malloc((n + 1) * sizeof(*save->leases));
	if (!save->leases)
		return lsc_err_set(err, ENOMEM, "no memory to save '%s'", save->name);
	for (uint32_t i = 0; i < n; i++)
		save->leases[i] = -1;
	for (uint32_t i = 0; i < n; i++) {
		save->leases[i] = lsc_cell_lend(save->holding->cells[i], err);
		if (save->leases[i] < 0)
			return save->leases[i];
	}
	return 0;
}

int lsc_save_start(struct lsc_save **ret_save, struct lsc_loop *loop, const char *dir,
		   const struct lsc_holding *holding,
		   void (*fn)(void *data, int result, const struct lsc_err *err), void *data,
		   struct lsc_err *err)
{
	struct lsc_save *save = calloc(1, sizeof(*save));
	int r;

	if (!save)
		return lsc_err_set(err, ENOMEM, "no memory to save '%s'", holding->name);
	*save = (struct lsc_save){.dir = dir, .holding = holding, .fn = fn, .data = data};
	strcpy(save->name, holding->name);
	r = lease(save, err);
	if (r == 0)
		r = lsc_task_start(&save->task, loop, work, on_done, save, err);
	if (r < 0) {
		lsc_save_stop(save);
		return r;
	}
	*ret_save = save;
	return 0;
}

void lsc_save_stop(struct lsc_save *save)
{
	if (!save)
		return;
	atomic_store(&save->stop, true);
	lsc_task_stop(save->task);
	for (uint32_t i = 0; save->leases && i < save->holding->image.n_blocks; i++)
		if (save->leases[i] >= 0)
			close(save->leases[i]);
	free(save->leases);
	free(save);
}
