/* room - asks the policy (plan/evict.h) what leaves host memory, and why the rest stays */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macros.h"
#include "mem/marks.h"
#include "tier/stock_own.h"

/* The stock as the policy sees it. */
struct picture {
	struct lsc_evict evict;
	struct lsc_evict_item *items;
	struct lsc_holding **holdings; /* by item; the last item may be one that is to come */
	struct lsc_evict_cell *cells;
	uint32_t *numbers; /* of all items' cells, one after another */
	uint32_t n_numbers;
};

static void picture_release(struct picture *picture)
{
	free(picture->items);
	free(picture->holdings);
	free(picture->cells);
	free(picture->numbers);
}

static int make_lists(struct picture *picture, const struct lsc_stock *stock,
		      const struct lsc_holding *coming)
{
	uint32_t items = 1, cells = 0, numbers = coming ? coming->image.n_blocks : 0;

	for (const struct lsc_holding *h = stock->holdings; h; h = h->next) {
		items++;
		numbers += h->cells ? h->image.n_blocks : 0;
	}
	for (struct lsc_cell *cell = stock->cells; cell; cell = cell->next)
		cell->number = cells++;
	picture->items = calloc(items, sizeof(*picture->items));
	picture->holdings = calloc(items, sizeof(struct lsc_holding *));
	picture->cells = calloc(cells + 1, sizeof(*picture->cells));
	picture->numbers = calloc(numbers + 1, sizeof(*picture->numbers));
	if (!picture->items || !picture->holdings || !picture->cells || !picture->numbers)
		return -ENOMEM;
	for (const struct lsc_cell *cell = stock->cells; cell; cell = cell->next)
		picture->cells[cell->number].bytes = cell->room;
	picture->evict.cells = picture->cells;
	picture->evict.n_cells = cells;
	picture->evict.items = picture->items;
	return 0;
}

static void add_number(struct picture *picture, struct lsc_evict_item *item, uint32_t number)
{
	picture->numbers[picture->n_numbers++] = number;
	item->n_cells++;
}

static void add_holding(struct picture *picture, const struct lsc_stock *stock,
			struct lsc_holding *h)
{
	struct lsc_evict_item *item = &picture->items[picture->evict.n_items];

	*item = (struct lsc_evict_item){
		.name = h->name,
		.cells = picture->numbers + picture->n_numbers,
		.bytes = h->image.bytes,
		.last_use_ns = h->used_ns,
		.kept_until_ns = h->keep_ns,
		.priority = h->priority,
		.leases = lsc_holding_is_lent(h),
		.pinned = h->pinned,
		.arriving = lsc_holding_is_filled(h) || h->fetch || h->save,
		.may_lose = !stock->o.disk_bytes || !h->whole,
	};
	item->also[LSC_TIER_DISK] = h->on_disk;
	for (uint32_t i = 0; i < h->image.n_blocks; i++)
		add_number(picture, item, h->cells[i]->number);
	picture->holdings[picture->evict.n_items++] = h;
}

/* Whole cells that it will share are not to be dropped for it. */
static void add_coming(struct picture *picture, struct lsc_stock *stock,
		       const struct lsc_holding *coming)
{
	struct lsc_evict_item *item = &picture->items[picture->evict.n_items++];

	*item = (struct lsc_evict_item){.name = coming->name,
					.cells = picture->numbers + picture->n_numbers,
					.arriving = true};
	for (uint32_t i = 0; i < coming->image.n_blocks; i++) {
		struct lsc_hash key = lsc_holding_block(coming, i);
		const struct lsc_cell *cell = lsc_stock_cell(stock, &key);

		if (cell)
			add_number(picture, item, cell->number);
	}
}

static uint64_t other_bytes(const struct lsc_stock *stock)
{
	uint64_t bytes = 0;

	for (const struct lsc_cell *cell = stock->leaving; cell; cell = cell->next)
		bytes += cell->room;
	for (const struct lsc_holding *h = stock->holdings; h; h = h->next)
		bytes += lsc_stock_tables(h);
	return bytes;
}

static int64_t wall_ns(uint64_t now_ns)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - (int64_t)now_ns;
}

static int draw(struct picture *picture, struct lsc_stock *stock, const struct lsc_holding *coming,
		struct lsc_err *err)
{
	uint64_t now = lsc_clock_ns();

	*picture = (struct picture){
		.evict = {.tier = LSC_TIER_HOST,
			  .capacity = stock->o.host_bytes,
			  .other_bytes = other_bytes(stock),
			  .now_ns = now,
			  .wall_ns = wall_ns(now)},
	};
	if (make_lists(picture, stock, coming) < 0)
		return lsc_err_set(err, ENOMEM, "no memory to make room");
	for (struct lsc_holding *h = stock->holdings; h; h = h->next)
		if (h->cells)
			add_holding(picture, stock, h);
	if (coming)
		add_coming(picture, stock, coming);
	return 0;
}

int lsc_stock_make_room(struct lsc_stock *stock, const struct lsc_holding *coming, uint64_t need,
			struct lsc_err *err)
{
	LSC_CLEANUP(picture_release) struct picture picture;
	LSC_CLEANUP_FREE struct lsc_evict_step *steps = NULL;
	int n = draw(&picture, stock, coming, err);

	if (n < 0)
		return n;
	steps = calloc(picture.evict.n_items + 1, sizeof(*steps));
	if (!steps)
		return lsc_err_set(err, ENOMEM, "no memory to make room");
	picture.evict.need = need;
	n = lsc_evict_decide(&picture.evict, steps, err);
	for (int i = 0; i < n; i++)
		lsc_stock_unload(stock, picture.holdings[steps[i].item], "for others");
	/* What is the only copy now is not in a moment. */
	if (n == -ENOSPC && stock->saving)
		return -EAGAIN;
	return n < 0 ? n : 0;
}

void lsc_stock_explain(struct lsc_stock *stock, const struct lsc_holding *holding, char *ret_text,
		       size_t room)
{
	LSC_CLEANUP(picture_release) struct picture picture;
	uint32_t i = 0;

	ret_text[0] = 0;
	if (draw(&picture, stock, NULL, NULL) < 0)
		return;
	while (i < picture.evict.n_items && picture.holdings[i] != holding)
		i++;
	if (i < picture.evict.n_items)
		lsc_evict_explain(&picture.evict, i, ret_text, room);
}
