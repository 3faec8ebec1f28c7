/* cast_options - whether a cast can be what it is asked to be */
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "cast/cast_own.h"

const char *lsc_cast_node_name(const struct lsc_cast_options *o, uint32_t i)
{
	return i == 0              ? "local"
	       : i <= o->n_sources ? o->sources[i - 1]
				   : o->to[i - 1 - o->n_sources];
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int check_names(const struct lsc_cast_options *o, uint32_t n, struct lsc_err *err)
{
	const char **names = calloc(n, sizeof(names[0]));
	int r = 0;

	if (!names)
		return lsc_err_set(err, ENOMEM, "cannot start a cast: %m");
	for (uint32_t i = 0; i < n && r == 0; i++) {
		names[i] = lsc_cast_node_name(o, i);
		if (strlen(names[i]) >= LSC_CAST_ADDRESS)
			r = lsc_err_set(err, EINVAL, "'%.32s...' is too long for a node", names[i]);
	}
	if (r == 0)
		qsort(names, n, sizeof(names[0]), compare_names);
	for (uint32_t i = 1; i < n && r == 0; i++)
		if (!strcmp(names[i - 1], names[i]))
			r = lsc_err_set(err, EINVAL, "node '%s' is given twice", names[i]);
	free(names);
	return r;
}

int lsc_cast_options_check(const struct lsc_cast_options *o, struct lsc_err *err)
{
	uint64_t n = 1 + (uint64_t)o->n_sources + o->n_to;
	int r = lsc_segment_check_name(o->name, err);
	struct lsc_schedule schedule;

	if (r < 0)
		return r;
	if (o->n_to == 0 || n > LSC_CAST_MAX_NODES)
		return lsc_err_set(err, EINVAL,
				   "a cast goes to 1 node at least, and has %u at most",
				   LSC_CAST_MAX_NODES);
	if (o->scheduled)
		r = lsc_schedule_init(&schedule, o->order, (uint32_t)n, o->n_sources + 1,
				      LSC_MAX(o->image->n_pieces, 1u), err);
	if (r == 0 && o->scheduled && schedule.rounds > LSC_CAST_MAX_ROUNDS)
		r = lsc_err_set(err, EINVAL,
				"%u pieces to %u nodes take %u rounds in %s order; a cast has %u "
				"at most",
				schedule.pieces, schedule.nodes, schedule.rounds,
				lsc_order_name(schedule.order), LSC_CAST_MAX_ROUNDS);
	return r < 0 ? r : check_names(o, (uint32_t)n, err);
}
