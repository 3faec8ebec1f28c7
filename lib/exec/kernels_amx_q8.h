/* Products of q8 weights by tiles (kernels.h); included by kernels_amx.c.
 *
 * 32 columns of the 16 rows of a tile of weights are a register as they lie, and so are the 32
 * activations of 16 positions; their product has a row a position.  What 16 positions do not fill
 * is left to 8 of them, and then to kernels_q8.h.
 */
#define AMX_Q8_POSITIONS 16
#define AMX_Q8_KEPT      (1 << 20) /* bytes of activations that stay in the second-level cache */

/* Registers; digits, for they become a part of their names. */
#define Q8_SUM           0
#define Q8_SUM_NEXT      1
#define Q8_HALF_SUM      2
#define Q8_HALF_SUM_NEXT 3
#define Q8_X             4
#define Q8_HALF_X        5
#define Q8_W             6

/* Sums of products with a block of 32 columns. */
#define AMX_Q8_DOT(sum, x_tile, to)                                                                \
	do {                                                                                       \
		_tile_zero(sum);                                                                   \
		_tile_loadd(x_tile, x + (size_t)b * sizeof(struct lsc_q8_step),                    \
			    job->packed_stride);                                                   \
		_tile_loadd(Q8_W, w + (size_t)b * 512, 64);                                        \
		_tile_dpbssd(sum, x_tile, Q8_W);                                                   \
		_tile_stored(sum, to, 64);                                                         \
	} while (0)

/* By two registers in turn. */
LANES void amx_q8_dot(const struct lsc_matmul *job, const struct q8_rows *rows, const uint8_t *x,
		      uint32_t b, int32_t (*dot)[16], const int n)
{
	const uint8_t *w = rows->tile;

	UNROLL for (int i = 0; i < 8; i++)
		__builtin_prefetch(w + rows->ahead + (size_t)b * 512 + i * 64, 0, 2);
	if (n == 16 && b % 2)
		AMX_Q8_DOT(Q8_SUM_NEXT, Q8_X, dot);
	else if (n == 16)
		AMX_Q8_DOT(Q8_SUM, Q8_X, dot);
	else if (b % 2)
		AMX_Q8_DOT(Q8_HALF_SUM_NEXT, Q8_HALF_X, dot);
	else
		AMX_Q8_DOT(Q8_HALF_SUM, Q8_HALF_X, dot);
}

LANES void amx_q8_add(const struct lsc_matmul *job, const struct q8_rows *rows, const uint8_t *x,
		      uint32_t b, const int32_t (*dot)[16], lanes *sum, const int n)
{
	lanes scale = lanes_load_f16((const uint16_t *)(const void *)rows->scales + b * 16);

	x += b * sizeof(struct lsc_q8_step);
	UNROLL for (int c = 0; c < n; c++)
	{
		const struct lsc_q8_step *step = (const void *)(x + (size_t)c * job->packed_stride);

		sum[c] = lanes_fma(_mm512_cvtepi32_ps(_mm512_load_si512(dot[c])),
				   lanes_mul(scale, lanes_set(step->scale)), sum[c]);
	}
}

/* A block's product is under way while the one before it is added. */
LANES void amx_q8_tile(const struct lsc_matmul *job, const struct q8_rows *rows, uint32_t pos,
		       const int n)
{
	const uint8_t *x = job->packed + pos * job->packed_stride;
	const uint32_t blocks = lsc_q8_blocks(job->cols);
	_Alignas(64) int32_t dots[2][AMX_Q8_POSITIONS][16];
	lanes sum[AMX_Q8_POSITIONS];

	UNROLL for (int c = 0; c < n; c++) sum[c] = lanes_set(0);
	amx_q8_dot(job, rows, x, 0, dots[0], n);
	for (uint32_t b = 0; b < blocks; b++) {
		if (b + 1 < blocks)
			amx_q8_dot(job, rows, x, b + 1, dots[(b + 1) % 2], n);
		amx_q8_add(job, rows, x, b, (const int32_t(*)[16])dots[b % 2], sum, n);
	}
	UNROLL for (int c = 0; c < n; c++) q8_put(job, rows, pos + (uint32_t)c, sum[c]);
}

TARGET __attribute__((noinline)) static void
amx_q8_sixteen(const struct lsc_matmul *job, const struct q8_rows *rows, uint32_t pos)
{
	amx_q8_tile(job, rows, pos, 16);
}

TARGET __attribute__((noinline)) static void amx_q8_eight(const struct lsc_matmul *job,
							  const struct q8_rows *rows, uint32_t pos)
{
	amx_q8_tile(job, rows, pos, 8);
}

/* n positions past the rows of a tile. */
TARGET static void amx_q8_rows(const struct lsc_matmul *job, struct q8_rows *rows, uint32_t pos,
			       uint32_t n)
{
	for (; n >= 16; n -= 16, pos += 16, rows->ahead = 0)
		amx_q8_sixteen(job, rows, pos);
	if (n >= 8) {
		amx_q8_eight(job, rows, pos);
		n -= 8;
		pos += 8;
	}
	q8_few(job, rows, pos, n);
}

TARGET static void amx_q8_matmul(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	const size_t tile_bytes = lsc_q8_tile_bytes(job->cols);
	const uint32_t end = first + n;
	const uint32_t kept = LSC_MAX(AMX_Q8_KEPT / job->packed_stride / 16, 4) * 16;
	struct tile_shapes shapes = {.palette = 1};

	if (job->m < 8) {
		q8_matmul(job, first, n);
		return;
	}
	for (int tile = Q8_SUM; tile <= Q8_HALF_SUM_NEXT; tile++)
		tile_shape(&shapes, tile, tile < Q8_HALF_SUM ? 16 : 8, 64);
	tile_shape(&shapes, Q8_X, 16, 32);
	tile_shape(&shapes, Q8_HALF_X, 8, 32);
	tile_shape(&shapes, Q8_W, 8, 64);
	_tile_loadconfig(&shapes);
	tile_written();
	for (uint32_t pos = 0; pos < job->m; pos += kept)
		for (uint32_t row = first / 16 * 16; row < end; row += 16) {
			struct q8_rows rows = q8_rows_at(job, row, first, end, tile_bytes);

			amx_q8_rows(job, &rows, pos, LSC_MIN(job->m - pos, kept));
		}
	_tile_release();
}
