/* multicasts_output - simulated casts as a table or as JSON lines */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "multicasts.h"
#include "stream/json.h"
#include "stream/record.h"

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* When the first receiver has everything, and when half of them do. */
static int middle(const struct multicast_row *row, double *ret_first, double *ret_half)
{
	size_t n = row->receivers;
	LSC_CLEANUP_FREE double *sorted = malloc(n * sizeof(sorted[0]));

	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, row->result->done, n * sizeof(sorted[0]));
	qsort(sorted, n, sizeof(sorted[0]), compare);
	*ret_first = sorted[0];
	*ret_half = sorted[(n - 1) / 2];
	return 0;
}

static int add_json(struct lsc_pack *pack, struct lsc_buf *out)
{
	int r = lsc_pack_end(pack);

	if (r == 0)
		r = lsc_json_write(pack->buf.data, pack->buf.len, out, NULL);
	return r < 0 ? r : lsc_buf_add_str(out, "\n");
}

int multicasts_begin(const struct multicasts *m, struct lsc_buf *out)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int r;

	if (m->format == MULTICASTS_TABLE)
		return lsc_buf_printf(out, "%-14s %9s %10s %10s %10s %10s %7s\n", "system",
				      "receivers", "covered", "first", "half", "all", "bound");
	r = lsc_pack_hello(&pack, "sim");
	if (r == 0)
		r = lsc_json_write(pack.buf.data, pack.buf.len, out, NULL);
	return r < 0 ? r : lsc_buf_add_str(out, "\n");
}

static int row_json(const struct multicasts *m, const struct multicast_row *row, double first,
		    double half, struct lsc_buf *out)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	const struct lsc_multicast_result *result = row->result;

	lsc_pack_begin(&pack, "multicast");
	lsc_pack_str(&pack, "system", row->system->name);
	lsc_pack_uint(&pack, "sources", m->sources);
	lsc_pack_uint(&pack, "receivers", row->receivers);
	lsc_pack_uint(&pack, "bytes", m->cargo.bytes);
	lsc_pack_real(&pack, "covered_s", result->covered);
	lsc_pack_real(&pack, "first_s", first);
	lsc_pack_real(&pack, "half_s", half);
	lsc_pack_real(&pack, "all_s", result->all);
	lsc_pack_real(&pack, "bound_s", row->bound);
	lsc_pack_uint(&pack, "pieces", result->pieces);
	lsc_pack_uint(&pack, "plans", result->plans);
	return add_json(&pack, out);
}

int multicasts_row(const struct multicasts *m, const struct multicast_row *row, struct lsc_buf *out)
{
	const struct lsc_multicast_result *result = row->result;
	double first = 0, half = 0;
	int r = middle(row, &first, &half);

	if (r < 0)
		return r;
	if (m->format == MULTICASTS_JSON)
		return row_json(m, row, first, half, out);
	return lsc_buf_printf(out, "%-14s %9u %8.4g s %8.4g s %8.4g s %8.4g s %6.3fx\n",
			      row->system->name, row->receivers, result->covered, first, half,
			      result->all, result->all / row->bound);
}

int multicasts_end(const struct multicasts *m, struct lsc_buf *out)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;

	if (m->format == MULTICASTS_TABLE)
		return 0;
	lsc_pack_begin(&pack, "end");
	return add_json(&pack, out);
}
