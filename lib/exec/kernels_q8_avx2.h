/* Exact sums of q8 weights by activations with AVX2; included by rows that have no better way.
 *
 * Absolute weights by activations of the weights' sign: both are 127 at most, so that two products
 * fit 16 bits.
 */
typedef const uint8_t *q8_weights;

LANES void q8_load(q8_weights *weights, const uint8_t *w)
{
	*weights = w;
}

LANES __m256i q8_half(const uint8_t *w, __m256i x, __m256i sum)
{
	__m256i weights = _mm256_loadu_si256((const __m256i *)w);
	__m256i pairs =
		_mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(x, weights));

	return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

LANES lanes q8_dot(const q8_weights *weights, const struct lsc_q8_step *x)
{
	__m256i low = _mm256_setzero_si256(), high = low;

	UNROLL for (int i = 0; i < 8; i++)
	{
		const uint8_t *w = *weights + 64 * i;
		int32_t four;

		memcpy(&four, x->q + 4 * i, sizeof(four));
		low = q8_half(w, _mm256_set1_epi32(four), low);
		high = q8_half(w + 32, _mm256_set1_epi32(four), high);
	}
	return lanes_join(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high));
}
