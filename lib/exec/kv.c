/* kv - the pages of keys and values, and the requests they belong to */
#include "exec/kv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/macros.h"

#define FIRST_BUCKETS 64

struct lsc_kv_page {
	struct lsc_kv_page *next;
};

int lsc_kv_init(struct lsc_kv *kv, const struct lsc_model_config *config, uint64_t limit,
		struct lsc_err *err)
{
	uint32_t value_stride = (uint32_t)lsc_align_up(config->head_dim, LSC_LANES);
	uint64_t page_bytes = (uint64_t)config->kv_heads * (config->head_dim + value_stride) *
			      LSC_PAGE_POSITIONS * sizeof(float);

	if (limit < page_bytes)
		return lsc_err_set(err, EINVAL, "%llu bytes of KV hold no page of %llu",
				   (unsigned long long)limit, (unsigned long long)page_bytes);
	*kv = (struct lsc_kv){
		.layers = config->layers,
		.kv_heads = config->kv_heads,
		.head_dim = config->head_dim,
		.value_stride = value_stride,
		.page_bytes = page_bytes,
		.limit_pages = limit / page_bytes,
		.context_pages = (uint32_t)lsc_div_up(config->context, LSC_PAGE_POSITIONS),
		.n_buckets = FIRST_BUCKETS,
	};
	kv->buckets = calloc(kv->n_buckets, sizeof(*kv->buckets));
	return kv->buckets ? 0 : lsc_err_set(err, ENOMEM, "no memory for the KV cache");
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

static float *take_page(struct lsc_kv *kv)
{
	struct lsc_kv_page *page = kv->free;

	if (kv->memory.take)
		page = (struct lsc_kv_page *)kv->memory.take(kv->memory.self);
	else if (page)
		kv->free = page->next;
	else
		page = fresh_page(kv);
	if (!page)
		return NULL;
	kv->used_pages++;
	return (float *)page;
}

static void give_page(struct lsc_kv *kv, float *page)
{
	struct lsc_kv_page *free_page = (struct lsc_kv_page *)page;

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
	float *page;

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

static bool same_key(const struct lsc_request_key *a, const struct lsc_request_key *b)
{
	return a->request == b->request && !memcmp(a->client, b->client, sizeof(a->client));
}

/* Client names are random bytes; the request's number is spread by Fibonacci hashing. */
static uint32_t bucket_of(const struct lsc_kv *kv, const struct lsc_request_key *key)
{
	uint64_t h;

	memcpy(&h, key->client, sizeof(h));
	h = (h ^ key->request) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32) & (kv->n_buckets - 1);
}

struct lsc_kv_request *lsc_kv_find(struct lsc_kv *kv, const struct lsc_request_key *key)
{
	struct lsc_kv_request *request = kv->buckets[bucket_of(kv, key)];

	while (request && !same_key(&request->key, key))
		request = request->next;
	return request;
}

/* Without memory for more buckets the chains just grow longer. */
static void grow(struct lsc_kv *kv)
{
	struct lsc_kv_request **old = kv->buckets, **fresh;
	uint32_t n = kv->n_buckets;

	fresh = calloc(2 * (size_t)n, sizeof(*fresh));
	if (!fresh)
		return;
	kv->buckets = fresh;
	kv->n_buckets = 2 * n;
	for (uint32_t i = 0; i < n; i++) {
		struct lsc_kv_request *request = old[i], *next;

		for (; request; request = next) {
			struct lsc_kv_request **bucket = &fresh[bucket_of(kv, &request->key)];

			next = request->next;
			request->next = *bucket;
			*bucket = request;
		}
	}
	free(old);
}

/* With the tables of its pages: where they are large the kernel clears them as they are used. */
static struct lsc_kv_request *new_request(const struct lsc_kv *kv)
{
	const size_t head =
		sizeof(struct lsc_kv_request) + kv->layers * sizeof(struct lsc_kv_layer);
	struct lsc_kv_request *request =
		calloc(1, head + (size_t)kv->layers * kv->context_pages * sizeof(float *));
	float **pages;

	if (!request)
		return NULL;
	pages = (float **)((char *)request + head);
	for (uint32_t layer = 0; layer < kv->layers; layer++)
		request->layers[layer].pages = pages + (size_t)layer * kv->context_pages;
	return request;
}

struct lsc_kv_request *lsc_kv_request(struct lsc_kv *kv, const struct lsc_request_key *key)
{
	struct lsc_kv_request *request = lsc_kv_find(kv, key), **bucket;

	if (request)
		return request;
	request = new_request(kv);
	if (!request)
		return NULL;
	if (kv->n_requests >= kv->n_buckets)
		grow(kv);
	request->key = *key;
	bucket = &kv->buckets[bucket_of(kv, key)];
	request->next = *bucket;
	*bucket = request;
	kv->n_requests++;
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

/* Unlinks and frees the request that *at points to. */
static void drop_at(struct lsc_kv *kv, struct lsc_kv_request **at)
{
	struct lsc_kv_request *request = *at;

	*at = request->next;
	for (uint32_t layer = 0; layer < kv->layers; layer++)
		lsc_kv_cut(kv, request, layer, 0);
	if (request->table)
		kv->memory.forget(kv->memory.self, request->table);
	free(request);
	kv->n_requests--;
}

void lsc_kv_drop(struct lsc_kv *kv, const struct lsc_request_key *key)
{
	struct lsc_kv_request **at = &kv->buckets[bucket_of(kv, key)];

	while (*at && !same_key(&(*at)->key, key))
		at = &(*at)->next;
	if (*at)
		drop_at(kv, at);
}

static void drop_matching(struct lsc_kv *kv, const uint8_t *client)
{
	for (uint32_t i = 0; kv->buckets && i < kv->n_buckets; i++) {
		struct lsc_kv_request **at = &kv->buckets[i];

		while (*at)
			if (!client || !memcmp((*at)->key.client, client, 16))
				drop_at(kv, at);
			else
				at = &(*at)->next;
	}
}

void lsc_kv_release(struct lsc_kv *kv)
{
	struct lsc_kv_page *page, *next;

	drop_matching(kv, NULL);
	for (page = kv->free; page && !kv->arena; page = next) {
		next = page->next;
		free(page);
	}
	if (kv->arena)
		munmap(kv->arena, kv->arena_bytes);
	free(kv->buckets);
	*kv = (struct lsc_kv)LSC_KV_INIT;
}
