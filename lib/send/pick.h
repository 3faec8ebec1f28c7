/* A pick: by what nodes have of an image, which image it is, who sends it and who gets it.
 *
 * Whoever has all of it is a source, those in memory before those on disk.  Where nobody has all,
 * nodes that are not to have it send the parts that they have.  Receivers go on from their own
 * parts, and send those on, whoever else there is.
 *
 * A whole image decides which one is meant: parts of others are left alone, or give way where they
 * are in a receiver's way.  Two that are whole and differ, or two parts where nothing is whole, are
 * for people to decide between.
 */
#ifndef LSC_SEND_PICK_H
#define LSC_SEND_PICK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "mem/segment.h"
#include "model/image.h"
#include "send/census.h"

enum lsc_pick_role {
	LSC_PICK_REST,     /* it takes no part */
	LSC_PICK_SOURCE,   /* it has all */
	LSC_PICK_PART,     /* it sends the part that it has */
	LSC_PICK_RECEIVER, /* whatever it has */
};

struct lsc_pick_node {
	const char *name; /* borrowed, as is the next */
	const struct lsc_census_node *has;
	bool wanted; /* it is to have the image */

	/* own */
	enum lsc_pick_role role;
	bool other; /* what it has is a part of another image */
};

struct lsc_pick {
	const char *name;            /* of the image */
	const struct lsc_hash *here; /* of what is here; NULL: nothing is */
	bool whole;                  /* all of it is */
	bool fixed;                  /* a fixed order, which has no place for parts */
	struct lsc_pick_node *nodes; /* filled, but for what is own */
	uint32_t n_nodes;

	/* own */
	struct lsc_hash id;
	uint32_t keeper; /* a node with its manifest, where nothing is here */
};

/* Which image it is.  -ENOENT where nobody has any, or the first failure where nobody answered;
 * -EEXIST where nodes have different ones, which are named. */
int lsc_pick_image(struct lsc_pick *pick, struct lsc_err *err);

/* Who does what; after that, whether all of it is somewhere: -ENODATA, naming the blocks that are
 * not.  image: its tables; segment: what is here where that is a part, else NULL. */
int lsc_pick_roles(struct lsc_pick *pick, const struct lsc_image *image,
		   const struct lsc_segment *segment, struct lsc_err *err);

/* Numbers of nodes in this role: the nearest tier first, then in their order.  at has room for all;
 * returns how many. */
uint32_t lsc_pick_list(const struct lsc_pick *pick, enum lsc_pick_role role, uint32_t *at);

/* A line on a node: its name, in so many columns, its role and what it has; or a JSON record of
 * type "holding". */
int lsc_pick_tell(const struct lsc_pick *pick, uint32_t node, const struct lsc_image *image,
		  int width, bool json, struct lsc_buf *line);

#endif
