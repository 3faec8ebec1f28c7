/* The arrival records of a cast: a stream of kind "arrivals" (lsc-stream(5)).
 *
 * Each record is written at once.  A reader that is slow does not hold up the cast: what a pipe
 * does not take is kept and tried again.  A reader that goes away is no reason to stop either;
 * nothing is written any more then.
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
	int fd; /* -1: nobody wants to know */
	uint64_t start_ns;
	struct lsc_buf waiting;
	struct lsc_pack pack;
	struct lsc_timer *again;
};

#define LSC_REPORT_INIT                                                                            \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* fd is borrowed.  Writes the hello; times count from now. */
int lsc_report_init(struct lsc_report *report, struct lsc_loop *loop, int fd, struct lsc_err *err);
void lsc_report_release(struct lsc_report *report);

/* Begins a record of this type with its "t"; put more keys into the pack it returns. */
struct lsc_pack *lsc_report_begin(struct lsc_report *report, const char *type);
void lsc_report_end(struct lsc_report *report);

/* Writes what is kept, waiting for the reader. */
void lsc_report_flush(struct lsc_report *report);

double lsc_report_seconds(const struct lsc_report *report);

#endif
