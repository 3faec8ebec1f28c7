/* system - the table of systems
 *
 *   lambdascale    Yu and others, "lambdaScale", arXiv 2502.09922, 2025: RDMC's binomial pipeline
 *                  (Behrens and others, DSN 2018) of 16 blocks, k groups whose blocks are rotated
 *   faasnet        Wang and others, "FaaSNet", USENIX ATC 2021: a balanced binary tree whose nodes
 *                  pass on blocks of 512 KiB while they load
 *   nccl           NVIDIA's NCCL, broadcast over a ring: each rank passes slices on to the next,
 *                  of NCCL_BUFFSIZE (4 MiB) / NCCL_STEPS (8); so are the chains of BlitzScale
 *                  (Zhang and others, OSDI 2025)
 *   serverlessllm  Fu and others, "ServerlessLLM", OSDI 2024: local checkpoints, at the disk's rate
 */
#include "sim/system.h"

#include <string.h>

#include "base/macros.h"

#define KIB 1024ull

static const struct lsc_system systems[] = {
	{"lsc", LSC_WAY_CHOSEN, LSC_ORDER_COUNT, 0, 0,
	 "lsc-cast as it chooses: rings, or a schedule"},
	{"round-optimal", LSC_WAY_SCHEDULE, LSC_ORDER_ROUND_OPTIMAL, 0, 0,
	 "lsc-cast --order round-optimal"},
	{"chain", LSC_WAY_SCHEDULE, LSC_ORDER_CHAIN, 0, 0, "lsc-cast --order chain"},
	{"tree", LSC_WAY_SCHEDULE, LSC_ORDER_TREE, 0, 0, "lsc-cast --order tree"},
	{"sequential", LSC_WAY_SCHEDULE, LSC_ORDER_SEQUENTIAL, 0, 0, "lsc-cast --order sequential"},
	{"lambdascale", LSC_WAY_IN_TURN, LSC_ORDER_KWAY, 16, 0,
	 "binomial pipelines of 16 blocks, rotated"},
	{"faasnet", LSC_WAY_SCHEDULE, LSC_ORDER_TREE, 0, 512 * KIB, "a binary tree of 512 KiB"},
	{"nccl", LSC_WAY_SCHEDULE, LSC_ORDER_CHAIN, 0, 512 * KIB, "a chain of slices of 512 KiB"},
	{"serverlessllm", LSC_WAY_DISK, LSC_ORDER_COUNT, 0, 0, "each node from its own disk"},
	{"bound", LSC_WAY_BOUND, LSC_ORDER_COUNT, 0, 0, "what no multicast is faster than"},
};

const struct lsc_system *lsc_system_at(unsigned index)
{
	return index < LSC_ARRAY_SIZE(systems) ? &systems[index] : NULL;
}

static int add(const char *name, size_t len, const struct lsc_system **list, unsigned *n,
	       struct lsc_err *err)
{
	const struct lsc_system *found = NULL;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(systems); i++)
		if (strlen(systems[i].name) == len && !strncmp(systems[i].name, name, len))
			found = &systems[i];
	if (!found)
		return lsc_err_set(err, EINVAL, "'%.*s' is no system", (int)LSC_MIN(len, 40u),
				   name);
	for (unsigned i = 0; i < *n; i++)
		if (list[i] == found)
			return lsc_err_set(err, EINVAL, "'%s' is there twice", found->name);
	list[(*n)++] = found;
	return 0;
}

int lsc_systems_parse(const char *text, const struct lsc_system **ret_systems, unsigned *ret_n,
		      struct lsc_err *err)
{
	const struct lsc_system *list[LSC_SYSTEM_MAX];
	unsigned n = 0;
	int r = 0;

	_Static_assert(LSC_ARRAY_SIZE(systems) <= LSC_SYSTEM_MAX, "room for all");
	if (!strcmp(text, "all"))
		while (n < LSC_ARRAY_SIZE(systems)) {
			list[n] = &systems[n];
			n++;
		}
	for (const char *at = text; !n || (r == 0 && at[-1] == ',');) {
		size_t len = strcspn(at, ",");

		r = add(at, len, list, &n, err);
		if (r < 0)
			return r;
		at += len + 1;
	}
	memcpy(ret_systems, list, n * sizeof(list[0]));
	*ret_n = n;
	return 0;
}
