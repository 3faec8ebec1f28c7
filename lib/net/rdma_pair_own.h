/* What rdma_pair.c shares with rdma_body.c, and nobody else. */
#ifndef LSC_NET_RDMA_PAIR_OWN_H
#define LSC_NET_RDMA_PAIR_OWN_H

#include <rdma/rdma_cma.h>

#include "net/link_ops.h"
#include "net/rdma_pair.h"

#define LSC_RDMA_SLOTS      32   /* a power of two */
#define LSC_RDMA_SLOT_BYTES 8192 /* with the header */
#define LSC_RDMA_HEADER     8

/* The types of messages, of lsc-wire(5). */
enum lsc_rdma_message {
	LSC_RDMA_DATA = 0,
	LSC_RDMA_CREDITS = 1,
	LSC_RDMA_END = 2,
	LSC_RDMA_MARK = 3,
	LSC_RDMA_PLACE = 4,
	LSC_RDMA_PART = 5,
	LSC_RDMA_MESSAGES
};

/* How the other end wants a body. */
enum lsc_rdma_how {
	LSC_RDMA_SKIP = 0,
	LSC_RDMA_WRITE = 1,
	LSC_RDMA_SEND = 2,
};

/* A message that came and is not read yet. */
struct lsc_rdma_arrived {
	uint16_t slot;
	bool mark; /* a body stands behind it */
	uint32_t len;
};

/* A body that goes out. */
struct lsc_rdma_out {
	bool active, placed; /* its mark went; the other end said how it wants it */
	enum lsc_rdma_how how;
	const uint8_t *body;
	int fd;
	uint64_t offset; /* there */
	uint32_t len, moved;
	uint32_t flown, told; /* confirmed; and the link was told so */
	struct ibv_mr *mr;    /* NULL: it is copied */
	uint64_t address;     /* at the other end */
	uint32_t key;
};

/* A body that comes in. */
struct lsc_rdma_in {
	bool active, told;
	enum lsc_rdma_how how;
	uint8_t *body; /* NULL: thrown away */
	uint32_t left;
	struct ibv_mr *mr;
};

struct lsc_rdma_pair {
	struct lsc_link *link;
	struct rdma_cm_id *id;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
	struct ibv_mr *mr;
	struct lsc_watch *watch;
	struct lsc_timer *read_on;
	uint8_t *slots; /* to receive into, then as many to send from */
	bool up, ended, gone, end_due;
	int broken; /* errno of what broke it; 0: nothing did */
	const char *why;

	struct lsc_rdma_arrived arrived[LSC_RDMA_SLOTS];
	uint32_t first, n_arrived, used; /* of the first one's bytes */
	uint32_t owed;                   /* buffers that the other end may use again */
	bool at_mark;                    /* what comes next of the stream stands behind a body */

	uint32_t credits;                  /* messages that the other end has buffers for */
	uint32_t message_bytes;            /* at most, with the header */
	uint64_t posted, over;             /* requests to send */
	uint32_t bytes_of[LSC_RDMA_SLOTS]; /* of the body, of each of them */

	struct lsc_rdma_out out;
	struct lsc_rdma_in in;
	bool news;         /* of a body that comes */
	bool unregistered; /* the device does not take the memory of bodies that go */
};

/* Requests in a row of one call to the device. */
struct lsc_rdma_batch {
	struct ibv_send_wr wr[LSC_RDMA_SLOTS];
	struct ibv_sge sge[LSC_RDMA_SLOTS];
	uint32_t n;
};

void lsc_rdma_fail(struct lsc_rdma_pair *pair, int code, const char *why);

/* Requests that can be made now; and the buffer of the one that comes after n others. */
uint32_t lsc_rdma_sendable(const struct lsc_rdma_pair *pair);
uint8_t *lsc_rdma_slot(struct lsc_rdma_pair *pair, uint32_t n);

/* A message whose len bytes stand in its buffer already, behind the header. */
void lsc_rdma_add(struct lsc_rdma_pair *pair, struct lsc_rdma_batch *batch,
		  enum lsc_rdma_message type, uint32_t len);

/* Any request, of so many bytes of the body: one of a few is confirmed, or where it is the last. */
struct ibv_send_wr *lsc_rdma_add_request(struct lsc_rdma_pair *pair, struct lsc_rdma_batch *batch,
					 uint32_t bytes, bool last);
int lsc_rdma_post(struct lsc_rdma_pair *pair, struct lsc_rdma_batch *batch);

/* Waits until all requests are over; what came meanwhile is seen to later: 0 or -EBUSY. */
int lsc_rdma_drain(struct lsc_rdma_pair *pair, uint64_t timeout_ns);

/* --- rdma_body.c --- */

/* Says how a body is wanted, where that could not be said before. */
void lsc_rdma_tell_place(struct lsc_rdma_pair *pair);

void lsc_rdma_take_place(struct lsc_rdma_pair *pair, const uint8_t *data, uint32_t len);
void lsc_rdma_take_part(struct lsc_rdma_pair *pair, const uint8_t *data, uint32_t len);
void lsc_rdma_take_write(struct lsc_rdma_pair *pair, uint32_t len);
void lsc_rdma_drop_bodies(struct lsc_rdma_pair *pair); /* once there is no queue pair any more */

static inline void lsc_rdma_put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void lsc_rdma_put32(uint8_t *at, uint32_t value)
{
	lsc_rdma_put16(at, value >> 16);
	lsc_rdma_put16(at + 2, value & 0xffff);
}

static inline uint32_t lsc_rdma_get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t lsc_rdma_get32(const uint8_t *at)
{
	return lsc_rdma_get16(at) << 16 | lsc_rdma_get16(at + 2);
}

#endif
