/* The 16 lanes as one 512-bit register; included by kernels_avx512*.c, which say TARGET. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define LANES TARGET __attribute__((always_inline)) static inline

typedef __m512 lanes;

#define TILE_ROWS    4 /* 4 x 4 sums, 4 weights and one x fit 32 registers */
#define TILE_COLS    4
#define STREAM_ROWS  8 /* past one position */
#define TILE_HEADS   4
#define TILE_VECTORS 4

LANES __mmask16 mask_of(uint32_t n)
{
	return (__mmask16)((1u << n) - 1);
}

LANES lanes lanes_set(float v)
{
	return _mm512_set1_ps(v);
}

LANES lanes lanes_load(const float *p)
{
	return _mm512_loadu_ps(p);
}

LANES lanes lanes_load_n(const float *p, uint32_t n)
{
	return _mm512_maskz_loadu_ps(mask_of(n), p);
}

LANES void lanes_store(float *p, lanes v)
{
	_mm512_storeu_ps(p, v);
}

LANES void lanes_store_n(float *p, lanes v, uint32_t n)
{
	_mm512_mask_storeu_ps(p, mask_of(n), v);
}

LANES lanes lanes_widen_bf16(__m256i v)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

LANES lanes lanes_load_bf16(const uint16_t *p)
{
	return lanes_widen_bf16(_mm256_loadu_si256((const __m256i *)p));
}

LANES lanes lanes_load_bf16_n(const uint16_t *p, uint32_t n)
{
	return lanes_widen_bf16(_mm256_maskz_loadu_epi16(mask_of(n), p));
}

LANES lanes lanes_load_f16(const uint16_t *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

LANES lanes lanes_load_f16_n(const uint16_t *p, uint32_t n)
{
	return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask_of(n), p));
}

LANES void lanes_store_f16(uint16_t *p, lanes v)
{
	_mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

LANES lanes lanes_fma(lanes a, lanes b, lanes c)
{
	return _mm512_fmadd_ps(a, b, c);
}

LANES lanes lanes_add(lanes a, lanes b)
{
	return _mm512_add_ps(a, b);
}

LANES lanes lanes_sub(lanes a, lanes b)
{
	return _mm512_sub_ps(a, b);
}

LANES lanes lanes_mul(lanes a, lanes b)
{
	return _mm512_mul_ps(a, b);
}

LANES lanes lanes_div(lanes a, lanes b)
{
	return _mm512_div_ps(a, b);
}

LANES lanes lanes_min(lanes a, lanes b)
{
	return _mm512_min_ps(a, b);
}

LANES lanes lanes_max(lanes a, lanes b)
{
	return _mm512_max_ps(a, b);
}

LANES lanes lanes_round(lanes v)
{
	return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* 2^v for whole v from -126 to 127. */
LANES lanes lanes_power2(lanes v)
{
	__m512i bias = _mm512_set1_epi32(127);

	return _mm512_castsi512_ps(
		_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(v), bias), 23));
}

LANES __m256 lanes_halves(lanes v)
{
	return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}

#include "exec/kernels_x86.h"

/* Four trees at once: halves are added where two, then four vectors meet. */
LANES void put_four(float *y, lanes a, lanes b, lanes c, lanes d, bool add)
{
	__m512 ab =
		_mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
	__m512 cd =
		_mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
	__m512 all = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88),
				   _mm512_shuffle_f32x4(ab, cd, 0xdd));
	__m128 sum;

	all = _mm512_add_ps(all, _mm512_permute_ps(all, 0x4e));
	all = _mm512_add_ps(all, _mm512_permute_ps(all, 0xb1));
	sum = _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, all));
	_mm_storeu_ps(y, add ? _mm_add_ps(_mm_loadu_ps(y), sum) : sum);
}
