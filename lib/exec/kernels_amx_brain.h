/* Products of bf16 weights by tiles (kernels.h); included by kernels_amx.c.
 *
 * 16 rows by 32 columns of weights are a register as they lie in the image.  Activations are the
 * other factor: pairs of columns below each other, positions side by side.  That is how one
 * position lies anyway; more are spread, 16 or 32 of them at a time.
 */
#define AMX_POSITIONS 16
#define AMX_COLUMNS   2048      /* spread at once */
#define AMX_ROWS      512       /* sums kept at once */
#define AMX_KEPT      (1 << 20) /* bytes of weights that stay in the second-level cache */
#define AMX_TILE      256       /* sums of a tile */
#define AMX_AHEAD     2         /* steps */

/* Registers; digits, for they become a part of their names. */
#define SUM_0 0
#define SUM_1 1
#define SUM_2 2
#define SUM_3 3
#define W_0   4
#define W_1   5
#define X_0   6
#define X_1   7

struct amx_from {
	const uint8_t *w;
	size_t row_bytes;
	const uint8_t *x; /* registers one after another, x_tiles of them a step */
	size_t x_bytes;   /* of a register's row */
	size_t x_step;    /* from a step to the next */
	uint32_t steps;   /* whole ones */
	uint32_t left;    /* columns after them */
	bool first;       /* of all who read these weights */
};

LANES void amx_shapes(uint32_t rows, uint32_t positions)
{
	struct tile_shapes shapes = {.palette = 1};

	for (int tile = SUM_0; tile <= SUM_3; tile++)
		tile_shape(&shapes, tile, rows, positions * 4);
	tile_shape(&shapes, W_0, rows, 64);
	tile_shape(&shapes, W_1, rows, 64);
	tile_shape(&shapes, X_0, 16, positions * 4);
	tile_shape(&shapes, X_1, 16, positions * 4);
	_tile_loadconfig(&shapes);
}

/* The columns after the last whole step, of some rows. */
LANES void amx_tail(const struct amx_from *from, uint32_t rows, uint8_t (*tail)[64])
{
	memset(tail, 0, rows * sizeof(*tail));
	for (uint32_t r = 0; r < rows; r++)
		memcpy(tail[r], from->w + r * from->row_bytes + (size_t)from->steps * 64,
		       from->left * sizeof(uint16_t));
}

/* Rows are streams that the processor follows by itself; it is told where the next rows begin. */
LANES void amx_fetch(const struct amx_from *from, uint32_t step, const uint32_t rows)
{
	if (step + AMX_AHEAD < from->steps)
		return;
	UNROLL for (uint32_t r = 0; r < rows; r++) __builtin_prefetch(
		from->w + (rows + r) * from->row_bytes + (step + AMX_AHEAD - from->steps) * 64, 0,
		2);
}

/* 32 rows by two registers of positions. */
TARGET static void amx_wide(const struct amx_from *from, float *sums)
{
	const uint8_t *w = from->w, *x = from->x;
	size_t apart = from->row_bytes;
	uint8_t tail[32][64];

#define AMX_STEP                                                                                   \
	do {                                                                                       \
		_tile_loadd(W_0, w, apart);                                                        \
		_tile_loadd(X_0, x, 64);                                                           \
		_tile_dpbf16ps(SUM_0, W_0, X_0);                                                   \
		_tile_loadd(X_1, x + 1024, 64);                                                    \
		_tile_dpbf16ps(SUM_1, W_0, X_1);                                                   \
		_tile_loadd(W_1, w + 16 * apart, apart);                                           \
		_tile_dpbf16ps(SUM_2, W_1, X_0);                                                   \
		_tile_dpbf16ps(SUM_3, W_1, X_1);                                                   \
	} while (0)
	_tile_loadd(SUM_0, sums, 64);
	_tile_loadd(SUM_1, sums + AMX_TILE, 64);
	_tile_loadd(SUM_2, sums + 2 * AMX_TILE, 64);
	_tile_loadd(SUM_3, sums + 3 * AMX_TILE, 64);
	for (uint32_t step = 0; step < from->steps; step++, w += 64, x += from->x_step) {
		if (from->first)
			amx_fetch(from, step, 32);
		AMX_STEP;
	}
	if (from->left) {
		amx_tail(from, 32, tail);
		w = tail[0];
		apart = 64;
		AMX_STEP;
	}
	_tile_stored(SUM_0, sums, 64);
	_tile_stored(SUM_1, sums + AMX_TILE, 64);
	_tile_stored(SUM_2, sums + 2 * AMX_TILE, 64);
	_tile_stored(SUM_3, sums + 3 * AMX_TILE, 64);
#undef AMX_STEP
}

/* Up to 16 rows, as the shapes say, by one register of positions: as fast as memory. */
TARGET static void amx_low(const struct amx_from *from, uint32_t rows, float *sums)
{
	const uint8_t *w = from->w, *x = from->x;
	uint8_t tail[16][64];

	_tile_loadd(SUM_0, sums, from->x_bytes);
	for (uint32_t step = 0; step < from->steps; step++, w += 64, x += from->x_step) {
		if (from->first)
			amx_fetch(from, step, 16);
		_tile_loadd(W_0, w, from->row_bytes);
		_tile_loadd(X_0, x, from->x_bytes);
		_tile_dpbf16ps(SUM_0, W_0, X_0);
	}
	if (from->left) {
		amx_tail(from, rows, tail);
		_tile_loadd(W_0, tail, 64);
		_tile_loadd(X_0, x, from->x_bytes);
		_tile_dpbf16ps(SUM_0, W_0, X_0);
	}
	_tile_stored(SUM_0, sums, from->x_bytes);
}

/* Some rows by one register of positions or two; sums has as many tiles for each 16 of them. */
TARGET static void amx_rows(struct amx_from from, uint32_t rows, uint32_t x_tiles, float *sums)
{
	const uint8_t *x = from.x;
	uint32_t n;

	for (; rows; rows -= n, from.w += n * from.row_bytes) {
		n = LSC_MIN(rows, 16);
		if (x_tiles == 2 && rows >= 32) {
			n = 32;
			amx_wide(&from, sums);
			sums += 4 * AMX_TILE;
			continue;
		}
		if (n < 16)
			amx_shapes(n, from.x_bytes / 4);
		for (uint32_t t = 0; t < x_tiles; t++, sums += AMX_TILE) {
			from.x = x + t * 1024;
			amx_low(&from, n, sums);
		}
		from.x = x;
		if (n < 16)
			amx_shapes(16, from.x_bytes / 4);
	}
}

/* Rows of 16 numbers become columns. */
LANES void amx_transpose(__m512i *v)
{
	__m512i t[16];

	UNROLL for (int i = 0; i < 16; i += 2)
	{
		t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
	}
	UNROLL for (int i = 0; i < 16; i += 4)
	{
		v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	UNROLL for (int i = 0; i < 4; i++)
	{
		t[i] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
		t[i + 4] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
		t[i + 8] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
		t[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
	}
	UNROLL for (int i = 0; i < 4; i++)
	{
		v[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
		v[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
		v[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
		v[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
	}
}

/* Up to 16 positions beside each other, a register every x_step bytes; those missing are zero. */
TARGET static void amx_spread(const struct lsc_matmul *job, uint32_t pos, uint32_t n,
			      uint32_t column, uint32_t steps, uint8_t *to, size_t x_step)
{
	const uint8_t *x = job->packed + pos * job->packed_stride + column / 32 * STEP_BYTES;

	for (uint32_t step = 0; step < steps; step++, x += 64, to += x_step) {
		__m512i v[16];

		UNROLL for (uint32_t c = 0; c < 16; c++) v[c] =
			c < n ? _mm512_loadu_si512(x + c * job->packed_stride)
			      : _mm512_setzero_si512();
		amx_transpose(v);
		UNROLL for (int i = 0; i < 16; i++) _mm512_store_si512(to + i * 64, v[i]);
	}
}

/* Sums of rows by positions go to y, which has them the other way round. */
TARGET static void amx_put(const struct lsc_matmul *job, uint32_t row, uint32_t rows, uint32_t pos,
			   uint32_t n, const float *sums)
{
	const __mmask16 mask = rows < 16 ? mask_of(rows) : 0xffff;
	float *y = job->y + pos * job->y_stride + row;
	__m512i v[16];

	UNROLL for (int i = 0; i < 16; i++) v[i] = _mm512_load_si512(sums + i * 16);
	amx_transpose(v);
	UNROLL for (uint32_t c = 0; c < 16; c++)
	{
		__m512 sum = _mm512_castsi512_ps(v[c]);
		float *at = y + c * job->y_stride;

		if (c >= n)
			break;
		if (job->add)
			sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, at), sum);
		_mm512_mask_storeu_ps(at, mask, sum);
	}
}

/* Up to 32 positions past rows that stay in the cache. */
TARGET static void amx_pass(const struct lsc_matmul *job, uint32_t row, uint32_t rows, uint32_t pos,
			    uint8_t *spread, float *sums)
{
	const uint32_t n = LSC_MIN(job->m - pos, 2 * AMX_POSITIONS);
	const uint32_t x_tiles = n > AMX_POSITIONS ? 2 : 1;

	memset(sums, 0, lsc_div_up(rows, 16) * x_tiles * AMX_TILE * sizeof(*sums));
	for (uint32_t column = 0; column < job->cols; column += AMX_COLUMNS) {
		const uint32_t width = LSC_MIN(job->cols - column, AMX_COLUMNS);
		const uint16_t *w = (const uint16_t *)job->w + (size_t)row * job->cols + column;
		struct amx_from from = {
			.w = (const uint8_t *)w,
			.row_bytes = job->cols * sizeof(*w),
			.x = spread,
			.x_bytes = 64,
			.x_step = x_tiles * 1024,
			.steps = width / 32,
			.left = width % 32,
			.first = pos == 0,
		};

		for (uint32_t t = 0; t < x_tiles; t++)
			amx_spread(job, pos + t * AMX_POSITIONS,
				   LSC_MIN(n - t * AMX_POSITIONS, AMX_POSITIONS), column,
				   lsc_div_up(width, 32), spread + t * 1024, from.x_step);
		amx_rows(from, rows, x_tiles, sums);
	}
	for (uint32_t r = 0; r < rows; r += 16)
		for (uint32_t t = 0; t < x_tiles; t++, sums += AMX_TILE)
			amx_put(job, row + r, LSC_MIN(rows - r, 16), pos + t * AMX_POSITIONS,
				LSC_MIN(n - t * AMX_POSITIONS, AMX_POSITIONS), sums);
}

TARGET static void amx_brain_many(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	_Alignas(64) uint8_t spread[2 * AMX_POSITIONS * AMX_COLUMNS * 2];
	_Alignas(64) float sums[AMX_ROWS * 2 * AMX_POSITIONS];
	const uint32_t kept = AMX_KEPT / (LSC_MIN(job->cols, AMX_COLUMNS) * 2);
	const uint32_t most = kept > AMX_ROWS ? AMX_ROWS : kept / 64 * 64;

	amx_shapes(16, AMX_POSITIONS);
	for (uint32_t row = first; row < first + n; row += most)
		for (uint32_t pos = 0; pos < job->m; pos += 2 * AMX_POSITIONS)
			amx_pass(job, row, LSC_MIN(first + n - row, most), pos, spread, sums);
}

/* One position: its pairs of columns are a register's rows, each of one pair. */
TARGET static void amx_brain_one(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	struct amx_from from = {
		.w = (const uint8_t *)job->w + (size_t)first * job->cols * 2,
		.row_bytes = (size_t)job->cols * 2,
		.x = job->packed,
		.x_bytes = 4,
		.x_step = STEP_BYTES,
		.steps = job->cols / 32,
		.left = job->cols % 32,
		.first = true,
	};
	float *y = job->y + first;

	amx_shapes(16, 1);
	for (uint32_t rows; n; n -= rows, y += rows, from.w += rows * from.row_bytes) {
		_Alignas(64) float sums[16] = {0};
		__mmask16 mask;
		__m512 v;

		rows = LSC_MIN(n, 16);
		mask = rows < 16 ? mask_of(rows) : 0xffff;
		amx_rows(from, rows, 1, sums);
		v = _mm512_load_ps(sums);
		if (job->add)
			v = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), v);
		_mm512_mask_storeu_ps(y, mask, v);
	}
}

TARGET static void amx_brain_matmul(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	unsigned mode = flush_begin();

	if (job->m == 1)
		amx_brain_one(job, first, n);
	else
		amx_brain_many(job, first, n);
	_tile_release();
	flush_end(mode);
}
