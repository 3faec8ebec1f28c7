/* A record as one packet of a Unix socket (SOCK_SEQPACKET), with descriptors beside it.
 *
 * What programs of one node say to each other where memory changes hands: lsc-tier(5).  A packet is
 * there as a whole or not at all, so there are no bodies and nothing is left over between two.
 */
#ifndef LSC_STREAM_PACKET_H
#define LSC_STREAM_PACKET_H

#include <stdint.h>

#include "base/err.h"
#include "stream/record.h"

#define LSC_PACKET_MAX_BYTES 65536
#define LSC_PACKET_MAX_FDS   64

struct lsc_packet {
	struct lsc_record record; /* the last one that came; it points into bytes */
	uint8_t *bytes;
	size_t len;
	int fds[LSC_PACKET_MAX_FDS]; /* that came with it; -1 where they were taken */
	unsigned n_fds;
};

#define LSC_PACKET_INIT                                                                            \
	{                                                                                          \
		.record = LSC_RECORD_INIT                                                          \
	}

/* Sends the record that the pack holds; the descriptors stay the caller's.  -EAGAIN where the
 * socket does not wait and is full; -EPIPE. */
int lsc_packet_send(int fd, const struct lsc_pack *pack, const int *fds, unsigned n_fds,
		    struct lsc_err *err);

/* 1: packet->record is the next one, and descriptors that came with the one before are closed,
 * unless they were taken; 0: the other end has closed; -EAGAIN; -EBADMSG. */
int lsc_packet_receive(int fd, struct lsc_packet *packet, struct lsc_err *err);

/* A descriptor of the packet, which is the caller's from now on: -EBADMSG where it has none. */
int lsc_packet_take(struct lsc_packet *packet, unsigned i, struct lsc_err *err);

void lsc_packet_release(struct lsc_packet *packet);

#endif
