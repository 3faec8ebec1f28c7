/* Products of bf16 weights with activations rounded to bf16 (kernels.h); included by kernels_X.c.
 *
 * The including file defines TARGET, LANES, `lanes` and the tile sizes (STREAM_ROWS
 * for one position).  A step of 32 columns is worked through in PARTS parts, in order: wpart is
 * what part_load() makes of the weights, xpart what xpart_load() finds in STEP_BYTES of packed
 * activations, part_fma() adds their products.  flush_begin() has subnormals count as zero until
 * flush_end(); put_one() and put_four() add up lanes and store them.
 *
 * Several positions: a few rows by LSC_BRAIN_COLUMNS columns stay in the first-level cache while
 * all positions pass over them, and the next rows are fetched meanwhile.  One position: weights are
 * used as they stream by.
 */
#define BLOCK_BRAIN 8 /* rows that stay: 16 KiB, half a first-level cache */

struct brain_rows {
	const uint8_t *w;
	size_t row_bytes, step_bytes; /* from a row to the next, from a step to the next */
	uint32_t steps;               /* whole ones */
	uint32_t left;                /* columns after them */
	const uint8_t *soon;          /* fetched meanwhile, some lines each step */
};

/* rows x cols sums of products over the steps of one block of columns; each step fetches `fetch`
 * lines of what is used soon. */
LANES void brain_tile(const struct lsc_matmul *job, const struct brain_rows *from, uint32_t row,
		      uint32_t pos, uint32_t column, const int rows, const int cols,
		      const int fetch)
{
	const uint8_t *x = job->packed + pos * job->packed_stride + column / 32 * STEP_BYTES;
	const uint8_t *w = from->w;
	const size_t step_bytes = from->step_bytes, row_bytes = from->row_bytes;
	uint16_t tail[STREAM_ROWS][32];
	lanes sum[STREAM_ROWS][TILE_COLS];

#define BRAIN_STEP(weights)                                                                        \
	UNROLL for (int i = 0; i < PARTS; i++)                                                     \
	{                                                                                          \
		wpart a[STREAM_ROWS];                                                              \
                                                                                                   \
		UNROLL for (int r = 0; r < rows; r++) a[r] = part_load(weights, i);                \
		UNROLL for (int c = 0; c < cols; c++)                                              \
		{                                                                                  \
			xpart b = xpart_load(x + (size_t)c * job->packed_stride, i);               \
                                                                                                   \
			UNROLL for (int r = 0; r < rows; r++) sum[r][c] =                          \
				part_fma(a[r], b, sum[r][c], i);                                   \
		}                                                                                  \
	}
	UNROLL for (int r = 0; r < rows; r++) UNROLL for (int c = 0; c < cols; c++) sum[r][c] =
		lanes_set(0);
	for (uint32_t step = 0; step < from->steps; step++) {
		UNROLL for (int r = 0; r < fetch; r++)
			__builtin_prefetch(from->soon + ((size_t)step * fetch + r) * 64, 0, 2);
		BRAIN_STEP((const uint16_t *)(w + r * row_bytes));
		w += step_bytes;
		x += STEP_BYTES;
	}
	if (from->left) {
		memset(tail, 0, sizeof(tail));
		for (int r = 0; r < rows; r++)
			memcpy(tail[r], w + r * row_bytes, from->left * sizeof(tail[0][0]));
		BRAIN_STEP(tail[r]);
	}
#undef BRAIN_STEP
	UNROLL for (int c = 0; c < cols; c++)
	{
		float *y = job->y + (pos + (uint32_t)c) * job->y_stride + row;
		const bool add = job->add || column;
		int r = 0;

		UNROLL for (; r + 4 <= rows; r += 4) put_four(y + r, sum[r][c], sum[r + 1][c],
							      sum[r + 2][c], sum[r + 3][c], add);
		UNROLL for (; r < rows; r++) put_one(y + r, sum[r][c], add);
	}
}

/* n positions from pos on past `rows` rows. */
LANES void brain_positions(const struct lsc_matmul *job, const struct brain_rows *from,
			   uint32_t row, uint32_t pos, uint32_t n, uint32_t column, const int rows)
{
	for (; n >= TILE_COLS; pos += TILE_COLS, n -= TILE_COLS)
		brain_tile(job, from, row, pos, column, rows, TILE_COLS, 1);
	if (TILE_COLS > 3 && n == 3)
		brain_tile(job, from, row, pos, column, rows, TILE_COLS > 3 ? 3 : 1, 1);
	else if (TILE_COLS > 2 && n == 2)
		brain_tile(job, from, row, pos, column, rows, TILE_COLS > 2 ? 2 : 1, 1);
	else if (n)
		brain_tile(job, from, row, pos, column, rows, 1, 1);
}

TARGET __attribute__((noinline)) static void brain_tile_rows(const struct lsc_matmul *job,
							     const struct brain_rows *from,
							     uint32_t row, uint32_t pos, uint32_t n,
							     uint32_t column)
{
	brain_positions(job, from, row, pos, n, column, TILE_ROWS);
}

TARGET __attribute__((noinline)) static void brain_one_row(const struct lsc_matmul *job,
							   const struct brain_rows *from,
							   uint32_t row, uint32_t pos, uint32_t n,
							   uint32_t column)
{
	brain_positions(job, from, row, pos, n, column, 1);
}

TARGET __attribute__((noinline)) static void brain_stream(const struct lsc_matmul *job,
							  const struct brain_rows *from,
							  uint32_t row, uint32_t column)
{
	brain_tile(job, from, row, 0, column, STREAM_ROWS, 1, STREAM_ROWS);
}

/* The same sums where a row is one block, row after row: memory is read from its start to its end.
 */
TARGET __attribute__((noinline)) static void
brain_lines(const struct lsc_matmul *job, const struct brain_rows *from, uint32_t row)
{
	const uint8_t *x = job->packed, *soon = from->soon;
	float *y = job->y + row;

	for (int q = 0; q < STREAM_ROWS; q += 4) {
		lanes sum[4];

		UNROLL for (int r = 0; r < 4; r++)
		{
			const uint8_t *w = from->w + (size_t)(q + r) * from->row_bytes;
			const uint8_t *at = x;
			lanes one = lanes_set(0);

			for (uint32_t step = 0; step < from->steps; step++) {
				__builtin_prefetch(soon, 0, 2);
				UNROLL for (int i = 0; i < PARTS; i++) one =
					part_fma(part_load((const uint16_t *)w, i),
						 xpart_load(at, i), one, i);
				w += 64;
				at += STEP_BYTES;
				soon += 64;
			}
			if (from->left) {
				uint16_t tail[32] = {0};

				memcpy(tail, w, from->left * sizeof(tail[0]));
				UNROLL for (int i = 0; i < PARTS; i++) one =
					part_fma(part_load(tail, i), xpart_load(at, i), one, i);
			}
			sum[r] = one;
		}
		put_four(y + q, sum[0], sum[1], sum[2], sum[3], job->add);
	}
}

/* Rows from row on as they lie. */
LANES struct brain_rows brain_rows(const struct lsc_matmul *job, uint32_t row, uint32_t column,
				   uint32_t width)
{
	const uint16_t *w = (const uint16_t *)job->w + (size_t)row * job->cols + column;

	return (struct brain_rows){
		.w = (const uint8_t *)w,
		.row_bytes = job->cols * sizeof(*w),
		.step_bytes = 64,
		.steps = width / 32,
		.left = width % 32,
	};
}

/* --- one position: rows as they stream by --- */

/* While rows are used, as many of the next are fetched, into the second level: in the first,
 * fetches that wait for page tables keep the loads waiting. */
TARGET static void brain_one(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	for (uint32_t row = first, rows; n; row += rows, n -= rows) {
		rows = n < STREAM_ROWS ? 1 : STREAM_ROWS;
		for (uint32_t column = 0; column < job->cols; column += LSC_BRAIN_COLUMNS) {
			struct brain_rows from = brain_rows(
				job, row, column, LSC_MIN(job->cols - column, LSC_BRAIN_COLUMNS));

			from.soon = (const uint8_t *)job->w + (row + rows) * from.row_bytes +
				    column / 32 * rows * 64;
			if (rows > 1 && job->cols <= LSC_BRAIN_COLUMNS)
				brain_lines(job, &from, row);
			else if (rows > 1)
				brain_stream(job, &from, row, column);
			else
				brain_one_row(job, &from, row, 0, 1, column);
		}
	}
}

/* --- several positions: blocks of rows --- */

/* Rows a power of two apart share few lines of the cache: they are copied side by side, row r of
 * step s to s * TILE_ROWS + r of its tile.  They have whole steps alone. */
#define SHARES_LINES(row_bytes) ((row_bytes) % 2048 == 0)

TARGET static void brain_copy(struct brain_rows *from, uint32_t rows, uint8_t *to)
{
	const uint8_t *w = from->w;

	for (uint32_t r = 0; r < rows; r++, w += from->row_bytes) {
		uint8_t *at = to + (r / TILE_ROWS * from->steps * TILE_ROWS + r % TILE_ROWS) * 64;

		for (uint32_t step = 0; step < from->steps; step++, at += TILE_ROWS * 64)
			memcpy(at, w + step * 64, 64);
	}
	from->w = to;
	from->row_bytes = 64;
	from->step_bytes = TILE_ROWS * 64;
}

/* All positions past a block of rows.  While a tile runs it fetches a row of the next block; rows
 * that no tile is left for are fetched before. */
TARGET static void brain_block(const struct lsc_matmul *job, struct brain_rows from, uint32_t row,
			       uint32_t rows, uint32_t column, uint8_t *copy)
{
	const size_t apart = from.row_bytes;
	const uint8_t *next = from.w + rows * apart;
	const uint32_t tiles = (job->m + TILE_COLS - 1) / TILE_COLS * (rows / TILE_ROWS);
	uint32_t tile = 0;

	for (uint32_t r = tiles; r < BLOCK_BRAIN; r++)
		for (uint32_t step = 0; step < from.steps; step++)
			__builtin_prefetch(next + r * apart + step * 64, 0, 2);
	if (SHARES_LINES(apart))
		brain_copy(&from, rows, copy);
	for (uint32_t pos = 0; pos < job->m; pos += TILE_COLS) {
		const uint32_t cols = LSC_MIN(job->m - pos, TILE_COLS);
		struct brain_rows at = from;
		uint32_t r = 0;

		for (; r + TILE_ROWS <= rows; r += TILE_ROWS, tile++) {
			at.soon = tile < BLOCK_BRAIN ? next + tile * apart : at.w;
			brain_tile_rows(job, &at, row + r, pos, cols, column);
			at.w += at.step_bytes == 64 ? TILE_ROWS * at.row_bytes
						    : at.steps * at.step_bytes;
		}
		for (; r < rows; r++, at.w += at.row_bytes) {
			at.soon = at.w;
			brain_one_row(job, &at, row + r, pos, cols, column);
		}
	}
}

TARGET static void brain_many(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	_Alignas(64) uint8_t copy[BLOCK_BRAIN * LSC_BRAIN_COLUMNS * 2];

	for (uint32_t column = 0; column < job->cols; column += LSC_BRAIN_COLUMNS) {
		const uint32_t width = LSC_MIN(job->cols - column, LSC_BRAIN_COLUMNS);

		for (uint32_t row = first; row < first + n; row += BLOCK_BRAIN) {
			const struct brain_rows from = brain_rows(job, row, column, width);

			brain_block(job, from, row, LSC_MIN(first + n - row, BLOCK_BRAIN), column,
				    copy);
		}
	}
}

TARGET static void brain_matmul(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	unsigned mode = flush_begin();

	if (job->m == 1)
		brain_one(job, first, n);
	else
		brain_many(job, first, n);
	flush_end(mode);
}

#ifndef BRAIN_PACK
LANES uint32_t brain_round(float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	if (!(bits & 0x7f800000)) /* zero or subnormal */
		return bits & 0x80000000;
	if ((bits & 0x7fffffff) > 0x7f800000) /* not a number */
		return (bits & 0xffff0000) | 0x400000;
	return (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
}

/* As f32: the odd columns of a step, then the even ones. */
TARGET static void brain_pack(const float *x, uint32_t cols, uint8_t *packed)
{
	for (uint32_t i = 0; i < cols; i += 32, packed += STEP_BYTES) {
		const uint32_t n = LSC_MIN(cols - i, 32);
		uint32_t wide[32] = {0};

		for (uint32_t k = 0; k < n; k++)
			wide[k / 2 + (k % 2 ? 0 : 16)] = brain_round(x[i + k]);
		memcpy(packed, wide, sizeof(wide));
	}
}
#endif
