/* A link's queue pair: a stream of bytes over messages that are sent and received through rings.
 *
 * Each end has SLOTS buffers for messages to come, and says so while it connects: the other end has
 * as many credits.  A message costs one, which comes back with what goes the other way, or in a
 * message of its own once half of them are due; the last one is kept for such a message.  So no
 * message ever comes where there is no buffer for it.  All buffers are made, and registered, when
 * the link opens.  The format is in lsc-wire(5), RDMA.
 *
 * One thread drives it: that of the link's loop.
 */
#ifndef LSC_NET_RDMA_PAIR_H
#define LSC_NET_RDMA_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"

struct lsc_link;
struct lsc_rdma_pair;
struct rdma_cm_id;

/* What each end tells the other while it connects, as private data of the connection's manager. */
#define LSC_RDMA_TERMS_BYTES 8

/* Makes it on a connection that is being set up. */
int lsc_rdma_pair_new(struct lsc_rdma_pair **ret_pair, struct lsc_link *link, struct rdma_cm_id *id,
		      struct lsc_err *err);

/* Gives up what it has, before the connection's id goes; NULL is fine. */
void lsc_rdma_pair_free(struct lsc_rdma_pair *pair);

void lsc_rdma_pair_terms(const struct lsc_rdma_pair *pair, uint8_t terms[LSC_RDMA_TERMS_BYTES]);

/* Takes the other end's: 0, or -EPROTO where they are none. */
int lsc_rdma_pair_take_terms(struct lsc_rdma_pair *pair, const void *terms, size_t len,
			     struct lsc_err *err);

/* The connection is there; or is no more, which is read as the end behind all that came. */
void lsc_rdma_pair_up(struct lsc_rdma_pair *pair);
void lsc_rdma_pair_gone(struct lsc_rdma_pair *pair);

/* As in struct lsc_link_ops. */
ssize_t lsc_rdma_pair_readv(struct lsc_rdma_pair *pair, const struct iovec *iov, int n);
ssize_t lsc_rdma_pair_writev(struct lsc_rdma_pair *pair, const struct iovec *iov, int n);
ssize_t lsc_rdma_pair_sendfile(struct lsc_rdma_pair *pair, const struct iovec *iov, int n, int fd,
			       uint64_t offset, size_t len);
void lsc_rdma_pair_read_on(struct lsc_rdma_pair *pair);
void lsc_rdma_pair_shut(struct lsc_rdma_pair *pair);

/* A body that the device puts in its place (rdma_body.c), one at a time each way. */
struct lsc_rdma_body {
	const void *data;
	uint32_t len;
	int fd; /* where it lies too, at offset; -1 */
	uint64_t offset;
};

/* Sends a record whose body is to go so: record_len, 0 where it cannot, -EAGAIN or another errno.
 * Then move() gives up to limit bytes of the body to the device, and says how many; flown() how
 * many more are over. */
ssize_t lsc_rdma_pair_mark(struct lsc_rdma_pair *pair, const void *record, uint32_t record_len,
			   const struct lsc_rdma_body *body);
ssize_t lsc_rdma_pair_move(struct lsc_rdma_pair *pair, size_t limit);
size_t lsc_rdma_pair_flown(struct lsc_rdma_pair *pair);

/* The rest of the body is in other memory from now on: 0, or negative errno. */
int lsc_rdma_pair_own(struct lsc_rdma_pair *pair, const void *copy);

/* Whether the body that is due comes so, and then to where; NULL: to nowhere. */
bool lsc_rdma_pair_place(struct lsc_rdma_pair *pair, void *body, uint32_t len);

/* What is still to come of it: 0, or negative errno where nothing does any more. */
int lsc_rdma_pair_placed(struct lsc_rdma_pair *pair, uint32_t *ret_left);

/* Its place is needed otherwise, which ends the link should the other end still write there. */
void lsc_rdma_pair_skip(struct lsc_rdma_pair *pair);

/* The words for what broke it; NULL: nothing did. */
const char *lsc_rdma_pair_why(const struct lsc_rdma_pair *pair);

#endif
