/* Steps of products by instructions for bf16 and for whole numbers of 8 bits; included by
 * kernels_avx512_bf16.c and kernels_amx.c.
 */
#define PARTS      1
#define STEP_BYTES 64

typedef __m512i wpart, xpart;

LANES wpart part_load(const uint16_t *w, int i)
{
	(void)i;
	return _mm512_loadu_si512(w);
}

LANES xpart xpart_load(const uint8_t *x, int i)
{
	(void)i;
	return _mm512_loadu_si512(x);
}

LANES lanes part_fma(wpart w, xpart x, lanes sum, int i)
{
	(void)i;
	return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)x);
}

#define BRAIN_PACK /* ours */
TARGET static void brain_pack(const float *x, uint32_t cols, uint8_t *packed)
{
	for (uint32_t i = 0; i < cols; i += 32, packed += 64) {
		uint32_t left = cols - i;
		__m512 low = _mm512_maskz_loadu_ps(left < 16 ? mask_of(left) : 0xffff, x + i);
		__m512 high =
			left <= 16 ? _mm512_setzero_ps()
				   : _mm512_maskz_loadu_ps(left < 32 ? mask_of(left - 16) : 0xffff,
							   x + i + 16);

		_mm512_storeu_si512(packed, (__m512i)_mm512_cvtne2ps_pbh(high, low));
	}
}

/* Weights become unsigned by 128 more, which 128 times the activations' sum takes away again. */
typedef struct {
	__m512i v[8]; /* four columns of all rows each */
} q8_weights;

LANES void q8_load(q8_weights *weights, const uint8_t *w)
{
	UNROLL for (int i = 0; i < 8; i++) weights->v[i] =
		_mm512_xor_si512(_mm512_loadu_si512(w + 64 * i), _mm512_set1_epi8(-128));
}

LANES lanes q8_dot(const q8_weights *weights, const struct lsc_q8_step *x)
{
	__m512i sum = _mm512_set1_epi32(-128 * x->sum);

	UNROLL for (int i = 0; i < 8; i++)
	{
		int32_t four;

		memcpy(&four, x->q + 4 * i, sizeof(four));
		sum = _mm512_dpbusd_epi32(sum, weights->v[i], _mm512_set1_epi32(four));
	}
	return _mm512_cvtepi32_ps(sum);
}
