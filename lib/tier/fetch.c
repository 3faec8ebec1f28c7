/* fetch - maps cells side by side, and has a load fill them */
#include "tier/fetch.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

struct lsc_fetch {
	struct lsc_holding *holding;
	struct lsc_load *load;
	struct lsc_claims *claims;
	struct lsc_load_events events;
	struct lsc_image file; /* what is on disk */
	uint8_t *data;         /* the image's range; cells that are not whole can be written */
	int end_fd;            /* an eventfd */
	struct lsc_watch *watch;
	void (*fn)(void *data, struct lsc_holding *holding, int result, const struct lsc_err *err);
	void *fn_data;

	/* the load's thread's, until the end */
	int result;
	struct lsc_err err;
};

/* --- from the load's thread --- */

static void on_failed(void *data, uint32_t block, uint32_t piece, const struct lsc_err *err)
{
	struct lsc_fetch *fetch = data;

	(void)piece;
	if (fetch->result < 0)
		return;
	fetch->err = *err;
	fetch->result = lsc_err_prefix(&fetch->err, "block %u: ", block);
}

static void on_end(void *data)
{
	struct lsc_fetch *fetch = data;

	eventfd_write(fetch->end_fd, 1);
}

/* --- from the loop --- */

static void on_event(void *data, uint32_t events)
{
	struct lsc_fetch *fetch = data;
	eventfd_t ends;

	(void)events;
	if (eventfd_read(fetch->end_fd, &ends) == 0)
		fetch->fn(fetch->fn_data, fetch->holding, fetch->result, &fetch->err);
}

static int map_cells(struct lsc_fetch *fetch, struct lsc_err *err)
{
	const struct lsc_holding *holding = fetch->holding;
	int r = lsc_runs_reserve(holding->image.bytes, &fetch->data);

	for (uint32_t i = 0; r == 0 && i < holding->image.n_blocks; i++) {
		const struct lsc_block *block = &holding->image.blocks[i];
		struct lsc_run run = {block->offset, block->bytes, holding->cells[i]->fd, 0};

		r = lsc_runs_put(fetch->data, &run,
				 holding->cells[i]->whole ? PROT_READ : PROT_READ | PROT_WRITE);
	}
	if (r < 0)
		return lsc_err_set(err, -r, "cannot map '%s': %m", holding->name);
	/* Where the kernel makes large pages of memory like this, if it is asked to. */
	madvise(fetch->data, holding->image.bytes, MADV_HUGEPAGE);
	return 0;
}

static int open_file(struct lsc_fetch *fetch, const char *dir, struct lsc_err *err)
{
	const struct lsc_holding *holding = fetch->holding;
	char path[PATH_MAX];
	int r;

	if (snprintf(path, sizeof(path), "%s/%s", dir, holding->name) >= PATH_MAX)
		return lsc_err_set(err, ENAMETOOLONG, "'%s/%s': %m", dir, holding->name);
	r = lsc_image_open(&fetch->file, path, err);
	if (r == 0 && !lsc_hash_equal(&fetch->file.id, &holding->image.id))
		r = lsc_err_set(err, ESTALE, "'%s' on disk is another image by now", holding->name);
	return r;
}

static int start_load(struct lsc_fetch *fetch, double rate, struct lsc_err *err)
{
	struct lsc_holding *holding = fetch->holding;
	struct lsc_load_options options = {
		.image = &holding->image,
		.data = fetch->data,
		.marks = holding->marks,
		.reader.rate = rate,
		/* A cast brings the first block first: so they meet in the middle. */
		.backwards = lsc_holding_is_filled(holding),
		.events = &fetch->events,
		.data_of_events = fetch,
	};
	uint32_t n_runs;
	int r = lsc_claims_open(&fetch->claims, holding->marks, holding->marks_fd, LSC_CLAIM_DISK,
				err);

	options.claims = fetch->claims;
	if (r == 0 && lsc_claims_blocks(fetch->claims) != holding->image.n_blocks)
		return lsc_err_set(err, EBADMSG, "arrivals of '%s' are damaged", holding->name);
	options.runs = lsc_image_runs(&fetch->file, &n_runs);
	options.n_runs = n_runs;
	return r < 0 ? r : lsc_load_start(&fetch->load, &options, err);
}

int lsc_fetch_start(struct lsc_fetch **ret_fetch, struct lsc_loop *loop, const char *dir,
		    struct lsc_holding *holding, double rate,
		    void (*fn)(void *data, struct lsc_holding *holding, int result,
			       const struct lsc_err *err),
		    void *data, struct lsc_err *err)
{
	struct lsc_fetch *fetch = calloc(1, sizeof(*fetch));
	int r;

	if (!fetch)
		return lsc_err_set(err, ENOMEM, "no memory to load '%s'", holding->name);
	*fetch = (struct lsc_fetch){.holding = holding, .fn = fn, .fn_data = data};
	fetch->events = (struct lsc_load_events){.on_failed = on_failed, .on_end = on_end};
	fetch->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = fetch->end_fd < 0 ? lsc_err_set(err, errno, "cannot make an eventfd: %m") : 0;
	if (r == 0)
		r = lsc_loop_watch(loop, fetch->end_fd, EPOLLIN, on_event, fetch, &fetch->watch,
				   err);
	if (r == 0)
		r = open_file(fetch, dir, err);
	if (r == 0)
		r = map_cells(fetch, err);
	if (r == 0)
		r = start_load(fetch, rate, err);
	if (r < 0) {
		lsc_fetch_stop(fetch);
		return r;
	}
	*ret_fetch = fetch;
	return 0;
}

void lsc_fetch_set_rate(struct lsc_fetch *fetch, double rate)
{
	lsc_load_set_rate(fetch->load, rate);
}

void lsc_fetch_progress(struct lsc_fetch *fetch, struct lsc_load_progress *ret)
{
	lsc_load_progress(fetch->load, ret);
}

void lsc_fetch_stop(struct lsc_fetch *fetch)
{
	if (!fetch)
		return;
	lsc_load_stop(fetch->load);
	lsc_claims_close(fetch->claims);
	lsc_watch_remove(fetch->watch);
	if (fetch->data)
		lsc_runs_unmap(fetch->data, fetch->holding->image.bytes);
	lsc_image_close(&fetch->file);
	if (fetch->end_fd >= 0)
		close(fetch->end_fd);
	free(fetch);
}
