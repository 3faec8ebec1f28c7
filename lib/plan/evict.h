/* What leaves a full tier, and why the rest stays.
 *
 * An image is a list of cells, pieces of memory or disk, which images may share; a shared one is
 * counted once, and is free when the last image that has it is gone.  Images leave in this order:
 *
 *   1. those of lower priority,
 *   2. those whose keep-alive is over,
 *   3. the least recently used,
 *   4. the smaller ones, and then those that come first in the caller's list.
 *
 * What is pinned, used by someone, still arriving, or would be lost, does not leave.  Of all
 * choices that make enough room the one is taken whose most valuable image is the least valuable;
 * among those, the one whose second is, and so on: so nothing leaves that need not, and a small
 * image that is older does not go along where a large one has to go anyway.
 *
 * Pure arithmetic on the caller's clock: the same answer every time, no allocation, and a time
 * that grows with the images' cells.  Explanations come from the same comparison.
 */
#ifndef LSC_PLAN_EVICT_H
#define LSC_PLAN_EVICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/tiers.h"

struct lsc_evict_cell {
	uint64_t bytes;
	uint32_t users; /* the functions below count here; need not be set */
};

struct lsc_evict_item {
	const char *name;
	const uint32_t *cells; /* numbers of them; may name one twice */
	uint32_t n_cells;      /* 0: it shares nothing, and takes bytes */
	uint64_t bytes;        /* all of it */
	uint64_t last_use_ns;  /* 0: never */
	uint64_t kept_until_ns;
	int priority;         /* higher stays longer */
	uint32_t leases;      /* processes that use it */
	bool pinned;          /* by someone's wish */
	bool arriving;        /* being filled, or about to be */
	bool may_lose;        /* may leave even where no copy remains */
	bool also[LSC_TIERS]; /* whole copies in other tiers of this node */
};

/* An image that is to come is an item that is arriving: the cells that it shares with others are
 * then kept, and those that only it has make its need, which is 0 beside that. */
struct lsc_evict {
	enum lsc_tier tier;
	uint64_t capacity;
	uint64_t other_bytes; /* taken by what is no image */
	uint64_t need;        /* bytes that have to be free */
	uint64_t now_ns;
	int64_t wall_ns; /* the wall clock is now_ns + wall_ns; 0: times are said as "5 s more" */
	bool below[LSC_TIERS]; /* colder tiers that have room for what moves there */
	const struct lsc_evict_item *items;
	uint32_t n_items;
	struct lsc_evict_cell *cells;
	uint32_t n_cells;
};

enum lsc_evict_what {
	LSC_EVICT_DROP,   /* a copy is left in tier `to`, or none where that is LSC_TIERS */
	LSC_EVICT_DEMOTE, /* move it to tier `to` first */
};

struct lsc_evict_step {
	uint32_t item;
	enum lsc_evict_what what;
	enum lsc_tier to;
	uint64_t bytes; /* that become free by it, after the steps before */
};

/* What leaves so that need is free: the number of steps, in the order in which to take them; steps
 * has room for n_items, and its contents are undefined on failure.  -ENOSPC, with words on what
 * stands in the way, where it cannot be.
 *
 * Where steps demote, the tier below may be full in turn: it is asked with the sum of their bytes
 * as need, and where that fails, this one again with below[] false. */
int lsc_evict_decide(struct lsc_evict *evict, struct lsc_evict_step *steps, struct lsc_err *err);

enum lsc_evict_stays {
	LSC_EVICT_GOES,   /* it leaves when its turn comes */
	LSC_EVICT_PINNED, /* it stays, for the first of these reasons that is true */
	LSC_EVICT_ARRIVING,
	LSC_EVICT_ONLY_COPY, /* it would be lost */
	LSC_EVICT_LEASED,
};

/* An image's turn: it leaves where a need is greater than beyond, never where it is not greater. */
struct lsc_evict_turn {
	enum lsc_evict_stays stays;
	enum lsc_evict_what what; /* what and to mean nothing where it would be lost */
	enum lsc_tier to;
	uint32_t before; /* how many go first, of those that go */
	uint32_t after;  /* the last of them; meaningless where before is 0 */
	uint64_t beyond; /* for GOES, and, as if it were not used, for LEASED */
	uint64_t frees;  /* at its turn; 0: others that stay have all of its cells */
	bool overdue;    /* it leaves without any need: more is used than there is */
};

struct lsc_evict_turn lsc_evict_foresee(struct lsc_evict *evict, uint32_t item);

/* One sentence on an image, without a capital or a full stop, cut where it does not fit:
 *
 *   in host memory, last used 12 s ago, kept until 10:00:05; leaves after 'b' and 2 others, when
 *   more than 3.2 GiB are needed: moves to disk
 *   in host memory, never used; stays while 2 processes use it, then is the next to leave, when
 *   more than 0 bytes are needed: is dropped, as it is on disk too
 *
 * Times of day are the local ones. */
void lsc_evict_explain(struct lsc_evict *evict, uint32_t item, char *ret_text, size_t room);

#endif
