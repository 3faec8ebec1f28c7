/* A member: one node's part in one cast, whoever runs it (a serving node, or the coordinator).
 *
 * It opens a link to each node that the schedule has it send to, and sends each of them the pieces
 * that are there, in the order of its agenda.  What comes in arrives over inlets: links
 * that others opened, which the member's owner accepts and hands over.
 *
 * A piece is received straight into the segment, and its hash is checked before it is marked,
 * forwarded or reported.
 */
#ifndef LSC_CAST_MEMBER_H
#define LSC_CAST_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cast/message.h"
#include "mem/segment.h"
#include "model/image.h"
#include "net/link.h"
#include "net/loop.h"

struct lsc_member;

struct lsc_member_events {
	void (*on_block)(void *data, uint32_t block); /* all of its pieces are there */
	void (*on_all)(void *data);                   /* every piece is */
	/* Once.  culprit: rank of whose fault it was, or LSC_NOBODY: ours.  The member does nothing
	 * more; its owner frees it when it likes, but not from inside this call. */
	void (*on_failed)(void *data, const struct lsc_err *err, uint32_t culprit);
};

struct lsc_member_options {
	struct lsc_loop *loop;
	struct lsc_cast_id cast;
	const struct lsc_image *image; /* its tables; borrowed, as are the next two */
	const uint8_t *data;           /* the image's bytes, of a member that has them all */
	struct lsc_segment *segment;   /* else where they arrive; NULL */
	const struct lsc_key *key;     /* of the links it opens; NULL: they are plain */
	const struct lsc_pass *proof;  /* plain in spite of it, with this; NULL */
	const struct lsc_member_events *events;
	void *data_of_events;
};

int lsc_member_new(struct lsc_member **ret_member, const struct lsc_member_options *options,
		   struct lsc_err *err);
void lsc_member_free(struct lsc_member *member); /* after its inlets were closed; NULL is fine */

/* Begins to send; pieces may come in before.  Blocks that are whole already are reported. */
int lsc_member_start(struct lsc_member *member, const struct lsc_start *start, struct lsc_err *err);

const struct lsc_cast_id *lsc_member_cast(const struct lsc_member *member);
uint32_t lsc_member_pieces(const struct lsc_member *member); /* there and verified */
uint64_t lsc_member_bytes(const struct lsc_member *member);  /* of them */

/* --- what comes in --- */

struct lsc_inlet {
	struct lsc_member *member; /* NULL: none yet */
	struct lsc_link *link;
	uint32_t rank;  /* who sends */
	uint32_t piece; /* under way, or LSC_NOBODY */
};

/* Answers the `peer` record that opened the link: from now on its records go to the inlet. */
int lsc_inlet_open(struct lsc_inlet *inlet, struct lsc_member *member, struct lsc_link *link,
		   uint32_t rank, struct lsc_err *err);
int lsc_inlet_record(struct lsc_inlet *inlet, const struct lsc_record *record, uint32_t body_len,
		     void **ret_body, struct lsc_err *err);
int lsc_inlet_body(struct lsc_inlet *inlet, struct lsc_err *err);

/* The link is over, for the reason in err (code 0: in good order). */
void lsc_inlet_close(struct lsc_inlet *inlet, const struct lsc_err *err);

#endif
