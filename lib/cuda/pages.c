/* pages - memory on the GPU for keys and values, taken by the slab and kept */
#include "cuda/pages.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "cuda/runtime.h"

#define SLAB_BYTES       (32ull << 20)
#define DEFAULT_KV_BYTES (1ull << 30) /* where the device does not tell what it has */

struct lsc_cuda_table {
	struct lsc_cuda_table *next;
	void **device;
	bool used;
};

static int grow_free(struct lsc_cuda_pages *pages, uint64_t more)
{
	uint64_t cap = LSC_MAX(2 * pages->free_cap, pages->n_pages + more);
	void **grown;

	if (pages->n_pages + more <= pages->free_cap)
		return 0;
	grown = reallocarray(pages->free, cap, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	pages->free = grown;
	pages->free_cap = cap;
	return 0;
}

/* Room for all pages that there are in `free`, so that giving back cannot fail. */
static int add_slab(struct lsc_cuda_pages *pages)
{
	uint64_t n = LSC_MAX(1u, SLAB_BYTES / pages->page_bytes);
	void *slab = NULL;

	if (pages->n_slabs == pages->slabs_cap) {
		uint32_t cap = pages->slabs_cap ? 2 * pages->slabs_cap : 16;
		void **grown = reallocarray(pages->slabs, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		pages->slabs = grown;
		pages->slabs_cap = cap;
	}
	if (grow_free(pages, n) < 0 ||
	    lsc_cuda_zeros(&slab, n * pages->page_bytes, pages->stream, NULL) < 0) {
		cudaFree(slab);
		return -ENOMEM;
	}
	pages->slabs[pages->n_slabs++] = slab;
	pages->n_pages += n;
	while (n--)
		pages->free[pages->n_free++] = (uint8_t *)slab + n * pages->page_bytes;
	return 0;
}

static void *take(void *self)
{
	struct lsc_cuda_pages *pages = self;

	if (!pages->n_free && add_slab(pages) < 0)
		return NULL;
	return pages->free[--pages->n_free];
}

static void give(void *self, void *page)
{
	struct lsc_cuda_pages *pages = self;

	pages->free[pages->n_free++] = page;
}

static void forget(void *self, void *table)
{
	struct lsc_cuda_table *of = table;

	(void)self;
	of->used = false;
}

void **lsc_cuda_pages_table(struct lsc_cuda_pages *pages, struct lsc_kv_request *request)
{
	struct lsc_cuda_table *table = request->table;
	void *device = NULL;

	if (table)
		return table->device;
	for (table = pages->tables; table && table->used;)
		table = table->next;
	if (!table) {
		table = calloc(1, sizeof(*table));
		if (!table || cudaMalloc(&device, pages->table_bytes) != cudaSuccess) {
			free(table);
			return NULL;
		}
		table->device = device;
		table->next = pages->tables;
		pages->tables = table;
	}
	table->used = true;
	request->table = table;
	return table->device;
}

/* Nine tenths of what is left; the rest is for tables and whatever else runs there. */
static uint64_t default_limit(uint64_t keep)
{
	size_t left, total;

	if (cudaMemGetInfo(&left, &total) != cudaSuccess)
		return DEFAULT_KV_BYTES;
	return left > keep ? (left - keep) / 10 * 9 : 0;
}

int lsc_cuda_pages_open(struct lsc_cuda_pages *pages, struct lsc_kv *kv, uint64_t page_bytes,
			uint64_t table_bytes, uint64_t limit, uint64_t keep, cudaStream_t stream,
			struct lsc_err *err)
{
	if (!limit)
		limit = default_limit(keep);
	if (limit < page_bytes)
		return lsc_err_set(err, EINVAL, "%llu bytes of KV hold no page of %llu",
				   (unsigned long long)limit, (unsigned long long)page_bytes);
	*pages = (struct lsc_cuda_pages){
		.page_bytes = page_bytes, .table_bytes = table_bytes, .stream = stream};
	kv->memory = (struct lsc_kv_memory){take, give, forget, pages};
	kv->page_bytes = page_bytes;
	kv->limit_pages = limit / page_bytes;
	return 0;
}

void lsc_cuda_pages_close(struct lsc_cuda_pages *pages)
{
	struct lsc_cuda_table *table, *next;

	for (table = pages->tables; table; table = next) {
		next = table->next;
		cudaFree(table->device);
		free(table);
	}
	for (uint32_t i = 0; i < pages->n_slabs; i++)
		cudaFree(pages->slabs[i]);
	free(pages->slabs);
	free(pages->free);
	*pages = (struct lsc_cuda_pages)LSC_CUDA_PAGES_INIT;
}
