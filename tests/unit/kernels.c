/* Every row of kernels against the order its header promises, spelt out in plain C. */
#include "exec/kernels.h"

#include <float.h>
#include <math.h>

#include "base/macros.h"
#include "matrix.h"
#include "tap.h"

static const char *const names[] = {"portable", "avx2", "avx512", "avx512-bf16", "amx"};

static uint32_t state = 1;

static float uniform(void)
{
	state = state * 1664525u + 1013904223u;
	return (float)(state >> 8) / (1 << 23) - 1;
}

static float *random_floats(size_t n)
{
	float *x = malloc((n + 1) * sizeof(*x));

	for (size_t i = 0; i < n; i++)
		x[i] = uniform();
	return x;
}

/* The header's dot product. */
static float dot(const float *w, const float *x, uint32_t n)
{
	float lane[16] = {0};

	for (uint32_t i = 0; i < (n + 15) / 16 * 16; i++)
		lane[i % 16] = fmaf(i < n ? w[i] : 0, i < n ? x[i] : 0, lane[i % 16]);
	for (int half = 8; half; half /= 2)
		for (int i = 0; i < half; i++)
			lane[i] += lane[i + half];
	return lane[0];
}

/* Weights of a format: halves and brains with random bits, but finite. */
static void *weights(enum lsc_dtype dtype, size_t n)
{
	uint16_t *w;

	if (dtype == LSC_DTYPE_F32)
		return random_floats(n);
	w = malloc(n * sizeof(*w));
	for (size_t i = 0; i < n; i++) {
		float f = uniform();

		if (i % 7 == 0)
			f *= 1e-7f; /* subnormal as a half */
		lsc_dtype_from_f32(dtype, &f, &w[i], 1);
	}
	return w;
}

static void *tiles(uint32_t rows, uint32_t cols)
{
	void *w = malloc(lsc_dtype_matrix_bytes(LSC_DTYPE_Q8, rows, cols));
	float *values = random_floats((size_t)rows * cols);

	matrix_from_f32(LSC_DTYPE_Q8, values, rows, cols, w);
	free(values);
	return w;
}

static bool same_product(const struct lsc_kernels *kernels, enum lsc_dtype dtype, uint32_t rows,
			 uint32_t cols, uint32_t m, uint32_t split, bool add)
{
	uint32_t stride = (uint32_t)lsc_align_up(cols, 16), y_stride = rows + 3;
	void *w = dtype == LSC_DTYPE_Q8 ? tiles(rows, cols) : weights(dtype, (size_t)rows * cols);
	float *x = calloc((size_t)m * stride, sizeof(*x));
	float *y = random_floats((size_t)m * y_stride), *row = malloc(cols * sizeof(*row));
	float *before = malloc((size_t)m * y_stride * sizeof(*y));
	struct lsc_matmul job = {dtype, w, cols, m, x, stride, y, y_stride, add, NULL, 0, 0};
	bool same = true;

	memcpy(before, y, (size_t)m * y_stride * sizeof(*y));
	for (uint32_t p = 0; p < m; p++)
		for (uint32_t i = 0; i < cols; i++)
			x[(size_t)p * stride + i] = uniform();
	for (uint32_t r = 0; r < rows; r += split)
		kernels->matmul(&job, r, LSC_MIN(split, rows - r));
	for (uint32_t r = 0; r < rows; r++) {
		lsc_dtype_matrix_row(dtype, w, r, cols, row);
		for (uint32_t p = 0; p < m; p++) {
			float want = dot(row, x + (size_t)p * stride, cols);

			if (add)
				want = before[(size_t)p * y_stride + r] + want;
			same &= !memcmp(&y[(size_t)p * y_stride + r], &want, sizeof(want));
		}
	}
	for (uint32_t p = 0; p < m; p++) /* what lies between the rows is left alone */
		same &= !memcmp(y + (size_t)p * y_stride + rows,
				before + (size_t)p * y_stride + rows, 3 * sizeof(*y));
	free(w);
	free(x);
	free(y);
	free(row);
	free(before);
	return same;
}

static void test_matmul(const struct lsc_kernels *kernels)
{
	static const enum lsc_dtype dtypes[] = {LSC_DTYPE_F32, LSC_DTYPE_F16, LSC_DTYPE_BF16,
						LSC_DTYPE_Q8};
	static const uint32_t shapes[][2] = {{1, 1},    {7, 15},  {33, 16},
					     {19, 172}, {64, 64}, {40, 200}};
	bool same = true, many = true;

	for (size_t d = 0; d < LSC_ARRAY_SIZE(dtypes); d++)
		for (size_t s = 0; s < LSC_ARRAY_SIZE(shapes); s++)
			for (uint32_t m = 1; m < 14; m++)
				same &= same_product(kernels, dtypes[d], shapes[s][0], shapes[s][1],
						     m, m % 3 ? 16 : 5, m & 1);
	for (size_t d = 0; d < LSC_ARRAY_SIZE(dtypes); d++)
		many &= same_product(kernels, dtypes[d], 5, 2100, 67, 4, true);
	ok(same, "%s: every product has the promised order", kernels->name);
	ok(many, "%s: of many columns and positions, too", kernels->name);
}

/* --- products of packed activations --- */

static float flush(float v)
{
	return fabsf(v) < FLT_MIN ? copysignf(0, v) : v;
}

/* A value is too small before it loses digits as a subnormal: what reaches FLT_MIN by losing them
 * is zero. */
static float flush_fma(float a, float b, float c)
{
	float v = fmaf(a, b, c);

	if (fabsf(v) == FLT_MIN && fabs((double)a * b + c) < 0x1.ffffffp-127)
		return copysignf(0, v);
	return flush(v);
}

static float round_brain(float v)
{
	uint16_t bits;

	v = flush(v);
	lsc_dtype_from_f32(LSC_DTYPE_BF16, &v, &bits, 1);
	lsc_dtype_to_f32(LSC_DTYPE_BF16, &bits, &v, 1);
	return v;
}

/* The header's sum over one block of columns of bf16 by bf16. */
static float brain_block(const float *w, const float *x, uint32_t n)
{
	float lane[16] = {0};

	for (uint32_t i = 0; i < n; i += 32)
		for (uint32_t j = 0; j < 16; j++)
			for (uint32_t k = i + 2 * j + 1; k + 1 > i + 2 * j; k--)
				lane[j] = flush_fma(k < n ? flush(w[k]) : 0,
						    k < n ? round_brain(x[k]) : 0, lane[j]);
	for (int half = 8; half; half /= 2)
		for (int i = 0; i < half; i++)
			lane[i] = flush(lane[i] + lane[i + half]);
	return lane[0];
}

static float brain_dot(const float *w, const float *x, uint32_t n, float y, bool add)
{
	for (uint32_t k = 0; k < n; k += LSC_BRAIN_COLUMNS) {
		float sum = brain_block(w + k, x + k, LSC_MIN(n - k, LSC_BRAIN_COLUMNS));

		y = add || k ? flush(flush(y) + sum) : sum;
	}
	return y;
}

/* The order of tiles: even columns and odd ones of each 32 apart, one after another. */
static float tile_dot(const float *w, const float *x, uint32_t n, float y, bool add)
{
	float sum = 0;

	for (uint32_t k = 0; k < n; k += 32) {
		float part[2] = {0};

		for (uint32_t i = k; i < k + 32; i++)
			part[i % 2] = flush_fma(i < n ? flush(w[i]) : 0,
						i < n ? round_brain(x[i]) : 0, part[i % 2]);
		sum = flush(sum + flush(part[0] + part[1]));
	}
	return add ? flush(flush(y) + sum) : sum;
}

/* The same for q8: row r of the tiles. */
static float q8_dot(const void *tiles, uint32_t r, const float *x, uint32_t n, float y, bool add)
{
	const uint8_t *tile = (const uint8_t *)tiles + r / 16 * lsc_q8_tile_bytes(n);
	float acc = 0;

	for (uint32_t b = 0; b < lsc_q8_blocks(n); b++) {
		float most = 0, scale, value;
		int sum = 0;

		for (uint32_t k = b * 32; k < n && k < b * 32 + 32; k++)
			most = fmaxf(most, fabsf(x[k]));
		if (most < LSC_Q8_LEAST)
			most = 0;
		for (uint32_t k = b * 32; k < n && k < b * 32 + 32; k++) {
			value = most > 0 ? rintf(x[k] * (127 / most)) : 0;
			sum += (int)value * (int8_t)tile[(size_t)(k / 4) * 64 + r % 16 * 4 + k % 4];
		}
		lsc_dtype_to_f32(LSC_DTYPE_F16,
				 tile + lsc_q8_scales(n) + ((size_t)b * 16 + r % 16) * 2, &scale,
				 1);
		acc = fmaf((float)sum, scale * (most / 127), acc);
	}
	return add ? y + acc : acc;
}

struct product {
	enum lsc_dtype dtype;
	uint32_t rows, cols, m, split;
	bool add;
	float scale; /* of activations: small ones meet subnormals */
	bool arranged;
};

static bool same_packed(const struct lsc_kernels *kernels, const struct product *p)
{
	const struct lsc_packing *packing = lsc_kernels_packing(kernels, p->dtype);
	size_t n = (size_t)p->rows * p->cols, stride = p->rows + 3;
	size_t packed_stride = lsc_align_up(lsc_div_up(p->cols, 32) * packing->step_bytes, 64) + 64;
	uint8_t *packed = aligned_alloc(64, lsc_align_up(p->m, LSC_ARRANGED) * packed_stride);
	float *x = random_floats((size_t)p->m * p->cols), *wide = malloc(n * sizeof(*wide));
	float *y = random_floats(p->m * stride), *before = malloc(p->m * stride * sizeof(*y));
	void *w = p->dtype == LSC_DTYPE_Q8 ? tiles(p->rows, p->cols) : weights(p->dtype, n);
	struct lsc_matmul job = {p->dtype, w,      p->cols, p->m,   NULL,          0,
				 y,        stride, p->add,  packed, packed_stride, 0};
	float (*dot_brain)(const float *w, const float *x, uint32_t n, float y, bool add) =
		strcmp(kernels->name, "amx") ? brain_dot : tile_dot;
	bool same = true;

	memset(packed, 0xff, lsc_align_up(p->m, LSC_ARRANGED) * packed_stride);
	for (size_t i = 0; i < p->m * stride; i++)
		before[i] = y[i] *= p->scale;
	for (size_t i = 0; i < (size_t)p->m * p->cols; i++)
		x[i] *= p->scale;
	if (p->dtype == LSC_DTYPE_BF16)
		lsc_dtype_to_f32(LSC_DTYPE_BF16, w, wide, n);
	for (uint32_t pos = 0; pos < p->m; pos++)
		packing->pack(x + (size_t)pos * p->cols, p->cols, packed + pos * packed_stride);
	if (p->arranged && packing->arrange && p->m > 1)
		for (; job.arranged < p->m; job.arranged += LSC_ARRANGED)
			packing->arrange(packed + job.arranged * packed_stride, packed_stride,
					 p->cols);
	for (uint32_t r = 0; r < p->rows; r += p->split)
		packing->matmul(&job, r, LSC_MIN(p->split, p->rows - r));
	for (uint32_t pos = 0; pos < p->m; pos++)
		for (uint32_t r = 0; r < stride; r++) {
			const float *at = x + (size_t)pos * p->cols;
			float old = before[pos * stride + r], want = old;

			if (r < p->rows)
				want = p->dtype == LSC_DTYPE_Q8
					       ? q8_dot(w, r, at, p->cols, old, p->add)
					       : dot_brain(wide + (size_t)r * p->cols, at, p->cols,
							   old, p->add);
			same &= !memcmp(&y[pos * stride + r], &want, sizeof(want));
		}
	free(packed);
	free(x);
	free(wide);
	free(y);
	free(before);
	free(w);
	return same;
}

static void test_packed(const struct lsc_kernels *kernels)
{
	static const uint32_t shapes[][2] = {{1, 1},     {7, 15},   {33, 32},   {19, 172},
					     {64, 64},   {40, 200}, {12, 1024}, {9, 1056},
					     {11, 2065}, {3, 31},   {12, 2048}};
	/* More rows, columns and positions than are worked on at once, and some beside them. */
	static const struct {
		uint32_t rows, cols, m;
	} large[] = {{600, 64, 1},   {112, 32, 15},  {129, 33, 16},  {100, 96, 17},
		     {530, 40, 33},  {64, 40, 31},   {32, 4100, 32}, {67, 2080, 1},
		     {16, 4128, 47}, {48, 1500, 80}, {50, 72, 61},   {33, 64, 64}};
	bool same = true, small = true, same_q8 = true;

	for (size_t s = 0; s < LSC_ARRAY_SIZE(shapes); s++)
		for (uint32_t m = 1; m < 14; m++) {
			struct product p = {LSC_DTYPE_BF16,
					    shapes[s][0],
					    shapes[s][1],
					    m,
					    m % 3 ? 16 : 5,
					    (m + s) % 2,
					    1,
					    m % 2};

			same &= same_packed(kernels, &p);
			p.scale = 1e-37f;
			small &= same_packed(kernels, &p);
			p.dtype = LSC_DTYPE_Q8;
			same_q8 &= same_packed(kernels, &p);
			p.scale = 3;
			p.m += 7 * (m % 2);
			same_q8 &= same_packed(kernels, &p);
		}
	for (size_t s = 0; s < LSC_ARRAY_SIZE(large); s++) {
		struct product p = {LSC_DTYPE_BF16,
				    large[s].rows,
				    large[s].cols,
				    large[s].m,
				    large[s].rows,
				    s % 2,
				    1,
				    false};

		same &= same_packed(kernels, &p);
		p.arranged = true;
		same &= same_packed(kernels, &p);
		p.dtype = LSC_DTYPE_Q8;
		same_q8 &= same_packed(kernels, &p);
	}
	ok(same, "%s: products of bf16 by bf16 have the promised order", kernels->name);
	ok(same_q8, "%s: products of q8 by whole numbers are exact", kernels->name);
	ok(small, "%s: and take subnormal numbers as zero", kernels->name);
}

static void test_elementwise(const struct lsc_kernels *kernels, const struct lsc_kernels *plain)
{
	bool same = true, near = true;

	for (uint32_t n = 1; n < 70; n++) {
		float *a = random_floats(n), *b = random_floats(n), *c = malloc(n * sizeof(*c));
		float sums[2];

		for (uint32_t i = 0; i < n; i++)
			a[i] *= 40;
		memcpy(c, a, n * sizeof(*c));
		kernels->rms_norm(a, a, b, n, 1e-5f);
		plain->rms_norm(c, c, b, n, 1e-5f);
		same &= !memcmp(a, c, n * sizeof(*c));
		kernels->swiglu(a, b, n);
		for (uint32_t i = 0; i < n; i++)
			near &= fabs(c[i] / (1 + exp(-(double)c[i])) * b[i] - a[i]) < 1e-5;
		plain->swiglu(c, b, n);
		same &= !memcmp(a, c, n * sizeof(*c));
		sums[0] = kernels->softmax(a, n);
		sums[1] = plain->softmax(c, n);
		same &= !memcmp(a, c, n * sizeof(*c)) && sums[0] == sums[1];
		free(a);
		free(b);
		free(c);
	}
	ok(same, "%s: norm, activation and softmax equal the portable ones", kernels->name);
	ok(near, "%s: the activation is x / (1 + exp(-x)) times the other", kernels->name);
}

static void test_exp(const struct lsc_kernels *kernels)
{
	double worst = 0;

	for (int i = 0; i <= 8000; i++) {
		float x[2] = {0, -(float)i / 100};
		double want = exp((double)x[1]), sum = kernels->softmax(x, 2);

		worst = fmax(worst, fabs(x[1] / want - 1));
		worst = fmax(worst, fabs(sum - 1 - x[1]) / 2);
	}
	ok(worst < 2.5e-7, "%s: exp is off by %.2g of its value at most", kernels->name, worst);
}

struct attention {
	struct lsc_attend job;
	float *pages[8];
	uint16_t *halves[8]; /* the same as f16 */
	float *out;
};

/* The last of rows sees n positions. */
static void attention_init(struct attention *a, bool half, uint32_t rows, uint32_t group,
			   uint32_t head_dim, uint32_t n)
{
	uint32_t stride = (uint32_t)lsc_align_up(head_dim, 16);

	for (uint32_t i = 0; i < 8; i++) {
		const size_t size = (size_t)(head_dim + stride) * LSC_PAGE_POSITIONS;

		a->pages[i] = random_floats(size);
		a->halves[i] = calloc(size, sizeof(uint16_t));
		if (half) {
			lsc_dtype_from_f32(LSC_DTYPE_F16, a->pages[i], a->halves[i], size);
			lsc_dtype_to_f32(LSC_DTYPE_F16, a->halves[i], a->pages[i], size);
		}
	}
	a->out = calloc((size_t)rows * (group * head_dim + 3), sizeof(float));
	a->job = (struct lsc_attend){
		.q = random_floats((size_t)rows * (group * head_dim + 1)),
		.out = a->out,
		.q_stride = group * head_dim + 1,
		.out_stride = group * head_dim + 3,
		.rows = rows,
		.group = group,
		.head_dim = head_dim,
		.n = n + 1 - rows,
		.half = half,
		.pages = half ? (const void *const *)a->halves : (const void *const *)a->pages,
		.values = (size_t)head_dim * LSC_PAGE_POSITIONS,
		.value_stride = stride,
		.scale = 0.5f,
		.scores =
			calloc((size_t)LSC_ATTEND_QUERIES * 8 * LSC_PAGE_POSITIONS, sizeof(float)),
		.score_stride = 8 * LSC_PAGE_POSITIONS,
	};
}

static void attention_release(struct attention *a)
{
	for (uint32_t i = 0; i < 8; i++) {
		free(a->pages[i]);
		free(a->halves[i]);
	}
	free((void *)a->job.q);
	free(a->job.scores);
	free(a->out);
}

/* Softmax attention of one row in double. */
static bool row_near(const struct attention *a, uint32_t row)
{
	const struct lsc_attend *job = &a->job;
	const uint32_t n = job->n + row;
	bool near = true;

	for (uint32_t h = 0; h < job->group; h++) {
		const float *q = job->q + row * job->q_stride + h * job->head_dim;
		double sum = 0, out[128] = {0};

		for (uint32_t t = job->window && n > job->window ? n - job->window : 0; t < n;
		     t++) {
			const float *page = a->pages[t / LSC_PAGE_POSITIONS];
			uint32_t slot = t % LSC_PAGE_POSITIONS;
			double s = 0;

			for (uint32_t d = 0; d < job->head_dim; d++)
				s += (double)q[d] * page[d * LSC_PAGE_POSITIONS + slot];
			s = exp(s * job->scale);
			sum += s;
			for (uint32_t d = 0; d < job->head_dim; d++)
				out[d] += s * page[job->values + slot * job->value_stride + d];
		}
		for (uint32_t d = 0; d < job->head_dim; d++)
			near &= fabs(out[d] / sum -
				     a->out[row * job->out_stride + h * job->head_dim + d]) < 1e-5;
	}
	return near;
}

/* Row by row, with the portable kernels. */
static bool same_alone(const struct attention *a, const struct lsc_kernels *plain)
{
	const struct lsc_attend *job = &a->job;
	float *alone = calloc((size_t)job->group * job->head_dim, sizeof(*alone));
	bool same = true;

	for (uint32_t row = 0; row < job->rows; row++) {
		struct lsc_attend one = *job;

		one.q += row * job->q_stride;
		one.out = alone;
		one.rows = 1;
		one.n += row;
		plain->attend(&one);
		same &= !memcmp(alone, a->out + row * job->out_stride,
				(size_t)job->group * job->head_dim * sizeof(*alone));
	}
	free(alone);
	return same;
}

static void test_attend(const struct lsc_kernels *kernels, const struct lsc_kernels *plain,
			bool half)
{
	static const uint32_t dims[] = {8, 24, 64, 128}, rows[] = {1, 2, 5, 16};
	static const uint32_t groups[] = {1, 3, 4, 7};
	bool same = true, near = true;

	for (uint32_t i = 0; i < 64; i++)
		for (uint32_t n = 16; n <= 256; n += 80) {
			uint32_t m = rows[i % 4];
			struct attention a;

			attention_init(&a, half, m, groups[i / 4 % 4], dims[i / 16], n);
			a.job.window = n == 96 ? 40 : 0;
			kernels->attend(&a.job);
			for (uint32_t row = 0; row < m; row++)
				near &= row_near(&a, row);
			same &= same_alone(&a, plain);
			attention_release(&a);
		}
	ok(near, "%s, %s: attention is softmax(qk)v", kernels->name, half ? "f16" : "f32");
	ok(same, "%s, %s: attention of rows equals the portable one of each alone", kernels->name,
	   half ? "f16" : "f32");
}

/* Every f16 there is, and what lies around each: rounded as weights are, but never to infinity. */
static void test_halves(const struct lsc_kernels *kernels)
{
	float x[3 * 16 + 5], back[3 * 16 + 5];
	uint16_t got[3 * 16 + 5], want[3 * 16 + 5];
	bool round = true, wide = true;

	for (uint32_t bits = 0; bits <= UINT16_MAX; bits++) {
		const uint16_t half = (uint16_t)bits;
		float at;

		lsc_dtype_to_f32(LSC_DTYPE_F16, &half, &at, 1);
		for (size_t i = 0; i < LSC_ARRAY_SIZE(x); i++)
			x[i] = i % 3 ? at * (1 + (float)i * 0x1p-12f) : at;
		kernels->halve(got, x, LSC_ARRAY_SIZE(x));
		for (size_t i = 0; i < LSC_ARRAY_SIZE(x); i++)
			x[i] = isnan(x[i]) ? x[i] : fmaxf(-65504, fminf(65504, x[i]));
		lsc_dtype_from_f32(LSC_DTYPE_F16, x, want, LSC_ARRAY_SIZE(x));
		round &= !memcmp(got, want, sizeof(want));
		kernels->widen(back, got, LSC_ARRAY_SIZE(got));
		lsc_dtype_to_f32(LSC_DTYPE_F16, got, x, LSC_ARRAY_SIZE(got));
		wide &= isnan(at) ? isnan(back[0]) : !memcmp(back, x, sizeof(x));
	}
	ok(round, "%s: numbers become f16 as weights do, and stay finite", kernels->name);
	ok(wide, "%s: and come back", kernels->name);
}

int main(void)
{
	const struct lsc_kernels *plain = lsc_kernels_named("portable");

	for (size_t i = 0; i < LSC_ARRAY_SIZE(names); i++) {
		const struct lsc_kernels *kernels = lsc_kernels_named(names[i]);

		if (!kernels) {
			skip("%s does not run here", names[i]);
			continue;
		}
		test_matmul(kernels);
		test_packed(kernels);
		test_elementwise(kernels, plain);
		test_exp(kernels);
		test_attend(kernels, plain, false);
		test_attend(kernels, plain, true);
		test_halves(kernels);
	}
	ok(lsc_kernels() != NULL, "one row is chosen: %s", lsc_kernels()->name);
	ok(lsc_kernels_named("vax") == NULL, "an unknown row is none");
	return done_testing();
}
