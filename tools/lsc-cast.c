/* lsc-cast - send an image to many nodes at once; receive one
 *
 * `send` coordinates a cast and is a source of it, `serve` is what runs on every other node.  What
 * a cast does is decided in lib/cast/cast.c, what a node does in lib/cast/host.c; who sends what
 * to whom in lib/plan/ring.c and lib/plan/schedule.c, how nodes are started in lib/send/launch.c.
 * Each subcommand is a file in tools/cast/.
 */
#include <sys/resource.h>

#include "base/macros.h"
#include "cast/commands.h"
#include "cli/tool.h"

/* A node of a cast is a descriptor at its coordinator, and so is a caller at a node: as many as may
 * be had are asked for. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	static const struct lsc_command commands[] = {
		{"keygen", lsc_cast_keygen_main, "make a key file that nodes are to share"},
		{"send", lsc_cast_send_main, "send an image to many nodes at once"},
		{"serve", lsc_cast_serve_main,
		 "take part in casts: receive images, or be a source"},
	};

	raise_fd_limit();
	return lsc_tool_dispatch("lsc-cast", "Send an image to many nodes at once; receive one.",
				 commands, LSC_ARRAY_SIZE(commands), argc, argv);
}
