/* holders - nodes and what they have of an image, of an inventory */
#include "holders.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"

void holders_release(struct holders *holders)
{
	free(holders->nodes);
	free(holders->blocks);
	*holders = (struct holders){0};
}

static bool is_same(const struct lsc_inventory_image *a, const struct lsc_inventory_image *b)
{
	return lsc_hash_equal(&a->id, &b->id) && !strcmp(a->name, b->name);
}

static int compare(const void *a, const void *b)
{
	const struct lsc_inventory_image *x = *(const struct lsc_inventory_image *const *)a;
	const struct lsc_inventory_image *y = *(const struct lsc_inventory_image *const *)b;
	int order = memcmp(&x->id, &y->id, sizeof(x->id));

	return order ? order : x < y ? -1 : x > y;
}

/* The id that most copies have: any whole one counts for more than all parts. */
static int find_image(struct holders *holders, const struct lsc_inventory *inventory,
		      const char *name)
{
	LSC_CLEANUP_FREE const struct lsc_inventory_image **copies =
		calloc(inventory->n_images + (size_t)1, sizeof(struct lsc_inventory_image *));
	uint64_t count = 0, most = 0;

	if (!copies)
		return -ENOMEM;
	for (uint32_t i = 0; i < inventory->n_images; i++)
		if (!strcmp(inventory->images[i].name, name))
			copies[holders->others++] = &inventory->images[i];
	qsort(copies, holders->others, sizeof(struct lsc_inventory_image *), compare);
	for (uint32_t k = 0; k < holders->others; k++) {
		if (!k || !lsc_hash_equal(&copies[k]->id, &copies[k - 1]->id))
			count = 0;
		count += copies[k]->whole ? LSC_INVENTORY_MAX_IMAGES : 1;
		if (count > most) {
			most = count;
			holders->image = copies[k];
		}
	}
	return 0;
}

static void add_blocks(struct holders *holders, const struct lsc_inventory_image *image)
{
	uint32_t bytes = (uint32_t)lsc_div_up(holders->n_blocks, 8);
	uint8_t *blocks = holders->blocks + (size_t)image->node * bytes;

	for (uint32_t b = 0; b < bytes; b++) {
		uint8_t all = b + 1 == bytes && holders->n_blocks % 8
				      ? (uint8_t)((1u << holders->n_blocks % 8) - 1)
				      : 0xff;

		if (image->whole)
			blocks[b] |= all;
		else if (image->blocks && image->n_blocks == holders->n_blocks)
			blocks[b] |= image->blocks[b];
	}
}

static void add_image(struct holders *holders, const struct lsc_inventory_image *image)
{
	struct lsc_start_node *node = &holders->nodes[image->node];

	if (holders->image && is_same(holders->image, image)) {
		node->have[image->tier] =
			LSC_MAX(node->have[image->tier], lsc_inventory_share(image));
		add_blocks(holders, image);
		holders->others--;
	} else if (!image->pinned && !image->leased) {
		uint64_t *room = &node->room[image->tier];

		*room += LSC_MIN(image->bytes, UINT64_MAX - *room);
	}
}

static void add_node(struct lsc_start_node *node, const struct lsc_inventory_node *from)
{
	*node = (struct lsc_start_node){.name = from->node,
					.out = from->out,
					.disk = from->disk,
					.link = from->link,
					.gpu = from->gpu,
					.load = from->load};
	for (unsigned tier = 0; tier < LSC_TIERS; tier++) {
		const struct lsc_inventory_room *room = &from->rooms[tier];

		node->free[tier] = room->capacity - LSC_MIN(room->used, room->capacity);
		node->room[tier] = node->free[tier];
	}
}

int holders_init(struct holders *holders, const struct lsc_inventory *inventory, const char *name,
		 struct lsc_err *err)
{
	uint32_t bytes;

	*holders = (struct holders){.n_nodes = inventory->n_nodes};
	if (find_image(holders, inventory, name) < 0)
		return lsc_err_set(err, ENOMEM, "%m");
	for (uint32_t i = 0; i < inventory->n_images && holders->image; i++)
		if (is_same(holders->image, &inventory->images[i]))
			holders->n_blocks =
				LSC_MAX(holders->n_blocks, inventory->images[i].n_blocks);
	bytes = (uint32_t)lsc_div_up(holders->n_blocks, 8);
	holders->nodes = calloc(holders->n_nodes + (size_t)1, sizeof(*holders->nodes));
	holders->blocks = calloc((size_t)holders->n_nodes * bytes + 1, 1);
	if (!holders->nodes || !holders->blocks) {
		holders_release(holders);
		return lsc_err_set(err, ENOMEM, "%m");
	}
	for (uint32_t i = 0; i < holders->n_nodes; i++) {
		add_node(&holders->nodes[i], &inventory->nodes[i]);
		holders->nodes[i].blocks = holders->blocks + (size_t)i * bytes;
	}
	for (uint32_t i = 0; i < inventory->n_images; i++)
		add_image(holders, &inventory->images[i]);
	/* Shared blocks are counted with each image, so this is more than there can be. */
	for (uint32_t i = 0; i < holders->n_nodes; i++)
		for (unsigned tier = 0; tier < LSC_TIERS; tier++)
			holders->nodes[i].room[tier] =
				LSC_MIN(holders->nodes[i].room[tier],
					inventory->nodes[i].rooms[tier].capacity);
	return 0;
}
