/* kernels_avx2 - the 16 lanes as two 256-bit registers */
#ifdef __x86_64__

#include "exec/kernels.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "base/macros.h"
#include "exec/kernels_steps.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define LANES  TARGET __attribute__((always_inline)) static inline

typedef struct {
	__m256 lo, hi;
} lanes;

#define TILE_ROWS    2 /* 2 x 3 sums are 12 of 16 registers */
#define TILE_COLS    3
#define STREAM_ROWS  4
#define TILE_HEADS   2
#define TILE_VECTORS 2

LANES lanes lanes_set(float v)
{
	return (lanes){_mm256_set1_ps(v), _mm256_set1_ps(v)};
}

LANES lanes lanes_load(const float *p)
{
	return (lanes){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

LANES lanes lanes_load_n(const float *p, uint32_t n)
{
	float part[16] = {0};

	memcpy(part, p, n * sizeof(*p));
	return lanes_load(part);
}

LANES void lanes_store(float *p, lanes v)
{
	_mm256_storeu_ps(p, v.lo);
	_mm256_storeu_ps(p + 8, v.hi);
}

LANES void lanes_store_n(float *p, lanes v, uint32_t n)
{
	float part[16];

	lanes_store(part, v);
	memcpy(p, part, n * sizeof(*p));
}

LANES __m256 widen_bf16(const uint16_t *p)
{
	__m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));

	return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

LANES lanes lanes_load_bf16(const uint16_t *p)
{
	return (lanes){widen_bf16(p), widen_bf16(p + 8)};
}

LANES lanes lanes_load_bf16_n(const uint16_t *p, uint32_t n)
{
	uint16_t part[16] = {0};

	memcpy(part, p, n * sizeof(*p));
	return lanes_load_bf16(part);
}

LANES lanes lanes_load_f16(const uint16_t *p)
{
	return (lanes){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
		       _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}

LANES lanes lanes_load_f16_n(const uint16_t *p, uint32_t n)
{
	uint16_t part[16] = {0};

	memcpy(part, p, n * sizeof(*p));
	return lanes_load_f16(part);
}

LANES void lanes_store_f16(uint16_t *p, lanes v)
{
	_mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v.lo, _MM_FROUND_TO_NEAREST_INT));
	_mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(v.hi, _MM_FROUND_TO_NEAREST_INT));
}

LANES lanes lanes_fma(lanes a, lanes b, lanes c)
{
	return (lanes){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

LANES lanes lanes_add(lanes a, lanes b)
{
	return (lanes){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

LANES lanes lanes_sub(lanes a, lanes b)
{
	return (lanes){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

LANES lanes lanes_mul(lanes a, lanes b)
{
	return (lanes){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

LANES lanes lanes_div(lanes a, lanes b)
{
	return (lanes){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

LANES lanes lanes_min(lanes a, lanes b)
{
	return (lanes){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}

LANES lanes lanes_max(lanes a, lanes b)
{
	return (lanes){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

LANES __m256 round_8(__m256 v)
{
	return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

LANES lanes lanes_round(lanes v)
{
	return (lanes){round_8(v.lo), round_8(v.hi)};
}

LANES __m256 power2_8(__m256 v)
{
	__m256i bias = _mm256_set1_epi32(127);

	return _mm256_castsi256_ps(
		_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(v), bias), 23));
}

LANES lanes lanes_power2(lanes v)
{
	return (lanes){power2_8(v.lo), power2_8(v.hi)};
}

LANES __m256 lanes_halves(lanes v)
{
	return _mm256_add_ps(v.lo, v.hi);
}

#include "exec/kernels_x86.h"

LANES void put_four(float *y, lanes a, lanes b, lanes c, lanes d, bool add)
{
	put_one(y, a, add);
	put_one(y + 1, b, add);
	put_one(y + 2, c, add);
	put_one(y + 3, d, add);
}

/* Odd columns, then even ones, half of the lanes at a time: 12 sums, two weights and one x are in
 * registers.  Packed activations are f32 in that order. */
#define PARTS      4
#define STEP_BYTES 128

typedef __m256 wpart, xpart;

LANES wpart part_load(const uint16_t *w, int i)
{
	__m256i pairs = _mm256_loadu_si256((const __m256i *)w + i % 2);

	return _mm256_castsi256_ps(i < 2 ? _mm256_and_si256(pairs, _mm256_set1_epi32(-65536))
					 : _mm256_slli_epi32(pairs, 16));
}

LANES xpart xpart_load(const uint8_t *x, int i)
{
	return _mm256_loadu_ps((const float *)x + 8 * i);
}

LANES lanes part_fma(wpart w, xpart x, lanes sum, int i)
{
	if (i % 2)
		sum.hi = _mm256_fmadd_ps(w, x, sum.hi);
	else
		sum.lo = _mm256_fmadd_ps(w, x, sum.lo);
	return sum;
}

LANES lanes lanes_join(__m256 low, __m256 high)
{
	return (lanes){low, high};
}

#include "exec/kernels_q8_avx2.h"

#include "exec/kernels_body.h"

#include "exec/kernels_attend.h"
#include "exec/kernels_brain.h"
#include "exec/kernels_q8.h"

#define KERNELS_NAME "avx2"
#define KERNELS      lsc_kernels_avx2
#include "exec/kernels_row.h"

#endif
