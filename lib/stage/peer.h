/* The links that a stage worker was called on: clients', and those of stages before it.
 *
 * A client names itself on its links; what is for it goes to the newest with its name.  The latest
 * requests it dropped are remembered there: a run of one may still be under way from the stage
 * before, and must not bring its keys and values back.
 */
#ifndef LSC_STAGE_PEER_H
#define LSC_STAGE_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/frame.h"
#include "net/link.h"
#include "stage/job.h"

struct lsc_peer {
	struct lsc_peer *next;
	void *owner; /* of all of them */
	struct lsc_link *link;
	bool is_client;
	struct lsc_client_id client;
	uint64_t *dropped; /* a client's latest drops, a ring */
	uint32_t n_dropped;
	struct lsc_job *receiving; /* the owner's, while its body comes */
	uint64_t tag;              /* of this link alone; and rows on their way out, in order: */
	struct lsc_jobs sending;
};

struct lsc_peers {
	struct lsc_peer *first; /* the newest */
	uint64_t tags;
};

/* Takes a link over; NULL when out of memory. */
struct lsc_peer *lsc_peers_add(struct lsc_peers *peers, struct lsc_link *link, void *owner);

/* Closes and frees one. */
void lsc_peers_remove(struct lsc_peers *peers, struct lsc_peer *peer);

/* The newest that named this client, or NULL. */
struct lsc_peer *lsc_peers_find(const struct lsc_peers *peers, const struct lsc_client_id *client);

/* The one with this tag, or NULL. */
struct lsc_peer *lsc_peers_find_tag(const struct lsc_peers *peers, uint64_t tag);

/* A link says whose it is: -EPROTO where it said otherwise before. */
int lsc_peer_name(struct lsc_peer *peer, const struct lsc_client_id *client, struct lsc_err *err);

/* A client dropped a request; and whether it did. */
void lsc_peers_drop(struct lsc_peers *peers, const struct lsc_client_id *client, uint64_t request);
bool lsc_peers_have_dropped(const struct lsc_peers *peers, const struct lsc_client_id *client,
			    uint64_t request);

/* Tells a client that a run failed, or what it gave.  Without a link to it, nobody hears it. */
void lsc_peers_send_fail(const struct lsc_peers *peers, const struct lsc_client_id *client,
			 uint64_t request, uint32_t pos, const struct lsc_err *err);
void lsc_peers_send_token(const struct lsc_peers *peers, const struct lsc_job *job);

/* Tells a client that a request is here now. */
void lsc_peers_send_moved(const struct lsc_peers *peers, const struct lsc_client_id *client,
			  const struct lsc_moved_frame *moved);

/* Answers a fetch with what came of it; where that is rows, they stay in peer->sending until they
 * are out. */
int lsc_peer_send_pages(struct lsc_peer *peer, struct lsc_job *job);

int lsc_peer_send_pong(struct lsc_peer *peer, const struct lsc_pong_frame *pong,
		       struct lsc_err *err);

/* Tells a client that this worker leaves, or all of them. */
void lsc_peer_send_leave(struct lsc_peer *peer, double within_s);
void lsc_peers_send_leave(const struct lsc_peers *peers, double within_s);

#endif
