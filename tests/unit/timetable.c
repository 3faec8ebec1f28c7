/* timetable: what a seed repeats, what scale and speed do, how arrivals and lengths are spread */
#include "tap.h"

#include <math.h>

#include "base/cleanup.h"
#include "load/random.h"
#include "load/timetable.h"

#define TABLE LSC_CLEANUP(lsc_timetable_release) struct lsc_timetable table = LSC_TIMETABLE_INIT

static struct lsc_err err;
static const struct lsc_timetable_options plain = {.speed = 1, .scale = 1, .cv = 1};

/* 2000 rows a second apart, but that every tenth comes with the one before it. */
static void make_trace(struct lsc_trace *trace)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;

	lsc_buf_add_str(&text, "Timestamp,Request tokens,Response tokens\n");
	for (int i = 0; i < 2000; i++)
		lsc_buf_printf(&text, "%d,%d,%d\n", i - (i % 10 == 9), 100 + i % 7, i % 5);
	lsc_trace_add(trace, text.data, text.len, &err);
	lsc_trace_end(trace, &err);
}

static bool in_order(const struct lsc_timetable *table)
{
	for (uint32_t i = 1; i < table->n; i++)
		if (table->dues[i].at_ns < table->dues[i - 1].at_ns)
			return false;
	return true;
}

static bool same(const struct lsc_timetable *a, const struct lsc_timetable *b, uint32_t n)
{
	return a->n >= n && b->n >= n && !memcmp(a->dues, b->dues, n * sizeof(*a->dues));
}

static void test_trace(const struct lsc_trace *trace)
{
	struct lsc_timetable_options options = plain;
	TABLE;
	LSC_CLEANUP(lsc_timetable_release) struct lsc_timetable fast = LSC_TIMETABLE_INIT;

	is_int(lsc_timetable_make(&table, &options, trace, &err), 0, "a trace as it is");
	ok(table.n == 2000 && table.dues[1999].at_ns == 1998000000000 &&
		   table.dues[3].prompt == 103,
	   "with its times and lengths");
	ok(table.dues[0].output == 1 && table.dues[4].output == 4,
	   "an answer has a token at least");
	options.speed = 8;
	options.max_prompt = 102;
	options.max_output = 2;
	options.limit = 1000;
	lsc_timetable_make(&fast, &options, trace, &err);
	ok(fast.n == 1000 && fast.dues[999].at_ns == 998000000000 / 8,
	   "eight times as fast, half of it");
	ok(fast.dues[6].prompt == 102 && fast.dues[3].output == 2 && fast.dues[1].output == 1,
	   "lengths are cut");
	options.duration_s = 10;
	lsc_timetable_release(&fast);
	lsc_timetable_make(&fast, &options, trace, &err);
	is_int(fast.n, 81, "what is due within ten seconds, eighty of the trace");
}

static void test_scale(const struct lsc_trace *trace)
{
	struct lsc_timetable_options options = plain;
	LSC_CLEANUP(lsc_timetable_release)
	struct lsc_timetable less = LSC_TIMETABLE_INIT, more = LSC_TIMETABLE_INIT,
			     again = LSC_TIMETABLE_INIT, other = LSC_TIMETABLE_INIT;
	uint32_t copies = 0, within = 0, originals = 0;

	options.scale = 0.3;
	options.seed = 5;
	lsc_timetable_make(&less, &options, trace, &err);
	ok(less.n > 540 && less.n < 660 && in_order(&less), "0.3 keeps %u of 2000", less.n);
	options.scale = 2.5;
	lsc_timetable_make(&more, &options, trace, &err);
	lsc_timetable_make(&again, &options, trace, &err);
	options.seed = 6;
	lsc_timetable_make(&other, &options, trace, &err);
	ok(more.n > 4900 && more.n < 5100 && in_order(&more), "2.5 makes %u of 2000", more.n);
	ok(more.n == again.n && same(&more, &again, more.n), "the same again by the same seed");
	ok(other.n != more.n || !same(&more, &other, more.n), "and others by another");
	for (uint32_t i = 0; i < more.n; i++) {
		const struct lsc_due *due = &more.dues[i];
		uint64_t at = (uint64_t)trace->rows[due->row].at_ns;
		uint64_t next = due->row + 1 < trace->n ? (uint64_t)trace->rows[due->row + 1].at_ns
							: at + 2000000000;

		originals += !due->copy && due->at_ns == at;
		copies += due->copy > 0;
		within += due->copy && due->at_ns >= at && due->at_ns <= next;
	}
	is_int(originals, 2000, "the trace's own requests are where they were");
	is_int(within, copies, "and copies before the next request of the trace");
}

/* Mean and coefficient of variation of the gaps. */
static void measure(const struct lsc_timetable *table, double *ret_mean, double *ret_cv)
{
	double sum = 0, squares = 0, last = 0;

	for (uint32_t i = 0; i < table->n; i++) {
		double gap = (double)table->dues[i].at_ns / 1e9 - last;

		last += gap;
		sum += gap;
		squares += gap * gap;
	}
	*ret_mean = sum / table->n;
	*ret_cv = sqrt(squares / table->n - *ret_mean * *ret_mean) / *ret_mean;
}

static void test_arrivals(double rate, double cv)
{
	struct lsc_timetable_options options = plain;
	double mean, spread;
	TABLE;

	options.rate = rate;
	options.cv = cv;
	options.limit = 200000;
	options.prompt.mean = options.output.mean = 10;
	is_int(lsc_timetable_make(&table, &options, NULL, &err), 0, "%g a second, CV %g", rate, cv);
	measure(&table, &mean, &spread);
	ok(table.n == 200000 && in_order(&table), "200000 of them");
	ok(fabs(mean * rate - 1) < 0.01 * fmax(cv, 1), "gaps have the mean %g", mean);
	ok(fabs(spread / cv - 1) < 0.03, "and the CV %g", spread);
	ok(table.dues[7].prompt == 10 && table.dues[7].row == LSC_NO_ROW,
	   "and the lengths asked for");
}

static void test_lengths(void)
{
	struct lsc_timetable_options options = plain;
	double sum = 0, squares = 0, mean, cv;
	TABLE;
	LSC_CLEANUP(lsc_timetable_release) struct lsc_timetable shorter = LSC_TIMETABLE_INIT;

	options.rate = 10;
	options.limit = 100000;
	options.prompt = (struct lsc_lengths){500, 0.8};
	options.output = (struct lsc_lengths){200, 0};
	lsc_timetable_make(&table, &options, NULL, &err);
	for (uint32_t i = 0; i < table.n; i++) {
		sum += table.dues[i].prompt;
		squares += (double)table.dues[i].prompt * table.dues[i].prompt;
	}
	mean = sum / table.n;
	cv = sqrt(squares / table.n - mean * mean) / mean;
	ok(fabs(mean / 500 - 1) < 0.01 && fabs(cv / 0.8 - 1) < 0.03,
	   "lognormal lengths: mean %.1f, CV %.3f", mean, cv);
	is_int(table.dues[99].output, 200, "the others are alike");
	options.limit = 100;
	lsc_timetable_make(&shorter, &options, NULL, &err);
	ok(shorter.n == 100 && same(&table, &shorter, 100),
	   "a limit changes nothing in what is left");
	options.limit = 0;
	options.duration_s = 3;
	lsc_timetable_release(&shorter);
	lsc_timetable_make(&shorter, &options, NULL, &err);
	ok(shorter.n > 10 && shorter.n < 60 && same(&table, &shorter, shorter.n) &&
		   table.dues[shorter.n].at_ns > 3000000000,
	   "nor does a duration");
}

static void test_bad(void)
{
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace times = LSC_TRACE_INIT;
	struct lsc_timetable_options options = plain;
	TABLE;

	lsc_trace_add(&times, "1\n2\n", 4, &err);
	lsc_trace_end(&times, &err);
	is_int(lsc_timetable_make(&table, &options, &times, &err), -EINVAL,
	       "times have no lengths");
	options.prompt.mean = options.output.mean = 1;
	is_int(lsc_timetable_make(&table, &options, &times, &err), 0, "but may be given some");
	options.rate = 1;
	is_int(lsc_timetable_make(&table, &options, NULL, &err), -EINVAL,
	       "arrivals without an end");
	options.duration_s = 1e9;
	options.rate = 1e6;
	is_int(lsc_timetable_make(&table, &options, NULL, &err), -EINVAL, "too many");
}

static void test_bound(const struct lsc_trace *trace)
{
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace part = LSC_TRACE_INIT;
	struct lsc_timetable_options options = plain;
	LSC_CLEANUP(lsc_timetable_release)
	struct lsc_timetable of_part = LSC_TIMETABLE_INIT, of_all = LSC_TIMETABLE_INIT;

	options.scale = 1.5;
	options.limit = 70;
	options.duration_s = 50;
	lsc_timetable_bound(&options, &part);
	make_trace(&part);
	ok(part.n < 80, "%u rows are read for 70 requests", part.n);
	lsc_timetable_make(&of_part, &options, &part, &err);
	lsc_timetable_make(&of_all, &options, trace, &err);
	ok(of_part.n == of_all.n && same(&of_part, &of_all, of_all.n),
	   "and make the same timetable");
}

/* 3000 rows, the earliest ones in the middle and at the end. */
static void make_unordered(struct lsc_trace *trace)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;

	for (int i = 0; i < 3000; i++)
		lsc_buf_printf(&text,
			       "{\"timestamp\":%d,\"input_length\":%d,\"output_length\":1,"
			       "\"hash_ids\":[%d]}\n",
			       i * 7919 % 3000 * 10, i + 1, i);
	lsc_trace_add(trace, text.data, text.len, &err);
	lsc_trace_end(trace, &err);
}

static void test_unordered(uint64_t limit, double duration_s)
{
	LSC_CLEANUP(lsc_trace_release)
	struct lsc_trace part = LSC_TRACE_INIT, all = LSC_TRACE_INIT;
	struct lsc_timetable_options options = plain;
	LSC_CLEANUP(lsc_timetable_release)
	struct lsc_timetable of_part = LSC_TIMETABLE_INIT, of_all = LSC_TIMETABLE_INIT;
	uint32_t wrong = 0;

	options.scale = 1.5;
	options.limit = limit;
	options.duration_s = duration_s;
	lsc_timetable_bound(&options, &part);
	make_unordered(&part);
	make_unordered(&all);
	lsc_timetable_make(&of_part, &options, &part, &err);
	lsc_timetable_make(&of_all, &options, &all, &err);
	ok(of_all.n > 0 && of_part.n == of_all.n && same(&of_part, &of_all, of_all.n),
	   "unordered rows: the first %u, of %u of them", of_part.n, part.n);
	for (uint32_t i = 0; i < part.n; i++)
		wrong += part.blocks[part.rows[i].first_block] != part.rows[i].prompt - 1;
	is_int(wrong, 0, "with their blocks");
}

int main(void)
{
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace trace = LSC_TRACE_INIT;

	make_trace(&trace);
	test_trace(&trace);
	test_scale(&trace);
	test_arrivals(50, 1);
	test_arrivals(3, 0.25);
	test_arrivals(1000, 3);
	test_lengths();
	test_bad();
	test_bound(&trace);
	test_unordered(70, 0);
	test_unordered(1500, 0);
	test_unordered(0, 0.5);
	test_unordered(70, 15);
	return done_testing();
}
