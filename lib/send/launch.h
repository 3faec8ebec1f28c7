/* Starting `lsc-cast serve` on nodes, for the time of one cast: by ssh, srun, or a command.
 *
 * A program is started for each node (one for all of them with srun), at most LSC_LAUNCH_AT_ONCE at
 * a time until their nodes have said where they listen; that line comes over standard output.  What
 * they write to standard error is kept for the words when one fails, and logged at -v.
 *
 * Standard input stays open as long as the node is wanted: `serve --exit-with-stdin` ends when it
 * ends, however that comes about, so that nothing is left behind when we are killed or a connection
 * breaks.  Something for serve to read there may come first.
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
	const char *how;         /* "ssh", "srun", or a command line that `serve` and its arguments
				  * follow, for sh; {} in it is the node's host, as is $LSC_NODE */
	char *const *hosts;      /* as lsc_name_host() gives them */
	uint32_t n;              /* of these */
	const char *program;     /* lsc-cast, as the nodes know it */
	const char *dir;         /* for images; {} in it is the node's host */
	uint16_t port;           /* where to listen; 0: a free one */
	const char *const *more; /* arguments of serve */
	size_t n_more;
	const void *input; /* for the standard input of each */
	size_t input_len;  /* up to LSC_LAUNCH_MAX_INPUT */
	uint64_t timeout_ns;

	/* Once, from the loop: each node has an address, or a reason why it has none. */
	void (*on_done)(void *data);
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
