/* save - maps cells side by side, and has the directory write them (tier/disk.h) */
#include "tier/save.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/runs.h"
#include "net/task.h"
#include "tier/disk.h"

struct lsc_save {
	struct lsc_task *task;
	const char *dir;
	char name[LSC_SEGMENT_NAME];
	const struct lsc_holding *holding; /* its tables, which stay while it is leased */
	int *leases;                       /* by block; -1 */
	lsc_save_fn *fn;
	void *data;
	uint64_t limit;
	atomic_bool stop;
	int result;
	uint64_t used;
	struct lsc_err err;
};

/* The image's range, of leases. */
static int map_leases(const struct lsc_save *save, uint8_t **ret_data, struct lsc_err *err)
{
	const struct lsc_image *image = &save->holding->image;
	int r = lsc_runs_reserve(image->bytes, ret_data);

	for (uint32_t i = 0; r == 0 && i < image->n_blocks; i++) {
		struct lsc_run run = {image->blocks[i].offset, image->blocks[i].bytes,
				      save->leases[i], 0};

		r = lsc_runs_put(*ret_data, &run, PROT_READ);
	}
	return r < 0 ? lsc_err_set(err, -r, "cannot map '%s': %m", save->name) : 0;
}

static void work(void *data)
{
	struct lsc_save *save = data;
	const struct lsc_image *image = &save->holding->image;
	LSC_CLEANUP(lsc_disk_close) struct lsc_disk disk = LSC_DISK_INIT;
	uint8_t *bytes = NULL;
	int r = lsc_disk_open(&disk, save->dir, &save->err);

	disk.stop = &save->stop;
	if (r == 0)
		r = map_leases(save, &bytes, &save->err);
	if (r == 0)
		r = lsc_disk_write(&disk, save->name, image->manifest, image->manifest_len, bytes,
				   save->limit, &save->err);
	lsc_runs_unmap(bytes, image->bytes);
	save->result = r;
	save->used = disk.used;
}

static void on_done(void *data)
{
	struct lsc_save *save = data;

	save->fn(save->data, save->result, save->used, &save->err);
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
		   const struct lsc_holding *holding, uint64_t limit, lsc_save_fn *fn, void *data,
		   struct lsc_err *err)
{
	struct lsc_save *save = calloc(1, sizeof(*save));
	int r;

	if (!save)
		return lsc_err_set(err, ENOMEM, "no memory to save '%s'", holding->name);
	*save = (struct lsc_save){
		.dir = dir, .holding = holding, .limit = limit, .fn = fn, .data = data};
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
