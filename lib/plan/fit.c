/* fit - shortest augmenting paths from units to nodes with room (Edmonds & Karp, 1972) */
#include "plan/fit.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define NONE UINT32_MAX

int lsc_fit_init(struct lsc_fit *fit, uint32_t nodes, uint32_t units, const uint8_t *can,
		 const int64_t *need)
{
	*fit = (struct lsc_fit){.nodes = nodes, .units = units, .can = can, .need = need};
	fit->room = calloc(nodes, sizeof(*fit->room));
	fit->free = calloc(nodes, sizeof(*fit->free));
	fit->flow = calloc((size_t)nodes * units, sizeof(*fit->flow));
	fit->from_unit = calloc(nodes, sizeof(*fit->from_unit));
	fit->from_node = calloc(units, sizeof(*fit->from_node));
	fit->queue = calloc(units, sizeof(*fit->queue));
	if (fit->room && fit->free && fit->flow && fit->from_unit && fit->from_node && fit->queue)
		return 0;
	lsc_fit_release(fit);
	return -ENOMEM;
}

void lsc_fit_release(struct lsc_fit *fit)
{
	free(fit->room);
	free(fit->free);
	free(fit->flow);
	free(fit->from_unit);
	free(fit->from_node);
	free(fit->queue);
	*fit = (struct lsc_fit){0};
}

static int64_t *flow_at(struct lsc_fit *fit, uint32_t node, uint32_t unit)
{
	return &fit->flow[(size_t)node * fit->units + unit];
}

static bool may_take(const struct lsc_fit *fit, uint32_t node, uint32_t unit)
{
	return fit->can[(size_t)node * fit->units + unit] && fit->need[unit] <= fit->room[node];
}

/* A node with room, over as few units that make place as can be: each moves to another node. */
static uint32_t find_path(struct lsc_fit *fit, uint32_t unit, uint32_t first)
{
	uint32_t head = 0, tail = 0;

	for (uint32_t i = 0; i < fit->nodes; i++)
		fit->from_unit[i] = NONE;
	for (uint32_t u = first; u < fit->units; u++)
		fit->from_node[u] = NONE;
	fit->queue[tail++] = unit;
	while (head < tail) {
		uint32_t at = fit->queue[head++];

		fit->work += fit->nodes;
		for (uint32_t i = 0; i < fit->nodes; i++) {
			if (fit->from_unit[i] != NONE || !may_take(fit, i, at))
				continue;
			fit->from_unit[i] = at;
			if (fit->free[i] > 0)
				return i;
			fit->work += fit->units - first;
			for (uint32_t u = first; u < fit->units; u++) {
				if (u == unit || fit->from_node[u] != NONE || !*flow_at(fit, i, u))
					continue;
				fit->from_node[u] = i;
				fit->queue[tail++] = u;
			}
		}
	}
	return NONE;
}

/* Moves as much as the narrowest hop of the path allows; returns how much. */
static int64_t push(struct lsc_fit *fit, uint32_t unit, uint32_t node, int64_t amount)
{
	amount = LSC_MIN(amount, fit->free[node]);
	for (uint32_t i = node; fit->from_unit[i] != unit;) {
		uint32_t u = fit->from_unit[i];

		i = fit->from_node[u];
		amount = LSC_MIN(amount, *flow_at(fit, i, u));
	}
	fit->free[node] -= amount;
	for (uint32_t i = node;;) {
		uint32_t u = fit->from_unit[i];

		*flow_at(fit, i, u) += amount;
		if (u == unit)
			return amount;
		i = fit->from_node[u];
		*flow_at(fit, i, u) -= amount;
	}
}

bool lsc_fit_check(struct lsc_fit *fit, uint32_t first)
{
	memset(fit->flow, 0, (size_t)fit->nodes * fit->units * sizeof(*fit->flow));
	memcpy(fit->free, fit->room, fit->nodes * sizeof(*fit->free));
	fit->work += (size_t)fit->nodes * fit->units / 8;
	for (uint32_t u = first; u < fit->units; u++) {
		for (int64_t left = fit->need[u]; left > 0;) {
			uint32_t node = find_path(fit, u, first);

			if (node == NONE)
				return false;
			left -= push(fit, u, node, left);
		}
	}
	return true;
}
