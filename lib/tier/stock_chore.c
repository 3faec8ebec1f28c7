/* stock_chore - removes images, cleans the directory, and has blocks shared when it has changed */
#include <string.h>

#include "base/log.h"
#include "tier/stock_own.h"

static void on_done(void *data, const struct lsc_chore_result *done)
{
	struct lsc_stock *stock = data;
	struct lsc_chore_result result = *done; /* what it came in goes */
	struct lsc_err err = LSC_ERR_INIT;
	lsc_chore_fn *fn = stock->chore_fn;

	lsc_chore_stop(stock->chore);
	stock->chore = NULL;
	stock->chore_fn = NULL;
	if (result.result == 0)
		stock->disk_used = result.used;
	else
		lsc_info("%s", result.err.text);
	if (lsc_stock_scan(stock, &err) < 0)
		lsc_warning("%s", err.text);
	if (fn)
		fn(stock->chore_data, &result);
	lsc_stock_save(stock);
	lsc_stock_share(stock);
}

static int start(struct lsc_stock *stock, enum lsc_chore_kind kind, const char *name,
		 lsc_chore_fn *fn, void *data, struct lsc_err *err)
{
	int r;

	if (stock->chore || stock->saving)
		return -EAGAIN;
	r = lsc_chore_start(&stock->chore, stock->loop, stock->o.dir, kind, name, on_done, stock,
			    err);
	if (r < 0)
		return r;
	stock->chore_fn = fn;
	stock->chore_data = data;
	return 0;
}

void lsc_stock_leave_chore(struct lsc_stock *stock)
{
	stock->chore_fn = NULL;
}

int lsc_stock_clean(struct lsc_stock *stock, enum lsc_chore_kind kind, lsc_chore_fn *fn, void *data,
		    struct lsc_err *err)
{
	return start(stock, kind, NULL, fn, data, err);
}

int lsc_stock_remove(struct lsc_stock *stock, struct lsc_holding *holding, lsc_chore_fn *fn,
		     void *data, struct lsc_err *err)
{
	char name[LSC_SEGMENT_NAME];
	bool on_disk = holding->on_disk;
	int r = holding->cells ? lsc_stock_may_leave(holding, err) : 0;

	if (r == 0 && holding->pinned)
		r = lsc_err_set(err, EBUSY, "'%s' is pinned", holding->name);
	if (r < 0)
		return r;
	strcpy(name, holding->name);
	if (on_disk)
		r = start(stock, LSC_CHORE_REMOVE, name, fn, data, err);
	if (r < 0)
		return r;
	if (holding->cells)
		lsc_stock_unload(stock, holding, "it is removed");
	if (!on_disk)
		fn(data, &(struct lsc_chore_result){.used = stock->disk_used});
	return 0;
}

/* Blocks that the images on disk have in common; a look at names is enough to know whether there
 * are any. */
static bool has_common_blocks(const struct lsc_stock *stock)
{
	for (const struct lsc_holding *a = stock->holdings; a; a = a->next)
		for (const struct lsc_holding *b = a->next; a->on_disk && b; b = b->next)
			for (uint32_t i = 0; b->on_disk && i < a->image.n_blocks; i++) {
				struct lsc_hash key = lsc_holding_block(a, i), other;

				if (i >= b->image.n_blocks)
					break;
				other = lsc_holding_block(b, i);
				if (lsc_hash_equal(&key, &other))
					return true;
			}
	return false;
}

void lsc_stock_share(struct lsc_stock *stock)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (!stock->share || stock->chore || stock->saving || !stock->o.disk_bytes)
		return;
	stock->share = false;
	if (has_common_blocks(stock) && start(stock, LSC_CHORE_SHARE, NULL, NULL, NULL, &err) < 0)
		lsc_warning("%s", err.text);
}
