/* f16 and bf16 as numbers that convert, rounding to nearest even. */
#ifndef EMULATED_CUDA_FP16_H
#define EMULATED_CUDA_FP16_H

#include <math.h>
#include <stdint.h>
#include <string.h>

struct __half {
	uint16_t bits;
};

struct __nv_bfloat16 {
	uint16_t bits;
};

static inline uint32_t emulated_bits(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static inline float emulated_float(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static inline float __bfloat162float(__nv_bfloat16 v)
{
	return emulated_float((uint32_t)v.bits << 16);
}

static inline __nv_bfloat16 __float2bfloat16(float f)
{
	uint32_t bits = emulated_bits(f);

	if (f != f)
		return {0x7fff};
	return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

static inline float __half2float(__half v)
{
	uint32_t sign = (uint32_t)(v.bits & 0x8000) << 16, rest = v.bits & 0x7fff;

	if (rest >= 0x7c00)
		return emulated_float(sign | 0x7f800000 | (rest & 0x3ff) << 13);
	/* Subnormals too: 2^112 is what the exponents' biases differ by. */
	return emulated_float(sign | 0x3f800000) * (emulated_float(rest << 13) * 0x1p112f);
}

static inline __half __float2half(float f)
{
	uint16_t sign = (uint16_t)(emulated_bits(f) >> 16 & 0x8000);
	float a = fabsf(f);
	int exponent;

	if (f != f)
		return {0x7fff};
	if (a >= 65520)
		return {(uint16_t)(sign | 0x7c00)};
	if (a < 0x1p-14f)
		return {(uint16_t)(sign | (uint16_t)rintf(ldexpf(a, 24)))};
	frexpf(a, &exponent); /* a = [1, 2) x 2^(exponent - 1) */
	/* A fraction that rounds up to 2 carries into the exponent, as it should. */
	return {(uint16_t)(sign |
			   (((exponent + 13) << 10) + (int)rintf(ldexpf(a, 11 - exponent))))};
}

#endif
