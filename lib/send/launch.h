/* Starting a program on nodes, for as long as it is wanted there: by ssh, srun, or a command.
 *
 * A program is started for each node (one for all of them with srun), at most LSC_LAUNCH_AT_ONCE at
 * a time until their nodes have said where they listen: a line on standard output of nothing but
 * HOST:PORT, where HOST is 0.0.0.0, :: or the node's own, of which the first one counts.  What they
 * write to standard error is kept for the words when one fails, and logged at -v.
 *
 * Standard input stays open as long as the node is wanted: `lsc-cast serve --exit-with-stdin` ends
 * when it ends, however that comes about, so that nothing is left behind when we are killed or a
 * connection breaks.  Something to read there may come first.
 *
 * Programs have process groups of their own, and no others are ever signalled.
 */
#ifndef LSC_SEND_LAUNCH_H
#define LSC_SEND_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"

#define LSC_LAUNCH_AT_ONCE 32

struct lsc_launch;

/* All of it is borrowed for the life of the launch. */
struct lsc_launch_options {
	const char *how;         /* "ssh", "srun", or a command line that the program and its
				  * arguments follow, for sh; {} in it is the node's host, as is
				  * $LSC_NODE */
	char *const *hosts;      /* as lsc_name_host() gives them */
	uint32_t n;              /* of these */
	const char *const *argv; /* the program, as the nodes know it, and its arguments; {} in an
				  * argument is the node's host, {any} all of its addresses */
	size_t n_argv;
	const void *input; /* for the standard input of each */
	size_t input_len;  /* up to LSC_LAUNCH_MAX_INPUT */
	uint64_t timeout_ns;
	uint64_t end_ns; /* to end in when that does; 0: 4 s */

	/* Once, from the loop: each node has an address, or a reason why it has none. */
	void (*on_done)(void *data);
	/* From the loop: a node that had an address has ended.  NULL: nobody asks. */
	void (*on_gone)(void *data, uint32_t node, const char *why);
	void *data;
};

#define LSC_LAUNCH_MAX_INPUT 4096

int lsc_launch_start(struct lsc_launch **ret_launch, struct lsc_loop *loop,
		     const struct lsc_launch_options *options, struct lsc_err *err);

/* HOST:PORT, or NULL: then lsc_launch_why(). */
const char *lsc_launch_address(const struct lsc_launch *launch, uint32_t node);
const char *lsc_launch_why(const struct lsc_launch *launch, uint32_t node);

/* Tells all to end, and waits for them for some seconds, then ends what is left of their process
 * groups here.  NULL is fine. */
void lsc_launch_free(struct lsc_launch *launch);

#endif
