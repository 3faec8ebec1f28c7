/* kv - the pages of keys and values, and the requests they belong to */
#include "exec/kv.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define FIRST_BUCKETS 64

struct lsc_kv_page {
	struct lsc_kv_page *next;
};

int lsc_kv_init(struct lsc_kv *kv, uint32_t layers, uint32_t kv_heads, uint32_t head_dim,
		uint64_t limit, struct lsc_err *err)
{
	uint32_t value_stride = (uint32_t)lsc_align_up(head_dim, LSC_LANES);
	uint64_t page_bytes =
		(uint64_t)kv_heads * (head_dim + value_stride) * LSC_PAGE_POSITIONS * sizeof(float);

	if (limit < page_bytes)
		return lsc_err_set(err, EINVAL, "%llu bytes of KV hold no page of %llu",
				   (unsigned long long)limit, (unsigned long long)page_bytes);
	*kv = (struct lsc_kv){.layers = layers,
			      .kv_heads = kv_heads,
			      .head_dim = head_dim,
			      .value_stride = value_stride,
			      .page_bytes = page_bytes,
			      .limit_pages = limit / page_bytes,
			      .n_buckets = FIRST_BUCKETS};
	kv->buckets = calloc(kv->n_buckets, sizeof(*kv->buckets));
	return kv->buckets ? 0 : lsc_err_set(err, ENOMEM, "no memory for the KV cache");
}

/* --- pages --- */

static float *take_page(struct lsc_kv *kv)
{
	struct lsc_kv_page *page = kv->free;

	if (kv->memory.take) {
		page = (struct lsc_kv_page *)kv->memory.take(kv->memory.self);
		if (!page)
			return NULL;
	} else if (page) {
		kv->free = page->next;
	} else {
		page = aligned_alloc(64, lsc_align_up(kv->page_bytes, 64));
		if (!page)
			return NULL;
		memset(page, 0, kv->page_bytes);
	}
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

static int add_page(struct lsc_kv *kv, struct lsc_kv_layer *layer)
{
	float *page;

	if (kv->used_pages >= kv->limit_pages)
		return -ENOSPC;
	if (layer->n_pages == layer->cap) {
		uint32_t cap = layer->cap ? 2 * layer->cap : 8;
		float **pages = reallocarray(layer->pages, cap, sizeof(*pages));

		if (!pages)
			return -ENOMEM;
		layer->pages = pages;
		layer->cap = cap;
	}
	page = take_page(kv);
	if (!page)
		return -ENOMEM;
	layer->pages[layer->n_pages++] = page;
	return 0;
}

void lsc_kv_cut(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer, uint32_t len)
{
	struct lsc_kv_layer *of = &request->layers[layer];

	of->len = LSC_MIN(of->len, len);
	while ((uint64_t)of->n_pages * LSC_PAGE_POSITIONS >= (uint64_t)of->len + LSC_PAGE_POSITIONS)
		give_page(kv, of->pages[--of->n_pages]);
}

int lsc_kv_reserve(struct lsc_kv *kv, struct lsc_kv_request *request, uint32_t layer, uint32_t n)
{
	struct lsc_kv_layer *of = &request->layers[layer];
	int r = 0;

	while (r == 0 && (uint64_t)of->n_pages * LSC_PAGE_POSITIONS < n)
		r = add_page(kv, of);
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

struct lsc_kv_request *lsc_kv_request(struct lsc_kv *kv, const struct lsc_request_key *key)
{
	struct lsc_kv_request *request = lsc_kv_find(kv, key), **bucket;

	if (request)
		return request;
	request = calloc(1, sizeof(*request) + kv->layers * sizeof(request->layers[0]));
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

/* Unlinks and frees the request that *at points to. */
static void drop_at(struct lsc_kv *kv, struct lsc_kv_request **at)
{
	struct lsc_kv_request *request = *at;

	*at = request->next;
	for (uint32_t layer = 0; layer < kv->layers; layer++) {
		lsc_kv_cut(kv, request, layer, 0);
		free(request->layers[layer].pages);
	}
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

void lsc_kv_drop_client(struct lsc_kv *kv, const uint8_t client[16])
{
	drop_matching(kv, client);
}

void lsc_kv_release(struct lsc_kv *kv)
{
	struct lsc_kv_page *page, *next;

	drop_matching(kv, NULL);
	for (page = kv->free; page; page = next) {
		next = page->next;
		free(page);
	}
	free(kv->buckets);
	*kv = (struct lsc_kv)LSC_KV_INIT;
}
