/* wmma as its documentation has it: a fragment is the whole tile in every lane, of which a lane
 * stores its 32nd part, so that who reads without a barrier what other lanes stored reads the past.
 */
#ifndef EMULATED_MMA_H
#define EMULATED_MMA_H

#include <assert.h>

#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace nvcuda::wmma
{
struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major };

template <typename Use, int M, int N, int K, typename T, typename Layout = void> struct fragment {
	static_assert(M == 16 && N == 16 && K == 16);
	float v[16][16];
};

inline float number(float f)
{
	return f;
}

inline float number(__half h)
{
	return __half2float(h);
}

inline float number(__nv_bfloat16 b)
{
	return __bfloat162float(b);
}

template <typename Use, typename T, typename Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout> &f, const T *from, unsigned stride)
{
	assert((uintptr_t)from % 32 == 0 && stride % 8 == 0);
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < 16; j++)
			f.v[i][j] =
				number(std::is_same_v<Layout, row_major> ? from[i * stride + j]
									 : from[j * stride + i]);
}

inline void load_matrix_sync(fragment<accumulator, 16, 16, 16, float> &f, const float *from,
			     unsigned stride, layout_t)
{
	assert((uintptr_t)from % 32 == 0 && stride % 4 == 0);
	for (int i = 0; i < 16; i++)
		memcpy(f.v[i], from + i * stride, sizeof(f.v[i]));
}

inline void store_matrix_sync(float *to, const fragment<accumulator, 16, 16, 16, float> &f,
			      unsigned stride, layout_t)
{
	assert((uintptr_t)to % 32 == 0 && stride % 4 == 0);
	for (unsigned i = threadIdx.x % 32; i < 256; i += 32)
		to[i / 16 * stride + i % 16] = f.v[i / 16][i % 16];
}

inline void fill_fragment(fragment<accumulator, 16, 16, 16, float> &f, float v)
{
	for (auto &row : f.v)
		for (float &x : row)
			x = v;
}

template <typename A, typename B>
void mma_sync(fragment<accumulator, 16, 16, 16, float> &d, const A &a, const B &b,
	      const fragment<accumulator, 16, 16, 16, float> &c)
{
	for (int i = 0; i < 16; i++) {
		float sum[16];

		memcpy(sum, c.v[i], sizeof(sum));
		for (int k = 0; k < 16; k++)
			for (int j = 0; j < 16; j++)
				sum[j] += a.v[i][k] * b.v[k][j];
		memcpy(d.v[i], sum, sizeof(sum));
	}
}
} // namespace nvcuda::wmma

#endif
