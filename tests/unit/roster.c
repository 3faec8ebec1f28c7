/* The roster of a stage: what is kept of a request stays within its bounds, whatever its runs say
 * of each other.
 */
#include "stage/roster.h"

#include <errno.h>
#include <string.h>

#include "tap.h"

#define MANY 8192

static struct lsc_roster roster;
static uint32_t ids[MANY];

static struct lsc_guest *take(uint64_t request, uint32_t pos, uint32_t n, uint32_t reach)
{
	static struct lsc_run_frame run;
	struct lsc_guest *guest = NULL;

	run = (struct lsc_run_frame){
		.request = request, .pos = pos, .n = n, .n_stages = 1, .reach = reach};
	if (lsc_roster_take(&roster, &run, &guest, NULL) == 0)
		lsc_guest_follow(guest, &run);
	return guest;
}

static bool holds(const struct lsc_guest *guest, uint32_t n)
{
	bool same = guest->n_past == n && guest->past_cap >= n;

	for (uint32_t i = 0; same && i < n; i++)
		same = guest->past[i] == ids[i];
	return same;
}

/* A long run waits when a short one comes: what is kept is kept of the long one. */
static void test_past(void)
{
	struct lsc_guest *guest = take(1, 0, MANY, 0);

	is_int(guest->reach, MANY, "a request reaches as far as its run");
	ok(take(1, 0, 1, 0) == guest && guest->reach == 1, "and as far as the latest");
	is_int(lsc_guest_remember(guest, ids, 0, MANY), 0, "a longer run's tokens are kept");
	ok(holds(guest, MANY), "in room that is there: %u", guest->past_cap);
	is_int(lsc_guest_remember(guest, ids, MANY + 1, 1), -ESTALE, "not with a gap before them");
	is_int(lsc_guest_remember(guest, ids, 5, 2), 0, "those of an earlier position");
	is_int(guest->n_past, 7, "are what is known from there on");
	for (uint32_t pos = 7; pos < MANY; pos++)
		if (lsc_guest_remember(guest, ids + pos, pos, 1) < 0)
			break;
	is_int(guest->n_past, MANY, "they come one by one");
	lsc_roster_drop(&roster, guest);
}

/* Who was back soon is awaited, others are not, until they are again. */
static void test_away(void)
{
	struct lsc_guest *quick = take(1, 0, 1, 0), *slow = take(2, 0, 1, 0);

	roster.soon_ns = 10;
	is_int((long long)lsc_roster_return(&roster, quick, 5), 0, "who comes first was not away");
	lsc_roster_step(&roster);
	lsc_roster_leave(&roster, quick, 100);
	lsc_roster_leave(&roster, slow, 100);
	is_int(roster.n_away, 2, "all are awaited at first");
	is_int((long long)lsc_roster_return(&roster, quick, 105), 5,
	       "who is back was away so long");
	is_int(roster.n_away, 1, "and is not awaited");
	lsc_roster_step(&roster);
	is_int(roster.n_away, 0, "nobody is for longer than a step");
	is_int((long long)lsc_roster_return(&roster, slow, 150), 50,
	       "who comes later is back, too");
	lsc_roster_leave(&roster, slow, 200);
	is_int(roster.n_away, 0, "and not awaited the next time");
	lsc_roster_return(&roster, slow, 202);
	lsc_roster_leave(&roster, slow, 300);
	lsc_roster_leave(&roster, quick, 300);
	is_int(roster.n_away, 2, "but after one that was short");
	lsc_roster_drop(&roster, slow);
	lsc_roster_drop(&roster, quick);
	is_int(roster.n_away, 0, "who is gone is not awaited");
}

/* Who rests gives way first, of two the one that does for longer, and is like others again when a
 * run of it comes. */
static void test_rest(void)
{
	static struct lsc_store_image image;
	struct lsc_guest *first = take(1, 0, 40, 0), *second = take(2, 0, 40, 0);
	struct lsc_guest *other = take(3, 0, 40, 0);

	ok(!lsc_roster_rest(&roster, first), "who has nothing does not rest");
	first->image = second->image = &image;
	ok(lsc_roster_rest(&roster, first) && lsc_roster_rest(&roster, second), "two rest");
	is_int(roster.n_resting, 2, "which is counted");
	ok(lsc_guest_is_older(other, first) && lsc_guest_is_older(other, second),
	   "all others go before them");
	ok(lsc_guest_is_older(second, first), "and the latest before the first");
	ok(take(1, 20, 5, 0) == first && !first->rests && lsc_guest_is_older(first, second),
	   "one that goes on is as others are");
	lsc_roster_drop(&roster, second);
	is_int(roster.n_resting, 0, "nobody rests any more");
	lsc_roster_drop(&roster, first);
	lsc_roster_drop(&roster, other);
}

static void test_names(void)
{
	const struct lsc_client_id client = {{0}}, other = {{1}};
	struct lsc_guest *guest = NULL;
	unsigned n = 0;

	for (uint64_t i = 0; i < 1000; i++)
		take(i, 0, 1, 0);
	is_int(roster.guests.n, 1000, "requests have names");
	for (uint64_t i = 0; i < 1000; i++)
		n += lsc_roster_find(&roster, &client, i) != NULL;
	is_int(n, 1000, "by which they are found");
	ok(!lsc_roster_find(&roster, &other, 1), "none of another client");
	for (n = 0; (guest = lsc_roster_next(&roster, guest)); n++)
		;
	is_int(n, 1000, "all are walked over");
	lsc_roster_drop(&roster, lsc_roster_find(&roster, &client, 7));
	ok(!lsc_roster_find(&roster, &client, 7), "one that is dropped is gone");
	ok(lsc_guest_is_older(take(1, 0, 1, 0), take(2, 0, 1, 0)), "of equals one is the older");
}

int main(void)
{
	for (uint32_t i = 0; i < MANY; i++)
		ids[i] = 3 * i;
	test_past();
	test_away();
	test_rest();
	test_names();
	lsc_roster_release(&roster);
	return done_testing();
}
