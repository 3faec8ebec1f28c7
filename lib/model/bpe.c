/* bpe - merges by rank, with a heap of candidates
 *
 * A heap entry names a symbol and the rank its pair had when it was pushed; it is stale when the
 * symbol's pair has another rank by now.  Dead symbols have none.
 */
#include "model/bpe.h"

#include <stdbool.h>
#include <stdlib.h>

#include "model/tokenizer_blob.h"

#define NONE UINT32_MAX

void lsc_bpe_release(struct lsc_bpe *bpe)
{
	free(bpe->symbols);
	free(bpe->heap);
	*bpe = (struct lsc_bpe)LSC_BPE_INIT;
}

int lsc_bpe_add(struct lsc_bpe *bpe, uint32_t id)
{
	uint32_t i = bpe->n_symbols;

	if (i == bpe->cap_symbols) {
		uint32_t cap = bpe->cap_symbols ? 2 * bpe->cap_symbols : 128;
		struct lsc_bpe_symbol *symbols;

		symbols = reallocarray(bpe->symbols, cap, sizeof(*symbols));
		if (!symbols)
			return -ENOMEM;
		bpe->symbols = symbols;
		bpe->cap_symbols = cap;
	}
	bpe->symbols[i] = (struct lsc_bpe_symbol){id, i - 1, NONE, NONE, NONE};
	if (i)
		bpe->symbols[i - 1].next = i;
	bpe->n_symbols++;
	return 0;
}

/* Looks up what left and right merge to; the blob's numbers are not trusted. */
static bool merge_find(const struct lsc_tokenizer *tokenizer, uint32_t left, uint32_t right,
		       uint32_t *ret_rank, uint32_t *ret_id)
{
	const uint32_t n = tokenizer->number[LSC_TOK_N_MERGES];
	const uint32_t vocab = tokenizer->number[LSC_TOK_VOCAB];
	uint32_t low, high, end;

	if (left >= vocab)
		return false;
	low = lsc_tok_item(tokenizer, LSC_TOK_MERGE_FIRST, left);
	end = high = lsc_tok_item(tokenizer, LSC_TOK_MERGE_FIRST, left + 1);
	if (low > high || high > n)
		return false;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (lsc_tok_item(tokenizer, LSC_TOK_MERGE_RIGHT, middle) < right)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == end || lsc_tok_item(tokenizer, LSC_TOK_MERGE_RIGHT, low) != right)
		return false;
	*ret_rank = lsc_tok_item(tokenizer, LSC_TOK_MERGE_RANK, low);
	*ret_id = lsc_tok_item(tokenizer, LSC_TOK_MERGE_ID, low);
	return *ret_rank != NONE && *ret_id < vocab;
}

static void heap_push(struct lsc_bpe *bpe, uint64_t key)
{
	size_t at = bpe->n_heap++;

	while (at && bpe->heap[(at - 1) / 2] > key) {
		bpe->heap[at] = bpe->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	bpe->heap[at] = key;
}

static uint64_t heap_pop(struct lsc_bpe *bpe)
{
	uint64_t top = bpe->heap[0], last = bpe->heap[--bpe->n_heap];
	size_t at = 0, child;

	while ((child = 2 * at + 1) < bpe->n_heap) {
		if (child + 1 < bpe->n_heap && bpe->heap[child + 1] < bpe->heap[child])
			child++;
		if (bpe->heap[child] >= last)
			break;
		bpe->heap[at] = bpe->heap[child];
		at = child;
	}
	bpe->heap[at] = last;
	return top;
}

/* Sets the pair that begins at i, and makes it a candidate. */
static void pair_update(struct lsc_bpe *bpe, const struct lsc_tokenizer *tokenizer, uint32_t i)
{
	struct lsc_bpe_symbol *symbol = &bpe->symbols[i];

	symbol->rank = NONE;
	if (symbol->next != NONE && merge_find(tokenizer, symbol->id, bpe->symbols[symbol->next].id,
					       &symbol->rank, &symbol->merged))
		heap_push(bpe, (uint64_t)symbol->rank << 32 | i);
	else
		symbol->rank = NONE;
}

/* Every merge pops one entry and pushes at most two, and n symbols merge at most n - 1 times. */
static int heap_reserve(struct lsc_bpe *bpe)
{
	size_t need = 2 * (size_t)bpe->n_symbols;
	uint64_t *heap;

	bpe->n_heap = 0;
	if (need <= bpe->cap_heap)
		return 0;
	heap = reallocarray(bpe->heap, need, sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	bpe->heap = heap;
	bpe->cap_heap = need;
	return 0;
}

int lsc_bpe_merge(struct lsc_bpe *bpe, const struct lsc_tokenizer *tokenizer)
{
	struct lsc_bpe_symbol *symbols = bpe->symbols;

	if (heap_reserve(bpe) < 0)
		return -ENOMEM;
	for (uint32_t i = 0; i + 1 < bpe->n_symbols; i++)
		pair_update(bpe, tokenizer, i);
	while (bpe->n_heap) {
		uint64_t key = heap_pop(bpe);
		struct lsc_bpe_symbol *left = &symbols[(uint32_t)key], *right;

		if (left->rank != key >> 32)
			continue;
		right = &symbols[left->next];
		left->id = left->merged;
		left->next = right->next;
		right->rank = NONE;
		if (left->next != NONE)
			symbols[left->next].prev = (uint32_t)key;
		if (left->prev != NONE)
			pair_update(bpe, tokenizer, left->prev);
		pair_update(bpe, tokenizer, (uint32_t)key);
	}
	return 0;
}
