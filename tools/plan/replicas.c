/* lsc-plan start - where replicas of a model are ready soonest
 *
 * What a way costs and who is chosen is decided in lib/plan/start.c, what an inventory is in
 * lib/stream/inventory.c.  Nothing is started here: --commands writes what would do it.
 */
#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/amount.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cli/tool.h"
#include "commands.h"
#include "holders.h"
#include "replicas.h"

enum {
	KEY_TIER = 0x100,
	KEY_BYTES,
	KEY_PIECE_BYTES,
	KEY_DISK,
	KEY_LINK,
	KEY_GPU,
	KEY_JSON,
	KEY_RECORDS,
	KEY_COMMANDS,
};

static const struct argp_option table[] = {
	{"model", 'm', "NAME", 0, "The image that is to be started", 0},
	{"replicas", 'r', "N", 0, "How many nodes are to have it (default 1)", 0},
	{"tier", KEY_TIER, "TIER", 0,
	 "gpu or host: where a replica is ready (default gpu, where any node has one)", 0},
	{"bytes", KEY_BYTES, "SIZE", 0, "Size of the image (default: what the inventory says)", 0},
	{"piece-bytes", KEY_PIECE_BYTES, "SIZE", 0, "What a cast sends at a time (default 4M)", 0},
	{"disk", KEY_DISK, "RATE", 0, "Of nodes whose disk's speed is not known: 3G/s", 0},
	{"link", KEY_LINK, "RATE", 0, "Of nodes whose link's speed is not known: 100gbit", 0},
	{"gpu", KEY_GPU, "RATE", 0, "Of nodes where copying to the GPU is not known: 25G/s", 0},
	{"json", KEY_JSON, NULL, 0, "Write records as JSON lines, not a table", 0},
	{"records", KEY_RECORDS, NULL, 0, "Write records", 0},
	{"commands", KEY_COMMANDS, NULL, 0, "Write the commands that would do it", 0},
	{"force", 'f', NULL, 0, "Write records to a terminal as well", 0},
	{0},
};

static int parse_tier(const char *arg, struct replicas_options *opt, struct lsc_err *err)
{
	opt->has_tier = true;
	opt->tier = LSC_TIER_GPU;
	if (!strcmp(arg, "gpu"))
		return 0;
	opt->tier = LSC_TIER_HOST;
	if (!strcmp(arg, "host"))
		return 0;
	return lsc_err_set(err, EINVAL, "'%s' is neither gpu nor host", arg);
}

static int parse_value(int key, char *arg, struct replicas_options *opt, struct lsc_err *err)
{
	switch (key) {
	case 'r':
		return lsc_parse_uint(arg, 1, LSC_INVENTORY_MAX_NODES, &opt->replicas, err);
	case KEY_TIER:
		return parse_tier(arg, opt, err);
	case KEY_BYTES:
		return lsc_parse_size(arg, &opt->bytes, err);
	case KEY_PIECE_BYTES:
		return lsc_parse_size(arg, &opt->piece_bytes, err);
	case KEY_DISK:
		return lsc_parse_rate(arg, &opt->disk, err);
	case KEY_LINK:
		return lsc_parse_rate(arg, &opt->link, err);
	default:
		return lsc_parse_rate(arg, &opt->gpu, err);
	}
}

static int add_file(struct replicas_options *opt, char *arg, struct lsc_err *err)
{
	if (opt->n_files == LSC_ARRAY_SIZE(opt->files))
		return lsc_err_set(err, EINVAL, "more than %zu files; they may be put into one",
				   LSC_ARRAY_SIZE(opt->files));
	opt->files[opt->n_files++] = arg;
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct replicas_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;

	switch (key) {
	case 'm':
		opt->model = arg;
		return 0;
	case KEY_JSON:
		opt->format = REPLICAS_JSON;
		return 0;
	case KEY_RECORDS:
		opt->format = REPLICAS_RECORDS;
		return 0;
	case KEY_COMMANDS:
		opt->format = REPLICAS_COMMANDS;
		return 0;
	case 'f':
		opt->force = true;
		return 0;
	case ARGP_KEY_ARG:
		lsc_tool_check(state, add_file(opt, arg, &err), &err);
		return 0;
	case ARGP_KEY_END:
		if (!opt->model)
			argp_failure(state, LSC_EXIT_USAGE, 0, "--model is needed");
		return 0;
	case 'r':
	case KEY_TIER:
	case KEY_BYTES:
	case KEY_PIECE_BYTES:
	case KEY_DISK:
	case KEY_LINK:
	case KEY_GPU:
		lsc_tool_check(state, parse_value(key, arg, opt, &err), &err);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static int read_file(struct lsc_inventory *inventory, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP_FD int fd = -1;
	int r;

	if (!strcmp(path, "-")) {
		r = lsc_inventory_read(inventory, STDIN_FILENO, err);
		return r < 0 ? lsc_err_prefix(err, "standard input: ") : 0;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	r = lsc_inventory_read(inventory, fd, err);
	return r < 0 ? lsc_err_prefix(err, "'%s': ", path) : 0;
}

static int read_all(const struct replicas_options *opt, struct lsc_inventory *inventory,
		    struct lsc_err *err)
{
	int r = opt->n_files ? 0 : read_file(inventory, "-", err);

	for (size_t i = 0; i < opt->n_files && !r; i++)
		r = read_file(inventory, opt->files[i], err);
	return r;
}

/* Speeds that the inventory does not tell, and the tier, where it is not said. */
static void complete(const struct replicas_options *opt, const struct lsc_inventory *inventory,
		     struct holders *holders, struct lsc_start *start)
{
	start->target = opt->has_tier ? opt->tier : LSC_TIER_HOST;
	for (uint32_t i = 0; i < holders->n_nodes; i++) {
		struct lsc_start_node *node = &holders->nodes[i];
		bool has_gpu = inventory->nodes[i].rooms[LSC_TIER_GPU].capacity > 0;

		if (!(node->disk > 0))
			node->disk = opt->disk;
		if (!(node->link > 0))
			node->link = opt->link;
		if (!(node->gpu > 0) && has_gpu)
			node->gpu = opt->gpu;
		if (has_gpu && !opt->has_tier)
			start->target = LSC_TIER_GPU;
	}
}

static int choose(const struct replicas_options *opt, struct holders *holders,
		  struct lsc_start *start, struct lsc_err *err)
{
	LSC_CLEANUP_FREE struct lsc_start_choice *choices =
		calloc(holders->n_nodes + (size_t)1, sizeof(*choices));
	int found = choices ? lsc_start_choose(start, choices) : -ENOMEM, r;

	if (found < 0)
		return lsc_err_set(err, -found, "%m");
	r = replicas_output(opt, holders, start, choices, (uint32_t)found, err);
	if (r < 0)
		return r;
	if ((uint32_t)found == start->replicas)
		return 0;
	lsc_error("'%s' can be ready on %d of %u nodes", opt->model, found, start->replicas);
	return LSC_EXIT_NO;
}

static int run(const struct replicas_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_inventory_release) struct lsc_inventory inventory = LSC_INVENTORY_INIT;
	LSC_CLEANUP(holders_release) struct holders holders = {0};
	struct lsc_start start = {0};
	int r;

	if (opt->format == REPLICAS_RECORDS && isatty(STDOUT_FILENO) && !opt->force)
		return lsc_err_set(err, EINVAL, "records are binary: -f writes them to a terminal");
	r = read_all(opt, &inventory, err);
	if (!r)
		r = holders_init(&holders, &inventory, opt->model, err);
	if (r < 0)
		return r;
	if (!holders.image && !opt->bytes) {
		lsc_error("no node has '%s'", opt->model);
		return LSC_EXIT_NO;
	}
	if (holders.others)
		lsc_warning("%u copies of '%s' are of another image, ignoring", holders.others,
			    opt->model);
	start = (struct lsc_start){.bytes = opt->bytes ? opt->bytes : holders.image->bytes,
				   .piece_bytes = opt->piece_bytes,
				   .n_blocks = holders.n_blocks,
				   .replicas = (uint32_t)opt->replicas,
				   .nodes = holders.nodes,
				   .n_nodes = holders.n_nodes};
	complete(opt, &inventory, &holders, &start);
	return choose(opt, &holders, &start, err);
}

int lsc_plan_start_main(int argc, char **argv)
{
	static const struct argp argp = {
		table,       parse,
		"[FILE...]", "Say where replicas of a model are ready soonest, and from what.",
		NULL,        NULL,
		NULL,
	};
	struct replicas_options opt = {.replicas = 1, .piece_bytes = 4 << 20};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(run(&opt, &err), &err);
}
