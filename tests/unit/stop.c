/* Stop strings: where a text ends, whatever it is cut into, and that no part of one gets out. */
#include "model/stop.h"

#include <string.h>

#include "base/cleanup.h"
#include "tap.h"

/* What is given out of a text that comes in parts of step bytes; *ret_met: which ended it. */
static const char *pass(const char *text, const char *const *stops, size_t step, int *ret_met,
			size_t *ret_early)
{
	static char out[500];
	LSC_CLEANUP(lsc_stops_release) struct lsc_stops list = LSC_STOPS_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	struct lsc_stopper stopper;
	size_t len = strlen(text);
	int r = 0;

	for (; *stops; stops++)
		lsc_stops_add(&list, *stops, strlen(*stops), NULL);
	lsc_stopper_init(&stopper, &list);
	for (size_t at = 0; at < len && r == 0; at += step)
		r = lsc_stopper_add(&stopper, text + at, len - at < step ? len - at : step, &buf);
	*ret_early = buf.len;
	if (r == 0)
		lsc_stopper_end(&stopper, &buf);
	lsc_buf_add(&buf, "", 1);
	snprintf(out, sizeof(out), "%s", (char *)buf.data);
	*ret_met = stopper.met;
	lsc_stopper_release(&stopper);
	return out;
}

static void check(const char *text, const char *want, int want_met, size_t want_early,
		  const char *const *stops)
{
	bool same = true;
	size_t early;
	int met;

	for (size_t step = 1; step <= strlen(text); step++) {
		same &= !strcmp(pass(text, stops, step, &met, &early), want) && met == want_met;
		same &= early == want_early;
	}
	ok(same, "'%s' becomes '%s', in parts of any size", text, want);
}

#define STOPS(...)                                                                                 \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

int main(void)
{
	LSC_CLEANUP(lsc_stops_release) struct lsc_stops list = LSC_STOPS_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	char large[LSC_STOPS_MAX_BYTES + 1];
	bool good = true;

	check("one two three", "one ", 0, 4, STOPS("two"));
	check("one two", "one two", -1, 7, STOPS("twin"));
	check("one tw", "one tw", -1, 4, STOPS("two"));
	check("aaab", "a", 0, 1, STOPS("aab"));
	check("abababc", "ab", 0, 2, STOPS("ababc"));
	check("stop here", "", 0, 0, STOPS("stop"));
	check("x\nUser: y", "x\n", 0, 2, STOPS("User", "\nUser:"));
	check("x\nUser: y", "x", 0, 1, STOPS("\nUser", "\nUser:"));
	check("the end.", "the", 1, 3, STOPS("end", " end", "nd"));
	check("na\xc3\xafve \xe2\x82\xac"
	      "5",
	      "na", 0, 2, STOPS("\xc3\xafv"));
	check("\xe2\x82\xac\xe2\x82\xad", "\xe2\x82\xac", 0, 3, STOPS("\xe2\x82\xad"));
	check("a", "a", -1, 1, (const char *const[]){NULL});

	memset(large, 'x', sizeof(large));
	is_int(lsc_stops_add(&list, "", 0, &err), -EINVAL, "an empty one is refused");
	is_int(lsc_stops_add(&list, large, sizeof(large), &err), -EINVAL, "so is a large one");
	for (int i = 0; i < LSC_STOPS_MAX; i++)
		good &= lsc_stops_add(&list, large, 1024, &err) == 0;
	ok(good, "%d are taken", LSC_STOPS_MAX);
	is_int(lsc_stops_add(&list, "x", 1, &err), -EINVAL, "and no more: %s", err.text);
	return done_testing();
}
