/* What a router and stage workers say to each other over links of kind "exec" (lsc-wire(5)).
 *
 *   client  the router's 16-byte name for itself, first on every link it opens; a worker sends
 *           that client's tokens on the newest such link
 *   run     positions pos .. pos+n-1 of a request, for the stage route[stage]; the body holds n
 *           token ids (u32, stage 0) or n activations (f32 [n][hidden]), little-endian
 *   token   the last stage's answer: the token that follows position pos+n-1
 *   fail    this run could not be done; the request may go on over another route
 *   drop    the request is over: its KV may go
 *   ping    from the router: are you there?  A worker answers pong at once, busy or not, and says
 *           in it what it is at
 *   leave   from a worker: it takes no new requests, and is gone soon
 *   adopt, moved, fetch, pages   keys and values on their way to another worker (kv_frame.h)
 *
 * A router that takes a request to another route gives it a new number, so that frames which are
 * still under way for the old one can do no harm, and drops the old one.
 *
 * The functions build and parse these records and bound every field.  What has its usual value is
 * left out.
 */
#ifndef LSC_NET_FRAME_H
#define LSC_NET_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/sampling.h"
#include "stream/record.h"

#define LSC_CLIENT_BYTES     16
#define LSC_FRAME_MAX_STAGES 64
#define LSC_FRAME_MAX_TOKENS 8192 /* positions in one run */
#define LSC_FRAME_ENDPOINT   280  /* with the 0; as in a cast */
#define LSC_REST_MINOR       3    /* of the exec protocol, that knows what rests */

struct lsc_client_id {
	uint8_t bytes[LSC_CLIENT_BYTES];
};

struct lsc_frame_stage {
	char endpoint[LSC_FRAME_ENDPOINT]; /* where the next stage is reached: "10.0.0.2:7001" */
	uint32_t first, last;              /* units, inclusive */
};

struct lsc_run_frame {
	struct lsc_hash image;
	struct lsc_client_id client;
	uint64_t request; /* of that client */
	uint32_t pos, n;
	uint32_t stage; /* index into route of the receiver */
	struct lsc_frame_stage route[LSC_FRAME_MAX_STAGES];
	uint32_t n_stages;
	struct lsc_sampling sampling;
	uint64_t since; /* when its client took the request on, microseconds since 1970; 0: not said
			 */
	uint32_t reach; /* positions that the request has by now; 0: pos + n */
	const void *ids; /* [n] little-endian u32, where the sampling has a penalty; else NULL.
			  * Parsed, they lie in the record. */
};

struct lsc_token_frame {
	uint64_t request;
	uint32_t pos; /* of the token: one past the last position run */
	struct lsc_drawn drawn;
	bool logprobs; /* drawn has them */
};

struct lsc_fail_frame {
	uint64_t request;
	uint32_t pos;
	int code; /* errno */
	char why[160];
};

struct lsc_pong_frame {
	bool told;     /* the rest: a worker of version 1.1 does not */
	uint64_t runs; /* that it holds, all clients' */
	uint64_t done; /* grows with all that it computes or sends on */
	bool works;    /* it computes at the moment */
	double step_s; /* its longest step lately; 0: none yet */
	double unit_s; /* that a unit takes for a position of an answer, lately; 0: not known */
};

int lsc_frame_pack_client(struct lsc_pack *pack, const struct lsc_client_id *client);
int lsc_frame_pack_run(struct lsc_pack *pack, const struct lsc_run_frame *run, uint32_t body_len);
int lsc_frame_pack_token(struct lsc_pack *pack, const struct lsc_token_frame *token);
int lsc_frame_pack_fail(struct lsc_pack *pack, const struct lsc_fail_frame *fail);
int lsc_frame_pack_drop(struct lsc_pack *pack, const struct lsc_client_id *client,
			uint64_t request);
int lsc_frame_pack_rest(struct lsc_pack *pack, const struct lsc_client_id *client,
			uint64_t request);

int lsc_frame_pack_ping(struct lsc_pack *pack);
int lsc_frame_pack_pong(struct lsc_pack *pack, const struct lsc_pong_frame *pong);
int lsc_frame_pack_leave(struct lsc_pack *pack, double within_s);

int lsc_frame_parse_client(const struct lsc_record *record, struct lsc_client_id *ret_client,
			   struct lsc_err *err);
int lsc_frame_parse_run(const struct lsc_record *record, struct lsc_run_frame *ret_run,
			struct lsc_err *err);
int lsc_frame_parse_token(const struct lsc_record *record, struct lsc_token_frame *ret_token,
			  struct lsc_err *err);
int lsc_frame_parse_fail(const struct lsc_record *record, struct lsc_fail_frame *ret_fail,
			 struct lsc_err *err);

/* A drop, or a rest, which is known from minor version LSC_REST_MINOR on. */
int lsc_frame_parse_drop(const struct lsc_record *record, struct lsc_client_id *ret_client,
			 uint64_t *ret_request, struct lsc_err *err);
int lsc_frame_parse_pong(const struct lsc_record *record, struct lsc_pong_frame *ret_pong,
			 struct lsc_err *err);
int lsc_frame_parse_leave(const struct lsc_record *record, double *ret_within_s,
			  struct lsc_err *err);

/* --- fields that other frames have too (kv_frame.c) --- */

void lsc_frame_put_route(struct lsc_pack *pack, const struct lsc_frame_stage *stages, uint32_t n);
int lsc_frame_get_image(const struct lsc_record *record, struct lsc_hash *ret_image,
			struct lsc_err *err);
int lsc_frame_get_client(const struct lsc_record *record, struct lsc_client_id *ret_client,
			 struct lsc_err *err);
int lsc_frame_get_uint32(const struct lsc_record *record, const char *key, uint32_t max,
			 uint32_t *ret_value, struct lsc_err *err);
int lsc_frame_get_route(const struct lsc_record *record, struct lsc_frame_stage *ret_stages,
			uint32_t *ret_n, struct lsc_err *err);

/* Words for people, at most size - 1 bytes of them, without control characters. */
int lsc_frame_get_why(const struct lsc_record *record, char *ret_why, uint32_t size,
		      struct lsc_err *err);

#define LSC_FRAME_MAX_POSITION 0x7fffffff

#endif
