/* A row of kernels, of what was included before; last in each kernels_X.c, which says KERNELS,
 * KERNELS_NAME and, where they are its own, BRAIN_MATMUL, BRAIN_ARRANGE and Q8_MATMUL.
 */
#ifndef BRAIN_MATMUL
#define BRAIN_MATMUL brain_matmul
#endif
#ifndef BRAIN_ARRANGE
#define BRAIN_ARRANGE NULL
#endif
#ifndef Q8_MATMUL
#define Q8_MATMUL q8_matmul
#endif

const struct lsc_kernels KERNELS = {
	.name = KERNELS_NAME,
	.matmul = matmul,
	.brain = {STEP_BYTES, brain_pack, BRAIN_ARRANGE, BRAIN_MATMUL},
	.q8 = {sizeof(struct lsc_q8_step), q8_pack, NULL, Q8_MATMUL},
	.rms_norm = rms_norm,
	.swiglu = swiglu,
	.softmax = softmax,
	.attend = attend,
	.halve = halve,
	.widen = widen,
};
