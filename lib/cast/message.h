/* What the nodes of a cast say to each other over links of kind "cast" (lsc-wire(5)).
 *
 * From the coordinator to a node, on a link of its own (the control link), and back:
 *
 *   offer     an image to be had or received: its name and manifest (the body), the node's role
 *   ready     the node's answer: the pieces it has, and whether that is all of the image
 *   plan      whom to send which pieces; again whenever that changes
 *   progress  from the node, PROGRESS_NS apart whether or not there is any: it lives
 *   block     all pieces of a block are there and verified
 *   complete  the image is whole, synced and named
 *   fault     what another node does or fails to do; the cast goes on
 *   failed    the node gives up
 *   end       to the node: the cast is over (where it ends badly, the link is aborted)
 *   stats     the answer: what it has cost the node
 *   checked   the answer to an offer that only asks: what is there
 *
 * Before a cast, on a link of its own, `want` asks what a node has, which answers with `held` or
 * `absent` (cast/want.h).
 *
 * From a node to those it sends to, on links it opens (data links), and back:
 *
 *   peer      which cast, and which node is speaking
 *   have      the answer: the pieces that need not be sent
 *   piece     a piece (the body)
 *   got       the answering side got a piece over another link
 *   lack      it did not get a piece after all
 *
 * The functions build and parse these records and bound every field.
 */
#ifndef LSC_CAST_MESSAGE_H
#define LSC_CAST_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cast/check.h"
#include "net/pass.h"
#include "plan/next.h"
#include "plan/schedule.h"
#include "stream/record.h"

#define LSC_CAST_KIND        "cast"
#define LSC_CAST_ID_BYTES    16
#define LSC_CAST_NAME        201 /* of an image, with the 0 */
#define LSC_CAST_ADDRESS     280 /* "HOST:PORT", with the 0 */
#define LSC_CAST_WHY         400
#define LSC_CAST_MAX_NODES   4096
#define LSC_CAST_MAX_ROUNDS  (1u << 24) /* of a schedule: what a node works off before it sends */
#define LSC_CAST_MAX_SENT    8          /* peers of which progress says how it gets on with them */
#define LSC_CAST_PROGRESS_NS 200000000  /* where no plan says otherwise */

struct lsc_cast_id {
	uint8_t bytes[LSC_CAST_ID_BYTES];
};

struct lsc_offer {
	struct lsc_cast_id cast;
	char name[LSC_CAST_NAME];
	bool source;           /* the node is to have the image already */
	bool part;             /* as a source, or a part of it */
	bool cleartext;        /* data links are plain, and prove that they were given: */
	struct lsc_pass proof; /* whose id is the cast's */
	bool check;            /* nothing is to be moved: what is there is to be looked at */
};

struct lsc_ready {
	bool complete;
	bool rdma;                   /* it takes data links over RDMA, too, and opens them */
	char exec[LSC_CAST_ADDRESS]; /* where its stage worker listens; "" where there is none */
};

struct lsc_plan_to {
	uint32_t node;
	enum lsc_duty duty; /* which pieces */
	uint32_t rank;      /* in the schedule; of LSC_DUTY_PART */
	char address[LSC_CAST_ADDRESS];
};

/* What a node is to do from now on.  Links to nodes that are in neither list stay, and rest. */
struct lsc_plan {
	uint32_t node;       /* the receiver of this */
	uint32_t first;      /* the piece at which it begins, to go on after the last with 0 */
	double rate;         /* bytes a second that it may send; 0: as many as it can */
	uint64_t timeout_ns; /* for its links to its peers */
	uint64_t report_ns;  /* from one progress record to the next */
	bool rdma;           /* its links are to go over RDMA, or not at all */
	bool scheduled;      /* by the next four */
	enum lsc_order order;
	uint32_t rank, ranks, sources;
	uint32_t n_to, n_gone;
	struct lsc_plan_to *to;
	uint32_t *gone; /* nodes that take part no more */
};

#define LSC_PLAN_INIT                                                                              \
	{                                                                                          \
		0                                                                                  \
	}

struct lsc_node_progress {
	uint32_t pieces;
	uint64_t bytes; /* with those of pieces that are on their way */
	uint32_t n_sent;
	struct lsc_sent {
		uint32_t node;
		uint64_t sent, ready; /* bytes: since the cast began, and that wait to be sent */
	} sent[LSC_CAST_MAX_SENT];
};

/* A node's failure, or, with a node, what it says of that one. */
struct lsc_failed {
	int code; /* errno */
	uint32_t node;
	uint32_t piece; /* that was wrong; LSC_NOBODY: it is not about one */
	char why[LSC_CAST_WHY];
};

struct lsc_stats {
	double cpu_s;
	uint64_t received, sent; /* bytes of pieces */
	uint64_t memory;         /* the most that the process took beside what it maps */
};

/* Text from a peer that people will read, made one line without terminal tricks. */
void lsc_message_plain(char *text);

/* The key `bits` of ready, have and held.  Both as with lsc_ready_pack() below. */
int lsc_message_pack_bits(struct lsc_pack *pack, const uint64_t *bits, uint32_t n_pieces);
int lsc_message_parse_bits(const struct lsc_record *record, uint32_t n_pieces, uint64_t *ret_bits,
			   uint32_t *ret_n, struct lsc_err *err);

int lsc_offer_pack(struct lsc_pack *pack, const struct lsc_offer *offer, uint32_t manifest_len);
int lsc_offer_parse(const struct lsc_record *record, struct lsc_offer *ret, struct lsc_err *err);

/* bits: the pieces that are there; NULL for none.  parse adds them to ret_bits (which may be NULL)
 * and counts them. */
int lsc_ready_pack(struct lsc_pack *pack, const struct lsc_ready *ready, const uint64_t *bits,
		   uint32_t n_pieces);
int lsc_ready_parse(const struct lsc_record *record, uint32_t n_pieces, struct lsc_ready *ret,
		    uint64_t *ret_bits, uint32_t *ret_n, struct lsc_err *err);

/* parse allocates the lists, which lsc_plan_release() frees. */
int lsc_plan_pack(struct lsc_pack *pack, const struct lsc_plan *plan);
int lsc_plan_parse(const struct lsc_record *record, struct lsc_plan *ret, struct lsc_err *err);
void lsc_plan_release(struct lsc_plan *plan);

int lsc_node_progress_pack(struct lsc_pack *pack, const struct lsc_node_progress *progress);
int lsc_node_progress_parse(const struct lsc_record *record, struct lsc_node_progress *ret,
			    struct lsc_err *err);

/* A record `failed`, or, where failed->node is one, `fault`. */
int lsc_failed_pack(struct lsc_pack *pack, const struct lsc_failed *failed);
int lsc_failed_parse(const struct lsc_record *record, struct lsc_failed *ret, struct lsc_err *err);

int lsc_stats_pack(struct lsc_pack *pack, const struct lsc_stats *stats);
int lsc_stats_parse(const struct lsc_record *record, struct lsc_stats *ret, struct lsc_err *err);

int lsc_checked_pack(struct lsc_pack *pack, const struct lsc_check_result *result);
int lsc_checked_parse(const struct lsc_record *record, struct lsc_check_result *ret,
		      struct lsc_err *err);

int lsc_peer_pack(struct lsc_pack *pack, const struct lsc_cast_id *cast, uint32_t node);
int lsc_peer_parse(const struct lsc_record *record, struct lsc_cast_id *ret_cast,
		   uint32_t *ret_node, struct lsc_err *err);

/* bits: the pieces that are there; NULL for none.  parse adds them to ret_bits. */
int lsc_have_pack(struct lsc_pack *pack, const uint64_t *bits, uint32_t n_pieces);
int lsc_have_parse(const struct lsc_record *record, uint32_t n_pieces, uint64_t *ret_bits,
		   struct lsc_err *err);

int lsc_piece_pack(struct lsc_pack *pack, uint32_t piece, uint32_t piece_bytes);
/* `got` and `lack`; lsc_piece_parse() parses these too. */
int lsc_piece_note_pack(struct lsc_pack *pack, const char *type, uint32_t piece);
int lsc_piece_parse(const struct lsc_record *record, uint32_t n_pieces, uint32_t *ret_piece,
		    struct lsc_err *err);

#endif
