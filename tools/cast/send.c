/* lsc-cast send - its command line, and which of the things it does is asked for */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "send/sending.h"
#include "cli/tool.h"
#include "commands.h"
#include "send.h"

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
	KEY_TRANSPORT,
	KEY_ASK,
	KEY_INVENTORY,
};

static const struct argp_option send_table[] = {
	{"ask", KEY_ASK, "NODES", 0, "With --sources auto: others that may have the image", 0},
	{"cleartext-data", KEY_CLEARTEXT, NULL, 0,
	 "With a key, encrypt what nodes agree on, and not the image", 0},
	LSC_ACCESS_ROWS,
	{"dir", 'd', "DIR", 0, "Where images lie at launched nodes; {} is the node's host", 0},
	{"dry-run", 'n', NULL, 0, "Say who feeds whom and how long it takes, and send nothing", 0},
	{"exclude", KEY_EXCLUDE, "NODES", 0, "Leave these out of --to and --sources", 0},
	{"exec", 'x', "HOST:PORT", 0, "Say that this node's stage worker listens there", 0},
	{"inventory", KEY_INVENTORY, "FILE", 0,
	 "With --sources auto: ask the nodes of an inventory, too", 0},
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
	{"sources", 's', "NODES", 0,
	 "Other nodes that have the image and send it too; auto: whoever has it", 0},
	{"stats", KEY_STATS, NULL, 0, "Say in the end what the cast cost each node", 0},
	{"timeout", 'T', "TIME", 0,
	 "Give a node up after so long without a sign of it (default 2s)", 0},
	{"to", 't', "NODES", 0, "The nodes to send to: host,host:7400,node[01-16],@FILE,slurm:", 0},
	{"transport", KEY_TRANSPORT, "HOW", 0,
	 "Move the image over auto, tcp or rdma (default auto: RDMA where both ends have it)", 0},
	{"verify-only", KEY_VERIFY, NULL, 0,
	 "Send nothing: have the nodes read what they have, and say whether it is good", 0},
	{0},
};

static void check_auto(const struct send_options *opt, struct argp_state *state)
{
	if (!opt->automatic && (opt->ask.n || opt->inventory))
		argp_failure(state, LSC_EXIT_USAGE, 0, "--%s is for --sources auto",
			     opt->ask.n ? "ask" : "inventory");
	if (!opt->automatic)
		return;
	if (opt->sources.n)
		argp_failure(state, LSC_EXIT_USAGE, 0,
			     "--sources is auto or nodes; --ask names others that may have it");
	if (opt->launch)
		argp_failure(state, LSC_EXIT_USAGE, 0, "--sources auto asks nodes that are there");
	if (opt->verify_only)
		argp_failure(state, LSC_EXIT_USAGE, 0, "--verify-only has no sources");
}

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
	check_auto(opt, state);
	if (opt->inventory && lsc_cast_send_inventory(&opt->ask, opt->inventory, &err) < 0)
		exit(lsc_tool_finish(-err.code, &err));
	lsc_tool_check(state,
		       lsc_sending_settle(&opt->to, &opt->sources, &opt->exclude, opt->port,
					  opt->launch, &err),
		       &err);
	lsc_tool_check(
		state,
		lsc_sending_settle_asked(&opt->ask, &opt->to, &opt->exclude, opt->port, &err),
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
		opt->automatic = opt->automatic || !strcmp(arg, "auto");
		if (!strcmp(arg, "auto"))
			return 0;
		return lsc_names_add(&opt->sources, arg, err);
	case KEY_ASK:
		return lsc_names_add(&opt->ask, arg, err);
	case KEY_EXCLUDE:
		return lsc_names_add(&opt->exclude, arg, err);
	case KEY_PORT:
		return lsc_parse_uint(arg, 1, 65535, &opt->port, err);
	case 'x':
		opt->exec = arg;
		return lsc_name_check_worker(arg, err);
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
	case 'N':
		opt->name = arg;
		return 0;
	case KEY_INVENTORY:
		opt->inventory = arg;
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
	case KEY_TRANSPORT:
		lsc_tool_check(state, lsc_transport_parse(arg, &opt->transport, &err), &err);
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

/* Whether the image is one that others have, and IMAGE its name there. */
static bool is_elsewhere(const struct send_options *opt)
{
	return opt->automatic && !strchr(opt->image, '/') && access(opt->image, F_OK) < 0 &&
	       errno == ENOENT;
}

static int open_subject(struct lsc_subject *subject, const struct send_options *opt,
			struct lsc_err *err)
{
	if (!is_elsewhere(opt))
		return lsc_subject_open(subject, opt->image, opt->raw, err);
	if (opt->exec)
		return lsc_err_set(err, EINVAL, "--exec, and there is no image '%s' here",
				   opt->image);
	return lsc_subject_name(subject, opt->name ? opt->name : opt->image, err);
}

static int run_send(struct send_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_subject_close) struct lsc_subject subject = LSC_SUBJECT_INIT;
	struct lsc_loop *loop = NULL;
	const char *name;
	int r;

	if (opt->raw)
		signal(SIGBUS, on_cut_file);
	r = open_subject(&subject, opt, err);
	name = opt->name ? opt->name : subject.name;
	if (r < 0)
		return r;
	if (opt->dry_run && !opt->automatic)
		return lsc_cast_send_plan(opt, &subject, name, err);
	r = lsc_loop_new(&loop, err);
	if (r == 0)
		r = opt->verify_only ? lsc_cast_send_verify(opt, &subject, name, loop, err)
		    : opt->automatic ? lsc_cast_send_auto(opt, &subject, name, loop, err)
				     : lsc_cast_send_run(opt, &subject, name, loop, err);
	lsc_loop_free(loop);
	return r;
}

/* Whether there may be links to all nodes, and with which key. */
static int open_access(struct send_options *opt, struct lsc_err *err)
{
	int r = lsc_access_open(&opt->access, err);

	if (r == 0)
		r = lsc_sending_check_access(&opt->access, &opt->to, &opt->sources, opt->launch,
					     err);
	if (r == 0)
		r = lsc_sending_check_access(&opt->access, &opt->ask, &opt->sources, false, err);
	if (r == 0 && opt->cleartext && !opt->access.key)
		r = lsc_err_set(err, EINVAL,
				"--cleartext-data needs --key-file: without a key "
				"all is cleartext");
	if (r == 0 && opt->access.insecure)
		lsc_warning("--insecure: whoever is on the way can read and change the image");
	return r;
}

int lsc_cast_send_main(int argc, char **argv)
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
	r = opt.dry_run && !opt.automatic ? 0 : open_access(&opt, &err);
	if (r == 0)
		r = run_send(&opt, &err);
	lsc_access_close(&opt.access);
	lsc_names_release(&opt.to);
	lsc_names_release(&opt.sources);
	lsc_names_release(&opt.exclude);
	lsc_names_release(&opt.ask);
	return lsc_tool_finish(r, &err);
}
