/* Marks: which pieces of an image are there, in memory that processes share.
 *
 * The table is the file `arrivals` of an image that is on its way, mapped.  The receiver alone
 * writes it; any number may look and wait.  Marking is a release store, seeing a mark an acquire
 * load: who sees a piece marked sees its bytes.
 */
#ifndef LSC_MEM_MARKS_H
#define LSC_MEM_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LSC_MARKS_MAX_PIECES (1u << 22)

struct lsc_marks; /* at the start of the mapping */

enum lsc_marks_state {
	LSC_MARKS_ARRIVING,
	LSC_MARKS_COMMITTED,
	LSC_MARKS_DISCARDED,
};

/* Of a table for so many pieces. */
size_t lsc_marks_bytes(uint32_t n_pieces);

/* The receiver's: makes an empty table of what is mapped, or takes up the one that is there, where
 * it is of so many pieces, still arriving, and was marked since this machine's last boot. */
void lsc_marks_start(struct lsc_marks *marks, uint32_t n_pieces);
bool lsc_marks_take_up(struct lsc_marks *marks, uint32_t n_pieces);

/* Marks a piece, or ends it all, and wakes those who wait. */
void lsc_marks_set(struct lsc_marks *marks, uint32_t piece);
void lsc_marks_end(struct lsc_marks *marks, enum lsc_marks_state state);

/* A user's, of a mapping of len bytes: -EBADMSG, -EPROTO for another version. dir is for words. */
int lsc_marks_check(const struct lsc_marks *marks, size_t len, const char *dir,
		    struct lsc_err *err);
uint32_t lsc_marks_pieces(const struct lsc_marks *marks);

bool lsc_marks_has(const struct lsc_marks *marks, uint32_t piece);
uint32_t lsc_marks_count(const struct lsc_marks *marks);

/* A number that changes with each mark, and a wait until it is no longer seen: 0, -ETIMEDOUT
 * (timeout_ms < 0: forever), -EPIPE when it was discarded. */
uint32_t lsc_marks_generation(const struct lsc_marks *marks);
int lsc_marks_wait(struct lsc_marks *marks, uint32_t seen, int timeout_ms);

#endif
