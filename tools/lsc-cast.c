/* lsc-cast - send an image to many nodes at once; receive one
 *
 * `send` coordinates a cast and is a source of it, `serve` is what runs on every other node.  What
 * a cast does is decided in lib/cast/cast.c, what a node does in lib/cast/host.c; who sends what
 * to whom in lib/plan/schedule.c.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cast/cast.h"
#include "cast/host.h"
#include "cast/message.h"
#include "cast/names.h"
#include "cli/serve.h"
#include "cli/tool.h"
#include "model/image.h"
#include "net/access.h"

#define BAR_WIDTH 30
#define MAX_BARS  24 /* beyond, one line for all */

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
};

static const struct argp_option serve_table[] = {
	{"dir", 'd', "DIR", 0, "Receive images into DIR, and be a source of those in it", 0},
	{"exec", 'x', "HOST:PORT", 0, "Say that this node's stage worker listens there", 0},
	LSC_ACCESS_ROWS,
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

static int serve(const struct serve_options *opt, struct lsc_loop *loop, struct lsc_err *err)
{
	struct lsc_host_options options = {
		.dir = opt->dir, .exec = opt->exec, .key = opt->access.key};
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
	lsc_info("serving '%s' at %s", opt->dir, lsc_host_address(host));
	if (!opt->access.key)
		lsc_serve_warn(lsc_host_address(host), "send images here and read them");
	r = lsc_serve_ready(opt->ready_fd, lsc_host_address(host), err);
	if (r == 0)
		r = lsc_loop_run(loop, err);
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
	struct lsc_names to, sources;
	struct lsc_access access;
	bool cleartext;
	int order; /* -1: by the number of sources */
	double rate, timeout_s;
};

enum { KEY_CLEARTEXT = 0x2000 };

static const struct argp_option send_table[] = {
	{"cleartext-data", KEY_CLEARTEXT, NULL, 0,
	 "With a key, encrypt what nodes agree on, and not the image", 0},
	LSC_ACCESS_ROWS,
	{"exec", 'x', "HOST:PORT", 0, "Say that this node's stage worker listens there", 0},
	{"max-rate", 'r', "RATE", 0, "Bytes a second a node may send: 25M, 200mbit", 0},
	{"name", 'N', "NAME", 0, "The image's name at the nodes (default: IMAGE's own)", 0},
	{"order", 'O', "ORDER", 0,
	 "round-optimal, kway, chain, tree or sequential (default: by the numbers of nodes and "
	 "sources)",
	 0},
	{"sources", 's', "NODES", 0, "Other nodes that have the image and send it too", 0},
	{"timeout", 'T', "TIME", 0, "Give up after so long without progress (default 10s)", 0},
	{"to", 't', "NODES", 0, "The nodes to send to: HOST:PORT,node[01-16]:7000,...", 0},
	{0},
};

static error_t parse_send(int key, char *arg, struct argp_state *state)
{
	struct send_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;
	enum lsc_order order;

	switch (key) {
	case 'x':
		opt->exec = check_exec(state, arg);
		return 0;
	case 'r':
		lsc_tool_check(state, lsc_parse_rate(arg, &opt->rate, &err), &err);
		return 0;
	case 'N':
		opt->name = arg;
		return 0;
	case 'O':
		lsc_tool_check(state, lsc_order_parse(arg, &order, &err), &err);
		opt->order = order;
		return 0;
	case 's':
		lsc_tool_check(state, lsc_names_add(&opt->sources, arg, &err), &err);
		return 0;
	case 'T':
		lsc_tool_check(state, lsc_parse_duration(arg, &opt->timeout_s, &err), &err);
		if (opt->timeout_s < 0.1 || opt->timeout_s > 86400)
			argp_failure(state, LSC_EXIT_USAGE, 0, "a timeout is from 100ms to a day");
		return 0;
	case 't':
		lsc_tool_check(state, lsc_names_add(&opt->to, arg, &err), &err);
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_failure(state, LSC_EXIT_USAGE, 0, "one image at a time");
		opt->image = arg;
		return 0;
	case ARGP_KEY_END:
		if (!opt->image)
			argp_failure(state, LSC_EXIT_USAGE, 0, "missing IMAGE");
		if (!opt->to.n)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--to is missing");
		return 0;
	case KEY_CLEARTEXT:
		opt->cleartext = true;
		return 0;
	default:
		return lsc_access_option(&opt->access, key, arg) ? 0 : ARGP_ERR_UNKNOWN;
	}
}

struct sending {
	struct lsc_loop *loop;
	struct lsc_cast *cast;
	struct lsc_err *err;
	bool bars;
	unsigned drawn; /* lines */
	int signal;
};

static void draw_node(const struct lsc_cast_node *node, uint64_t total)
{
	double part = total ? (double)node->bytes / (double)total : 1;
	int full = node->complete ? BAR_WIDTH : (int)(part * (BAR_WIDTH - 1));

	fprintf(stderr, "\r\033[K%-24.24s [%.*s%*s] %3.0f%%%s\n", node->name, full,
		"##############################", BAR_WIDTH - full, "",
		floor((node->complete ? 1 : part) * 100), node->complete ? " complete" : "");
}

/* A bar for each receiver, drawn over those of before; many share one. */
static void draw(void *data, const struct lsc_cast *cast)
{
	struct sending *s = data;
	struct lsc_cast_node all = {.name = "all nodes", .complete = true};
	uint64_t total = lsc_cast_image(cast)->bytes;
	uint32_t n = 0;

	if (!s->bars)
		return;
	/* Lines that are too long for the terminal are cut: the next drawing goes up by lines. */
	fprintf(stderr, "\033[?7l");
	if (s->drawn)
		fprintf(stderr, "\033[%uA", s->drawn);
	for (uint32_t i = 1; i < lsc_cast_n_nodes(cast); i++) {
		struct lsc_cast_node node = lsc_cast_node(cast, i);

		if (node.source)
			continue;
		n++;
		all.bytes += node.bytes;
		all.complete = all.complete && node.complete;
		if (n <= MAX_BARS)
			draw_node(&node, total);
	}
	if (n > MAX_BARS)
		draw_node(&all, total * n);
	fprintf(stderr, "\033[?7h");
	s->drawn = LSC_MIN(n, MAX_BARS) + (n > MAX_BARS);
}

static void on_done(void *data, int result, const struct lsc_err *err)
{
	struct sending *s = data;

	draw(s, s->cast);
	*s->err = *err;
	if (result == 0)
		lsc_info("all nodes have the image");
	lsc_loop_stop(s->loop, result);
}

static void interrupt(void *data, int number)
{
	struct sending *s = data;

	s->signal = number;
	lsc_cast_abort(s->cast, "the cast was interrupted");
}

/* The last part of the image's path. */
static const char *base_name(const char *path, char name[256])
{
	size_t len = strlen(path), start;

	while (len > 1 && path[len - 1] == '/')
		len--;
	for (start = len; start > 0 && path[start - 1] != '/'; start--)
		;
	snprintf(name, 256, "%.*s", (int)(len - start), path + start);
	return name;
}

static int cast(const struct send_options *opt, const struct lsc_image *image,
		struct sending *sending, struct lsc_err *err)
{
	char name[256];
	struct lsc_cast_options options = {
		.image = image,
		.name = opt->name ? opt->name : base_name(opt->image, name),
		.sources = opt->sources.names,
		.n_sources = opt->sources.n,
		.to = opt->to.names,
		.n_to = opt->to.n,
		.rate = opt->rate,
		.timeout_ns = (uint64_t)(opt->timeout_s * 1e9),
		.key = opt->access.key,
		.cleartext = opt->cleartext,
		.exec = opt->exec,
		.report_fd = isatty(STDOUT_FILENO) ? -1 : STDOUT_FILENO,
		.on_done = on_done,
		.on_tick = draw,
		.data = sending,
	};
	int r;

	options.order = opt->order >= 0 ? (enum lsc_order)opt->order
			: opt->sources.n
				? LSC_ORDER_KWAY
				: lsc_order_fastest((uint32_t)opt->to.n + 1, image->n_pieces);
	r = lsc_cast_start(&sending->cast, sending->loop, &options, err);
	if (r == 0)
		r = lsc_loop_signals(sending->loop, (int[]){SIGTERM, SIGINT, SIGHUP}, 3, interrupt,
				     sending, err);
	if (r == 0) {
		lsc_info("sending '%s' to %u nodes, %s", options.name, options.n_to,
			 lsc_order_name(options.order));
		r = lsc_loop_run(sending->loop, err);
	}
	lsc_cast_free(sending->cast);
	return sending->signal && r == -ECANCELED ? 128 + sending->signal : r;
}

static int check_names(const struct lsc_access *access, const struct lsc_names *names,
		       struct lsc_err *err)
{
	struct lsc_endpoint endpoint;
	int r = 0;

	for (uint32_t i = 0; i < names->n && r == 0; i++) {
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

static int run_send(const struct send_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	struct sending sending = {.err = err};
	int r;

	sending.bars = isatty(STDERR_FILENO) && lsc_log_is_on(LSC_LOG_NOTICE);
	r = lsc_image_open(&image, opt->image, err);
	if (r == 0)
		r = lsc_loop_new(&sending.loop, err);
	if (r == 0)
		r = cast(opt, &image, &sending, err);
	lsc_loop_free(sending.loop);
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
	struct send_options opt = {.order = -1, .timeout_s = 10};
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	lsc_tool_parse(&argp, argc, argv, &opt);
	r = open_access(&opt, &err);
	if (r == 0)
		r = run_send(&opt, &err);
	lsc_access_close(&opt.access);
	lsc_names_release(&opt.to);
	lsc_names_release(&opt.sources);
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
