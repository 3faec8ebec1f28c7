/* Where descriptors outlive the daemon: memory that nobody else has open would go with it.
 *
 * Either a process of its own holds them, which does nothing else (hold.h), or systemd's store of
 * descriptors does, where the daemon is a service that has one (sd_notify(3), FDSTORE).  Each has a
 * name, of letters, digits, '-' and '.', LSC_KEEP_NAME - 1 at most.
 */
#ifndef LSC_TIER_KEEP_H
#define LSC_TIER_KEEP_H

#include <stdbool.h>

#include "base/err.h"

#define LSC_KEEP_NAME 128

struct lsc_keep;

/* socket: where the holder listens; one that does already is taken up, with what it holds.  NULL:
 * systemd's, by NOTIFY_SOCKET.  fn gets each descriptor that is there, as its own, before this
 * returns; what it returns below 0 ends that, and is returned. */
int lsc_keep_open(struct lsc_keep **ret_keep, const char *socket,
		  int (*fn)(void *data, const char *name, int fd), void *data, struct lsc_err *err);

/* Whether systemd started this process with a place to keep descriptors. */
bool lsc_keep_has_systemd(void);

/* Keeps a duplicate of fd, in place of what had that name; and lets it go. */
int lsc_keep_put(struct lsc_keep *keep, const char *name, int fd, struct lsc_err *err);
int lsc_keep_drop(struct lsc_keep *keep, const char *name, struct lsc_err *err);

/* The two above say -EPIPE or -ECONNRESET where the holder has ended; and this is readable then (-1
 * where it is systemd).  Another one holds nothing at first. */
int lsc_keep_fd(const struct lsc_keep *keep);
int lsc_keep_again(struct lsc_keep *keep, struct lsc_err *err);

/* leave: what is kept stays, for the next daemon; else it goes, and the holder with it.  NULL is
 * fine. */
void lsc_keep_close(struct lsc_keep *keep, bool leave);

/* Tells systemd something of this service, if it wants to know. */
void lsc_keep_notify(const char *state);

#endif
