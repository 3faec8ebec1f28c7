/* kv - the pages of keys and values, and the requests they belong to */
#include "exec/kv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/macros.h"

#define AHEAD_BYTES (32ull << 20) /* of memory for pages that nobody wanted yet */
#define PART_BYTES  (2ull << 20)  /* of that at a time: a large page */

struct lsc_kv_page {
	struct lsc_kv_page *next;
};

int lsc_kv_init(struct lsc_kv *kv, const struct lsc_model_config *config, bool half, uint64_t limit,
		struct lsc_err *err)
{
	uint32_t value_stride = (uint32_t)lsc_align_up(config->head_dim, LSC_LANES);
	uint64_t page_bytes = (uint64_t)config->kv_heads * (config->head_dim + value_stride) *
			      LSC_PAGE_POSITIONS * (half ? sizeof(uint16_t) : sizeof(float));

	if (limit < page_bytes)
		return lsc_err_set(err, EINVAL, "%llu bytes of KV hold no page of %llu",
				   (unsigned long long)limit, (unsigned long long)page_bytes);
	*kv = (struct lsc_kv){
		.layers = config->layers,
		.kv_heads = config->kv_heads,
		.head_dim = config->head_dim,
		.value_stride = value_stride,
		.half = half,
		.page_bytes = page_bytes,
		.limit_pages = limit / page_bytes,
		.context_pages = (uint32_t)lsc_div_up(config->context, LSC_PAGE_POSITIONS),
	};
	return 0;
}

/* --- pages --- */

/* Addresses for all pages there may be, when the first is wanted.  Large pages are cleared in one
 * go, and are faster to attend to. */
static void make_arena(struct lsc_kv *kv)
{
	void *at;

	kv->arena_bytes = kv->limit_pages * kv->page_bytes;
	at = mmap(NULL, kv->arena_bytes, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return;
	madvise(at, kv->arena_bytes, MADV_HUGEPAGE);
	kv->arena = at;
}

/* One that was never used: zero. */
static struct lsc_kv_page *fresh_page(struct lsc_kv *kv)
{
	struct lsc_kv_page *page;

	if (!kv->arena_bytes)
		make_arena(kv);
	if (kv->arena)
		return (struct lsc_kv_page *)(kv->arena + kv->fresh++ * kv->page_bytes);
	page = aligned_alloc(64, lsc_align_up(kv->page_bytes, 64));
	if (page)
		memset(page, 0, kv->page_bytes);
	return page;
}

void lsc_kv_prepare(struct lsc_kv *kv)
{
	uint64_t used = kv->fresh * kv->page_bytes, at = LSC_MAX(kv->ready, used), end;

	if (!kv->arena || kv->memory.take ||
	    kv->ready >= LSC_MIN(used + AHEAD_BYTES, kv->arena_bytes))
		return;
	at -= LSC_MIN(at, (uintptr_t)(kv->arena + at) % PART_BYTES);
	end = LSC_MIN(at + PART_BYTES, kv->arena_bytes);
	/* Where the kernel knows of no such thing, pages get their memory as they are used. */
	if (madvise(kv->arena + at, end - at, MADV_POPULATE_WRITE) < 0)
		end = kv->arena_bytes;
	kv->ready = end;
}

static void *take_page(struct lsc_kv *kv)
{
	struct lsc_kv_page *page = kv->free;

	if (kv->memory.take)
		page = kv->memory.take(kv->memory.self);
	else if (page)
		kv->free = page->next;
	else
		page = fresh_page(kv);
	if (!page)
		return NULL;
	kv->used_pages++;
	return page;
}

static void give_page(struct lsc_kv *kv, void *page)
{
	struct lsc_kv_page *free_page = page;

	kv->used_pages--;
	if (kv->memory.give) {
		kv->memory.give(kv->memory.self, page);
		return;
	}
	free_page->next = kv->free;
	kv->free = free_page;
}

static int add_page(struct lsc_kv *kv, struct lsc_kv_request *request, struct lsc_kv_layer *layer)
{
	void *page;

	if (kv->used_pages >= kv->limit_pages || layer->n_pages == kv->context_pages)
		return -ENOSPC;
	page = take_page(kv);
	if (!page)
		return -ENOMEM;
	layer->pages[layer->n_pages++] = page;
	request->pages++;
	return 0;
}

void lsc_kv_cut(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer, uint32_t len)
{
	struct lsc_kv_layer *of = &request->layers[layer];

	of->len = LSC_MIN(of->len, len);
	if (of->len <= (uint64_t)of->first * LSC_PAGE_POSITIONS)
		of->len = 0;
	while (of->n_pages > of->first && (uint64_t)of->n_pages * LSC_PAGE_POSITIONS >=
						  (uint64_t)of->len + LSC_PAGE_POSITIONS) {
		give_page(kv, of->pages[--of->n_pages]);
		request->pages--;
	}
	if (of->len == 0)
		of->n_pages = of->first = 0;
}

void lsc_kv_slide(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer, uint32_t from)
{
	struct lsc_kv_layer *of = &request->layers[layer];

	for (; of->first < of->n_pages && (of->first + 1) * LSC_PAGE_POSITIONS <= from;
	     of->first++) {
		give_page(kv, of->pages[of->first]);
		of->pages[of->first] = NULL;
		request->pages--;
	}
}

bool lsc_kv_reaches(const struct lsc_kv_request *request, const struct lsc_model_config *config,
		    uint32_t first, uint32_t end, uint32_t pos)
{
	for (uint32_t layer = first; pos && layer < end; layer++) {
		uint32_t from = lsc_model_sees_from(config, layer, pos);

		if (!request || request->layers[layer].len < pos ||
		    from / LSC_PAGE_POSITIONS < request->layers[layer].first)
			return false;
	}
	return true;
}

int lsc_kv_reserve(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer, uint32_t n)
{
	struct lsc_kv_layer *of = &request->layers[layer];
	int r = 0;

	while (r == 0 && (uint64_t)of->n_pages * LSC_PAGE_POSITIONS < n)
		r = add_page(kv, request, of);
	return r;
}

/* --- requests --- */

static struct lsc_kv_request *request_of(struct lsc_request_entry *entry)
{
	return entry ? LSC_CONTAINER_OF(entry, struct lsc_kv_request, entry) : NULL;
}

struct lsc_kv_request *lsc_kv_find(struct lsc_kv *kv, const struct lsc_request_key *key)
{
	return request_of(lsc_request_table_find(&kv->requests, key));
}

/* With the tables of its pages: where they are large the kernel clears them as they are used. */
static struct lsc_kv_request *new_request(const struct lsc_kv *kv)
{
	const size_t head =
		sizeof(struct lsc_kv_request) + kv->layers * sizeof(struct lsc_kv_layer);
	struct lsc_kv_request *request =
		calloc(1, head + (size_t)kv->layers * kv->context_pages * sizeof(void *));
	void **pages;

	if (!request)
		return NULL;
	pages = (void **)((char *)request + head);
	for (uint32_t layer = 0; layer < kv->layers; layer++)
		request->layers[layer].pages = pages + (size_t)layer * kv->context_pages;
	return request;
}

struct lsc_kv_request *lsc_kv_request(struct lsc_kv *kv, const struct lsc_request_key *key)
{
	struct lsc_kv_request *request = lsc_kv_find(kv, key);

	if (request)
		return request;
	request = new_request(kv);
	if (!request)
		return NULL;
	request->entry.key = *key;
	if (lsc_request_table_add(&kv->requests, &request->entry) < 0) {
		free(request);
		return NULL;
	}
	return request;
}

uint64_t lsc_kv_room(const struct lsc_kv *kv)
{
	return kv->limit_pages - kv->used_pages;
}

/* What begins anew gives back what there is, of which a window's past is gone already. */
uint64_t lsc_kv_missing(struct lsc_kv *kv, const struct lsc_request_key *key, uint32_t first,
			uint32_t end, uint32_t pos, uint32_t n)
{
	const struct lsc_kv_request *request = lsc_kv_find(kv, key);
	uint64_t want = lsc_div_up((uint64_t)pos + n, LSC_PAGE_POSITIONS), missing = 0;

	for (uint32_t layer = first; layer < end; layer++) {
		const struct lsc_kv_layer *of = request ? &request->layers[layer] : NULL;
		uint64_t has = of ? of->n_pages - (pos ? 0 : of->first) : 0;

		missing += want > has ? want - has : 0;
	}
	return missing;
}

static void drop(struct lsc_kv *kv, struct lsc_kv_request *request)
{
	lsc_request_table_remove(&kv->requests, &request->entry);
	for (uint32_t layer = 0; layer < kv->layers; layer++)
		lsc_kv_cut(kv, request, layer, 0);
	if (request->table)
		kv->memory.forget(kv->memory.self, request->table);
	free(request);
}

void lsc_kv_drop(struct lsc_kv *kv, const struct lsc_request_key *key)
{
	struct lsc_kv_request *request = lsc_kv_find(kv, key);

	if (request)
		drop(kv, request);
}

void lsc_kv_release(struct lsc_kv *kv)
{
	struct lsc_request_entry *entry = lsc_request_table_next(&kv->requests, NULL), *after;
	struct lsc_kv_page *page, *next;

	for (; entry; entry = after) {
		after = lsc_request_table_next(&kv->requests, entry);
		drop(kv, request_of(entry));
	}
	lsc_request_table_release(&kv->requests);
	for (page = kv->free; page && !kv->arena; page = next) {
		next = page->next;
		free(page);
	}
	if (kv->arena)
		munmap(kv->arena, kv->arena_bytes);
	*kv = (struct lsc_kv)LSC_KV_INIT;
}
