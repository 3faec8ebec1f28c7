/* A client of the tier: its connection, what it may, and what is still to be sent to it.
 *
 * Nothing that a client does, or does not do, makes others wait: what its socket does not take yet
 * is queued, with duplicates of the descriptors that go along, within limits.
 */
#ifndef LSC_TIER_CLIENT_H
#define LSC_TIER_CLIENT_H

#include <stdbool.h>

#include "base/err.h"
#include "net/loop.h"
#include "stream/packet.h"
#include "tier/rights.h"

struct lsc_client {
	int fd;
	struct lsc_peer peer;
	unsigned rights; /* LSC_RIGHT_* */
	struct lsc_packet packet;
	struct lsc_pack pack;

	/* the server's */
	bool greeted;
	bool watches;
	char name[LSC_PEER_TEXT];  /* the image that it receives; "" */
	char waits[LSC_PEER_TEXT]; /* the one that it waits for to be whole; "" */
	bool chores;               /* it waits for a chore */
	bool parked;               /* what it asked for, its last packet, is to be tried again */
	void *server;
	struct lsc_client *next;

	/* own */
	struct lsc_watch *watch;
	struct lsc_outgoing *first, **last;
	unsigned n_outgoing;
	bool deaf; /* not listened to */
	bool gone; /* it is to be closed */
	void (*fn)(struct lsc_client *client);
};

/* Takes over a connection; fn is called when there is something to receive, or it is gone. */
int lsc_client_new(struct lsc_client **ret_client, struct lsc_loop *loop, int fd,
		   void (*fn)(struct lsc_client *client), void *server, struct lsc_err *err);

/* Sends what pack holds.  What fails makes it gone, which fn finds in time. */
void lsc_client_send(struct lsc_client *client, const int *fds, unsigned n_fds);

/* Whether what it sends is received; fn is called for nothing else then. */
void lsc_client_listen(struct lsc_client *client, bool listen);

/* The answer to what cannot be done. */
void lsc_client_fail(struct lsc_client *client, const struct lsc_err *err);

void lsc_client_free(struct lsc_client *client);

#endif
