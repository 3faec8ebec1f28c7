/* device - from a name to a backend's row, which may be a plugin's */
#include "exec/device.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"

#ifndef LSC_PLUGIN_DIR
#define LSC_PLUGIN_DIR "/usr/local/lib/lsc"
#endif
#define PLUGIN "lsc-cuda.so"

/* --- the plugin --- */

/* The folder of the program, for a tree that is not installed. */
static int program_dir(char dir[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", dir, PATH_MAX - 1);
	char *slash;

	if (n <= 0)
		return -ENOENT;
	dir[n] = 0;
	slash = strrchr(dir, '/');
	if (!slash)
		return -ENOENT;
	*slash = 0;
	return 0;
}

/* DIR/PLUGIN into path: whether it is there. */
static bool is_in(const char *dir, char path[PATH_MAX])
{
	size_t len = strlen(dir);

	if (len + sizeof("/" PLUGIN) > PATH_MAX)
		return false;
	memcpy(path, dir, len);
	memcpy(path + len, "/" PLUGIN, sizeof("/" PLUGIN));
	return access(path, R_OK) == 0;
}

static int find_plugin(char path[PATH_MAX], struct lsc_err *err)
{
	const char *dir = getenv("LSC_PLUGIN_DIR");
	char beside[PATH_MAX];

	if (dir)
		return is_in(dir, path) ? 0
					: lsc_err_set(err, ENODEV, "no '%s' in '%s'", PLUGIN, dir);
	if ((program_dir(beside) == 0 && is_in(beside, path)) || is_in(LSC_PLUGIN_DIR, path))
		return 0;
	return lsc_err_set(err, ENODEV, "not installed: no '%s' in '%s'", PLUGIN, LSC_PLUGIN_DIR);
}

static int load_plugin(const struct lsc_backend_ops **ret_ops, struct lsc_err *err)
{
	const struct lsc_backend_plugin *plugin;
	char path[PATH_MAX];
	void *library;
	int r = find_plugin(path, err);

	if (r < 0)
		return r;
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return lsc_err_set(err, ENODEV, "%s", dlerror());
	plugin = dlsym(library, LSC_BACKEND_SYMBOL);
	if (plugin && plugin->abi == LSC_BACKEND_ABI && plugin->sizes == LSC_BACKEND_SIZES) {
		*ret_ops = plugin->ops;
		return 0;
	}
	dlclose(library);
	return lsc_err_set(err, EPROTO, "'%s' is of another version than this program", path);
}

/* --- names --- */

/* cuda or cuda:N into *ret_index: 1; another name: 0; a number that is none: -EINVAL. */
static int parse_cuda(const char *name, unsigned *ret_index, struct lsc_err *err)
{
	uint64_t index = 0;
	int r = 0;

	if (strncmp(name, "cuda", 4) || (name[4] && name[4] != ':'))
		return 0;
	if (name[4])
		r = lsc_parse_uint(name + 5, 0, 1023, &index, err);
	if (r < 0)
		return lsc_err_prefix(err, "device '%s': ", name);
	*ret_index = (unsigned)index;
	return 1;
}

int lsc_device_check(const char *name, struct lsc_err *err)
{
	unsigned index;
	int r = parse_cuda(name, &index, err);

	if (r || !strcmp(name, "cpu") || !strcmp(name, "auto"))
		return r < 0 ? r : 0;
	return lsc_err_set(err, EINVAL, "device '%s' is none of cpu, cuda, cuda:N and auto", name);
}

static int find_cuda(struct lsc_device *device, unsigned index, struct lsc_err *err)
{
	const struct lsc_backend_ops *ops = NULL;
	int r = load_plugin(&ops, err);

	if (r == 0 && ops->probe)
		r = ops->probe(index, err);
	if (r < 0)
		return lsc_err_prefix(err, "cuda: ");
	*device = (struct lsc_device){.ops = ops, .index = index};
	return 0;
}

int lsc_device_find(struct lsc_device *device, const char *name, struct lsc_err *err)
{
	unsigned index = 0;
	int r = lsc_device_check(name, err);

	if (r < 0)
		return r;
	*device = (struct lsc_device)LSC_DEVICE_INIT;
	if (parse_cuda(name, &index, err))
		return find_cuda(device, index, err);
	if (!strcmp(name, "auto"))
		find_cuda(device, 0, &device->why_cpu);
	return 0;
}
