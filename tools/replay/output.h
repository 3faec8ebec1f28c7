/* Where lsc-replay writes: records of what happens, a timetable, a report. */
#ifndef LSC_REPLAY_OUTPUT_H
#define LSC_REPLAY_OUTPUT_H

#include <stdbool.h>

#include "base/buf.h"
#include "load/tally.h"
#include "load/timetable.h"
#include "stream/record.h"

/* A stream of records to a file, or (json) of JSON lines. */
struct replay_output {
	int fd; /* -1: nowhere */
	bool owned, json;
	struct lsc_pack pack;
	struct lsc_buf text;
	uint64_t flushed_ns;
};

#define REPLAY_OUTPUT_INIT                                                                         \
	{                                                                                          \
		-1, false, false, LSC_PACK_INIT, LSC_BUF_INIT, 0                                   \
	}

/* path: a file that is made or emptied, or "-".  -EINVAL for records to a terminal without force.
 */
int replay_output_open(struct replay_output *output, const char *path, bool json, bool force,
		       struct lsc_err *err);

/* What was added is written at the latest here: flushes first. */
int replay_output_close(struct replay_output *output, struct lsc_err *err);
void replay_output_release(struct replay_output *output);

/* What packed says of the record in output->pack: adds it. */
int replay_output_put(struct replay_output *output, int packed, struct lsc_err *err);

/* Adds the timetable: a record "due" for each request. */
int replay_output_timetable(struct replay_output *output, const struct lsc_timetable *table,
			    const struct lsc_trace *trace, struct lsc_err *err);

/* The report on standard output, as a table or a line of JSON. */
int replay_print(const struct lsc_tally *tally, bool json, struct lsc_err *err);

int replay_draw(const struct lsc_tally *tally, const char *path, struct lsc_err *err);

#endif
