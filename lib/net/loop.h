/* An event loop of one thread: descriptors, timers, deferred calls.
 *
 * Callbacks run from lsc_loop_run().  A watch or timer may be removed from inside any callback,
 * its own included; what it pointed to may then be freed.  A call is deferred by arming a timer
 * with 0: it runs after the watches of this turn.
 */
#ifndef LSC_NET_LOOP_H
#define LSC_NET_LOOP_H

#include <stdint.h>

#include "base/err.h"

struct lsc_loop;

int lsc_loop_new(struct lsc_loop **ret_loop, struct lsc_err *err);

/* Watches and timers are removed by their owners before; NULL is fine. */
void lsc_loop_free(struct lsc_loop *loop);

/* Called by lsc_loop_free() first of all, for what has no other owner (a link that is still
 * sending its last bytes).  The caller owns the hook's memory. */
struct lsc_loop_hook {
	void (*fn)(void *data);
	void *data;
	struct lsc_loop_hook *next, *previous;
};

void lsc_loop_hook(struct lsc_loop *loop, struct lsc_loop_hook *hook);
void lsc_loop_unhook(struct lsc_loop *loop, struct lsc_loop_hook *hook);

/* events and what happened are EPOLLIN, EPOLLOUT (hang-ups and errors come as both). */
typedef void lsc_watch_fn(void *data, uint32_t events);
struct lsc_watch;

int lsc_loop_watch(struct lsc_loop *loop, int fd, uint32_t events, lsc_watch_fn *fn, void *data,
		   struct lsc_watch **ret_watch, struct lsc_err *err);
int lsc_watch_modify(struct lsc_watch *watch, uint32_t events);
void lsc_watch_remove(struct lsc_watch *watch); /* NULL is fine; the fd stays open */

typedef void lsc_timer_fn(void *data);
struct lsc_timer;

/* A timer that is not armed; it fires once each time it is armed. */
int lsc_timer_new(struct lsc_loop *loop, lsc_timer_fn *fn, void *data, struct lsc_timer **ret_timer,
		  struct lsc_err *err);
void lsc_timer_arm(struct lsc_timer *timer, uint64_t after_ns);
void lsc_timer_disarm(struct lsc_timer *timer);
void lsc_timer_free(struct lsc_timer *timer);

/* Runs until lsc_loop_stop(); returns the value stop was given.  result < 0: negative errno. */
int lsc_loop_run(struct lsc_loop *loop, struct lsc_err *err);
void lsc_loop_stop(struct lsc_loop *loop, int result);

/* One turn for tests: waits at most timeout_ms for something, runs it; the number of callbacks. */
int lsc_loop_turn(struct lsc_loop *loop, int timeout_ms, struct lsc_err *err);

/* Calls fn from the loop when one of these signals comes (they are blocked for the thread).  What
 * is ignored by then stays ignored, as nohup(1) wants it; but for SIGCHLD. */
int lsc_loop_signals(struct lsc_loop *loop, const int *signals, unsigned n,
		     void (*fn)(void *data, int signal), void *data, struct lsc_err *err);

#endif
