/* What a node is asked before there is a cast, and what it answers (lsc-wire(5), Questions).
 *
 *   want    an image's name; whether its manifest is to come along
 *   held    what the node has of it, and its manifest (the body), where that was wanted
 *   absent  nothing, or nothing that is any good, in words
 */
#ifndef LSC_CAST_WANT_H
#define LSC_CAST_WANT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "cast/message.h"

#define LSC_WANT_MINOR 1 /* the version 2.x of the protocol that has it */

struct lsc_want {
	char name[LSC_CAST_NAME];
	bool manifest;
};

/* Where a node has an image, the nearest first. */
enum lsc_held_tier { LSC_HELD_GPU, LSC_HELD_HOST, LSC_HELD_DISK, LSC_HELD_TIERS };

struct lsc_held {
	struct lsc_hash id;
	uint64_t bytes;    /* of all of the image */
	uint32_t n_pieces; /* that all of it has */
	uint32_t n_here;   /* of them */
	bool complete;     /* under its name; all pieces may be there before */
	enum lsc_held_tier tier;
	uint64_t *bits; /* which; NULL where it is complete.  Whoever packs borrows them. */
};

#define LSC_HELD_INIT                                                                              \
	{                                                                                          \
		.tier = LSC_HELD_DISK                                                              \
	}

const char *lsc_held_tier_name(enum lsc_held_tier tier); /* "gpu" */

int lsc_want_pack(struct lsc_pack *pack, const struct lsc_want *want);
int lsc_want_parse(const struct lsc_record *record, struct lsc_want *ret, struct lsc_err *err);

/* manifest_len 0: it does not come along. */
int lsc_held_pack(struct lsc_pack *pack, const struct lsc_held *held, uint32_t manifest_len);

/* Allocates the bits, which lsc_held_release() frees. */
int lsc_held_parse(const struct lsc_record *record, struct lsc_held *ret, struct lsc_err *err);
void lsc_held_release(struct lsc_held *held);

int lsc_absent_pack(struct lsc_pack *pack, const char *why);
int lsc_absent_parse(const struct lsc_record *record, char ret_why[LSC_CAST_WHY],
		     struct lsc_err *err);

#endif
