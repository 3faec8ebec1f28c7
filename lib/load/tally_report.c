/* tally_report - a tally as a record, for programs, and as a table, for people */
#include <stdio.h>

#include "base/macros.h"
#include "load/tally.h"

/* --- records --- */

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

static double span_of(const struct lsc_tally *tally)
{
	return tally->last_end_ns > tally->first_left_ns
		       ? seconds(tally->last_end_ns - tally->first_left_ns)
		       : 0;
}

static double rate_of(double n, double span)
{
	return span > 0 ? n / span : 0;
}

int lsc_result_pack(const struct lsc_result *result, struct lsc_pack *pack)
{
	lsc_pack_begin(pack, "request");
	lsc_pack_uint(pack, "request", result->number);
	lsc_pack_real(pack, "due", seconds(result->due_ns));
	lsc_pack_real(pack, "left", seconds(result->left_ns));
	if (result->waited)
		lsc_pack_bool(pack, "waited", true);
	if (result->chunks) {
		lsc_pack_real(pack, "first", seconds(result->first_ns));
		lsc_pack_real(pack, "last", seconds(result->last_ns));
	}
	lsc_pack_real(pack, "end", seconds(result->end_ns));
	lsc_pack_uint(pack, "prompt", result->prompt);
	lsc_pack_uint(pack, "output", result->output);
	lsc_pack_uint(pack, "chunks", result->chunks);
	if (result->has_usage) {
		lsc_pack_uint(pack, "prompt_tokens", result->prompt_tokens);
		lsc_pack_uint(pack, "tokens", result->output_tokens);
	}
	if (result->has_text)
		lsc_pack_bin(pack, "text", result->text.bytes, sizeof(result->text.bytes));
	lsc_pack_str(pack, "outcome", lsc_outcome_name(result->outcome));
	if (result->status)
		lsc_pack_uint(pack, "status", (uint64_t)result->status);
	return lsc_pack_end(pack);
}

static void pack_bins(struct lsc_pack *pack, const char *key, const uint64_t *bins, uint32_t n)
{
	lsc_pack_array(pack, key, n);
	for (uint32_t i = 0; i < n; i++)
		lsc_pack_uint(pack, NULL, bins[i]);
}

int lsc_series_pack(const struct lsc_series *series, struct lsc_pack *pack)
{
	lsc_pack_begin(pack, "series");
	lsc_pack_real(pack, "bin", seconds(series->bin_ns));
	pack_bins(pack, "out", series->out, series->n);
	pack_bins(pack, "in", series->in, series->n);
	return lsc_pack_end(pack);
}

static void pack_digest(struct lsc_pack *pack, const char *key, const struct lsc_digest *digest)
{
	lsc_pack_map(pack, key, 6);
	lsc_pack_uint(pack, "n", digest->n);
	lsc_pack_real(pack, "mean", lsc_digest_mean(digest) / 1e9);
	lsc_pack_real(pack, "p50", seconds(lsc_digest_at(digest, 0.50)));
	lsc_pack_real(pack, "p90", seconds(lsc_digest_at(digest, 0.90)));
	lsc_pack_real(pack, "p99", seconds(lsc_digest_at(digest, 0.99)));
	lsc_pack_real(pack, "max", seconds(digest->most));
}

static void pack_errors(const struct lsc_tally *tally, struct lsc_pack *pack)
{
	uint32_t kinds = 0, statuses = 0;

	for (int i = LSC_OUTCOME_OK + 1; i < LSC_OUTCOME_COUNT; i++)
		kinds += tally->outcomes[i] > 0;
	for (int i = 0; i < LSC_TALLY_STATUSES; i++)
		statuses += tally->statuses[i] > 0;
	lsc_pack_map(pack, "errors", kinds);
	for (int i = LSC_OUTCOME_OK + 1; i < LSC_OUTCOME_COUNT; i++)
		if (tally->outcomes[i])
			lsc_pack_uint(pack, lsc_outcome_name(i), tally->outcomes[i]);
	lsc_pack_map(pack, "statuses", statuses);
	for (int i = 0; i < LSC_TALLY_STATUSES; i++) {
		char text[8];

		snprintf(text, sizeof(text), "%d", i);
		if (tally->statuses[i])
			lsc_pack_uint(pack, text, tally->statuses[i]);
	}
}

static void pack_objectives(const struct lsc_tally *tally, struct lsc_pack *pack)
{
	const struct lsc_objectives *slo = &tally->objectives;

	lsc_pack_map(pack, "slo_s", (slo->ttft_s > 0) + (slo->tpot_s > 0) + (slo->e2e_s > 0));
	if (slo->ttft_s > 0)
		lsc_pack_real(pack, "ttft", slo->ttft_s);
	if (slo->tpot_s > 0)
		lsc_pack_real(pack, "tpot", slo->tpot_s);
	if (slo->e2e_s > 0)
		lsc_pack_real(pack, "e2e", slo->e2e_s);
	lsc_pack_uint(pack, "good", tally->good);
	lsc_pack_real(pack, "goodput_requests_s", rate_of(tally->good, span_of(tally)));
}

static bool has_objectives(const struct lsc_tally *tally)
{
	return tally->objectives.ttft_s > 0 || tally->objectives.tpot_s > 0 ||
	       tally->objectives.e2e_s > 0;
}

int lsc_tally_pack(const struct lsc_tally *tally, struct lsc_pack *pack)
{
	double span = span_of(tally);

	lsc_pack_begin(pack, "report");
	lsc_pack_real(pack, "seconds", span);
	lsc_pack_uint(pack, "due", tally->due);
	lsc_pack_uint(pack, "sent", tally->sent);
	lsc_pack_uint(pack, "complete", tally->outcomes[LSC_OUTCOME_OK]);
	lsc_pack_uint(pack, "failed", lsc_tally_failed(tally));
	pack_errors(tally, pack);
	lsc_pack_uint(pack, "silent", tally->silent);
	lsc_pack_uint(pack, "waited", tally->waited);
	lsc_pack_uint(pack, "at_once", tally->at_once);
	lsc_pack_real(pack, "requests_s", rate_of(tally->outcomes[LSC_OUTCOME_OK], span));
	lsc_pack_uint(pack, "prompt_tokens", tally->in);
	lsc_pack_uint(pack, "tokens", tally->out);
	lsc_pack_uint(pack, "prompt_tokens_asked", tally->asked_in);
	lsc_pack_uint(pack, "tokens_asked", tally->asked_out);
	lsc_pack_real(pack, "prompt_tokens_s", rate_of((double)tally->in, span));
	lsc_pack_real(pack, "tokens_s", rate_of((double)tally->out, span));
	lsc_pack_real(pack, "tokens_per_word", tally->per_word);
	pack_digest(pack, "late_s", &tally->late);
	pack_digest(pack, "wait_s", &tally->wait);
	pack_digest(pack, "ttft_s", &tally->ttft);
	pack_digest(pack, "tpot_s", &tally->tpot);
	pack_digest(pack, "itl_s", &tally->itl);
	pack_digest(pack, "e2e_s", &tally->e2e);
	lsc_pack_real(pack, "percentile_error", LSC_DIGEST_ERROR);
	if (has_objectives(tally))
		pack_objectives(tally, pack);
	return lsc_pack_end(pack);
}

/* --- a table --- */

/* Four digits, whatever the size. */
static const char *duration(double s, char text[16])
{
	if (s >= 100)
		snprintf(text, 16, "%.1f s", s);
	else if (s >= 1)
		snprintf(text, 16, "%.3f s", s);
	else if (s >= 0.1)
		snprintf(text, 16, "%.1f ms", s * 1e3);
	else if (s >= 0.01)
		snprintf(text, 16, "%.2f ms", s * 1e3);
	else
		snprintf(text, 16, "%.3f ms", s * 1e3);
	return text;
}

static int put_row(struct lsc_buf *buf, const char *name, const struct lsc_digest *digest)
{
	static const double shares[] = {0.50, 0.90, 0.99};
	char text[16];
	int r = lsc_buf_printf(buf, "%-8s", name);

	if (!digest->n)
		return r ? r : lsc_buf_printf(buf, "%12s\n", "none");
	for (size_t i = 0; i < LSC_ARRAY_SIZE(shares) && !r; i++)
		r = lsc_buf_printf(buf, "%12s",
				   duration(seconds(lsc_digest_at(digest, shares[i])), text));
	if (!r)
		r = lsc_buf_printf(buf, "%12s", duration(lsc_digest_mean(digest) / 1e9, text));
	return r ? r : lsc_buf_printf(buf, "%12s\n", duration(seconds(digest->most), text));
}

static int put_errors(const struct lsc_tally *tally, struct lsc_buf *buf)
{
	const char *before = "errors  ";
	int r = 0;

	for (int i = LSC_OUTCOME_OK + 1; i < LSC_OUTCOME_COUNT && !r; i++) {
		if (!tally->outcomes[i] || i == LSC_OUTCOME_HTTP)
			continue;
		r = lsc_buf_printf(buf, "%s%s %u", before, lsc_outcome_name(i), tally->outcomes[i]);
		before = ", ";
	}
	for (int i = 0; i < LSC_TALLY_STATUSES && !r; i++) {
		if (!tally->statuses[i])
			continue;
		r = lsc_buf_printf(buf, "%shttp %d %u", before, i, tally->statuses[i]);
		before = ", ";
	}
	return r || before[0] != ',' ? r : lsc_buf_add_str(buf, "\n");
}

static int put_objectives(const struct lsc_tally *tally, struct lsc_buf *buf)
{
	const struct lsc_objectives *slo = &tally->objectives;
	const struct {
		const char *name;
		double value;
	} rows[] = {{"ttft", slo->ttft_s}, {"tpot", slo->tpot_s}, {"e2e", slo->e2e_s}};
	const char *before = "";
	char text[16];
	int r = lsc_buf_printf(buf, "goodput %.2f requests/s, %u of %u sent met ",
			       rate_of(tally->good, span_of(tally)), tally->good, tally->sent);

	for (size_t i = 0; i < LSC_ARRAY_SIZE(rows) && !r; i++) {
		if (!(rows[i].value > 0))
			continue;
		r = lsc_buf_printf(buf, "%s%s <= %s", before, rows[i].name,
				   duration(rows[i].value, text));
		before = ", ";
	}
	return r ? r : lsc_buf_add_str(buf, "\n");
}

static int put_tokens(const struct lsc_tally *tally, struct lsc_buf *buf)
{
	double span = span_of(tally);

	return lsc_buf_printf(
		buf,
		"tokens  in %llu (%.1f/s; asked %llu), out %llu (%.1f/s; asked at most %llu)\n",
		(unsigned long long)tally->in, rate_of((double)tally->in, span),
		(unsigned long long)tally->asked_in, (unsigned long long)tally->out,
		rate_of((double)tally->out, span), (unsigned long long)tally->asked_out);
}

int lsc_tally_table(const struct lsc_tally *tally, struct lsc_buf *buf)
{
	uint32_t complete = tally->outcomes[LSC_OUTCOME_OK];
	double span = span_of(tally);
	int r;

	r = lsc_buf_printf(buf,
			   "sent    %u of %u in %.3f s, at most %u at once\n"
			   "done    %u complete (%.2f/s), %u failed\n",
			   tally->sent, tally->due, span, tally->at_once, complete,
			   rate_of(complete, span), lsc_tally_failed(tally));
	if (!r)
		r = put_errors(tally, buf);
	if (!r && tally->silent)
		r = lsc_buf_printf(buf, "silent  %u complete without text\n", tally->silent);
	if (!r)
		r = put_tokens(tally, buf);
	if (!r && has_objectives(tally))
		r = put_objectives(tally, buf);
	if (!r)
		r = lsc_buf_printf(buf, "%8s%12s%12s%12s%12s%12s\n", "", "p50", "p90", "p99",
				   "mean", "max");
	if (!r)
		r = put_row(buf, "ttft", &tally->ttft);
	if (!r)
		r = put_row(buf, "tpot", &tally->tpot);
	if (!r)
		r = put_row(buf, "itl", &tally->itl);
	if (!r)
		r = put_row(buf, "e2e", &tally->e2e);
	if (!r && tally->waited)
		r = put_row(buf, "waited", &tally->wait);
	return r ? r : put_row(buf, "late", &tally->late);
}
