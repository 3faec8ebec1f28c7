/* dtype - conversions against the compiler's own and against blocks worked out by hand */
#include "model/dtype.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "tap.h"

static float of_bits(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static bool same(float a, float b)
{
	return !memcmp(&a, &b, sizeof(a)) || (isnan(a) && isnan(b));
}

/* Reads the value of a half from its definition: sign, 5 bits of exponent, 10 of fraction. */
static float half_by_definition(uint16_t half)
{
	int exponent = (half >> 10) & 31;
	float fraction = (float)(half & 1023) / 1024;
	float value;

	if (exponent == 31)
		value = fraction == 0 ? INFINITY : NAN;
	else if (exponent == 0)
		value = ldexpf(fraction, -14);
	else
		value = ldexpf(1 + fraction, exponent - 15);
	return half & 0x8000 ? -value : value;
}

static void test_every_half(void)
{
	unsigned wrong_to = 0, wrong_from = 0;

	for (uint32_t bits = 0; bits < 65536; bits++) {
		uint16_t half = (uint16_t)bits, back;
		float value;

		lsc_dtype_to_f32(LSC_DTYPE_F16, &half, &value, 1);
		wrong_to += !same(value, half_by_definition(half));
		lsc_dtype_from_f32(LSC_DTYPE_F16, &value, &back, 1);
		wrong_from += isnan(value) ? (back & 0x7fff) <= 0x7c00 : back != half;
	}
	ok(wrong_to == 0, "every half has its value");
	ok(wrong_from == 0, "and comes back from it");
}

/* Between two neighbours the nearer wins, in the middle the even one, just off it the nearer. */
static void test_rounding(enum lsc_dtype dtype, uint16_t last)
{
	unsigned wrong = 0;

	for (uint32_t bits = 0; bits < last; bits++) {
		uint16_t low = (uint16_t)bits, high = (uint16_t)(bits + 1), got[3];
		float a, b, between[3];

		lsc_dtype_to_f32(dtype, &low, &a, 1);
		lsc_dtype_to_f32(dtype, &high, &b, 1);
		between[1] = a + (b - a) / 2;
		between[0] = nextafterf(between[1], a);
		between[2] = nextafterf(between[1], b);
		if (between[0] == between[1] || between[2] == between[1])
			continue; /* no float between them */
		lsc_dtype_from_f32(dtype, between, got, 3);
		wrong += got[0] != low || got[1] != (bits & 1 ? high : low) || got[2] != high;
	}
	ok(wrong == 0, "%s rounds to nearest, ties to even", lsc_dtype_name(dtype));
}

static void test_edges(void)
{
	const float in[] = {65504,      65519.996f, 65520,
			    -65520,     INFINITY,   0x1p-25f,
			    0x1.8p-25f, -0x1p-149f, of_bits(0x7f800001)};
	const uint16_t want[] = {0x7bff, 0x7bff, 0x7c00, 0xfc00, 0x7c00, 0, 1, 0x8000};
	uint16_t got[LSC_ARRAY_SIZE(in)];

	lsc_dtype_from_f32(LSC_DTYPE_F16, in, got, LSC_ARRAY_SIZE(in));
	ok(!memcmp(got, want, sizeof(want)), "halves at the ends of their range");
	ok((got[8] & 0x7fff) > 0x7c00, "a signalling NaN stays a NaN in f16");
	lsc_dtype_from_f32(LSC_DTYPE_BF16, in + 8, got, 1);
	ok((got[0] & 0x7fff) > 0x7f80, "and in bf16");
}

static bool decodes(enum lsc_dtype dtype, const uint8_t *block, const float *want)
{
	uint32_t n = lsc_dtype_block_elements(dtype);
	float got[2 * 256];
	uint8_t twice[2 * 256];

	memcpy(twice, block, lsc_dtype_block_bytes(dtype));
	memcpy(twice + lsc_dtype_block_bytes(dtype), block, lsc_dtype_block_bytes(dtype));
	lsc_dtype_to_f32(dtype, twice, got, 2 * n);
	return !memcmp(got, want, n * sizeof(*got)) && !memcmp(got + n, want, n * sizeof(*got));
}

static void put_half(uint8_t *at, float value)
{
	uint16_t half;

	lsc_dtype_from_f32(LSC_DTYPE_F16, &value, &half, 1);
	memcpy(at, &half, 2);
}

/* Encodes known integers by the format's description, and expects them back scaled. */
static void test_blocks_of_32(void)
{
	uint8_t q8[34], q40[18], q41[20];
	float want8[32], want40[32], want41[32];

	put_half(q8, 0.5f);
	put_half(q40, 0.25f);
	put_half(q41, 0.25f);
	put_half(q41 + 2, -3);
	for (int i = 0; i < 32; i++) {
		int nibble = (i * 7 + 3) % 16;
		uint8_t *at40 = &q40[2 + i % 16], *at41 = &q41[4 + i % 16];

		q8[2 + i] = (uint8_t)(int8_t)(i * 8 - 128);
		want8[i] = 0.5f * (float)(i * 8 - 128);
		*at40 = *at41 = i < 16 ? nibble : (*at40 & 15) | nibble << 4;
		want40[i] = 0.25f * (float)(nibble - 8);
		want41[i] = 0.25f * (float)nibble - 3;
	}
	ok(decodes(LSC_DTYPE_Q8_0, q8, want8), "q8_0");
	ok(decodes(LSC_DTYPE_Q4_0, q40, want40), "q4_0");
	ok(decodes(LSC_DTYPE_Q4_1, q41, want41), "q4_1");
}

static void test_q4_k(void)
{
	uint8_t block[144] = {0};
	float want[256];

	put_half(block, 0.5f);
	put_half(block + 2, 0.125f);
	for (int sub = 0; sub < 8; sub++) {
		int scale = sub * 9 % 64, minimum = 63 - sub * 5;
		uint8_t *packed = block + 4;

		if (sub < 4) {
			packed[sub] |= scale;
			packed[sub + 4] |= minimum;
		} else {
			packed[sub + 4] |= (scale & 15) | (minimum & 15) << 4;
			packed[sub - 4] |= (scale >> 4) << 6;
			packed[sub] |= (minimum >> 4) << 6;
		}
		for (int i = 0; i < 32; i++) {
			int q = (i * 5 + sub) % 16;

			block[16 + sub / 2 * 32 + i] |= q << sub % 2 * 4;
			want[sub * 32 + i] = 0.5f * (float)(scale * q) - 0.125f * (float)minimum;
		}
	}
	ok(decodes(LSC_DTYPE_Q4_K, block, want), "q4_k");
}

static void test_q6_k(void)
{
	uint8_t block[210] = {0};
	float want[256];

	put_half(block + 208, 0.5f);
	for (int i = 0; i < 16; i++)
		block[192 + i] = (uint8_t)(int8_t)(i * 16 - 120);
	for (int i = 0; i < 256; i++) {
		int q = i * 11 % 64, half = i / 128, quarter = i / 32 % 4, at = i % 32;

		block[half * 64 + (quarter & 1) * 32 + at] |= (q & 15) << (quarter >> 1) * 4;
		block[128 + half * 32 + at] |= (q >> 4) << quarter * 2;
		want[i] = 0.5f * (float)(i / 16 * 16 - 120) * (float)(q - 32);
	}
	ok(decodes(LSC_DTYPE_Q6_K, block, want), "q6_k");
}

/* Sixteen blocks of noise, and the hash (FNV-1a) of the floats that ggml's own Python package (gguf
 * 0.19) makes of them, with three of these to look at. */
static void test_against_ggml(void)
{
	static const struct {
		enum lsc_dtype dtype;
		int scales[2]; /* where a block has halves */
		uint64_t hash;
		float first, at_17, last; /* of the first block */
	} cases[] = {
		{LSC_DTYPE_Q8_0,
		 {0, 0},
		 0x5b9f9fc346aeed24,
		 -0x1.8be2p+4f,
		 -0x1.761p+4f,
		 -0x1.f2cp-1f},
		{LSC_DTYPE_Q4_0,
		 {0, 0},
		 0x851e27f241e23f37,
		 -0x1.5d2p+0f,
		 0x1.2b4p-1f,
		 -0x1.2b4p-1f},
		{LSC_DTYPE_Q4_1,
		 {0, 2},
		 0x256f0879165195cd,
		 0x1.193cp+1f,
		 0x1.aabp-1f,
		 0x1.6af8p+0f},
		{LSC_DTYPE_Q4_K,
		 {0, 2},
		 0xcadb3d465f46a2ac,
		 0x1.c9e2p+4f,
		 0x1.a47ap+4f,
		 0x1.3f0a6p+6f},
		{LSC_DTYPE_Q6_K,
		 {208, 208},
		 0x056ce4a211842831,
		 -0x1.060e4p+8f,
		 0x1.cbbd2p+8f,
		 -0.0f},
	};

	for (size_t c = 0; c < LSC_ARRAY_SIZE(cases); c++) {
		uint32_t bytes = lsc_dtype_block_bytes(cases[c].dtype);
		uint32_t n = lsc_dtype_block_elements(cases[c].dtype), state = 1;
		uint64_t hash = 0xcbf29ce484222325;
		uint8_t blocks[16 * 210];
		float got[16 * 256];

		for (uint32_t i = 0; i < 16 * bytes; i++) {
			state = state * 1664525u + 1013904223u;
			blocks[i] = (uint8_t)(state >> 24);
		}
		for (uint32_t i = 0; i < 16; i++)
			for (unsigned s = 0; s < 2; s++) { /* scales of ordinary size */
				uint8_t *high = blocks + i * bytes + cases[c].scales[s] + 1;

				*high = (*high & 0x83) | 0x30;
			}
		lsc_dtype_to_f32(cases[c].dtype, blocks, got, 16 * n);
		for (size_t i = 0; i < 16 * n * sizeof(*got); i++)
			hash = (hash ^ ((const uint8_t *)got)[i]) * 0x100000001b3;
		ok(same(got[0], cases[c].first) && same(got[17], cases[c].at_17) &&
			   same(got[n - 1], cases[c].last) && hash == cases[c].hash,
		   "%s as ggml reads it", lsc_dtype_name(cases[c].dtype));
	}
}

static void test_names(void)
{
	enum lsc_dtype dtype;

	ok(lsc_dtype_parse("bf16", &dtype) == 0 && dtype == LSC_DTYPE_BF16, "bf16 by name");
	ok(lsc_dtype_parse("q8", &dtype) == 0 && dtype == LSC_DTYPE_Q8, "q8 too");
	ok(lsc_dtype_parse("q8_0", &dtype) == -EINVAL, "no image is q8_0");
	ok(lsc_dtype_parse("", &dtype) == -EINVAL, "nor of no name");
}

int main(void)
{
	test_names();
	test_every_half();
	test_rounding(LSC_DTYPE_F16, 0x7bff);
	test_rounding(LSC_DTYPE_BF16, 0x7f7f);
	test_edges();
	test_blocks_of_32();
	test_q4_k();
	test_q6_k();
	test_against_ggml();
	return done_testing();
}
