/* What decoder and experts have in common: memory for rows of activations, and how the work on rows
 * and on matrices is shared out.
 */
#ifndef LSC_EXEC_ROWS_H
#define LSC_EXEC_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "exec/kernels.h"
#include "exec/pool.h"

/* n zeros of so many bytes each, for free(): the elements that pad a row to the lanes must be zero,
 * and stay so.  NULL: no memory. */
void *lsc_rows_new(uint64_t n, size_t size);

/* fn for each of n rows: by the caller alone while there are few. */
void lsc_rows_each(struct lsc_pool *pool, lsc_pool_fn *fn, void *data, uint32_t n);

/* How many of a matrix's rows make a task, where n such matrices are multiplied at once. */
uint32_t lsc_rows_in_task(const struct lsc_pool *pool, uint32_t n, uint32_t rows);

/* n rows from first on of a gate and of the up that lies behind it, with their activation; both
 * have so many rows, and y has the up's up_offset behind the gate's. */
void lsc_rows_gate_up(const struct lsc_kernels *kernels, lsc_matmul_fn *matmul,
		      const struct lsc_matmul *gate, uint32_t rows, size_t up_offset,
		      uint32_t first, uint32_t n);

#endif
