/* what leaves a full tier, next to all that could, and what is said about it */
#include <inttypes.h>

#include "base/macros.h"
#include "plan/evict.h"
#include "tap.h"

#define MAX_ITEMS 9
#define MAX_CELLS 12
#define GIB       (1ull << 30)
#define NOW       1000000000000ull
#define SECOND    1000000000ull

static struct {
	struct lsc_evict evict;
	struct lsc_evict_item items[MAX_ITEMS];
	struct lsc_evict_cell cells[MAX_CELLS];
	uint32_t lists[MAX_ITEMS][2 * MAX_CELLS];
	char names[MAX_ITEMS][4];
} tier;

static struct lsc_evict_step steps[MAX_ITEMS];
static struct lsc_err err;

static uint32_t dice(uint32_t below)
{
	static uint64_t state = 0x9e3779b97f4a7c15ull;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

/* Images of so many GiB, used one after the other, with copies on disk. */
static void start(uint64_t capacity, const unsigned *gib, uint32_t n)
{
	memset(&tier, 0, sizeof(tier));
	tier.evict = (struct lsc_evict){.tier = LSC_TIER_HOST,
					.capacity = capacity * GIB,
					.now_ns = NOW,
					.items = tier.items,
					.n_items = n,
					.cells = tier.cells};
	for (uint32_t i = 0; i < n; i++) {
		snprintf(tier.names[i], sizeof(tier.names[i]), "%c", 'a' + i);
		tier.items[i] = (struct lsc_evict_item){.name = tier.names[i],
							.bytes = gib[i] * GIB,
							.last_use_ns = NOW - (100 - i) * SECOND,
							.also = {[LSC_TIER_DISK] = true}};
	}
}

static int decide(void)
{
	memset(&err, 0, sizeof(err));
	return lsc_evict_decide(&tier.evict, steps, &err);
}

/* "a b" or the error. */
static const char *leaves(uint64_t need)
{
	static char text[LSC_ERR_TEXT];
	size_t len = 0;
	int n;

	tier.evict.need = need;
	n = decide();
	text[0] = '\0';
	for (int k = 0; k < n; k++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s%s", k ? " " : "",
					tier.items[steps[k].item].name,
					steps[k].what == LSC_EVICT_DEMOTE ? ">" : "");
	return n < 0 ? err.text : text;
}

static const char *explained(uint32_t item)
{
	static char text[512];

	tier.evict.need = 0;
	lsc_evict_explain(&tier.evict, item, text, sizeof(text));
	return text;
}

#define START(capacity, ...)                                                                       \
	do {                                                                                       \
		static const unsigned gib_of[] = {__VA_ARGS__};                                    \
		start(capacity, gib_of, LSC_ARRAY_SIZE(gib_of));                                   \
	} while (0)

/* --- the order --- */

static void test_order(void)
{
	START(10, 2, 3, 4);
	is_str(leaves(1 * GIB), "", "where there is room nothing leaves");
	is_str(leaves(2 * GIB), "a", "else the least recently used does");
	is_str(leaves(4 * GIB), "b", "or one that is enough without it");
	is_str(leaves(5 * GIB), "a b", "then both");
	is_str(leaves(10 * GIB), "a b c", "or all");
	tier.items[0].kept_until_ns = NOW + 1;
	is_str(leaves(2 * GIB), "b", "one within its keep-alive leaves after those past it");
	tier.items[0].kept_until_ns = NOW;
	is_str(leaves(2 * GIB), "a", "which ends when it is said to");
	tier.items[0].priority = 1;
	tier.items[1].kept_until_ns = tier.items[2].kept_until_ns = NOW + 1;
	is_str(leaves(2 * GIB), "b", "priority goes before keep-alive");
	tier.items[2].priority = -1;
	is_str(leaves(2 * GIB), "c", "in both directions");
	START(10, 4, 2, 3);
	for (int i = 0; i < 3; i++)
		tier.items[i].last_use_ns = 0;
	is_str(leaves(3 * GIB), "b", "of those that were never used the smaller one");
	is_str(leaves(4 * GIB), "c", "that is enough");
	START(10, 2, 2, 2);
	tier.evict.other_bytes = 4 * GIB;
	is_str(leaves(1), "a", "what is taken by others is taken");
	tier.evict.capacity = 7 * GIB;
	is_str(leaves(0), "a b", "a tier that is too full already is made to fit");
}

static void test_stays(void)
{
	START(10, 2, 3, 4);
	tier.items[0].pinned = true;
	is_str(leaves(2 * GIB), "b", "what is pinned stays");
	tier.items[1].leases = 2;
	is_str(leaves(2 * GIB), "c", "what is used stays");
	tier.items[2].arriving = true;
	is_str(leaves(2 * GIB),
	       "host memory: no room for 2.0 GiB: 1.0 GiB can be free, as 'c' (4.0 GiB) is "
	       "arriving, 'b' (3.0 GiB) is used by 2 processes, 'a' (2.0 GiB) is pinned",
	       "what arrives stays, and where all do it is said why");
	is_int(decide(), -ENOSPC, "in a code, too");
	is_str(leaves(11 * GIB), "host memory: no room for 11.0 GiB: it has 10.0 GiB in all",
	       "so is what could never be");
	START(9, 1, 1, 1, 1, 1, 1, 1, 1, 1);
	for (int i = 0; i < 9; i++)
		tier.items[i].pinned = true;
	tier.items[8].bytes = 2 * GIB;
	is_str(leaves(GIB),
	       "host memory: no room for 1.0 GiB: 0 bytes can be free, as 'i' (2.0 GiB) is pinned, "
	       "'a' (1.0 GiB) is pinned, 'b' (1.0 GiB) is pinned, 'c' (1.0 GiB) is pinned, and 5 "
	       "more",
	       "some of many are named, the largest first");
	START(4, 4);
	tier.evict.other_bytes = 2 * GIB;
	is_str(leaves(3 * GIB), "host memory: no room for 3.0 GiB: 2.0 GiB can be free",
	       "nobody is blamed for what others take");
}

static void test_places(void)
{
	START(4, 4);
	is_str(leaves(1), "a", "with a copy on disk it is dropped");
	is_int(steps[0].to, LSC_TIER_DISK, "and that is said");
	ok(steps[0].bytes == 4 * GIB, "with what it frees");
	tier.items[0].also[LSC_TIER_DISK] = false;
	ok(strstr(leaves(1), "'a' (4.0 GiB) is the only copy") != NULL, "the only copy stays");
	tier.items[0].may_lose = true;
	is_str(leaves(1), "a", "if it may not be lost");
	is_int(steps[0].to, LSC_TIERS, "to nowhere");
	tier.evict.below[LSC_TIER_DISK] = true;
	is_str(leaves(1), "a>", "where the disk has room it moves there");
	tier.evict.below[LSC_TIER_DISK] = false;
	tier.items[0].may_lose = false;
	tier.items[0].also[LSC_TIER_GPU] = true;
	is_str(leaves(1), "a", "a copy on the GPU will do for host memory");
	tier.evict.tier = LSC_TIER_DISK;
	ok(strstr(leaves(1), "disk: no room") != NULL, "and not for the disk");
	tier.evict.tier = LSC_TIER_GPU;
	tier.items[0].also[LSC_TIER_DISK] = true;
	is_str(leaves(1), "a", "from the GPU it is dropped where it is on disk");
	tier.evict.below[LSC_TIER_HOST] = true;
	is_str(leaves(1), "a>", "and better moves to host memory");
	is_int(steps[0].to, LSC_TIER_HOST, "which is nearer");
	tier.items[0].also[LSC_TIER_HOST] = true;
	is_str(leaves(1), "a", "if it is not there as well");
}

/* Cells of a GiB. */
static void give_cells(uint32_t item, const char *cells)
{
	uint32_t n = 0;

	for (; cells[n]; n++)
		tier.lists[item][n] = (uint32_t)(cells[n] - 'A');
	tier.items[item].cells = tier.lists[item];
	tier.items[item].n_cells = n;
	tier.items[item].bytes = n * GIB;
	tier.evict.n_cells = MAX_CELLS;
	for (uint32_t c = 0; c < MAX_CELLS; c++)
		tier.cells[c].bytes = GIB;
}

static void test_shared(void)
{
	START(6, 1, 1, 1);
	give_cells(0, "ABC");
	give_cells(1, "BCD");
	give_cells(2, "EF");
	is_str(leaves(GIB), "a", "an image leaves for the one block that only it has");
	ok(steps[0].bytes == GIB, "which is all that becomes free");
	is_str(leaves(2 * GIB), "a b", "for more the next one that shares with it, too");
	ok(steps[1].bytes == 3 * GIB, "the last of them frees what they share");
	tier.items[1].pinned = true;
	is_str(leaves(4 * GIB),
	       "host memory: no room for 4.0 GiB: 3.0 GiB can be free, as 'b' (3.0 GiB) is pinned",
	       "what one has that stays cannot be freed");
	give_cells(0, "BBCC");
	is_str(leaves(1 * GIB), "", "a block twice in an image takes room once");
	is_str(leaves(2 * GIB), "c", "what frees nothing stays");
	tier.items[1].pinned = false;
	tier.items[1].arriving = true;
	tier.evict.capacity = 4 * GIB;
	is_str(leaves(0), "c", "what is to come keeps blocks that it shares");
	ok(strstr(explained(0), "with those that share all of its blocks") != NULL,
	   "one that shares all its blocks is said to");
}

/* --- all sets --- */

static uint64_t used_without(uint32_t gone)
{
	const struct lsc_evict *evict = &tier.evict;
	uint64_t used = evict->other_bytes;
	uint32_t seen = 0;

	for (uint32_t i = 0; i < evict->n_items; i++) {
		if (gone >> i & 1)
			continue;
		if (!tier.items[i].n_cells)
			used += tier.items[i].bytes;
		for (uint32_t c = 0; c < tier.items[i].n_cells; c++) {
			uint32_t cell = tier.items[i].cells[c];

			used += seen >> cell & 1 ? 0 : tier.cells[cell].bytes;
			seen |= 1u << cell;
		}
	}
	return used;
}

static bool may_go(uint32_t i)
{
	const struct lsc_evict_item *item = &tier.items[i];

	return !item->pinned && !item->leases && !item->arriving &&
	       (item->also[LSC_TIER_DISK] || item->also[LSC_TIER_GPU] || item->may_lose ||
		tier.evict.below[LSC_TIER_DISK]);
}

/* How many images are less valuable than this one. */
static uint32_t value(uint32_t i)
{
	const struct lsc_evict_item *x = &tier.items[i];
	uint32_t less = 0;

	for (uint32_t k = 0; k < tier.evict.n_items; k++) {
		const struct lsc_evict_item *y = &tier.items[k];
		bool x_kept = x->kept_until_ns > NOW, y_kept = y->kept_until_ns > NOW;

		if (y->priority != x->priority)
			less += y->priority < x->priority;
		else if (x_kept != y_kept)
			less += x_kept;
		else if (x->last_use_ns != y->last_use_ns)
			less += y->last_use_ns < x->last_use_ns;
		else if (x->bytes != y->bytes)
			less += y->bytes < x->bytes;
		else
			less += k < i;
	}
	return less;
}

/* The set that leaves; false where none makes room.  Sets compare by their most valuable image. */
static bool best_of_all(uint32_t *ret_gone)
{
	uint32_t n = tier.evict.n_items, least = UINT32_MAX;
	uint32_t values[MAX_ITEMS];

	for (uint32_t i = 0; i < n; i++)
		values[i] = value(i);
	for (uint32_t gone = 0; gone < 1u << n; gone++) {
		uint32_t harm = 0;
		bool may = true;

		for (uint32_t i = 0; i < n; i++) {
			may = may && (!(gone >> i & 1) || may_go(i));
			harm |= (gone >> i & 1) << values[i];
		}
		if (may && harm < least &&
		    used_without(gone) + tier.evict.need <= tier.evict.capacity) {
			least = harm;
			*ret_gone = gone;
		}
	}
	return least != UINT32_MAX;
}

static void random_tier(void)
{
	uint32_t n = 1 + dice(MAX_ITEMS), shared = dice(2), less = dice(6);

	memset(&tier, 0, sizeof(tier));
	tier.evict = (struct lsc_evict){.tier = LSC_TIER_HOST,
					.now_ns = NOW,
					.items = tier.items,
					.n_items = n,
					.cells = tier.cells,
					.n_cells = MAX_CELLS,
					.below = {[LSC_TIER_DISK] = dice(3) == 0}};
	for (uint32_t c = 0; c < MAX_CELLS; c++)
		tier.cells[c] = (struct lsc_evict_cell){dice(5), dice(100)};
	for (uint32_t i = 0; i < n; i++) {
		struct lsc_evict_item *item = &tier.items[i];

		item->name = "x";
		item->cells = tier.lists[i];
		item->n_cells = shared ? dice(MAX_CELLS) : 0;
		item->bytes = dice(6);
		for (uint32_t c = 0; c < item->n_cells; c++)
			tier.lists[i][c] = dice(MAX_CELLS);
		item->last_use_ns = dice(4);
		item->kept_until_ns = NOW - 1 + dice(3);
		item->priority = (int)dice(3) - 1;
		item->leases = dice(5) ? 0 : dice(3);
		item->pinned = dice(6) == 0;
		item->arriving = dice(8) == 0;
		item->may_lose = dice(3) == 0;
		item->also[LSC_TIER_DISK] = dice(2);
		item->also[LSC_TIER_GPU] = dice(4) == 0;
	}
	tier.evict.other_bytes = dice(3);
	tier.evict.capacity = used_without(0) + dice(8);
	tier.evict.capacity -= LSC_MIN(tier.evict.capacity, less);
}

static uint32_t gone_with(int n, bool *ret_sorted, uint64_t *ret_freed)
{
	uint32_t gone = 0;

	*ret_freed = 0;
	*ret_sorted = true;
	for (int k = 0; k < n; k++) {
		uint64_t before = used_without(gone);

		*ret_sorted =
			*ret_sorted && (!k || value(steps[k - 1].item) < value(steps[k].item));
		gone |= 1u << steps[k].item;
		*ret_sorted = *ret_sorted && before - used_without(gone) == steps[k].bytes;
		*ret_freed += steps[k].bytes;
	}
	return gone;
}

static bool agrees_with_all(void)
{
	uint32_t want = 0;
	bool can = best_of_all(&want), sorted;
	uint64_t freed;
	int n = decide();

	if (!can)
		return n == -ENOSPC && err.text[0];
	return n >= 0 && gone_with(n, &sorted, &freed) == want && sorted;
}

/* What is said of a turn is what happens as the need grows. */
static bool turns_are_true(void)
{
	for (uint32_t i = 0; i < tier.evict.n_items; i++) {
		struct lsc_evict_turn turn = lsc_evict_foresee(&tier.evict, i);
		bool goes = turn.stays == LSC_EVICT_GOES, left = false;

		if (goes != may_go(i))
			return false;
		for (tier.evict.need = 0; tier.evict.need <= tier.evict.capacity;
		     tier.evict.need++) {
			int n = decide();

			left = false;
			for (int k = 0; k < n; k++)
				left = left || steps[k].item == i;
			if (left && (!goes || (!turn.overdue && tier.evict.need <= turn.beyond)))
				return false;
			if (!left && goes && n >= 0 && turn.frees && !turn.overdue &&
			    tier.evict.need == turn.beyond + 1)
				return false;
		}
	}
	return true;
}

static bool is_monotone(void)
{
	uint32_t worst = 0;

	for (tier.evict.need = 0; tier.evict.need <= tier.evict.capacity; tier.evict.need++) {
		uint32_t now = 0;
		int n = decide();

		if (n < 0)
			return tier.evict.need++ == tier.evict.capacity || decide() < 0;
		if (n)
			now = value(steps[n - 1].item) + 1;
		if (now < worst)
			return false;
		worst = now;
	}
	return true;
}

static void test_all(void)
{
	bool best = true, turns = true, monotone = true;

	for (int i = 0; i < 20000 && best; i++) {
		random_tier();
		tier.evict.need = dice(12);
		best = agrees_with_all();
	}
	ok(best, "the best of all sets that may leave, in order, never too few");
	for (int i = 0; i < 2000 && turns; i++) {
		random_tier();
		turns = turns_are_true();
	}
	ok(turns, "each image leaves when it was said to, and not before");
	for (int i = 0; i < 2000 && monotone; i++) {
		random_tier();
		monotone = is_monotone();
	}
	ok(monotone, "a greater need never spares a more valuable image");
}

/* --- words --- */

static void test_words(void)
{
	setenv("TZ", "UTC0", 1);
	START(12, 2, 3, 4);
	is_str(explained(0),
	       "in host memory, last used 100 s ago; is the next to leave, when more than 3.0 GiB "
	       "are needed: is dropped, as it is on disk too",
	       "the next one");
	tier.evict.below[LSC_TIER_DISK] = true;
	tier.items[1].also[LSC_TIER_DISK] = false;
	tier.items[1].last_use_ns = 0;
	is_str(explained(1),
	       "in host memory, never used; is the next to leave, when more than 3.0 GiB are "
	       "needed: moves to disk",
	       "one that was never used");
	is_str(explained(0),
	       "in host memory, last used 100 s ago; leaves after 'b', when more than 6.0 GiB are "
	       "needed: is dropped, as it is on disk too",
	       "is before the other now");
	tier.items[2].kept_until_ns = NOW + 5 * SECOND;
	is_str(explained(2),
	       "in host memory, last used 98 s ago, kept 5 s more; leaves after 'a' and 1 other, "
	       "when more than 8.0 GiB are needed: is dropped, as it is on disk too",
	       "one that is kept");
	tier.evict.wall_ns = 1700000000 * (int64_t)SECOND - (int64_t)NOW;
	tier.items[2].priority = 3;
	tier.items[2].leases = 1;
	is_str(explained(2),
	       "in host memory, last used 98 s ago, priority 3, kept until 22:13:25; stays while 1 "
	       "process uses it, then leaves after 'a' and 1 other, when more than 8.0 GiB are "
	       "needed: is dropped, as it is on disk too",
	       "one that is used, too");
	tier.items[2].kept_until_ns = NOW + 7200 * SECOND;
	tier.items[2].pinned = true;
	is_str(explained(2),
	       "in host memory, last used 98 s ago, priority 3, kept until 2023-11-15 00:13:20; "
	       "stays, as it is pinned; used by 1 process",
	       "one that is pinned, until another day");
	tier.items[1].arriving = true;
	is_str(explained(1), "in host memory, never used; stays, as it is arriving",
	       "and arriving");
	tier.evict.below[LSC_TIER_DISK] = false;
	tier.items[1].arriving = false;
	is_str(explained(1),
	       "in host memory, never used; stays, as it is the only copy and there is no other "
	       "place for it",
	       "the only copy");
	tier.evict.capacity = GIB;
	is_str(explained(0),
	       "in host memory, last used 100 s ago; is the next to leave, now: more is used than "
	       "there is: is dropped, as it is on disk too",
	       "too much already");
	tier.evict.tier = LSC_TIER_DISK;
	tier.items[0].may_lose = true;
	tier.evict.capacity = 9 * GIB;
	is_str(explained(0),
	       "on disk, last used 100 s ago; is the next to leave, when more than 0 bytes are "
	       "needed: is dropped, and no copy is left",
	       "one that is lost");
}

static void test_short_buffers(void)
{
	char text[600], whole[600];
	bool good = true;

	START(12, 2, 3, 4);
	lsc_evict_explain(&tier.evict, 2, whole, sizeof(whole));
	for (size_t room = 0; room <= strlen(whole) + 1; room++) {
		memset(text, '!', sizeof(text));
		lsc_evict_explain(&tier.evict, 2, text, room);
		good = good && text[room] == '!' &&
		       (!room || (strlen(text) == room - 1 && !memcmp(text, whole, room - 1)));
	}
	ok(good, "a sentence is cut where it does not fit");
}

int main(void)
{
	test_order();
	test_stays();
	test_places();
	test_shared();
	test_all();
	test_words();
	test_short_buffers();
	return done_testing();
}
