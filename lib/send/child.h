/* A program that we run: what it writes, line by line, and that it ended.
 *
 * It has a process group of its own, which is what signals go to, a pipe for each of its three
 * standard descriptors, and the signals as programs expect them.
 */
#ifndef LSC_SEND_CHILD_H
#define LSC_SEND_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "net/loop.h"

struct lsc_child;

/* From the loop.  A line is the callee's to change, and has no 0 and no line break in it; what was
 * written before the end comes before on_end, which comes once, with what waitpid() says. */
struct lsc_child_events {
	void (*on_out)(void *data, char *line);
	void (*on_err)(void *data, char *line);
	void (*on_end)(void *data, int status);
};

/* Looks for argv[0] in PATH.  variable: "NAME=value" beside our environment, or NULL. */
int lsc_child_start(struct lsc_child **ret_child, struct lsc_loop *loop, char *const argv[],
		    const char *variable, const struct lsc_child_events *events, void *data,
		    struct lsc_err *err);

/* To its standard input, which takes 4096 bytes at once, as long as it has read none. */
int lsc_child_write(struct lsc_child *child, const void *data, size_t len, struct lsc_err *err);
void lsc_child_close_input(struct lsc_child *child);

/* To its process group, as long as the program was not seen to end. */
void lsc_child_signal(struct lsc_child *child, int number);

/* Looks, without waiting; for when the loop does not run any more. */
bool lsc_child_has_ended(struct lsc_child *child);

/* Does not end it.  NULL is fine. */
void lsc_child_free(struct lsc_child *child);

#endif
