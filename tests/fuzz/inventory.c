/* fuzz inventory: any bytes as streams of inventories; what is read is within bounds */
#include "stream/inventory.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static void look(const struct lsc_inventory *inventory)
{
	for (uint32_t i = 0; i < inventory->n_nodes; i++) {
		const struct lsc_inventory_node *node = &inventory->nodes[i];

		check(node->node && *node->node && strlen(node->node) <= LSC_INVENTORY_MAX_NODE);
		check(node->disk >= 0 && node->link >= 0 && node->gpu >= 0 && node->load >= 0);
		check(!isnan(node->t) && (!i || strcmp(node->node, node[-1].node) != 0));
	}
	for (uint32_t i = 0; i < inventory->n_images; i++) {
		const struct lsc_inventory_image *image = &inventory->images[i];
		double share = lsc_inventory_share(image);

		check(image->node < inventory->n_nodes && image->name && image->tier < LSC_TIERS);
		check(share >= 0 && share <= 1 && (!image->blocks || image->n_blocks));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_inventory_release) struct lsc_inventory inventory = LSC_INVENTORY_INIT;
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("inventory", MFD_CLOEXEC);
	check(fd >= 0 && ftruncate(fd, 0) == 0 && lsc_pwrite_full(fd, data, len, 0) == 0);
	lseek(fd, 0, SEEK_SET);
	lsc_inventory_read(&inventory, fd, NULL);
	look(&inventory);
	return 0;
}
