/* inventory - records of nodes and images, read
 *
 * A node that is told of twice is found by sorting all of them in the end.
 */
#include "stream/inventory.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"

/* --- memory --- */

static void node_release(struct lsc_inventory_node *node)
{
	free(node->node);
	free(node->out);
}

static void image_release(struct lsc_inventory_image *image)
{
	free(image->name);
	free(image->blocks);
}

void lsc_inventory_release(struct lsc_inventory *inventory)
{
	for (uint32_t i = 0; i < inventory->n_nodes; i++)
		node_release(&inventory->nodes[i]);
	for (uint32_t i = 0; i < inventory->n_images; i++)
		image_release(&inventory->images[i]);
	free(inventory->nodes);
	free(inventory->images);
	*inventory = (struct lsc_inventory)LSC_INVENTORY_INIT;
}

/* --- one record --- */

/* A string that is copied; NULL where it may be absent and is. */
static int read_text(const struct lsc_record *record, const char *key, uint32_t max, bool must,
		     char **ret_text, struct lsc_err *err)
{
	char text[LSC_INVENTORY_MAX_NODE + 1];
	int r;

	if (!must && !lsc_record_get(record, key))
		return 0;
	r = lsc_record_text(record, key, text, max + (size_t)1, err);
	if (r < 0)
		return r;
	if (!text[0])
		return lsc_err_set(err, EBADMSG, "key '%s' is empty", key);
	*ret_text = strdup(text);
	return *ret_text ? 0 : lsc_err_set(err, ENOMEM, "%m");
}

/* A map within a record, as one of its own; NULL where there is none. */
static int read_map(const struct lsc_record *record, const char *key, struct lsc_record *ret_map,
		    struct lsc_err *err)
{
	const msgpack_object *value = lsc_record_get(record, key);

	if (!value)
		return 0;
	if (value->type != MSGPACK_OBJECT_MAP)
		return lsc_err_set(err, EBADMSG, "key '%s' is not a map", key);
	*ret_map = (struct lsc_record){.root = *value, .type = key, .type_len = strlen(key)};
	return 1;
}

static int read_room(const struct lsc_record *record, enum lsc_tier tier,
		     struct lsc_inventory_room *ret_room, struct lsc_err *err)
{
	struct lsc_record map;
	int r = read_map(record, lsc_tier_name(tier), &map, err);

	if (r <= 0)
		return r;
	r = lsc_record_uint(&map, "capacity", UINT64_MAX / 2, &ret_room->capacity, err);
	return r < 0 ? r : lsc_record_uint(&map, "used", UINT64_MAX / 2, &ret_room->used, err);
}

static int read_positive(const struct lsc_record *record, const char *key, double absent,
			 double *ret_value, struct lsc_err *err)
{
	double value;
	int r = lsc_record_real_or(record, key, absent, &value, err);

	if (r < 0)
		return r;
	if (value < 0 && value != absent)
		return lsc_err_set(err, EBADMSG, "key '%s' is negative", key);
	*ret_value = value;
	return 0;
}

static int parse_node(const struct lsc_record *record, struct lsc_inventory_node *node,
		      struct lsc_err *err)
{
	struct lsc_record speeds;
	int r;

	r = read_text(record, "node", LSC_INVENTORY_MAX_NODE, true, &node->node, err);
	if (!r)
		r = lsc_record_real(record, "t", &node->t, err);
	for (unsigned tier = 0; !r && tier < LSC_TIERS; tier++)
		r = read_room(record, tier, &node->rooms[tier], err);
	if (!r)
		r = read_positive(record, "load", 0, &node->load, err);
	if (!r)
		r = read_text(record, "out", LSC_INVENTORY_MAX_TEXT, false, &node->out, err);
	if (!r)
		r = read_map(record, "speeds", &speeds, err);
	if (r <= 0)
		return r;
	if ((r = read_positive(&speeds, "disk", 0, &node->disk, err)) < 0 ||
	    (r = read_positive(&speeds, "link", 0, &node->link, err)) < 0)
		return r;
	return read_positive(&speeds, "gpu", 0, &node->gpu, err);
}

static int parse_tier(const struct lsc_record *record, enum lsc_tier *ret_tier, struct lsc_err *err)
{
	char text[16];
	int r = lsc_record_text(record, "tier", text, sizeof(text), err);

	if (r < 0)
		return r;
	for (unsigned tier = 0; tier < LSC_TIERS; tier++) {
		if (strcmp(text, lsc_tier_name(tier)))
			continue;
		*ret_tier = tier;
		return 0;
	}
	return lsc_err_set(err, EBADMSG, "there is no tier '%s'", text);
}

static int parse_blocks(const struct lsc_record *record, struct lsc_inventory_image *image,
			struct lsc_err *err)
{
	bool has_blocks = lsc_record_get(record, "blocks") != NULL;
	uint64_t n = 0;
	const void *data;
	uint32_t len;
	int r;

	r = lsc_record_uint_or(record, "n_blocks", LSC_INVENTORY_MAX_BLOCKS, 0, &n, err);
	if (r < 0)
		return r;
	image->n_blocks = (uint32_t)n;
	r = lsc_record_bool_or(record, "whole", !has_blocks, &image->whole, err);
	if (r < 0 || !has_blocks)
		return r;
	r = lsc_record_bin(record, "blocks", LSC_INVENTORY_MAX_BLOCKS / 8, &data, &len, err);
	if (r < 0)
		return r;
	if (len != lsc_div_up(n, 8) || (n % 8 && ((const uint8_t *)data)[len - 1] >> (n % 8)))
		return lsc_err_set(err, EBADMSG, "key 'blocks' is not of %u blocks",
				   image->n_blocks);
	if (image->whole || !len)
		return 0;
	image->blocks = malloc(len);
	if (!image->blocks)
		return lsc_err_set(err, ENOMEM, "%m");
	memcpy(image->blocks, data, len);
	return 0;
}

static int parse_image(const struct lsc_record *record, struct lsc_inventory_image *image,
		       struct lsc_err *err)
{
	const void *id;
	uint32_t len;
	int r;

	r = read_text(record, "name", LSC_INVENTORY_MAX_TEXT, true, &image->name, err);
	if (!r)
		r = lsc_record_bin(record, "id", LSC_HASH_BYTES, &id, &len, err);
	if (!r && len != LSC_HASH_BYTES)
		r = lsc_err_set(err, EBADMSG, "key 'id' is not a hash");
	if (r < 0)
		return r;
	memcpy(image->id.bytes, id, LSC_HASH_BYTES);
	if ((r = lsc_record_uint(record, "bytes", UINT64_MAX / 2, &image->bytes, err)) < 0 ||
	    (r = parse_tier(record, &image->tier, err)) < 0 ||
	    (r = parse_blocks(record, image, err)) < 0 ||
	    (r = lsc_record_bool_or(record, "pinned", false, &image->pinned, err)) < 0 ||
	    (r = lsc_record_uint_or(record, "leased", UINT32_MAX, 0, &image->leased, err)) < 0)
		return r;
	return read_positive(record, "used", -1, &image->used, err);
}

/* --- all of them --- */

/* The array with room for one more, or NULL. */
static void *grow(void *array, uint32_t *room, uint32_t n, size_t size)
{
	uint32_t more = LSC_MAX(16, *room * 2);
	void *bigger;

	if (n < *room)
		return array;
	bigger = realloc(array, more * size);
	if (bigger)
		*room = more;
	return bigger;
}

static int add_node(struct lsc_inventory *inventory, const struct lsc_record *record,
		    struct lsc_err *err)
{
	struct lsc_inventory_node node = {0}, *nodes;
	int r;

	if (inventory->n_nodes == LSC_INVENTORY_MAX_NODES)
		return lsc_err_set(err, EBADMSG, "more than %u nodes", LSC_INVENTORY_MAX_NODES);
	nodes = grow(inventory->nodes, &inventory->room_nodes, inventory->n_nodes, sizeof(*nodes));
	if (!nodes)
		return lsc_err_set(err, ENOMEM, "%m");
	inventory->nodes = nodes;
	r = parse_node(record, &node, err);
	if (r < 0)
		node_release(&node);
	else
		nodes[inventory->n_nodes++] = node;
	return r;
}

static int add_image(struct lsc_inventory *inventory, const struct lsc_record *record,
		     struct lsc_err *err)
{
	struct lsc_inventory_image image = {.node = inventory->n_nodes - 1}, *images;
	const char *node;
	uint32_t len;
	int r = lsc_record_str(record, "node", LSC_INVENTORY_MAX_NODE, &node, &len, err);

	if (r < 0)
		return r;
	if (!inventory->n_nodes || strlen(inventory->nodes[image.node].node) != len ||
	    memcmp(inventory->nodes[image.node].node, node, len) != 0)
		return lsc_err_set(err, EBADMSG, "an image does not follow its node, '%.*s'",
				   (int)len, node);
	if (inventory->n_images == LSC_INVENTORY_MAX_IMAGES)
		return lsc_err_set(err, EBADMSG, "more than %u images", LSC_INVENTORY_MAX_IMAGES);
	images = grow(inventory->images, &inventory->room_images, inventory->n_images,
		      sizeof(*images));
	if (!images)
		return lsc_err_set(err, ENOMEM, "%m");
	inventory->images = images;
	r = parse_image(record, &image, err);
	if (r < 0)
		image_release(&image);
	else
		images[inventory->n_images++] = image;
	return r;
}

/* By name, the latest first. */
static int compare(const void *a, const void *b, void *data)
{
	const struct lsc_inventory *inventory = data;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	const struct lsc_inventory_node *x = &inventory->nodes[i], *y = &inventory->nodes[k];
	int order = strcmp(x->node, y->node);

	if (order)
		return order;
	if (x->t != y->t)
		return x->t > y->t ? -1 : 1;
	return i > k ? -1 : i < k;
}

/* Where each node is once those that were told of again are gone; UINT32_MAX for these. */
static void find_places(struct lsc_inventory *inventory, uint32_t *sorted, uint32_t *ret_places)
{
	uint32_t place = 0;

	for (uint32_t i = 0; i < inventory->n_nodes; i++)
		sorted[i] = i;
	qsort_r(sorted, inventory->n_nodes, sizeof(*sorted), compare, inventory);
	for (uint32_t k = 0; k < inventory->n_nodes; k++) {
		const char *name = inventory->nodes[sorted[k]].node;
		bool again = k > 0 && !strcmp(inventory->nodes[sorted[k - 1]].node, name);

		ret_places[sorted[k]] = again ? UINT32_MAX : 0;
	}
	for (uint32_t i = 0; i < inventory->n_nodes; i++)
		if (ret_places[i] != UINT32_MAX)
			ret_places[i] = place++;
}

static int drop_older(struct lsc_inventory *inventory, struct lsc_err *err)
{
	LSC_CLEANUP_FREE uint32_t *sorted = calloc(inventory->n_nodes + (size_t)1, sizeof(*sorted));
	LSC_CLEANUP_FREE uint32_t *places = calloc(inventory->n_nodes + (size_t)1, sizeof(*places));
	uint32_t nodes = 0, images = 0;

	if (!sorted || !places)
		return lsc_err_set(err, ENOMEM, "%m");
	find_places(inventory, sorted, places);
	for (uint32_t i = 0; i < inventory->n_images; i++) {
		struct lsc_inventory_image image = inventory->images[i];

		image.node = places[image.node];
		if (image.node == UINT32_MAX)
			image_release(&image);
		else
			inventory->images[images++] = image;
	}
	for (uint32_t i = 0; i < inventory->n_nodes; i++) {
		if (places[i] == UINT32_MAX)
			node_release(&inventory->nodes[i]);
		else
			inventory->nodes[nodes++] = inventory->nodes[i];
	}
	inventory->n_nodes = nodes;
	inventory->n_images = images;
	return 0;
}

static int add_record(struct lsc_inventory *inventory, const struct lsc_record *record, bool *open,
		      struct lsc_err *err)
{
	if (!*open || lsc_record_is(record, "hello")) {
		if (*open)
			return lsc_err_set(err, EBADMSG,
					   "a stream begins before the end of another");
		*open = true;
		return lsc_record_hello(record, "inventory", err);
	}
	if (lsc_record_is(record, "node"))
		return add_node(inventory, record, err);
	if (lsc_record_is(record, "image"))
		return add_image(inventory, record, err);
	*open = !lsc_record_is(record, "end");
	return 0;
}

int lsc_inventory_read(struct lsc_inventory *inventory, int fd, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_reader_release) struct lsc_reader reader;
	bool open = false, any = false;
	int r, dropped;

	lsc_reader_init(&reader, fd);
	while ((r = lsc_reader_next(&reader, err)) > 0) {
		any = true;
		r = add_record(inventory, &reader.record, &open, err);
		if (r < 0)
			break;
	}
	if (!r && (open || !any))
		r = lsc_err_set(err, EBADMSG, "the inventory was cut off");
	dropped = drop_older(inventory, r < 0 ? NULL : err);
	return r < 0 ? r : dropped;
}

double lsc_inventory_share(const struct lsc_inventory_image *image)
{
	uint32_t there = 0;

	if (image->whole)
		return 1;
	if (!image->n_blocks || !image->blocks)
		return 0;
	for (uint32_t i = 0; i < lsc_div_up(image->n_blocks, 8); i++)
		there += (uint32_t)__builtin_popcount(image->blocks[i]);
	return there / (double)image->n_blocks;
}
