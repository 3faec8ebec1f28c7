/* The holder: a process that holds descriptors for a daemon that may be killed.
 *
 * It listens at a socket, for this user alone, and speaks to one daemon at a time, in packets
 * (stream/packet.h) that need no hello, as both are of one build: `put` {name} with a descriptor,
 * `drop` {name}, `list`, which is answered by `held` {name} with a descriptor for each, and `end`;
 * `stop`.  put, drop and stop are answered by `done`.
 */
#ifndef LSC_TIER_HOLD_H
#define LSC_TIER_HOLD_H

#include <sys/types.h>

#include "base/err.h"

/* Serves at a listening socket until it is told to stop: 0. */
int lsc_hold_run(int listener, struct lsc_err *err);

/* Starts one as a process of its own, of no terminal and no parent, that runs `program hold`, and
 * returns when it can be connected to. */
int lsc_hold_start(const char *program, const char *socket, struct lsc_err *err);

/* Connects to one: -ECONNREFUSED or -ENOENT where there is none; -EPERM where it is another
 * user's. */
int lsc_hold_connect(const char *socket, struct lsc_err *err);

#define LSC_HOLD_LISTENER 3 /* the descriptor that `program hold` finds its socket at */

#endif
