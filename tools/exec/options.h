/* What is the same on the command lines of all subcommands: how the engine computes. */
#ifndef LSC_TOOLS_EXEC_OPTIONS_H
#define LSC_TOOLS_EXEC_OPTIONS_H

#include <argp.h>
#include <stdbool.h>

#include "exec/device.h"
#include "exec/engine.h"

enum { EXEC_KEY_EXACT = 0x2800, EXEC_KEY_DEVICE, EXEC_KEY_KV_BYTES };

/* Rows of an option table, and a parser's answer to them: whether it was one. */
#define EXEC_EXACT_ROW                                                                             \
	{                                                                                          \
		"exact", EXEC_KEY_EXACT, NULL, 0, "Round activations nowhere, which is slower", 0  \
	}
#define EXEC_DEVICE_ROW                                                                            \
	{                                                                                          \
		"device", EXEC_KEY_DEVICE, "NAME", 0,                                              \
			"Compute on cpu (default), cuda, cuda:N or auto", 0                        \
	}
#define EXEC_KV_ROW                                                                                \
	{                                                                                          \
		"kv-bytes", EXEC_KEY_KV_BYTES, "SIZE", 0,                                          \
			"Memory for keys and values, of each image (default 1G on a CPU)", 0       \
	}
#define EXEC_ENGINE_ROWS                                                                           \
	{"threads", 't', "N", 0, "Compute with N threads (default: the CPUs there are)", 0},       \
		EXEC_KV_ROW, EXEC_EXACT_ROW, EXEC_DEVICE_ROW

/* Where to compute; found once the command line was read. */
struct exec_device {
	const char *name; /* NULL: cpu */
	struct lsc_device found;
};

bool exec_device_option(struct exec_device *device, int key, const char *arg,
			struct argp_state *state);

/* Finds it and makes engines use it; device must stay.  -v says what auto found. */
int exec_device_find(struct exec_device *device, struct lsc_engine_options *engine,
		     struct lsc_err *err);

bool exec_engine_option(struct lsc_engine_options *engine, int key, const char *arg,
			struct argp_state *state);

#endif
