/* fuzz trace: any bytes as a trace; one that is understood is the same however it is cut, in order,
 * within its bounds, and makes a timetable */
#include "load/trace.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "load/timetable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static int read_cut(struct lsc_trace *trace, const uint8_t *data, size_t len, size_t piece)
{
	int r = 0;

	for (size_t at = 0; at < len && !r; at += piece)
		r = lsc_trace_add(trace, data + at, LSC_MIN(piece, len - at), NULL);
	return r ? r : lsc_trace_end(trace, NULL);
}

static bool same_row(const struct lsc_trace_row *a, const struct lsc_trace_row *b)
{
	return a->at_ns == b->at_ns && a->prompt == b->prompt && a->output == b->output &&
	       a->line == b->line && a->first_block == b->first_block && a->n_blocks == b->n_blocks;
}

static void check_rows(const struct lsc_trace *trace)
{
	for (uint32_t i = 0; i < trace->n; i++) {
		const struct lsc_trace_row *row = &trace->rows[i];

		check(row->at_ns >= (i ? trace->rows[i - 1].at_ns : 0));
		check(row->prompt <= LSC_TRACE_MAX_TOKENS && row->output <= LSC_TRACE_MAX_TOKENS);
		check(row->n_blocks <= trace->n_blocks &&
		      row->first_block <= trace->n_blocks - row->n_blocks);
	}
}

static void check_timetable(const struct lsc_trace *trace)
{
	LSC_CLEANUP(lsc_timetable_release) struct lsc_timetable table = LSC_TIMETABLE_INIT;
	struct lsc_timetable_options options = {
		.speed = 2, .scale = 1.5, .cv = 1, .prompt = {5, 1}, .output = {5, 0}};

	check(lsc_timetable_make(&table, &options, trace, NULL) == 0);
	check(table.n >= trace->n);
	for (uint32_t i = 0; i < table.n; i++) {
		check(table.dues[i].prompt > 0 && table.dues[i].output == 5);
		check(!i || table.dues[i].at_ns >= table.dues[i - 1].at_ns);
	}
}

/* The first rows of the whole, however they lie in the file. */
static void check_bounded(const struct lsc_trace *whole, const uint8_t *data, size_t len,
			  uint32_t most, int64_t within_ns)
{
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace part = LSC_TRACE_INIT;
	uint32_t n = 1;

	part.most = most;
	part.within_ns = within_ns;
	check(read_cut(&part, data, len, len) == 0);
	while (within_ns && n < whole->n && whole->rows[n].at_ns <= within_ns)
		n++;
	n = within_ns ? LSC_MIN(n + 1, whole->n) : whole->n;
	check(part.n == (most ? LSC_MIN(most, n) : n));
	for (uint32_t i = 0; i < part.n; i++)
		check(part.rows[i].at_ns == whole->rows[i].at_ns &&
		      part.rows[i].line == whole->rows[i].line &&
		      part.rows[i].n_blocks == whole->rows[i].n_blocks);
	check_rows(&part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace whole = LSC_TRACE_INIT;
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace cut = LSC_TRACE_INIT;
	int r = read_cut(&whole, data, len, len ? len : 1);

	check(read_cut(&cut, data, len, 7) == r);
	if (r < 0)
		return 0;
	check(cut.n == whole.n && cut.n_blocks == whole.n_blocks);
	for (uint32_t i = 0; i < whole.n; i++)
		check(same_row(&cut.rows[i], &whole.rows[i]));
	check_rows(&whole);
	check_timetable(&whole);
	check_bounded(&whole, data, len, 1 + data[len / 2] % 8, 0);
	check_bounded(&whole, data, len, 0, 1 + (int64_t)data[len / 2] * 100000000);
	check_bounded(&whole, data, len, 3, 1000000000);
	return 0;
}
