/* room - who has room for keys and values
 *
 * A newcomer is let in only if its whole prompt fits beside what the prompts of others still need,
 * and a page a layer for each of these to go on with: whoever was let in a moment ago should not
 * have to give way at once.
 */
#include "stage/room.h"

#include "base/macros.h"
#include "exec/kv.h"
#include "stage/batch.h"
#include "stage/pace.h"

/* Layers of a run of units, counted from 0: *ret_first .. *ret_end - 1. */
static void layers_of(const struct lsc_guest *guest, uint32_t first, uint32_t last,
		      uint32_t *ret_first, uint32_t *ret_end)
{
	const struct lsc_model_config *config = &guest->image->image.config;
	uint32_t each = lsc_model_layer_units(config);

	*ret_first = first ? (first - 1) / each : 0;
	*ret_end = LSC_MAX(LSC_MIN(last / each, config->layers), *ret_first);
}

static bool holds_any(struct lsc_kv *kv, const struct lsc_guest *guest)
{
	const struct lsc_kv_request *request = lsc_kv_find(kv, &guest->key);

	return request && request->pages;
}

/* Whether what is here reaches a position: else the engine says so, and nothing is needed. */
static bool reaches(struct lsc_kv *kv, const struct lsc_guest *guest, uint32_t first, uint32_t end,
		    uint32_t pos)
{
	const struct lsc_model_config *config = &guest->image->image.config;
	const struct lsc_kv_request *request = lsc_kv_find(kv, &guest->key);

	for (uint32_t layer = first; pos && layer < end; layer++)
		if (!request ||
		    !lsc_kv_reaches(request, layer, pos, lsc_model_sees_from(config, layer, pos)))
			return false;
	return true;
}

/* Pages that a layer of one request has at once, at most, on the way to so many positions: of a
 * window what it sees, and what a step adds before the rest is given back. */
static uint64_t pages_for(const struct lsc_model_config *config, uint32_t layer, uint32_t upto)
{
	uint64_t pages = lsc_div_up(upto, LSC_PAGE_POSITIONS);

	if (!config->window || layer < config->window_first)
		return pages;
	return LSC_MIN(
		pages,
		lsc_div_up((uint64_t)config->window + LSC_PACE_MAX_ROWS, LSC_PAGE_POSITIONS) + 3);
}

/* Pages that a guest still lacks for so many positions. */
static uint64_t lacks(struct lsc_kv *kv, const struct lsc_guest *guest, uint32_t first,
		      uint32_t end, uint32_t upto)
{
	const struct lsc_kv_request *request = lsc_kv_find(kv, &guest->key);
	uint64_t pages = 0;

	for (uint32_t layer = first; layer < end; layer++) {
		uint64_t want = pages_for(&guest->image->image.config, layer, upto);
		uint64_t has = 0;

		if (request)
			has = request->layers[layer].n_pages - request->layers[layer].first;
		pages += want > has ? want - has : 0;
	}
	return pages;
}

/* The youngest that has pages and is younger than this one, or NULL. */
static struct lsc_guest *find_younger(const struct lsc_roster *roster, struct lsc_kv *kv,
				      const struct lsc_guest *guest)
{
	struct lsc_guest *found = NULL, *other = NULL;

	while ((other = lsc_roster_next(roster, other)))
		if (other->image == guest->image && other != guest &&
		    lsc_guest_is_older(guest, other) &&
		    (!found || lsc_guest_is_older(found, other)) && holds_any(kv, other))
			found = other;
	return found;
}

/* What others that are here will soon want. */
static uint64_t spoken_for(const struct lsc_roster *roster, struct lsc_kv *kv,
			   const struct lsc_guest *guest)
{
	const struct lsc_guest *other = NULL;
	uint32_t first, end;
	uint64_t pages = 0;

	while ((other = lsc_roster_next(roster, other))) {
		if (other == guest || other->image != guest->image || !holds_any(kv, other))
			continue;
		layers_of(other, other->first, other->last, &first, &end);
		pages += lacks(kv, other, first, end, other->reach) + end - first;
	}
	return pages;
}

static uint64_t needs(const struct lsc_roster *roster, struct lsc_kv *kv,
		      const struct lsc_guest *guest, uint32_t first, uint32_t end, uint32_t upto,
		      bool is_new)
{
	uint64_t pages;

	if (!is_new)
		return lsc_kv_missing(kv, &guest->key, first, end, upto);
	pages = lacks(kv, guest, first, end, upto);
	return pages ? pages + spoken_for(roster, kv, guest) : 0;
}

int lsc_room_make(const struct lsc_roster *roster, const struct lsc_guest *guest,
		  const struct lsc_job *job, uint32_t rows, uint64_t *taken,
		  void (*evict)(void *data, struct lsc_guest *guest), void *data,
		  struct lsc_err *err)
{
	const struct lsc_frame_stage *stage = lsc_job_stage(job);
	struct lsc_kv *kv = lsc_engine_kv(guest->image->engine);
	uint32_t at = job->run.pos + job->n_done, upto = at + rows, first, end;
	bool is_new = at == 0;
	struct lsc_guest *younger;
	uint64_t all = 0;

	layers_of(guest, stage->first, stage->last, &first, &end);
	if (first == end || !reaches(kv, guest, first, end, at))
		return 0;
	if (is_new)
		upto = LSC_MAX(upto, guest->reach);
	for (uint32_t layer = first; layer < end; layer++)
		all += pages_for(&guest->image->image.config, layer, upto);
	if (all > kv->limit_pages)
		return lsc_err_set(err, EFBIG,
				   "the KV of %u positions takes %llu bytes, and there are %llu",
				   upto, (unsigned long long)(all * kv->page_bytes),
				   (unsigned long long)(kv->limit_pages * kv->page_bytes));
	while (needs(roster, kv, guest, first, end, upto, is_new) + *taken > lsc_kv_room(kv)) {
		younger = find_younger(roster, kv, guest);
		if (!younger)
			return lsc_err_set(err, ENOSPC, "no room for the KV of position %u", at);
		evict(data, younger);
	}
	*taken += lsc_kv_missing(kv, &guest->key, first, end, at + rows);
	return 0;
}
