/* A link carries records and bodies to one peer, in order, reliably.
 *
 * One loop's thread drives a link.  A link opens with a hello each way (its kind must agree),
 * after which on_open is called; then every record that arrives is given to on_record.  A record
 * with a body is given to on_record first, which says where the body goes (len bytes that stay
 * until on_body or on_close; NULL: skip it), then to on_body when all of it is there.
 *
 * lsc_link_send() copies the record and borrows the body until on_sent gives its cookie back (or
 * on_close is called): no byte of a body is copied by us.  Records leave in the order of sends.
 * on_close is called exactly once, from the loop, for whatever reason the link ends, except when
 * its owner closes it; then the link is only good for lsc_link_close().
 *
 * A link that ends for what the peer sent (a callback's error among it) tells the peer the reason
 * in a record `abort`.  One that gets such a record ends with the code and the words in it, and its
 * owner never sees the record.
 *
 * Sends may be queued before on_open.  Errors in err name the peer.
 *
 * With a key, no byte of a peer is looked at before it has proved that it has the same one: a link
 * whose peer does not ends with -EKEYREJECTED, and a hint to the peer.
 *
 * One row a transport in link_ops[]: memory (inside one process, for tests), tcp (Unix sockets
 * too) and, where it is built in, rdma.
 */
#ifndef LSC_NET_LINK_H
#define LSC_NET_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "net/loop.h"
#include "stream/record.h"

struct lsc_link;
struct lsc_key;  /* net/key.h */
struct lsc_pass; /* net/pass.h */
struct lsc_rate; /* net/rate.h */

struct lsc_link_events {
	void (*on_open)(void *data, struct lsc_link *link);
	/* body_len is 0 without a body.  Returns 0, or negative errno to end the link with the
	 * words put into err. */
	int (*on_record)(void *data, struct lsc_link *link, const struct lsc_record *record,
			 uint32_t body_len, void **ret_body, struct lsc_err *err);
	/* The body is there; on_body, on_open and on_sent may be NULL. */
	int (*on_body)(void *data, struct lsc_link *link, struct lsc_err *err);
	/* For each send that had a body or a cookie. */
	void (*on_sent)(void *data, struct lsc_link *link, void *cookie);
	/* err->code 0: the peer closed in good order. */
	void (*on_close)(void *data, struct lsc_link *link, const struct lsc_err *err);
};

struct lsc_link_options {
	const char *kind;            /* of the hello: "cast", "exec" */
	uint64_t connect_timeout_ns; /* and of the hello; 0: 10 s */
	uint64_t unsent_bytes;       /* in the kernel at most (TCP_NOTSENT_LOWAT); 0: its default */

	/* TLS, with a peer that has the same key; NULL: plain.  It must outlive the link. */
	const struct lsc_key *key;

	/* Of a plain link to one that asks for it; must live until on_open or on_close. */
	const struct lsc_pass *proof;

	/* Of a listener with a key, for plain links: the secret of that id, or any where id is
	 * NULL; a link opens when its peer has proved it.  NULL, returned or set: no plain link is
	 * let in. data is that of on_link. */
	const struct lsc_pass *(*find_proof)(void *data, const uint8_t *id);
};

/* Starts connecting; errors come by on_close, the resolver's too.  A unix:, tcp://, rdma:// or
 * memory: endpoint. */
int lsc_link_connect(struct lsc_link **ret_link, struct lsc_loop *loop,
		     const struct lsc_endpoint *peer, const struct lsc_link_options *options,
		     const struct lsc_link_events *events, void *data, struct lsc_err *err);

/* Two ends in one process. */
int lsc_link_pair(struct lsc_link *ret_links[2], struct lsc_loop *loop,
		  const struct lsc_link_options *options, const struct lsc_link_events *events,
		  void *const data[2], struct lsc_err *err);

/* pack holds one whole record; where it has the key "body", body_len bytes follow it. */
int lsc_link_send(struct lsc_link *link, const struct lsc_pack *pack, const void *body,
		  uint32_t body_len, void *cookie);

/* The same with a body that lies at an offset in a file too, whose pages the transport may take
 * without copying them.  The descriptor stays open as long as the body stays.  Where the file has
 * become shorter, the link ends with EIO. */
int lsc_link_send_file(struct lsc_link *link, const struct lsc_pack *pack, const void *body,
		       uint32_t body_len, int fd, uint64_t offset, void *cookie);

/* Builds the record that ends the peer's link, with a positive errno and words. */
int lsc_link_pack_abort(struct lsc_pack *pack, int code, const char *why);

/* Bytes accepted by send and not yet by the transport. */
size_t lsc_link_queued(const struct lsc_link *link);

/* Bytes that are still to come of the body that is under way; and to have the rest of it thrown
 * away, so that its place is free.  on_body is called in the end all the same. */
uint32_t lsc_link_body_left(const struct lsc_link *link);
void lsc_link_skip_body(struct lsc_link *link);

/* Whether the link ended because a body that was to be sent could not be read any more. */
bool lsc_link_lost_body(const struct lsc_link *link);

/* The minor version of its kind that the peer speaks, once it is open. */
unsigned lsc_link_minor(const struct lsc_link *link);

/* Whom the link is to, for messages: "10.0.0.2:7000". */
const char *lsc_link_peer(const struct lsc_link *link);

/* The key it is encrypted with, of a peer that has proved to have it too; NULL: it is plain. */
const struct lsc_key *lsc_link_key(const struct lsc_link *link);

/* The id of the secret that the peer of an accepted plain link has proved to know; NULL: none. */
const uint8_t *lsc_link_proved(const struct lsc_link *link);

/* Holds what the link sends to a rate, which it may share with others; NULL: no more.  The rate
 * must outlive the link. */
void lsc_link_set_rate(struct lsc_link *link, struct lsc_rate *rate);

/* Frees it at once; what is queued is lost, no callback comes any more.  NULL is fine. */
void lsc_link_close(struct lsc_link *link);

/* Sends what is queued, then closes in good order; no callback comes any more.  Bodies that are
 * still queued are copied.  A peer that does not take it all within 5 s is left. */
void lsc_link_finish(struct lsc_link *link);

/* --- listening --- */

struct lsc_listener;

/* on_link gives each accepted link's data; returning NULL refuses it. */
int lsc_listener_open(struct lsc_listener **ret_listener, struct lsc_loop *loop,
		      const struct lsc_endpoint *at, const struct lsc_link_options *options,
		      const struct lsc_link_events *events,
		      void *(*on_link)(void *data, struct lsc_link *link), void *data,
		      struct lsc_err *err);
void lsc_listener_close(struct lsc_listener *listener);

/* The address it really listens on: "127.0.0.1:40311". */
const char *lsc_listener_address(const struct lsc_listener *listener);

#endif
