/* chore - looks at the directory (tier/disk.h) and does one thing to it */
#include "tier/chore.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "mem/segment.h"
#include "net/task.h"
#include "tier/disk.h"

struct lsc_chore {
	struct lsc_task *task;
	const char *dir;
	enum lsc_chore_kind kind;
	char name[LSC_SEGMENT_NAME];
	lsc_chore_fn *fn;
	void *data;
	struct lsc_chore_result result;
};

static int do_it(struct lsc_chore *chore, struct lsc_disk *disk, struct lsc_err *err)
{
	uint64_t used = disk->used;
	int r;

	switch (chore->kind) {
	case LSC_CHORE_REMOVE:
		r = lsc_disk_remove(disk, chore->name, err);
		chore->result.freed = used - (disk->used < used ? disk->used : used);
		return r;
	case LSC_CHORE_SHARE:
		return lsc_disk_share(disk, &chore->result.freed, err);
	default:
		return lsc_disk_gc(disk, chore->kind == LSC_CHORE_GC_PARTS, &chore->result.freed,
				   err);
	}
}

static void work(void *data)
{
	struct lsc_chore *chore = data;
	LSC_CLEANUP(lsc_disk_close) struct lsc_disk disk = LSC_DISK_INIT;
	int r = lsc_disk_open(&disk, chore->dir, &chore->result.err);

	if (r == 0)
		r = do_it(chore, &disk, &chore->result.err);
	chore->result.result = r;
	chore->result.used = disk.used;
}

static void on_done(void *data)
{
	struct lsc_chore *chore = data;

	chore->fn(chore->data, &chore->result);
}

int lsc_chore_start(struct lsc_chore **ret_chore, struct lsc_loop *loop, const char *dir,
		    enum lsc_chore_kind kind, const char *name, lsc_chore_fn *fn, void *data,
		    struct lsc_err *err)
{
	struct lsc_chore *chore = calloc(1, sizeof(*chore));
	int r;

	if (!chore)
		return lsc_err_set(err, ENOMEM, "no memory to look at '%s'", dir);
	*chore = (struct lsc_chore){.dir = dir, .kind = kind, .fn = fn, .data = data};
	snprintf(chore->name, sizeof(chore->name), "%s", name ? name : "");
	r = lsc_task_start(&chore->task, loop, work, on_done, chore, err);
	if (r < 0) {
		free(chore);
		return r;
	}
	*ret_chore = chore;
	return 0;
}

void lsc_chore_stop(struct lsc_chore *chore)
{
	if (!chore)
		return;
	lsc_task_stop(chore->task);
	free(chore);
}
