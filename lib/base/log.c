/* log - one line a message, written whole, so that lines of several processes do not mix */
#include "base/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *log_program = "lsc";
static enum lsc_log_level log_level = LSC_LOG_NOTICE;
static void (*log_before)(void *data);
static void *log_before_data;

void lsc_log_setup(const char *program, enum lsc_log_level level)
{
	log_program = program;
	log_level = level;
}

bool lsc_log_is_on(enum lsc_log_level level)
{
	return level <= log_level;
}

void lsc_log_before(void (*fn)(void *data), void *data)
{
	log_before = fn;
	log_before_data = data;
}

/* Messages quote names and words from files and peers: none of these breaks a line in two or talks
 * to the terminal. */
static void make_plain(char *line, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t byte = line[i], next = i + 1 < n ? line[i + 1] : 0;

		if (byte < 0x20 || byte == 0x7f)
			line[i] = '?';
		else if (byte == 0xc2 && next >= 0x80 && next < 0xa0) /* U+0080 to U+009F */
			line[i] = line[i + 1] = '?';
	}
}

static void write_line(const char *lead, const char *fmt, va_list ap)
{
	char line[1024];
	size_t n = snprintf(line, sizeof(line), "%s: %s", log_program, lead);
	ssize_t written;

	if (n < sizeof(line))
		vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	n = strnlen(line, sizeof(line) - 1);
	make_plain(line, n);
	line[n++] = '\n';
	if (log_before)
		log_before(log_before_data);
	written = write(STDERR_FILENO, line, n);
	(void)written; /* nobody is left to tell */
}

void lsc_log(enum lsc_log_level level, const char *fmt, ...)
{
	static const char *const leads[] = {"", "warning: ", "", "", "debug: "};
	va_list ap;

	if (!lsc_log_is_on(level))
		return;
	va_start(ap, fmt);
	write_line(leads[level], fmt, ap);
	va_end(ap);
}

bool lsc_debug_is_on(const char *module)
{
	const char *list = getenv("LSC_DEBUG");
	size_t n = strlen(module);

	if (log_level >= LSC_LOG_DEBUG)
		return true;
	while (list && *list) {
		size_t len = strcspn(list, ",");

		if ((len == n && !strncmp(list, module, n)) ||
		    (len == 3 && !strncmp(list, "all", 3)))
			return true;
		list += len + (list[len] == ',');
	}
	return false;
}

void lsc_debug_line(const char *module, const char *fmt, ...)
{
	char lead[64];
	va_list ap;

	snprintf(lead, sizeof(lead), "%s: ", module);
	va_start(ap, fmt);
	write_line(lead, fmt, ap);
	va_end(ap);
}
