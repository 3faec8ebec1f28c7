/* What a node computes on, by the name that --device takes.
 *
 *	cpu       this process's CPUs
 *	cuda      the first GPU; cuda:N the one of that number
 *	auto      a GPU where one can be used, else the CPU
 *
 * A GPU is the business of a plugin, lsc-cuda.so: where LSC_PLUGIN_DIR (environment) says, else
 * beside the program, else where `make install` puts it.  It stays loaded till the process ends.
 */
#ifndef LSC_EXEC_DEVICE_H
#define LSC_EXEC_DEVICE_H

#include <stdbool.h>

#include "base/err.h"
#include "exec/backend.h"

struct lsc_device {
	const struct lsc_backend_ops *ops; /* NULL: the CPU's */
	unsigned index;                    /* which of its devices */
	struct lsc_err why_cpu;            /* auto: why it is the CPU; code 0 elsewhere */
};

#define LSC_DEVICE_INIT                                                                            \
	{                                                                                          \
		0                                                                                  \
	}

/* Whether a name is one of the above: 0 or -EINVAL.  Looks for nothing. */
int lsc_device_check(const char *name, struct lsc_err *err);

/* -EINVAL; -ENODEV where there is no such device, no driver or no plugin; -EPROTO where the plugin
 * is another version's.  auto does not fail. */
int lsc_device_find(struct lsc_device *device, const char *name, struct lsc_err *err);

#endif
