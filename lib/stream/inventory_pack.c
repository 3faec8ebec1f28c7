/* inventory_pack - records of nodes and images */
#include "base/macros.h"
#include "stream/inventory.h"

static void pack_room(struct lsc_pack *pack, enum lsc_tier tier,
		      const struct lsc_inventory_room *room)
{
	if (!room->capacity && !room->used)
		return;
	lsc_pack_map(pack, lsc_tier_name(tier), 2);
	lsc_pack_uint(pack, "capacity", room->capacity);
	lsc_pack_uint(pack, "used", room->used);
}

int lsc_inventory_pack_node(struct lsc_pack *pack, const struct lsc_inventory_node *node)
{
	uint32_t speeds = (node->disk > 0) + (node->link > 0) + (node->gpu > 0);

	lsc_pack_begin(pack, "node");
	lsc_pack_str(pack, "node", node->node);
	lsc_pack_real(pack, "t", node->t);
	for (unsigned tier = 0; tier < LSC_TIERS; tier++)
		pack_room(pack, tier, &node->rooms[tier]);
	lsc_pack_map(pack, "speeds", speeds);
	if (node->disk > 0)
		lsc_pack_real(pack, "disk", node->disk);
	if (node->link > 0)
		lsc_pack_real(pack, "link", node->link);
	if (node->gpu > 0)
		lsc_pack_real(pack, "gpu", node->gpu);
	if (node->load > 0)
		lsc_pack_real(pack, "load", node->load);
	if (node->out)
		lsc_pack_str(pack, "out", node->out);
	return lsc_pack_end(pack);
}

int lsc_inventory_pack_image(struct lsc_pack *pack, const char *node,
			     const struct lsc_inventory_image *image)
{
	lsc_pack_begin(pack, "image");
	lsc_pack_str(pack, "node", node);
	lsc_pack_str(pack, "name", image->name);
	lsc_pack_bin(pack, "id", image->id.bytes, sizeof(image->id.bytes));
	lsc_pack_uint(pack, "bytes", image->bytes);
	lsc_pack_str(pack, "tier", lsc_tier_name(image->tier));
	lsc_pack_bool(pack, "whole", image->whole);
	if (image->n_blocks)
		lsc_pack_uint(pack, "n_blocks", image->n_blocks);
	if (image->blocks && !image->whole)
		lsc_pack_bin(pack, "blocks", image->blocks, lsc_div_up(image->n_blocks, 8));
	if (image->pinned)
		lsc_pack_bool(pack, "pinned", true);
	if (image->leased)
		lsc_pack_uint(pack, "leased", image->leased);
	if (image->used >= 0)
		lsc_pack_real(pack, "used", image->used);
	return lsc_pack_end(pack);
}
