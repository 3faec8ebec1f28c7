/* pick_tell - what a node has and does, for people and for programs */
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "send/pick.h"
#include "stream/json.h"

static const char *const roles[] = {
	[LSC_PICK_REST] = "-",
	[LSC_PICK_SOURCE] = "source",
	[LSC_PICK_PART] = "part",
	[LSC_PICK_RECEIVER] = "receiver",
};

static const char *state_of(const struct lsc_pick_node *node)
{
	switch (node->has->state) {
	case LSC_CENSUS_HELD:
		return node->other ? "other" : node->has->held.complete ? "whole" : "part";
	case LSC_CENSUS_ABSENT:
		return "absent";
	default:
		return "unknown";
	}
}

static bool has_block(const struct lsc_held *held, const struct lsc_block *block)
{
	for (uint32_t i = 0; held->bits && i < block->n_pieces; i++)
		if (!lsc_bits_has(held->bits, block->first_piece + i))
			return false;
	return true;
}

static uint32_t count_blocks(const struct lsc_held *held, const struct lsc_image *image)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < image->n_blocks; i++)
		n += has_block(held, &image->blocks[i]);
	return n;
}

static int tell_text(const struct lsc_pick_node *node, const struct lsc_image *image, int width,
		     struct lsc_buf *line)
{
	const struct lsc_held *held = &node->has->held;
	const char *state = state_of(node);
	int r = lsc_buf_printf(line, "  %-*s  %-8s  ", width, node->name, roles[node->role]);

	if (r < 0)
		return r;
	if (!strcmp(state, "whole"))
		return lsc_buf_printf(line, "all of it: %s\n", lsc_held_tier_name(held->tier));
	if (!strcmp(state, "part"))
		return lsc_buf_printf(line, "%u of %u pieces, %u of %u blocks: %s\n", held->n_here,
				      image->n_pieces, count_blocks(held, image), image->n_blocks,
				      lsc_held_tier_name(held->tier));
	if (!strcmp(state, "other"))
		return lsc_buf_add_str(line, "a part of another image\n");
	return lsc_buf_printf(line, "%s: %s\n", state, node->has->why.text);
}

static void pack_held(const struct lsc_pick_node *node, const struct lsc_image *image,
		      struct lsc_pack *pack)
{
	const struct lsc_held *held = &node->has->held;
	char id[LSC_HASH_TEXT];

	lsc_pack_str(pack, "id", lsc_hash_text(&held->id, id));
	lsc_pack_uint(pack, "bytes", held->bytes);
	lsc_pack_str(pack, "tier", lsc_held_tier_name(held->tier));
	lsc_pack_uint(pack, "pieces", held->n_here);
	lsc_pack_uint(pack, "of", held->n_pieces);
	if (node->other)
		return;
	lsc_pack_array(pack, "blocks", count_blocks(held, image));
	for (uint32_t i = 0; i < image->n_blocks; i++)
		if (has_block(held, &image->blocks[i]))
			lsc_pack_uint(pack, NULL, i);
}

int lsc_pick_tell(const struct lsc_pick *pick, uint32_t n, const struct lsc_image *image, int width,
		  bool json, struct lsc_buf *line)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	const struct lsc_pick_node *node = &pick->nodes[n];
	int r;

	if (!json)
		return tell_text(node, image, width, line);
	lsc_pack_begin(&pack, "holding");
	lsc_pack_str(&pack, "name", node->name);
	lsc_pack_str(&pack, "role", node->role == LSC_PICK_REST ? "none" : roles[node->role]);
	lsc_pack_str(&pack, "state", state_of(node));
	if (node->has->state == LSC_CENSUS_HELD)
		pack_held(node, image, &pack);
	lsc_pack_str(&pack, "why", node->has->state == LSC_CENSUS_HELD ? "" : node->has->why.text);
	r = lsc_pack_end(&pack);
	if (r == 0)
		r = lsc_json_write(pack.buf.data, pack.buf.len, line, NULL);
	return r == 0 ? lsc_buf_add_str(line, "\n") : r;
}
