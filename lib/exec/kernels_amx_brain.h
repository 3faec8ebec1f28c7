/* Products of bf16 weights by tiles (kernels.h); included by kernels_amx.c.
 *
 * 16 rows by 32 columns of weights are a register as they lie in the image.  Activations are the
 * other factor: pairs of columns below each other, positions side by side.  That is how one
 * position lies anyway; 16 are arranged so, in place where there is room, or else in a copy.
 *
 * Up to 16 positions, or 64 that lie arranged: weights are used as they stream by.  More: a panel
 * of 32 rows is put side by side, some columns at a time, and stays in the first-level cache while
 * all positions pass.
 */
#define AMX_POSITIONS 16
#define AMX_FLOW      4         /* times 16 positions by which weights are used as they stream by */
#define AMX_COLUMNS   512       /* of a panel, or of a copy */
#define AMX_COPY      4096      /* columns of a copy where weights stream by */
#define AMX_MOST      512       /* positions that pass a panel before the next one's turn */
#define AMX_KEPT      (1 << 20) /* and bytes of them: the second-level cache keeps them */
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

/* 16 positions: the pairs of columns of a step are rows `apart` bytes from each other. */
struct amx_x {
	const uint8_t *at;
	size_t apart, step; /* to the next step */
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

/* What a step's rows, in W_0, add to the sums of so many times 16 positions. */
LANES void amx_add(const uint8_t *at, size_t apart, size_t group, uint32_t groups)
{
	_tile_loadd(X_0, at, apart);
	_tile_dpbf16ps(SUM_0, W_0, X_0);
	if (groups > 1) {
		_tile_loadd(X_1, at + group, apart);
		_tile_dpbf16ps(SUM_1, W_0, X_1);
	}
	if (groups > 2) {
		_tile_loadd(X_0, at + 2 * group, apart);
		_tile_dpbf16ps(SUM_2, W_0, X_0);
	}
	if (groups > 3) {
		_tile_loadd(X_1, at + 3 * group, apart);
		_tile_dpbf16ps(SUM_3, W_0, X_1);
	}
}

/* Up to 16 rows, as the shapes say: added to sums of up to 16 positions, or the sums of so many
 * groups of 16, each as far behind the one before.  Rows are streams that the processor follows by
 * itself; it is told where the next rows begin. */
LANES void amx_flow(const uint8_t *w, size_t row_bytes, uint32_t rows, uint32_t columns,
		    const struct amx_x *x, size_t group, uint32_t groups, float *sums)
{
	const uint32_t steps = columns / 32;
	const uint8_t *next = w + 16 * row_bytes, *at = x->at;
	const size_t sums_apart = x->step == STEP_BYTES && x->apart == 4 ? 4 : 64;

	tile_written();
	if (groups == 1)
		_tile_loadd(SUM_0, sums, sums_apart);
	else
		_tile_zero(SUM_0);
	_tile_zero(SUM_1);
	_tile_zero(SUM_2);
	_tile_zero(SUM_3);
	for (uint32_t step = 0; step < steps; step++, w += 64, at += x->step) {
		if (step + AMX_AHEAD >= steps)
			UNROLL for (int r = 0; r < 16; r++) __builtin_prefetch(
				next + r * row_bytes + (step + AMX_AHEAD - steps) * 64, 0, 2);
		_tile_loadd(W_0, w, row_bytes);
		amx_add(at, x->apart, group, groups);
	}
	if (columns % 32) {
		uint8_t tail[16][64] = {0};

		for (uint32_t r = 0; r < rows; r++)
			memcpy(tail[r], w + r * row_bytes, columns % 32 * sizeof(uint16_t));
		tile_written();
		_tile_loadd(W_0, tail, 64);
		amx_add(at, x->apart, group, groups);
	}
	_tile_stored(SUM_0, sums, sums_apart);
	if (groups > 1)
		_tile_stored(SUM_1, sums + AMX_TILE, 64);
	if (groups > 2)
		_tile_stored(SUM_2, sums + 2 * AMX_TILE, 64);
	if (groups > 3)
		_tile_stored(SUM_3, sums + 3 * AMX_TILE, 64);
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

/* 16 positions become arranged, each step in its own lines. */
TARGET static void amx_arrange(uint8_t *packed, size_t stride, uint32_t cols)
{
	for (uint32_t step = 0; step < lsc_div_up(cols, 32); step++, packed += STEP_BYTES) {
		__m512i v[16];

		UNROLL for (uint32_t c = 0; c < 16; c++) v[c] =
			_mm512_load_si512(packed + c * stride);
		amx_transpose(v);
		UNROLL for (uint32_t c = 0; c < 16; c++)
			_mm512_store_si512(packed + c * stride, v[c]);
	}
}

/* Positions from pos on, where they lie or in the copy; those that are missing there are zero. */
TARGET static struct amx_x amx_x_at(const struct lsc_matmul *job, uint32_t pos, uint32_t column,
				    uint32_t width, uint8_t *copy)
{
	const uint8_t *x = job->packed + pos * job->packed_stride + column / 32 * STEP_BYTES;
	const uint32_t n = LSC_MIN(job->m - pos, AMX_POSITIONS);
	uint8_t *to = copy;

	if (pos < job->arranged)
		return (struct amx_x){x, job->packed_stride, STEP_BYTES};
	for (uint32_t step = 0; step < lsc_div_up(width, 32); step++, x += STEP_BYTES, to += 1024) {
		__m512i v[16];

		UNROLL for (uint32_t c = 0; c < 16; c++) v[c] =
			c < n ? _mm512_load_si512(x + c * job->packed_stride)
			      : _mm512_setzero_si512();
		amx_transpose(v);
		UNROLL for (int c = 0; c < 16; c++) _mm512_store_si512(to + c * 64, v[c]);
	}
	return (struct amx_x){copy, 64, 1024};
}

/* Sums of up to 16 rows by 16 positions go to y, which has them the other way round. */
TARGET static void amx_put(const struct lsc_matmul *job, uint32_t row, uint32_t rows, uint32_t pos,
			   const float *sums)
{
	const __mmask16 mask = rows < 16 ? mask_of(rows) : 0xffff;
	const uint32_t n = LSC_MIN(job->m - pos, AMX_POSITIONS);
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

/* --- up to 16 positions --- */

TARGET static void amx_put_one(const struct lsc_matmul *job, uint32_t row, uint32_t rows,
			       const float *sums)
{
	const __mmask16 mask = rows < 16 ? mask_of(rows) : 0xffff;
	__m512 sum = _mm512_load_ps(sums);
	float *y = job->y + row;

	if (job->add)
		sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), sum);
	_mm512_mask_storeu_ps(y, mask, sum);
}

/* Rows of which a register has 16, or as many as are left. */
TARGET static void amx_few(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	const size_t row_bytes = (size_t)job->cols * sizeof(uint16_t);
	const bool one = job->m == 1, lies = one || job->arranged;
	const uint32_t width = lies ? job->cols : AMX_COPY;
	_Alignas(64) uint8_t copy[AMX_POSITIONS * AMX_COPY * 2];
	struct amx_x x = {job->packed, 4, STEP_BYTES};

	if (!one)
		x = amx_x_at(job, 0, 0, LSC_MIN(job->cols, width), copy);
	amx_shapes(16, one ? 1 : AMX_POSITIONS);
	for (uint32_t row = first, rows; n; row += rows, n -= rows) {
		_Alignas(64) float sums[AMX_TILE];

		rows = LSC_MIN(n, 16);
		if (rows < 16)
			amx_shapes(rows, one ? 1 : AMX_POSITIONS);
		memset(sums, 0, (one ? 16 : AMX_TILE) * sizeof(*sums));
		for (uint32_t column = 0; column < job->cols; column += width) {
			const uint32_t columns = LSC_MIN(job->cols - column, width);

			if (!lies && job->cols > width)
				x = amx_x_at(job, 0, column, columns, copy);
			amx_flow((const uint8_t *)job->w + row * row_bytes + (size_t)column * 2,
				 row_bytes, rows, columns, &x, 0, 1, sums);
		}
		if (one)
			amx_put_one(job, row, rows, sums);
		else
			amx_put(job, row, rows, 0, sums);
	}
}

/* --- up to 64 positions that lie arranged --- */

LANES void amx_some(const struct lsc_matmul *job, uint32_t first, uint32_t n, uint32_t groups)
{
	const size_t row_bytes = (size_t)job->cols * sizeof(uint16_t);
	const struct amx_x x = {job->packed, job->packed_stride, STEP_BYTES};
	const size_t group = AMX_POSITIONS * job->packed_stride;
	_Alignas(64) float sums[AMX_FLOW * AMX_TILE];

	amx_shapes(16, AMX_POSITIONS);
	for (uint32_t row = first, rows; n; row += rows, n -= rows) {
		rows = LSC_MIN(n, 16);
		if (rows < 16)
			amx_shapes(rows, AMX_POSITIONS);
		amx_flow((const uint8_t *)job->w + row * row_bytes, row_bytes, rows, job->cols, &x,
			 group, groups, sums);
		for (uint32_t g = 0; g < groups; g++)
			amx_put(job, row, rows, g * AMX_POSITIONS, sums + g * AMX_TILE);
	}
}

/* --- more positions --- */

/* Columns of up to 32 rows, side by side: the rows of a step are two registers.  What is missing is
 * zero. */
TARGET static void amx_side(const struct lsc_matmul *job, uint32_t row, uint32_t rows,
			    uint32_t column, uint32_t width, uint8_t *side)
{
	const uint16_t *w = (const uint16_t *)job->w + (size_t)row * job->cols + column;
	const __mmask32 last = width % 32 ? (1u << width % 32) - 1 : 0;

	for (uint32_t r = 0; r < 32; r++, w += job->cols) {
		uint8_t *to = side + (size_t)r * 64;
		uint32_t k = 0;

		for (; r < rows && k + 32 <= width; k += 32, to += 2048)
			_mm512_store_si512(to, _mm512_loadu_si512(w + k));
		if (r < rows && last)
			_mm512_store_si512(to, _mm512_maskz_loadu_epi16(last, w + k));
		for (; r >= rows && k < width; k += 32, to += 2048)
			_mm512_store_si512(to, _mm512_setzero_si512());
	}
}

/* A panel by 32 positions. */
TARGET __attribute__((noinline)) static void
amx_wide(const uint8_t *side, uint32_t steps, const struct amx_x *x, float *sums, bool fresh)
{
	const uint8_t *x_0 = x[0].at, *x_1 = x[1].at, *end = side + (size_t)steps * 2048;
	const size_t apart_0 = x[0].apart, apart_1 = x[1].apart, step_0 = x[0].step,
		     step_1 = x[1].step;

	tile_written();
	_tile_zero(SUM_0);
	_tile_zero(SUM_1);
	_tile_zero(SUM_2);
	_tile_zero(SUM_3);
	if (!fresh) {
		_tile_loadd(SUM_0, sums, 64);
		_tile_loadd(SUM_1, sums + AMX_TILE, 64);
		_tile_loadd(SUM_2, sums + 2 * AMX_TILE, 64);
		_tile_loadd(SUM_3, sums + 3 * AMX_TILE, 64);
	}
	for (; side < end; side += 2048) {
		_tile_loadd(W_0, side, 64);
		_tile_loadd(X_0, x_0, apart_0);
		_tile_dpbf16ps(SUM_0, W_0, X_0);
		_tile_loadd(X_1, x_1, apart_1);
		_tile_dpbf16ps(SUM_2, W_0, X_1);
		_tile_loadd(W_1, side + 1024, 64);
		_tile_dpbf16ps(SUM_1, W_1, X_0);
		_tile_dpbf16ps(SUM_3, W_1, X_1);
		x_0 += step_0;
		x_1 += step_1;
	}
	_tile_stored(SUM_0, sums, 64);
	_tile_stored(SUM_1, sums + AMX_TILE, 64);
	_tile_stored(SUM_2, sums + 2 * AMX_TILE, 64);
	_tile_stored(SUM_3, sums + 3 * AMX_TILE, 64);
}

/* A panel by 16 positions. */
TARGET static void amx_narrow(const uint8_t *side, uint32_t steps, const struct amx_x *x,
			      float *sums, bool fresh)
{
	const uint8_t *at = x->at;

	tile_written();
	_tile_zero(SUM_0);
	_tile_zero(SUM_1);
	if (!fresh) {
		_tile_loadd(SUM_0, sums, 64);
		_tile_loadd(SUM_1, sums + AMX_TILE, 64);
	}
	for (uint32_t step = 0; step < steps; step++, side += 2048, at += x->step) {
		_tile_loadd(W_0, side, 64);
		_tile_loadd(X_0, at, x->apart);
		_tile_dpbf16ps(SUM_0, W_0, X_0);
		_tile_loadd(W_1, side + 1024, 64);
		_tile_dpbf16ps(SUM_1, W_1, X_0);
	}
	_tile_stored(SUM_0, sums, 64);
	_tile_stored(SUM_1, sums + AMX_TILE, 64);
}

/* Positions pos to end past a panel. */
TARGET static void amx_panel(const struct lsc_matmul *job, uint32_t row, uint32_t rows,
			     uint32_t pos, uint32_t end, float *sums)
{
	_Alignas(64) uint8_t side[32 * AMX_COLUMNS * 2];
	_Alignas(64) uint8_t copy[2][AMX_POSITIONS * AMX_COLUMNS * 2];

	for (uint32_t column = 0; column < job->cols; column += AMX_COLUMNS) {
		const uint32_t width = LSC_MIN(job->cols - column, AMX_COLUMNS);
		const uint32_t steps = lsc_div_up(width, 32);
		float *at = sums;

		amx_side(job, row, rows, column, width, side);
		for (uint32_t p = pos; p < end; p += 2 * AMX_POSITIONS, at += 4 * AMX_TILE) {
			struct amx_x x[2] = {amx_x_at(job, p, column, width, copy[0])};

			if (end - p <= AMX_POSITIONS) {
				amx_narrow(side, steps, x, at, column == 0);
				break;
			}
			x[1] = amx_x_at(job, p + AMX_POSITIONS, column, width, copy[1]);
			amx_wide(side, steps, x, at, column == 0);
		}
	}
	for (; pos < end; pos += AMX_POSITIONS)
		for (uint32_t r = 0; r < 32; r += 16, sums += AMX_TILE)
			if (r < rows)
				amx_put(job, row + r, LSC_MIN(rows - r, 16), pos, sums);
}

TARGET static void amx_many(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	_Alignas(64) float sums[32 * AMX_MOST];
	const uint32_t kept = AMX_KEPT / (job->cols * 2) / 32 * 32;
	const uint32_t most = LSC_MAX(LSC_MIN(kept, AMX_MOST), 64);

	amx_shapes(16, AMX_POSITIONS);
	for (uint32_t pos = 0; pos < job->m; pos += most)
		for (uint32_t row = first; row < first + n; row += 32)
			amx_panel(job, row, LSC_MIN(first + n - row, 32), pos,
				  LSC_MIN(job->m, pos + most), sums);
}

TARGET static void amx_brain_matmul(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	unsigned mode = flush_begin();

	const uint32_t groups = (uint32_t)lsc_div_up(job->m, AMX_POSITIONS);

	if (groups <= 1)
		amx_few(job, first, n);
	else if (groups > AMX_FLOW || job->arranged < job->m)
		amx_many(job, first, n);
	else if (groups == 2)
		amx_some(job, first, n, 2);
	else if (groups == 3)
		amx_some(job, first, n, 3);
	else
		amx_some(job, first, n, 4);
	_tile_release();
	flush_end(mode);
}
