/* Products of q8 weights with activations quantised alike (kernels.h); included by kernels_X.c.
 *
 * The 16 rows of a tile are the lanes.  The including file defines q8_weights, what q8_load()
 * makes of 32 columns of a tile, and q8_dot(): their sums of products with 32 activations, exact,
 * as f32.
 */
#define Q8_POSITIONS 8 /* sums kept in registers while a tile streams by */
#define Q8_AHEAD     8192

TARGET static void q8_pack(const float *x, uint32_t cols, uint8_t *packed)
{
	struct lsc_q8_step *to = (struct lsc_q8_step *)(void *)packed;

	for (uint32_t i = 0; i < cols; i += 32, to++) {
		float values[32] = {0}, largest[16], most = 0, inverse;
		lanes low, high;

		memcpy(values, x + i, LSC_MIN(cols - i, 32) * sizeof(*x));
		low = lanes_load(values);
		high = lanes_load(values + 16);
		lanes_store(largest, lanes_max(lanes_max(low, lanes_sub(lanes_set(0), low)),
					       lanes_max(high, lanes_sub(lanes_set(0), high))));
		for (int k = 0; k < 16; k++)
			most = most < largest[k] ? largest[k] : most;
		/* Infinities and what is no number make the sum no number. */
		if (lanes_sum(lanes_mul(lanes_add(low, high), lanes_set(0))) != 0) {
			*to = (struct lsc_q8_step){{0}, NAN, 0};
			continue;
		}
		if (most < LSC_Q8_LEAST) {
			*to = (struct lsc_q8_step){{0}, 0, 0};
			continue;
		}
		inverse = 127 / most;
		lanes_store(values, lanes_round(lanes_mul(low, lanes_set(inverse))));
		lanes_store(values + 16, lanes_round(lanes_mul(high, lanes_set(inverse))));
		to->scale = most / 127;
		to->sum = 0;
		for (int k = 0; k < 32; k++) {
			to->q[k] = (int8_t)values[k];
			to->sum += to->q[k];
		}
	}
}

/* Rows of a tile that a product asks for. */
struct q8_rows {
	const uint8_t *tile, *scales;
	uint32_t row;         /* the tile's first */
	uint32_t first, last; /* wanted, of 0 to 15 */
	size_t ahead;         /* fetched that far ahead of use */
};

LANES void q8_put(const struct lsc_matmul *job, const struct q8_rows *rows, uint32_t pos, lanes sum)
{
	float *y = job->y + pos * job->y_stride + rows->row, all[16];

	if (rows->first == 0 && rows->last == 15) {
		lanes_store(y, job->add ? lanes_add(lanes_load(y), sum) : sum);
		return;
	}
	lanes_store(all, sum);
	for (uint32_t r = rows->first; r <= rows->last; r++)
		y[r] = job->add ? y[r] + all[r] : all[r];
}

LANES void q8_tile(const struct lsc_matmul *job, const struct q8_rows *rows, uint32_t pos,
		   const int cols)
{
	const uint8_t *x = job->packed + pos * job->packed_stride, *w = rows->tile;
	const uint32_t blocks = lsc_q8_blocks(job->cols);
	lanes sum[Q8_POSITIONS];

	UNROLL for (int c = 0; c < cols; c++) sum[c] = lanes_set(0);
	for (uint32_t b = 0; b < blocks; b++, w += 512, x += sizeof(struct lsc_q8_step)) {
		lanes scale = lanes_load_f16((const uint16_t *)(const void *)rows->scales + b * 16);
		q8_weights weights;

		UNROLL for (int i = 0; i < 8; i++)
			__builtin_prefetch(w + rows->ahead + (size_t)i * 64, 0, 2);
		q8_load(&weights, w);
		UNROLL for (int c = 0; c < cols; c++)
		{
			const struct lsc_q8_step *step =
				(const void *)(x + (size_t)c * job->packed_stride);

			sum[c] = lanes_fma(q8_dot(&weights, step),
					   lanes_mul(scale, lanes_set(step->scale)), sum[c]);
		}
	}
	UNROLL for (int c = 0; c < cols; c++) q8_put(job, rows, pos + (uint32_t)c, sum[c]);
}

TARGET __attribute__((noinline)) static void q8_many(const struct lsc_matmul *job,
						     const struct q8_rows *rows, uint32_t pos)
{
	q8_tile(job, rows, pos, Q8_POSITIONS);
}

TARGET __attribute__((noinline)) static void
q8_few(const struct lsc_matmul *job, const struct q8_rows *rows, uint32_t pos, uint32_t n)
{
	for (; n >= 3; n -= 3, pos += 3)
		q8_tile(job, rows, pos, 3);
	if (n == 2)
		q8_tile(job, rows, pos, 2);
	else if (n)
		q8_tile(job, rows, pos, 1);
}

/* Of rows first to end - 1 of a product those that the tile at `row` has. */
LANES struct q8_rows q8_rows_at(const struct lsc_matmul *job, uint32_t row, uint32_t first,
				uint32_t end, size_t ahead)
{
	const uint8_t *tile = (const uint8_t *)job->w + row / 16 * lsc_q8_tile_bytes(job->cols);

	return (struct q8_rows){
		.tile = tile,
		.scales = tile + lsc_q8_scales(job->cols),
		.row = row,
		.first = row < first ? first - row : 0,
		.last = end - row < 16 ? end - row - 1 : 15,
		.ahead = ahead,
	};
}

/* While the first positions pass, the next tile is fetched: soon after, or all of it. */
TARGET static void q8_matmul(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	const size_t tile_bytes = lsc_q8_tile_bytes(job->cols);
	const uint32_t end = first + n;

	for (uint32_t row = first / 16 * 16; row < end; row += 16) {
		struct q8_rows rows = q8_rows_at(job, row, first, end,
						 job->m > Q8_POSITIONS ? tile_bytes : Q8_AHEAD);
		uint32_t pos = 0;

		for (; pos + Q8_POSITIONS <= job->m; pos += Q8_POSITIONS, rows.ahead = 0)
			q8_many(job, &rows, pos);
		q8_few(job, &rows, pos, job->m - pos);
	}
}
