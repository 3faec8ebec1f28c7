/* kernels - which row of kernels this processor runs */
#include "exec/kernels.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
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

/* Linux lets a process use registers of tiles that asks for them (arch_prctl(2), "x86/amx"). */
static bool runs_amx(void)
{
	enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
	const unsigned wanted = 1u << 22 | 1u << 24 | 1u << 25; /* bf16, tiles, int8 */
	unsigned a, b, c, d;

	return runs_avx512_bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
	       (d & wanted) == wanted &&
	       syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif

/* Best first. */
static const struct {
	const struct lsc_kernels *kernels;
	bool (*runs)(void);
} rows[] = {
#ifdef __x86_64__
	{&lsc_kernels_amx, runs_amx},           {&lsc_kernels_avx512_bf16, runs_avx512_bf16},
	{&lsc_kernels_avx512, runs_avx512},     {&lsc_kernels_avx2, runs_avx2},
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

int lsc_kernels_check(struct lsc_err *err)
{
	const char *name = getenv("LSC_KERNELS");
	char all[128] = "";

	if (!name || lsc_kernels_named(name))
		return 0;
	for (size_t i = 0; i < LSC_ARRAY_SIZE(rows); i++)
		if (rows[i].runs()) {
			strcat(all, all[0] ? ", " : "");
			strcat(all, rows[i].kernels->name);
		}
	return lsc_err_set(err, EINVAL, "LSC_KERNELS is '%s': here run %s", name, all);
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
