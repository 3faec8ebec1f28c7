/* roster - the requests that have something at a stage: a hash table by their keys */
#include "stage/roster.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"

#define FIRST_BUCKETS 256
#define FIRST_PAST    256 /* tokens more than are there */

static struct lsc_request_key key_of(const struct lsc_client_id *client, uint64_t request)
{
	struct lsc_request_key key = {.request = request};

	memcpy(key.client, client->bytes, sizeof(key.client));
	return key;
}

static bool same_key(const struct lsc_request_key *a, const struct lsc_request_key *b)
{
	return a->request == b->request && !memcmp(a->client, b->client, sizeof(a->client));
}

static struct lsc_guest **bucket_of(const struct lsc_roster *roster,
				    const struct lsc_request_key *key)
{
	uint64_t h;

	memcpy(&h, key->client, sizeof(h));
	h = (h ^ key->request) * 0x9e3779b97f4a7c15u;
	return &roster->buckets[(uint32_t)(h >> 32) & (roster->n_buckets - 1)];
}

struct lsc_guest *lsc_roster_find(const struct lsc_roster *roster,
				  const struct lsc_client_id *client, uint64_t request)
{
	struct lsc_request_key key = key_of(client, request);
	struct lsc_guest *guest = roster->buckets ? *bucket_of(roster, &key) : NULL;

	while (guest && !same_key(&guest->key, &key))
		guest = guest->next;
	return guest;
}

/* Twice the buckets; without memory for them the chains grow longer. */
static void grow(struct lsc_roster *roster)
{
	struct lsc_roster larger = {.n_buckets = LSC_MAX(2 * roster->n_buckets, FIRST_BUCKETS),
				    .n = roster->n};
	struct lsc_guest *guest, *next;

	larger.buckets = calloc(larger.n_buckets, sizeof(*larger.buckets));
	if (!larger.buckets)
		return;
	for (uint32_t i = 0; i < roster->n_buckets; i++)
		for (guest = roster->buckets[i]; guest; guest = next) {
			struct lsc_guest **bucket = bucket_of(&larger, &guest->key);

			next = guest->next;
			guest->next = *bucket;
			*bucket = guest;
		}
	free(roster->buckets);
	*roster = larger;
}

static struct lsc_guest *add(struct lsc_roster *roster, const struct lsc_run_frame *run)
{
	struct lsc_guest *guest, **bucket;

	if (roster->n >= roster->n_buckets)
		grow(roster);
	if (roster->n >= LSC_ROSTER_MAX || !roster->buckets)
		return NULL;
	guest = calloc(1, sizeof(*guest));
	if (!guest)
		return NULL;
	guest->key = key_of(&run->client, run->request);
	guest->since = run->since ? run->since : (uint64_t)(lsc_clock_wall_s() * 1e6);
	bucket = bucket_of(roster, &guest->key);
	guest->next = *bucket;
	*bucket = guest;
	roster->n++;
	return guest;
}

int lsc_roster_take(struct lsc_roster *roster, const struct lsc_run_frame *run,
		    struct lsc_guest **ret_guest, struct lsc_err *err)
{
	struct lsc_guest *guest = lsc_roster_find(roster, &run->client, run->request);

	if (!guest)
		guest = add(roster, run);
	if (!guest)
		return lsc_err_set(err, ENOBUFS, "no room for another request beside %u",
				   roster->n);
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

/* Unlinks and frees the one that *at points to. */
static void drop_at(struct lsc_roster *roster, struct lsc_guest **at)
{
	struct lsc_guest *guest = *at;

	*at = guest->next;
	roster->n--;
	free(guest->past);
	free(guest);
}

void lsc_roster_drop(struct lsc_roster *roster, struct lsc_guest *guest)
{
	struct lsc_guest **at = bucket_of(roster, &guest->key);

	while (*at != guest)
		at = &(*at)->next;
	drop_at(roster, at);
}

void lsc_roster_leave(struct lsc_roster *roster, const struct lsc_store_image *image)
{
	struct lsc_guest *guest = NULL;

	while ((guest = lsc_roster_next(roster, guest)))
		if (guest->image == image)
			guest->image = NULL;
}

void lsc_roster_release(struct lsc_roster *roster)
{
	for (uint32_t i = 0; i < roster->n_buckets; i++)
		while (roster->buckets[i])
			drop_at(roster, &roster->buckets[i]);
	free(roster->buckets);
	*roster = (struct lsc_roster)LSC_ROSTER_INIT;
}

struct lsc_guest *lsc_roster_next(const struct lsc_roster *roster, const struct lsc_guest *guest)
{
	uint32_t i = 0;

	if (guest && guest->next)
		return guest->next;
	if (guest)
		i = (uint32_t)(bucket_of(roster, &guest->key) - roster->buckets) + 1;
	while (i < roster->n_buckets && !roster->buckets[i])
		i++;
	return i < roster->n_buckets ? roster->buckets[i] : NULL;
}

bool lsc_guest_is_older(const struct lsc_guest *a, const struct lsc_guest *b)
{
	int order;

	if (a->since != b->since)
		return a->since < b->since;
	order = memcmp(a->key.client, b->key.client, sizeof(a->key.client));
	return order ? order < 0 : a->key.request < b->key.request;
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
