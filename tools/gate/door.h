/* The socket that clients come to. */
#ifndef LSC_TOOLS_GATE_DOOR_H
#define LSC_TOOLS_GATE_DOOR_H

#include <stddef.h>

#include "base/endpoint.h"
#include "base/err.h"

/* Listens at HOST:PORT; port 0: one that is free.  The address in words goes to ret_address. */
int gate_door_open(const char *at, int *ret_fd, char *ret_address, size_t size,
		   struct lsc_err *err);

/* HOST:PORT, or -EINVAL. */
int gate_door_parse(const char *text, struct lsc_endpoint *ret_at, struct lsc_err *err);

#endif
