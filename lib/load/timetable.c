/* timetable - when which request is due
 *
 * What is drawn for a request depends on the seed and its number alone, so a limit cuts a timetable
 * short and changes nothing in what is left.
 */
#include "load/timetable.h"

#include <math.h>
#include <stdlib.h>

#include "base/macros.h"
#include "load/random.h"

#define MAX_AT_NS 9e18

/* What is drawn from the streams of one seed. */
enum { DRAW_GAPS = 1, DRAW_COPIES, DRAW_LENGTHS };

void lsc_timetable_release(struct lsc_timetable *table)
{
	free(table->dues);
	*table = (struct lsc_timetable)LSC_TIMETABLE_INIT;
}

static int add(struct lsc_timetable *table, const struct lsc_due *due, struct lsc_err *err)
{
	if (table->n == table->room) {
		uint32_t room = table->room ? table->room * 2 : 1024;
		struct lsc_due *dues;

		if (table->n == LSC_TIMETABLE_MAX_DUES)
			return lsc_err_set(err, EINVAL, "more than %u requests",
					   LSC_TIMETABLE_MAX_DUES);
		dues = realloc(table->dues, room * sizeof(*dues));
		if (!dues)
			return lsc_err_set(err, ENOMEM, "no memory for %u requests", room);
		table->dues = dues;
		table->room = room;
	}
	table->dues[table->n++] = *due;
	return 0;
}

/* By time; those of one moment in the trace's order. */
static int compare_dues(const void *a, const void *b)
{
	const struct lsc_due *x = a, *y = b;

	if (x->at_ns != y->at_ns)
		return x->at_ns < y->at_ns ? -1 : 1;
	if (x->row != y->row)
		return x->row < y->row ? -1 : 1;
	return x->copy < y->copy ? -1 : x->copy > y->copy;
}

/* --- from a trace --- */

/* Between a row and the next one; behind the last as long as rows are apart on the average. */
static uint64_t gap_after(const struct lsc_trace *trace, uint32_t row)
{
	if (row + 1 < trace->n)
		return (uint64_t)(trace->rows[row + 1].at_ns - trace->rows[row].at_ns);
	return trace->n > 1 ? (uint64_t)trace->rows[row].at_ns / (trace->n - 1) : 0;
}

static int add_row(struct lsc_timetable *table, const struct lsc_timetable_options *options,
		   const struct lsc_trace *trace, uint32_t row, struct lsc_err *err)
{
	struct lsc_random random = lsc_random_of(options->seed, DRAW_COPIES, row);
	double whole = floor(options->scale);
	uint32_t copies = (uint32_t)whole + (lsc_random_unit(&random) < options->scale - whole);
	int r = 0;

	for (uint32_t copy = 0; copy < copies && !r; copy++) {
		double at = (double)trace->rows[row].at_ns;
		struct lsc_due due = {
			.prompt = trace->rows[row].prompt,
			.output = trace->rows[row].output,
			.row = row,
			.copy = copy,
		};

		if (copy)
			at += (double)gap_after(trace, row) * lsc_random_unit(&random);
		at /= options->speed;
		if (at > MAX_AT_NS)
			return lsc_err_set(err, EINVAL, "a request is due after %g years",
					   at / 1e9 / 86400 / 365);
		due.at_ns = (uint64_t)at;
		r = add(table, &due, err);
	}
	return r;
}

static int take_trace(struct lsc_timetable *table, const struct lsc_timetable_options *options,
		      const struct lsc_trace *trace, struct lsc_err *err)
{
	int r = 0;

	for (uint32_t row = 0; row < trace->n && !r; row++)
		r = add_row(table, options, trace, row, err);
	if (!r && options->scale > 1)
		qsort(table->dues, table->n, sizeof(*table->dues), compare_dues);
	return r;
}

void lsc_timetable_bound(const struct lsc_timetable_options *options, struct lsc_trace *trace)
{
	double within_ns = options->duration_s * options->speed * 1e9;

	/* Copies of a row come after it, so those of the first N rows are among them. */
	if (options->limit && options->scale >= 1 && options->limit < LSC_TRACE_MAX_ROWS)
		trace->most = (uint32_t)options->limit + 1;
	if (options->duration_s > 0 && within_ns < MAX_AT_NS)
		trace->within_ns = (int64_t)within_ns;
}

/* --- made up --- */

static int make_up(struct lsc_timetable *table, const struct lsc_timetable_options *options,
		   struct lsc_err *err)
{
	struct lsc_random random = lsc_random_of(options->seed, DRAW_GAPS, 0);
	double shape = 1 / (options->cv * options->cv), at_s = 0;
	struct lsc_due due = {.row = LSC_NO_ROW};
	int r = 0;

	if (!options->limit && !(options->duration_s > 0))
		return lsc_err_set(err, EINVAL, "neither a limit nor a duration bounds arrivals");
	while (!r && (!options->limit || table->n < options->limit)) {
		at_s += lsc_random_gamma(&random, shape, 1 / options->rate);
		if (at_s * 1e9 > MAX_AT_NS)
			return lsc_err_set(err, EINVAL, "a request is due after %g years",
					   at_s / 86400 / 365);
		if (options->duration_s > 0 && at_s > options->duration_s)
			break;
		due.at_ns = (uint64_t)(at_s * 1e9);
		r = add(table, &due, err);
	}
	return r;
}

/* --- lengths, and what both have in common --- */

static uint32_t draw_length(const struct lsc_lengths *lengths, uint32_t of_trace, uint32_t most,
			    struct lsc_random *random)
{
	double tokens = of_trace;

	if (lengths->mean > 0)
		tokens = lengths->cv > 0 ? lsc_random_lognormal(random, lengths->mean, lengths->cv)
					 : lengths->mean;
	if (!most)
		most = LSC_TRACE_MAX_TOKENS;
	return tokens >= most ? most : LSC_MAX((uint32_t)llround(tokens), 1u);
}

static void draw_lengths(struct lsc_timetable *table, const struct lsc_timetable_options *options)
{
	for (uint32_t i = 0; i < table->n; i++) {
		struct lsc_due *due = &table->dues[i];
		bool made_up = due->row == LSC_NO_ROW;
		struct lsc_random random =
			lsc_random_of(options->seed, DRAW_LENGTHS | (uint64_t)due->copy << 32,
				      made_up ? i : due->row);

		due->prompt =
			draw_length(&options->prompt, due->prompt, options->max_prompt, &random);
		due->output =
			draw_length(&options->output, due->output, options->max_output, &random);
	}
}

static void cut(struct lsc_timetable *table, const struct lsc_timetable_options *options)
{
	double until_ns = options->duration_s * 1e9;

	if (options->limit && table->n > options->limit)
		table->n = (uint32_t)options->limit;
	while (options->duration_s > 0 && table->n &&
	       (double)table->dues[table->n - 1].at_ns > until_ns)
		table->n--;
}

int lsc_timetable_make(struct lsc_timetable *table, const struct lsc_timetable_options *options,
		       const struct lsc_trace *trace, struct lsc_err *err)
{
	bool lengths = trace && trace->format != LSC_TRACE_TIMES;
	int r;

	if (!lengths && !(options->prompt.mean > 0 && options->output.mean > 0))
		return lsc_err_set(err, EINVAL, "these arrivals have no lengths of their own");
	r = trace ? take_trace(table, options, trace, err) : make_up(table, options, err);
	if (r < 0)
		return r;
	cut(table, options);
	draw_lengths(table, options);
	return 0;
}
