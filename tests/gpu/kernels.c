/* Every kernel of lib/cuda against plain loops in double: odd sizes, groups of heads, borders of
 * pages, each format; in the emulation also in three orders of its threads.
 *
 * What f32 adds up is held to 2e-6 of the largest result, times a few for long sums; what is
 * rounded to 16 bits at the end to half a unit of its last place: 2^-9 for bf16, 2^-12 for f16. */
#include "cuda/launchers.h"

#include "exec/sample.h"
#include "gpu.h"

#define SUM_OFF 4e-6

static const enum lsc_dtype dtypes[] = {LSC_DTYPE_F32, LSC_DTYPE_F16, LSC_DTYPE_BF16};
static const enum lsc_cuda_format formats[] = {LSC_CUDA_F32, LSC_CUDA_F16, LSC_CUDA_BF16};
static const double round_off[] = {SUM_OFF, 0x1p-11, 0x1p-8};
static const char *const names[] = {"f32", "f16", "bf16", "q8"};

static uint32_t pad(uint32_t n)
{
	return (uint32_t)lsc_align_up(n, 32);
}

/* n rows of values in a format, padded with zeros: the device's; v gets what they are. */
static void *half_rows(unsigned f, float *v, uint32_t n, uint32_t cols)
{
	size_t bytes = lsc_cuda_half_bytes(formats[f]);
	uint8_t *padded = calloc((size_t)n * pad(cols), bytes), *packed;
	void *memory;

	packed = gpu_pack(dtypes[f], v, (size_t)n * cols);
	for (uint32_t i = 0; i < n; i++)
		memcpy(padded + (size_t)i * pad(cols) * bytes, packed + (size_t)i * cols * bytes,
		       cols * bytes);
	memory = gpu_new(padded, (size_t)n * pad(cols) * bytes);
	free(packed);
	free(padded);
	return memory;
}

/* The first cols of n rows of a format, as floats. */
static float *get_rows(unsigned f, const void *from, uint32_t n, uint32_t cols, size_t stride)
{
	size_t bytes = lsc_cuda_half_bytes(formats[f]);
	uint8_t *raw = malloc(n * stride * bytes);
	float *v = malloc((size_t)n * cols * sizeof(*v));

	gpu_get(raw, from, n * stride * bytes);
	for (uint32_t i = 0; i < n; i++)
		lsc_dtype_to_f32(dtypes[f], raw + i * stride * bytes, v + (size_t)i * cols, cols);
	free(raw);
	return v;
}

/* --- q8 --- */

/* Tiles from values, which become what the tiles hold. */
static uint8_t *q8_pack(float *v, uint32_t rows, uint32_t cols)
{
	uint8_t *data = calloc(1, lsc_cuda_matrix_bytes(LSC_CUDA_Q8, rows, cols));
	size_t padded = pad(cols), tile = padded * 16 + lsc_align_up(padded, 64);

	for (uint32_t r = 0; r < rows; r++)
		for (uint32_t b = 0; b < padded / 32; b++) {
			int8_t *quants = (int8_t *)data + r / 16 * tile;
			uint16_t *scales = (uint16_t *)(quants + padded * 16);
			float max = 0, scale;

			for (uint32_t c = b * 32; c < LSC_MIN(cols, b * 32 + 32); c++)
				max = fmaxf(max, fabsf(v[(size_t)r * cols + c]));
			max /= 127;
			lsc_dtype_from_f32(LSC_DTYPE_F16, &max, &scales[b * 16 + r % 16], 1);
			lsc_dtype_to_f32(LSC_DTYPE_F16, &scales[b * 16 + r % 16], &scale, 1);
			for (uint32_t c = b * 32; c < LSC_MIN(cols, b * 32 + 32); c++) {
				float *x = &v[(size_t)r * cols + c];
				int8_t q = scale > 0 ? (int8_t)lrintf(
							       fminf(127, fmaxf(-127, *x / scale)))
						     : 0;

				quants[(size_t)c / 4 * 64 + r % 16 * 4 + c % 4] = q;
				*x = (float)q * scale;
			}
		}
	return data;
}

/* A matrix of format f (3: q8) on the device; *ret_v is what it holds. */
static struct lsc_cuda_matrix matrix_of(unsigned f, uint32_t rows, uint32_t cols, float **ret_v)
{
	float *v = gpu_floats((size_t)rows * cols, 1);
	void *packed =
		f == 3 ? q8_pack(v, rows, cols) : gpu_pack(dtypes[f], v, (size_t)rows * cols);
	enum lsc_cuda_format format = f == 3 ? LSC_CUDA_Q8 : formats[f];
	struct lsc_cuda_matrix matrix = {
		format, rows, cols, gpu_new(packed, lsc_cuda_matrix_bytes(format, rows, cols))};

	free(packed);
	*ret_v = v;
	return matrix;
}

/* --- products --- */

static double product_off(unsigned w, unsigned h, uint32_t rows, uint32_t cols, uint32_t n,
			  bool add)
{
	float *v, *x = gpu_floats((size_t)n * cols, 1), *y = gpu_floats((size_t)n * pad(rows), 1);
	struct lsc_cuda_matrix matrix = matrix_of(w, rows, cols, &v);
	void *dx = half_rows(h, x, n, cols), *dy = gpu_new(y, (size_t)n * pad(rows) * 4);
	double *want = malloc((size_t)n * rows * sizeof(*want)), off;
	float *got;

	for (uint32_t p = 0; p < n; p++)
		for (uint32_t r = 0; r < rows; r++) {
			double sum = add ? y[(size_t)p * pad(rows) + r] : 0;

			for (uint32_t c = 0; c < cols; c++)
				sum += (double)v[(size_t)r * cols + c] * x[(size_t)p * cols + c];
			want[(size_t)p * rows + r] = sum;
		}
	GPU(lsc_cuda_matvec(gpu_stream, formats[h], &matrix, dx, pad(cols), n, dy, pad(rows), add));
	got = get_rows(0, dy, n, rows, pad(rows));
	off = gpu_off(got, want, (size_t)n * rows);
	cudaFree((void *)matrix.data);
	cudaFree(dx);
	cudaFree(dy);
	free(v);
	free(x);
	free(y);
	free(want);
	free(got);
	return off;
}

static void test_products(void)
{
	static const uint32_t sizes[][2] = {{1, 1},     {16, 32},  {17, 33},   {40, 264},
					    {33, 1000}, {7, 2048}, {130, 100}, {64, 520}};

	for (unsigned w = 0; w < 4; w++)
		for (unsigned h = 0; h < 3; h++) {
			double worst = 0;

			for (unsigned s = 0; s < LSC_ARRAY_SIZE(sizes); s++)
				for (uint32_t n = 1; n <= LSC_CUDA_MATVEC_ROWS; n += n < 5 ? 2 : 3)
					worst = fmax(worst, product_off(w, h, sizes[s][0],
									sizes[s][1], n, s % 2));
			ok(worst < SUM_OFF, "%s: %s matrix x %s vectors, off by %.1g", GPU_WHERE,
			   names[w], names[h], worst);
		}
}

static void test_expand(void)
{
	static const uint32_t sizes[][2] = {{1, 1}, {16, 32}, {17, 33}, {50, 264}};

	for (unsigned w = 0; w < 4; w++)
		for (unsigned h = 0; h < 3; h++) {
			double worst = 0;

			for (unsigned s = 0; s < LSC_ARRAY_SIZE(sizes); s++) {
				const uint32_t rows = sizes[s][0], cols = sizes[s][1];
				size_t n = (size_t)rows * cols;
				float *v, *got;
				struct lsc_cuda_matrix matrix = matrix_of(w, rows, cols, &v);
				double *want = malloc(n * sizeof(*want));
				void *out = gpu_new(NULL, n * lsc_cuda_half_bytes(formats[h]));

				for (size_t i = 0; i < n; i++)
					want[i] = v[i];
				GPU(lsc_cuda_expand(gpu_stream, formats[h], &matrix, out));
				got = get_rows(h, out, rows, cols, cols);
				worst = fmax(worst, gpu_off(got, want, n));
				cudaFree((void *)matrix.data);
				cudaFree(out);
				free(v);
				free(got);
				free(want);
			}
			ok(worst <= (w == h ? 0 : round_off[h]), "%s: %s matrix as %s, off by %.1g",
			   GPU_WHERE, names[w], names[h], worst);
		}
}

/* --- rows --- */

static void test_embed(void)
{
	enum { ROWS = 37, COLS = 75, N = 5 };
	static const uint32_t ids[N] = {0, 36, 16, 15, 16};

	for (unsigned w = 0; w < 4; w++) {
		struct lsc_cuda_row rows[N] = {{0}};
		struct lsc_cuda_matrix matrix;
		double want[N * COLS];
		void *drows, *x = gpu_new(NULL, (size_t)N * pad(COLS) * 4);
		float *v, *got;

		matrix = matrix_of(w, ROWS, COLS, &v);
		for (unsigned i = 0; i < N; i++) {
			rows[i].id = ids[i];
			for (unsigned c = 0; c < COLS; c++)
				want[i * COLS + c] = v[ids[i] * COLS + c];
		}
		drows = gpu_new(rows, sizeof(rows));
		GPU(lsc_cuda_embed(gpu_stream, &matrix, drows, N, x, pad(COLS)));
		got = get_rows(0, x, N, COLS, pad(COLS));
		ok(gpu_off(got, want, N * COLS) < 1e-7, "%s: embedding in %s", GPU_WHERE, names[w]);
		cudaFree((void *)matrix.data);
		cudaFree(drows);
		cudaFree(x);
		free(v);
		free(got);
	}
}

static void test_norm(uint32_t cols)
{
	enum { ROWS = 6, N = 4 };
	static const uint32_t index[N] = {5, 0, 3, 3};
	float *x = gpu_floats((size_t)ROWS * pad(cols), 3), *weight = gpu_floats(cols, 2), *got;
	void *dx = gpu_new(x, (size_t)ROWS * pad(cols) * 4), *dw = gpu_new(weight, cols * 4);
	void *di = gpu_new(index, sizeof(index));

	for (unsigned h = 0; h < 3; h++)
		for (unsigned by = 0; by < 2; by++) {
			void *out = gpu_new(NULL, (size_t)N * pad(cols) * 4);
			double *want = malloc((size_t)N * cols * sizeof(*want));

			for (unsigned i = 0; i < N; i++) {
				const float *row = x + (size_t)(by ? index[i] : i) * pad(cols);
				double sum = 0;

				for (uint32_t c = 0; c < cols; c++)
					sum += (double)row[c] * row[c];
				for (uint32_t c = 0; c < cols; c++)
					want[(size_t)i * cols + c] =
						row[c] / sqrt(sum / cols + 1e-5) * weight[c];
			}
			GPU(lsc_cuda_norm(gpu_stream, formats[h], dx, pad(cols), by ? di : NULL, dw,
					  cols, 1e-5f, N, out, pad(cols)));
			got = get_rows(h, out, N, cols, pad(cols));
			ok(gpu_off(got, want, (size_t)N * cols) < round_off[h],
			   "%s: norm of %u to %s%s", GPU_WHERE, cols, names[h],
			   by ? ", of chosen rows" : "");
			cudaFree(out);
			free(want);
			free(got);
		}
	cudaFree(dx);
	cudaFree(dw);
	cudaFree(di);
	free(x);
	free(weight);
}

static void test_elements(uint32_t ffn)
{
	enum { N = 3 };
	size_t stride = pad(2 * ffn);
	float *in = gpu_floats(N * stride, 8), *bias = gpu_floats(ffn, 1), *got;
	void *din = gpu_new(in, N * stride * 4), *db = gpu_new(bias, ffn * 4);
	double *want = malloc((size_t)N * ffn * sizeof(*want));

	for (unsigned h = 0; h < 3; h++) {
		void *out = gpu_new(NULL, (size_t)N * pad(ffn) * 4);

		for (uint32_t i = 0; i < N; i++)
			for (uint32_t c = 0; c < ffn; c++) {
				double gate = in[i * stride + c];

				want[(size_t)i * ffn + c] =
					gate / (1 + exp(-gate)) * in[i * stride + ffn + c];
			}
		GPU(lsc_cuda_swiglu(gpu_stream, formats[h], din, stride, ffn, N, out, pad(ffn)));
		got = get_rows(h, out, N, ffn, pad(ffn));
		ok(gpu_off(got, want, (size_t)N * ffn) < round_off[h], "%s: swiglu of %u to %s",
		   GPU_WHERE, ffn, names[h]);
		cudaFree(out);
		free(got);
	}
	for (uint32_t i = 0; i < N * ffn; i++)
		want[i] = bias[i % ffn];
	GPU(lsc_cuda_bias(gpu_stream, db, ffn, N, din, stride));
	got = get_rows(0, din, N, ffn, stride);
	ok(gpu_off(got, want, (size_t)N * ffn) == 0, "%s: biases of %u", GPU_WHERE, ffn);
	cudaFree(din);
	cudaFree(db);
	free(in);
	free(bias);
	free(want);
	free(got);
}

/* --- attention --- */

struct attention {
	const char *name;
	uint32_t heads, kv_heads, dim;
	uint32_t past; /* positions before the batch */
	uint32_t n;    /* rows of the request in the batch, after one of another request */
	bool norms;
	uint32_t window; /* 0: none */
};

#define LAYER     1 /* of 2 */
#define MAX_PAGES 64

struct room {
	uint32_t reach, pages;
	struct lsc_cuda_shape shape;
	struct lsc_cuda_row *rows;
	float *qkv, *all; /* all: of every position of the request */
	float *q_norm, *k_norm, *rope;
	void **page, **table;
};

/* Queries and keys as they should be, in double: normed and turned, [heads + kv_heads][dim]. */
static void turned(const struct attention *a, const struct room *room, const float *qkv,
		   uint32_t pos, double *out)
{
	const float *cosines = room->rope + (size_t)pos * a->dim, *sines = cosines + a->dim / 2;

	for (uint32_t h = 0; h < a->heads + a->kv_heads; h++) {
		const float *head = qkv + (size_t)h * a->dim;
		const float *w = h < a->heads ? room->q_norm : room->k_norm;
		double sum = 0, *to = out + (size_t)h * a->dim;

		for (uint32_t i = 0; i < a->dim; i++)
			sum += (double)head[i] * head[i];
		for (uint32_t i = 0; i < a->dim; i++)
			to[i] = a->norms ? head[i] / sqrt(sum / a->dim + 1e-5) * w[i] : head[i];
		for (uint32_t i = 0; i < a->dim / 2; i++) {
			double x = to[i], y = to[a->dim / 2 + i];

			to[i] = x * cosines[i] - y * sines[i];
			to[a->dim / 2 + i] = y * cosines[i] + x * sines[i];
		}
	}
}

/* What attention gives a position: [heads][dim]. */
static void attended(const struct attention *a, const struct room *room, uint32_t pos, double *out)
{
	const uint32_t width = (a->heads + 2 * a->kv_heads) * a->dim,
		       group = a->heads / a->kv_heads;
	double *q = malloc((size_t)(a->heads + a->kv_heads) * a->dim * 8);
	double *k = malloc((size_t)(a->heads + a->kv_heads) * a->dim * 8);
	double *p = malloc((size_t)a->heads * (pos + 1) * 8);
	const uint32_t from = a->window && pos >= a->window ? pos - a->window + 1 : 0;

	turned(a, room, room->all + (size_t)pos * width, pos, q);
	for (uint32_t t = 0; t <= pos; t++) {
		turned(a, room, room->all + (size_t)t * width, t, k);
		for (uint32_t h = 0; h < a->heads; h++) {
			double *score = &p[(size_t)h * (pos + 1) + t];

			*score = 0;
			for (uint32_t i = 0; i < a->dim; i++)
				*score += q[h * a->dim + i] *
					  k[(a->heads + h / group) * a->dim + i] / sqrt(a->dim);
		}
	}
	for (uint32_t h = 0; h < a->heads; h++) {
		double max = -INFINITY, sum = 0, *of = p + (size_t)h * (pos + 1);

		for (uint32_t t = from; t <= pos; t++)
			max = fmax(max, of[t]);
		for (uint32_t t = from; t <= pos; t++)
			sum += of[t] = exp(of[t] - max);
		for (uint32_t i = 0; i < a->dim; i++) {
			double v = 0;

			for (uint32_t t = from; t <= pos; t++)
				v += of[t] / sum *
				     room->all[(size_t)t * width +
					       (a->heads + a->kv_heads + h / group) * a->dim + i];
			out[h * a->dim + i] = v;
		}
	}
	free(q);
	free(k);
	free(p);
}

static void room_open(struct room *room, const struct attention *a, unsigned f)
{
	const uint32_t width = (a->heads + 2 * a->kv_heads) * a->dim;
	size_t page_bytes;

	room->reach = a->past + a->n;
	room->pages = (room->reach + LSC_CUDA_PAGE - 1) / LSC_CUDA_PAGE;
	room->shape = (struct lsc_cuda_shape){
		formats[f], a->heads, a->kv_heads, a->dim, (uint32_t)lsc_align_up(a->dim, 8),
		MAX_PAGES,  1e-5f};
	room->all = gpu_floats((size_t)room->reach * width, 2);
	room->q_norm = gpu_floats(a->dim, 2);
	room->k_norm = gpu_floats(a->dim, 2);
	room->rope = malloc((size_t)room->reach * a->dim * sizeof(float));
	for (uint32_t t = 0; t < room->reach; t++)
		for (uint32_t i = 0; i < a->dim / 2; i++) {
			double angle = t * pow(10000, -2.0 * i / a->dim);

			room->rope[t * a->dim + i] = (float)cos(angle);
			room->rope[t * a->dim + a->dim / 2 + i] = (float)sin(angle);
		}
	page_bytes = 2ul * a->kv_heads * LSC_CUDA_PAGE * room->shape.head_stride *
		     lsc_cuda_half_bytes(formats[f]);
	room->page = calloc(room->pages + 1, sizeof(*room->page));
	for (uint32_t i = 0; i <= room->pages; i++) {
		uint8_t *zero = calloc(1, page_bytes);

		room->page[i] = gpu_new(zero, page_bytes);
		free(zero);
	}
	room->table = gpu_new(NULL, 2ul * 2 * MAX_PAGES * sizeof(void *));
}

static void room_close(struct room *room)
{
	for (uint32_t i = 0; i <= room->pages; i++)
		cudaFree(room->page[i]);
	cudaFree(room->table);
	free(room->page);
	free(room->all);
	free(room->q_norm);
	free(room->k_norm);
	free(room->rope);
}

enum how { BY_ROWS, BY_ROWS_IN_PARTS, BY_TILES };

/* Runs positions first .. first+n-1 of the request: row 0 of the batch is inactive, row 1 is
 * another request's first position, with the last page.  out: [n][heads * dim]. */
static float *run_rows(const struct attention *a, const struct room *room, unsigned f,
		       uint32_t first, uint32_t n, enum how how, double *ret_other_off)
{
	const uint32_t width = (a->heads + 2 * a->kv_heads) * a->dim, out_width = a->heads * a->dim;
	const uint32_t rows = n + 2;
	struct lsc_cuda_row *row = calloc(rows, sizeof(*row));
	void **now = calloc(rows, sizeof(*now));
	float *qkv = calloc((size_t)rows * pad(width), sizeof(*qkv)), *got, *other;
	struct lsc_cuda_attend job = {
		.shape = room->shape,
		.n = rows,
		.layer = LAYER,
		.window = a->window,
		.qkv_stride = pad(width),
		.out_stride = pad(out_width),
	};
	void *q_norm = gpu_new(room->q_norm, a->dim * 4),
	     *k_norm = gpu_new(room->k_norm, a->dim * 4);
	void *rope = gpu_new(room->rope, (size_t)room->reach * a->dim * 4), *out, *index, *tiles;
	uint32_t *at = malloc(rows * sizeof(*at)), splits = how == BY_ROWS ? 1 : 5, n_tiles = 0;
	uint32_t each = lsc_cuda_tile_rows(&room->shape);
	struct lsc_cuda_tile *tile = malloc(rows * sizeof(*tile));
	double *want = malloc(out_width * sizeof(*want));
	void *partial = gpu_new(NULL, (size_t)rows * a->heads * splits * (a->dim + 2) * 4);

	for (uint32_t i = 0; i < n; i++) {
		row[i + 2] = (struct lsc_cuda_row){room->table, first + i, 0};
		now[i + 2] = room->page[(first + i) / LSC_CUDA_PAGE];
		memcpy(qkv + (size_t)(i + 2) * pad(width), room->all + (size_t)(first + i) * width,
		       width * sizeof(float));
		at[i] = i + 2;
	}
	row[1] = (struct lsc_cuda_row){room->table + 2 * MAX_PAGES, 0, 0};
	now[1] = room->page[room->pages];
	memcpy(qkv + pad(width), room->all, width * sizeof(float));
	at[n] = 1;
	for (uint32_t i = 0; each && i < n; i += each)
		tile[n_tiles++] = (struct lsc_cuda_tile){i + 2, LSC_MIN(each, n - i)};
	tile[n_tiles++] = (struct lsc_cuda_tile){1, 1};
	job.rows = gpu_new(row, rows * sizeof(*row));
	job.now = gpu_new(now, rows * sizeof(*now));
	job.qkv = gpu_new(qkv, (size_t)rows * pad(width) * sizeof(*qkv));
	job.out = out = gpu_new(NULL, (size_t)rows * pad(out_width) * 4);
	index = gpu_new(at, rows * sizeof(*at));
	tiles = gpu_new(tile, rows * sizeof(*tile));
	GPU(lsc_cuda_prepare(gpu_stream, &job, a->norms ? q_norm : NULL, a->norms ? k_norm : NULL,
			     rope));
	if (how == BY_TILES)
		GPU(lsc_cuda_attend_tiles(gpu_stream, &job, tiles, n_tiles));
	else
		GPU(lsc_cuda_attend_rows(gpu_stream, &job, index, n + 1, splits, partial));
	got = get_rows(f, (uint8_t *)out + 2ul * pad(out_width) * lsc_cuda_half_bytes(formats[f]),
		       n, out_width, pad(out_width));
	other = get_rows(f, (uint8_t *)out + pad(out_width) * lsc_cuda_half_bytes(formats[f]), 1,
			 out_width, pad(out_width));
	attended(a, room, 0, want);
	*ret_other_off = gpu_off(other, want, out_width);
	void *all[] = {(void *)job.rows, (void *)job.now, job.qkv, out,    index, tiles,
		       q_norm,           k_norm,          rope,    partial};
	for (size_t i = 0; i < LSC_ARRAY_SIZE(all); i++)
		cudaFree(all[i]);
	free(row);
	free(now);
	free(qkv);
	free(at);
	free(tile);
	free(want);
	free(other);
	return got;
}

static void test_attention(const struct attention *a, unsigned f, enum how how)
{
	static const char *const hows[] = {"rows", "rows in parts", "tiles"};
	const uint32_t width = a->heads * a->dim;
	double *want = malloc((size_t)a->n * width * sizeof(*want)), other, other_past = 0, off;
	struct room room;
	float *got, *past;

	room_open(&room, a, f);
	if (how == BY_TILES && !lsc_cuda_tile_rows(&room.shape)) {
		ok(f == 0 || a->heads / a->kv_heads > 64, "%s: %s in %s has no tiles", GPU_WHERE,
		   a->name, names[f]);
		room_close(&room);
		free(want);
		return;
	}
	for (uint32_t done = 0; done < a->past; done += 40) {
		past = run_rows(a, &room, f, done, LSC_MIN(40, a->past - done), BY_ROWS,
				&other_past);
		free(past);
	}
	got = run_rows(a, &room, f, a->past, a->n, how, &other);
	for (uint32_t i = 0; i < a->n; i++)
		attended(a, &room, a->past + i, want + (size_t)i * width);
	off = fmax(gpu_off(got, want, (size_t)a->n * width), fmax(other, other_past));
	/* Keys, values and weights are rounded too: a few units. */
	ok(off < (f ? 6 * round_off[f] : 4e-5), "%s: attention of %s in %s by %s, off by %.1g",
	   GPU_WHERE, a->name, names[f], hows[how], off);
	room_close(&room);
	free(want);
	free(got);
}

static void test_attentions(void)
{
	static const struct attention shapes[] = {
		{"one head", 1, 1, 8, 0, 1, false, 0},
		{"grouped heads at a page's end", 6, 2, 16, 31, 2, false, 0},
		{"odd heads", 7, 1, 20, 33, 30, true, 0},
		{"more heads to a key than a block takes", 12, 1, 32, 60, 5, false, 0},
		{"wide heads", 4, 4, 128, 120, 12, true, 0},
		{"the widest heads", 2, 1, 256, 10, 40, false, 0},
		{"several tiles", 4, 1, 64, 64, 70, false, 0},
		{"heads that no tile holds", 65, 1, 8, 5, 3, false, 0},
		{"a window", 2, 1, 16, 200, 40, false, 45},
		{"a window of one", 4, 2, 16, 31, 35, true, 1},
	};

	for (unsigned s = 0; s < LSC_ARRAY_SIZE(shapes); s++)
		for (unsigned f = 0; f < 3; f++)
			for (enum how how = BY_ROWS; how <= BY_TILES; how++)
				test_attention(&shapes[s], f, how);
}

/* --- sampling --- */

static void test_sample(uint32_t vocab, float spread)
{
	enum { N = 16 };
	struct lsc_cuda_draw draws[N];
	float *logits = gpu_floats((size_t)N * vocab, spread);
	struct lsc_sampler sampler = LSC_SAMPLER_INIT;
	uint32_t want[N], got[N], same = 0;
	void *dl, *dd, *dt = gpu_new(NULL, sizeof(got));

	if (lsc_sampler_init(&sampler, vocab, NULL) < 0)
		abort();
	for (uint32_t i = 0; i < N; i++) {
		float temp = i % 4 ? 0.3f * (float)(i % 4) : 0, top_p = i % 3 ? 0.35f * (i % 3) : 1;

		for (uint32_t k = 0; k < vocab; k++) { /* equals, and what is no number */
			float *logit = &logits[(size_t)i * vocab + k];

			*logit = i % 5 == 1 ? roundf(*logit) : k % 97 == 5 ? NAN : *logit;
			if (k % 89 == 7)
				*logit = -INFINITY;
		}
		draws[i] = (struct lsc_cuda_draw){temp, top_p, lsc_sample_uniform(7, i)};
		want[i] = gpu_cpu_token(&sampler, logits + (size_t)i * vocab, temp, top_p, 7, i);
	}
	dl = gpu_new(logits, (size_t)N * vocab * sizeof(*logits));
	dd = gpu_new(draws, sizeof(draws));
	GPU(lsc_cuda_sample(gpu_stream, dl, vocab, vocab, dd, N, dt));
	gpu_get(got, dt, sizeof(got));
	for (uint32_t i = 0; i < N; i++)
		same += got[i] == want[i];
	/* A sum that ends within a rounding of the random number may choose its neighbour. */
	ok(same >= N - 1, "%s: %u of %u draws from %u logits are the CPU's", GPU_WHERE, same, N,
	   vocab);
	draws[0].temp = -1;
	got[0] = 12345;
	cudaFree(dd);
	cudaFree(dt);
	dd = gpu_new(draws, sizeof(draws));
	dt = gpu_new(got, sizeof(got));
	GPU(lsc_cuda_sample(gpu_stream, dl, vocab, vocab, dd, N, dt));
	gpu_get(got, dt, sizeof(got));
	is_int(got[0], 12345, "%s: a row that wants no token gets none", GPU_WHERE);
	cudaFree(dl);
	cudaFree(dd);
	cudaFree(dt);
	free(logits);
	lsc_sampler_release(&sampler);
}

static void test_no_logits(void)
{
	static const struct lsc_cuda_draw draws[3] = {{0, 1, 0.5}, {1, 0.5f, 0.5}, {1, 1, 0.5}};
	uint32_t got[3];
	float logits[3 * 5];
	void *dl, *dd = gpu_new(draws, sizeof(draws)), *dt = gpu_new(NULL, sizeof(got));

	for (unsigned i = 0; i < LSC_ARRAY_SIZE(logits); i++)
		logits[i] = i < 5 ? -INFINITY : NAN;
	dl = gpu_new(logits, sizeof(logits));
	GPU(lsc_cuda_sample(gpu_stream, dl, 5, 5, dd, 3, dt));
	gpu_get(got, dt, sizeof(got));
	ok(!got[0] && !got[1] && !got[2], "%s: without a number among the logits: id 0", GPU_WHERE);
	cudaFree(dl);
	cudaFree(dd);
	cudaFree(dt);
}

static void test_all(void)
{
	test_products();
	test_expand();
	test_embed();
	test_norm(1);
	test_norm(40);
	test_norm(1000);
	test_elements(1);
	test_elements(300);
	test_attentions();
	test_sample(5, 3);
	test_sample(1500, 6);
	test_no_logits();
}

int main(void)
{
	if (!gpu_start())
		return tap_failed != 0;
#ifdef LSC_EMULATED
	static const char *const orders[] = {"forward", "backward", "shuffled"};
#ifdef __SANITIZE_ADDRESS__ /* takes its time, and the same memory is touched in any order */
	const int first = EMULATED_SHUFFLED;
#else
	const int first = EMULATED_FORWARD;
#endif

	for (int order = first; order <= EMULATED_SHUFFLED; order++) {
		printf("# threads of a block run %s\n", orders[order]);
		emulated_set_order(order);
		test_all();
		is_int(emulated_memory_used(), 0, "all memory was given back");
	}
#else
	test_all();
#endif
	return done_testing();
}
