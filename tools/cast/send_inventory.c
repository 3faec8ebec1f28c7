/* lsc-cast send --inventory - more nodes to ask; lib/stream/inventory.c reads it */
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "send.h"
#include "stream/inventory.h"

static bool has_name(const struct lsc_names *names, const char *name)
{
	for (uint32_t i = 0; i < names->n; i++)
		if (!strcmp(names->names[i], name))
			return true;
	return false;
}

int lsc_cast_send_inventory(struct lsc_names *ask, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_inventory_release) struct lsc_inventory inventory = LSC_INVENTORY_INIT;
	LSC_CLEANUP_FD int fd = -1;
	int r;

	if (strcmp(path, "-") != 0) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return lsc_err_set(err, errno, "cannot open '%s': %m", path);
	}
	r = lsc_inventory_read(&inventory, fd < 0 ? STDIN_FILENO : fd, err);
	for (uint32_t i = 0; r == 0 && i < inventory.n_nodes; i++)
		if (!has_name(ask, inventory.nodes[i].node))
			r = lsc_names_parse(ask, inventory.nodes[i].node, err);
	return r < 0 ? lsc_err_prefix(err, "inventory '%s': ", path) : 0;
}
