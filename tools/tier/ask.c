/* lsc-tier pin, evict, watch ... - what is asked of a tier about images, and answered in a word */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/amount.h"
#include "base/cleanup.h"
#include "cli/tool.h"
#include "commands.h"

struct ask_options {
	const char *tier;
	char **images;
	int n_images;
};

static const struct argp_option do_table[] = {TIER_ROW, {0}};

static error_t parse_say(int key, char *arg, struct argp_state *state)
{
	struct ask_options *opt = state->input;

	switch (key) {
	case 'T':
		opt->tier = arg;
		return 0;
	case ARGP_KEY_ARGS:
		opt->images = state->argv + state->next;
		opt->n_images = state->argc - state->next;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse_do(int key, char *arg, struct argp_state *state)
{
	struct ask_options *opt = state->input;

	if (key == ARGP_KEY_END && !opt->n_images)
		argp_failure(state, LSC_EXIT_USAGE, 0, "IMAGE is missing");
	return parse_say(key, arg, state);
}

/* --- what happens --- */

static int watch(const struct ask_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_lender_close) struct lsc_lender lender = LSC_LENDER_INIT;
	int r = lsc_lender_open(&lender, tier_address(opt->tier), err);

	if (r == 0)
		r = tier_ask(&lender, "watch", NULL, err);
	while (r == 0) {
		r = tier_print_json(&lender.packet, err);
		if (r == 0)
			r = lsc_lender_next(&lender, err);
	}
	return r;
}

int lsc_tier_watch_main(int argc, char **argv)
{
	static const struct argp argp = {
		do_table, parse_say, NULL, "Say what happens to images, as JSON lines, as it does.",
		NULL,     NULL,      NULL};
	struct ask_options opt = {.tier = NULL};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(watch(&opt, &err), &err);
}

/* --- what has no answer but that it was done --- */

static int each(const struct ask_options *opt, const char *what, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_lender_close) struct lsc_lender lender = LSC_LENDER_INIT;
	int r = lsc_lender_open(&lender, tier_address(opt->tier), err);

	for (int i = 0; r == 0 && i < opt->n_images; i++)
		r = tier_ask(&lender, what, opt->images[i], err);
	return r;
}

static int each_main(int argc, char **argv, const char *what, const char *about)
{
	const struct argp argp = {do_table, parse_do, "IMAGE...", about, NULL, NULL, NULL};
	struct ask_options opt = {.tier = NULL};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(each(&opt, what, &err), &err);
}

static int explain(const struct ask_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_lender_close) struct lsc_lender lender = LSC_LENDER_INIT;
	char text[LSC_ERR_TEXT];
	int r = lsc_lender_open(&lender, tier_address(opt->tier), err);

	for (int i = 0; r == 0 && i < opt->n_images; i++) {
		r = tier_ask(&lender, "explain", opt->images[i], err);
		if (r == 0)
			r = lsc_record_text(&lender.packet.record, "why", text, sizeof(text), err);
		if (r == 0)
			printf("%s: %s\n", opt->images[i], text);
	}
	return r;
}

int lsc_tier_explain_main(int argc, char **argv)
{
	static const struct argp argp = {
		do_table, parse_do, "IMAGE...", "Say why images stay in memory, and when they go.",
		NULL,     NULL,     NULL};
	struct ask_options opt = {.tier = NULL};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(explain(&opt, &err), &err);
}

int lsc_tier_pin_main(int argc, char **argv)
{
	return each_main(argc, argv, "pin", "Keep images where they are, whatever needs the room.");
}

int lsc_tier_unpin_main(int argc, char **argv)
{
	return each_main(argc, argv, "unpin", "Let images go when their turn comes.");
}

int lsc_tier_evict_main(int argc, char **argv)
{
	return each_main(argc, argv, "evict", "Take images out of memory that nobody uses.");
}

int lsc_tier_rm_main(int argc, char **argv)
{
	return each_main(argc, argv, "remove", "Remove images from memory and disk.");
}
