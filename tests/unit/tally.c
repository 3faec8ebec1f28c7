/* tally: what is counted of which results, objectives, series that fold, and the plot of it all */
#include "tap.h"

#include <math.h>

#include "base/cleanup.h"
#include "load/plot.h"
#include "load/tally.h"

#define MS UINT64_C(1000000)

static struct lsc_err err;

/* Due at 100 ms, left on time, first token after 50 ms, 10 more 20 ms apart, over at once. */
static struct lsc_result good(void)
{
	return (struct lsc_result){
		.due_ns = 100 * MS,
		.left_ns = 100 * MS,
		.first_ns = 150 * MS,
		.last_ns = 350 * MS,
		.end_ns = 350 * MS,
		.prompt = 100,
		.output = 11,
		.chunks = 11,
		.outcome = LSC_OUTCOME_OK,
		.status = 200,
	};
}

static void test_objectives(void)
{
	struct lsc_objectives slo = {0, 0, 0};
	struct lsc_result result = good();

	is_int(lsc_objectives_parse("ttft=50ms,tpot=20ms,e2e=0.25", &slo, &err), 0, "objectives");
	ok(lsc_result_is_good(&result, &slo), "met, just so");
	result.due_ns--;
	ok(!lsc_result_is_good(&result, &slo), "not by who waited before it left");
	result = good();
	result.last_ns++;
	ok(!lsc_result_is_good(&result, &slo), "not by one whose tokens are slow");
	result = good();
	result.has_usage = true;
	result.output_tokens = 6;
	ok(!lsc_result_is_good(&result, &slo) && lsc_result_tpot(&result) == 0.04,
	   "the server's count of tokens is the one that holds");
	result = good();
	result.end_ns++;
	ok(!lsc_result_is_good(&result, &slo), "nor by one that ends late");
	result = good();
	result.outcome = LSC_OUTCOME_UNENDED;
	ok(!lsc_result_is_good(&result, &slo), "nor without an end");
	is_int(lsc_objectives_parse("e2e=1h", &slo, &err), 0, "one objective");
	ok(slo.e2e_s == 3600 && slo.ttft_s == 0, "alone");
	for (const char *const *bad =
		     (const char *const[]){"", "ttft", "ttft=", "ttft=0", "itl=1ms", "ttft=1ms,",
					   "ttft=1ms,ttft=2ms", "ttft=1x", NULL};
	     *bad; bad++)
		is_int(lsc_objectives_parse(*bad, &slo, &err), -EINVAL, "'%s' is none", *bad);
	ok(slo.e2e_s == 3600, "which changes nothing");
}

static void test_counts(struct lsc_tally *tally)
{
	struct lsc_result result = good();

	tally->due = 9;
	lsc_objectives_parse("ttft=60ms", &tally->objectives, &err);
	lsc_tally_add(tally, &result);
	result.has_usage = true;
	result.prompt_tokens = 120;
	result.output_tokens = 10;
	result.waited = true;
	result.left_ns += 30 * MS;
	lsc_tally_add(tally, &result);
	result = good();
	result.left_ns += MS;
	result.chunks = 0;
	lsc_tally_add(tally, &result);
	result.outcome = LSC_OUTCOME_HTTP;
	result.status = 429;
	lsc_tally_add(tally, &result);
	result.status = 503;
	lsc_tally_add(tally, &result);
	lsc_tally_add(tally, &result);
	result.outcome = LSC_OUTCOME_CUT;
	result.end_ns = 2100 * MS;
	lsc_tally_add(tally, &result);
	ok(tally->sent == 7 && tally->outcomes[LSC_OUTCOME_OK] == 3 && lsc_tally_failed(tally) == 3,
	   "sent, complete, failed");
	ok(tally->statuses[429] == 1 && tally->statuses[503] == 2, "statuses");
	ok(tally->good == 2 && tally->silent == 1, "good and silent");
	ok(tally->in == 100 + 120 + 100 && tally->out == 11 + 10, "tokens of what is complete");
	ok(tally->waited == 1 && tally->wait.n == 1 && tally->wait.most == 30 * MS, "waiting");
	ok(tally->late.n == 6 && tally->late.least == 0 && tally->late.most == MS, "and lateness");
	ok(tally->ttft.n == 2 && tally->ttft.least == 20 * MS && tally->ttft.most == 50 * MS,
	   "a latency counts from when a request left");
	ok(tally->e2e.n == 3 && tally->tpot.n == 2 && tally->tpot.least == 20 * MS,
	   "the others too");
	ok(tally->first_left_ns == 100 * MS && tally->last_end_ns == 2100 * MS,
	   "from when to when");
}

static void test_records(const struct lsc_tally *tally)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf table = LSC_BUF_INIT;
	struct lsc_result result = good();
	double real = 0;
	uint64_t n = 0;

	is_int(lsc_result_pack(&result, &pack), 0, "a result as a record");
	ok(lsc_record_parse(&record, pack.buf.data, pack.buf.len, &err) == (ssize_t)pack.buf.len &&
		   lsc_record_is(&record, "request"),
	   "that is one");
	ok(lsc_record_real(&record, "first", &real, &err) == 0 && real == 0.15, "with its times");
	is_int(lsc_tally_pack(tally, &pack), 0, "a tally as a record");
	ok(lsc_record_parse(&record, pack.buf.data, pack.buf.len, &err) == (ssize_t)pack.buf.len &&
		   lsc_record_is(&record, "report"),
	   "that is one");
	ok(lsc_record_uint(&record, "failed", 100, &n, &err) == 0 && n == 3, "with its counts");
	ok(lsc_record_real(&record, "goodput_requests_s", &real, &err) == 0 && real == 1,
	   "two good ones in two seconds");
	is_int(lsc_tally_table(tally, &table), 0, "a tally as a table");
	ok(strstr((char *)table.data, "7 of 9 in 2.000 s") &&
		   strstr((char *)table.data, "errors  cut 1, http 429 1, http 503 2\n") &&
		   strstr((char *)table.data, "waited      30.00 ms"),
	   "with all of it");
}

static void test_series(void)
{
	LSC_CLEANUP_FREE struct lsc_series *series = calloc(1, sizeof(*series));
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_record_release) struct lsc_record record = LSC_RECORD_INIT;
	uint64_t in = 0, out = 0;
	double bin = 0;

	for (uint64_t s = 0; s < 3600; s++)
		lsc_series_add(series, s * 1000 * MS, s, 2);
	for (uint32_t i = 0; i < series->n; i++) {
		in += series->in[i];
		out += series->out[i];
	}
	ok(series->bin_ns == 6400 * MS && series->n == 563, "an hour in %u bins", series->n);
	ok(in == 3599 * 1800 && out == 7200, "nothing is lost");
	ok(series->out[0] == 14 && series->out[1] == 12, "and it is where it was");
	is_int(lsc_series_pack(series, &pack), 0, "as a record");
	ok(lsc_record_parse(&record, pack.buf.data, pack.buf.len, &err) > 0 &&
		   lsc_record_is(&record, "series"),
	   "of its own");
	ok(lsc_record_real_or(&record, "bin", 0, &bin, &err) == 0 && bin == 6.4 &&
		   lsc_record_get(&record, "out") && lsc_record_get(&record, "in"),
	   "with its bins");
	lsc_series_add(series, UINT64_MAX, 1, 1);
	ok(series->n <= LSC_SERIES_BINS, "as far as time goes");
}

static uint32_t count(const char *text, const char *what)
{
	uint32_t n = 0;

	for (; (text = strstr(text, what)) != NULL; text += strlen(what))
		n++;
	return n;
}

static void test_plot(struct lsc_tally *tally)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	const char *text;

	for (uint64_t i = 0; i < 500; i++)
		lsc_series_add(&tally->series, i * 10 * MS, 3, 1);
	is_int(lsc_plot_draw(tally, &buf, &err), 0, "draws a tally");
	text = (const char *)buf.data;
	ok(!strncmp(text, "<svg ", 5) && !strcmp(text + buf.len - 7, "</svg>\n"), "as a document");
	ok(count(text, "<text") == count(text, "</text>") && count(text, "<svg") == 1 &&
		   count(text, "<path") == count(text, "\"/>"),
	   "whose tags are closed");
	ok(!strstr(text, "nan") && !strstr(text, "inf"), "of numbers");
	/* 50 bins of 100 ms, 10 tokens each */
	ok(strstr(text, ">100</text>") && count(text, ">5 s</text>") == 2, "100 tokens a second");
	is_int(count(text, "class=\"line"), 3 + 3 + 2, "three curves, their legend, two rates");
}

int main(void)
{
	struct lsc_tally *tally = lsc_tally_new(), *empty = lsc_tally_new();
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;

	test_objectives();
	test_counts(tally);
	test_records(tally);
	test_series();
	test_plot(tally);
	ok(lsc_plot_draw(empty, &buf, &err) == 0 && !strstr((char *)buf.data, "nan") &&
		   !strstr((char *)buf.data, "inf"),
	   "draws nothing too");
	is_int(lsc_tally_table(empty, &buf), 0, "and a table of it");
	free(tally);
	free(empty);
	return done_testing();
}
