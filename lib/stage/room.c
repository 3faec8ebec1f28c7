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

static const struct lsc_model_config *config_of(const struct lsc_guest *guest)
{
	return &guest->image->image.config;
}

/* Pages that a guest holds. */
static uint64_t holds(struct lsc_kv *kv, const struct lsc_guest *guest)
{
	const struct lsc_kv_request *request = lsc_kv_find(kv, &guest->entry.key);

	return request ? request->pages : 0;
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
	const struct lsc_kv_request *request = lsc_kv_find(kv, &guest->entry.key);
	uint64_t pages = 0;

	for (uint32_t layer = first; layer < end; layer++) {
		uint64_t want = pages_for(config_of(guest), layer, upto);
		uint64_t has = 0;

		if (request)
			has = request->layers[layer].n_pages - request->layers[layer].first;
		pages += want > has ? want - has : 0;
	}
	return pages;
}

/* The youngest that has pages and is younger than this one, or NULL; *ret_pages: what all such
 * have. */
static struct lsc_guest *find_younger(const struct lsc_roster *roster, struct lsc_kv *kv,
				      const struct lsc_guest *guest, uint64_t *ret_pages)
{
	struct lsc_guest *found = NULL, *other = NULL;

	*ret_pages = 0;
	while ((other = lsc_roster_next(roster, other))) {
		uint64_t pages;

		if (other == guest || other->image != guest->image ||
		    !lsc_guest_is_older(guest, other))
			continue;
		pages = holds(kv, other);
		*ret_pages += pages;
		if (pages && (!found || lsc_guest_is_older(found, other)))
			found = other;
	}
	return found;
}

/* What others that are here will soon want; of older ones alone. */
static uint64_t spoken_for(const struct lsc_roster *roster, struct lsc_kv *kv,
			   const struct lsc_guest *guest, bool older)
{
	const struct lsc_guest *other = NULL;
	uint32_t first, end;
	uint64_t pages = 0;

	while ((other = lsc_roster_next(roster, other))) {
		if (other == guest || other->rests || other->image != guest->image ||
		    !holds(kv, other) || (older && !lsc_guest_is_older(other, guest)))
			continue;
		lsc_model_layers(config_of(other), other->first, other->last, &first, &end);
		pages += lacks(kv, other, first, end, other->reach) + end - first;
	}
	return pages;
}

/* Makes room for pages; a newcomer's beside what others want.  Nobody gives way in vain. */
static int make_way(const struct lsc_roster *roster, struct lsc_kv *kv,
		    const struct lsc_guest *guest, bool is_new, uint64_t pages,
		    void (*evict)(void *data, struct lsc_guest *guest), void *data)
{
	uint64_t wanted = pages + (is_new ? spoken_for(roster, kv, guest, false) : 0), held;
	struct lsc_guest *younger;

	if (wanted <= lsc_kv_room(kv))
		return 0;
	find_younger(roster, kv, guest, &held);
	wanted = pages + (is_new ? spoken_for(roster, kv, guest, true) : 0);
	if (wanted > lsc_kv_room(kv) + held)
		return -ENOSPC;
	do {
		younger = find_younger(roster, kv, guest, &held);
		if (!younger)
			return -ENOSPC;
		evict(data, younger);
		wanted = pages + (is_new ? spoken_for(roster, kv, guest, false) : 0);
	} while (wanted > lsc_kv_room(kv));
	return 0;
}

static int check_fit(const struct lsc_kv *kv, const struct lsc_guest *guest, uint32_t first,
		     uint32_t end, uint32_t upto, struct lsc_err *err)
{
	uint64_t all = 0;

	for (uint32_t layer = first; layer < end; layer++)
		all += pages_for(config_of(guest), layer, upto);
	if (all <= kv->limit_pages)
		return 0;
	return lsc_err_set(err, EFBIG,
			   "the KV of %u positions takes %llu bytes, and there are %llu", upto,
			   (unsigned long long)(all * kv->page_bytes),
			   (unsigned long long)(kv->limit_pages * kv->page_bytes));
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
	uint64_t missing, pages;
	int r;

	lsc_model_layers(config_of(guest), stage->first, stage->last, &first, &end);
	missing = lsc_kv_missing(kv, &guest->entry.key, first, end, at, rows);
	if (missing == 0 && !is_new) /* as for most tokens */
		return 0;
	/* Where what is here does not reach, the engine says so, and nothing is needed. */
	if (first == end ||
	    !lsc_kv_reaches(lsc_kv_find(kv, &guest->entry.key), config_of(guest), first, end, at))
		return 0;
	if (is_new)
		upto = LSC_MAX(upto, guest->reach);
	r = check_fit(kv, guest, first, end, upto, err);
	if (r < 0)
		return r;
	pages = is_new ? lacks(kv, guest, first, end, upto) : missing;
	if (pages && make_way(roster, kv, guest, is_new, pages + *taken, evict, data) < 0)
		return lsc_err_set(err, ENOSPC, "no room for the KV of position %u", at);
	*taken += missing;
	return 0;
}
