/* tally - results added up */
#include "load/tally.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "base/parse.h"

#define FIRST_BIN_NS 100000000u

const char *lsc_outcome_name(enum lsc_outcome outcome)
{
	static const char *const names[] = {"ok",      "http",      "connect", "timeout", "broken",
					    "no-done", "malformed", "error",   "cut"};

	return names[outcome];
}

int lsc_objectives_parse(const char *text, struct lsc_objectives *ret_objectives,
			 struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *copy = strdup(text);
	struct lsc_objectives slo = {0, 0, 0};
	const struct {
		const char *name;
		double *value;
	} known[] = {{"ttft", &slo.ttft_s}, {"tpot", &slo.tpot_s}, {"e2e", &slo.e2e_s}};
	char *rest = copy, *name;

	if (!copy)
		return lsc_err_set(err, ENOMEM, "%m");
	while ((name = strsep(&rest, ",")) != NULL) {
		char *value = strchr(name, '=');
		size_t i = 0;
		int r;

		if (value)
			*value++ = 0;
		while (i < LSC_ARRAY_SIZE(known) && strcmp(known[i].name, name))
			i++;
		if (!value || i == LSC_ARRAY_SIZE(known) || *known[i].value > 0)
			return lsc_err_set(err, EINVAL,
					   "'%s' is not objectives (like ttft=500ms,tpot=50ms,"
					   "e2e=10s)",
					   text);
		r = lsc_parse_duration(value, known[i].value, err);
		if (r < 0)
			return r;
		if (!(*known[i].value > 0))
			return lsc_err_set(err, EINVAL, "an objective of 0 is met by nothing");
	}
	*ret_objectives = slo;
	return 0;
}

static void fold(struct lsc_series *series)
{
	for (uint32_t i = 0; i < LSC_SERIES_BINS; i++) {
		uint64_t in = series->in[i], out = series->out[i];

		series->in[i] = series->out[i] = 0;
		series->in[i / 2] += in;
		series->out[i / 2] += out;
	}
	series->n = (series->n + 1) / 2;
	series->bin_ns *= 2;
}

void lsc_series_add(struct lsc_series *series, uint64_t at_ns, uint64_t in, uint64_t out)
{
	uint32_t bin;

	if (!series->bin_ns)
		series->bin_ns = FIRST_BIN_NS;
	while (at_ns / series->bin_ns >= LSC_SERIES_BINS)
		fold(series);
	bin = (uint32_t)(at_ns / series->bin_ns);
	series->in[bin] += in;
	series->out[bin] += out;
	series->n = LSC_MAX(series->n, bin + 1);
}

struct lsc_tally *lsc_tally_new(void)
{
	return calloc(1, sizeof(struct lsc_tally));
}

static uint32_t tokens_of(const struct lsc_result *result)
{
	return result->has_usage ? result->output_tokens : result->chunks;
}

double lsc_result_tpot(const struct lsc_result *result)
{
	uint32_t tokens = tokens_of(result);

	if (!result->chunks || tokens < 2)
		return -1;
	return (double)(result->last_ns - result->first_ns) / 1e9 / (tokens - 1);
}

bool lsc_result_is_good(const struct lsc_result *result, const struct lsc_objectives *slo)
{
	return result->outcome == LSC_OUTCOME_OK && result->chunks &&
	       (!(slo->ttft_s > 0) ||
		(double)(result->first_ns - result->due_ns) <= slo->ttft_s * 1e9) &&
	       (!(slo->tpot_s > 0) || lsc_result_tpot(result) <= slo->tpot_s) &&
	       (!(slo->e2e_s > 0) || (double)(result->end_ns - result->due_ns) <= slo->e2e_s * 1e9);
}

static void add_complete(struct lsc_tally *tally, const struct lsc_result *result)
{
	double tpot = lsc_result_tpot(result);

	tally->asked_in += result->prompt;
	tally->asked_out += result->output;
	tally->in += result->has_usage ? result->prompt_tokens : result->prompt;
	tally->out += tokens_of(result);
	tally->silent += !result->chunks;
	tally->good += lsc_result_is_good(result, &tally->objectives);
	lsc_digest_add(&tally->e2e, result->end_ns - result->left_ns);
	if (result->chunks)
		lsc_digest_add(&tally->ttft, result->first_ns - result->left_ns);
	if (tpot >= 0)
		lsc_digest_add(&tally->tpot, (uint64_t)(tpot * 1e9));
}

void lsc_tally_add(struct lsc_tally *tally, const struct lsc_result *result)
{
	tally->first_left_ns =
		tally->sent ? LSC_MIN(tally->first_left_ns, result->left_ns) : result->left_ns;
	tally->last_end_ns = LSC_MAX(tally->last_end_ns, result->end_ns);
	tally->sent++;
	tally->outcomes[result->outcome]++;
	if (result->outcome == LSC_OUTCOME_HTTP && result->status >= 0 &&
	    result->status < LSC_TALLY_STATUSES)
		tally->statuses[result->status]++;
	tally->waited += result->waited;
	lsc_digest_add(result->waited ? &tally->wait : &tally->late,
		       result->left_ns - result->due_ns);
	if (result->outcome == LSC_OUTCOME_OK)
		add_complete(tally, result);
}

uint32_t lsc_tally_failed(const struct lsc_tally *tally)
{
	return tally->sent - tally->outcomes[LSC_OUTCOME_OK] - tally->outcomes[LSC_OUTCOME_CUT];
}
