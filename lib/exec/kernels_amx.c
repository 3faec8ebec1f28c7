/* kernels_amx - kernels_avx512_bf16, with registers of tiles for products
 *
 * A tile register holds up to 16 rows of up to 64 bytes; one instruction adds the product of two of
 * them to a third (Intel's manual, "Intel AMX").  Products of whole numbers are as exact as any.
 * Those of bf16 have an order of their own (kernels.h).
 */
#ifdef __x86_64__

#include "exec/kernels.h"

#include "base/macros.h"
#include "exec/kernels_steps.h"

#define TARGET                                                                                     \
	__attribute__((                                                                            \
		target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,avx2,fma,f16c,"   \
		       "amx-tile,amx-bf16,amx-int8")))
#include "exec/kernels_avx512.h"
#include "exec/kernels_avx512_bf16.h"

#include "exec/kernels_body.h"

#include "exec/kernels_attend.h"
#include "exec/kernels_q8.h"

/* What the eight registers hold, as the processor loads it. */
struct tile_shapes {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_bytes[16];
	uint8_t rows[16];
};

LANES void tile_shape(struct tile_shapes *shapes, int tile, uint32_t rows, uint32_t row_bytes)
{
	shapes->rows[tile] = (uint8_t)rows;
	shapes->row_bytes[tile] = (uint16_t)row_bytes;
}

/* Compilers do not see that a register is loaded from memory: what was written there is to be there
 * by now. */
LANES void tile_written(void)
{
	__asm__ volatile("" ::: "memory");
}

#include "exec/kernels_amx_brain.h"
#include "exec/kernels_amx_q8.h"

#define KERNELS_NAME  "amx"
#define KERNELS       lsc_kernels_amx
#define BRAIN_MATMUL  amx_brain_matmul
#define BRAIN_ARRANGE amx_arrange
#define Q8_MATMUL     amx_q8_matmul
#include "exec/kernels_row.h"

#endif
