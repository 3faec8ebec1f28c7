/* Infinities and what is no number in the kernels: every row of kernels gives the same, and what
 * did not meet one stays as it is. */
#include "exec/kernels.h"

#include <math.h>

#include "base/macros.h"
#include "matrix.h"
#include "tap.h"

static const char *const names[] = {"portable", "avx2", "avx512", "avx512-bf16", "amx"};
static const float specials[] = {INFINITY, -INFINITY, NAN};
static const struct lsc_kernels *plain;
static uint32_t state = 1;

enum { ROWS = 19, COLS = 172, STRIDE = 176, MOST = 9, ODD_ROW = 6, ODD_COLUMN = 100 };

/* From 1/8 to 1, of either sign: no product is zero. */
static float draw(void)
{
	state = state * 1664525u + 1013904223u;
	return (0.125f + 0.875f * (float)(state >> 9) / (1 << 23)) * (state & 256 ? 1 : -1);
}

static void fill(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = draw();
}

/* The same, bit for bit; what is no number has many. */
static bool alike(const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(&a[i], &b[i], sizeof(*a)) && !(isnan(a[i]) && isnan(b[i])))
			return false;
	return true;
}

/* --- products --- */

struct product {
	enum lsc_dtype dtype;
	bool packed;
	uint32_t m;
	float w[ROWS * COLS], x[MOST * STRIDE];
};

static void product_init(struct product *p, enum lsc_dtype dtype, bool packed, uint32_t m)
{
	*p = (struct product){.dtype = dtype, .packed = packed, .m = m};
	fill(p->w, ROWS * COLS);
	for (uint32_t i = 0; i < m; i++)
		fill(p->x + (size_t)i * STRIDE, COLS);
}

static void multiply(const struct product *p, const struct lsc_kernels *kernels,
		     float y[MOST][ROWS])
{
	const struct lsc_packing *packing = lsc_kernels_packing(kernels, p->dtype);
	const size_t stride = packing ? lsc_packed_stride(packing, COLS) : 64;
	uint8_t *packed = aligned_alloc(64, MOST * stride);
	void *w = malloc(lsc_dtype_matrix_bytes(p->dtype, ROWS, COLS));
	struct lsc_matmul job = {p->dtype, w,    COLS,  p->m,   p->x,   STRIDE,
				 y[0],     ROWS, false, packed, stride, 0};

	matrix_from_f32(p->dtype, p->w, ROWS, COLS, w);
	for (uint32_t i = 0; p->packed && i < p->m; i++)
		packing->pack(p->x + (size_t)i * STRIDE, COLS, packed + i * stride);
	(p->packed ? packing->matmul : kernels->matmul)(&job, 0, ROWS);
	free(packed);
	free(w);
}

/* Whether results are the portable ones, finite but where a row or a position is the odd one, and
 * there as they are without it. */
static bool check_product(const struct product *p, const struct lsc_kernels *kernels,
			  const float clean[MOST][ROWS], uint32_t odd_pos, uint32_t odd_row)
{
	/* One row has an order of its own for them. */
	const bool own = p->packed && p->dtype == LSC_DTYPE_BF16 && !strcmp(kernels->name, "amx");
	float got[MOST][ROWS], want[MOST][ROWS];
	bool fine;

	multiply(p, kernels, got);
	multiply(p, own ? kernels : plain, want);
	fine = alike(got[0], want[0], (size_t)p->m * ROWS);
	for (uint32_t i = 0; i < p->m; i++)
		for (uint32_t r = 0; r < ROWS; r++)
			fine &= i == odd_pos || r == odd_row
					? !isfinite(got[i][r])
					: !memcmp(&got[i][r], &clean[i][r], sizeof(float));
	return fine;
}

static bool test_product(const struct lsc_kernels *kernels, enum lsc_dtype dtype, bool packed,
			 uint32_t m, float special)
{
	float clean[MOST][ROWS], was;
	struct product p;
	bool fine;

	product_init(&p, dtype, packed, m);
	multiply(&p, kernels, clean);
	was = p.x[(m / 2) * STRIDE + ODD_COLUMN];
	p.x[(m / 2) * STRIDE + ODD_COLUMN] = special;
	fine = check_product(&p, kernels, clean, m / 2, ROWS);
	p.x[(m / 2) * STRIDE + ODD_COLUMN] = was;
	if (dtype == LSC_DTYPE_Q8) /* whose weights are finite */
		return fine;
	p.w[ODD_ROW * COLS + ODD_COLUMN] = special;
	return fine && check_product(&p, kernels, clean, m, ODD_ROW);
}

static void test_products(const struct lsc_kernels *kernels)
{
	static const enum lsc_dtype dtypes[] = {LSC_DTYPE_F32, LSC_DTYPE_F16, LSC_DTYPE_BF16,
						LSC_DTYPE_Q8};
	bool exact = true, packed = true;

	for (size_t d = 0; d < LSC_ARRAY_SIZE(dtypes); d++)
		for (uint32_t m = 1; m <= MOST; m++)
			for (size_t s = 0; s < LSC_ARRAY_SIZE(specials); s++) {
				exact &= test_product(kernels, dtypes[d], false, m, specials[s]);
				if (lsc_kernels_packing(kernels, dtypes[d]))
					packed &= test_product(kernels, dtypes[d], true, m,
							       specials[s]);
			}
	ok(exact, "%s: a product is not finite where it meets what is not", kernels->name);
	ok(packed, "%s: nor is one of packed activations", kernels->name);
}

/* --- of each element --- */

static void test_elements(const struct lsc_kernels *kernels)
{
	bool norm = true, activation = true, softmax = true;

	for (uint32_t n = 1; n < 50; n++)
		for (uint32_t i = 0; i < 3 * n; i++) {
			float x[50], up[50], want[50], clean[50], sums[2];

			fill(x, n);
			fill(up, n);
			memcpy(clean, x, sizeof(clean));
			plain->swiglu(clean, up, n);
			x[i / 3] = specials[i % 3];

			kernels->rms_norm(want, x, up, n, 1e-5f);
			norm &= isnan(want[i / 3]);
			for (uint32_t k = 0; k < n; k++) /* by nothing, or by infinity */
				norm &= k == i / 3 || isnan(want[k]) || want[k] == 0;

			memcpy(want, x, sizeof(want));
			kernels->swiglu(want, up, n);
			activation &= !isfinite(want[i / 3]);
			clean[i / 3] = want[i / 3];
			activation &= alike(want, clean, n);

			memcpy(want, x, sizeof(want));
			sums[0] = kernels->softmax(x, n);
			sums[1] = plain->softmax(want, n);
			softmax &= alike(x, want, n) && alike(&sums[0], &sums[1], 1);
		}
	ok(norm, "%s: a row that is not finite has no norm", kernels->name);
	ok(activation, "%s: an activation that is not finite leaves others alone", kernels->name);
	ok(softmax, "%s: softmax equals the portable one", kernels->name);
}

/* --- attention --- */

enum { HEAD = 24, HEAD_STRIDE = 32, GROUP = 3, QUERY_ROWS = 4, POSITIONS = 75, PAGES = 3 };
enum { PAGE_FLOATS = (HEAD + HEAD_STRIDE) * LSC_PAGE_POSITIONS };

struct attention {
	float q[QUERY_ROWS * GROUP * HEAD], pages[PAGES][PAGE_FLOATS];
};

static void attend(const struct attention *a, const struct lsc_kernels *kernels,
		   float out[QUERY_ROWS * GROUP * HEAD])
{
	static float scores[LSC_ATTEND_QUERIES * PAGES * LSC_PAGE_POSITIONS];
	const void *pages[PAGES] = {a->pages[0], a->pages[1], a->pages[2]};
	const struct lsc_attend job = {
		.q = a->q,
		.out = out,
		.q_stride = (size_t)GROUP * HEAD,
		.out_stride = (size_t)GROUP * HEAD,
		.rows = QUERY_ROWS,
		.group = GROUP,
		.head_dim = HEAD,
		.n = POSITIONS,
		.pages = pages,
		.values = (size_t)HEAD * LSC_PAGE_POSITIONS,
		.value_stride = HEAD_STRIDE,
		.scale = 0.2f,
		.scores = scores,
		.score_stride = (size_t)PAGES * LSC_PAGE_POSITIONS,
	};

	kernels->attend(&job);
}

static void test_attention(const struct lsc_kernels *kernels)
{
	static struct attention a;
	float got[QUERY_ROWS * GROUP * HEAD], want[QUERY_ROWS * GROUP * HEAD];
	bool same = true;

	for (uint32_t i = 0; i < 3 * 16; i++) {
		const float special = specials[i % 3];
		const uint32_t at = i / 3;

		fill(a.q, LSC_ARRAY_SIZE(a.q));
		for (int p = 0; p < PAGES; p++)
			fill(a.pages[p], PAGE_FLOATS);
		if (at % 4 == 0)
			a.q[at * HEAD * GROUP / 4 + 5] = special;
		else if (at % 4 == 1) /* a key, then values: of a page's first, and of the last's */
			a.pages[at / 4 % PAGES][7 * LSC_PAGE_POSITIONS + at] = special;
		else
			a.pages[at % PAGES][HEAD * LSC_PAGE_POSITIONS + at * HEAD_STRIDE + at] =
				special;
		attend(&a, kernels, got);
		attend(&a, plain, want);
		same &= alike(got, want, LSC_ARRAY_SIZE(got));
	}
	ok(same, "%s: attention to what is not finite equals the portable one", kernels->name);
}

int main(void)
{
	plain = lsc_kernels_named("portable");
	for (size_t i = 0; i < LSC_ARRAY_SIZE(names); i++) {
		const struct lsc_kernels *kernels = lsc_kernels_named(names[i]);

		if (!kernels) {
			skip("%s does not run here", names[i]);
			continue;
		}
		test_products(kernels);
		test_elements(kernels);
		test_attention(kernels);
	}
	return done_testing();
}
