/* trace_csv - rows of Azure's and BurstGPT's tables
 *
 * Neither quotes fields, so a line is cut at its commas.  Both have grown columns over time: they
 * are found by their names.
 */
#include "load/trace.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"

static const struct {
	enum lsc_trace_format format;
	const char *time, *prompt, *output;
} tables[] = {
	{LSC_TRACE_AZURE, "TIMESTAMP", "ContextTokens", "GeneratedTokens"},
	{LSC_TRACE_BURSTGPT, "Timestamp", "Request tokens", "Response tokens"},
};

/* Cuts a line into fields, without blanks around them; their number. */
static unsigned cut(char *line, char *fields[LSC_TRACE_MAX_COLUMNS])
{
	unsigned n = 0;
	char *field;

	while ((field = strsep(&line, ",")) != NULL) {
		size_t len;

		if (n == LSC_TRACE_MAX_COLUMNS)
			return n + 1;
		field += strspn(field, " \t");
		len = strlen(field);
		while (len && isspace((unsigned char)field[len - 1]))
			field[--len] = 0;
		fields[n++] = field;
	}
	return n;
}

static int find(char *fields[], unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(fields[i], name))
			return (int)i;
	return -1;
}

int lsc_trace_csv_header(struct lsc_trace *trace, char *line, struct lsc_err *err)
{
	char *fields[LSC_TRACE_MAX_COLUMNS];
	unsigned n = cut(line, fields);

	for (size_t i = 0; i < LSC_ARRAY_SIZE(tables) && n <= LSC_TRACE_MAX_COLUMNS; i++) {
		int at = find(fields, n, tables[i].time);
		int prompt = find(fields, n, tables[i].prompt);
		int output = find(fields, n, tables[i].output);

		if (at < 0 || prompt < 0 || output < 0)
			continue;
		trace->format = tables[i].format;
		trace->columns = n;
		trace->time_column = (unsigned)at;
		trace->prompt_column = (unsigned)prompt;
		trace->output_column = (unsigned)output;
		return 1;
	}
	return lsc_err_set(err, EBADMSG,
			   "neither the columns of an Azure or a BurstGPT trace, nor JSON, nor a "
			   "number");
}

static int parse_tokens(const char *text, uint64_t *ret_tokens, struct lsc_err *err)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	/* A table that once had empty cells may write its whole numbers so. */
	if (end[0] == '.' && end[1])
		end += 1 + strspn(end + 1, "0");
	if (!isdigit((unsigned char)text[0]) || *end || errno)
		return lsc_err_set(err, EBADMSG, "'%.40s' is not a number of tokens", text);
	*ret_tokens = value;
	return 0;
}

/* n digits as a number; -1 where there are others. */
static int digits(const char **text, unsigned n)
{
	int value = 0;

	for (; n; n--, ++*text) {
		if (!isdigit((unsigned char)**text))
			return -1;
		value = value * 10 + (**text - '0');
	}
	return value;
}

/* A fraction of a second behind its point, as ns. */
static int64_t fraction(const char **text)
{
	int64_t ns = 0, unit = 100000000;

	for (; isdigit((unsigned char)**text); ++*text, unit /= 10)
		ns += (**text - '0') * unit;
	return ns;
}

/* What follows the time: nothing, Z, or how far the clock is from UTC; seconds. */
static int zone(const char **text, long *ret_seconds)
{
	int sign = **text == '-' ? -1 : 1, hours, minutes;

	*ret_seconds = 0;
	if (**text == 'Z')
		return ++*text, 0;
	if (**text != '+' && **text != '-')
		return 0;
	++*text;
	hours = digits(text, 2);
	*text += **text == ':';
	minutes = digits(text, 2);
	if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return -1;
	*ret_seconds = sign * (hours * 3600L + minutes * 60L);
	return 0;
}

/* 2023-11-16 18:17:03.9799600, with any number of decimals, and perhaps +00:00 behind them. */
static int parse_date(const char *text, int64_t *ret_ns, struct lsc_err *err)
{
	const char *at = text;
	struct tm tm = {0};
	int64_t ns = 0;
	long east = 0;
	int year = digits(&at, 4);
	bool good = year >= 1970 && year < 2200 && *at++ == '-';

	tm.tm_year = year - 1900;
	good = good && (tm.tm_mon = digits(&at, 2) - 1) >= 0 && tm.tm_mon < 12 && *at++ == '-';
	good = good && (tm.tm_mday = digits(&at, 2)) > 0 && tm.tm_mday < 32;
	good = good && (*at == ' ' || *at == 'T') && at++;
	good = good && (tm.tm_hour = digits(&at, 2)) >= 0 && tm.tm_hour < 24 && *at++ == ':';
	good = good && (tm.tm_min = digits(&at, 2)) >= 0 && tm.tm_min < 60 && *at++ == ':';
	good = good && (tm.tm_sec = digits(&at, 2)) >= 0 && tm.tm_sec < 61;
	if (good && *at == '.') {
		at++;
		ns = fraction(&at);
	}
	if (!good || zone(&at, &east) < 0 || *at)
		return lsc_err_set(err, EBADMSG, "'%.40s' is not a date and a time", text);
	*ret_ns = ((int64_t)timegm(&tm) - east) * 1000000000 + ns;
	return 0;
}

int lsc_trace_csv_row(struct lsc_trace *trace, char *line, struct lsc_err *err)
{
	char *fields[LSC_TRACE_MAX_COLUMNS];
	unsigned n = cut(line, fields);
	uint64_t prompt = 0, output = 0;
	int64_t at_ns = 0;
	int r;

	if (n != trace->columns)
		return lsc_err_set(err, EBADMSG, "%s than the %u columns of the first line",
				   n < trace->columns ? "fewer" : "more", trace->columns);
	if (trace->format == LSC_TRACE_AZURE)
		r = parse_date(fields[trace->time_column], &at_ns, err);
	else
		r = lsc_trace_seconds(fields[trace->time_column], 1e9, &at_ns, err);
	if (r < 0 || (r = parse_tokens(fields[trace->prompt_column], &prompt, err)) < 0 ||
	    (r = parse_tokens(fields[trace->output_column], &output, err)) < 0)
		return r;
	return lsc_trace_put(trace, at_ns, prompt, output, err);
}
