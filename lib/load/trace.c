/* trace - lines to rows, whatever the format; trace_csv.c and trace_json.c know what is in a line
 */
#include "load/trace.h"

#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define READ_BYTES  (256u << 10)
#define MAX_SECONDS 1e10 /* some 300 years, and within an int64_t of ns when a date is not */
#define MAX_SPAN_NS (INT64_C(366) * 86400 * 1000000000)

void lsc_trace_release(struct lsc_trace *trace)
{
	free(trace->rows);
	free(trace->blocks);
	lsc_buf_release(&trace->part);
	*trace = (struct lsc_trace)LSC_TRACE_INIT;
}

const char *lsc_trace_format_name(enum lsc_trace_format format)
{
	static const char *const names[] = {"unknown", "azure", "burstgpt", "mooncake", "times"};

	return names[format];
}

int lsc_trace_seconds(const char *text, double unit_ns, int64_t *ret_ns, struct lsc_err *err)
{
	char *end;
	double value;

	/* strtod also takes hexadecimal, "inf" and "nan": none is meant here */
	if (text[strspn(text, "0123456789.eE+-")] ||
	    !(isdigit((unsigned char)text[0]) || text[0] == '.'))
		return lsc_err_set(err, EBADMSG, "'%.40s' is not a time", text);
	value = strtod(text, &end);
	if (end == text || *end || !isfinite(value) || value * unit_ns > MAX_SECONDS * 1e9 / 2)
		return lsc_err_set(err, EBADMSG, "'%.40s' is not a time", text);
	*ret_ns = llround(value * unit_ns);
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct lsc_trace_row *x = a, *y = b;

	if (x->at_ns != y->at_ns)
		return x->at_ns < y->at_ns ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

static void trim(struct lsc_trace *trace, uint32_t n)
{
	trace->n = n;
	trace->is_full = true;
	trace->until_ns = trace->rows[n - 1].at_ns;
}

/* Sorts the rows so far, and forgets those behind the last that is asked for. */
static void settle(struct lsc_trace *trace)
{
	uint32_t n = 1;

	if (trace->unordered)
		qsort(trace->rows, trace->n, sizeof(*trace->rows), compare_rows);
	if (trace->most && trace->n >= trace->most)
		trim(trace, trace->most);
	while (n < trace->n && trace->rows[n].at_ns - trace->rows[0].at_ns <= trace->within_ns)
		n++;
	/* The first of the later ones stays: it says how long the gap in front of it is. */
	if (trace->within_ns && n < trace->n)
		trim(trace, n + 1);
}

static int grow(struct lsc_trace *trace, struct lsc_err *err)
{
	uint32_t room = trace->room ? trace->room * 2 : 1024;
	struct lsc_trace_row *rows;

	if (trace->n < trace->room)
		return 0;
	if (trace->n && (trace->most || trace->within_ns)) {
		settle(trace);
		if (trace->n <= trace->room / 2)
			return 0;
	}
	if (trace->n == LSC_TRACE_MAX_ROWS)
		return lsc_err_set(err, EBADMSG, "more than %u requests", LSC_TRACE_MAX_ROWS);
	rows = realloc(trace->rows, room * sizeof(*rows));
	if (!rows)
		return lsc_err_set(err, ENOMEM, "no memory for %u requests", room);
	trace->rows = rows;
	trace->room = room;
	return 0;
}

int lsc_trace_put(struct lsc_trace *trace, int64_t at_ns, uint64_t prompt, uint64_t output,
		  struct lsc_err *err)
{
	int r;

	if (prompt > LSC_TRACE_MAX_TOKENS || output > LSC_TRACE_MAX_TOKENS)
		return lsc_err_set(err, EBADMSG, "more than %u tokens", LSC_TRACE_MAX_TOKENS);
	if (!trace->begun) {
		trace->first_ns = trace->last_ns = at_ns;
		trace->begun = true;
	}
	if (llabs(at_ns - trace->first_ns) > MAX_SPAN_NS)
		return lsc_err_set(err, EBADMSG, "more than a year from the first request");
	if (at_ns < trace->last_ns && trace->format == LSC_TRACE_TIMES)
		return lsc_err_set(err, EBADMSG, "a time before the one in front of it");
	trace->unordered += at_ns < trace->last_ns;
	trace->last_ns = at_ns;
	if (trace->is_full && at_ns >= trace->until_ns)
		return 0;
	r = grow(trace, err);
	if (r < 0)
		return r;
	trace->rows[trace->n++] = (struct lsc_trace_row){
		.at_ns = at_ns,
		.prompt = (uint32_t)prompt,
		.output = (uint32_t)output,
		.line = trace->line,
		.first_block = trace->n_blocks,
	};
	return 1;
}

static int take_number(struct lsc_trace *trace, const char *line, struct lsc_err *err)
{
	int64_t at_ns = 0;
	int r = lsc_trace_seconds(line, 1e9, &at_ns, err);

	return r < 0 ? r : lsc_trace_put(trace, at_ns, 0, 0, err);
}

/* The first line: what the others are. */
static int find_format(struct lsc_trace *trace, char *line, size_t len, struct lsc_err *err)
{
	if (line[0] == '{') {
		trace->format = LSC_TRACE_MOONCAKE;
		return lsc_trace_json_row(trace, line, len, err);
	}
	if (isdigit((unsigned char)line[0]) || line[0] == '.') {
		trace->format = LSC_TRACE_TIMES;
		return take_number(trace, line, err);
	}
	return lsc_trace_csv_header(trace, line, err);
}

/* data[len] is 0. */
static int take_line(struct lsc_trace *trace, char *line, size_t len, struct lsc_err *err)
{
	int r;

	trace->line++;
	if (trace->line == 1 && len >= 3 && !memcmp(line, "\xef\xbb\xbf", 3)) {
		line += 3;
		len -= 3;
	}
	while (len && isspace((unsigned char)line[len - 1]))
		line[--len] = 0;
	while (len && isspace((unsigned char)*line)) {
		line++;
		len--;
	}
	if (!len || (*line == '#' && (trace->format == LSC_TRACE_TIMES || !trace->format)))
		return 1;
	if (memchr(line, 0, len))
		r = lsc_err_set(err, EBADMSG, "a zero byte");
	else if (trace->format == LSC_TRACE_UNKNOWN)
		r = find_format(trace, line, len, err);
	else if (trace->format == LSC_TRACE_MOONCAKE)
		r = lsc_trace_json_row(trace, line, len, err);
	else if (trace->format == LSC_TRACE_TIMES)
		r = take_number(trace, line, err);
	else
		r = lsc_trace_csv_row(trace, line, err);
	if (r < 0)
		lsc_err_prefix(err, "line %u: ", trace->line);
	return r;
}

/* In other formats a row to come may be earlier than those so far. */
static bool has_enough(const struct lsc_trace *trace)
{
	return trace->format == LSC_TRACE_TIMES &&
	       ((trace->most && trace->n >= trace->most) ||
		(trace->within_ns && trace->last_ns - trace->first_ns > trace->within_ns));
}

int lsc_trace_add(struct lsc_trace *trace, const void *data, size_t len, struct lsc_err *err)
{
	const char *at = data, *end = at + len;

	while (at < end && !has_enough(trace)) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t n = (size_t)((newline ? newline : end) - at);
		int r;

		if (trace->part.len + n > LSC_TRACE_MAX_LINE)
			return lsc_err_set(err, EBADMSG, "line %u: more than %u bytes",
					   trace->line + 1, LSC_TRACE_MAX_LINE);
		if (lsc_buf_add(&trace->part, at, n) < 0)
			return lsc_err_set(err, ENOMEM, "no memory for a line");
		if (!newline)
			break;
		r = take_line(trace, (char *)trace->part.data, trace->part.len, err);
		if (r < 0)
			return r;
		trace->part.len = 0;
		at = newline + 1;
	}
	return 0;
}

int lsc_trace_end(struct lsc_trace *trace, struct lsc_err *err)
{
	int64_t first_ns;

	if (trace->part.len && !has_enough(trace)) {
		int r = take_line(trace, (char *)trace->part.data, trace->part.len, err);

		if (r < 0)
			return r;
	}
	trace->part.len = 0;
	if (!trace->n)
		return lsc_err_set(err, EBADMSG, "no request in it");
	settle(trace);
	first_ns = trace->rows[0].at_ns;
	for (uint32_t i = 0; i < trace->n; i++)
		trace->rows[i].at_ns -= first_ns;
	return 0;
}

static int read_all(struct lsc_trace *trace, int fd, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *bytes = malloc(READ_BYTES);

	if (!bytes)
		return lsc_err_set(err, ENOMEM, "%m");
	while (!has_enough(trace)) {
		ssize_t n = read(fd, bytes, READ_BYTES);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return lsc_err_set(err, errno, "cannot read '%s': %m", path);
		if (n == 0)
			break;
		r = lsc_trace_add(trace, bytes, (size_t)n, err);
		if (r < 0)
			return lsc_err_prefix(err, "'%s': ", path);
	}
	return lsc_trace_end(trace, err) < 0 ? lsc_err_prefix(err, "'%s': ", path) : 0;
}

int lsc_trace_read(struct lsc_trace *trace, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = -1;

	if (!strcmp(path, "-"))
		return read_all(trace, STDIN_FILENO, "standard input", err);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	return read_all(trace, fd, path, err);
}
