/* dtype - number formats: names, sizes, conversion to and from f32 */
#include "model/dtype.h"

#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "model/q8.h"

static const struct {
	const char *name;
	uint32_t elements, bytes; /* of a block */
} formats[LSC_DTYPE_COUNT] = {
	[LSC_DTYPE_F32] = {"f32", 1, 4},       [LSC_DTYPE_F16] = {"f16", 1, 2},
	[LSC_DTYPE_BF16] = {"bf16", 1, 2},     [LSC_DTYPE_Q8_0] = {"q8_0", 32, 34},
	[LSC_DTYPE_Q4_0] = {"q4_0", 32, 18},   [LSC_DTYPE_Q4_1] = {"q4_1", 32, 20},
	[LSC_DTYPE_Q4_K] = {"q4_k", 256, 144}, [LSC_DTYPE_Q6_K] = {"q6_k", 256, 210},
	[LSC_DTYPE_Q8] = {"q8", 32, 34},
};

const char *lsc_dtype_name(enum lsc_dtype dtype)
{
	return dtype < LSC_DTYPE_COUNT ? formats[dtype].name : "?";
}

int lsc_dtype_parse(const char *name, enum lsc_dtype *ret_dtype)
{
	static const enum lsc_dtype stored[] = {LSC_DTYPE_F32, LSC_DTYPE_F16, LSC_DTYPE_BF16,
						LSC_DTYPE_Q8};

	for (size_t i = 0; i < LSC_ARRAY_SIZE(stored); i++) {
		if (!strcmp(name, formats[stored[i]].name)) {
			*ret_dtype = stored[i];
			return 0;
		}
	}
	return -EINVAL;
}

uint32_t lsc_dtype_block_elements(enum lsc_dtype dtype)
{
	return formats[dtype].elements;
}

uint32_t lsc_dtype_block_bytes(enum lsc_dtype dtype)
{
	return formats[dtype].bytes;
}

static inline float float_of_bits(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static inline uint32_t bits_of_float(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/* A subnormal half is its 10 bits times 2^-24: converting that integer is exact, and free of the
 * branches that would keep the loop from being vectorised. */
static inline float half_to_float(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16;
	uint32_t magnitude = half & 0x7fff;
	uint32_t normal = (magnitude << 13) + ((127 - 15) << 23);
	uint32_t special = (magnitude << 13) | 0x7f800000;
	uint32_t tiny = bits_of_float((float)(int32_t)magnitude * 0x1p-24f);
	uint32_t bits = magnitude >= 0x7c00 ? special : magnitude < 0x400 ? tiny : normal;

	return float_of_bits(sign | bits);
}

static inline uint16_t float_to_half(float value)
{
	uint32_t bits = bits_of_float(value);
	uint16_t sign = (bits >> 16) & 0x8000;
	uint32_t magnitude = bits & 0x7fffffff;

	if (magnitude > 0x7f800000) /* NaN: keep what fits of it, quiet */
		return sign | 0x7e00 | ((magnitude >> 13) & 0x3ff);
	if (magnitude >= 0x477ff000) /* rounds beyond 65504, the largest half */
		return sign | 0x7c00;
	if (magnitude < 0x38800000) {
		/* Subnormal: adding 0.5 puts the units of 2^-24 last in the mantissa, rounded to
		 * nearest even by the addition itself. */
		float shifted = float_of_bits(magnitude) + 0.5f;

		return sign | (uint16_t)(bits_of_float(shifted) - bits_of_float(0.5f));
	}
	magnitude += 0xfff + ((magnitude >> 13) & 1) - ((127u - 15) << 23);
	return sign | (uint16_t)(magnitude >> 13);
}

static inline uint16_t float_to_bf16(float value)
{
	uint32_t bits = bits_of_float(value);

	if ((bits & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(bits >> 16) | 0x40;
	return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline uint16_t load16(const uint8_t *src)
{
	uint16_t value;

	memcpy(&value, src, sizeof(value));
	return value;
}

static void f16_to_f32(const uint8_t *src, float *dst, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dst[i] = half_to_float(load16(src + 2 * i));
}

static void bf16_to_f32(const uint8_t *src, float *dst, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dst[i] = float_of_bits((uint32_t)load16(src + 2 * i) << 16);
}

/* scale f16, 32 int8 */
static void q8_0_to_f32(const uint8_t *src, float *dst, size_t blocks)
{
	for (; blocks; blocks--, src += 34, dst += 32) {
		float scale = half_to_float(load16(src));

		for (int i = 0; i < 32; i++)
			dst[i] = scale * (float)(int8_t)src[2 + i];
	}
}

/* scale f16, 16 bytes: elements i (low nibble) and i + 16 (high), both minus 8 */
static void q4_0_to_f32(const uint8_t *src, float *dst, size_t blocks)
{
	for (; blocks; blocks--, src += 18, dst += 32) {
		float scale = half_to_float(load16(src));

		for (int i = 0; i < 16; i++) {
			dst[i] = scale * (float)((src[2 + i] & 15) - 8);
			dst[i + 16] = scale * (float)((src[2 + i] >> 4) - 8);
		}
	}
}

/* scale f16, minimum f16, nibbles as above */
static void q4_1_to_f32(const uint8_t *src, float *dst, size_t blocks)
{
	for (; blocks; blocks--, src += 20, dst += 32) {
		float scale = half_to_float(load16(src));
		float minimum = half_to_float(load16(src + 2));

		for (int i = 0; i < 16; i++) {
			dst[i] = scale * (float)(src[4 + i] & 15) + minimum;
			dst[i + 16] = scale * (float)(src[4 + i] >> 4) + minimum;
		}
	}
}

/* The 6-bit scale and minimum of sub-block i of 8: the first four are whole in bytes i and i + 4,
 * the others have their low 4 bits in byte i + 4 and the high 2 in bytes i - 4 and i. */
static void q4_k_scale(const uint8_t packed[12], int i, float *ret_scale, float *ret_minimum)
{
	uint8_t scale, minimum;

	if (i < 4) {
		scale = packed[i] & 63;
		minimum = packed[i + 4] & 63;
	} else {
		scale = (packed[i + 4] & 15) | ((packed[i - 4] >> 6) << 4);
		minimum = (packed[i + 4] >> 4) | ((packed[i] >> 6) << 4);
	}
	*ret_scale = scale;
	*ret_minimum = minimum;
}

/* scale f16, minimum f16, 8 packed 6-bit scales and minima, 128 bytes of nibbles: each run of 32
 * bytes holds one sub-block in its low nibbles and the next in its high ones */
static void q4_k_to_f32(const uint8_t *src, float *dst, size_t blocks)
{
	for (; blocks; blocks--, src += 144, dst += 256) {
		float d = half_to_float(load16(src));
		float m = half_to_float(load16(src + 2));

		for (int sub = 0; sub < 8; sub++) {
			const uint8_t *nibbles = src + 16 + sub / 2 * 32;
			int shift = sub % 2 * 4;
			float scale, minimum;

			q4_k_scale(src + 4, sub, &scale, &minimum);
			for (int i = 0; i < 32; i++)
				dst[sub * 32 + i] =
					d * scale * (float)((nibbles[i] >> shift) & 15) -
					m * minimum;
		}
	}
}

/* 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales, scale f16.  Each half of the
 * block has 4 quarters of 32: quarter q takes its low bits from byte 32*(q&1), nibble q>>1, its
 * high bits from pair q, and a scale for each 16 elements. */
static void q6_k_to_f32(const uint8_t *src, float *dst, size_t blocks)
{
	for (; blocks; blocks--, src += 210) {
		float d = half_to_float(load16(src + 208));

		for (int half = 0; half < 2; half++) {
			const uint8_t *low = src + half * 64;
			const uint8_t *high = src + 128 + half * 32;
			const int8_t *scales = (const int8_t *)src + 192 + half * 8;

			for (int q = 0; q < 4; q++, dst += 32) {
				for (int i = 0; i < 32; i++) {
					int bits = ((low[(q & 1) * 32 + i] >> (q >> 1) * 4) & 15) |
						   (((high[i] >> q * 2) & 3) << 4);

					dst[i] = d * (float)scales[q * 2 + i / 16] *
						 (float)(bits - 32);
				}
			}
		}
	}
}

void lsc_dtype_to_f32(enum lsc_dtype dtype, const void *src, float *dst, size_t n)
{
	size_t blocks = n / lsc_dtype_block_elements(dtype);

	switch (dtype) {
	case LSC_DTYPE_F32:
		memcpy(dst, src, n * sizeof(*dst));
		break;
	case LSC_DTYPE_F16:
		f16_to_f32(src, dst, n);
		break;
	case LSC_DTYPE_BF16:
		bf16_to_f32(src, dst, n);
		break;
	case LSC_DTYPE_Q8_0:
		q8_0_to_f32(src, dst, blocks);
		break;
	case LSC_DTYPE_Q4_0:
		q4_0_to_f32(src, dst, blocks);
		break;
	case LSC_DTYPE_Q4_1:
		q4_1_to_f32(src, dst, blocks);
		break;
	case LSC_DTYPE_Q4_K:
		q4_k_to_f32(src, dst, blocks);
		break;
	case LSC_DTYPE_Q6_K:
		q6_k_to_f32(src, dst, blocks);
		break;
	case LSC_DTYPE_Q8:
	case LSC_DTYPE_COUNT:
		break;
	}
}

void lsc_dtype_from_f32(enum lsc_dtype dtype, const float *src, void *dst, size_t n)
{
	uint16_t *halves = dst;

	if (dtype == LSC_DTYPE_F32)
		memcpy(dst, src, n * sizeof(*src));
	else if (dtype == LSC_DTYPE_F16)
		for (size_t i = 0; i < n; i++)
			halves[i] = float_to_half(src[i]);
	else
		for (size_t i = 0; i < n; i++)
			halves[i] = float_to_bf16(src[i]);
}

/* --- matrices --- */

uint64_t lsc_dtype_matrix_bytes(enum lsc_dtype dtype, uint64_t rows, uint32_t cols)
{
	if (dtype == LSC_DTYPE_Q8)
		return lsc_div_up(rows, LSC_Q8_ROWS) * lsc_q8_tile_bytes(cols);
	return rows * cols / formats[dtype].elements * formats[dtype].bytes;
}

void lsc_dtype_matrix_row(enum lsc_dtype dtype, const void *matrix, uint64_t row, uint32_t cols,
			  float *ret_row)
{
	const uint8_t *at = matrix;

	if (dtype == LSC_DTYPE_Q8)
		lsc_q8_get_row(at + row / LSC_Q8_ROWS * lsc_q8_tile_bytes(cols), row % LSC_Q8_ROWS,
			       cols, ret_row);
	else
		lsc_dtype_to_f32(dtype, at + lsc_dtype_matrix_bytes(dtype, row, cols), ret_row,
				 cols);
}
