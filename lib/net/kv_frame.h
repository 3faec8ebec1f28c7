/* Frames by which keys and values get to another worker (lsc-wire(5), since version 1.2).
 *
 *   adopt   from a client: take over a request that others computed, as a new one of yours
 *   moved   the answer: all of it is here; or fail, as for a run
 *   fetch   from a worker that adopts to one that has the request: give me these positions
 *   pages   the answer: the body holds them as rows (exec/kv_rows.h); or why it does not
 *
 * Like those of frame.h they are bounded field by field; what depends on the image is for whoever
 * knows it.
 */
#ifndef LSC_NET_KV_FRAME_H
#define LSC_NET_KV_FRAME_H

#include "net/frame.h"

#define LSC_KV_MINOR     2          /* of the exec protocol: from there on all this is known */
#define LSC_KV_MAX_BYTES (1u << 20) /* of one body */

struct lsc_adopt_frame {
	struct lsc_hash image;
	struct lsc_client_id client;
	uint64_t request;                                   /* the new number */
	uint64_t from;                                      /* the one that the stages know it by */
	uint32_t n;                                         /* positions: 0 to n - 1 */
	uint32_t reach;                                     /* as of a run; 0: n */
	uint64_t since;                                     /* as of a run */
	struct lsc_frame_stage route[LSC_FRAME_MAX_STAGES]; /* who has which units */
	uint32_t n_stages;
};

struct lsc_moved_frame {
	uint64_t request;
	uint32_t pos;   /* that the next run is to begin with */
	uint64_t bytes; /* that came from others */
};

struct lsc_fetch_frame {
	struct lsc_hash image;
	struct lsc_client_id client;
	uint64_t request; /* as the one that is asked knows it */
	uint32_t layer;   /* counted from 0 */
	uint32_t pos, n;
};

struct lsc_pages_frame {
	struct lsc_fetch_frame of; /* what was asked */
	int code;                  /* 0; or an errno, and there is no body, but words: */
	char why[160];
};

/* body_len: of the ids of the n positions, where the request has a penalty; else 0. */
int lsc_frame_pack_adopt(struct lsc_pack *pack, const struct lsc_adopt_frame *adopt,
			 uint32_t body_len);
int lsc_frame_pack_moved(struct lsc_pack *pack, const struct lsc_moved_frame *moved);
int lsc_frame_pack_fetch(struct lsc_pack *pack, const struct lsc_fetch_frame *fetch);
int lsc_frame_pack_pages(struct lsc_pack *pack, const struct lsc_pages_frame *pages,
			 uint32_t body_len);

int lsc_frame_parse_adopt(const struct lsc_record *record, struct lsc_adopt_frame *ret_adopt,
			  struct lsc_err *err);
int lsc_frame_parse_moved(const struct lsc_record *record, struct lsc_moved_frame *ret_moved,
			  struct lsc_err *err);
int lsc_frame_parse_fetch(const struct lsc_record *record, struct lsc_fetch_frame *ret_fetch,
			  struct lsc_err *err);
int lsc_frame_parse_pages(const struct lsc_record *record, struct lsc_pages_frame *ret_pages,
			  struct lsc_err *err);

bool lsc_fetch_is_same(const struct lsc_fetch_frame *a, const struct lsc_fetch_frame *b);

#endif
