/* lsc-cast - send an image to many nodes at once; receive one
 *
 * `send` coordinates a cast and is a source of it, `serve` is what runs on every other node.  What
 * a cast does is decided in lib/cast/cast.c, what a node does in lib/cast/host.c; who sends what
 * to whom in lib/plan/ring.c and lib/plan/schedule.c, how nodes are started in lib/cast/launch.c.
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cast/cast.h"
#include "cast/costs.h"
#include "cast/forecast.h"
#include "cast/host.h"
#include "cast/message.h"
#include "cast/names.h"
#include "cast/sending.h"
#include "cast/subject.h"
#include "cast/survey.h"
#include "cli/progress.h"
#include "cli/serve.h"
#include "cli/tool.h"
#include "net/access.h"
#include "net/key.h"
#include "stream/json.h"

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

/* What routers will connect to must at least look like it. */
static const char *check_exec(struct argp_state *state, const char *text)
{
	struct lsc_endpoint endpoint;
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_endpoint_parse(&endpoint, text, &err);

	if (r == 0 && (strlen(text) >= LSC_CAST_ADDRESS ||
		       !((endpoint.kind == LSC_ENDPOINT_TCP && endpoint.port) ||
			 endpoint.kind == LSC_ENDPOINT_UNIX)))
		r = lsc_err_set(&err, EINVAL, "'%.64s' is no address of a stage worker", text);
	if (r == 0 && (!strcmp(endpoint.name, "0.0.0.0") || !strcmp(endpoint.name, "::")))
		r = lsc_err_set(&err, EINVAL,
				"'%s' cannot be connected to: name the address that others see",
				text);
	lsc_tool_check(state, r, &err);
	return text;
}

/* --- serve --- */

struct serve_options {
	const char *dir;
	const char *listen;
	const char *exec;
	struct lsc_access access;
	int ready_fd; /* -1: none */
	bool exit_with_stdin;
};

enum {
	KEY_STDIN = 0x100,
};

static const struct argp_option serve_table[] = {
	{"dir", 'd', "DIR", 0, "Receive images into DIR, and be a source of those in it", 0},
	{"exec", 'x', "HOST:PORT", 0, "Say that this node's stage worker listens there", 0},
	LSC_ACCESS_ROWS,
	{"exit-with-stdin", KEY_STDIN, NULL, 0, "End when standard input does", 0},
	{"listen", 'l', "HOST:PORT", 0, "Listen there (default 127.0.0.1:7000)", 0},
	{"ready-fd", 'R', "N", 0, "Write the address to descriptor N once listening", 0},
	{0},
};

static error_t parse_serve(int key, char *arg, struct argp_state *state)
{
	struct serve_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t fd;

	switch (key) {
	case KEY_STDIN:
		opt->exit_with_stdin = true;
		return 0;
	case 'd':
		opt->dir = arg;
		return 0;
	case 'x':
		opt->exec = check_exec(state, arg);
		return 0;
	case 'l':
		opt->listen = arg;
		return 0;
	case 'R':
		lsc_tool_check(state, lsc_parse_uint(arg, 0, 1 << 20, &fd, &err), &err);
		opt->ready_fd = (int)fd;
		return 0;
	case ARGP_KEY_END:
		if (!opt->dir)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--dir is missing");
		return 0;
	default:
		return lsc_access_option(&opt->access, key, arg) ? 0 : ARGP_ERR_UNKNOWN;
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
	struct lsc_host_options options = {
		.dir = opt->dir, .exec = opt->exec, .key = opt->access.key};
	struct lsc_watch *input = NULL;
	struct lsc_host *host;
	int r;

	r = lsc_endpoint_parse(&options.listen, opt->listen, err);
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
		r = lsc_serve_ready(opt->ready_fd, lsc_host_address(host), err);
	if (r == 0)
		r = lsc_loop_run(loop, err);
	lsc_watch_remove(input);
	lsc_host_close(host);
	return r;
}

static int main_serve(int argc, char **argv)
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
	struct serve_options opt = {.listen = "127.0.0.1:7000", .ready_fd = -1};
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

/* --- send --- */

struct send_options {
	const char *image;
	const char *name;
	const char *exec;
	struct lsc_names to, sources, exclude;
	struct lsc_access access;
	bool cleartext;
	uint64_t port; /* of nodes that name none; 0: not given */
	int order;     /* as lsc_sending_choose() takes it */
	double rate, link, timeout_s;
	enum lsc_progress_mode progress;
	bool json, dry_run, raw, stats, verify_only;
	const char *launch; /* how; NULL: the nodes serve already */
	const char *dir, *program;
	double launch_timeout_s;
};

enum {
	KEY_EXCLUDE = 0x100,
	KEY_PORT,
	KEY_JSON,
	KEY_LINK,
	KEY_PROGRESS,
	KEY_NO_PROGRESS,
	KEY_LAUNCH,
	KEY_LAUNCH_TIMEOUT,
	KEY_PROGRAM,
	KEY_STATS,
	KEY_VERIFY,
	KEY_CLEARTEXT,
};

static const struct argp_option send_table[] = {
	{"cleartext-data", KEY_CLEARTEXT, NULL, 0,
	 "With a key, encrypt what nodes agree on, and not the image", 0},
	LSC_ACCESS_ROWS,
	{"dir", 'd', "DIR", 0, "Where images lie at launched nodes; {} is the node's host", 0},
	{"dry-run", 'n', NULL, 0, "Say who feeds whom and how long it takes, and send nothing", 0},
	{"exclude", KEY_EXCLUDE, "NODES", 0, "Leave these out of --to and --sources", 0},
	{"exec", 'x', "HOST:PORT", 0, "Say that this node's stage worker listens there", 0},
	{"json", KEY_JSON, NULL, 0, "Write arrival records, or a plan, as JSON lines", 0},
	{"launch", KEY_LAUNCH, "HOW", 0,
	 "Start receivers for the time of the cast: ssh, srun, or a command", 0},
	{"launch-timeout", KEY_LAUNCH_TIMEOUT, "TIME", 0,
	 "Go without those that take longer to start (default 60s)", 0},
	{"link", KEY_LINK, "RATE", 0, "The speed of a node's link, to compare with: 100gbit", 0},
	{"max-rate", 'r', "RATE", 0, "Bytes a second a node may send: 25M, 200mbit", 0},
	{"name", 'N', "NAME", 0, "The image's name at the nodes (default: IMAGE's own)", 0},
	{"no-progress", KEY_NO_PROGRESS, NULL, 0, "Say only in the end how it went", 0},
	{"order", 'O', "ORDER", 0,
	 "throughput, kway, or a fixed one: round-optimal, chain, tree, sequential (default "
	 "kway with --sources, else throughput)",
	 0},
	{"port", KEY_PORT, "PORT", 0,
	 "Of nodes that name none (default 7000; launched ones: a free one)", 0},
	{"program", KEY_PROGRAM, "PATH", 0, "lsc-cast at launched nodes (default lsc-cast)", 0},
	{"progress", KEY_PROGRESS, NULL, 0, "Draw bars whatever standard error is", 0},
	{"raw", 'w', NULL, 0, "Send a file or directory as it is", 0},
	{"sources", 's', "NODES", 0, "Other nodes that have the image and send it too", 0},
	{"stats", KEY_STATS, NULL, 0, "Say in the end what the cast cost each node", 0},
	{"timeout", 'T', "TIME", 0,
	 "Give a node up after so long without a sign of it (default 2s)", 0},
	{"to", 't', "NODES", 0, "The nodes to send to: host,host:7400,node[01-16],@FILE,slurm:", 0},
	{"verify-only", KEY_VERIFY, NULL, 0,
	 "Send nothing: have the nodes read what they have, and say whether it is good", 0},
	{0},
};

static void check_send(struct send_options *opt, struct argp_state *state)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (!opt->image)
		argp_failure(state, LSC_EXIT_USAGE, 0, "missing IMAGE");
	if (!opt->to.n)
		argp_failure(state, LSC_EXIT_USAGE, 0, "--to is missing");
	if (opt->launch && !opt->dir)
		argp_failure(state, LSC_EXIT_USAGE, 0, "--launch needs --dir");
	if (opt->dir && !opt->launch)
		argp_failure(state, LSC_EXIT_USAGE, 0, "--dir is for --launch");
	if (opt->verify_only && opt->launch)
		argp_failure(state, LSC_EXIT_USAGE, 0, "--verify-only asks nodes that are there");
	lsc_tool_check(state,
		       lsc_sending_settle(&opt->to, &opt->sources, &opt->exclude, opt->port,
					  opt->launch, &err),
		       &err);
}

static int parse_timeout(const char *arg, double *ret_seconds, struct lsc_err *err)
{
	int r = lsc_parse_duration(arg, ret_seconds, err);

	if (r == 0 && (*ret_seconds < 0.1 || *ret_seconds > 86400))
		r = lsc_err_set(err, EINVAL, "a timeout is from 100ms to a day");
	return r;
}

/* What has a value that may be wrong. */
static int parse_value(int key, char *arg, struct send_options *opt, struct lsc_err *err)
{
	switch (key) {
	case 't':
		return lsc_names_add(&opt->to, arg, err);
	case 's':
		return lsc_names_add(&opt->sources, arg, err);
	case KEY_EXCLUDE:
		return lsc_names_add(&opt->exclude, arg, err);
	case KEY_PORT:
		return lsc_parse_uint(arg, 1, 65535, &opt->port, err);
	case KEY_LINK:
		return lsc_parse_rate(arg, &opt->link, err);
	case 'r':
		return lsc_parse_rate(arg, &opt->rate, err);
	case 'O':
		return lsc_sending_order_parse(arg, &opt->order, err);
	case 'T':
		return parse_timeout(arg, &opt->timeout_s, err);
	case KEY_LAUNCH_TIMEOUT:
		return parse_timeout(arg, &opt->launch_timeout_s, err);
	default:
		return 1; /* no such option */
	}
}

static error_t parse_send(int key, char *arg, struct argp_state *state)
{
	struct send_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;
	int r = parse_value(key, arg, opt, &err);

	lsc_tool_check(state, r, &err);
	if (r <= 0)
		return 0;
	switch (key) {
	case 'd':
		opt->dir = arg;
		return 0;
	case 'n':
		opt->dry_run = true;
		return 0;
	case 'x':
		opt->exec = check_exec(state, arg);
		return 0;
	case 'N':
		opt->name = arg;
		return 0;
	case 'w':
		opt->raw = true;
		return 0;
	case KEY_STATS:
		opt->stats = true;
		return 0;
	case KEY_VERIFY:
		opt->verify_only = true;
		return 0;
	case KEY_CLEARTEXT:
		opt->cleartext = true;
		return 0;
	case KEY_JSON:
		opt->json = true;
		return 0;
	case KEY_LAUNCH:
		opt->launch = arg;
		return 0;
	case KEY_PROGRAM:
		opt->program = arg;
		return 0;
	case KEY_PROGRESS:
		opt->progress = LSC_PROGRESS_BARS;
		return 0;
	case KEY_NO_PROGRESS:
		opt->progress = LSC_PROGRESS_NONE;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_failure(state, LSC_EXIT_USAGE, 0, "one image at a time");
		opt->image = arg;
		return 0;
	case ARGP_KEY_END:
		check_send(opt, state);
		return 0;
	default:
		return lsc_access_option(&opt->access, key, arg) ? 0 : ARGP_ERR_UNKNOWN;
	}
}

struct job {
	struct lsc_subject subject;
	const char *name;
	struct lsc_loop *loop;
	struct lsc_sending *sending;
	struct lsc_progress progress;
	struct lsc_err *err;
	int signal;
};

static enum lsc_progress_state state_of(const struct lsc_cast_node *node, uint64_t total)
{
	if (node->complete)
		return LSC_PROGRESS_COMPLETE;
	if (node->why)
		return LSC_PROGRESS_FAILED;
	if (node->bytes == 0)
		return LSC_PROGRESS_WAITING;
	return node->bytes < total ? LSC_PROGRESS_RECEIVING : LSC_PROGRESS_SYNCING;
}

/* Hands what the cast knows of its receivers to what shows it. */
static void show(void *data, const struct lsc_cast *cast)
{
	struct job *job = data;
	struct lsc_progress *p = &job->progress;
	const struct lsc_image *image = &job->subject.image;
	uint32_t n = lsc_cast_n_nodes(cast), first = 1;

	while (first < n && lsc_cast_node(cast, first).source)
		first++;
	if (!p->nodes && lsc_progress_init(p, n - first, image->bytes, image->n_pieces,
					   lsc_sending_began_ns(job->sending), NULL) < 0)
		return;
	for (uint32_t i = first; i < n; i++) {
		struct lsc_cast_node node = lsc_cast_node(cast, i);
		struct lsc_progress_node *shown = &p->nodes[i - first];

		shown->name = node.name;
		shown->state = state_of(&node, image->bytes);
		shown->why = node.why;
		shown->pieces = node.pieces;
		shown->bytes = node.bytes;
		shown->had_bytes = (uint64_t)node.had * image->piece_bytes;
		if (shown->had_bytes > image->bytes)
			shown->had_bytes = image->bytes;
	}
	lsc_progress_tick(p);
}

static void on_done(void *data, int result, const struct lsc_err *err)
{
	struct job *job = data;
	const struct lsc_cast *cast = lsc_sending_cast(job->sending);

	*job->err = *err;
	if (cast) {
		show(job, cast);
		lsc_progress_end(&job->progress);
	}
	lsc_loop_stop(job->loop, result);
}

static void interrupt(void *data, int number)
{
	struct job *job = data;

	job->signal = number;
	lsc_sending_abort(job->sending, "the cast was interrupted");
}

/* A ring of links that are equal is a chain for each source. */
static int run_dry(const struct send_options *opt, const struct job *job, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	struct lsc_cast_options chosen = {
		.image = &job->subject.image,
		.n_sources = opt->sources.n,
		.n_to = opt->to.n,
	};
	struct lsc_forecast forecast = {
		.image = &job->subject.image,
		.name = job->name,
		.sources = opt->sources.names,
		.n_sources = opt->sources.n,
		.to = opt->to.names,
		.n_to = opt->to.n,
		.speed = lsc_forecast_speed(opt->link, opt->rate),
	};
	int r;

	lsc_sending_choose(opt->order, &chosen);
	forecast.order = chosen.scheduled ? chosen.order : LSC_ORDER_CHAIN;
	forecast.order_name = lsc_sending_order_name(&chosen);
	r = lsc_forecast_tell(&forecast, opt->json, &text, err);
	if (r == 0)
		fwrite(text.data, 1, text.len, stdout);
	return r;
}

static int cast(struct send_options *opt, struct job *job, struct lsc_err *err)
{
	const struct lsc_sending_options options = {
		.cast =
			{
				.image = &job->subject.image,
				.segment = job->subject.partial ? &job->subject.segment : NULL,
				.name = job->name,
				.rate = opt->rate,
				.timeout_ns = (uint64_t)(opt->timeout_s * 1e9),
				.key = opt->access.key,
				.cleartext = opt->cleartext,
				.exec = opt->exec,
				.report_fd =
					opt->json || !isatty(STDOUT_FILENO) ? STDOUT_FILENO : -1,
				.report_json = opt->json,
				.on_done = on_done,
				.on_tick = show,
				.data = job,
			},
		.order = opt->order,
		.to = &opt->to,
		.sources = &opt->sources,
		.launch =
			{
				.how = opt->launch,
				.program = opt->program,
				.dir = opt->dir,
				.port = (uint16_t)opt->port,
				.timeout_ns = (uint64_t)(opt->launch_timeout_s * 1e9),
			},
	};
	int r = lsc_sending_start(&job->sending, job->loop, &options, err);

	if (r == 0)
		r = lsc_loop_signals(job->loop, (int[]){SIGTERM, SIGINT, SIGHUP}, 3, interrupt, job,
				     err);
	if (r == 0)
		r = lsc_loop_run(job->loop, err);
	if (lsc_progress_any(&job->progress) && r != -ECANCELED)
		lsc_progress_summary(&job->progress, lsc_forecast_speed(opt->link, opt->rate));
	if (r >= 0 && opt->stats)
		lsc_costs_print(lsc_sending_cast(job->sending), stderr);
	lsc_sending_free(job->sending);
	lsc_progress_release(&job->progress);
	return job->signal && r == -ECANCELED ? 128 + job->signal : r;
}

/* Files are sent from their mappings: one that is cut meanwhile has no bytes there any more. */
static void on_cut_file(int number)
{
	static const char words[] =
		"lsc-cast send: a file was cut shorter by someone while it was sent\n";

	(void)number;
	if (write(STDERR_FILENO, words, sizeof(words) - 1) < 0)
		_exit(LSC_EXIT_IO);
	_exit(LSC_EXIT_IO);
}

/* --- send --verify-only --- */

struct verifying {
	const struct send_options *opt;
	struct lsc_loop *loop;
	struct lsc_pack pack;
	struct lsc_buf json;
};

/* A line for people, or a record as JSON. */
static void on_answer(void *data, uint32_t node, const struct lsc_check_result *result,
		      const struct lsc_err *err)
{
	struct verifying *v = data;
	const char *name = v->opt->to.names[node];
	const char *state = result ? lsc_check_state_name(result->state) : "unknown";
	const char *why = !result ? err->text : result->state == LSC_CHECK_GOOD ? "" : result->why;

	if (!v->opt->json) {
		printf("%s %s%s%s\n", name, state, *why ? ": " : "", why);
		fflush(stdout);
		return;
	}
	lsc_pack_begin(&v->pack, "checked");
	lsc_pack_str(&v->pack, "name", name);
	lsc_pack_str(&v->pack, "state", state);
	lsc_pack_str(&v->pack, "why", why);
	v->json.len = 0;
	if (lsc_pack_end(&v->pack) == 0 &&
	    lsc_json_write(v->pack.buf.data, v->pack.buf.len, &v->json, NULL) == 0)
		printf("%.*s\n", (int)v->json.len, v->json.data);
	fflush(stdout);
}

static void on_verified(void *data, uint32_t n_good)
{
	struct verifying *v = data;

	lsc_loop_stop(v->loop, n_good == v->opt->to.n ? 0 : LSC_EXIT_NO);
}

static int verify(const struct send_options *opt, struct job *job, struct lsc_err *err)
{
	struct verifying v = {opt, job->loop, LSC_PACK_INIT, LSC_BUF_INIT};
	const struct lsc_survey_options options = {
		.image = &job->subject.image,
		.name = job->name,
		.nodes = opt->to.names,
		.n_nodes = opt->to.n,
		.key = opt->access.key,
		.timeout_ns = (uint64_t)(opt->timeout_s * 1e9),
		.on_answer = on_answer,
		.on_done = on_verified,
		.data = &v,
	};
	struct lsc_survey *survey = NULL;
	int r = lsc_survey_start(&survey, job->loop, &options, err);

	if (r == 0)
		r = lsc_loop_run(job->loop, err);
	lsc_survey_free(survey);
	lsc_pack_release(&v.pack);
	lsc_buf_release(&v.json);
	return r;
}

static int run_send(struct send_options *opt, struct lsc_err *err)
{
	struct job job = {
		.subject = LSC_SUBJECT_INIT,
		.progress = {.mode = opt->progress},
		.err = err,
	};
	int r;

	/* Bars and records on one terminal would tear each other. */
	if (opt->json && isatty(STDOUT_FILENO) && job.progress.mode == LSC_PROGRESS_AUTO)
		job.progress.mode = LSC_PROGRESS_LINES;
	if (opt->raw)
		signal(SIGBUS, on_cut_file);
	r = lsc_subject_open(&job.subject, opt->image, opt->raw, err);
	job.name = opt->name ? opt->name : job.subject.name;
	if (r == 0 && opt->dry_run) {
		r = run_dry(opt, &job, err);
	} else if (r == 0) {
		r = lsc_loop_new(&job.loop, err);
		if (r == 0)
			r = opt->verify_only ? verify(opt, &job, err) : cast(opt, &job, err);
		lsc_loop_free(job.loop);
	}
	lsc_subject_close(&job.subject);
	return r;
}

static int check_names(const struct lsc_access *access, const struct lsc_names *names,
		       struct lsc_err *err)
{
	struct lsc_endpoint endpoint;
	int r = 0;

	for (uint32_t i = 0; i < names->n && r == 0; i++) {
		if (!lsc_name_has_port(names->names[i]))
			continue; /* it is to be launched */
		r = lsc_endpoint_parse(&endpoint, names->names[i], err);
		if (r == 0)
			r = lsc_access_check(access, &endpoint, err);
	}
	return r;
}

/* Whether there may be links to all nodes, and with which key. */
static int open_access(struct send_options *opt, struct lsc_err *err)
{
	int r = lsc_access_open(&opt->access, err);

	if (r == 0 && opt->launch)
		r = lsc_sending_draw_key(&opt->access, &opt->to, &opt->sources, err);
	if (r == 0 && opt->cleartext && !opt->access.key)
		r = lsc_err_set(err, EINVAL,
				"--cleartext-data needs --key-file: without a key "
				"all is cleartext");
	if (r == 0)
		r = check_names(&opt->access, &opt->to, err);
	if (r == 0)
		r = check_names(&opt->access, &opt->sources, err);
	if (r == 0 && opt->access.insecure)
		lsc_warning("--insecure: whoever is on the way can read and change the image");
	return r;
}

static int main_send(int argc, char **argv)
{
	static const struct argp argp = {
		send_table,
		parse_send,
		"IMAGE",
		"Send an image to many nodes at once; arrival records go to standard output.",
		NULL,
		NULL,
		NULL,
	};
	struct send_options opt = {
		.order = LSC_SENDING_DEFAULT,
		.timeout_s = 2,
		.launch_timeout_s = 60,
		.program = "lsc-cast",
	};
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	lsc_tool_parse(&argp, argc, argv, &opt);
	r = opt.dry_run ? 0 : open_access(&opt, &err);
	if (r == 0)
		r = run_send(&opt, &err);
	lsc_access_close(&opt.access);
	lsc_names_release(&opt.to);
	lsc_names_release(&opt.sources);
	lsc_names_release(&opt.exclude);
	return lsc_tool_finish(r, &err);
}

/* --- keygen --- */

static error_t parse_keygen(int key, char *arg, struct argp_state *state)
{
	const char **path = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_failure(state, LSC_EXIT_USAGE, 0, "one file at a time");
		*path = arg;
		return 0;
	case ARGP_KEY_END:
		if (!*path)
			argp_failure(state, LSC_EXIT_USAGE, 0, "missing FILE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int keygen(const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf line = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_key_erase) struct lsc_key key;
	int r = lsc_key_draw(&key, err);

	if (r < 0)
		return r;
	if (strcmp(path, "-") != 0) {
		r = lsc_key_write(&key, path, err);
		if (r == 0)
			lsc_info("key %s is in '%s'", key.id, path);
		return r;
	}
	r = lsc_key_line(&key, &line);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot write a key: %m");
	fwrite(line.data, 1, line.len, stdout);
	return 0;
}

static int main_keygen(int argc, char **argv)
{
	static const struct argp_option none[] = {{0}};
	static const struct argp argp = {
		none,
		parse_keygen,
		"FILE",
		"Draw a key that nodes are to share, for --key-file.  FILE must not be there yet; "
		"-: standard output.",
		NULL,
		NULL,
		NULL,
	};
	struct lsc_err err = LSC_ERR_INIT;
	const char *path = NULL;

	lsc_tool_parse(&argp, argc, argv, &path);
	return lsc_tool_finish(keygen(path, &err), &err);
}

int main(int argc, char **argv)
{
	static const struct lsc_command commands[] = {
		{"keygen", main_keygen, "make a key file that nodes are to share"},
		{"send", main_send, "send an image to many nodes at once"},
		{"serve", main_serve, "take part in casts: receive images, or be a source"},
	};

	raise_fd_limit();
	return lsc_tool_dispatch("lsc-cast", "Send an image to many nodes at once; receive one.",
				 commands, LSC_ARRAY_SIZE(commands), argc, argv);
}
