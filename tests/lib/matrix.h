/* Matrices of any type of an image, from floats. */
#ifndef LSC_TESTS_MATRIX_H
#define LSC_TESTS_MATRIX_H

#include <string.h>

#include "model/dtype.h"
#include "model/q8.h"

static inline void matrix_from_f32(enum lsc_dtype dtype, const float *values, uint64_t rows,
				   uint32_t cols, void *ret_matrix)
{
	uint8_t *at = ret_matrix;

	if (dtype != LSC_DTYPE_Q8) {
		lsc_dtype_from_f32(dtype, values, at, rows * cols);
		return;
	}
	memset(at, 0, lsc_dtype_matrix_bytes(dtype, rows, cols));
	for (uint64_t row = 0; row < rows; row++)
		lsc_q8_put_row(at + row / LSC_Q8_ROWS * lsc_q8_tile_bytes(cols), row % LSC_Q8_ROWS,
			       cols, values + row * cols);
}

#endif
