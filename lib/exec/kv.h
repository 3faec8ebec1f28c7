/* Keys and values that requests have left behind, in pages.
 *
 * A page holds LSC_PAGE_POSITIONS positions of one layer, all its kv heads: first the keys, a
 * [head_dim][positions] plane for each head (kernels.h's attend reads 16 positions at once), then
 * the values, [positions][value_stride], all as f32 or as f16.  All pages have one size and come
 * from one budget; freed ones are kept for the next request.  Addresses for all of them are taken
 * with the first, memory by the kernel as they are first used: a token that begins a page allocates
 * nothing.  Requests are found by their key.  One thread uses a kv.
 */
#ifndef LSC_EXEC_KV_H
#define LSC_EXEC_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "exec/engine.h"

struct lsc_kv_layer {
	void **pages; /* room for those of the whole context; NULL before first, where a window
		       * has passed */
	uint32_t n_pages, first;
	uint32_t len; /* positions filled */
};

struct lsc_kv_request {
	struct lsc_request_entry entry; /* first */
	uint64_t pages;                 /* that it holds, of all layers */
	uint64_t batch;                 /* the engine's mark: the last batch it was part of */
	void *table;                    /* the backend's own; NULL at first */
	struct lsc_kv_layer layers[];
};

struct lsc_kv_page; /* a free page, linked */

/* Where pages are that this process cannot write: their pointers are only handed on. */
struct lsc_kv_memory {
	void *(*take)(void *self); /* NULL: no memory */
	void (*give)(void *self, void *page);
	void (*forget)(void *self, void *table); /* a request with a table goes */
	void *self;
};

struct lsc_kv {
	uint32_t layers, kv_heads, head_dim, value_stride;
	bool half; /* numbers are f16 */
	uint64_t page_bytes;
	uint64_t limit_pages, used_pages;
	uint32_t context_pages; /* of a layer of one request, at most */
	uint64_t arena_bytes;   /* 0: no page was wanted yet */
	uint8_t *arena;         /* [limit_pages]; NULL where there were no addresses for all */
	uint64_t fresh;         /* pages of it that were never used begin here */
	uint64_t ready;         /* bytes of it that there is memory for */
	struct lsc_kv_page *free;
	struct lsc_kv_memory memory; /* all NULL: malloc's */
	struct lsc_request_table requests;
};

#define LSC_KV_INIT                                                                                \
	{                                                                                          \
		0                                                                                  \
	}

/* limit is in bytes; less than one page is -EINVAL.  half: numbers are kept as f16. */
int lsc_kv_init(struct lsc_kv *kv, const struct lsc_model_config *config, bool half, uint64_t limit,
		struct lsc_err *err);
void lsc_kv_release(struct lsc_kv *kv);

/* Has the kernel give memory for some pages more that were never used, as far as it is not known to
 * have: a millisecond at most.  Whoever has a moment does that, so that those who are in a hurry
 * find it there: sixteen requests that begin a page each in all layers would wait for tens of them.
 */
void lsc_kv_prepare(struct lsc_kv *kv);

struct lsc_kv_request *lsc_kv_find(struct lsc_kv *kv, const struct lsc_request_key *key);

/* Found or made; NULL when out of memory. */
struct lsc_kv_request *lsc_kv_request(struct lsc_kv *kv, const struct lsc_request_key *key);

/* Keeps the first len positions of a layer and frees the pages beyond; none of them, where those
 * before were given back. */
void lsc_kv_cut(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer, uint32_t len);

/* Gives back the pages that hold no position from `from` on. */
void lsc_kv_slide(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer, uint32_t from);

/* Whether what layers first .. end - 1 of a request hold is enough to go on at a position; NULL: it
 * has none. */
bool lsc_kv_reaches(const struct lsc_kv_request *request, const struct lsc_model_config *config,
		    uint32_t first, uint32_t end, uint32_t pos);

/* Pages for n positions, not more than the context: 0, -ENOSPC where the budget is used up,
 * -ENOMEM. */
int lsc_kv_reserve(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer, uint32_t n);

/* What is left of the budget, and what of it layers first .. end - 1 of a request lack for
 * positions pos .. pos + n - 1, which are reached: in pages.  The request need not be known. */
uint64_t lsc_kv_room(const struct lsc_kv *kv);
uint64_t lsc_kv_missing(struct lsc_kv *kv, const struct lsc_request_key *key, uint32_t first,
			uint32_t end, uint32_t pos, uint32_t n);

void lsc_kv_drop(struct lsc_kv *kv, const struct lsc_request_key *key);

/* Where a head's planes lie in a page, in numbers. */
static inline size_t lsc_kv_keys(const struct lsc_kv *kv, uint32_t kv_head)
{
	return (size_t)kv_head * kv->head_dim * LSC_PAGE_POSITIONS;
}

static inline size_t lsc_kv_values(const struct lsc_kv *kv, uint32_t kv_head)
{
	return ((size_t)kv->kv_heads * kv->head_dim + (size_t)kv_head * kv->value_stride) *
	       LSC_PAGE_POSITIONS;
}

/* Where number `at` of a page is. */
static inline void *lsc_kv_at(const struct lsc_kv *kv, void *page, size_t at)
{
	return (uint8_t *)page + at * (kv->half ? sizeof(uint16_t) : sizeof(float));
}

#endif
