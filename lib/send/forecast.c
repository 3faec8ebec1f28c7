/* forecast - a schedule summed up for people
 *
 * Who feeds whom follows from the formulas of plan/schedule.h: in a chain and a tree each node has
 * one that feeds it; in a round-optimal schedule up to log N do, in turns that repeat, so that the
 * first rounds show all of them.
 */
#include "send/forecast.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "stream/json.h"
#include "stream/record.h"

static uint32_t n_from(const struct lsc_forecast *f)
{
	return f->n_sources + !f->absent;
}

static const char *name_of(const struct lsc_forecast *f, uint32_t rank)
{
	uint32_t node = rank + f->absent;

	if (node == 0)
		return "local";
	return node <= f->n_sources ? f->sources[node - 1] : f->to[node - 1 - f->n_sources];
}

/* --- edges --- */

static int add_edge(struct lsc_forecast *f, uint32_t from, uint32_t to)
{
	uint64_t edge = (uint64_t)from << 32 | to;

	if ((f->n_edges & (f->n_edges - 1)) == 0) { /* a power of two: full */
		uint64_t *grown =
			realloc(f->edges, LSC_MAX(2 * f->n_edges, 16u) * sizeof(grown[0]));

		if (!grown)
			return -ENOMEM;
		f->edges = grown;
	}
	f->edges[f->n_edges++] = edge;
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int add_turns(struct lsc_forecast *f, uint32_t rank)
{
	uint32_t seen[4 * LSC_SCHEDULE_LOG_NODES], n = 0;
	struct lsc_part part;
	int r = 0;

	lsc_part_init(&part, &f->schedule, rank);
	for (uint32_t round = 0; r == 0 && round < LSC_ARRAY_SIZE(seen); round++) {
		struct lsc_step step = lsc_part_step(&part, round);
		uint32_t at = 0;

		while (at < n && seen[at] != step.recv_from)
			at++;
		if (step.recv_from == LSC_NOBODY || at < n)
			continue;
		seen[n++] = step.recv_from;
		r = add_edge(f, step.recv_from, rank);
	}
	return r;
}

static int add_feeders(struct lsc_forecast *f, uint32_t rank)
{
	uint32_t sources = f->schedule.sources, group = rank % sources, place = rank / sources;

	switch (f->order) {
	case LSC_ORDER_CHAIN:
		return add_edge(f, lsc_schedule_rank(&f->schedule, group, place - 1), rank);
	case LSC_ORDER_TREE:
		return add_edge(f, lsc_schedule_rank(&f->schedule, group, (place - 1) / 2), rank);
	case LSC_ORDER_SEQUENTIAL:
		return add_edge(f, group, rank);
	default:
		return add_turns(f, rank);
	}
}

/* --- the whole --- */

int lsc_forecast_make(struct lsc_forecast *f, struct lsc_err *err)
{
	const struct lsc_image *image = f->image;
	uint32_t pieces = LSC_MAX(image->n_pieces, 1u);
	uint64_t nodes = (uint64_t)n_from(f) + f->n_to;
	double more;
	int r;

	if (nodes > LSC_SCHEDULE_MAX_NODES)
		return lsc_err_set(err, EINVAL, "a cast has %u nodes at most",
				   LSC_SCHEDULE_MAX_NODES);
	r = lsc_schedule_init(&f->schedule, f->order, (uint32_t)nodes, n_from(f), pieces, err);
	if (r < 0)
		return r;
	for (uint32_t rank = n_from(f); r == 0 && rank < nodes; rank++)
		r = add_feeders(f, rank);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot plan a cast: %m");
	qsort(f->edges, f->n_edges, sizeof(f->edges[0]), compare);

	more = ((double)f->schedule.rounds - pieces) * image->piece_bytes;
	f->copies = image->bytes ? 1 + more / (double)image->bytes : 1;
	f->seconds = f->speed > 0 ? f->copies * (double)image->bytes / f->speed : 0;
	return 0;
}

void lsc_forecast_release(struct lsc_forecast *f)
{
	free(f->edges);
	f->edges = NULL;
	f->n_edges = 0;
}

/* The first edge from a rank; how many there are in *ret_n. */
static const uint64_t *edges_from(const struct lsc_forecast *f, uint32_t rank, uint32_t *ret_n)
{
	uint32_t low = 0, high = f->n_edges, n = 0;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (f->edges[middle] >> 32 < rank)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + n < f->n_edges && f->edges[low + n] >> 32 == rank)
		n++;
	*ret_n = n;
	return f->edges + low;
}

int lsc_forecast_text(const struct lsc_forecast *f, struct lsc_buf *buf)
{
	const struct lsc_image *image = f->image;
	int r, width = 0;

	for (uint32_t rank = 0; rank < f->schedule.nodes; rank++)
		width = LSC_MAX(width, (int)LSC_MIN(strlen(name_of(f, rank)), (size_t)40));
	r = lsc_buf_printf(
		buf, "'%s': %llu bytes, %u pieces in %u blocks, to %u node%s from %u, %s order\n",
		f->name, (unsigned long long)image->bytes, image->n_pieces, image->n_blocks,
		f->n_to, f->n_to == 1 ? "" : "s", n_from(f), f->order_name);
	for (uint32_t rank = 0; r == 0 && rank < f->schedule.nodes; rank++) {
		uint32_t n;
		const uint64_t *edge = edges_from(f, rank, &n);

		if (n == 0)
			continue;
		r = lsc_buf_printf(buf, "  %-*s feeds", width, name_of(f, rank));
		for (uint32_t i = 0; r == 0 && i < n; i++)
			r = lsc_buf_printf(buf, "%s %s", i ? "," : "",
					   name_of(f, (uint32_t)edge[i]));
		if (r == 0)
			r = lsc_buf_add_str(buf, "\n");
	}
	if (r == 0 && f->seconds > 0)
		return lsc_buf_printf(
			buf,
			"predicted: %.4g s, %.4g x one copy at %.4g MB/s (%u rounds of "
			"a piece)\n",
			f->seconds, f->copies, f->speed / 1e6, f->schedule.rounds);
	return r ? r
		 : lsc_buf_printf(
			   buf, "predicted: %.4g x one copy over one link (%u rounds of a piece)\n",
			   f->copies, f->schedule.rounds);
}

static void pack_node(const struct lsc_forecast *f, uint32_t rank, struct lsc_pack *pack)
{
	uint32_t n;
	const uint64_t *edge = edges_from(f, rank, &n);

	lsc_pack_map(pack, NULL, 4);
	lsc_pack_uint(pack, "node", rank + f->absent);
	lsc_pack_str(pack, "name", name_of(f, rank));
	lsc_pack_str(pack, "role", rank < n_from(f) ? "source" : "receiver");
	lsc_pack_array(pack, "feeds", n);
	for (uint32_t i = 0; i < n; i++)
		lsc_pack_uint(pack, NULL, (uint32_t)edge[i] + f->absent);
}

int lsc_forecast_json(const struct lsc_forecast *f, struct lsc_buf *buf)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int r;

	lsc_pack_begin(&pack, "plan");
	lsc_pack_str(&pack, "image", f->name);
	lsc_pack_uint(&pack, "bytes", f->image->bytes);
	lsc_pack_uint(&pack, "pieces", f->image->n_pieces);
	lsc_pack_uint(&pack, "piece_bytes", f->image->piece_bytes);
	lsc_pack_uint(&pack, "blocks", f->image->n_blocks);
	lsc_pack_str(&pack, "order", f->order_name);
	lsc_pack_uint(&pack, "rounds", f->schedule.rounds);
	lsc_pack_real(&pack, "copies", f->copies);
	if (f->seconds > 0) {
		lsc_pack_real(&pack, "rate", f->speed);
		lsc_pack_real(&pack, "seconds", f->seconds);
	}
	lsc_pack_array(&pack, "nodes", f->schedule.nodes);
	for (uint32_t rank = 0; rank < f->schedule.nodes; rank++)
		pack_node(f, rank, &pack);
	r = lsc_pack_end(&pack);
	if (r == 0)
		r = lsc_json_write(pack.buf.data, pack.buf.len, buf, NULL);
	return r ? r : lsc_buf_add_str(buf, "\n");
}

double lsc_forecast_speed(double link, double rate)
{
	double payload = link * LSC_FORECAST_PAYLOAD;

	return rate > 0 && (payload <= 0 || rate < payload) ? rate : payload;
}

int lsc_forecast_tell(const struct lsc_forecast *filled, bool json, struct lsc_buf *buf,
		      struct lsc_err *err)
{
	LSC_CLEANUP(lsc_forecast_release) struct lsc_forecast f = *filled;
	int r = lsc_forecast_make(&f, err);

	if (r < 0)
		return r;
	r = json ? lsc_forecast_json(&f, buf) : lsc_forecast_text(&f, buf);
	return r < 0 ? lsc_err_set(err, -r, "cannot tell a plan: %m") : 0;
}
