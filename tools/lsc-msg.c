/* lsc-msg - record streams as JSON lines, and back
 *
 * How a value is written is decided in lib/stream/json*.c, how a stream is in lib/stream/lines.c.
 */
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "cli/tool.h"
#include "stream/lines.h"
#include "stream/record.h"

struct options {
	const char *hello;
	bool force;
};

static const struct argp_option to_options[] = {{0}};

static const struct argp_option from_options[] = {
	{"force", 'f', NULL, 0, "Write to a terminal as well", 0},
	{"hello", 'H', "KIND", 0, "Open the stream with a hello of this kind", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *opt = state->input;

	switch (key) {
	case 'f':
		opt->force = true;
		return 0;
	case 'H':
		if (!*arg || strlen(arg) > 32)
			argp_failure(state, LSC_EXIT_USAGE, 0, "a kind has 1 to 32 characters");
		opt->hello = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int write_hello(const char *kind, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int r = lsc_pack_hello(&pack, kind);

	return r ? lsc_err_set(err, -r, "%m") : lsc_pack_write(&pack, STDOUT_FILENO, err);
}

static int run_from(const struct options *opt, struct lsc_err *err)
{
	int r = 0;

	if (isatty(STDOUT_FILENO) && !opt->force)
		return lsc_err_set(err, EINVAL, "records are binary: -f writes them to a terminal");
	if (opt->hello)
		r = write_hello(opt->hello, err);
	return r ? r : lsc_lines_to_records(STDIN_FILENO, STDOUT_FILENO, err);
}

static int main_to(int argc, char **argv)
{
	static const struct argp argp = {
		to_options, parse,
		NULL,       "Read records from standard input, write one JSON line each.",
		NULL,       NULL,
		NULL,
	};
	struct options opt = {0};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(lsc_lines_from_records(STDIN_FILENO, STDOUT_FILENO, &err), &err);
}

static int main_from(int argc, char **argv)
{
	static const struct argp argp = {
		from_options, parse, NULL, "Read JSON lines from standard input, write records.",
		NULL,         NULL,  NULL,
	};
	struct options opt = {0};
	struct lsc_err err = LSC_ERR_INIT;

	lsc_tool_parse(&argp, argc, argv, &opt);
	return lsc_tool_finish(run_from(&opt, &err), &err);
}

static const struct lsc_command commands[] = {
	{"to-json", main_to, "turn records into JSON lines (what lsc-msg alone does)"},
	{"from-json", main_from, "turn JSON lines into records"},
};

int main(int argc, char **argv)
{
	if (argc < 2)
		return main_to(argc, argv);
	return lsc_tool_dispatch("lsc-msg", "Turn record streams into JSON lines and back.",
				 commands, LSC_ARRAY_SIZE(commands), argc, argv);
}
