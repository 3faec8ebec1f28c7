/* prewarm - a load's start and rate, and times as people write them */
#include "plan/prewarm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "base/parse.h"

#define GENTLEST 0.1 /* of the rate that it may have, where nothing else is said */

int lsc_prewarm_plan(const struct lsc_prewarm *prewarm, struct lsc_prewarm_plan *ret_plan,
		     struct lsc_err *err)
{
	double most =
		prewarm->at_most > 0 ? LSC_MIN(prewarm->at_most, prewarm->device) : prewarm->device;
	double least = prewarm->at_least > 0 ? LSC_MIN(prewarm->at_least, most) : most * GENTLEST;
	double margin = 1 + LSC_MAX(prewarm->margin, 0), spare = LSC_MAX(prewarm->spare, 0);
	double quickest, time, left = LSC_MAX(prewarm->by - prewarm->now, 0);
	struct lsc_prewarm_plan plan = {0};

	if (!(most > 0))
		return lsc_err_set(err, EINVAL, "nothing can be loaded at a rate of 0");
	quickest = (double)prewarm->bytes / most;
	plan.tight = left < quickest * margin + spare;
	/* The margin is what is given up first. */
	time = plan.tight ? quickest
			  : LSC_MIN((left - spare) / margin, (double)prewarm->bytes / least);
	plan.rate = time > 0 ? (double)prewarm->bytes / time : most;
	plan.start = plan.tight ? prewarm->now
				: LSC_MAX(prewarm->by - spare - time * margin, prewarm->now);
	plan.end = plan.start + time;
	plan.late = LSC_MAX(plan.end - prewarm->by, 0);
	plan.tight = plan.tight && !(plan.late > 0);
	*ret_plan = plan;
	return 0;
}

/* --- times --- */

static int wrong(const char *text, struct lsc_err *err)
{
	return lsc_err_set(err, EINVAL,
			   "'%s' is not a time: want 08:55, 2026-12-01 08:55 or +90min", text);
}

/* "HH:MM" or "HH:MM:SS" up to the end or what may follow: the rest, or NULL. */
static const char *parse_clock(const char *text, struct tm *tm)
{
	int used = 0, seconds = 0;

	tm->tm_sec = 0;
	if (strspn(text, "0123456789") != 2 || strspn(text + 2, ":") != 1 ||
	    strspn(text + 3, "0123456789") != 2 ||
	    sscanf(text, "%2d:%2d%n", &tm->tm_hour, &tm->tm_min, &used) != 2)
		return NULL;
	text += used;
	if (*text == ':') {
		if (strspn(text + 1, "0123456789") != 2 || sscanf(text + 1, "%2d", &seconds) != 1)
			return NULL;
		tm->tm_sec = seconds;
		text += 3;
	}
	return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec < 60 ? text : NULL;
}

/* "YYYY-MM-DD" and a "T" or a blank. */
static const char *parse_date(const char *text, struct tm *tm)
{
	static const char form[] = "dddd-dd-dd";
	struct tm again;

	for (size_t i = 0; i + 1 < sizeof(form); i++)
		if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return NULL;
	sscanf(text, "%4d-%2d-%2d", &tm->tm_year, &tm->tm_mon, &tm->tm_mday);
	tm->tm_year -= 1900;
	tm->tm_mon -= 1;
	again = *tm;
	/* February 30 is March 2 to timegm(). */
	timegm(&again);
	if (again.tm_mon != tm->tm_mon || again.tm_mday != tm->tm_mday)
		return NULL;
	text += sizeof(form) - 1;
	return *text == 'T' || *text == ' ' ? text + 1 : NULL;
}

/* "Z", "+01:00" or "-0530": seconds east of Greenwich. */
static bool parse_offset(const char *text, long *ret_seconds)
{
	int hours, minutes, used = 0;

	*ret_seconds = 0;
	if (!strcmp(text, "Z"))
		return true;
	if ((text[0] != '+' && text[0] != '-') ||
	    strspn(text + 1, "0123456789:") != strlen(text + 1))
		return false;
	if ((sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 || used != 5) &&
	    (sscanf(text + 1, "%2d%2d%n", &hours, &minutes, &used) != 2 || used != 4))
		return false;
	if (text[1 + used] || hours > 14 || minutes > 59)
		return false;
	*ret_seconds = (hours * 60L + minutes) * (text[0] == '-' ? -60 : 60);
	return true;
}

/* What mktime() makes of a local time with summer time, without it, and as it likes. */
static time_t local_time(const struct tm *tm, int is_dst)
{
	struct tm copy = *tm;

	copy.tm_isdst = is_dst;
	return mktime(&copy);
}

static bool shows(time_t when, const struct tm *tm)
{
	struct tm shown;

	return localtime_r(&when, &shown) && shown.tm_mday == tm->tm_mday &&
	       shown.tm_hour == tm->tm_hour && shown.tm_min == tm->tm_min &&
	       shown.tm_sec == tm->tm_sec;
}

/* The first moment from now on at which the local clock shows it; of a time that it never shows,
 * as clocks went forward, that much later; -1 where all of these are over. */
static time_t next_local(const struct tm *tm, time_t now)
{
	time_t best = -1, guess = local_time(tm, -1);
	bool exists = false;

	for (int dst = 1; dst >= 0; dst--) {
		time_t when = local_time(tm, dst);

		if (!shows(when, tm))
			continue;
		exists = true;
		if (when >= now && (best < 0 || when < best))
			best = when;
	}
	if (!exists)
		guess = LSC_MAX(local_time(tm, 0), guess);
	if (best < 0 && !exists && guess >= now)
		best = guess;
	return best;
}

static int parse_day_time(const char *text, const struct tm *today, time_t now, time_t *ret_when)
{
	struct tm tm = *today;
	const char *rest = parse_clock(text, &tm);

	if (!rest || *rest)
		return -EINVAL;
	*ret_when = next_local(&tm, now);
	if (*ret_when < 0) {
		tm.tm_mday++;
		tm.tm_hour = 12;  /* a day has one of these, whatever clocks do: mktime() puts */
		tm.tm_isdst = -1; /* the date right, and no more */
		mktime(&tm);
		parse_clock(text, &tm);
		*ret_when = next_local(&tm, now);
	}
	return 0;
}

static int parse_full_time(const char *text, time_t now, time_t *ret_when)
{
	struct tm tm = {0};
	const char *rest = parse_date(text, &tm);
	long offset;

	if (rest)
		rest = parse_clock(rest, &tm);
	if (!rest)
		return -EINVAL;
	if (!*rest) {
		*ret_when = next_local(&tm, now);
		return 0;
	}
	if (!parse_offset(rest, &offset))
		return -EINVAL;
	*ret_when = timegm(&tm) - offset;
	return 0;
}

int lsc_prewarm_parse_time(const char *text, double now, double *ret_time, struct lsc_err *err)
{
	time_t second = (time_t)now, when;
	struct tm today;
	double seconds;
	int r;

	if (text[0] == '+') {
		r = lsc_parse_duration(text + 1, &seconds, err);
		if (!r)
			*ret_time = now + seconds;
		return r;
	}
	if (!localtime_r(&second, &today))
		return lsc_err_set(err, EINVAL, "the clock shows no time");
	r = text[0] && text[1] && text[2] == ':' ? parse_day_time(text, &today, second, &when)
						 : parse_full_time(text, second, &when);
	if (r < 0)
		return wrong(text, err);
	if (when < second)
		return lsc_err_set(err, EINVAL, "'%s' is over", text);
	*ret_time = (double)when;
	return 0;
}
