/* lsc-cast keygen - make a key file that nodes are to share; its form is in lib/net/key.c */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "cli/tool.h"
#include "commands.h"
#include "net/key.h"

static error_t parse_keygen(int key, char *arg, struct argp_state *state)
{
	return lsc_tool_argument(state, key, arg, state->input, "FILE");
}

static int keygen(const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_key_line_erase) struct lsc_buf line = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_key_erase) struct lsc_key key;
	int r = lsc_key_draw(&key, err);

	if (r < 0)
		return r;
	if (strcmp(path, "-") != 0) {
		r = lsc_key_write(&key, path, err);
		if (r == 0)
			lsc_info("key %s is in '%s'", key.id, path);
		return r;
	}
	r = lsc_key_line(&key, &line);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot write a key: %m");
	fwrite(line.data, 1, line.len, stdout);
	return 0;
}

int lsc_cast_keygen_main(int argc, char **argv)
{
	static const struct argp_option none[] = {{0}};
	static const struct argp argp = {
		none,
		parse_keygen,
		"FILE",
		"Draw a key that nodes are to share, for --key-file.  FILE must not be there yet; "
		"-: standard output.",
		NULL,
		NULL,
		NULL,
	};
	struct lsc_err err = LSC_ERR_INIT;
	const char *path = NULL;

	lsc_tool_parse(&argp, argc, argv, &path);
	return lsc_tool_finish(keygen(path, &err), &err);
}
