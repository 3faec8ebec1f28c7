/* options - how the engine computes, as all subcommands are told */
#include "options.h"

#include "base/parse.h"
#include "cli/tool.h"

bool exec_engine_option(struct lsc_engine_options *engine, int key, const char *arg,
			struct argp_state *state)
{
	struct lsc_err err = LSC_ERR_INIT;
	uint64_t threads = 0;

	if (key == EXEC_KEY_EXACT) {
		engine->exact = true;
		return true;
	}
	if (key != 't')
		return false;
	lsc_tool_check(state, lsc_parse_uint(arg, 1, 1024, &threads, &err), &err);
	engine->threads = (unsigned)threads;
	return true;
}
