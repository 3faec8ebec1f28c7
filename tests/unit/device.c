/* Names of devices, and plugins that are not there or not ours. */
#include "exec/device.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "tap.h"

static void test_names(void)
{
	static const char *const good[] = {"cpu", "cuda", "cuda:0", "cuda:12", "auto"};
	static const char *const bad[] = {"",      "gpu",     "cuda:",    "cuda:x",
					  "cuda1", "cuda:-1", "cuda:9999"};
	struct lsc_err err = LSC_ERR_INIT;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(good); i++)
		is_int(lsc_device_check(good[i], &err), 0, "'%s' is a device's name", good[i]);
	for (size_t i = 0; i < LSC_ARRAY_SIZE(bad); i++)
		is_int(lsc_device_check(bad[i], &err), -EINVAL, "'%s' is none: %s", bad[i],
		       err.text);
}

static void test_none(void)
{
	struct lsc_device device = LSC_DEVICE_INIT;
	struct lsc_err err = LSC_ERR_INIT;

	setenv("LSC_PLUGIN_DIR", scratch(), 1);
	is_int(lsc_device_find(&device, "cpu", &err), 0, "the CPU is always there");
	ok(!device.ops && !device.why_cpu.code, "and needs no reason");
	is_int(lsc_device_find(&device, "cuda", &err), -ENODEV, "no plugin: %s", err.text);
	is_int(lsc_device_find(&device, "auto", &err), 0, "auto does without");
	ok(!device.ops && device.why_cpu.code == ENODEV, "and says why: %s", device.why_cpu.text);
}

/* A file that is no library, and libraries that are not this version's plugin. */
static void test_wrong(void)
{
	struct lsc_device device = LSC_DEVICE_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	char command[4096], path[2048];
	FILE *file;

	snprintf(path, sizeof(path), "%s/lsc-cuda.so", scratch());
	file = fopen(path, "w");
	fputs("not a library\n", file);
	fclose(file);
	is_int(lsc_device_find(&device, "cuda:1", &err), -ENODEV, "no library: %s", err.text);
	snprintf(command, sizeof(command),
		 "echo 'unsigned lsc_backend_plugin[4] = {%u, 1};' | cc -shared -x c - -o %s",
		 LSC_BACKEND_ABI, path);
	if (system(command)) {
		skip("no compiler to make a plugin with");
		return;
	}
	is_int(lsc_device_find(&device, "cuda", &err), -EPROTO, "other sizes: %s", err.text);
	remove(path);
	snprintf(command, sizeof(command),
		 "echo 'unsigned lsc_backend_plugin[4] = {%u, %u};' | cc -shared -x c - -o %s",
		 LSC_BACKEND_ABI + 1, LSC_BACKEND_SIZES, path);
	is_int(system(command), 0, "a plugin of the next version");
	is_int(lsc_device_find(&device, "cuda", &err), -EPROTO, "is refused: %s", err.text);
}

int main(void)
{
	test_names();
	test_none();
	test_wrong();
	return done_testing();
}
