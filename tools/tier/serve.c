/* lsc-tier serve, lsc-tier hold - the daemon of a node's images, and who keeps its memory */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/parse.h"
#include "cli/serve.h"
#include "cli/tool.h"
#include "commands.h"
#include "net/loop.h"
#include "tier/hold.h"
#include "tier/server.h"

#define KEEP_ALIVE_S 300.0

struct serve_options {
	const char *tier, *dir;
	uint64_t host_bytes, disk_bytes;
	double keep_alive_s;
	bool no_huge, leave;
	int ready_fd;
	struct lsc_rights rights;
};

enum { KEY_HOST = 0x200, KEY_DISK, KEY_KEEP, KEY_HUGE, KEY_ALLOW, KEY_LEAVE };

static const struct argp_option serve_table[] = {
	{"allow", KEY_ALLOW, "RIGHT:WHO", 0,
	 "Let others read, write or manage: read:alice, write:@gpu, read:all", 0},
	{"dir", 'd', "DIR", 0, "Images on disk are in DIR", 0},
	{"disk", KEY_DISK, "SIZE", 0,
	 "Write images to disk up to that; 0: none, they may be lost (default: what is there)", 0},
	{"host-mem", KEY_HOST, "SIZE", 0, "Use so much memory (default: half of what is there)", 0},
	{"keep-alive", KEY_KEEP, "TIME", 0,
	 "Keep images so long after their last use, if there is room (default 5min)", 0},
	{"no-huge-pages", KEY_HUGE, NULL, 0, "Take no large pages from the system's reserve", 0},
	{"leave", KEY_LEAVE, NULL, 0, "Leave images in memory when it ends, for the next tier", 0},
	{"ready-fd", 'R', "N", 0, "Write the address to descriptor N once listening", 0},
	TIER_ROW,
	{0},
};

static error_t parse_serve(int key, char *arg, struct argp_state *state)
{
	struct serve_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t number;

	switch (key) {
	case KEY_ALLOW:
		lsc_tool_check(state, lsc_rights_add(&opt->rights, arg, &err), &err);
		return 0;
	case 'd':
		opt->dir = arg;
		return 0;
	case KEY_HOST:
		lsc_tool_check(state, lsc_parse_size(arg, &opt->host_bytes, &err), &err);
		return 0;
	case KEY_DISK:
		lsc_tool_check(state, lsc_parse_size(arg, &opt->disk_bytes, &err), &err);
		return 0;
	case KEY_HUGE:
		opt->no_huge = true;
		return 0;
	case KEY_KEEP:
		lsc_tool_check(state, lsc_parse_duration(arg, &opt->keep_alive_s, &err), &err);
		return 0;
	case KEY_LEAVE:
		opt->leave = true;
		return 0;
	case 'R':
		lsc_tool_check(state, lsc_parse_uint(arg, 0, 1 << 20, &number, &err), &err);
		opt->ready_fd = (int)number;
		return 0;
	case 'T':
		opt->tier = arg;
		return 0;
	case ARGP_KEY_END:
		if (!opt->dir)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--dir is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void stop_serving(void *data, int number)
{
	lsc_info("ended by signal %d", number);
	lsc_loop_stop(data, 0);
}

static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static uint64_t half_of_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) / 2 * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int serve(const struct serve_options *opt, struct lsc_loop *loop, struct lsc_err *err)
{
	const char *address = tier_address(opt->tier);
	char hold[PATH_MAX];
	struct lsc_server_options options = {
		.socket = address + strlen("unix:"),
		.rights = &opt->rights,
		.stock = {.dir = opt->dir,
			  .host_bytes = opt->host_bytes ? opt->host_bytes : half_of_memory(),
			  .disk_bytes = opt->disk_bytes,
			  .keep_alive_ns = (uint64_t)(opt->keep_alive_s * 1e9),
			  .huge = !opt->no_huge && lsc_cell_has_large_pages()},
	};
	struct lsc_server *server;
	int r;

	if (!lsc_lender_is(address))
		return lsc_err_set(err, EINVAL, "'%s' is nowhere to listen at (unix:PATH)",
				   address);
	snprintf(hold, sizeof(hold), "%s.hold", options.socket);
	options.stock.hold = lsc_keep_has_systemd() ? NULL : hold;
	r = lsc_loop_signals(loop, (int[]){SIGTERM, SIGINT, SIGHUP}, 3, stop_serving, loop, err);
	if (r == 0)
		r = lsc_server_open(&server, loop, &options, err);
	if (r < 0)
		return r;
	lsc_info("serving '%s' at %s", opt->dir, address);
	lsc_keep_notify("READY=1");
	r = lsc_serve_ready(opt->ready_fd, address, err);
	if (r == 0)
		r = lsc_loop_run(loop, err);
	lsc_server_close(server, opt->leave || r < 0);
	return r;
}

int lsc_tier_serve_main(int argc, char **argv)
{
	static const struct argp argp = {serve_table,
					 parse_serve,
					 NULL,
					 "Be the tier of this node: keep images in memory "
					 "and on disk, and lend them.",
					 NULL,
					 NULL,
					 NULL};
	struct serve_options opt = {
		.ready_fd = -1, .keep_alive_s = KEEP_ALIVE_S, .disk_bytes = UINT64_MAX};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_loop *loop = NULL;
	int r;

	lsc_tool_parse(&argp, argc, argv, &opt);
	raise_fd_limit();
	r = lsc_loop_new(&loop, &err);
	if (r == 0)
		r = serve(&opt, loop, &err);
	lsc_loop_free(loop);
	return lsc_tool_finish(r, &err);
}

int lsc_tier_hold_main(int argc, char **argv)
{
	static const struct argp argp = {
		NULL, NULL, NULL, "Hold memory for a tier, which starts this by itself.",
		NULL, NULL, NULL};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, NULL);
	return lsc_tool_finish(lsc_hold_run(LSC_HOLD_LISTENER, &err), &err);
}
