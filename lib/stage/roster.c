/* roster - the requests that have something at a stage */
#include "stage/roster.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"

#define FIRST_PAST 256 /* tokens more than are there */

static struct lsc_request_key key_of(const struct lsc_client_id *client, uint64_t request)
{
	struct lsc_request_key key = {.request = request};

	memcpy(key.client, client->bytes, sizeof(key.client));
	return key;
}

static struct lsc_guest *guest_of(struct lsc_request_entry *entry)
{
	return entry ? LSC_CONTAINER_OF(entry, struct lsc_guest, entry) : NULL;
}

struct lsc_guest *lsc_roster_find(const struct lsc_roster *roster,
				  const struct lsc_client_id *client, uint64_t request)
{
	struct lsc_request_key key = key_of(client, request);

	return guest_of(lsc_request_table_find(&roster->guests, &key));
}

static uint64_t since_of(const struct lsc_run_frame *run)
{
	return run->since ? run->since : (uint64_t)(lsc_clock_wall_s() * 1e6);
}

static struct lsc_guest *add(struct lsc_roster *roster, const struct lsc_run_frame *run)
{
	struct lsc_guest *guest;

	if (roster->guests.n >= LSC_ROSTER_MAX)
		return NULL;
	guest = calloc(1, sizeof(*guest));
	if (!guest)
		return NULL;
	guest->entry.key = key_of(&run->client, run->request);
	guest->since = since_of(run);
	if (lsc_request_table_add(&roster->guests, &guest->entry) < 0) {
		free(guest);
		return NULL;
	}
	return guest;
}

int lsc_roster_take(struct lsc_roster *roster, const struct lsc_run_frame *run,
		    struct lsc_guest **ret_guest, struct lsc_err *err)
{
	struct lsc_guest *guest = lsc_roster_find(roster, &run->client, run->request);

	if (guest && guest->rests) {
		guest->rests = false;
		guest->since = since_of(run);
		roster->n_resting--;
	}
	if (!guest)
		guest = add(roster, run);
	if (!guest)
		return lsc_err_set(err, ENOBUFS, "no room for another request beside %u",
				   roster->guests.n);
	*ret_guest = guest;
	return 0;
}

void lsc_guest_follow(struct lsc_guest *guest, const struct lsc_run_frame *run)
{
	const struct lsc_frame_stage *stage = &run->route[run->stage];

	guest->first = stage->first;
	guest->last = stage->last;
	guest->pos = run->pos;
	guest->reach = LSC_MAX(run->reach, run->pos + run->n);
	guest->decodes = run->n == 1;
}

static void stop_awaiting(struct lsc_roster *roster, struct lsc_guest *guest)
{
	if (guest->awaited && guest->away_step == roster->step)
		roster->n_away--;
	guest->awaited = false;
}

/* Younger than all who do not rest, and older than those who began to before. */
bool lsc_roster_rest(struct lsc_roster *roster, struct lsc_guest *guest)
{
	if (!guest->image || guest->rests)
		return guest->rests;
	stop_awaiting(roster, guest);
	guest->rests = true;
	guest->since = UINT64_MAX - roster->rested++;
	guest->away_ns = guest->trip_ns = 0;
	guest->reach = 0;
	guest->decodes = false;
	roster->n_resting++;
	return true;
}

void lsc_roster_drop(struct lsc_roster *roster, struct lsc_guest *guest)
{
	stop_awaiting(roster, guest);
	roster->n_resting -= guest->rests;
	lsc_request_table_remove(&roster->guests, &guest->entry);
	free(guest->past);
	free(guest);
}

void lsc_roster_close(struct lsc_roster *roster, const struct lsc_store_image *image)
{
	struct lsc_guest *guest = NULL;

	while ((guest = lsc_roster_next(roster, guest)))
		if (guest->image == image)
			guest->image = NULL;
}

void lsc_roster_step(struct lsc_roster *roster)
{
	roster->step++;
	roster->n_away = 0;
}

void lsc_roster_leave(struct lsc_roster *roster, struct lsc_guest *guest, uint64_t now_ns)
{
	stop_awaiting(roster, guest);
	guest->away_ns = now_ns;
	guest->away_step = roster->step;
	guest->awaited = guest->trip_ns <= roster->soon_ns;
	roster->n_away += guest->awaited;
}

uint64_t lsc_roster_return(struct lsc_roster *roster, struct lsc_guest *guest, uint64_t came_ns)
{
	uint64_t left_ns = guest->away_ns;

	stop_awaiting(roster, guest);
	guest->away_ns = 0;
	if (!left_ns || came_ns <= left_ns)
		return 0;
	return guest->trip_ns = came_ns - left_ns;
}

void lsc_roster_release(struct lsc_roster *roster)
{
	struct lsc_guest *guest = lsc_roster_next(roster, NULL), *next;

	for (; guest; guest = next) {
		next = lsc_roster_next(roster, guest);
		lsc_roster_drop(roster, guest);
	}
	lsc_request_table_release(&roster->guests);
}

struct lsc_guest *lsc_roster_next(const struct lsc_roster *roster, const struct lsc_guest *guest)
{
	return guest_of(lsc_request_table_next(&roster->guests, guest ? &guest->entry : NULL));
}

bool lsc_guest_is_older(const struct lsc_guest *a, const struct lsc_guest *b)
{
	int order;

	if (a->since != b->since)
		return a->since < b->since;
	order = memcmp(a->entry.key.client, b->entry.key.client, sizeof(a->entry.key.client));
	return order ? order < 0 : a->entry.key.request < b->entry.key.request;
}

int lsc_guest_remember(struct lsc_guest *guest, const uint32_t *ids, uint32_t pos, uint32_t n)
{
	if (guest->n_past < pos)
		return -ESTALE;
	if (n > guest->past_cap - pos) {
		uint32_t cap =
			LSC_MAX(2 * guest->past_cap, LSC_MAX(guest->reach, pos + n) + FIRST_PAST);
		uint32_t *past = reallocarray(guest->past, cap, sizeof(*past));

		if (!past)
			return -ENOMEM;
		guest->past = past;
		guest->past_cap = cap;
	}
	memcpy(guest->past + pos, ids, n * sizeof(*ids));
	guest->n_past = pos + n;
	return 0;
}
