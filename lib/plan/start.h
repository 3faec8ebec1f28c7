/* Where replicas of a model start soonest, and from what.
 *
 * A node that has the image in GPU memory serves at once; one that has it in host memory copies it;
 * others read it from their disk, have it cast to them, or both at once.  Whoever is ready soonest
 * is chosen.  What a way costs, in seconds:
 *
 *	host to GPU	what is missing there / gpu
 *	disk		what is missing / disk
 *	cast		what is missing / rate + fill, whichever number receives, since receivers
 *			forward: rate is the node's link, or what all sources send together where
 *			that is less; fill is a piece for each receiver of a source's chain
 *	both		what is missing / (disk + rate) + fill, or what the disk lacks / rate + fill
 *			where that is more
 *
 * On the way to GPU memory reading and copying overlap, so that the slower one counts.
 *
 * Sources are all nodes that hold the whole image in memory, chosen or not; where none does, those
 * that have it on disk; where none has, all that hold some of it, if that is everything together.
 * Pure arithmetic, the same answer every time.
 */
#ifndef LSC_PLAN_START_H
#define LSC_PLAN_START_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/tiers.h"

struct lsc_start_node {
	const char *name;
	const char *out;        /* why nothing is to start here; NULL: it may */
	double have[LSC_TIERS]; /* of the image's bytes; 1 is all of them */
	const uint8_t *blocks;  /* bit i % 8 of byte i / 8: it has block i somewhere; NULL: none, or
				 * all where it has all in one tier */
	uint64_t free[LSC_TIERS]; /* bytes */
	uint64_t room[LSC_TIERS]; /* bytes that are free or can be */
	double disk, link, gpu;   /* bytes a second; 0: not to be used */
	double load;              /* of two that are ready at the same time the one with less */
};

struct lsc_start {
	enum lsc_tier target; /* LSC_TIER_GPU or LSC_TIER_HOST: where a replica is ready */
	uint64_t bytes;       /* of the image */
	uint64_t piece_bytes; /* that a cast sends at a time */
	uint32_t n_blocks;    /* of the image; 0: blocks are not known */
	uint32_t replicas;
	const struct lsc_start_node *nodes;
	uint32_t n_nodes;
};

enum lsc_start_how {
	LSC_START_SERVES,   /* it is there */
	LSC_START_COPIES,   /* from host memory to the GPU */
	LSC_START_READS,    /* from its disk */
	LSC_START_RECEIVES, /* by a cast */
	LSC_START_BOTH,     /* from its disk and by a cast */
	LSC_START_CANNOT,
};

const char *lsc_start_how_name(enum lsc_start_how how); /* "serves", "copies", ... */

struct lsc_start_choice {
	enum lsc_start_how how;
	bool chosen;
	bool source;         /* of the cast */
	uint32_t place;      /* 0: ready first of all; those that cannot come last */
	double ready_s;      /* INFINITY: it cannot */
	double rate;         /* at which a cast reaches it, of those that receive */
	uint64_t frees;      /* bytes that others have to leave in the target first */
	const char *why;     /* for CANNOT, in words; the node's own, or a constant */
	enum lsc_tier lacks; /* for CANNOT: the tier without room, or LSC_TIERS */
};

/* Fills a choice for each node; returns how many replicas were found, start->replicas at most;
 * -ENOMEM. */
int lsc_start_choose(const struct lsc_start *start, struct lsc_start_choice *ret_choices);

#endif
