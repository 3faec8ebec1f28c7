/* lsc-launch - a program on many nodes, for as long as this runs
 *
 * How it gets there is in lib/send/launch.h.  Nodes that name a port have it running already, and
 * are passed on as they are, so that what is said in the end is a list of all of them.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cli/serve.h"
#include "cli/tool.h"
#include "net/loop.h"
#include "send/launch.h"
#include "send/names.h"

struct options {
	const char *how, *input;
	struct lsc_names to;
	double timeout_s, end_s;
	bool keep_going, dry_run;
	int ready_fd;
	char **argv;
	size_t n_argv;
};

struct job {
	const struct options *opt;
	struct lsc_loop *loop;
	struct lsc_launch *launch;
	struct lsc_buf input;
	char **hosts; /* those without a port, borrowed from opt */
	uint32_t *at; /* where they stand there */
	uint32_t n_hosts, n_up;
	bool ready;
	struct lsc_err *err;
};

enum { KEY_END = 0x100, KEY_INPUT, KEY_KEEP, KEY_LAUNCH, KEY_TIMEOUT };

static const struct argp_option table[] = {
	{"dry-run", 'n', NULL, 0, "Print each node, and whether it is to be launched or runs", 0},
	{"end-timeout", KEY_END, "TIME", 0, "Let programs take so long to end (default 30s)", 0},
	{"input", KEY_INPUT, "FILE", 0, "Give each what is in FILE on its standard input", 0},
	{"keep-going", 'k', NULL, 0, "Go without nodes on which it does not start", 0},
	{"launch", KEY_LAUNCH, "HOW", 0, "ssh (default), srun, or a command", 0},
	{"launch-timeout", KEY_TIMEOUT, "TIME", 0,
	 "Give nodes up that take longer to start (default 60s)", 0},
	{"ready-fd", 'R', "N", 0, "Write all addresses to descriptor N once all are ready", 0},
	{"to", 't', "NODES", 0, "The nodes: host,node[01-16],@FILE,slurm:; those with a port run",
	 0},
	{0},
};

static void parse_timeout(const char *arg, double *ret_s, struct argp_state *state)
{
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_check(state, lsc_parse_duration(arg, ret_s, &err), &err);
	if (*ret_s < 0.1 || *ret_s > 86400)
		argp_failure(state, LSC_EXIT_USAGE, 0, "a timeout is from 100ms to a day");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t fd;

	switch (key) {
	case 'n':
		opt->dry_run = true;
		return 0;
	case KEY_END:
		parse_timeout(arg, &opt->end_s, state);
		return 0;
	case KEY_INPUT:
		opt->input = arg;
		return 0;
	case 'k':
		opt->keep_going = true;
		return 0;
	case KEY_LAUNCH:
		opt->how = arg;
		return 0;
	case KEY_TIMEOUT:
		parse_timeout(arg, &opt->timeout_s, state);
		return 0;
	case 'R':
		lsc_tool_check(state, lsc_parse_uint(arg, 0, 1 << 20, &fd, &err), &err);
		opt->ready_fd = (int)fd;
		return 0;
	case 't':
		lsc_tool_check(state, lsc_names_add(&opt->to, arg, &err), &err);
		return 0;
	case ARGP_KEY_ARGS:
		opt->argv = state->argv + state->next;
		opt->n_argv = (size_t)(state->argc - state->next);
		return 0;
	case ARGP_KEY_END:
		if (!opt->to.n)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--to is missing");
		if (!opt->n_argv && !opt->dry_run)
			argp_failure(state, LSC_EXIT_USAGE, 0, "no program to launch");
		lsc_tool_check(state, lsc_names_check_unique(&opt->to, NULL, &err), &err);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- what becomes of the nodes --- */

/* Those there are, in the order in which they were named. */
static int say_ready(struct job *job, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf list = LSC_BUF_INIT;
	const struct lsc_names *to = &job->opt->to;
	int r = 0;

	for (uint32_t i = 0, host = 0; r == 0 && i < to->n; i++) {
		const char *name = to->names[i];

		if (host < job->n_hosts && job->at[host] == i)
			name = lsc_launch_address(job->launch, host++);
		if (name)
			r = lsc_buf_printf(&list, "%s%s", list.len ? "," : "", name);
	}
	if (r < 0)
		return lsc_err_set(err, -r, "cannot tell addresses: %m");
	job->ready = true;
	return lsc_serve_ready(job->opt->ready_fd, (char *)list.data, err);
}

static void on_done(void *data)
{
	struct job *job = data;
	uint32_t n = job->opt->to.n, lost = 0;
	int r;

	for (uint32_t i = 0; i < job->n_hosts; i++) {
		if (lsc_launch_address(job->launch, i))
			continue;
		lsc_warning("%s: not launched: %s", job->hosts[i], lsc_launch_why(job->launch, i));
		lost++;
	}
	job->n_up = n - lost;
	if (lost == n || (lost && !job->opt->keep_going))
		r = lsc_err_set(job->err, EHOSTUNREACH, "%u of %u nodes could not be launched",
				lost, n);
	else
		r = say_ready(job, job->err);
	if (r < 0)
		lsc_loop_stop(job->loop, r);
}

static void on_gone(void *data, uint32_t node, const char *why)
{
	struct job *job = data;

	lsc_warning("%s ended: %s", job->hosts[node], why);
	if (--job->n_up == 0 && job->ready)
		lsc_loop_stop(job->loop,
			      lsc_err_set(job->err, EHOSTUNREACH, "all nodes have ended"));
}

static void on_signal(void *data, int number)
{
	struct job *job = data;

	lsc_info("ended by signal %d", number);
	lsc_loop_stop(job->loop, job->ready ? 0 : 128 + number);
}

/* --- the whole --- */

static void tell(const struct lsc_names *to)
{
	for (uint32_t i = 0; i < to->n; i++)
		printf("%s\t%s\n", to->names[i],
		       lsc_name_has_port(to->names[i]) ? "runs" : "launch");
}

static int choose_hosts(struct job *job, struct lsc_err *err)
{
	const struct lsc_names *to = &job->opt->to;

	job->hosts = calloc(to->n, sizeof(job->hosts[0]));
	job->at = calloc(to->n, sizeof(job->at[0]));
	if (!job->hosts || !job->at)
		return lsc_err_set(err, ENOMEM, "cannot launch: %m");
	for (uint32_t i = 0; i < to->n; i++) {
		if (lsc_name_has_port(to->names[i]))
			continue;
		job->at[job->n_hosts] = i;
		job->hosts[job->n_hosts++] = to->names[i];
	}
	return 0;
}

static int start(struct job *job, struct lsc_err *err)
{
	const struct options *opt = job->opt;
	const struct lsc_launch_options options = {
		.how = opt->how,
		.hosts = job->hosts,
		.n = job->n_hosts,
		.argv = (const char *const *)opt->argv,
		.n_argv = opt->n_argv,
		.input = job->input.data,
		.input_len = job->input.len,
		.timeout_ns = (uint64_t)(opt->timeout_s * 1e9),
		.end_ns = (uint64_t)(opt->end_s * 1e9),
		.on_done = on_done,
		.on_gone = on_gone,
		.data = job,
	};

	if (job->n_hosts)
		return lsc_launch_start(&job->launch, job->loop, &options, err);
	return say_ready(job, err);
}

static int run(struct job *job, struct lsc_err *err)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	const struct options *opt = job->opt;
	int r;

	job->err = err;
	/* Whoever waits for its end must not wait for the programs'. */
	if (opt->ready_fd >= 0 && fcntl(opt->ready_fd, F_SETFD, FD_CLOEXEC) < 0)
		return lsc_err_set(err, errno, "cannot write to descriptor %d: %m", opt->ready_fd);
	if (opt->input &&
	    (r = lsc_file_read(opt->input, LSC_LAUNCH_MAX_INPUT, &job->input, err)) < 0)
		return r;
	if ((r = choose_hosts(job, err)) < 0 || (r = lsc_loop_new(&job->loop, err)) < 0 ||
	    (r = lsc_loop_signals(job->loop, signals, LSC_ARRAY_SIZE(signals), on_signal, job,
				  err)) < 0 ||
	    (r = start(job, err)) < 0)
		return r;
	return lsc_loop_run(job->loop, err);
}

/* The input may be a secret. */
static void release(struct job *job)
{
	lsc_launch_free(job->launch);
	lsc_loop_free(job->loop);
	if (job->input.len)
		explicit_bzero(job->input.data, job->input.len);
	lsc_buf_release(&job->input);
	free(job->hosts);
	free(job->at);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		table,
		parse,
		"COMMAND [ARGUMENT...]",
		"Run a program on many nodes, for as long as this runs; {} in an argument is the "
		"node's host.",
		NULL,
		NULL,
		NULL};
	struct options opt = {.how = "ssh", .timeout_s = 60, .end_s = 30, .ready_fd = -1};
	struct lsc_err err = LSC_ERR_INIT;
	struct job job = {.opt = &opt};
	int r = 0;

	lsc_tool_parse(&argp, argc, argv, &opt);
	if (opt.dry_run)
		tell(&opt.to);
	else
		r = run(&job, &err);
	release(&job);
	lsc_names_release(&opt.to);
	return lsc_tool_finish(r, &err);
}
