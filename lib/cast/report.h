/* The arrival records of a cast: a stream of kind "arrivals" (lsc-stream(5)).
 *
 * Each record is written at once.  A reader that is slow does not hold up the cast: what a pipe
 * does not take is kept, up to a limit, and tried again.  A reader that goes away is no reason to
 * stop either; nothing is written any more then, and lsc_report_lost() says why.
 */
#ifndef LSC_CAST_REPORT_H
#define LSC_CAST_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/loop.h"
#include "stream/record.h"

struct lsc_report {
	int fd;    /* -1: nobody wants to know */
	bool json; /* lines, as lsc-msg(1) writes them */
	uint64_t start_ns;
	int lost; /* errno: why records were not written; 0 */
	struct lsc_buf waiting;
	size_t written; /* of waiting */
	struct lsc_pack pack;
	struct lsc_timer *again;
};

#define LSC_REPORT_INIT                                                                            \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* fd is borrowed.  Writes the hello; times count from now. */
int lsc_report_init(struct lsc_report *report, struct lsc_loop *loop, int fd, bool json,
		    struct lsc_err *err);
void lsc_report_release(struct lsc_report *report);

/* Begins a record of this type with its "t"; put more keys into the pack it returns. */
struct lsc_pack *lsc_report_begin(struct lsc_report *report, const char *type);
void lsc_report_end(struct lsc_report *report);

/* Whether some are kept that the reader has not taken yet. */
bool lsc_report_is_waiting(const struct lsc_report *report);

/* Writes no more; code is what lsc_report_lost() says of it where some were kept. */
void lsc_report_drop(struct lsc_report *report, int code);

/* Why records did not reach the reader: errno, 0 where all did. */
int lsc_report_lost(const struct lsc_report *report);

double lsc_report_seconds(const struct lsc_report *report);

#endif
