/* What nodes hold of images, and what they could take: a stream of kind "inventory"
 * (lsc-stream(5)). */
#ifndef LSC_STREAM_INVENTORY_H
#define LSC_STREAM_INVENTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/tiers.h"
#include "stream/record.h"

#define LSC_INVENTORY_MAX_NODES  65536
#define LSC_INVENTORY_MAX_IMAGES (1u << 20)
#define LSC_INVENTORY_MAX_BLOCKS (1u << 20)
#define LSC_INVENTORY_MAX_NODE   272
#define LSC_INVENTORY_MAX_TEXT   255

struct lsc_inventory_room {
	uint64_t capacity, used; /* bytes; 0 and 0: there is none */
};

struct lsc_inventory_node {
	char *node;
	double t;
	struct lsc_inventory_room rooms[LSC_TIERS];
	double disk, link, gpu; /* bytes a second; 0: not known */
	double load;
	char *out; /* NULL: it may start something */
};

struct lsc_inventory_image {
	uint32_t node; /* which of the inventory's */
	char *name;
	struct lsc_hash id;
	uint64_t bytes;
	enum lsc_tier tier;
	bool whole;
	uint32_t n_blocks; /* 0: not told */
	uint8_t *blocks;   /* [(n_blocks + 7) / 8]; NULL where it is whole, or they are not told */
	bool pinned;
	uint64_t leased;
	double used; /* seconds ago; -1: never */
};

struct lsc_inventory {
	struct lsc_inventory_node *nodes;
	uint32_t n_nodes, room_nodes;
	struct lsc_inventory_image *images; /* of a node that was told of twice, the later ones */
	uint32_t n_images, room_images;
};

#define LSC_INVENTORY_INIT                                                                         \
	{                                                                                          \
		NULL, 0, 0, NULL, 0, 0                                                             \
	}

void lsc_inventory_release(struct lsc_inventory *inventory);

/* Adds what the streams in fd tell, up to its end.  -EBADMSG, -EPROTO, -ENOMEM, or what reading
 * fails with; what was read before stays. */
int lsc_inventory_read(struct lsc_inventory *inventory, int fd, struct lsc_err *err);

/* The share of an image's bytes that is there, by its blocks: 0 to 1. */
double lsc_inventory_share(const struct lsc_inventory_image *image);

/* The records, into an empty pack. */
int lsc_inventory_pack_node(struct lsc_pack *pack, const struct lsc_inventory_node *node);
int lsc_inventory_pack_image(struct lsc_pack *pack, const char *node,
			     const struct lsc_inventory_image *image);

#endif
