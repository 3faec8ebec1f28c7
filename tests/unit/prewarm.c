/* when to begin, at which rate, and what times mean */
#include <math.h>
#include <time.h>

#include "base/macros.h"
#include "plan/prewarm.h"
#include "tap.h"

static struct lsc_prewarm_plan plan;

static bool is_close(double a, double b)
{
	return fabs(a - b) < 1e-6 * fmax(1, fabs(b));
}

static void expect(struct lsc_prewarm prewarm, double start, double rate, double late, bool tight,
		   const char *name)
{
	int r = lsc_prewarm_plan(&prewarm, &plan, NULL);

	if (!ok(!r && is_close(plan.start, start) && is_close(plan.rate, rate) &&
			is_close(plan.late, late) && plan.tight == tight,
		"%s", name))
		printf("# start %g, rate %g, late %g, tight %d\n", plan.start, plan.rate, plan.late,
		       plan.tight);
}

/* 1000 bytes at 100 a second are 10 s, and 1 s of margin, or more where it takes longer. */
static void test_plans(void)
{
	struct lsc_prewarm prewarm = {.bytes = 1000, .device = 100, .margin = 0.1};

	prewarm.by = 55;
	expect(prewarm, 0, 20, 0, false, "all of the time that there is");
	ok(is_close(plan.end, 50), "but for a margin");
	prewarm.by = 1001;
	expect(prewarm, 891, 10, 0, false, "begins later rather than trickle");
	prewarm.at_least = 50;
	expect(prewarm, 979, 50, 0, false, "as is wished");
	prewarm.at_least = 1000;
	expect(prewarm, 990, 100, 0, false, "within what can be");
	prewarm.at_most = 20;
	expect(prewarm, 946, 20, 0, false, "never faster than it may");
	prewarm.at_least = 0;
	prewarm.by = 40;
	expect(prewarm, 0, 20, 10, false, "and late rather than that");
	prewarm.at_most = 0;
	prewarm.by = 10.5;
	expect(prewarm, 0, 100, 0, true, "without all of the margin where time is short");
	prewarm.by = 4;
	expect(prewarm, 0, 100, 6, false, "late where it is shorter");
	prewarm.spare = 2;
	prewarm.by = 13;
	expect(prewarm, 0, 100, 0, false, "some seconds may be kept");
	prewarm.by = 12.9;
	expect(prewarm, 0, 100, 0, true, "if they are there");
	prewarm.spare = 0;
	prewarm.by = 4;
	prewarm.now = 10;
	expect(prewarm, 10, 100, 16, false, "or over");
	prewarm.bytes = 0;
	prewarm.by = 12;
	expect(prewarm, 12, 100, 0, false, "nothing takes no time");
	prewarm.device = 0;
	is_int(lsc_prewarm_plan(&prewarm, &plan, NULL), -EINVAL, "no rate");
}

static uint32_t dice(uint32_t below)
{
	static uint64_t state = 0x9e3779b97f4a7c15ull;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

/* In time whenever it can be, within the rates, never slower than asked. */
static bool holds_for_any(void)
{
	struct lsc_prewarm p = {.now = dice(100),
				.by = dice(300),
				.bytes = dice(5000),
				.device = 1 + dice(100),
				.at_most = dice(2) * dice(150),
				.at_least = dice(2) * dice(150),
				.margin = dice(3) * 0.2,
				.spare = dice(3)};
	double most = p.at_most > 0 ? fmin(p.at_most, p.device) : p.device;
	bool can = p.now + (double)p.bytes / most <= p.by * (1 + 1e-12);

	if (lsc_prewarm_plan(&p, &plan, NULL) < 0)
		return false;
	return plan.start >= p.now && plan.rate <= most * (1 + 1e-9) && plan.rate > 0 &&
	       is_close(plan.end - plan.start, (double)p.bytes / plan.rate) &&
	       (!can || plan.late < 1e-6) && (can || plan.late > 0) &&
	       plan.rate >= fmin(p.at_least, most) * (1 - 1e-9);
}

/* --- times --- */

static void zone(const char *name)
{
	setenv("TZ", name, 1);
	tzset();
}

/* What it is in UTC, as text. */
static void means(const char *text, const char *now, const char *want, const char *name)
{
	struct lsc_err err = LSC_ERR_INIT;
	struct tm tm = {0};
	char got[64];
	double when;
	time_t moment;

	strptime(now, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (lsc_prewarm_parse_time(text, (double)timegm(&tm), &when, &err) < 0) {
		is_str(err.text, want, "%s", name);
		return;
	}
	moment = (time_t)when;
	gmtime_r(&moment, &tm);
	strftime(got, sizeof(got), "%Y-%m-%dT%H:%M:%SZ", &tm);
	is_str(got, want, "%s", name);
}

static void test_times(void)
{
	zone("UTC0");
	means("08:55", "2026-12-01T08:00:00Z", "2026-12-01T08:55:00Z", "today");
	means("08:55", "2026-12-01T08:55:00Z", "2026-12-01T08:55:00Z", "right now");
	means("08:55", "2026-12-01T08:55:01Z", "2026-12-02T08:55:00Z", "else tomorrow");
	means("08:55:30", "2026-12-31T23:00:00Z", "2027-01-01T08:55:30Z", "which is next year");
	means("+90min", "2026-12-01T08:00:00Z", "2026-12-01T09:30:00Z", "from now on");
	means("2026-12-05 08:55", "2026-12-01T08:00:00Z", "2026-12-05T08:55:00Z", "a date");
	means("2026-12-05T08:55:07Z", "2026-12-01T08:00:00Z", "2026-12-05T08:55:07Z", "in UTC");
	means("2026-12-05T08:55+01:00", "2026-12-01T08:00:00Z", "2026-12-05T07:55:00Z", "east");
	means("2026-12-05T08:55-0530", "2026-12-01T08:00:00Z", "2026-12-05T14:25:00Z", "west");
	means("2026-11-30 08:55", "2026-12-01T08:00:00Z", "'2026-11-30 08:55' is over", "over");
}

/* Clocks in Berlin go forward on 29 March 2026 at 2:00, to 3:00, and back on 25 October at 3:00. */
static void test_clocks(void)
{
	zone("CET-1CEST,M3.5.0,M10.5.0/3");
	means("08:55", "2026-03-28T20:00:00Z", "2026-03-29T06:55:00Z", "after clocks went forward");
	means("08:55", "2026-10-24T20:00:00Z", "2026-10-25T07:55:00Z", "after they went back");
	means("02:30", "2026-03-28T20:00:00Z", "2026-03-29T01:30:00Z", "skipped: as much later");
	means("02:30", "2026-03-29T01:31:00Z", "2026-03-30T00:30:00Z", "and then on the next day");
	means("02:30", "2026-10-24T20:00:00Z", "2026-10-25T00:30:00Z", "twice: the first");
	means("02:30", "2026-10-25T00:45:00Z", "2026-10-25T01:30:00Z", "or the second");
	means("02:30", "2026-10-25T01:45:00Z", "2026-10-26T01:30:00Z", "or that of the next day");
	means("2026-03-29 02:30", "2026-03-01T00:00:00Z", "2026-03-29T01:30:00Z", "with a date");
	zone("UTC0");
}

static void test_refused(void)
{
	static const char *const bad[] = {
		"",
		"8",
		"8:55",
		"08:5",
		"08:60",
		"24:00",
		"08:55:60",
		"08:55:",
		"08:55x",
		"08-55",
		"2026",
		"2026-12-05",
		"2026-13-01 08:55",
		"2026-02-30 08:55",
		"2026-12-05 8:55",
		"tomorrow",
		"2026-12-05T08:55+1:00",
		"2026-12-05T08:55+15:00",
		"2026-12-05T08:55ZZ",
		"2026-12-05T08:55+01:0x",
	};
	bool good = true;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(bad); i++) {
		struct lsc_err err = LSC_ERR_INIT;
		double when;

		if (lsc_prewarm_parse_time(bad[i], 0, &when, &err) == -EINVAL && err.text[0])
			continue;
		good = false;
		printf("# '%s' is taken\n", bad[i]);
	}
	ok(good, "what is no time is refused");
}

int main(void)
{
	bool good = true;

	test_plans();
	for (int i = 0; i < 100000 && good; i++)
		good = holds_for_any();
	ok(good, "in time whenever it can be, and as it may");
	test_times();
	test_clocks();
	test_refused();
	return done_testing();
}
