/* evict_explain - an image's turn in words */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/amount.h"
#include "plan/evict.h"

struct sentence {
	char *text;
	size_t room, len;
};

__attribute__((format(printf, 2, 3))) static void say(struct sentence *sentence, const char *fmt,
						      ...)
{
	va_list ap;
	int n;

	if (sentence->len >= sentence->room)
		return;
	va_start(ap, fmt);
	n = vsnprintf(sentence->text + sentence->len, sentence->room - sentence->len, fmt, ap);
	va_end(ap);
	sentence->len += n > 0 ? (size_t)n : 0;
}

/* The time of day, and the date where that is another day. */
static void say_moment(struct sentence *sentence, const struct lsc_evict *evict, uint64_t then_ns)
{
	time_t now = (time_t)(((int64_t)evict->now_ns + evict->wall_ns) / 1000000000);
	time_t then = (time_t)(((int64_t)then_ns + evict->wall_ns) / 1000000000);
	struct tm today, day;
	char text[64];

	if (!evict->wall_ns || then_ns > INT64_MAX / 2 || !localtime_r(&now, &today) ||
	    !localtime_r(&then, &day)) {
		double more = (double)(then_ns - evict->now_ns) * 1e-9;

		say(sentence, ", kept %s more", lsc_amount_seconds(more).text);
		return;
	}
	strftime(text, sizeof(text),
		 day.tm_year == today.tm_year && day.tm_yday == today.tm_yday ? "%H:%M:%S"
									      : "%F %H:%M:%S",
		 &day);
	say(sentence, ", kept until %s", text);
}

static void say_use(struct sentence *sentence, const struct lsc_evict *evict,
		    const struct lsc_evict_item *item)
{
	double ago = item->last_use_ns < evict->now_ns
			     ? (double)(evict->now_ns - item->last_use_ns) * 1e-9
			     : 0;

	say(sentence, "%s %s", evict->tier == LSC_TIER_DISK ? "on" : "in",
	    lsc_tier_words(evict->tier));
	if (item->last_use_ns)
		say(sentence, ", last used %s ago", lsc_amount_seconds(ago).text);
	else
		say(sentence, ", never used");
	if (item->priority)
		say(sentence, ", priority %d", item->priority);
	if (item->kept_until_ns > evict->now_ns)
		say_moment(sentence, evict, item->kept_until_ns);
}

static void say_order(struct sentence *sentence, const struct lsc_evict *evict,
		      const struct lsc_evict_turn *turn)
{
	if (!turn->before) {
		say(sentence, "is the next to leave");
		return;
	}
	say(sentence, "leaves after '%s'", evict->items[turn->after].name);
	if (turn->before > 1)
		say(sentence, " and %u %s", turn->before - 1,
		    turn->before == 2 ? "other" : "others");
}

static void say_turn(struct sentence *sentence, const struct lsc_evict *evict,
		     const struct lsc_evict_turn *turn)
{
	say_order(sentence, evict, turn);
	if (!turn->frees)
		say(sentence, ", with those that share all of its blocks");
	else if (turn->overdue)
		say(sentence, ", now: more is used than there is");
	else
		say(sentence, ", when more than %s %s needed", lsc_amount_bytes(turn->beyond).text,
		    turn->beyond == 1 ? "is" : "are");
	if (turn->what == LSC_EVICT_DEMOTE)
		say(sentence, ": moves to %s", lsc_tier_words(turn->to));
	else if (turn->to == LSC_TIERS)
		say(sentence, ": is dropped, and no copy is left");
	else
		say(sentence, ": is dropped, as it is %s %s too",
		    turn->to == LSC_TIER_DISK ? "on" : "in", lsc_tier_words(turn->to));
}

void lsc_evict_explain(struct lsc_evict *evict, uint32_t item, char *ret_text, size_t room)
{
	const struct lsc_evict_item *about = &evict->items[item];
	struct lsc_evict_turn turn = lsc_evict_foresee(evict, item);
	struct sentence sentence = {ret_text, room, 0};

	if (room)
		ret_text[0] = '\0';
	say_use(&sentence, evict, about);
	say(&sentence, "; ");
	switch (turn.stays) {
	case LSC_EVICT_GOES:
		say_turn(&sentence, evict, &turn);
		break;
	case LSC_EVICT_PINNED:
		say(&sentence, "stays, as it is pinned");
		break;
	case LSC_EVICT_ARRIVING:
		say(&sentence, "stays, as it is arriving");
		break;
	case LSC_EVICT_ONLY_COPY:
		say(&sentence, "stays, as it is the only copy and there is no other place for it");
		break;
	case LSC_EVICT_LEASED:
		say(&sentence, "stays while %u %s it, then ", about->leases,
		    about->leases == 1 ? "process uses" : "processes use");
		say_turn(&sentence, evict, &turn);
		break;
	}
	if (turn.stays != LSC_EVICT_LEASED && about->leases)
		say(&sentence, "; used by %u %s", about->leases,
		    about->leases == 1 ? "process" : "processes");
}
