/* evict - the order in which images leave, and how many have to
 *
 * What a set of images frees grows with the set, whatever they share.  So the best set is found
 * from its most valuable image down: that is the first one in the order of leaving with which
 * there is room at last, since without it all those before it are not enough; each of the others
 * then stays if there is room without it.
 */
#include "plan/evict.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/amount.h"
#include "base/macros.h"

#define MAX_NAMED 4 /* images that an error names */

/* --- the order --- */

static int compare(const struct lsc_evict *evict, uint32_t a, uint32_t b)
{
	const struct lsc_evict_item *x = &evict->items[a], *y = &evict->items[b];
	bool x_kept = x->kept_until_ns > evict->now_ns, y_kept = y->kept_until_ns > evict->now_ns;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	if (x_kept != y_kept)
		return x_kept - y_kept;
	if (x->last_use_ns != y->last_use_ns)
		return x->last_use_ns < y->last_use_ns ? -1 : 1;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? -1 : 1;
	return a < b ? -1 : a > b;
}

static int compare_steps(const void *a, const void *b, void *evict)
{
	const struct lsc_evict_step *x = a, *y = b;

	return compare(evict, x->item, y->item);
}

/* --- what becomes of an image --- */

/* The nearest colder tier that has it or could; false where it would be lost. */
static bool find_place(const struct lsc_evict *evict, const struct lsc_evict_item *item,
		       enum lsc_evict_what *ret_what, enum lsc_tier *ret_to)
{
	*ret_what = LSC_EVICT_DROP;
	for (unsigned tier = evict->tier + 1; tier < LSC_TIERS; tier++) {
		*ret_to = tier;
		if (item->also[tier])
			return true;
		if (evict->below[tier]) {
			*ret_what = LSC_EVICT_DEMOTE;
			return true;
		}
	}
	/* What lies in memory alone is not kept by a copy there: it would not survive the night. */
	for (unsigned tier = 0; tier < evict->tier && evict->tier != LSC_TIER_DISK; tier++) {
		*ret_to = tier;
		if (item->also[tier])
			return true;
	}
	*ret_to = LSC_TIERS;
	return item->may_lose;
}

static enum lsc_evict_stays why_stays(const struct lsc_evict *evict, uint32_t i,
				      enum lsc_evict_what *ret_what, enum lsc_tier *ret_to)
{
	const struct lsc_evict_item *item = &evict->items[i];
	bool has_place = find_place(evict, item, ret_what, ret_to);

	if (item->pinned)
		return LSC_EVICT_PINNED;
	if (item->arriving)
		return LSC_EVICT_ARRIVING;
	if (!has_place)
		return LSC_EVICT_ONLY_COPY;
	return item->leases ? LSC_EVICT_LEASED : LSC_EVICT_GOES;
}

static bool goes(const struct lsc_evict *evict, uint32_t i)
{
	enum lsc_evict_what what;
	enum lsc_tier to;

	return why_stays(evict, i, &what, &to) == LSC_EVICT_GOES;
}

/* --- bytes --- */

/* Counts an image's cells; returns the bytes that nobody else had taken. */
static uint64_t take(struct lsc_evict *evict, uint32_t i)
{
	const struct lsc_evict_item *item = &evict->items[i];
	uint64_t bytes = item->n_cells ? 0 : item->bytes;

	for (uint32_t c = 0; c < item->n_cells; c++) {
		struct lsc_evict_cell *cell = &evict->cells[item->cells[c]];

		if (!cell->users++)
			bytes += cell->bytes;
	}
	return bytes;
}

static uint64_t release(struct lsc_evict *evict, uint32_t i)
{
	const struct lsc_evict_item *item = &evict->items[i];
	uint64_t bytes = item->n_cells ? 0 : item->bytes;

	for (uint32_t c = 0; c < item->n_cells; c++) {
		struct lsc_evict_cell *cell = &evict->cells[item->cells[c]];

		if (!--cell->users)
			bytes += cell->bytes;
	}
	return bytes;
}

static uint64_t take_all(struct lsc_evict *evict)
{
	uint64_t bytes = evict->other_bytes;

	for (uint32_t c = 0; c < evict->n_cells; c++)
		evict->cells[c].users = 0;
	for (uint32_t i = 0; i < evict->n_items; i++)
		bytes += take(evict, i);
	return bytes;
}

/* --- where there is no room --- */

/* The largest images that stay, largest first: returns how many stay in all. */
static uint32_t find_large(const struct lsc_evict *evict, uint32_t *ret_named)
{
	uint32_t stay = 0;

	for (uint32_t i = 0; i < evict->n_items; i++) {
		uint32_t at = LSC_MIN(stay, (uint32_t)MAX_NAMED);

		if (goes(evict, i))
			continue;
		stay++;
		for (; at > 0 && evict->items[i].bytes > evict->items[ret_named[at - 1]].bytes;
		     at--)
			if (at < MAX_NAMED)
				ret_named[at] = ret_named[at - 1];
		if (at < MAX_NAMED)
			ret_named[at] = i;
	}
	return stay;
}

static int say_item(const struct lsc_evict *evict, uint32_t i, char *text, size_t room)
{
	const struct lsc_evict_item *item = &evict->items[i];
	struct lsc_amount size = lsc_amount_bytes(item->bytes);
	enum lsc_evict_what what;
	enum lsc_tier to;

	switch (why_stays(evict, i, &what, &to)) {
	case LSC_EVICT_PINNED:
		return snprintf(text, room, " '%.64s' (%s) is pinned,", item->name, size.text);
	case LSC_EVICT_ARRIVING:
		return snprintf(text, room, " '%.64s' (%s) is arriving,", item->name, size.text);
	case LSC_EVICT_ONLY_COPY:
		return snprintf(text, room, " '%.64s' (%s) is the only copy,", item->name,
				size.text);
	default:
		return snprintf(text, room, " '%.64s' (%s) is used by %u %s,", item->name,
				size.text, item->leases,
				item->leases == 1 ? "process" : "processes");
	}
}

static int no_room(const struct lsc_evict *evict, uint64_t least, struct lsc_err *err)
{
	uint64_t most = evict->capacity > least ? evict->capacity - least : 0;
	uint32_t named[MAX_NAMED], stay = find_large(evict, named);
	char text[2 * LSC_ERR_TEXT] = "";
	int len = 0;

	for (uint32_t k = 0; k < LSC_MIN(stay, (uint32_t)MAX_NAMED); k++)
		len += say_item(evict, named[k], text + len, sizeof(text) - (size_t)len);
	if (stay > MAX_NAMED)
		snprintf(text + len, sizeof(text) - (size_t)len, " and %u more", stay - MAX_NAMED);
	else if (len)
		text[len - 1] = '\0';
	return lsc_err_set(err, ENOSPC, "%s: no room for %s: %s can be free%s%s",
			   lsc_tier_words(evict->tier), lsc_amount_bytes(evict->need).text,
			   lsc_amount_bytes(most).text, stay ? ", as" : "", text);
}

/* --- the decision --- */

static uint32_t list_those_that_go(struct lsc_evict *evict, struct lsc_evict_step *steps)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < evict->n_items; i++) {
		struct lsc_evict_step *step = &steps[n];

		step->item = i;
		if (why_stays(evict, i, &step->what, &step->to) == LSC_EVICT_GOES)
			n++;
	}
	qsort_r(steps, n, sizeof(*steps), compare_steps, evict);
	return n;
}

/* Of the first n, which make room together, those without which they would not: their number. */
static uint32_t spare(struct lsc_evict *evict, struct lsc_evict_step *steps, uint32_t n,
		      uint64_t used, uint64_t most)
{
	uint32_t left = n;

	for (uint32_t k = n; k-- > 0;) {
		uint64_t more = take(evict, steps[k].item);

		if (used + more <= most) {
			used += more;
			continue;
		}
		release(evict, steps[k].item);
		steps[--left] = steps[k];
	}
	for (uint32_t k = left; k < n; k++)
		take(evict, steps[k].item);
	for (uint32_t k = left; k < n; k++) {
		steps[k - left] = steps[k];
		steps[k - left].bytes = release(evict, steps[k].item);
	}
	return n - left;
}

int lsc_evict_decide(struct lsc_evict *evict, struct lsc_evict_step *steps, struct lsc_err *err)
{
	uint64_t used = take_all(evict), most;
	uint32_t n, go = list_those_that_go(evict, steps);

	if (evict->need > evict->capacity)
		return lsc_err_set(err, ENOSPC, "%s: no room for %s: it has %s in all",
				   lsc_tier_words(evict->tier), lsc_amount_bytes(evict->need).text,
				   lsc_amount_bytes(evict->capacity).text);
	most = evict->capacity - evict->need;
	for (n = 0; n < go && used > most; n++)
		used -= release(evict, steps[n].item);
	if (used > most)
		return no_room(evict, used, err);
	return (int)spare(evict, steps, n, used, most);
}

/* --- a turn --- */

struct lsc_evict_turn lsc_evict_foresee(struct lsc_evict *evict, uint32_t item)
{
	struct lsc_evict_turn turn = {0};
	uint64_t used = take_all(evict);

	turn.stays = why_stays(evict, item, &turn.what, &turn.to);
	for (uint32_t i = 0; i < evict->n_items; i++) {
		if (i == item || !goes(evict, i) || compare(evict, i, item) > 0)
			continue;
		if (!turn.before++ || compare(evict, i, turn.after) > 0)
			turn.after = i;
		used -= release(evict, i);
	}
	turn.overdue = used > evict->capacity;
	turn.beyond = turn.overdue ? 0 : evict->capacity - used;
	turn.frees = release(evict, item);
	return turn;
}
