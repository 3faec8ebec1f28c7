/* What tools that serve do alike: take an address to listen at, and say that they are ready there.
 */
#ifndef LSC_CLI_SERVE_H
#define LSC_CLI_SERVE_H

#include <argp.h>
#include <stdbool.h>

#include "base/err.h"

struct lsc_serve {
	const char *listen; /* --listen; its default is the tool's */
	int ready_fd;       /* --ready-fd; -1: none */
};

/* Two rows of a tool's option table, and its parser's answer to them: whether it was one. */
#define LSC_SERVE_ROWS(at)                                                                         \
	{"listen", 'l', "HOST:PORT", 0, "Listen there (default " at ")", 0},                       \
	{                                                                                          \
		"ready-fd", 'R', "N", 0, "Write the address to descriptor N once listening", 0     \
	}

bool lsc_serve_option(struct lsc_serve *serve, int key, const char *arg, struct argp_state *state);

/* Writes text and a newline to the descriptor of --ready-fd and closes it, so that whoever waits
 * there (as with s6) need not guess; fd < 0: nobody does. */
int lsc_serve_ready(int fd, const char *text, struct lsc_err *err);

/* Warns where others than this machine reach the address: "whoever reaches ADDRESS can DO". */
void lsc_serve_warn(const char *address, const char *can_do);

#endif
