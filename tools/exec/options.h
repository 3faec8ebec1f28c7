/* What is the same on the command lines of all subcommands: how the engine computes. */
#ifndef LSC_TOOLS_EXEC_OPTIONS_H
#define LSC_TOOLS_EXEC_OPTIONS_H

#include <argp.h>
#include <stdbool.h>

#include "exec/engine.h"

enum { EXEC_KEY_EXACT = 0x2800 };

/* Rows of an option table, and a parser's answer to them: whether it was one. */
#define EXEC_EXACT_ROW                                                                             \
	{                                                                                          \
		"exact", EXEC_KEY_EXACT, NULL, 0, "Round activations nowhere, which is slower", 0  \
	}
#define EXEC_ENGINE_ROWS                                                                           \
	{"threads", 't', "N", 0, "Compute with N threads (default: the CPUs there are)", 0},       \
		EXEC_EXACT_ROW

bool exec_engine_option(struct lsc_engine_options *engine, int key, const char *arg,
			struct argp_state *state);

#endif
