/* Request traces: when requests came, how long their prompts and answers were, what they shared.
 *
 * The format is found out by the first line:
 *
 *	azure	  CSV with the columns TIMESTAMP (a date and a time), ContextTokens and
 *		  GeneratedTokens: Azure's LLM inference traces of 2023 and 2024
 *	burstgpt  CSV with Timestamp (seconds), "Request tokens" and "Response tokens"
 *	mooncake  a JSON object a line: timestamp (milliseconds), input_length, output_length and
 *		  hash_ids, one for each 512 tokens of the prompt: requests with the same ids have
 *		  the same text there
 *	times	  a number a line, in seconds; lines that begin with # are skipped
 *
 * Columns are found by name; others are ignored.  Times count from the first request.  Rows that
 * are not in their order are sorted, but for times, where it is the only thing that tells arrivals
 * from other numbers.
 */
#ifndef LSC_LOAD_TRACE_H
#define LSC_LOAD_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define LSC_TRACE_MAX_ROWS     (1u << 24)
#define LSC_TRACE_MAX_TOKENS   (1u << 22) /* of a prompt or an answer */
#define LSC_TRACE_MAX_LINE     (1u << 20) /* bytes */
#define LSC_TRACE_MAX_BLOCKS   (1u << 26) /* ids of all rows */
#define LSC_TRACE_MAX_COLUMNS  32
#define LSC_TRACE_BLOCK_TOKENS 512

enum lsc_trace_format {
	LSC_TRACE_UNKNOWN,
	LSC_TRACE_AZURE,
	LSC_TRACE_BURSTGPT,
	LSC_TRACE_MOONCAKE,
	LSC_TRACE_TIMES,
};

struct lsc_trace_row {
	int64_t at_ns;           /* from the first row, once the trace has ended */
	uint32_t prompt, output; /* tokens; 0 in a format without lengths */
	uint32_t line;           /* of the file, from 1 */
	uint32_t first_block, n_blocks;
};

struct lsc_trace {
	struct lsc_trace_row *rows;
	uint32_t n, room;
	uint64_t *blocks; /* ids */
	uint32_t n_blocks, room_blocks;
	enum lsc_trace_format format;
	uint32_t unordered; /* rows that came before the one in front of them, and were sorted */

	/* set by the owner before the first byte; 0: no bound */
	uint32_t most;     /* the earliest rows that are kept */
	int64_t within_ns; /* of the first row: later ones but one are left out */

	/* own */
	struct lsc_buf part; /* a line whose end is to come */
	uint32_t line;
	unsigned columns, time_column, prompt_column, output_column;
	int64_t first_ns, last_ns;
	int64_t until_ns; /* is_full: rows from then on are not asked for */
	bool begun, is_full;
};

#define LSC_TRACE_INIT                                                                             \
	{                                                                                          \
		0                                                                                  \
	}

void lsc_trace_release(struct lsc_trace *trace);

const char *lsc_trace_format_name(enum lsc_trace_format format);

/* Takes the next bytes, however they are cut.  -EBADMSG names the line. */
int lsc_trace_add(struct lsc_trace *trace, const void *data, size_t len, struct lsc_err *err);

/* There are no more: -EBADMSG for a trace without a request. */
int lsc_trace_end(struct lsc_trace *trace, struct lsc_err *err);

/* Both for a file; "-" is standard input. */
int lsc_trace_read(struct lsc_trace *trace, const char *path, struct lsc_err *err);

/* --- the formats (trace_csv.c, trace_json.c): a line, 0-terminated, without its end --- */

/* One row; 1 where it was taken, as the last so far, and 0 where it was left out. */
int lsc_trace_put(struct lsc_trace *trace, int64_t at_ns, uint64_t prompt, uint64_t output,
		  struct lsc_err *err);

/* A number of seconds (or of units of unit_ns) as ns. */
int lsc_trace_seconds(const char *text, double unit_ns, int64_t *ret_ns, struct lsc_err *err);

int lsc_trace_csv_header(struct lsc_trace *trace, char *line, struct lsc_err *err);
int lsc_trace_csv_row(struct lsc_trace *trace, char *line, struct lsc_err *err);
int lsc_trace_json_row(struct lsc_trace *trace, const char *line, size_t len, struct lsc_err *err);

#endif
