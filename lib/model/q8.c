/* q8 - rows into tiles and back */
#include "model/q8.h"

#include <math.h>
#include <string.h>

#include "base/macros.h"
#include "model/dtype.h"

struct block {
	uint16_t scale;
	int8_t q[LSC_Q8_COLS];
};

/* Divides by the scale as it is stored, so that rounding the scale costs nothing twice.  A scale
 * that is no normal half may be too small for the largest weight: that one is cut. */
static struct block quantise(const float *values, uint32_t n)
{
	struct block block = {0};
	float largest = 0, scale;

	for (uint32_t i = 0; i < n; i++)
		largest = LSC_MAX(largest, fabsf(values[i]));
	scale = largest / 127;
	lsc_dtype_from_f32(LSC_DTYPE_F16, &scale, &block.scale, 1);
	lsc_dtype_to_f32(LSC_DTYPE_F16, &block.scale, &scale, 1);
	for (uint32_t i = 0; scale > 0 && i < n; i++)
		block.q[i] = (int8_t)rintf(LSC_MIN(LSC_MAX(values[i] / scale, -127.0f), 127.0f));
	return block;
}

static void put_block(uint8_t *tile, uint32_t r, uint32_t cols, uint32_t index,
		      const struct block *block)
{
	uint8_t *to = tile + (size_t)index * LSC_Q8_COLS * LSC_Q8_ROWS + (size_t)r * 4;

	for (uint32_t i = 0; i < LSC_Q8_COLS; i += 4)
		memcpy(to + (size_t)i * LSC_Q8_ROWS, block->q + i, 4);
	memcpy(tile + lsc_q8_scales(cols) + ((size_t)index * LSC_Q8_ROWS + r) * 2, &block->scale,
	       2);
}

void lsc_q8_put_row(void *tile, uint32_t r, uint32_t cols, const float *row)
{
	for (uint32_t at = 0; at < cols; at += LSC_Q8_COLS) {
		struct block block = quantise(row + at, LSC_MIN(cols - at, LSC_Q8_COLS));

		put_block(tile, r, cols, at / LSC_Q8_COLS, &block);
	}
}

bool lsc_q8_put_blocks(void *tile, uint32_t r, uint32_t cols, const uint8_t *blocks)
{
	uint32_t n = lsc_q8_blocks(cols);

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *block = blocks + (size_t)i * LSC_Q8_BLOCK_BYTES;

		if ((block[1] & 0x7c) == 0x7c || memchr(block + 2, 0x80, LSC_Q8_COLS))
			return false;
	}
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *from = blocks + (size_t)i * LSC_Q8_BLOCK_BYTES;
		struct block block;

		memcpy(&block.scale, from, 2);
		memcpy(block.q, from + 2, LSC_Q8_COLS);
		put_block(tile, r, cols, i, &block);
	}
	return true;
}

void lsc_q8_get_row(const void *tile, uint32_t r, uint32_t cols, float *ret_row)
{
	const int8_t *q = (const int8_t *)tile + (size_t)r * 4;
	const uint8_t *scales = (const uint8_t *)tile + lsc_q8_scales(cols) + (size_t)r * 2;
	float scale = 0;

	for (uint32_t k = 0; k < cols; k++) {
		if (k % LSC_Q8_COLS == 0)
			lsc_dtype_to_f32(LSC_DTYPE_F16,
					 scales + (size_t)(k / LSC_Q8_COLS) * LSC_Q8_ROWS * 2,
					 &scale, 1);
		ret_row[k] = scale * (float)q[(size_t)(k / 4) * 64 + k % 4];
	}
}
