/* circulant - the receive and send schedules of one node
 *
 * A block reaches a node along a path from the root whose hops are distinct skips in rising order;
 * a set of skips and the path it spells is one and the same.  A node needs q blocks from q
 * different paths, the k-th of which ends with a hop in round k.  The search for them takes skips
 * greatest first from a list of those not yet used, and removes a skip once a path is settled that
 * begins with it: that is why it visits O(q) paths and not all 2^q.
 */
#include "plan/circulant.h"

/* More than any sum of skips: the search compares with the skip after the last one. */
#define BEYOND (1 << 28)

uint32_t lsc_circulant_skips(uint32_t nodes, uint32_t skip[LSC_CIRCULANT_LOG + 1])
{
	uint32_t q = 0;

	while ((1u << q) < nodes)
		q++;
	skip[q] = nodes;
	for (uint32_t k = q; k > 0; k--)
		skip[k - 1] = (skip[k] + 1) / 2;
	return q;
}

/* Skips that may still be used, greatest first: a ring through entry 0; skip e is entry e + 1. */
struct search {
	int32_t skip[LSC_CIRCULANT_LOG + 2];
	int32_t next[LSC_CIRCULANT_LOG + 2];
	int32_t prev[LSC_CIRCULANT_LOG + 2];
	int32_t *path; /* the first skip of the path settled for each round */
	int32_t q;
	int32_t target; /* the node, from the root once around */
	int32_t last;   /* length of the path settled last: they get shorter */
};

static void drop_skip(struct search *search, int32_t e)
{
	search->next[search->prev[e + 1]] = search->next[e + 1];
	search->prev[search->next[e + 1]] = search->prev[e + 1];
}

/* The first skip of the path that takes the greatest skips: the block that reaches the node
 * within its own phase. */
static int32_t base_block(int32_t node, const struct search *search)
{
	for (int32_t k = search->q - 1; k >= 0; k--) {
		if (node == search->skip[k])
			return k;
		if (node > search->skip[k])
			node -= search->skip[k];
	}
	return search->q;
}

/* Settles paths for the rounds from k on that begin with the length so far and a skip of the list
 * from e on; returns the first round without one. */
static int32_t settle(struct search *search, int32_t so_far, int32_t e, int32_t k)
{
	const int32_t *skip = search->skip;

	for (; e >= 0 && k < search->q; e = search->next[e + 1] - 1) {
		int32_t length = so_far + skip[e];

		if (length > search->target - skip[k] || length >= search->last)
			continue;
		if (length <= search->target - skip[k + 1])
			k = settle(search, length, e, k);
		if (k == search->q || so_far > search->target - skip[k + 1])
			return k;
		search->last = length;
		search->path[k++] = e;
		drop_skip(search, e);
	}
	return k;
}

static void receive_schedule(int32_t node, uint32_t q, const uint32_t *skip, int32_t *recv)
{
	struct search search = {.path = recv, .q = (int32_t)q};
	int32_t base;

	for (uint32_t e = 0; e <= q; e++) {
		search.skip[e] = (int32_t)skip[e];
		search.next[e + 1] = (int32_t)e;
		search.prev[e] = (int32_t)e + 1;
	}
	search.skip[q + 1] = BEYOND;
	search.next[0] = (int32_t)q + 1;
	search.prev[q + 1] = 0;
	search.target = search.skip[q] + node;
	search.last = 2 * search.skip[q];

	base = base_block(node, &search);
	drop_skip(&search, base);
	settle(&search, 0, search.q, 0);
	for (uint32_t k = 0; k < q; k++)
		recv[k] = recv[k] == search.q ? base : recv[k] - search.q;
}

void lsc_circulant_node(uint32_t node, uint32_t q, const uint32_t skip[LSC_CIRCULANT_LOG + 1],
			int32_t recv[LSC_CIRCULANT_LOG], int32_t send[LSC_CIRCULANT_LOG])
{
	int32_t theirs[LSC_CIRCULANT_LOG] = {0};

	if (node)
		receive_schedule((int32_t)node, q, skip, recv);
	/* What it sends is what the peer of that round receives.  The root sends each block first.
	 */
	for (uint32_t k = 0; k < q; k++) {
		uint32_t peer = (node + skip[k]) % skip[q];

		if (!node) {
			send[k] = (int32_t)k;
		} else if (peer) {
			receive_schedule((int32_t)peer, q, skip, theirs);
			send[k] = theirs[k];
		} else {
			send[k] = -(int32_t)q; /* to the root: never used */
		}
	}
}
