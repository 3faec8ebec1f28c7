/* An inventory as lib/plan/start.h wants it: what each node has of one image, and its room. */
#ifndef LSC_TOOLS_PLAN_HOLDERS_H
#define LSC_TOOLS_PLAN_HOLDERS_H

#include "plan/start.h"
#include "stream/inventory.h"

struct holders {
	struct lsc_start_node *nodes; /* [inventory->n_nodes] */
	uint8_t *blocks;              /* of all of them */
	uint32_t n_nodes, n_blocks;
	const struct lsc_inventory_image *image; /* one of those that are meant; NULL: none is */
	uint32_t others; /* copies of images of this name that have another id */
};

void holders_release(struct holders *holders);

/* The image of this name whose id most copies have.  Borrows from the inventory.  -ENOMEM. */
int holders_init(struct holders *holders, const struct lsc_inventory *inventory, const char *name,
		 struct lsc_err *err);

#endif
