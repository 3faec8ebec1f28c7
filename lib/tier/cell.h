/* A cell: one block's bytes in this node's memory.
 *
 * It is a memfd, written once, by whoever brings the block, and sealed when all of it was verified;
 * from then on nobody can write to it any more, its owner included.  Its key is the hash of the
 * block, so that images that share blocks share cells.
 *
 * A lease is a description of the memfd of its own, open for reading alone, with a shared lock
 * (F_OFD_SETLK in fcntl(2)) on it.  Whoever maps it keeps it open thereby, and with it the lock: so
 * the kernel knows who uses a cell, whatever becomes of the processes that talked about it.
 */
#ifndef LSC_TIER_CELL_H
#define LSC_TIER_CELL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"

struct lsc_cell {
	struct lsc_hash key;
	uint64_t bytes; /* of the block */
	uint64_t room;  /* that it takes: whole pages, large ones where it has them */
	int fd;
	bool whole;      /* sealed */
	unsigned users;  /* the images that it is a block of */
	uint32_t number; /* for who lists them */
	struct lsc_cell *next;
};

/* Bytes of memory that one for such a block takes, at most. */
uint64_t lsc_cell_room(uint64_t bytes, bool huge);

/* Whether the system has large pages to give: a reserve of them, or leave to make some. */
bool lsc_cell_has_large_pages(void);

/* A cell to be filled; its pages are taken as it is.  huge: of the system's reserve of large pages,
 * where it has enough; of all NUMA nodes in turn.  It has no user. */
int lsc_cell_new(struct lsc_cell **ret_cell, const struct lsc_hash *key, uint64_t bytes, bool huge,
		 struct lsc_err *err);

/* The same of a memfd that was a cell before, which it owns from now on: -EBADMSG where it is none.
 */
int lsc_cell_adopt(struct lsc_cell **ret_cell, const struct lsc_hash *key, uint64_t bytes, int fd,
		   struct lsc_err *err);

/* All of it is there, and verified.  -EBUSY while somebody has it mapped to write. */
int lsc_cell_seal(struct lsc_cell *cell, struct lsc_err *err);

/* A lease, to be passed on and closed; and a descriptor to fill it by. */
int lsc_cell_lend(const struct lsc_cell *cell, struct lsc_err *err);
int lsc_cell_open(const struct lsc_cell *cell, struct lsc_err *err);

/* Whether anybody has a lease. */
bool lsc_cell_is_lent(const struct lsc_cell *cell);

/* Bytes of memory that it has at the moment. */
uint64_t lsc_cell_taken(const struct lsc_cell *cell);

/* The memory goes with the last lease.  NULL is fine. */
void lsc_cell_free(struct lsc_cell *cell);

#endif
