/* What every tool's main() does the same way.
 *
 * A tool is an option table and a parser for argp, a run(), and:
 *
 *	int main(int argc, char **argv)
 *	{
 *		struct options opt = { .blocks = 16 };
 *		struct lsc_err err = LSC_ERR_INIT;
 *
 *		lsc_tool_parse(&argp, argc, argv, &opt);
 *		return lsc_tool_finish(run(&opt, &err), &err);
 *	}
 *
 * lsc_tool_parse() adds -v -q -V --help --features and the hidden --dump-options, ignores SIGPIPE
 * (a closed output is an EPIPE that finish reports), and leaves through exit() where the command
 * line is wrong (64) or asked for one of those.
 *
 * A tool with subcommands has a table of them and calls lsc_tool_dispatch() from main(); each
 * subcommand is such a main() of its own, whose argv[0] reads "lsc-cast send".
 */
#ifndef LSC_CLI_TOOL_H
#define LSC_CLI_TOOL_H

#include <argp.h>
#include <stddef.h>

#include "base/err.h"
#include "cli/exit.h"

#define LSC_VERSION "0.1.0"

struct lsc_command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *summary; /* one line for --help */
};

/* In the parser, a bad value ends the program with the words in err and status 64:
 *
 *	case 'n':
 *		lsc_tool_check(state, lsc_parse_uint(arg, 1, 1 << 20, &opt->count, &err), &err);
 */
void lsc_tool_check(struct argp_state *state, int result, const struct lsc_err *err);

/* A parser's last case, of a tool that wants one argument and no other: it is kept in *ret_arg, and
 * its name, as in the usage line, is said where it is missing. */
error_t lsc_tool_argument(struct argp_state *state, int key, char *arg, const char **ret_arg,
			  const char *name);

void lsc_tool_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Prints err where result is negative, closes standard output (a full disk is found here), and
 * returns the exit status.  A result from 0 to 255 is the status itself (LSC_EXIT_NO). */
int lsc_tool_finish(int result, struct lsc_err *err);

/* The exit status that an errno means. */
int lsc_tool_status(int errnum);

/* about: one line on what the tool does. */
int lsc_tool_dispatch(const char *tool, const char *about, const struct lsc_command *commands,
		      size_t n, int argc, char **argv);

#endif
