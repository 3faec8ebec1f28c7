/* The arithmetic of a decoder, in an order that is part of the contract.
 *
 * A dot product runs in 16 f32 lanes: lane j adds the products of columns j, j+16, j+32 ... in that
 * order, each with one fused multiply-add; what is missing from the last 16 counts as zero.  The
 * lanes are then added as a tree: j and j+8, j and j+4, j and j+2, 0 and 1.  Every row of kernels
 * does exactly this (AVX-512, AVX2 with FMA, portable C with fmaf), and tiles run over outputs
 * only, never over columns.  So a result does not depend on the machine, on how many positions were
 * computed together, or on how rows were shared out among threads.
 *
 * That is the exact product.  Products of bf16 weights are faster where activations are packed
 * first, rounded to bf16 (to nearest, ties to even).  Their dot product runs in blocks of
 * LSC_BRAIN_COLUMNS columns: lane j of 16 adds column 2j+1 and then 2j of each 32, with one fused
 * multiply-add each, what is missing counts as zero, and the lanes are added as above.  The sums of
 * blocks are added to y in order, the first takes its place where nothing is added.  Subnormal
 * numbers count as zero wherever they come in or out.  This is what the instruction vdpbf16ps does,
 * on processors of Intel and AMD; every row but one does the same, so that here too no bit depends
 * on the machine.
 *
 * That one is "amx", for processors with registers of tiles, which compute several times as fast in
 * an order of their own (tdpbf16ps): of each 32 columns the even ones are added up from zero in
 * order, and the odd ones, with one fused multiply-add each; the sum of both is added to that of
 * the columns before, the first to zero, and in the end y is that, or has it added.
 *
 * Products of q8 weights, too, pack activations, in blocks of 32: the scale is the largest
 * magnitude a / 127, and a value x becomes the whole number nearest to x * (127 / a), ties to even;
 * where a is below LSC_Q8_LEAST all are zero.  Products of whole numbers are added up exactly in a
 * block; blocks are added in order, each with one fused multiply-add: that sum, as f32, by the
 * product of both scales.
 *
 * Everything else (exp, sums over positions) is spelt out in the same way in kernels_body.h.
 *
 * What is infinite or no number makes the products that it meets, and its own norm and activation,
 * one or the other, and changes no others; the rows agree on all of it, but for which bits say that
 * something is no number.
 */
#ifndef LSC_EXEC_KERNELS_H
#define LSC_EXEC_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/dtype.h"
#include "model/q8.h"

#define LSC_LANES          16
#define LSC_BRAIN_COLUMNS  1024
#define LSC_Q8_LEAST       0x1p-100f
#define LSC_ATTEND_QUERIES 16 /* heads of rows that are worked on together */
#define LSC_PAGE_POSITIONS 32 /* positions of a KV page; a multiple of the lanes */

/* y[p][row] = w[row] . x[p], or y[p][row] += with add, for positions p < m. */
struct lsc_matmul {
	enum lsc_dtype dtype; /* f32, f16, bf16 or q8 */
	const void *w;        /* [rows][cols], aligned to 4 bytes; of q8 tiles (model/q8.h) */
	uint32_t cols;
	uint32_t m;
	const float *x; /* x_stride a multiple of 16, x[p] zero from cols up to the next one */
	size_t x_stride;
	float *y;
	size_t y_stride;
	bool add;
	const uint8_t *packed; /* for lsc_packing's matmul, in place of x: positions packed */
	size_t packed_stride;  /* bytes */
	uint32_t arranged;     /* of them, from the first on, are arranged: a multiple of 16 */
};

/* Rows first .. first+n-1 of a product. */
typedef void lsc_matmul_fn(const struct lsc_matmul *job, uint32_t first, uint32_t n);

/* Activations as the faster products of one weight format want them; of one row of kernels. */
struct lsc_packing {
	uint32_t step_bytes; /* of 32 columns, or what is left of them */

	/* One position; the columns that are missing from the last 32 are zero. */
	void (*pack)(const float *x, uint32_t cols, uint8_t *packed);

	/* Arranges 16 packed positions, in place, as products of several positions like them best:
	 * those that are not are arranged again by each task.  NULL: they are fine as they are.
	 * Room for 16 is enough, and what lies in those that are not used does not matter. */
	void (*arrange)(uint8_t *packed, size_t stride, uint32_t cols);

	lsc_matmul_fn *matmul;
};

#define LSC_ARRANGED 16

/* Queries of rows at consecutive positions for one kv head, against that head's keys and values.
 * Where values are finite a row's result does not depend on those beside it. */
struct lsc_attend {
	const float *q; /* [rows][group][head_dim], rows q_stride apart */
	float *out;     /* the same, rows out_stride apart */
	size_t q_stride, out_stride;
	uint32_t rows, group, head_dim;
	uint32_t n;               /* positions up to the first row's own, which is the last */
	uint32_t window;          /* how many of them a row sees at most; 0: all */
	bool half;                /* pages are of f16, not f32 */
	const void *const *pages; /* each holds LSC_PAGE_POSITIONS */
	size_t keys;              /* in a page: [head_dim][LSC_PAGE_POSITIONS] */
	size_t values;            /* in a page: [LSC_PAGE_POSITIONS][value_stride] */
	size_t value_stride;      /* head_dim rounded up to the lanes */
	float scale;
	float *scores;       /* scratch: [LSC_ATTEND_QUERIES][score_stride] */
	size_t score_stride; /* what the last row sees, rounded up to a page, at least */
};

struct lsc_kernels {
	const char *name; /* "amx", "avx512-bf16", "avx512", "avx2", "portable" */

	lsc_matmul_fn *matmul; /* exact */

	struct lsc_packing brain, q8; /* of bf16 weights, and of q8 ones */

	/* out = x / sqrt(mean(x^2) + eps) * weight; in place is fine. */
	void (*rms_norm)(float *out, const float *x, const float *weight, uint32_t n, float eps);

	/* gate = silu(gate) * up. */
	void (*swiglu)(float *gate, const float *up, uint32_t n);

	/* x = exp(x - max(x)); returns their sum. */
	float (*softmax)(float *x, uint32_t n);

	void (*attend)(const struct lsc_attend *job);

	/* n numbers to f16, to nearest, ties to even, but to the greatest where they are too large;
	 * and back. */
	void (*halve)(uint16_t *out, const float *x, uint32_t n);
	void (*widen)(float *out, const uint16_t *x, uint32_t n);
};

/* The best row this processor can run, chosen once; LSC_KERNELS in the environment names another.
 */
const struct lsc_kernels *lsc_kernels(void);

/* -EINVAL: what LSC_KERNELS names cannot run here, or is no row. */
int lsc_kernels_check(struct lsc_err *err);

/* A row by name; NULL where it is not built in or cannot run here. */
const struct lsc_kernels *lsc_kernels_named(const char *name);

/* The rows themselves; the x86 ones exist on x86-64 alone. */
extern const struct lsc_kernels lsc_kernels_portable, lsc_kernels_avx2, lsc_kernels_avx512,
	lsc_kernels_avx512_bf16, lsc_kernels_amx;

/* How these kernels pack activations for weights of a format; NULL: there is only the exact way. */
static inline const struct lsc_packing *lsc_kernels_packing(const struct lsc_kernels *kernels,
							    enum lsc_dtype dtype)
{
	return dtype == LSC_DTYPE_BF16 ? &kernels->brain
	       : dtype == LSC_DTYPE_Q8 ? &kernels->q8
				       : NULL;
}

/* From one position of packed activations to the next, in bytes: an odd number of cache lines, for
 * positions a power of two apart would share few of them. */
static inline size_t lsc_packed_stride(const struct lsc_packing *packing, uint32_t cols)
{
	return (((size_t)(cols + 31) / 32 * packing->step_bytes + 63) / 64 | 1) * 64;
}

#endif
