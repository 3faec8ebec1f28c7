/* lsc-tier prewarm - has images come from disk to memory by a given time, as gently as can be
 *
 * When that begins and how fast it is are decided in lib/plan/prewarm.c, of what the tier says is
 * missing; after the wait it is asked once more.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/amount.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "cli/tool.h"
#include "commands.h"
#include "plan/prewarm.h"

#define MARGIN  0.1 /* of the time that it takes */
#define SPARE_S 2.0 /* and that much: what was read is checked and sealed */

struct prewarm_options {
	const char *tier, *by_text;
	double by, at_most, at_least, disk;
	bool dry_run;
	char **images;
	int n_images;
};

enum { KEY_BY = 0x500, KEY_MOST, KEY_LEAST, KEY_READS };

static const struct argp_option prewarm_table[] = {
	{"at-least", KEY_LEAST, "RATE", 0,
	 "Begin later rather than read slower (default: a tenth of what it may)", 0},
	{"at-most", KEY_MOST, "RATE", 0, "Read no faster than that: 200M/s", 0},
	{"by", KEY_BY, "TIME", 0, "When they are to be there: 08:55, 2026-12-01 08:55, +90min", 0},
	{"disk", KEY_READS, "RATE", 0, "What the disk reads at (default: --at-most)", 0},
	{"dry-run", 'n', NULL, 0, "Say when it would begin, and how fast it would be", 0},
	TIER_ROW,
	{0},
};

static void check(struct prewarm_options *opt, struct argp_state *state)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (!opt->n_images)
		argp_failure(state, LSC_EXIT_USAGE, 0, "IMAGE is missing");
	if (!opt->by_text)
		argp_failure(state, LSC_EXIT_USAGE, 0, "--by is missing");
	if (!(opt->at_most > 0) && !(opt->disk > 0))
		argp_failure(state, LSC_EXIT_USAGE, 0, "--at-most or --disk is missing");
	lsc_tool_check(state,
		       lsc_prewarm_parse_time(opt->by_text, lsc_clock_wall_s(), &opt->by, &err),
		       &err);
}

static error_t parse_prewarm(int key, char *arg, struct argp_state *state)
{
	struct prewarm_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;

	switch (key) {
	case KEY_BY:
		opt->by_text = arg;
		return 0;
	case KEY_MOST:
		lsc_tool_check(state, lsc_parse_rate(arg, &opt->at_most, &err), &err);
		return 0;
	case KEY_LEAST:
		lsc_tool_check(state, lsc_parse_rate(arg, &opt->at_least, &err), &err);
		return 0;
	case KEY_READS:
		lsc_tool_check(state, lsc_parse_rate(arg, &opt->disk, &err), &err);
		return 0;
	case 'n':
		opt->dry_run = true;
		return 0;
	case 'T':
		opt->tier = arg;
		return 0;
	case ARGP_KEY_ARGS:
		opt->images = state->argv + state->next;
		opt->n_images = state->argc - state->next;
		return 0;
	case ARGP_KEY_END:
		check(opt, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- what is missing --- */

static int find(const struct prewarm_options *opt, const char *name)
{
	for (int i = 0; i < opt->n_images; i++)
		if (!strcmp(opt->images[i], name))
			return i;
	return -1;
}

static double missing_of(const struct tier_image *image)
{
	if (image->whole)
		return 0;
	return (double)image->bytes *
	       (image->pieces ? 1 - (double)image->have / (double)image->pieces : 1);
}

/* Bytes of all of them that are not in memory. */
static int ask_missing(const struct prewarm_options *opt, struct lsc_lender *lender,
		       uint64_t *ret_bytes, struct lsc_err *err)
{
	LSC_CLEANUP_FREE bool *seen = calloc((size_t)opt->n_images, sizeof(*seen));
	int r = seen ? tier_ask(lender, "list", NULL, err) : lsc_err_set(err, ENOMEM, "%m");
	double bytes = 0;

	while (r == 0 && lsc_record_is(&lender->packet.record, "image")) {
		struct tier_image image;
		int at;

		r = tier_image_read(&lender->packet.record, &image, err);
		if (r == 0) {
			at = find(opt, image.name);
			bytes += at >= 0 ? missing_of(&image) : 0;
			if (at >= 0)
				seen[at] = true;
			r = lsc_lender_next(lender, err);
		}
	}
	for (int i = 0; r == 0 && i < opt->n_images; i++)
		if (!seen[i] && find(opt, opt->images[i]) == i)
			r = lsc_err_set(err, ENOENT, "no image '%s' here", opt->images[i]);
	if (r == 0)
		*ret_bytes = (uint64_t)bytes;
	return r;
}

static int make_plan(const struct prewarm_options *opt, struct lsc_prewarm_plan *ret_plan,
		     uint64_t *ret_bytes, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_lender_close) struct lsc_lender lender = LSC_LENDER_INIT;
	struct lsc_prewarm prewarm = {.by = opt->by,
				      .device = opt->disk > 0 ? opt->disk : opt->at_most,
				      .at_most = opt->at_most,
				      .at_least = opt->at_least,
				      .margin = MARGIN,
				      .spare = SPARE_S};
	int r = lsc_lender_open(&lender, tier_address(opt->tier), err);

	if (r == 0)
		r = ask_missing(opt, &lender, &prewarm.bytes, err);
	if (r < 0)
		return r;
	*ret_bytes = prewarm.bytes;
	prewarm.now = lsc_clock_wall_s();
	return lsc_prewarm_plan(&prewarm, ret_plan, err);
}

/* --- what is done --- */

static void say_clock(double moment, char text[64])
{
	time_t when = (time_t)moment;
	struct tm tm;

	if (!localtime_r(&when, &tm) || !strftime(text, 64, "%F %H:%M:%S", &tm))
		snprintf(text, 64, "%.0f", moment);
}

static void say_plan(const struct prewarm_options *opt, const struct lsc_prewarm_plan *plan,
		     uint64_t bytes)
{
	char start[64], end[64];

	say_clock(plan->start, start);
	say_clock(plan->end, end);
	if (!bytes)
		lsc_notice("all is in memory");
	else
		lsc_notice("%s from %s on, at %s: there at %s", lsc_amount_bytes(bytes).text, start,
			   lsc_amount_rate(plan->rate).text, end);
	if (plan->late > 0)
		lsc_warning("that is %s late: '%s' cannot be met at that rate",
			    lsc_amount_seconds(plan->late).text, opt->by_text);
}

/* The clock may be set meanwhile: it is the time of day that counts. */
static void wait_until(double moment)
{
	const struct timespec then = {.tv_sec = (time_t)moment,
				      .tv_nsec = (long)((moment - (double)(time_t)moment) * 1e9)};

	while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &then, NULL) == EINTR)
		;
}

static int load(const struct prewarm_options *opt, double rate, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_lender_close) struct lsc_lender lender = LSC_LENDER_INIT;
	int r = lsc_lender_open(&lender, tier_address(opt->tier), err);

	for (int i = 0; r == 0 && i < opt->n_images; i++) {
		lsc_pack_begin(&lender.pack, "load");
		lsc_pack_str(&lender.pack, "name", opt->images[i]);
		lsc_pack_real(&lender.pack, "rate", rate);
		lsc_pack_bool(&lender.pack, "wait", true);
		lsc_pack_end(&lender.pack);
		r = lsc_lender_ask(&lender, NULL, 0, err);
	}
	return r;
}

static int run(const struct prewarm_options *opt, struct lsc_err *err)
{
	struct lsc_prewarm_plan plan;
	uint64_t bytes;
	double late;
	int r = make_plan(opt, &plan, &bytes, err);

	if (r < 0)
		return r;
	say_plan(opt, &plan, bytes);
	if (opt->dry_run)
		return plan.late > 0 ? LSC_EXIT_NO : 0;
	if (bytes && plan.start > lsc_clock_wall_s()) {
		wait_until(plan.start);
		r = make_plan(opt, &plan, &bytes, err);
	}
	if (r == 0)
		r = load(opt, plan.rate, err);
	if (r < 0)
		return r;
	late = lsc_clock_wall_s() - opt->by;
	if (!bytes || late <= 0)
		return 0;
	lsc_error("ready %s late", lsc_amount_seconds(late).text);
	return LSC_EXIT_NO;
}

int lsc_tier_prewarm_main(int argc, char **argv)
{
	static const struct argp argp = {
		prewarm_table, parse_prewarm,
		"IMAGE...",    "Have images in memory by a given time, read as gently as can be.",
		NULL,          NULL,
		NULL};
	struct prewarm_options opt = {.tier = NULL};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(run(&opt, &err), &err);
}
