/* The kernels written over 16 lanes; included once by each kernels_X.c.
 *
 * The including file defines `lanes` with its operations, TARGET and LANES (attributes), and the
 * tile sizes.  Sums of a tile live in registers: its loops have constant
 * bounds once inlined, and are unrolled.  Multiply-adds are fused where lanes_fma says so and
 * nowhere else (the Makefile turns contraction off for this folder).
 */
/* Rows whose weights stay in the first-level cache while all positions pass over them. */
#define BLOCK_ROWS 16

/* How far ahead of use weights are fetched, in the order in which they lie: the rows of a tile are
 * too short for the processor to see a stream in them.  Decoding bf16 exactly, one thread of an
 * EPYC 9004, pages of 4 KiB: 9 GB/s without, 20 GB/s with 8 KiB (4 KiB: 14, 16 KiB: 19). */
#define PREFETCH_BYTES 8192

/* One tile: rows x cols dot products side by side. */
#define DEFINE_TILE(name, type, load, load_n)                                                      \
	LANES void tile_##name(const struct lsc_matmul *job, uint32_t row, uint32_t pos,           \
			       const int rows, const int cols)                                     \
	{                                                                                          \
		const type *w = (const type *)job->w + (size_t)row * job->cols;                    \
		const float *x = job->x + pos * job->x_stride;                                     \
		const uint32_t whole = job->cols & ~15u;                                           \
		const bool ahead = pos == 0;                                                       \
		lanes sum[TILE_ROWS][TILE_COLS];                                                   \
                                                                                                   \
		UNROLL for (int r = 0; r < rows; r++) UNROLL for (int c = 0; c < cols; c++)        \
			sum[r][c] = lanes_set(0);                                                  \
		for (uint32_t k = 0; k < whole; k += 16)                                           \
			TILE_STEP(load(w + (size_t)r * job->cols + k));                            \
		if (whole < job->cols) {                                                           \
			const uint32_t k = whole;                                                  \
                                                                                                   \
			TILE_STEP(load_n(w + (size_t)r * job->cols + k, job->cols - k));           \
		}                                                                                  \
		UNROLL for (int c = 0; c < cols; c++) UNROLL for (int r = 0; r < rows; r++)        \
			put(job, row + (uint32_t)r, pos + (uint32_t)c, lanes_sum(sum[r][c]));      \
	}

#define TILE_STEP(weights)                                                                         \
	do {                                                                                       \
		lanes a[TILE_ROWS];                                                                \
                                                                                                   \
		UNROLL for (int r = 0; r < rows; r++)                                              \
		{                                                                                  \
			if (ahead && r % 2 == 0)                                                   \
				__builtin_prefetch((const char *)(w + (size_t)k * rows + r * 16) + \
							   PREFETCH_BYTES,                         \
						   0, 2);                                          \
			a[r] = weights;                                                            \
		}                                                                                  \
		UNROLL for (int c = 0; c < cols; c++)                                              \
		{                                                                                  \
			lanes b = lanes_load(x + (size_t)c * job->x_stride + k);                   \
                                                                                                   \
			UNROLL for (int r = 0; r < rows; r++) sum[r][c] =                          \
				lanes_fma(a[r], b, sum[r][c]);                                     \
		}                                                                                  \
	} while (0)

LANES void put(const struct lsc_matmul *job, uint32_t row, uint32_t pos, float sum)
{
	float *y = job->y + pos * job->y_stride + row;

	*y = job->add ? *y + sum : sum;
}

DEFINE_TILE(f32, float, lanes_load, lanes_load_n)
DEFINE_TILE(bf16, uint16_t, lanes_load_bf16, lanes_load_bf16_n)
DEFINE_TILE(f16, uint16_t, lanes_load_f16, lanes_load_f16_n)

/* The positions of one row group, the most that fit a tile at a time. */
#define DEFINE_MATMUL(name)                                                                        \
	TARGET static void cols_##name(const struct lsc_matmul *job, uint32_t row, uint32_t pos,   \
				       uint32_t n)                                                 \
	{                                                                                          \
		for (; n >= TILE_COLS; pos += TILE_COLS, n -= TILE_COLS)                           \
			tile_##name(job, row, pos, TILE_ROWS, TILE_COLS);                          \
		if (TILE_COLS > 3 && n == 3)                                                       \
			tile_##name(job, row, pos, TILE_ROWS, TILE_COLS > 3 ? 3 : 1);              \
		else if (TILE_COLS > 2 && n == 2)                                                  \
			tile_##name(job, row, pos, TILE_ROWS, TILE_COLS > 2 ? 2 : 1);              \
		else if (n)                                                                        \
			tile_##name(job, row, pos, TILE_ROWS, 1);                                  \
	}                                                                                          \
                                                                                                   \
	TARGET static void matmul_##name(const struct lsc_matmul *job, uint32_t first, uint32_t n) \
	{                                                                                          \
		const uint32_t end = first + n;                                                    \
		uint32_t row = first;                                                              \
                                                                                                   \
		while (row + TILE_ROWS <= end) {                                                   \
			uint32_t stop = row + BLOCK_ROWS < end ? row + BLOCK_ROWS : end;           \
			uint32_t r = row;                                                          \
                                                                                                   \
			for (uint32_t pos = 0; pos < job->m; pos += BLOCK_COLS) {                  \
				uint32_t left = job->m - pos;                                      \
                                                                                                   \
				for (r = row; r + TILE_ROWS <= stop; r += TILE_ROWS)               \
					cols_##name(job, r, pos,                                   \
						    left < BLOCK_COLS ? left : BLOCK_COLS);        \
			}                                                                          \
			row = r;                                                                   \
		}                                                                                  \
		for (; row < end; row++)                                                           \
			for (uint32_t pos = 0; pos < job->m; pos++)                                \
				tile_##name(job, row, pos, 1, 1);                                  \
	}

/* Positions whose activations stay in the first-level cache for one block of rows. */
#define BLOCK_COLS (2 * TILE_COLS)

DEFINE_MATMUL(f32)
DEFINE_MATMUL(bf16)
DEFINE_MATMUL(f16)

/* Columns k .. k+15 of a row of a q8 tile, as f32: exact, for 11 and 7 bits. */
LANES lanes load_q8(const uint8_t *tile, uint32_t cols, uint32_t row, uint32_t k)
{
	const int8_t *q = (const int8_t *)tile + (size_t)k * LSC_Q8_ROWS + (size_t)row * 4;
	float scale, values[16];

	lsc_dtype_to_f32(LSC_DTYPE_F16,
			 tile + lsc_q8_scales(cols) +
				 ((size_t)(k / LSC_Q8_COLS) * LSC_Q8_ROWS + row) * 2,
			 &scale, 1);
	for (uint32_t i = 0; i < 16; i++)
		values[i] = scale * (float)q[(size_t)(i / 4) * 64 + i % 4];
	return lanes_load(values);
}

/* Positions that a row of q8 is unpacked for at once, and columns of it. */
#define EXACT_POSITIONS 32
#define EXACT_COLUMNS   1024

/* n positions from pos on past one row. */
TARGET static void row_q8(const struct lsc_matmul *job, uint32_t row, uint32_t pos, uint32_t n)
{
	const uint8_t *tile =
		(const uint8_t *)job->w + row / LSC_Q8_ROWS * lsc_q8_tile_bytes(job->cols);
	const float *x = job->x + pos * job->x_stride;
	lanes sum[EXACT_POSITIONS];
	float w[EXACT_COLUMNS];

	for (uint32_t p = 0; p < n; p++)
		sum[p] = lanes_set(0);
	for (uint32_t at = 0; at < job->cols; at += EXACT_COLUMNS) {
		const uint32_t end =
			job->cols - at < EXACT_COLUMNS ? job->cols - at : EXACT_COLUMNS;

		for (uint32_t k = 0; k < end; k += 16)
			lanes_store(w + k, load_q8(tile, job->cols, row % LSC_Q8_ROWS, at + k));
		for (uint32_t p = 0; p < n; p++)
			for (uint32_t k = 0; k < end; k += 16)
				sum[p] = lanes_fma(lanes_load(w + k),
						   lanes_load(x + p * job->x_stride + at + k),
						   sum[p]);
	}
	for (uint32_t p = 0; p < n; p++)
		put(job, row, pos + p, lanes_sum(sum[p]));
}

TARGET static void matmul_q8(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	for (uint32_t row = first; row < first + n; row++)
		for (uint32_t pos = 0; pos < job->m; pos += EXACT_POSITIONS)
			row_q8(job, row, pos,
			       job->m - pos < EXACT_POSITIONS ? job->m - pos : EXACT_POSITIONS);
}

TARGET static void matmul(const struct lsc_matmul *job, uint32_t first, uint32_t n)
{
	switch (job->dtype) {
	case LSC_DTYPE_F32:
		matmul_f32(job, first, n);
		break;
	case LSC_DTYPE_BF16:
		matmul_bf16(job, first, n);
		break;
	case LSC_DTYPE_Q8:
		matmul_q8(job, first, n);
		break;
	default:
		matmul_f16(job, first, n);
	}
}

/* exp by Cody and Waite: x = n ln 2 + r, a polynomial in r (Cephes' coefficients), times 2^n. */
LANES lanes lanes_exp(lanes x)
{
	lanes n, r, p;

	x = lanes_min(lanes_max(x, lanes_set(-87.0f)), lanes_set(88.0f));
	n = lanes_round(lanes_mul(x, lanes_set(1.44269504088896341f)));
	r = lanes_fma(n, lanes_set(-0.693359375f), x);
	r = lanes_fma(n, lanes_set(2.12194440e-4f), r);
	p = lanes_set(1.9875691500e-4f);
	p = lanes_fma(p, r, lanes_set(1.3981999507e-3f));
	p = lanes_fma(p, r, lanes_set(8.3334519073e-3f));
	p = lanes_fma(p, r, lanes_set(4.1665795894e-2f));
	p = lanes_fma(p, r, lanes_set(1.6666665459e-1f));
	p = lanes_fma(p, r, lanes_set(5.0000001201e-1f));
	p = lanes_fma(p, lanes_mul(r, r), r);
	return lanes_mul(lanes_add(p, lanes_set(1.0f)), lanes_power2(n));
}

TARGET static void rms_norm(float *out, const float *x, const float *weight, uint32_t n, float eps)
{
	const uint32_t whole = n & ~15u;
	lanes sum = lanes_set(0), scale;

	for (uint32_t i = 0; i < whole; i += 16) {
		lanes v = lanes_load(x + i);

		sum = lanes_fma(v, v, sum);
	}
	if (whole < n) {
		lanes v = lanes_load_n(x + whole, n - whole);

		sum = lanes_fma(v, v, sum);
	}
	scale = lanes_set(1.0f / sqrtf(lanes_sum(sum) / (float)n + eps));
	for (uint32_t i = 0; i < whole; i += 16)
		lanes_store(out + i,
			    lanes_mul(lanes_mul(lanes_load(x + i), scale), lanes_load(weight + i)));
	if (whole < n)
		lanes_store_n(out + whole,
			      lanes_mul(lanes_mul(lanes_load_n(x + whole, n - whole), scale),
					lanes_load_n(weight + whole, n - whole)),
			      n - whole);
}

LANES lanes lanes_swiglu(lanes gate, lanes up)
{
	lanes e = lanes_exp(lanes_sub(lanes_set(0), gate));

	return lanes_mul(lanes_div(gate, lanes_add(lanes_set(1.0f), e)), up);
}

TARGET static void swiglu(float *gate, const float *up, uint32_t n)
{
	const uint32_t whole = n & ~15u;

	for (uint32_t i = 0; i < whole; i += 16)
		lanes_store(gate + i, lanes_swiglu(lanes_load(gate + i), lanes_load(up + i)));
	if (whole < n)
		lanes_store_n(gate + whole,
			      lanes_swiglu(lanes_load_n(gate + whole, n - whole),
					   lanes_load_n(up + whole, n - whole)),
			      n - whole);
}

/* The largest is the same in any order. */
TARGET static float largest(const float *x, uint32_t n)
{
	const uint32_t whole = n & ~15u;
	float part[16], max = x[0];

	if (whole) {
		lanes m = lanes_load(x);

		for (uint32_t i = 16; i < whole; i += 16)
			m = lanes_max(m, lanes_load(x + i));
		lanes_store(part, m);
		for (int i = 0; i < 16; i++)
			max = part[i] > max ? part[i] : max;
	}
	for (uint32_t i = whole; i < n; i++)
		max = x[i] > max ? x[i] : max;
	return max;
}

TARGET static float softmax(float *x, uint32_t n)
{
	const uint32_t whole = n & ~15u;
	lanes max = lanes_set(largest(x, n)), sum = lanes_set(0);

	for (uint32_t i = 0; i < whole; i += 16) {
		lanes e = lanes_exp(lanes_sub(lanes_load(x + i), max));

		lanes_store(x + i, e);
		sum = lanes_add(sum, e);
	}
	if (whole < n) {
		lanes_store_n(x + whole,
			      lanes_exp(lanes_sub(lanes_load_n(x + whole, n - whole), max)),
			      n - whole);
		sum = lanes_add(sum, lanes_load_n(x + whole, n - whole));
	}
	return lanes_sum(sum);
}
