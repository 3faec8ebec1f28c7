/* kernels_avx512 - the 16 lanes as one 512-bit register */
#ifdef __x86_64__

#include "exec/kernels.h"

#include "base/macros.h"
#include "exec/kernels_steps.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))
#include "exec/kernels_avx512.h"

/* Odd columns, then even ones; packed activations are f32 in that order. */
#define PARTS      2
#define STEP_BYTES 128

typedef __m512 wpart, xpart;

LANES wpart part_load(const uint16_t *w, int i)
{
	__m512i pairs = _mm512_loadu_si512(w);

	return _mm512_castsi512_ps(i ? _mm512_slli_epi32(pairs, 16)
				     : _mm512_and_si512(pairs, _mm512_set1_epi32(-65536)));
}

LANES xpart xpart_load(const uint8_t *x, int i)
{
	return _mm512_loadu_ps((const float *)x + 16 * i);
}

LANES lanes part_fma(wpart w, xpart x, lanes sum, int i)
{
	(void)i;
	return _mm512_fmadd_ps(w, x, sum);
}

LANES lanes lanes_join(__m256 low, __m256 high)
{
	return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

#include "exec/kernels_q8_avx2.h"

#include "exec/kernels_body.h"

#include "exec/kernels_attend.h"
#include "exec/kernels_brain.h"
#include "exec/kernels_q8.h"

#define KERNELS_NAME "avx512"
#define KERNELS      lsc_kernels_avx512
#include "exec/kernels_row.h"

#endif
