/* lsc-sim cast - how soon a model is on many nodes, by our way and by others'
 *
 * What happens in a cast is lib/sim/multicast.c's to know, and what the systems are
 * lib/sim/system.c's; this turns a command line into rows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cli/tool.h"
#include "commands.h"
#include "model/image.h"
#include "multicasts.h"

#define DEFAULT_SYSTEMS "lsc,lambdascale,faasnet,nccl,bound"

enum { KEY_BYTES = 0x100, KEY_IMAGE, KEY_JSON, KEY_LINK, KEY_DISK };

static const struct argp_option table[] = {
	{"model", 'm', "SHAPE", 0, "A known model's shape, as of lsc-shard pack --dummy", 0},
	{"image", KEY_IMAGE, "DIR", 0, "The image in DIR", 0},
	{"bytes", KEY_BYTES, "SIZE", 0, "So many bytes, in 16 blocks", 0},
	{"cluster", 'c', "FILE", 0, "The nodes, sources first; - is standard input", 0},
	{"link", KEY_LINK, "RATE", 0, "Instead: as many nodes as needed, with such links", 0},
	{"disk", KEY_DISK, "RATE", 0, "With --link: nodes read from a disk at RATE", 0},
	{"sources", 's', "K", 0, "Nodes that have the model (default 1)", 0},
	{"receivers", 'r', "N,...", 0, "Nodes that get it (default 1,2,4,8)", 0},
	{"system", 'S', "NAME,...", 0, "Which ways, or all (default " DEFAULT_SYSTEMS ")", 0},
	{"json", KEY_JSON, NULL, 0, "Print JSON lines, not a table", 0},
	{0},
};

/* Numbers of receivers, separated by commas. */
static int parse_receivers(const char *text, struct multicasts *m, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *copy = strdup(text);
	uint64_t value;
	int r = 0;

	if (!copy)
		return lsc_err_set(err, ENOMEM, "cannot read '%s': %m", text);
	m->n_receivers = 0;
	for (char *at = copy, *word; r == 0 && (word = strsep(&at, ","));) {
		if (m->n_receivers == MULTICASTS_MAX)
			return lsc_err_set(err, EINVAL, "more than %u numbers of receivers",
					   MULTICASTS_MAX);
		r = lsc_parse_uint(word, 1, LSC_SITE_MAX_NODES, &value, err);
		if (r == 0)
			m->receivers[m->n_receivers++] = (uint32_t)value;
	}
	return r;
}

static int parse_value(int key, char *arg, struct multicasts *m, struct lsc_err *err)
{
	switch (key) {
	case KEY_BYTES:
		return lsc_parse_size(arg, &m->bytes, err);
	case KEY_LINK:
		return lsc_parse_rate(arg, &m->link, err);
	case KEY_DISK:
		return lsc_parse_rate(arg, &m->disk, err);
	case 's':
		return lsc_parse_uint(arg, 1, LSC_SITE_MAX_NODES, &m->sources, err);
	case 'r':
		return parse_receivers(arg, m, err);
	default:
		m->all_systems = !strcmp(arg, "all");
		return lsc_systems_parse(arg, m->systems, &m->n_systems, err);
	}
}

static void check(struct argp_state *state, const struct multicasts *m)
{
	if (!!m->shape + !!m->image_path + !!m->bytes != 1)
		argp_failure(state, LSC_EXIT_USAGE, 0, "want one of --model, --image and --bytes");
	if (!!m->cluster_path + (m->link > 0) != 1)
		argp_failure(state, LSC_EXIT_USAGE, 0, "want one of --cluster and --link");
	if (m->disk > 0 && !(m->link > 0))
		argp_failure(state, LSC_EXIT_USAGE, 0, "--disk goes with --link");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct multicasts *m = state->input;
	struct lsc_err err = LSC_ERR_INIT;

	switch (key) {
	case 'm':
		m->shape = arg;
		return 0;
	case KEY_IMAGE:
		m->image_path = arg;
		return 0;
	case 'c':
		m->cluster_path = arg;
		return 0;
	case KEY_JSON:
		m->format = MULTICASTS_JSON;
		return 0;
	case KEY_BYTES:
	case KEY_LINK:
	case KEY_DISK:
	case 's':
	case 'r':
	case 'S':
		lsc_tool_check(state, parse_value(key, arg, m, &err), &err);
		return 0;
	case ARGP_KEY_END:
		check(state, m);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static int get_cargo(struct multicasts *m, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	int r;

	if (m->shape)
		return lsc_cargo_of_shape(&m->cargo, m->shape, err);
	if (m->bytes)
		return lsc_cargo_init(&m->cargo, m->bytes, LSC_MIN(m->bytes, 16u), 0, err);
	r = lsc_image_open(&image, m->image_path, err);
	return r < 0 ? r : lsc_cargo_of(&m->cargo, &image, err);
}

static int get_cluster(struct multicasts *m, struct lsc_err *err)
{
	uint64_t most = m->sources;
	char text[128], disk[40] = "";
	int len, r;

	for (uint32_t i = 0; i < m->n_receivers; i++)
		most = LSC_MAX(most, m->sources + m->receivers[i]);
	if (m->cluster_path)
		r = lsc_site_read(&m->site, m->cluster_path, err);
	else {
		if (m->disk > 0)
			snprintf(disk, sizeof(disk), " disk=%.17g", m->disk);
		len = snprintf(text, sizeof(text), "nodes=%llu link=%.17g%s",
			       (unsigned long long)most, m->link, disk);
		r = lsc_site_parse(&m->site, text, (size_t)len, err);
	}
	if (r == 0 && most > m->site.n_nodes)
		return lsc_err_set(err, EINVAL, "%llu nodes are needed, and the cluster has %u",
				   (unsigned long long)most, m->site.n_nodes);
	return r;
}

/* Whether the cluster has what a system needs. */
static bool can(const struct multicasts *m, const struct lsc_system *system, uint32_t receivers)
{
	bool disks = true;

	for (uint32_t i = 0; i < receivers; i++)
		disks &= m->site.nodes[m->sources + i].disk > 0;
	return disks || system->way != LSC_WAY_DISK;
}

static double bound_of(const struct lsc_multicast_options *options)
{
	struct lsc_multicast_result result = {0};
	const struct lsc_system bound = {.name = "bound", .way = LSC_WAY_BOUND};
	double all = 0;

	if (lsc_multicast_run(&bound, options, &result, NULL) == 0)
		all = result.all;
	lsc_multicast_release(&result);
	return all;
}

static int run_one(struct multicasts *m, const struct lsc_system *system, uint32_t receivers,
		   struct lsc_buf *out, struct lsc_err *err)
{
	const struct lsc_multicast_options options = {
		.site = &m->site,
		.cargo = &m->cargo,
		.sources = (uint32_t)m->sources,
		.receivers = receivers,
	};
	struct lsc_multicast_result result = {0};
	const struct multicast_row row = {.system = system,
					  .receivers = receivers,
					  .bound = bound_of(&options),
					  .result = &result};
	int r = lsc_multicast_run(system, &options, &result, err);

	if (r < 0)
		return lsc_err_prefix(err, "%s, %u receiver%s: ", system->name, receivers,
				      receivers == 1 ? "" : "s");
	r = multicasts_row(m, &row, out);
	lsc_multicast_release(&result);
	if (r == 0)
		r = lsc_write_full(STDOUT_FILENO, out->data, out->len);
	out->len = 0;
	return r < 0 ? lsc_err_set(err, -r, "cannot write standard output: %m") : 0;
}

static int run(struct multicasts *m, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf out = LSC_BUF_INIT;
	int r = get_cargo(m, err);

	if (r == 0)
		r = get_cluster(m, err);
	if (r < 0)
		return r;
	r = multicasts_begin(m, &out);
	for (uint32_t i = 0; r == 0 && i < m->n_receivers; i++)
		for (unsigned k = 0; r == 0 && k < m->n_systems; k++)
			if (!m->all_systems || can(m, m->systems[k], m->receivers[i]))
				r = run_one(m, m->systems[k], m->receivers[i], &out, err);
	if (r == 0)
		r = multicasts_end(m, &out);
	if (r == 0)
		r = lsc_write_full(STDOUT_FILENO, out.data, out.len);
	return r < 0 && !err->code ? lsc_err_set(err, -r, "cannot write standard output: %m") : r;
}

int lsc_sim_cast_main(int argc, char **argv)
{
	static const struct argp argp = {
		table, parse, NULL, "Simulate casts of a model to many nodes, in several ways.",
		NULL,  NULL,  NULL};
	struct multicasts m = {.sources = 1,
			       .site = LSC_SITE_INIT,
			       .cargo = LSC_CARGO_INIT,
			       .receivers = {1, 2, 4, 8},
			       .n_receivers = 4};
	struct lsc_err err = LSC_ERR_INIT;
	int status;

	lsc_systems_parse(DEFAULT_SYSTEMS, m.systems, &m.n_systems, NULL);
	lsc_tool_parse(&argp, argc, argv, &m);
	status = lsc_tool_finish(run(&m, &err), &err);
	lsc_site_release(&m.site);
	lsc_cargo_release(&m.cargo);
	return status;
}
