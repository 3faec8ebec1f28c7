/* What became of requests: counts, percentiles, tokens over time; memory that does not grow.
 *
 * Times are ns since the replay began.  A latency counts from when its request left; where it had
 * to wait for others to end first (a bound on requests at once) that is told apart, and an
 * objective counts from when it was due, since that is when its user would have asked.
 */
#ifndef LSC_LOAD_TALLY_H
#define LSC_LOAD_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "load/digest.h"
#include "stream/record.h"

enum lsc_outcome {
	LSC_OUTCOME_OK,
	LSC_OUTCOME_HTTP,      /* a status that is no success */
	LSC_OUTCOME_CONNECT,   /* no connection: name, refusal, TLS */
	LSC_OUTCOME_TIMEOUT,   /* not over in time */
	LSC_OUTCOME_BROKEN,    /* the connection ended within the answer */
	LSC_OUTCOME_UNENDED,   /* the answer ended well, without [DONE] */
	LSC_OUTCOME_MALFORMED, /* not a stream of JSON chunks */
	LSC_OUTCOME_ERROR,     /* the server said in the stream that it failed */
	LSC_OUTCOME_CUT,       /* we gave up: interrupted */
	LSC_OUTCOME_COUNT,
};

const char *lsc_outcome_name(enum lsc_outcome outcome);

struct lsc_result {
	uint32_t number; /* in the timetable */
	uint64_t due_ns, left_ns, first_ns, last_ns, end_ns;
	uint32_t prompt, output; /* tokens asked for */
	uint32_t chunks;         /* with text; 0: first_ns and last_ns mean nothing */
	bool waited, has_usage, has_text;
	struct lsc_hash text;                  /* of what came; with has_text */
	uint32_t prompt_tokens, output_tokens; /* the server's count; with has_usage */
	enum lsc_outcome outcome;
	long status; /* of HTTP; 0: none came */
};

/* Service level objectives, in seconds; 0: none. */
struct lsc_objectives {
	double ttft_s, tpot_s, e2e_s;
};

/* "ttft=500ms,tpot=50ms,e2e=10s", each at most once. */
int lsc_objectives_parse(const char *text, struct lsc_objectives *ret_objectives,
			 struct lsc_err *err);

#define LSC_SERIES_BINS 1024

/* Tokens in bins of time, whose width doubles when they run out. */
struct lsc_series {
	uint64_t bin_ns;
	uint32_t n;
	uint64_t in[LSC_SERIES_BINS], out[LSC_SERIES_BINS];
};

void lsc_series_add(struct lsc_series *series, uint64_t at_ns, uint64_t in, uint64_t out);

#define LSC_TALLY_STATUSES 600

struct lsc_tally {
	struct lsc_objectives objectives; /* the owner's */
	uint32_t due;                     /* requests in the timetable */
	uint32_t at_once;                 /* most requests under way at once */
	double per_word;                  /* tokens, as prompts were made */

	uint32_t sent, outcomes[LSC_OUTCOME_COUNT], statuses[LSC_TALLY_STATUSES];
	uint32_t waited, silent; /* silent: complete, and not a chunk of text in it */
	uint32_t good;
	uint64_t asked_in, asked_out, in, out; /* tokens of complete answers */
	uint64_t first_left_ns, last_end_ns;
	struct lsc_digest late, wait, ttft, tpot, itl, e2e;
	struct lsc_series series;
};

/* Some hundred KiB, zeroed; free() ends it.  NULL when out of memory. */
struct lsc_tally *lsc_tally_new(void);

void lsc_tally_add(struct lsc_tally *tally, const struct lsc_result *result);

/* Sent, and not complete. */
uint32_t lsc_tally_failed(const struct lsc_tally *tally);

/* Whether a result meets the objectives; seconds a token after the first, or less than 0 for fewer
 * than two tokens. */
bool lsc_result_is_good(const struct lsc_result *result, const struct lsc_objectives *objectives);
double lsc_result_tpot(const struct lsc_result *result);

/* --- as records of lsc-stream(5) and as a table (tally_report.c) --- */

int lsc_result_pack(const struct lsc_result *result, struct lsc_pack *pack);
int lsc_series_pack(const struct lsc_series *series, struct lsc_pack *pack);
int lsc_tally_pack(const struct lsc_tally *tally, struct lsc_pack *pack);
int lsc_tally_table(const struct lsc_tally *tally, struct lsc_buf *buf);

#endif
