/* A member: one node's part in one cast, whoever runs it (a serving node, or the coordinator).
 *
 * It opens a link to each node that its plan names, an outlet, and sends each of them the pieces
 * that are here and that one lacks.  What comes in arrives over inlets: links that others opened,
 * which the member's owner accepts and hands over.  Plans change; links that a plan does not name
 * any more stay open and rest.
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
	/* What another node does or fails to do.  The member goes on, and tries again what can be.
	 * piece: that was wrong, or LSC_NOBODY. */
	void (*on_fault)(void *data, uint32_t node, uint32_t piece, const struct lsc_err *err);
	/* Its own failure, once.  The member does nothing more; its owner frees it when it likes,
	 * but not from inside this call. */
	void (*on_failed)(void *data, const struct lsc_err *err);
};

struct lsc_member_options {
	struct lsc_loop *loop;
	struct lsc_cast_id cast;
	const struct lsc_image *image; /* its tables; borrowed, as are the next two */
	const uint8_t *data;           /* the image's bytes, of a member that receives none */
	int data_fd;                   /* the file that they lie in, or arrive in; -1: none */
	struct lsc_segment *segment; /* whose marks say what is here; NULL: all is.  Without data it
				      * is where pieces arrive. */
	const struct lsc_key *key;   /* of the links it opens; NULL: they are plain */
	const struct lsc_pass *proof; /* plain in spite of it, with this; NULL */
	const struct lsc_member_events *events;
	void *data_of_events;
};

int lsc_member_new(struct lsc_member **ret_member, const struct lsc_member_options *options,
		   struct lsc_err *err);
void lsc_member_free(struct lsc_member *member); /* after its inlets were closed; NULL is fine */

/* Begins to send, or goes on otherwise; pieces may come in before the first.  Blocks that are whole
 * at the first are reported from inside.  A member whose plan made no sense does nothing more. */
int lsc_member_plan(struct lsc_member *member, const struct lsc_plan *plan, struct lsc_err *err);

const struct lsc_cast_id *lsc_member_cast(const struct lsc_member *member);

/* The pieces that are here and verified: bit p % 64 of word p / 64. */
const uint64_t *lsc_member_here(const struct lsc_member *member);
/* How it gets on; to be called some times a second, since it is here that pieces are given up which
 * have stopped to come. */
void lsc_member_progress(struct lsc_member *member, struct lsc_node_progress *ret_progress);

/* Bytes of pieces that came and that went, with those that came in vain. */
uint64_t lsc_member_received(const struct lsc_member *member);
uint64_t lsc_member_sent(const struct lsc_member *member);

/* --- what comes in --- */

struct lsc_inlet {
	struct lsc_member *member; /* NULL: none yet */
	struct lsc_link *link;
	uint32_t node;  /* who sends */
	uint32_t piece; /* under way, or LSC_NOBODY */
	bool banned;    /* it sent what is wrong */
	uint32_t left;  /* of the piece, when it last moved */
	uint64_t moved_ns;
	struct lsc_inlet *next, *previous;
};

/* Answers the `peer` record that opened the link: from now on its records go to the inlet. */
int lsc_inlet_open(struct lsc_inlet *inlet, struct lsc_member *member, struct lsc_link *link,
		   uint32_t node, struct lsc_err *err);
int lsc_inlet_record(struct lsc_inlet *inlet, const struct lsc_record *record, uint32_t body_len,
		     void **ret_body, struct lsc_err *err);
int lsc_inlet_body(struct lsc_inlet *inlet, struct lsc_err *err);
void lsc_inlet_close(struct lsc_inlet *inlet); /* the link is over, for whatever reason */

#endif
