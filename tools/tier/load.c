/* lsc-tier load - has images come from disk to memory */
#include "base/cleanup.h"
#include "base/parse.h"
#include "cli/tool.h"
#include "commands.h"
#include "tier/wishes.h"

struct load_options {
	const char *tier;
	double rate;
	int priority; /* -1: as it is */
	bool no_wait;
	char **images;
	int n_images;
};

enum { KEY_RATE = 0x400, KEY_NO_WAIT, KEY_PRIORITY };

static const struct argp_option load_table[] = {
	{"at-most", KEY_RATE, "RATE", 0, "Read no faster than that: 200M/s", 0},
	{"no-wait", KEY_NO_WAIT, NULL, 0, "Do not wait until they are there", 0},
	{"priority", KEY_PRIORITY, "N", 0,
	 "From now on it leaves memory after those of less: 0 to 1000000", 0},
	TIER_ROW,
	{0},
};

static error_t parse_load(int key, char *arg, struct argp_state *state)
{
	struct load_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t number;

	switch (key) {
	case KEY_RATE:
		lsc_tool_check(state, lsc_parse_rate(arg, &opt->rate, &err), &err);
		return 0;
	case KEY_PRIORITY:
		lsc_tool_check(state, lsc_parse_uint(arg, 0, LSC_PRIORITY_MAX, &number, &err),
			       &err);
		opt->priority = (int)number;
		return 0;
	case KEY_NO_WAIT:
		opt->no_wait = true;
		return 0;
	case 'T':
		opt->tier = arg;
		return 0;
	case ARGP_KEY_ARGS:
		opt->images = state->argv + state->next;
		opt->n_images = state->argc - state->next;
		return 0;
	case ARGP_KEY_END:
		if (!opt->n_images)
			argp_failure(state, LSC_EXIT_USAGE, 0, "IMAGE is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int load(const struct load_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_lender_close) struct lsc_lender lender = LSC_LENDER_INIT;
	int r = lsc_lender_open(&lender, tier_address(opt->tier), err);

	for (int i = 0; r == 0 && i < opt->n_images; i++) {
		lsc_pack_begin(&lender.pack, "load");
		lsc_pack_str(&lender.pack, "name", opt->images[i]);
		lsc_pack_real(&lender.pack, "rate", opt->rate);
		lsc_pack_bool(&lender.pack, "wait", !opt->no_wait);
		if (opt->priority >= 0)
			lsc_pack_uint(&lender.pack, "priority", (uint64_t)opt->priority);
		lsc_pack_end(&lender.pack);
		r = lsc_lender_ask(&lender, NULL, 0, err);
	}
	return r;
}

int lsc_tier_load_main(int argc, char **argv)
{
	static const struct argp argp = {
		load_table, parse_load, "IMAGE...", "Have images come from disk to memory.",
		NULL,       NULL,       NULL};
	struct load_options opt = {.priority = -1};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(load(&opt, &err), &err);
}
