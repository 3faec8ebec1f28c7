/* KV pages in GPU memory, and the tables by which kernels find them.
 *
 * exec/kv.h counts pages and says which belong to whom; their pointers are the device's.  Each
 * request has a table on the GPU, [layers][max_pages] of pages, which kernels fill as positions are
 * run (launchers.h): the host sends a row's own page with the row, and nothing else.
 */
#ifndef LSC_CUDA_PAGES_H
#define LSC_CUDA_PAGES_H

#include <cuda_runtime_api.h>
#include <stdint.h>

#include "base/err.h"
#include "exec/kv.h"

struct lsc_cuda_pages {
	uint64_t page_bytes, table_bytes;
	cudaStream_t stream; /* borrowed: clears new pages */
	void **slabs;        /* of several pages each */
	uint32_t n_slabs, slabs_cap;
	void **free;                        /* pages */
	uint64_t n_free, free_cap, n_pages; /* n_pages: of all slabs */
	struct lsc_cuda_table *tables;      /* all, linked */
};

#define LSC_CUDA_PAGES_INIT                                                                        \
	{                                                                                          \
		0                                                                                  \
	}

/* Makes kv's pages come from here; limit is in bytes, 0: what the device has left beyond `keep`. */
int lsc_cuda_pages_open(struct lsc_cuda_pages *pages, struct lsc_kv *kv, uint64_t page_bytes,
			uint64_t table_bytes, uint64_t limit, uint64_t keep, cudaStream_t stream,
			struct lsc_err *err);
void lsc_cuda_pages_close(struct lsc_cuda_pages *pages);

/* The request's table on the GPU, made where it has none; NULL: no memory. */
void **lsc_cuda_pages_table(struct lsc_cuda_pages *pages, struct lsc_kv_request *request);

#endif
