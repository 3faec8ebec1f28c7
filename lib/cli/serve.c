/* serve - where to listen, the readiness line, and a word about open doors */
#include "cli/serve.h"

#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/parse.h"
#include "cli/tool.h"

bool lsc_serve_option(struct lsc_serve *serve, int key, const char *arg, struct argp_state *state)
{
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t fd;

	switch (key) {
	case 'l':
		serve->listen = arg;
		return true;
	case 'R':
		lsc_tool_check(state, lsc_parse_uint(arg, 0, 1 << 20, &fd, &err), &err);
		serve->ready_fd = (int)fd;
		return true;
	default:
		return false;
	}
}

int lsc_serve_ready(int fd, const char *text, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf line = LSC_BUF_INIT;
	int r;

	if (fd < 0)
		return 0;
	r = lsc_buf_printf(&line, "%s\n", text);
	if (r == 0)
		r = lsc_write_full(fd, line.data, line.len);
	if (r < 0)
		return lsc_err_set(err, -r, "cannot write to descriptor %d: %m", fd);
	close(fd);
	return 0;
}

static bool is_local(const char *address)
{
	return !strncmp(address, "127.", 4) || !strncmp(address, "[::1]", 5) ||
	       !strncmp(address, "unix:", 5);
}

void lsc_serve_warn(const char *address, const char *can_do)
{
	if (!is_local(address))
		lsc_warning("whoever reaches %s can %s", address, can_do);
}
