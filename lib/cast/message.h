/* What the nodes of a cast say to each other over links of kind "cast" (lsc-wire(5)).
 *
 * From the coordinator to a node, on a link of its own (the control link), and back:
 *
 *   offer     an image to be had or received: its name and manifest (the body), the node's role
 *   ready     the node's answer: the pieces it has, and whether that is all of the image
 *   start     the schedule, and where its ranks are
 *   progress  from the node, PROGRESS_NS apart whether or not there is any: it lives
 *   block     all pieces of a block are there and verified
 *   complete  the image is whole, synced and named
 *   failed    the node gives up; whose fault it was, where it is another's
 *   end       to the node: everyone has everything (else the link is aborted)
 *
 * From a node to those it sends to, on links it opens (data links), and back:
 *
 *   peer      which cast, and which rank is speaking
 *   have      the answer: the pieces that need not be sent
 *   piece     a piece (the body)
 *
 * The functions build and parse these records and bound every field.
 */
#ifndef LSC_CAST_MESSAGE_H
#define LSC_CAST_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/pass.h"
#include "plan/schedule.h"
#include "stream/record.h"

#define LSC_CAST_KIND        "cast"
#define LSC_CAST_ID_BYTES    16
#define LSC_CAST_NAME        201 /* of an image, with the 0 */
#define LSC_CAST_ADDRESS     280 /* "HOST:PORT", with the 0 */
#define LSC_CAST_WHY         400
#define LSC_CAST_MAX_NODES   4096 /* whose addresses fit into a record */
#define LSC_CAST_PROGRESS_NS 200000000

struct lsc_cast_id {
	uint8_t bytes[LSC_CAST_ID_BYTES];
};

struct lsc_offer {
	struct lsc_cast_id cast;
	char name[LSC_CAST_NAME];
	bool source;           /* the node is to have the image already */
	bool cleartext;        /* data links are plain, and prove that they were given: */
	struct lsc_pass proof; /* whose id is the cast's */
};

struct lsc_ready {
	uint32_t pieces;
	bool complete;
	char exec[LSC_CAST_ADDRESS]; /* where its stage worker listens; "" where there is none */
};

struct lsc_start {
	enum lsc_order order;
	uint32_t rank; /* the receiver's */
	uint32_t sources;
	uint32_t n_nodes;
	double rate;         /* bytes a second that it may send; 0: as many as it can */
	uint64_t timeout_ns; /* for its links to its peers */
	char (*addresses)[LSC_CAST_ADDRESS]; /* by rank; "" for one that nobody sends to */
};

struct lsc_failed {
	int code;         /* errno */
	uint32_t culprit; /* rank, or LSC_NOBODY: the node itself */
	char why[LSC_CAST_WHY];
};

int lsc_offer_pack(struct lsc_pack *pack, const struct lsc_offer *offer, uint32_t manifest_len);
int lsc_offer_parse(const struct lsc_record *record, struct lsc_offer *ret, struct lsc_err *err);

int lsc_ready_pack(struct lsc_pack *pack, const struct lsc_ready *ready);
int lsc_ready_parse(const struct lsc_record *record, struct lsc_ready *ret, struct lsc_err *err);

/* parse allocates ret->addresses, which lsc_start_release() frees. */
int lsc_start_pack(struct lsc_pack *pack, const struct lsc_start *start);
int lsc_start_parse(const struct lsc_record *record, struct lsc_start *ret, struct lsc_err *err);
void lsc_start_release(struct lsc_start *start);

int lsc_failed_pack(struct lsc_pack *pack, const struct lsc_failed *failed);
int lsc_failed_parse(const struct lsc_record *record, struct lsc_failed *ret, struct lsc_err *err);

int lsc_peer_pack(struct lsc_pack *pack, const struct lsc_cast_id *cast, uint32_t rank);
int lsc_peer_parse(const struct lsc_record *record, struct lsc_cast_id *ret_cast,
		   uint32_t *ret_rank, struct lsc_err *err);

/* bits: NULL for no piece; else piece p is bit p % 64 of word p / 64. */
int lsc_have_pack(struct lsc_pack *pack, const uint64_t *bits, uint32_t n_pieces);
/* Calls fn for each piece. */
int lsc_have_parse(const struct lsc_record *record, uint32_t n_pieces,
		   void (*fn)(void *data, uint32_t piece), void *data, struct lsc_err *err);

int lsc_piece_pack(struct lsc_pack *pack, uint32_t piece, uint32_t piece_bytes);
int lsc_piece_parse(const struct lsc_record *record, uint32_t n_pieces, uint32_t *ret_piece,
		    struct lsc_err *err);

#endif
