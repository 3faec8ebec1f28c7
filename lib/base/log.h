/* Messages for people, on standard error, from tools and long-running servers.
 *
 * lib/ returns errors and logs nothing a caller could report itself; what it survives ("resending
 * from node 5") goes through here.  Levels: errors and warnings always, notices by default, info
 * at -v, debug at -vv; -q leaves errors.  LSC_DEBUG=net,plan turns on debug lines by module.
 */
#ifndef LSC_BASE_LOG_H
#define LSC_BASE_LOG_H

#include <stdbool.h>

enum lsc_log_level {
	LSC_LOG_ERROR = 0,
	LSC_LOG_WARNING,
	LSC_LOG_NOTICE,
	LSC_LOG_INFO,
	LSC_LOG_DEBUG,
};

/* The program's name in front of each line, and the level up to which lines are shown. */
void lsc_log_setup(const char *program, enum lsc_log_level level);
bool lsc_log_is_on(enum lsc_log_level level);

/* Called before each line, for what is drawn on the terminal to make room; NULL: no more. */
void lsc_log_before(void (*fn)(void *data), void *data);

void lsc_log(enum lsc_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A line of one module, shown at -vv or when LSC_DEBUG names the module (or "all"). */
bool lsc_debug_is_on(const char *module);
void lsc_debug_line(const char *module, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define lsc_error(...)   lsc_log(LSC_LOG_ERROR, __VA_ARGS__)
#define lsc_warning(...) lsc_log(LSC_LOG_WARNING, __VA_ARGS__)
#define lsc_notice(...)  lsc_log(LSC_LOG_NOTICE, __VA_ARGS__)
#define lsc_info(...)    lsc_log(LSC_LOG_INFO, __VA_ARGS__)
#define lsc_debug(module, ...)                                                                     \
	do {                                                                                       \
		if (lsc_debug_is_on(module))                                                       \
			lsc_debug_line(module, __VA_ARGS__);                                       \
	} while (0)

#endif
