/* kernels - which row of kernels this processor runs */
#include "exec/kernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "base/macros.h"

static bool runs_portable(void)
{
	return true;
}

#ifdef __x86_64__
/* __builtin_cpu_supports() does not know it in every compiler. */
static bool has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool runs_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool runs_avx512(void)
{
	return runs_avx2() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512dq");
}

static bool runs_avx512_bf16(void)
{
	return runs_avx512() && __builtin_cpu_supports("avx512bf16") &&
	       __builtin_cpu_supports("avx512vnni");
}
#endif

/* Best first. */
static const struct {
	const struct lsc_kernels *kernels;
	bool (*runs)(void);
} rows[] = {
#ifdef __x86_64__
	{&lsc_kernels_avx512_bf16, runs_avx512_bf16},
	{&lsc_kernels_avx512, runs_avx512},
	{&lsc_kernels_avx2, runs_avx2},
#endif
	{&lsc_kernels_portable, runs_portable},
};

const struct lsc_kernels *lsc_kernels_named(const char *name)
{
	for (size_t i = 0; i < LSC_ARRAY_SIZE(rows); i++)
		if (!strcmp(rows[i].kernels->name, name))
			return rows[i].runs() ? rows[i].kernels : NULL;
	return NULL;
}

static const struct lsc_kernels *choose(void)
{
	const char *forced = getenv("LSC_KERNELS");
	const struct lsc_kernels *kernels = forced ? lsc_kernels_named(forced) : NULL;

	for (size_t i = 0; !kernels; i++)
		if (rows[i].runs())
			kernels = rows[i].kernels;
	return kernels;
}

const struct lsc_kernels *lsc_kernels(void)
{
	static _Atomic(const struct lsc_kernels *) chosen;
	const struct lsc_kernels *kernels = atomic_load_explicit(&chosen, memory_order_acquire);

	if (!kernels) {
		kernels = choose();
		atomic_store_explicit(&chosen, kernels, memory_order_release);
	}
	return kernels;
}
