/* what goes to a peer next: against looking at each piece in turn */
#include <string.h>

#include "base/bits.h"
#include "plan/next.h"
#include "tap.h"

#define MAX_PIECES 200
#define MAX_PEERS  4

static uint64_t sets[1 + 2 * MAX_PEERS][MAX_PIECES / 64 + 1];
static struct lsc_next_peer peers[MAX_PEERS];
static struct lsc_next next;
static uint32_t seed = 1;

static uint32_t draw(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)(seed >> 8) * n >> 24);
}

/* Sets from empty to full, so that there is often nothing, or one piece. */
static void make(uint32_t n_peers)
{
	next = (struct lsc_next){.here = sets[0], .n_pieces = draw(MAX_PIECES) + 1, .peers = peers};
	next.first = draw(next.n_pieces);
	memset(sets, 0, sizeof(sets));
	for (uint32_t s = 0; s < 1 + 2 * n_peers; s++) {
		uint32_t share = draw(5);

		for (uint32_t i = 0; i < next.n_pieces; i++)
			if (draw(4) < share)
				lsc_bits_add(sets[s], i);
	}
	for (uint32_t i = 0; i < n_peers; i++)
		peers[i] = (struct lsc_next_peer){.duty = draw(LSC_DUTIES),
						  .open = draw(3) > 0,
						  .has = sets[1 + 2 * i],
						  .part = sets[2 + 2 * i],
						  .next = i + 1 < n_peers ? &peers[i + 1] : NULL};
}

static bool may_go(uint32_t peer, uint32_t piece)
{
	if (!lsc_bits_has(next.here, piece) || lsc_bits_has(peers[peer].has, piece))
		return false;
	if (peers[peer].duty == LSC_DUTY_PART)
		return lsc_bits_has(peers[peer].part, piece);
	if (peers[peer].duty == LSC_DUTY_INJECT)
		for (const struct lsc_next_peer *p = peers; p; p = p->next)
			if (p != &peers[peer] && p->open && lsc_bits_has(p->has, piece))
				return false;
	return true;
}

static bool is_right(uint32_t peer)
{
	uint32_t piece = LSC_NOBODY, last = LSC_NOBODY, count = 0;

	for (uint32_t i = 0; i < next.n_pieces; i++) {
		uint32_t at = (next.first + i) % next.n_pieces;

		if (may_go(peer, at)) {
			piece = piece == LSC_NOBODY ? at : piece;
			count++;
		}
		if (lsc_bits_has(next.here, at) && !lsc_bits_has(peers[peer].has, at))
			last = at;
	}
	return lsc_next_piece(&next, &peers[peer]) == piece &&
	       lsc_next_last(&next, &peers[peer]) == last &&
	       lsc_next_count(&next, &peers[peer]) == count;
}

int main(void)
{
	uint32_t wrong = 0;

	for (int round = 0; round < 20000; round++) {
		uint32_t n = draw(MAX_PEERS) + 1;

		make(n);
		for (uint32_t i = 0; i < n; i++)
			wrong += !is_right(i);
	}
	is_int(wrong, 0, "20000 nodes with random sets: the piece, the last one, and how many");
	next = (struct lsc_next){.here = sets[0]};
	peers[0] = (struct lsc_next_peer){.has = sets[1]};
	is_int(lsc_next_piece(&next, &peers[0]), LSC_NOBODY, "an image without pieces has none");
	return done_testing();
}
