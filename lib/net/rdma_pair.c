/* rdma_pair - a queue pair, its rings and its credits
 *
 * What is written is copied into messages, all of which are given to the device at once; what comes
 * is copied out of them.  Where memory is registered, bodies need not go this way.
 *
 * Only each eighth message is asked to be confirmed, and everything in front of it is over with it:
 * the rings are longer than that, so that whoever waits for a buffer waits for one that is.
 */
#ifdef LSC_HAVE_RDMA
#include "net/rdma_pair_own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"

#define SIGNAL_EACH  8
#define POLLED       16 /* completions a call */
#define IS_RECEIVE   (UINT64_C(1) << 63)
#define FEWEST_SLOTS 4 /* of the other end: more than one, and half of them is more than one */
#define LEAST_BYTES  256

static const char terms_magic[4] = {'l', 's', 'c', 1};

void lsc_rdma_fail(struct lsc_rdma_pair *pair, int code, const char *why)
{
	if (pair->broken)
		return;
	pair->broken = code;
	pair->why = why;
}

/* --- sending --- */

/* Messages that can go now.  One credit is kept for telling of buffers, so that two ends that both
 * have much to say do not wait for each other. */
uint32_t lsc_rdma_sendable(const struct lsc_rdma_pair *pair)
{
	uint32_t slots = LSC_RDMA_SLOTS - (uint32_t)(pair->posted - pair->over);

	if (!pair->up || pair->gone || pair->broken || pair->credits < 2)
		return 0;
	return LSC_MIN(slots, pair->credits - 1);
}

uint8_t *lsc_rdma_slot(struct lsc_rdma_pair *pair, uint32_t ahead)
{
	return pair->slots +
	       (LSC_RDMA_SLOTS + (pair->posted + ahead) % LSC_RDMA_SLOTS) * LSC_RDMA_SLOT_BYTES;
}

struct ibv_send_wr *lsc_rdma_add_request(struct lsc_rdma_pair *pair, struct lsc_rdma_batch *batch,
					 uint32_t bytes, bool last)
{
	struct ibv_send_wr *wr = &batch->wr[batch->n];
	uint64_t number = pair->posted + batch->n + 1;

	*wr = (struct ibv_send_wr){
		.wr_id = number,
		.sg_list = &batch->sge[batch->n],
		.num_sge = 1,
		.send_flags = last || number % SIGNAL_EACH == 0 ? IBV_SEND_SIGNALED : 0,
	};
	pair->bytes_of[(number - 1) % LSC_RDMA_SLOTS] = bytes;
	if (batch->n)
		batch->wr[batch->n - 1].next = wr;
	batch->n++;
	return wr;
}

void lsc_rdma_add(struct lsc_rdma_pair *pair, struct lsc_rdma_batch *batch,
		  enum lsc_rdma_message type, uint32_t len)
{
	uint32_t of_body = type == LSC_RDMA_PART ? len : 0;
	uint8_t *slot = lsc_rdma_slot(pair, batch->n);
	struct ibv_send_wr *wr = lsc_rdma_add_request(
		pair, batch, of_body, of_body && pair->out.moved + of_body == pair->out.len);

	slot[0] = (uint8_t)type;
	slot[1] = 0;
	lsc_rdma_put16(slot + 2, pair->owed);
	lsc_rdma_put32(slot + 4, len);
	pair->owed = 0;
	*wr->sg_list = (struct ibv_sge){(uintptr_t)slot, LSC_RDMA_HEADER + len, pair->mr->lkey};
	wr->opcode = IBV_WR_SEND;
}

int lsc_rdma_post(struct lsc_rdma_pair *pair, struct lsc_rdma_batch *batch)
{
	struct ibv_send_wr *bad;
	int code;

	if (!batch->n)
		return 0;
	code = ibv_post_send(pair->qp, batch->wr, &bad);
	if (code) {
		lsc_rdma_fail(pair, code, "the device takes no messages");
		return -code;
	}
	pair->posted += batch->n;
	pair->credits -= batch->n;
	return 0;
}

static uint32_t free_slots(const struct lsc_rdma_pair *pair)
{
	return LSC_RDMA_SLOTS - (uint32_t)(pair->posted - pair->over);
}

/* Gives buffers back where half of them are due, and says the end once there is room. */
static void settle(struct lsc_rdma_pair *pair)
{
	struct lsc_rdma_batch batch;

	batch.n = 0;
	if (!pair->up || pair->gone || pair->broken)
		return;
	lsc_rdma_tell_place(pair);
	if (pair->end_due && lsc_rdma_sendable(pair)) {
		lsc_rdma_add(pair, &batch, LSC_RDMA_END, 0);
		pair->end_due = false;
	} else if (pair->owed >= LSC_RDMA_SLOTS / 2 && pair->credits && free_slots(pair)) {
		lsc_rdma_add(pair, &batch, LSC_RDMA_CREDITS, 0);
	}
	lsc_rdma_post(pair, &batch);
}

/* Where the next bytes of what is to be sent come from. */
struct source {
	const struct iovec *iov;
	int n, fd;
	size_t used; /* of the first */
	uint64_t offset;
	size_t file_len;
	bool cut; /* the file ended too early */
};

static size_t fill(struct source *source, uint8_t *at, size_t room)
{
	size_t len = 0;

	while (source->n && len < room) {
		size_t n = LSC_MIN(room - len, source->iov->iov_len - source->used);

		memcpy(at + len, (const uint8_t *)source->iov->iov_base + source->used, n);
		len += n;
		source->used += n;
		if (source->used < source->iov->iov_len)
			break;
		source->iov++;
		source->n--;
		source->used = 0;
	}
	while (!source->n && source->file_len && len < room) {
		ssize_t n = pread(source->fd, at + len, LSC_MIN(room - len, source->file_len),
				  (off_t)source->offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			source->cut = true;
			break;
		}
		len += (size_t)n;
		source->offset += (uint64_t)n;
		source->file_len -= (size_t)n;
	}
	return len;
}

static ssize_t send_from(struct lsc_rdma_pair *pair, struct source *source)
{
	uint32_t most = lsc_rdma_sendable(pair), room = pair->message_bytes - LSC_RDMA_HEADER;
	struct lsc_rdma_batch batch;
	ssize_t sent = 0;
	int r;

	batch.n = 0;
	if (pair->broken)
		return -pair->broken;
	if (pair->gone)
		return -EPIPE;
	if (!most)
		return -EAGAIN;
	while (batch.n < most && !source->cut) {
		size_t len = fill(source, lsc_rdma_slot(pair, batch.n) + LSC_RDMA_HEADER, room);

		if (!len)
			break;
		lsc_rdma_add(pair, &batch, LSC_RDMA_DATA, (uint32_t)len);
		sent += (ssize_t)len;
	}
	r = lsc_rdma_post(pair, &batch);
	return r < 0 ? r : sent;
}

ssize_t lsc_rdma_pair_writev(struct lsc_rdma_pair *pair, const struct iovec *iov, int n)
{
	struct source source = {.iov = iov, .n = n, .fd = -1};

	return send_from(pair, &source);
}

/* The file is read, not its mapping: one that was cut meanwhile is an error then, no SIGBUS. */
ssize_t lsc_rdma_pair_sendfile(struct lsc_rdma_pair *pair, const struct iovec *iov, int n, int fd,
			       uint64_t offset, size_t len)
{
	struct source source = {.iov = iov, .n = n, .fd = fd, .offset = offset, .file_len = len};

	return send_from(pair, &source);
}

void lsc_rdma_pair_shut(struct lsc_rdma_pair *pair)
{
	pair->end_due = true;
	settle(pair);
}

/* --- receiving --- */

static int post_receive(struct lsc_rdma_pair *pair, uint16_t slot)
{
	struct ibv_sge sge = {(uintptr_t)(pair->slots + (size_t)slot * LSC_RDMA_SLOT_BYTES),
			      LSC_RDMA_SLOT_BYTES, pair->mr->lkey};
	struct ibv_recv_wr *bad, wr = {
					 .wr_id = IS_RECEIVE | slot,
					 .sg_list = &sge,
					 .num_sge = 1,
				 };

	return ibv_post_recv(pair->qp, &wr, &bad);
}

static void give_back(struct lsc_rdma_pair *pair, uint16_t slot)
{
	int code = pair->gone || pair->broken ? 0 : post_receive(pair, slot);

	if (code)
		lsc_rdma_fail(pair, code, "the device takes no buffers");
	pair->owed++;
}

ssize_t lsc_rdma_pair_readv(struct lsc_rdma_pair *pair, const struct iovec *iov, int n)
{
	size_t used = 0;
	ssize_t got = 0;

	if (pair->at_mark)
		lsc_rdma_fail(pair, EPROTO, "sends a body where none is due");
	while (n && pair->n_arrived && !pair->at_mark) {
		struct lsc_rdma_arrived *first = &pair->arrived[pair->first];
		const uint8_t *data = pair->slots + (size_t)first->slot * LSC_RDMA_SLOT_BYTES +
				      LSC_RDMA_HEADER + pair->used;
		size_t len = LSC_MIN(first->len - pair->used, iov->iov_len - used);

		memcpy((uint8_t *)iov->iov_base + used, data, len);
		got += (ssize_t)len;
		used += len;
		pair->used += (uint32_t)len;
		if (used == iov->iov_len) {
			iov++;
			n--;
			used = 0;
		}
		if (pair->used < first->len)
			continue;
		pair->used = 0;
		pair->at_mark = first->mark;
		pair->first = (pair->first + 1) % LSC_RDMA_SLOTS;
		pair->n_arrived--;
		give_back(pair, first->slot);
	}
	if (got) {
		settle(pair);
		return got;
	}
	if (pair->ended)
		return 0;
	if (pair->broken)
		return -pair->broken;
	return pair->gone ? 0 : -EAGAIN;
}

/* Bytes of the stream stay where they are until they are read. */
static bool keep(struct lsc_rdma_pair *pair, uint16_t slot, bool mark, uint32_t len)
{
	if (!len || pair->ended)
		return false;
	pair->arrived[(pair->first + pair->n_arrived) % LSC_RDMA_SLOTS] =
		(struct lsc_rdma_arrived){slot, mark, len};
	pair->n_arrived++;
	return true;
}

static void take_message(struct lsc_rdma_pair *pair, uint16_t slot, uint32_t bytes)
{
	const uint8_t *message = pair->slots + (size_t)slot * LSC_RDMA_SLOT_BYTES;
	uint32_t len, credits;

	if (bytes < LSC_RDMA_HEADER || lsc_rdma_get32(message + 4) != bytes - LSC_RDMA_HEADER ||
	    message[0] >= LSC_RDMA_MESSAGES) {
		lsc_rdma_fail(pair, EPROTO, "sent a message that is none");
		return;
	}
	len = bytes - LSC_RDMA_HEADER;
	credits = lsc_rdma_get16(message + 2);
	if (credits > LSC_RDMA_SLOTS * 64 || pair->credits + credits > UINT16_MAX) {
		lsc_rdma_fail(pair, EPROTO, "gives back more buffers than there are");
		return;
	}
	pair->credits += credits;
	switch (message[0]) {
	case LSC_RDMA_DATA:
	case LSC_RDMA_MARK:
		if (keep(pair, slot, message[0] == LSC_RDMA_MARK, len))
			return;
		break;
	case LSC_RDMA_END:
		pair->ended = true;
		break;
	case LSC_RDMA_PLACE:
		lsc_rdma_take_place(pair, message + LSC_RDMA_HEADER, len);
		break;
	case LSC_RDMA_PART:
		lsc_rdma_take_part(pair, message + LSC_RDMA_HEADER, len);
		break;
	default:
		break;
	}
	give_back(pair, slot);
}

/* --- completions --- */

static void take_failure(struct lsc_rdma_pair *pair, const struct ibv_wc *wc)
{
	switch (wc->status) {
	case IBV_WC_WR_FLUSH_ERR: /* follows what broke it, or the end */
		pair->gone = true;
		break;
	case IBV_WC_RETRY_EXC_ERR:
		lsc_rdma_fail(pair, ETIMEDOUT, "does not answer any more");
		break;
	case IBV_WC_RNR_RETRY_EXC_ERR:
		lsc_rdma_fail(pair, ETIMEDOUT, "takes no messages");
		break;
	default:
		lsc_rdma_fail(pair, EIO, ibv_wc_status_str(wc->status));
	}
}

/* All up to this one are over. */
static void take_sent(struct lsc_rdma_pair *pair, uint64_t number)
{
	while (pair->over < number)
		pair->out.flown += pair->bytes_of[pair->over++ % LSC_RDMA_SLOTS];
}

static void take_written(struct lsc_rdma_pair *pair, uint16_t slot, uint32_t len)
{
	lsc_rdma_take_write(pair, len);
	give_back(pair, slot);
}

static void take_completion(struct lsc_rdma_pair *pair, const struct ibv_wc *wc)
{
	if (wc->status != IBV_WC_SUCCESS)
		take_failure(pair, wc);
	else if (!(wc->wr_id & IS_RECEIVE))
		take_sent(pair, wc->wr_id);
	else if (wc->opcode == IBV_WC_RECV_RDMA_WITH_IMM)
		take_written(pair, (uint16_t)wc->wr_id, ntohl(wc->imm_data));
	else
		take_message(pair, (uint16_t)wc->wr_id, wc->byte_len);
}

static void poll_all(struct lsc_rdma_pair *pair)
{
	struct ibv_wc wc[POLLED];
	int n;

	do {
		n = ibv_poll_cq(pair->cq, POLLED, wc);
		for (int i = 0; i < n; i++)
			take_completion(pair, &wc[i]);
	} while (n > 0);
	if (n < 0)
		lsc_rdma_fail(pair, EIO, "the device has no completions to give");
}

int lsc_rdma_drain(struct lsc_rdma_pair *pair, uint64_t timeout_ns)
{
	uint64_t until = lsc_clock_ns() + timeout_ns;

	lsc_timer_arm(pair->read_on, 0);
	while (pair->out.flown < pair->out.moved && !pair->broken && !pair->gone) {
		if (lsc_clock_ns() > until)
			return -EBUSY;
		poll_all(pair);
	}
	return 0;
}

/* Freed by the link's owner, perhaps: the last thing that is done. */
static void tell(struct lsc_rdma_pair *pair)
{
	bool over = pair->gone || pair->broken;
	bool readable = pair->n_arrived || pair->ended || pair->news || over;

	pair->news = false;
	lsc_link_ready(pair->link, readable,
		       lsc_rdma_sendable(pair) || pair->out.flown > pair->out.told || over);
}

static void on_completions(void *data, uint32_t events)
{
	struct lsc_rdma_pair *pair = data;
	struct ibv_cq *cq;
	void *context;

	(void)events;
	if (ibv_get_cq_event(pair->channel, &cq, &context) < 0)
		return;
	ibv_ack_cq_events(cq, 1);
	if (ibv_req_notify_cq(cq, 0))
		lsc_rdma_fail(pair, EIO, "the device tells of no completions");
	poll_all(pair);
	settle(pair);
	tell(pair);
}

static void on_read_on(void *data)
{
	settle(data); /* what could not be said before the connection was there */
	tell(data);
}

void lsc_rdma_pair_read_on(struct lsc_rdma_pair *pair)
{
	lsc_timer_arm(pair->read_on, 0);
}

void lsc_rdma_pair_up(struct lsc_rdma_pair *pair)
{
	pair->up = true;
}

/* What came before is read before the end is. */
void lsc_rdma_pair_gone(struct lsc_rdma_pair *pair)
{
	poll_all(pair);
	pair->gone = true;
	lsc_timer_arm(pair->read_on, 0);
}

const char *lsc_rdma_pair_why(const struct lsc_rdma_pair *pair)
{
	return pair->broken ? pair->why : NULL;
}

/* --- life --- */

void lsc_rdma_pair_terms(const struct lsc_rdma_pair *pair, uint8_t terms[LSC_RDMA_TERMS_BYTES])
{
	(void)pair;
	memcpy(terms, terms_magic, sizeof(terms_magic));
	lsc_rdma_put16(terms + 4, LSC_RDMA_SLOTS);
	lsc_rdma_put16(terms + 6, LSC_RDMA_SLOT_BYTES);
}

int lsc_rdma_pair_take_terms(struct lsc_rdma_pair *pair, const void *data, size_t len,
			     struct lsc_err *err)
{
	const uint8_t *terms = data;

	if (len < LSC_RDMA_TERMS_BYTES || memcmp(terms, terms_magic, sizeof(terms_magic)) != 0)
		return lsc_err_set(err, EPROTO, "speaks another protocol over RDMA");
	pair->credits = lsc_rdma_get16(terms + 4);
	pair->message_bytes = LSC_MIN(lsc_rdma_get16(terms + 6), LSC_RDMA_SLOT_BYTES);
	if (pair->credits < FEWEST_SLOTS || pair->message_bytes < LEAST_BYTES)
		return lsc_err_set(err, EPROTO, "has %u buffers of %u bytes", pair->credits,
				   pair->message_bytes);
	return 0;
}

static int make_queues(struct lsc_rdma_pair *pair, struct lsc_err *err)
{
	struct ibv_qp_init_attr attr = {
		.cap = {.max_send_wr = LSC_RDMA_SLOTS,
			.max_recv_wr = LSC_RDMA_SLOTS,
			.max_send_sge = 1,
			.max_recv_sge = 1},
		.qp_type = IBV_QPT_RC,
	};
	struct ibv_context *device = pair->id->verbs;

	pair->channel = ibv_create_comp_channel(device);
	if (!pair->channel)
		return lsc_err_set(err, errno, "no channel of completions: %m");
	pair->cq = ibv_create_cq(device, 2 * LSC_RDMA_SLOTS, pair, pair->channel, 0);
	if (!pair->cq)
		return lsc_err_set(err, errno, "no queue of completions: %m");
	attr.send_cq = attr.recv_cq = pair->cq;
	if (rdma_create_qp(pair->id, NULL, &attr) < 0)
		return lsc_err_set(err, errno, "no queue pair: %m");
	pair->qp = pair->id->qp;
	return 0;
}

static int make_rings(struct lsc_rdma_pair *pair, struct lsc_err *err)
{
	size_t bytes = (size_t)2 * LSC_RDMA_SLOTS * LSC_RDMA_SLOT_BYTES;

	pair->slots = aligned_alloc(4096, bytes);
	if (!pair->slots)
		return lsc_err_set(err, ENOMEM, "no buffers: %m");
	memset(pair->slots, 0, bytes);
	pair->mr = ibv_reg_mr(pair->id->pd, pair->slots, bytes, IBV_ACCESS_LOCAL_WRITE);
	if (!pair->mr)
		return lsc_err_set(err, errno, "cannot register %zu bytes (ulimit -l): %m", bytes);
	for (uint16_t slot = 0; slot < LSC_RDMA_SLOTS; slot++) {
		int code = post_receive(pair, slot);

		if (code)
			return lsc_err_set(err, code, "the device takes no buffers: %m");
	}
	return 0;
}

static int watch_completions(struct lsc_rdma_pair *pair, struct lsc_err *err)
{
	int fd = pair->channel->fd, flags = fcntl(fd, F_GETFL), r;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return lsc_err_set(err, errno, "no channel of completions: %m");
	r = ibv_req_notify_cq(pair->cq, 0);
	if (r)
		return lsc_err_set(err, r, "the device tells of no completions: %m");
	r = lsc_timer_new(pair->link->loop, on_read_on, pair, &pair->read_on, err);
	if (r < 0)
		return r;
	return lsc_loop_watch(pair->link->loop, fd, EPOLLIN, on_completions, pair, &pair->watch,
			      err);
}

int lsc_rdma_pair_new(struct lsc_rdma_pair **ret_pair, struct lsc_link *link, struct rdma_cm_id *id,
		      struct lsc_err *err)
{
	struct lsc_rdma_pair *pair = calloc(1, sizeof(*pair));
	int r;

	if (!pair)
		return lsc_err_set(err, ENOMEM, "no memory: %m");
	pair->link = link;
	pair->id = id;
	r = make_queues(pair, err);
	if (r == 0)
		r = make_rings(pair, err);
	if (r == 0)
		r = watch_completions(pair, err);
	if (r < 0)
		lsc_rdma_pair_free(pair);
	else
		*ret_pair = pair;
	return r;
}

void lsc_rdma_pair_free(struct lsc_rdma_pair *pair)
{
	if (!pair)
		return;
	lsc_watch_remove(pair->watch);
	lsc_timer_free(pair->read_on);
	if (pair->qp)
		rdma_destroy_qp(pair->id);
	lsc_rdma_drop_bodies(pair);
	if (pair->mr)
		ibv_dereg_mr(pair->mr);
	if (pair->cq)
		ibv_destroy_cq(pair->cq);
	if (pair->channel)
		ibv_destroy_comp_channel(pair->channel);
	free(pair->slots);
	free(pair);
}
#endif
