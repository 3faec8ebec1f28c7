/* lsc-exec serve - a stage worker: runs units for whatever routes pass through here
 *
 * What a worker does is in lib/stage/worker.h.  This runs it until a signal comes: SIGTERM lets it
 * finish what it has, for a while; another, or any other signal, ends it at once.
 */
#include <signal.h>

#include "base/log.h"
#include "base/parse.h"
#include "cli/serve.h"
#include "cli/tool.h"
#include "commands.h"
#include "net/access.h"
#include "net/loop.h"
#include "options.h"
#include "stage/worker.h"

struct serve_options {
	const char *dir;
	struct lsc_engine_options engine;
	struct exec_device device;
	struct lsc_access access;
	struct lsc_serve serve;
	double drain_s;
};

struct serving {
	const struct serve_options *opt;
	struct lsc_loop *loop;
	struct lsc_worker *worker;
	bool leaving;
};

enum { KEY_DRAIN = 0x1100 };

static const struct argp_option serve_table[] = {
	{"dir", 'd', "DIR", 0, "Run the images that are in DIR, or arrive there", 0},
	{"drain-timeout", KEY_DRAIN, "TIME", 0,
	 "After SIGTERM finish requests for so long at most (default 20s)", 0},
	LSC_ACCESS_ROWS,
	LSC_SERVE_ROWS("127.0.0.1:7001"),
	EXEC_ENGINE_ROWS,
	{0},
};

static error_t parse_serve(int key, char *arg, struct argp_state *state)
{
	struct serve_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;

	switch (key) {
	case 'd':
		opt->dir = arg;
		return 0;
	case KEY_DRAIN:
		lsc_tool_check(state, lsc_parse_duration(arg, &opt->drain_s, &err), &err);
		return 0;
	case ARGP_KEY_END:
		if (!opt->dir)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--dir is missing");
		return 0;
	default:
		if (exec_engine_option(&opt->engine, key, arg, state) ||
		    exec_device_option(&opt->device, key, arg, state) ||
		    lsc_serve_option(&opt->serve, key, arg, state) ||
		    lsc_access_option(&opt->access, key, arg))
			return 0;
		return ARGP_ERR_UNKNOWN;
	}
}

static void on_left(void *data)
{
	lsc_loop_stop(data, 0);
}

static void on_signal(void *data, int number)
{
	struct serving *serving = data;
	struct lsc_err err = LSC_ERR_INIT;

	if (number == SIGTERM && !serving->leaving) {
		serving->leaving = true;
		lsc_info("leaving, within %g s", serving->opt->drain_s);
		if (lsc_worker_leave(serving->worker, (uint64_t)(serving->opt->drain_s * 1e9),
				     on_left, serving->loop, &err) == 0)
			return;
	}
	lsc_info("ended by signal %d", number);
	lsc_loop_stop(serving->loop, 0);
}

static void tell_stats(const struct lsc_worker *worker)
{
	struct lsc_stage_stats stats = lsc_worker_stats(worker);

	lsc_info("steps %llu, positions of answers %llu, of prompts %llu, requests that gave "
		 "way %llu",
		 (unsigned long long)stats.steps, (unsigned long long)stats.decodes,
		 (unsigned long long)stats.rows, (unsigned long long)stats.gave_way);
}

static int serve(const struct serve_options *opt, struct lsc_loop *loop, struct lsc_err *err)
{
	const struct lsc_worker_options options = {
		.dir = opt->dir,
		.engine = opt->engine,
		.access = &opt->access,
	};
	struct serving serving = {.opt = opt, .loop = loop};
	struct lsc_endpoint at;
	int r;

	if ((r = lsc_endpoint_parse(&at, opt->serve.listen, err)) < 0 ||
	    (r = lsc_access_check(&opt->access, &at, err)) < 0 ||
	    (r = lsc_loop_signals(loop, (int[]){SIGTERM, SIGINT, SIGHUP}, 3, on_signal, &serving,
				  err)) < 0 ||
	    (r = lsc_worker_open(&serving.worker, loop, &at, &options, err)) < 0)
		return r;
	lsc_info("executing what is in '%s' at %s", opt->dir, lsc_worker_address(serving.worker));
	if (!opt->access.key)
		lsc_serve_warn(lsc_worker_address(serving.worker), "have requests computed here");
	r = lsc_serve_ready(opt->serve.ready_fd, lsc_worker_address(serving.worker), err);
	if (r == 0)
		r = lsc_loop_run(loop, err);
	tell_stats(serving.worker);
	lsc_worker_close(serving.worker);
	return r;
}

int lsc_exec_serve_main(int argc, char **argv)
{
	static const struct argp argp = {
		serve_table, parse_serve,
		NULL,        "Run any units of the images that are here, for any route.",
		NULL,        NULL,
		NULL};
	struct serve_options opt = {.serve = {"127.0.0.1:7001", -1}, .drain_s = 20};
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_loop *loop = NULL;
	int r;

	lsc_tool_parse(&argp, argc, argv, &opt);
	r = exec_device_find(&opt.device, &opt.engine, &err);
	if (r == 0)
		r = lsc_access_open(&opt.access, &err);
	if (r == 0)
		r = lsc_loop_new(&loop, &err);
	if (r == 0)
		r = serve(&opt, loop, &err);
	lsc_loop_free(loop);
	lsc_access_close(&opt.access);
	return lsc_tool_finish(r, &err);
}
