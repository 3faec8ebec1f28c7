/* lsc-cast serve - take part in casts: receive images, and be a source of those that are here
 *
 * What a node does is decided in lib/cast/host.c.  This runs it until a signal comes, or standard
 * input ends.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "cast/host.h"
#include "send/names.h"
#include "cli/serve.h"
#include "cli/tool.h"
#include "commands.h"
#include "net/access.h"

struct serve_options {
	const char *dir;
	const char *exec;
	struct lsc_access access;
	struct lsc_serve serve;
	enum lsc_transport transport;
	bool exit_with_stdin;
};

enum {
	KEY_STDIN = 0x100,
	KEY_TRANSPORT,
};

static const struct argp_option serve_table[] = {
	{"dir", 'd', "DIR", 0, "Receive images into DIR, and be a source of those in it", 0},
	{"exec", 'x', "HOST:PORT", 0, "Say that this node's stage worker listens there", 0},
	LSC_ACCESS_ROWS,
	{"exit-with-stdin", KEY_STDIN, NULL, 0, "End when standard input does", 0},
	{"transport", KEY_TRANSPORT, "HOW", 0,
	 "Take data over auto, tcp or rdma (default auto: RDMA, too, where there is a device)", 0},
	LSC_SERVE_ROWS("127.0.0.1:7000"),
	{0},
};

static error_t parse_serve(int key, char *arg, struct argp_state *state)
{
	struct serve_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;

	switch (key) {
	case KEY_STDIN:
		opt->exit_with_stdin = true;
		return 0;
	case KEY_TRANSPORT:
		lsc_tool_check(state, lsc_transport_parse(arg, &opt->transport, &err), &err);
		return 0;
	case 'd':
		opt->dir = arg;
		return 0;
	case 'x':
		opt->exec = arg;
		lsc_tool_check(state, lsc_name_check_worker(arg, &err), &err);
		return 0;
	case ARGP_KEY_END:
		if (!opt->dir)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--dir is missing");
		return 0;
	default:
		if (lsc_serve_option(&opt->serve, key, arg, state) ||
		    lsc_access_option(&opt->access, key, arg))
			return 0;
		return ARGP_ERR_UNKNOWN;
	}
}

static void stop_serving(void *data, int number)
{
	lsc_info("ended by signal %d", number);
	lsc_loop_stop(data, 0);
}

/* Whoever started us is there as long as our standard input is. */
static void on_stdin(void *data, uint32_t events)
{
	char nothing[256];
	ssize_t n = read(STDIN_FILENO, nothing, sizeof(nothing));

	(void)events;
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	lsc_info("ended with standard input");
	lsc_loop_stop(data, 0);
}

static int serve(const struct serve_options *opt, struct lsc_loop *loop, struct lsc_err *err)
{
	struct lsc_host_options options = {.dir = opt->dir,
					   .exec = opt->exec,
					   .key = opt->access.key,
					   .transport = opt->transport};
	struct lsc_watch *input = NULL;
	struct lsc_host *host;
	int r;

	r = lsc_endpoint_parse(&options.listen, opt->serve.listen, err);
	if (r == 0)
		r = lsc_access_check(&opt->access, &options.listen, err);
	if (r == 0)
		r = lsc_loop_signals(loop, (int[]){SIGTERM, SIGINT, SIGHUP}, 3, stop_serving, loop,
				     err);
	if (r == 0)
		r = lsc_host_open(&host, loop, &options, err);
	if (r < 0)
		return r;
	if (opt->exit_with_stdin)
		r = lsc_loop_watch(loop, STDIN_FILENO, EPOLLIN, on_stdin, loop, &input, err);
	lsc_info("serving '%s' at %s", opt->dir, lsc_host_address(host));
	if (!opt->access.key)
		lsc_serve_warn(lsc_host_address(host), "send images here and read them");
	if (r == 0)
		r = lsc_serve_ready(opt->serve.ready_fd, lsc_host_address(host), err);
	if (r == 0)
		r = lsc_loop_run(loop, err);
	lsc_watch_remove(input);
	lsc_host_close(host);
	return r;
}

int lsc_cast_serve_main(int argc, char **argv)
{
	static const struct argp argp = {
		serve_table,
		parse_serve,
		NULL,
		"Take part in casts: receive images, and be a source of those that are here.",
		NULL,
		NULL,
		NULL,
	};
	struct serve_options opt = {.serve = {"127.0.0.1:7000", -1}};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_loop *loop = NULL;
	int r;

	lsc_tool_parse(&argp, argc, argv, &opt);
	r = lsc_access_open(&opt.access, &err);
	if (r == 0)
		r = lsc_loop_new(&loop, &err);
	if (r == 0)
		r = serve(&opt, loop, &err);
	lsc_loop_free(loop);
	lsc_access_close(&opt.access);
	return lsc_tool_finish(r, &err);
}
