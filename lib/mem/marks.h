/* Marks: which pieces of an image are there, in memory that processes share.
 *
 * The table is the file `arrivals` of an image that is on its way, mapped.  The receiver alone
 * writes it, or, where it has a claim a block, whoever claims a block marks its pieces (claims.h);
 * any number may look and wait.  Marking is a release store, seeing a mark an acquire load: who
 * sees a piece marked sees its bytes.
 *
 * A table without claims is of version 1, one with them of version 2: the claims lie behind the
 * rest.
 */
#ifndef LSC_MEM_MARKS_H
#define LSC_MEM_MARKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LSC_MARKS_MAX_PIECES (1u << 22)
#define LSC_MARKS_MAX_BLOCKS (1u << 16)

struct lsc_marks; /* at the start of the mapping */

enum lsc_marks_state {
	LSC_MARKS_ARRIVING,
	LSC_MARKS_COMMITTED,
	LSC_MARKS_DISCARDED,
};

/* Of a table for so many pieces, and claims for so many blocks (0: none). */
size_t lsc_marks_bytes(uint32_t n_pieces, uint32_t n_blocks);

/* The receiver's: makes an empty table of what is mapped, or takes up the one that is there, where
 * it is of so many pieces and blocks, still arriving, and was marked since this machine's last
 * boot. Nobody else marks at that time. */
void lsc_marks_start(struct lsc_marks *marks, uint32_t n_pieces, uint32_t n_blocks);
bool lsc_marks_take_up(struct lsc_marks *marks, uint32_t n_pieces, uint32_t n_blocks);

/* Marks a piece, or ends it all, and wakes those who wait.  Of several threads or processes that
 * mark a piece, one is told that it was the first. */
bool lsc_marks_set(struct lsc_marks *marks, uint32_t piece);
void lsc_marks_end(struct lsc_marks *marks, enum lsc_marks_state state);

/* A user's, of a mapping of len bytes: -EBADMSG, -EPROTO for another version. dir is for words. */
int lsc_marks_check(const struct lsc_marks *marks, size_t len, const char *dir,
		    struct lsc_err *err);
uint32_t lsc_marks_pieces(const struct lsc_marks *marks);
uint32_t lsc_marks_blocks(const struct lsc_marks *marks); /* with claims; 0: there are none */
enum lsc_marks_state lsc_marks_state(const struct lsc_marks *marks);

/* The words of claims.c, one a block, and its note to others that one has changed; wake: they may
 * be asleep, and have something to do. */
_Atomic uint32_t *lsc_marks_claims(struct lsc_marks *marks, uint32_t n_pieces);
void lsc_marks_note(struct lsc_marks *marks, bool wake);

bool lsc_marks_has(const struct lsc_marks *marks, uint32_t piece);
uint64_t lsc_marks_word(const struct lsc_marks *marks, uint32_t word); /* 64 pieces (base/bits.h) */
uint32_t lsc_marks_count(const struct lsc_marks *marks);

/* A number that changes with each mark and claim, and a wait until it is no longer seen: 0,
 * -ETIMEDOUT (timeout_ms < 0: forever), -EPIPE when it was discarded. */
uint32_t lsc_marks_generation(const struct lsc_marks *marks);
int lsc_marks_wait(struct lsc_marks *marks, uint32_t seen, int timeout_ms);

#endif
