/* lsc-tier gc - cleans the directory of images of what crashes left */
#include <stdio.h>

#include "base/amount.h"
#include "base/cleanup.h"
#include "cli/tool.h"
#include "commands.h"

struct gc_options {
	const char *tier;
	bool parts;
};

enum { KEY_PARTS = 0x500 };

static const struct argp_option gc_table[] = {
	{"parts", KEY_PARTS, NULL, 0, "Also what has arrived of images that nobody receives", 0},
	TIER_ROW,
	{0},
};

static error_t parse_gc(int key, char *arg, struct argp_state *state)
{
	struct gc_options *opt = state->input;

	switch (key) {
	case KEY_PARTS:
		opt->parts = true;
		return 0;
	case 'T':
		opt->tier = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int gc(const struct gc_options *opt, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_lender_close) struct lsc_lender lender = LSC_LENDER_INIT;
	uint64_t freed = 0, used = 0;
	int r = lsc_lender_open(&lender, tier_address(opt->tier), err);

	if (r < 0)
		return r;
	lsc_pack_begin(&lender.pack, "gc");
	lsc_pack_bool(&lender.pack, "parts", opt->parts);
	lsc_pack_end(&lender.pack);
	r = lsc_lender_ask(&lender, NULL, 0, err);
	if (r == 0)
		r = lsc_record_uint_or(&lender.packet.record, "freed", INT64_MAX, 0, &freed, err);
	if (r == 0)
		r = lsc_record_uint_or(&lender.packet.record, "used", INT64_MAX, 0, &used, err);
	if (r == 0)
		printf("%s freed, %s in use\n", lsc_amount_bytes(freed).text,
		       lsc_amount_bytes(used).text);
	return r;
}

int lsc_tier_gc_main(int argc, char **argv)
{
	static const struct argp argp = {
		gc_table, parse_gc, NULL, "Remove what crashes left in the directory of images.",
		NULL,     NULL,     NULL};
	struct gc_options opt = {.tier = NULL};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(gc(&opt, &err), &err);
}
