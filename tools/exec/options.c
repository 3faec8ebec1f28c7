/* options - how the engine computes, as all subcommands are told */
#include "options.h"

#include "base/log.h"
#include "base/parse.h"
#include "cli/tool.h"

bool exec_device_option(struct exec_device *device, int key, const char *arg,
			struct argp_state *state)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (key != EXEC_KEY_DEVICE)
		return false;
	lsc_tool_check(state, lsc_device_check(arg, &err), &err);
	device->name = arg;
	return true;
}

int exec_device_find(struct exec_device *device, struct lsc_engine_options *engine,
		     struct lsc_err *err)
{
	int r = device->name ? lsc_device_find(&device->found, device->name, err) : 0;

	if (r < 0)
		return r;
	if (device->found.ops)
		lsc_info("computing on %s:%u", device->found.ops->name, device->found.index);
	else if (device->found.why_cpu.code)
		lsc_info("computing on the CPU: %s", device->found.why_cpu.text);
	engine->device = &device->found;
	return 0;
}

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
