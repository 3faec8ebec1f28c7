/* What rows of kernels on x86-64 have in common; included where TARGET, LANES and `lanes` are
 * defined, and lanes_halves(), the sums of lanes j and j + 8.
 */
LANES float lanes_sum(lanes v)
{
	__m256 a = lanes_halves(v);
	__m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
	__m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));

	return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}

/* --- products of packed activations --- */

/* Subnormals in and out count as zero, as they do for vdpbf16ps; what to give flush_end(). */
LANES unsigned flush_begin(void)
{
	unsigned mode = _mm_getcsr();

	_mm_setcsr(mode | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON);
	return mode;
}

LANES void flush_end(unsigned mode)
{
	_mm_setcsr(mode);
}

LANES void put_one(float *y, lanes v, bool add)
{
	float sum = lanes_sum(v);

	*y = add ? *y + sum : sum;
}
