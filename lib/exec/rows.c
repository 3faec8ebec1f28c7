/* rows - memory for them, and work on them in parts */
#include "exec/rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "model/dtype.h"

#define FEW_ROWS   4  /* up to this many, small steps stay on the caller's thread */
#define TASK_ROWS  16 /* of a matrix in one task at least, and its multiple */
#define TASKS_EACH 4  /* tasks of a product for each thread */

void *lsc_rows_new(uint64_t n, size_t size)
{
	uint64_t bytes = lsc_align_up(n * size, 64);
	void *data = aligned_alloc(64, bytes);

	return data ? memset(data, 0, bytes) : NULL;
}

void lsc_rows_each(struct lsc_pool *pool, lsc_pool_fn *fn, void *data, uint32_t n)
{
	if (n > FEW_ROWS) {
		lsc_pool_run(pool, fn, data, n);
		return;
	}
	for (uint32_t row = 0; row < n; row++)
		fn(data, row, 0);
}

uint32_t lsc_rows_in_task(const struct lsc_pool *pool, uint32_t n, uint32_t rows)
{
	const uint32_t threads = lsc_pool_threads(pool);
	const uint64_t share = lsc_div_up((uint64_t)n * rows, (uint64_t)threads * TASKS_EACH);

	if (threads == 1)
		return rows;
	return (uint32_t)LSC_MIN(lsc_align_up(share, TASK_ROWS), rows);
}

void lsc_rows_gate_up(const struct lsc_kernels *kernels, lsc_matmul_fn *matmul,
		      const struct lsc_matmul *gate, uint32_t rows, size_t up_offset,
		      uint32_t first, uint32_t n)
{
	struct lsc_matmul up = *gate;

	up.w = (const uint8_t *)gate->w + lsc_dtype_matrix_bytes(gate->dtype, rows, gate->cols);
	up.y = gate->y + up_offset;
	matmul(gate, first, n);
	matmul(&up, first, n);
	for (uint32_t p = 0; p < gate->m; p++) {
		float *at = gate->y + p * gate->y_stride + first;

		kernels->swiglu(at, at + up_offset, n);
	}
}
