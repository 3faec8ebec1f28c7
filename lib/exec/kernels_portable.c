/* kernels_portable - the 16 lanes as an array, for any processor
 *
 * fmaf is one instruction where the processor has it; elsewhere the C library computes the same
 * value slowly, which is the price of agreeing with the other nodes bit for bit.
 */
#include "exec/kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/macros.h"
#include "exec/kernels_steps.h"
#include "model/dtype.h"

#define TARGET
#define LANES __attribute__((always_inline)) static inline

typedef struct {
	float v[16];
} lanes;

#define TILE_ROWS    2
#define TILE_COLS    2
#define STREAM_ROWS  4
#define TILE_HEADS   2
#define TILE_VECTORS 2

#define EACH(expr)                                                                                 \
	lanes r;                                                                                   \
                                                                                                   \
	for (int i = 0; i < 16; i++)                                                               \
		r.v[i] = (expr);                                                                   \
	return r

LANES float float_of(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* Exact for every half, subnormals included: 2^112 moves the exponent from bias 15 to 127. */
LANES float float_of_half(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff;

	if (rest >= 0x7c00) /* infinite, or not a number (quietened as hardware does) */
		return float_of(sign | 0x7f800000 | (rest & 0x3ff) << 13 |
				(rest > 0x7c00 ? 0x400000 : 0));
	return float_of(sign | 0x3f800000) * (float_of(rest << 13) * 0x1p112f);
}

LANES lanes lanes_set(float v)
{
	EACH(v);
}

LANES lanes lanes_load(const float *p)
{
	EACH(p[i]);
}

LANES lanes lanes_load_n(const float *p, uint32_t n)
{
	EACH((uint32_t)i < n ? p[i] : 0);
}

LANES void lanes_store(float *p, lanes v)
{
	memcpy(p, v.v, sizeof(v.v));
}

LANES void lanes_store_n(float *p, lanes v, uint32_t n)
{
	memcpy(p, v.v, n * sizeof(*p));
}

LANES lanes lanes_load_bf16(const uint16_t *p)
{
	EACH(float_of((uint32_t)p[i] << 16));
}

LANES lanes lanes_load_bf16_n(const uint16_t *p, uint32_t n)
{
	EACH((uint32_t)i < n ? float_of((uint32_t)p[i] << 16) : 0);
}

LANES lanes lanes_load_f16(const uint16_t *p)
{
	EACH(float_of_half(p[i]));
}

LANES lanes lanes_load_f16_n(const uint16_t *p, uint32_t n)
{
	EACH((uint32_t)i < n ? float_of_half(p[i]) : 0);
}

LANES void lanes_store_f16(uint16_t *p, lanes v)
{
	lsc_dtype_from_f32(LSC_DTYPE_F16, v.v, p, 16);
}

LANES lanes lanes_fma(lanes a, lanes b, lanes c)
{
	EACH(fmaf(a.v[i], b.v[i], c.v[i]));
}

LANES lanes lanes_add(lanes a, lanes b)
{
	EACH(a.v[i] + b.v[i]);
}

LANES lanes lanes_sub(lanes a, lanes b)
{
	EACH(a.v[i] - b.v[i]);
}

LANES lanes lanes_mul(lanes a, lanes b)
{
	EACH(a.v[i] * b.v[i]);
}

LANES lanes lanes_div(lanes a, lanes b)
{
	EACH(a.v[i] / b.v[i]);
}

/* As x86 has them: the second where either is not a number. */
LANES lanes lanes_min(lanes a, lanes b)
{
	EACH(a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}

LANES lanes lanes_max(lanes a, lanes b)
{
	EACH(a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}

LANES lanes lanes_round(lanes v)
{
	EACH(rintf(v.v[i]));
}

LANES lanes lanes_power2(lanes v)
{
	EACH(float_of((uint32_t)((int)v.v[i] + 127) << 23));
}

LANES float lanes_sum(lanes v)
{
	for (int half = 8; half; half /= 2)
		for (int i = 0; i < half; i++)
			v.v[i] = v.v[i] + v.v[i + half];
	return v.v[0];
}

/* --- products of packed activations --- */

#define PARTS      2
#define STEP_BYTES 128

typedef lanes wpart, xpart;

/* The mode of the x86 rows, spelt out. */
LANES unsigned flush_begin(void)
{
	return 0;
}

LANES void flush_end(unsigned mode)
{
	(void)mode;
}

LANES float flush(float v)
{
	return fabsf(v) < FLT_MIN ? copysignf(0, v) : v;
}

/* Whether a value is too small is asked of its 24 bits, before they lose one as a subnormal: what
 * rounds up to FLT_MIN only then is zero. */
LANES float flush_fma(float a, float b, float c)
{
	float v = fmaf(a, b, c);

	if (fabsf(v) == FLT_MIN && fabs((double)a * b + c) < 0x1.ffffffp-127)
		return copysignf(0, v);
	return flush(v);
}

LANES wpart part_load(const uint16_t *w, int odd_even)
{
	EACH(flush(float_of((uint32_t)w[2 * i + 1 - odd_even] << 16)));
}

LANES xpart xpart_load(const uint8_t *x, int i)
{
	return lanes_load((const float *)(const void *)x + 16 * i);
}

LANES lanes part_fma(wpart w, xpart x, lanes sum, int odd_even)
{
	(void)odd_even;
	EACH(flush_fma(w.v[i], x.v[i], sum.v[i]));
}

LANES void put_one(float *y, lanes v, bool add)
{
	for (int half = 8; half; half /= 2)
		for (int i = 0; i < half; i++)
			v.v[i] = flush(v.v[i] + v.v[i + half]);
	*y = add ? flush(flush(*y) + v.v[0]) : v.v[0];
}

LANES void put_four(float *y, lanes a, lanes b, lanes c, lanes d, bool add)
{
	put_one(y, a, add);
	put_one(y + 1, b, add);
	put_one(y + 2, c, add);
	put_one(y + 3, d, add);
}

typedef const int8_t *q8_weights;

LANES void q8_load(q8_weights *weights, const uint8_t *w)
{
	*weights = (const int8_t *)w;
}

LANES lanes q8_dot(const q8_weights *weights, const struct lsc_q8_step *x)
{
	int32_t sum[16] = {0};

	for (int k = 0; k < 32; k++)
		for (int r = 0; r < 16; r++)
			sum[r] += (*weights)[k / 4 * 64 + r * 4 + k % 4] * x->q[k];
	EACH((float)sum[i]);
}

#include "exec/kernels_body.h"

#include "exec/kernels_attend.h"
#include "exec/kernels_brain.h"
#include "exec/kernels_q8.h"

#define KERNELS_NAME "portable"
#define KERNELS      lsc_kernels_portable
#include "exec/kernels_row.h"
