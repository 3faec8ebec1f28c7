/* Byte-pair merging: of all neighbours that merge, the pair of lowest rank first, the leftmost of
 * equals.  A word of n symbols takes O(n log n), however the merges fall. */
#ifndef LSC_MODEL_BPE_H
#define LSC_MODEL_BPE_H

#include <stddef.h>
#include <stdint.h>

struct lsc_tokenizer;

struct lsc_bpe_symbol {
	uint32_t id;
	uint32_t prev, next; /* neighbours; UINT32_MAX at the ends */
	uint32_t rank;       /* of the merge with next; UINT32_MAX where there is none */
	uint32_t merged;     /* what that makes */
};

/* Scratch that is kept from word to word. */
struct lsc_bpe {
	struct lsc_bpe_symbol *symbols;
	uint32_t n_symbols, cap_symbols;
	uint64_t *heap; /* rank << 32 | symbol */
	size_t n_heap, cap_heap;
};

#define LSC_BPE_INIT                                                                               \
	{                                                                                          \
		0                                                                                  \
	}

void lsc_bpe_release(struct lsc_bpe *bpe);

/* Adds a symbol to the word; set n_symbols to 0 to begin the next.  0 or -ENOMEM. */
int lsc_bpe_add(struct lsc_bpe *bpe, uint32_t id);

/* Merges the word.  What is left are the symbols from 0 on along next (there must be one). */
int lsc_bpe_merge(struct lsc_bpe *bpe, const struct lsc_tokenizer *tokenizer);

#endif
