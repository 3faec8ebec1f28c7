/* Write-back: a file that is filled in parts goes to the disk while the rest is still to come, so
 * that syncing it in the end has little left to do.
 *
 * It is advice: what fails here, or was not told, is left to the sync.  Where there is no disk, as
 * on tmpfs, it does nothing.
 */
#ifndef LSC_MEM_WRITEBACK_H
#define LSC_MEM_WRITEBACK_H

#include <stdbool.h>
#include <stdint.h>

struct lsc_writeback;

/* For a file of so many bytes; the descriptor stays the caller's.  NULL when out of memory or
 * threads, which the other calls take. */
struct lsc_writeback *lsc_writeback_start(int fd, uint64_t bytes);

/* These bytes are there, for the first time. */
void lsc_writeback_add(struct lsc_writeback *writeback, uint64_t offset, uint64_t len);

/* Bytes that have been handed to the disk so far. */
uint64_t lsc_writeback_done(struct lsc_writeback *writeback);

/* Frees it.  The thread may be at work a little longer, on a descriptor of its own. */
void lsc_writeback_stop(struct lsc_writeback *writeback);

#endif
