/* q8 - tiles as lsc-image(5) has them: where each value lies, how it is rounded, what comes back */
#include "model/q8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "model/dtype.h"
#include "matrix.h"
#include "tap.h"

static uint32_t state = 1;

static float uniform(void)
{
	state = state * 1664525u + 1013904223u;
	return (float)(state >> 8) / (1 << 23) - 1;
}

static float half_at(const uint8_t *at)
{
	float value;

	lsc_dtype_to_f32(LSC_DTYPE_F16, at, &value, 1);
	return value;
}

static void test_sizes(void)
{
	static const struct {
		uint32_t rows, cols;
		uint64_t bytes;
	} cases[] = {
		{1, 1, 512 + 64},    {16, 32, 512 + 64},   {17, 32, 2 * (512 + 64)},
		{16, 33, 1024 + 64}, {16, 96, 1536 + 128}, {32, 4096, 34 * 4096},
	};
	unsigned wrong = 0;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++)
		wrong += lsc_dtype_matrix_bytes(LSC_DTYPE_Q8, cases[i].rows, cases[i].cols) !=
			 cases[i].bytes;
	ok(wrong == 0, "matrices take the bytes of the page");
	ok(lsc_dtype_matrix_bytes(LSC_DTYPE_BF16, 3, 5) == 30 &&
		   lsc_dtype_matrix_bytes(LSC_DTYPE_F32, 3, 5) == 60,
	   "others those of their elements");
}

/* Every value against the page's addresses and its rounding, spelt out. */
static void test_matrix(uint32_t rows, uint32_t cols)
{
	uint64_t bytes = lsc_dtype_matrix_bytes(LSC_DTYPE_Q8, rows, cols);
	uint32_t c = (cols + 31) / 32 * 32;
	uint64_t tile_bytes = 16 * (uint64_t)c + (c + 63) / 64 * 64;
	uint8_t *matrix = malloc(bytes), *seen = calloc(bytes, 1);
	float *values = malloc((size_t)rows * cols * sizeof(*values));
	float *row = malloc(cols * sizeof(*row));
	unsigned misplaced = 0, far = 0, unread = 0, padding = 0;

	for (size_t i = 0; i < (size_t)rows * cols; i++)
		values[i] = uniform() * (i % 5 ? 1 : 0.01f);
	memset(matrix, 0xff, bytes);
	matrix_from_f32(LSC_DTYPE_Q8, values, rows, cols, matrix);
	for (uint32_t r = 0; r < rows; r++) {
		const uint64_t at = r / 16 * tile_bytes;

		lsc_dtype_matrix_row(LSC_DTYPE_Q8, matrix, r, cols, row);
		for (uint32_t k = 0; k < cols; k++) {
			uint32_t first = k / 32 * 32, n = LSC_MIN(cols - first, 32);
			uint64_t q_at = at + 64 * (k / 4) + 4 * (r % 16) + k % 4;
			uint64_t scale_at = at + 16 * c + 32 * (k / 32) + 2 * (r % 16);
			float largest = 0, value = values[(size_t)r * cols + k], scale;
			int q = (int8_t)matrix[q_at];

			seen[q_at] = seen[scale_at] = seen[scale_at + 1] = 1;
			for (uint32_t i = 0; i < n; i++)
				largest =
					fmaxf(largest, fabsf(values[(size_t)r * cols + first + i]));
			scale = half_at(matrix + scale_at);
			misplaced += fabsf(scale - largest / 127) > largest / 127 / 2048;
			misplaced += (float)q != nearbyintf(value / scale) || q < -127;
			far += fabsf(row[k] - value) > scale * 0.5001f;
			unread += row[k] != scale * (float)q;
		}
	}
	for (uint64_t i = 0; i < bytes; i++)
		padding += !seen[i] && matrix[i] != 0;
	ok(misplaced == 0 && padding == 0, "%u x %u: all lies where the page says, and zeros", rows,
	   cols);
	ok(unread == 0 && far == 0, "and is read to within half a step");
	free(matrix);
	free(seen);
	free(values);
	free(row);
}

static void test_edges(void)
{
	float row[64] = {0}, back[64];
	uint8_t tile[1024 + 64] = {0};

	row[0] = 127; /* a scale of 1, so that halves are seen */
	row[1] = 0.5f;
	row[2] = 1.5f;
	row[3] = -2.5f;
	row[32] = 1e-7f; /* a scale of no normal half: 127 of them are the most */
	row[33] = -1e-12f;
	lsc_q8_put_row(tile, 3, 64, row);
	lsc_q8_get_row(tile, 3, 64, back);
	ok(back[0] == 127 && back[1] == 0 && back[2] == 2 && back[3] == -2, "halves go to even");
	ok(back[32] == 0 && back[33] == 0, "what is smaller than all scales is zero");
	row[32] = 1e-5f;
	lsc_q8_put_row(tile, 4, 64, row);
	lsc_q8_get_row(tile, 4, 64, back);
	ok(back[32] == 127 * 0x1p-24f, "and what a small scale does not reach is cut");
	row[5] = -LSC_Q8_MAX;
	lsc_q8_put_row(tile, 15, 64, row);
	lsc_q8_get_row(tile, 15, 64, back);
	ok(back[5] == -LSC_Q8_MAX, "the largest there is");
}

/* Blocks of GGUF come through bit for bit, whatever their scale and their largest value. */
static void test_blocks(void)
{
	enum { COLS = 96 };
	uint8_t blocks[COLS / 32 * LSC_Q8_BLOCK_BYTES], tile[16 * COLS + 128], none[sizeof(tile)];
	float want[COLS], got[COLS];
	unsigned wrong = 0;

	memset(none, 0, sizeof(none));
	for (uint32_t r = 0; r < 1000; r++) {
		memset(tile, 0, sizeof(tile));
		for (uint32_t b = 0; b < COLS / 32; b++) {
			uint16_t scale = (uint16_t)(r * 61 + b * 7919) & 0xfbff; /* finite */

			memcpy(blocks + b * LSC_Q8_BLOCK_BYTES, &scale, 2);
			for (uint32_t i = 0; i < 32; i++)
				blocks[b * LSC_Q8_BLOCK_BYTES + 2 + i] =
					(uint8_t)(int8_t)(uniform() * 127);
		}
		lsc_dtype_to_f32(LSC_DTYPE_Q8_0, blocks, want, COLS);
		wrong += !lsc_q8_put_blocks(tile, r % 16, COLS, blocks);
		lsc_q8_get_row(tile, r % 16, COLS, got);
		wrong += memcmp(want, got, sizeof(want)) != 0;
	}
	ok(wrong == 0, "blocks of Q8_0 keep every bit");
	blocks[LSC_Q8_BLOCK_BYTES + 20] = 0x80;
	memset(tile, 0, sizeof(tile));
	ok(!lsc_q8_put_blocks(tile, 0, COLS, blocks) && !memcmp(tile, none, sizeof(tile)),
	   "-128 is not put");
	blocks[LSC_Q8_BLOCK_BYTES + 20] = 0x81;
	blocks[2 * LSC_Q8_BLOCK_BYTES + 1] = 0xfc;
	ok(!lsc_q8_put_blocks(tile, 0, COLS, blocks) && !memcmp(tile, none, sizeof(tile)),
	   "nor a scale without end");
}

int main(void)
{
	static const uint32_t shapes[][2] = {{1, 1}, {16, 32}, {33, 100}, {19, 172}, {48, 256}};

	test_sizes();
	for (size_t i = 0; i < LSC_ARRAY_SIZE(shapes); i++)
		test_matrix(shapes[i][0], shapes[i][1]);
	test_edges();
	test_blocks();
	return done_testing();
}
