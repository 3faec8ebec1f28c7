/* What member.c shares with outlet.c and inlet.c, the two sides of it, and nobody else. */
#ifndef LSC_CAST_MEMBER_OWN_H
#define LSC_CAST_MEMBER_OWN_H

#include "cast/member.h"
#include "net/rate.h"

/* A node that is sent to. */
struct lsc_outlet {
	struct lsc_member *member;
	struct lsc_outlet *next;
	uint32_t node;
	char address[LSC_CAST_ADDRESS];
	bool resting;            /* the plan does not name it */
	struct lsc_next_peer to; /* what goes there next depends on that */

	struct lsc_link *link; /* NULL: broken, to be opened again */
	bool by_tcp;           /* RDMA, which its address says, did not do */
	uint32_t sends;        /* under way */
	uint64_t sent;         /* bytes */
	struct lsc_timer *again;
	uint64_t pause_ns; /* before the next try */
};

struct lsc_member {
	struct lsc_member_options o;
	const uint8_t *data; /* the image's bytes */
	uint64_t *here, *coming;
	uint64_t *told;   /* what peers need not send: what is here, or comes from a disk */
	uint32_t *blocks; /* by block: pieces that are missing */
	uint32_t n_here;
	uint64_t bytes_here, received, sent;
	bool planned, failed;
	bool only_rdma; /* no link goes over TCP instead */

	uint32_t node;        /* this one's number */
	struct lsc_next what; /* goes next: of here and of outlets' `to` */
	uint64_t timeout_ns;
	struct lsc_outlet *outlets;
	struct lsc_inlet *inlets;
	bool limited;
	struct lsc_rate rate;
	struct lsc_pack pack; /* reused from piece to piece */

	/* where others fill the segment, too (claimed.c) */
	struct lsc_claims *claims; /* NULL: nobody does */
	struct lsc_timer *look;
	uint64_t *foreign; /* blocks that others have claimed, as far as is known */
	uint32_t n_foreign;
	uint32_t seen; /* the segment's generation */
	uint64_t buried_ns, moved_ns;
};

/* Its own failure. */
void lsc_member_fail(struct lsc_member *member, const struct lsc_err *err);

/* A piece is here and verified: marks and reports it, and sends it on. */
void lsc_member_take(struct lsc_member *member, uint32_t piece);

/* The same of one that someone else has marked: counts it; true when its block is whole.  And what
 * is to be said after some of them. */
bool lsc_member_count(struct lsc_member *member, uint32_t piece);
void lsc_member_report(struct lsc_member *member, uint32_t block, bool whole);

/* Gives every outlet that has room what there is for it. */
void lsc_member_pump(struct lsc_member *member);

/* The words of err without the name of the link's other end: who it is says a number. */
struct lsc_err lsc_member_plain(const struct lsc_err *err, const struct lsc_link *link);

/* --- claimed.c --- */

int lsc_claimed_start(struct lsc_member *member, struct lsc_err *err);
void lsc_claimed_stop(struct lsc_member *member);

/* Takes in what others have done since. */
void lsc_claimed_look(struct lsc_member *member);

/* Whether a piece is ours to receive: claims its block, and notes that it is coming. */
bool lsc_claimed_take(struct lsc_member *member, uint32_t piece);

/* --- inlet.c --- */

/* Says something of a piece ("got", "lack") to everyone who sends here, but one (NULL: to all). */
void lsc_inlet_tell(struct lsc_member *member, const struct lsc_inlet *but, const char *note,
		    uint32_t piece);

/* A piece that may be on its way is not wanted any more, since it is here. */
void lsc_inlet_forgo(struct lsc_member *member, uint32_t piece);

/* Gives up the piece under way where nothing of it has come for a while. */
void lsc_inlet_watch(struct lsc_inlet *inlet, uint64_t now_ns);

/* --- outlet.c --- */

int lsc_outlet_new(struct lsc_outlet **ret_outlet, struct lsc_member *member, uint32_t node,
		   const char *address, struct lsc_err *err);
void lsc_outlet_free(struct lsc_outlet *outlet);
void lsc_outlet_pump(struct lsc_outlet *outlet);

/* A node has a piece, where it is one that is sent to. */
void lsc_outlet_has(struct lsc_member *member, uint32_t node, uint32_t piece);

/* Bytes that are here and could be sent to it now, beside those that are under way. */
uint64_t lsc_outlet_ready(const struct lsc_outlet *outlet);

/* Connects, where there is no link; again and again, for as long as the outlet does not rest. */
void lsc_outlet_connect(struct lsc_outlet *outlet);

#endif
