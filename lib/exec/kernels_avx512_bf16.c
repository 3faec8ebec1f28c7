/* kernels_avx512_bf16 - kernels_avx512, with instructions for bf16
 *
 * vdpbf16ps multiplies pairs of columns: the odd one is added first, then the even one, each with
 * one rounding and subnormals as zero, whatever the processor's mode (Intel's manual; an EPYC 9004
 * does the same on 16 million random operands of all magnitudes).
 */
#ifdef __x86_64__

#include "exec/kernels.h"

#include "base/macros.h"
#include "exec/kernels_steps.h"

#define TARGET                                                                                     \
	__attribute__((                                                                            \
		target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,avx2,fma,f16c")))
#include "exec/kernels_avx512.h"
#include "exec/kernels_avx512_bf16.h"

#include "exec/kernels_body.h"

#include "exec/kernels_attend.h"
#include "exec/kernels_brain.h"
#include "exec/kernels_q8.h"

#define KERNELS_NAME "avx512-bf16"
#define KERNELS      lsc_kernels_avx512_bf16
#include "exec/kernels_row.h"

#endif
