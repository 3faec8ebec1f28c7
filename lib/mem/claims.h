/* Claims: who brings which block of an image that more than one fill at once.
 *
 * A disk and a cast may fill one image together: who claims a block brings all of it that is
 * missing, and the other one leaves it alone.  The claims are words in the table of marks
 * (mem/marks.h), taken and dropped without a lock or a system call; any process that maps the table
 * may have its own set, and so may several in one process.
 *
 * A claim says nothing of what is there: marks do.  Who claims a block looks at its pieces then,
 * and brings those that are not marked.  A claim on a block that is whole means nothing, and stays.
 *
 * Who dies with claims held loses them: each set holds a lock on the table's file, which the kernel
 * lifts (no matter in which namespace whose process ids count), and others find it out and free its
 * blocks by lsc_claims_bury().
 */
#ifndef LSC_MEM_CLAIMS_H
#define LSC_MEM_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct lsc_claims;
struct lsc_marks;

enum lsc_claim {
	LSC_CLAIM_NONE,
	LSC_CLAIM_DISK,
	LSC_CLAIM_CAST,
};

/* kind is what it claims for.  marks are mapped, with claims, for as long as it lives; fd is of
 * their file, and the caller's: it is opened once more, for writing.  -EOPNOTSUPP where the table
 * has no claims, -EBADMSG where it is cut, -EBUSY with 250 others at work. */
int lsc_claims_open(struct lsc_claims **ret_claims, struct lsc_marks *marks, int fd,
		    enum lsc_claim kind, struct lsc_err *err);

/* How many blocks the table had when it was opened: what is claimed is below that. */
uint32_t lsc_claims_blocks(const struct lsc_claims *claims);

/* Drops all it has; NULL is fine. */
void lsc_claims_close(struct lsc_claims *claims);

/* Whether the block is its own from now on, or was already.  Any thread may call this and the
 * next; threads that share a set agree by themselves. */
bool lsc_claims_take(struct lsc_claims *claims, uint32_t block);

/* Takes a block that another one has and does not get on with.  What that one had asked for may
 * still come, over what is brought meanwhile: it is the same bytes, unless its disk is wrong as
 * well as slow, which it finds out and says (tier/load.h). */
void lsc_claims_seize(struct lsc_claims *claims, uint32_t block);

/* Frees a block of its own, and wakes those who wait for marks: someone else may bring it. */
void lsc_claims_drop(struct lsc_claims *claims, uint32_t block);

bool lsc_claims_has(const struct lsc_claims *claims, uint32_t block); /* its own */

/* Whose a block is, of the table that anyone maps; *ret_pid is of the process that claimed it, in
 * its namespace, for words. */
enum lsc_claim lsc_claims_of(struct lsc_marks *marks, uint32_t block, uint32_t *ret_pid);

/* Frees blocks of those who died: returns how many.  To be called some times a second by who waits
 * for others: one is buried when it was dead at two calls, LSC_CLAIMS_GRACE_NS apart at least,
 * since a read that it had asked for may still land where it was to.  One thread calls this. */
#define LSC_CLAIMS_GRACE_NS 200000000u
uint32_t lsc_claims_bury(struct lsc_claims *claims);

#endif
