/* Streams of records as JSON lines and back (json.h says how a value is written).
 *
 * A record is one line.  The body that follows a record with the key "body" is a line of its own,
 * {"$bin":"..."}, which is never held whole.  Both directions write what they have before they
 * wait for more input, so a stream that is still growing can be followed.
 */
#ifndef LSC_STREAM_LINES_H
#define LSC_STREAM_LINES_H

#include "base/err.h"

/* Of one line that is not a body: more than any record within its limits takes. */
#define LSC_LINE_MAX_BYTES (16u << 20)

/* -EBADMSG names the record, counted from 1, and the byte of the stream where it begins; -EPROTO
 * for a hello of another major version. */
int lsc_lines_from_records(int in, int out, struct lsc_err *err);

/* Lines that are empty but for white space are skipped.  -EBADMSG names the line. */
int lsc_lines_to_records(int in, int out, struct lsc_err *err);

#endif
