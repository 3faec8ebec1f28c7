/* What all rows of kernels share before they differ. */
#ifndef LSC_EXEC_KERNELS_STEPS_H
#define LSC_EXEC_KERNELS_STEPS_H

#include <stdint.h>

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* 32 activations as products with q8 take them; their sum is there for who makes the weights
 * unsigned. */
struct lsc_q8_step {
	int8_t q[32];
	float scale;
	int32_t sum;
};

#endif
