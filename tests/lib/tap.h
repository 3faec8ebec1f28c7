/* TAP for unit tests: `ok(cond, fmt...)`, `done_testing()`, skips with a reason.
 *
 *	int main(void)
 *	{
 *		is_int(lsc_div_up(5, 2), 3, "rounds up");
 *		return done_testing();
 *	}
 */
#ifndef LSC_TESTS_TAP_H
#define LSC_TESTS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tap_count, tap_failed;

__attribute__((format(printf, 2, 3), unused)) static bool ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", good ? "" : "not ", ++tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	tap_failed += !good;
	return good;
}

#define is_int(got, want, ...)                                                                     \
	do {                                                                                       \
		long long tap_got = (got), tap_want = (want);                                      \
		if (!ok(tap_got == tap_want, __VA_ARGS__))                                         \
			printf("# got %lld, want %lld (%s:%d)\n", tap_got, tap_want, __FILE__,     \
			       __LINE__);                                                          \
	} while (0)

#define is_str(got, want, ...)                                                                     \
	do {                                                                                       \
		const char *tap_got = (got), *tap_want = (want);                                   \
		if (!ok(tap_got && !strcmp(tap_got, tap_want), __VA_ARGS__))                       \
			printf("# got '%s', want '%s' (%s:%d)\n", tap_got ? tap_got : "(null)",    \
			       tap_want, __FILE__, __LINE__);                                      \
	} while (0)

__attribute__((format(printf, 1, 2), unused)) static void skip(const char *fmt, ...)
{
	va_list ap;

	printf("ok %d # SKIP ", ++tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

/* A path inside the shared test data, or NULL where there is none: then skip(). */
__attribute__((unused)) static const char *test_data(const char *relative)
{
	static char path[8][1024];
	static unsigned next;
	const char *root = getenv("LSC_TEST_DATA");
	char *p = path[next++ % 8];

	snprintf(p, sizeof(path[0]), "%s/%s", root ? root : "../shared/data", relative);
	return access(p, R_OK) == 0 ? p : NULL;
}

/* A scratch folder, made by tests/run and removed by it; outside of it one that stays. */
__attribute__((unused)) static const char *scratch(void)
{
	static char own[] = "/tmp/lsc-test.XXXXXX";
	static const char *dir;

	if (!dir)
		dir = getenv("LSC_SCRATCH");
	if (!dir)
		dir = mkdtemp(own);
	if (!dir)
		abort();
	return dir;
}

__attribute__((unused)) static int done_testing(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed != 0;
}

#endif
