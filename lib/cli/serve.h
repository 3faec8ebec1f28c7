/* What tools that serve do alike: say that they are ready, and where they listen. */
#ifndef LSC_CLI_SERVE_H
#define LSC_CLI_SERVE_H

#include "base/err.h"

/* Writes text and a newline to the descriptor of --ready-fd and closes it, so that whoever waits
 * there (as with s6) need not guess; fd < 0: nobody does. */
int lsc_serve_ready(int fd, const char *text, struct lsc_err *err);

/* Warns where others than this machine reach the address: "whoever reaches ADDRESS can DO". */
void lsc_serve_warn(const char *address, const char *can_do);

#endif
