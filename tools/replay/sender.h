/* Sends the requests of a timetable when they are due, and takes what comes back. */
#ifndef LSC_REPLAY_SENDER_H
#define LSC_REPLAY_SENDER_H

#include <stdbool.h>

#include "load/prompt.h"
#include "load/tally.h"
#include "load/timetable.h"
#include "http.h"

struct replay_job {
	const struct replay_server *server;
	const struct lsc_timetable *table;
	const struct lsc_trace *trace; /* NULL: made up */
	const struct lsc_text *text;
	struct lsc_gauge gauge;
	struct lsc_ask ask;
	uint64_t seed;
	uint32_t max_at_once; /* 0: what descriptors allow */
	struct lsc_tally *tally;

	/* Called for each request that has ended; < 0 ends the replay. */
	int (*on_result)(void *owner, const struct lsc_result *result, struct lsc_err *err);
	void *owner;
};

/* Until every request has ended, or was cut by SIGINT, SIGTERM or SIGHUP: the first stops sending
 * and gives requests under way a few seconds, the second none.  Fills the job's tally. */
int replay_sender_run(struct replay_job *job, struct lsc_err *err);

#endif
