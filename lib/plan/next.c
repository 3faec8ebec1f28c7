/* next - which piece a node sends to a peer */
#include "plan/next.h"

#include "base/bits.h"

/* The pieces of word w that may go. */
static uint64_t candidates(const struct lsc_next *next, const struct lsc_next_peer *peer,
			   uint32_t w)
{
	uint64_t word = next->here[w] & ~peer->has[w];

	if (peer->duty == LSC_DUTY_PART)
		return word & peer->part[w];
	if (peer->duty == LSC_DUTY_INJECT)
		for (const struct lsc_next_peer *p = next->peers; word && p; p = p->next)
			if (p != peer && p->open)
				word &= ~p->has[w];
	return word;
}

/* Step i of a walk around all words, which begins and ends within the one of the first piece: what
 * of that word is part of the step. */
static uint64_t within(const struct lsc_next *next, uint32_t i, uint32_t n)
{
	uint64_t before = (UINT64_C(1) << (next->first % 64)) - 1;

	return i == 0 ? ~before : i == n ? before : UINT64_MAX;
}

uint32_t lsc_next_piece(const struct lsc_next *next, const struct lsc_next_peer *peer)
{
	uint32_t n = lsc_bits_words(next->n_pieces);

	for (uint32_t i = 0; n > 0 && i <= n; i++) {
		uint32_t w = (next->first / 64 + i) % n;
		uint64_t word = candidates(next, peer, w) & within(next, i, n);

		if (word)
			return w * 64 + (uint32_t)__builtin_ctzll(word);
	}
	return LSC_NOBODY;
}

uint32_t lsc_next_last(const struct lsc_next *next, const struct lsc_next_peer *peer)
{
	uint32_t n = lsc_bits_words(next->n_pieces);

	for (uint32_t i = n + 1; n > 0 && i-- > 0;) {
		uint32_t w = (next->first / 64 + i) % n;
		uint64_t word = next->here[w] & ~peer->has[w] & within(next, i, n);

		if (word)
			return w * 64 + 63 - (uint32_t)__builtin_clzll(word);
	}
	return LSC_NOBODY;
}

uint32_t lsc_next_count(const struct lsc_next *next, const struct lsc_next_peer *peer)
{
	uint32_t count = 0;

	for (uint32_t w = 0; w < lsc_bits_words(next->n_pieces); w++)
		count += (uint32_t)__builtin_popcountll(candidates(next, peer, w));
	return count;
}
