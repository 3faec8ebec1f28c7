/* Quantised matrices as images store them (lsc-image(5)): 8 bits a weight, a scale for 32.
 *
 * A tile holds 16 rows: [cols / 4][16][4] of int8, so that 64 bytes hold four columns of all rows,
 * then the scales, [cols / 32][16] of f16.  Columns count as filled up to whole blocks of 32.  A
 * dot product of int8 fours goes over a tile from its start to its end, one sum for each row.
 */
#ifndef LSC_MODEL_Q8_H
#define LSC_MODEL_Q8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LSC_Q8_ROWS        16u /* of a tile */
#define LSC_Q8_COLS        32u /* of a block */
#define LSC_Q8_BLOCK_BYTES 34u /* of GGUF's Q8_0: the scale, 32 int8 */

static inline uint32_t lsc_q8_blocks(uint32_t cols)
{
	return (cols + LSC_Q8_COLS - 1) / LSC_Q8_COLS;
}

/* Where the scales begin in a tile. */
static inline size_t lsc_q8_scales(uint32_t cols)
{
	return (size_t)lsc_q8_blocks(cols) * LSC_Q8_COLS * LSC_Q8_ROWS;
}

static inline size_t lsc_q8_tile_bytes(uint32_t cols)
{
	size_t scales = (size_t)lsc_q8_blocks(cols) * LSC_Q8_ROWS * 2;

	return lsc_q8_scales(cols) + (scales + 63) / 64 * 64;
}

/* Row r < 16 of a tile.  What is put must go into a tile of zeros; the values are finite, and at
 * most LSC_Q8_MAX. */
#define LSC_Q8_MAX 8319008.0f /* 127 times the largest half */

void lsc_q8_put_row(void *tile, uint32_t r, uint32_t cols, const float *row);
void lsc_q8_get_row(const void *tile, uint32_t r, uint32_t cols, float *ret_row);

/* The same for a row of Q8_0 blocks, bit for bit.  False where there is a -128 in them, or a scale
 * that is infinite or no number, which q8 does not have: then nothing is put. */
bool lsc_q8_put_blocks(void *tile, uint32_t r, uint32_t cols, const uint8_t *blocks);

#endif
