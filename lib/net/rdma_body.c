/* rdma_body - bodies that the other end's device puts where they belong
 *
 * Whoever sends one marks its place in the stream and waits for the other end to say where it is
 * to lie; then its device writes there, in chunks, each of which takes a buffer of the other end as
 * a message does, so that this one is told of it.  Nobody copies.
 *
 * The memory is registered for as long as one body takes, at both ends: so its key opens that place
 * alone, and nothing any more by the time the body is looked at; and the memory that a process may
 * lock bounds what is under way, not the image.  Where the receiving end's cannot be registered,
 * the body comes in messages; where the sending end's cannot (a file that is mapped to be read,
 * before Linux 6.2), it is written from the ring's buffers.
 */
#ifdef LSC_HAVE_RDMA
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "net/rdma_pair_own.h"

#define CHUNK_BYTES  262144
#define CHUNKS       4 /* under way at most: the stream's messages stand behind them */
#define DRAIN_NS     500000000u
#define PLACE_BYTES  13
#define WRITE_ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE)

/* --- coming in --- */

void lsc_rdma_tell_place(struct lsc_rdma_pair *pair)
{
	struct lsc_rdma_in *in = &pair->in;
	struct lsc_rdma_batch batch;
	uint8_t *data;

	if (!in->active || in->told || !lsc_rdma_sendable(pair))
		return;
	in->told = true;
	pair->news = true; /* of one that is skipped: that it is over */
	data = lsc_rdma_slot(pair, 0) + LSC_RDMA_HEADER;
	memset(data, 0, PLACE_BYTES);
	data[0] = (uint8_t)in->how;
	if (in->mr) {
		uint64_t at = (uintptr_t)in->body;

		lsc_rdma_put32(data + 1, (uint32_t)(at >> 32));
		lsc_rdma_put32(data + 5, (uint32_t)at);
		lsc_rdma_put32(data + 9, in->mr->rkey);
	}
	batch.n = 0;
	lsc_rdma_add(pair, &batch, LSC_RDMA_PLACE, PLACE_BYTES);
	lsc_rdma_post(pair, &batch);
}

bool lsc_rdma_pair_place(struct lsc_rdma_pair *pair, void *body, uint32_t len)
{
	struct lsc_rdma_in *in = &pair->in;

	if (!pair->at_mark)
		return false;
	pair->at_mark = false;
	*in = (struct lsc_rdma_in){.active = true, .body = body, .left = len};
	if (body)
		in->mr = ibv_reg_mr(pair->id->pd, body, len, WRITE_ACCESS);
	in->how = !body ? LSC_RDMA_SKIP : in->mr ? LSC_RDMA_WRITE : LSC_RDMA_SEND;
	if (!body)
		in->left = 0;
	lsc_rdma_tell_place(pair);
	return true;
}

/* From here on the other end can write there no more. */
static void close_place(struct lsc_rdma_pair *pair)
{
	if (pair->in.mr && ibv_dereg_mr(pair->in.mr))
		lsc_rdma_fail(pair, EIO, "the device does not let go of memory");
	pair->in.mr = NULL;
}

int lsc_rdma_pair_placed(struct lsc_rdma_pair *pair, uint32_t *ret_left)
{
	struct lsc_rdma_in *in = &pair->in;

	if (in->left == 0 && in->told) {
		in->active = false;
		*ret_left = 0;
		return 0;
	}
	if (pair->broken)
		return -pair->broken;
	if (pair->gone || pair->ended)
		return -ECONNRESET;
	*ret_left = LSC_MAX(in->left, 1u);
	return 0;
}

void lsc_rdma_pair_skip(struct lsc_rdma_pair *pair)
{
	close_place(pair);
	pair->in.body = NULL;
}

static void count_in(struct lsc_rdma_pair *pair, uint32_t len)
{
	pair->in.left -= len;
	if (!pair->in.left)
		close_place(pair);
	pair->news = true;
}

void lsc_rdma_take_write(struct lsc_rdma_pair *pair, uint32_t len)
{
	if (!pair->in.active || pair->in.how != LSC_RDMA_WRITE || len > pair->in.left)
		lsc_rdma_fail(pair, EPROTO, "says that it wrote what was not asked for");
	else
		count_in(pair, len);
}

void lsc_rdma_take_part(struct lsc_rdma_pair *pair, const uint8_t *data, uint32_t len)
{
	struct lsc_rdma_in *in = &pair->in;

	if (!in->active || in->how != LSC_RDMA_SEND || len > in->left) {
		lsc_rdma_fail(pair, EPROTO, "sent a part of a body that was not asked for");
		return;
	}
	if (in->body) {
		memcpy(in->body, data, len);
		in->body += len;
	}
	count_in(pair, len);
}

/* --- going out --- */

ssize_t lsc_rdma_pair_mark(struct lsc_rdma_pair *pair, const void *record, uint32_t record_len,
			   const struct lsc_rdma_body *body)
{
	struct lsc_rdma_batch batch;
	int r;

	if (record_len > pair->message_bytes - LSC_RDMA_HEADER)
		return 0;
	if (pair->broken)
		return -pair->broken;
	if (!lsc_rdma_sendable(pair))
		return -EAGAIN;
	pair->out = (struct lsc_rdma_out){
		.active = true,
		.body = body->data,
		.len = body->len,
		.fd = body->fd,
		.offset = body->offset,
	};
	memcpy(lsc_rdma_slot(pair, 0) + LSC_RDMA_HEADER, record, record_len);
	batch.n = 0;
	lsc_rdma_add(pair, &batch, LSC_RDMA_MARK, record_len);
	r = lsc_rdma_post(pair, &batch);
	return r < 0 ? r : (ssize_t)record_len;
}

void lsc_rdma_take_place(struct lsc_rdma_pair *pair, const uint8_t *data, uint32_t len)
{
	struct lsc_rdma_out *out = &pair->out;

	if (!out->active || out->placed || len < PLACE_BYTES || data[0] > LSC_RDMA_SEND) {
		lsc_rdma_fail(pair, EPROTO, "says where a body goes that it was not sent");
		return;
	}
	out->placed = true;
	out->how = data[0];
	out->address = (uint64_t)lsc_rdma_get32(data + 1) << 32 | lsc_rdma_get32(data + 5);
	out->key = lsc_rdma_get32(data + 9);
	if (out->how == LSC_RDMA_SKIP)
		out->moved = out->flown = out->len;
}

/* Whether the file still has all of it: what is read of a mapping behind its end is nothing. */
static bool is_cut(const struct lsc_rdma_out *out)
{
	struct stat st;

	return out->fd >= 0 &&
	       (fstat(out->fd, &st) < 0 || (uint64_t)st.st_size < out->offset + out->len);
}

static int register_body(struct lsc_rdma_pair *pair)
{
	struct lsc_rdma_out *out = &pair->out;

	if (is_cut(out))
		return -ENODATA;
	if (out->how == LSC_RDMA_WRITE && !out->mr && !pair->unregistered) {
		out->mr = ibv_reg_mr(pair->id->pd, (void *)out->body, out->len, 0);
		pair->unregistered = !out->mr;
	}
	return 0;
}

/* The next bytes, in the buffer of the request that comes after n others: how many, 0 where the
 * file has them no more. */
static uint32_t copy(struct lsc_rdma_pair *pair, uint32_t n, size_t limit)
{
	const struct lsc_rdma_out *out = &pair->out;
	uint8_t *at = lsc_rdma_slot(pair, n) + LSC_RDMA_HEADER;
	size_t len = LSC_MIN(limit, (size_t)(pair->message_bytes - LSC_RDMA_HEADER));
	ssize_t got = (ssize_t)len;

	if (out->fd < 0)
		memcpy(at, out->body + out->moved, len);
	else
		got = pread(out->fd, at, len, (off_t)(out->offset + out->moved));
	return got > 0 ? (uint32_t)got : 0;
}

static uint32_t add_write(struct lsc_rdma_pair *pair, struct lsc_rdma_batch *batch, size_t limit)
{
	struct lsc_rdma_out *out = &pair->out;
	uint8_t *slot = lsc_rdma_slot(pair, batch->n) + LSC_RDMA_HEADER;
	uint32_t len = out->mr ? (uint32_t)LSC_MIN(limit, (size_t)CHUNK_BYTES)
			       : copy(pair, batch->n, limit);
	struct ibv_send_wr *wr;

	if (!len)
		return 0;
	wr = lsc_rdma_add_request(pair, batch, len, out->mr || out->moved + len == out->len);
	*wr->sg_list =
		out->mr ? (struct ibv_sge){(uintptr_t)out->body + out->moved, len, out->mr->lkey}
			: (struct ibv_sge){(uintptr_t)slot, len, pair->mr->lkey};
	wr->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
	wr->imm_data = htonl(len);
	wr->wr.rdma.remote_addr = out->address + out->moved;
	wr->wr.rdma.rkey = out->key;
	return len;
}

static uint32_t add_part(struct lsc_rdma_pair *pair, struct lsc_rdma_batch *batch, size_t limit)
{
	uint32_t len = copy(pair, batch->n, limit);

	if (len)
		lsc_rdma_add(pair, batch, LSC_RDMA_PART, len);
	return len;
}

ssize_t lsc_rdma_pair_move(struct lsc_rdma_pair *pair, size_t limit)
{
	struct lsc_rdma_out *out = &pair->out;
	uint32_t room = lsc_rdma_sendable(pair), before = out->moved;
	struct lsc_rdma_batch batch;
	int r;

	batch.n = 0;
	if (pair->broken)
		return -pair->broken;
	if (pair->gone)
		return -EPIPE;
	if (!out->placed || out->moved == out->len || !room)
		return -EAGAIN;
	r = register_body(pair);
	if (r < 0)
		return r;
	if (out->mr)
		room = LSC_MIN(room, CHUNKS - LSC_MIN((out->moved - out->flown) / CHUNK_BYTES,
						      (uint32_t)CHUNKS));
	while (batch.n < room && out->moved < out->len && limit) {
		size_t most = LSC_MIN(limit, (size_t)(out->len - out->moved));
		uint32_t len = out->how == LSC_RDMA_WRITE ? add_write(pair, &batch, most)
							  : add_part(pair, &batch, most);

		if (!len)
			return -ENODATA;
		out->moved += len;
		limit -= len;
	}
	r = lsc_rdma_post(pair, &batch);
	if (r < 0)
		return r;
	return out->moved > before ? (ssize_t)(out->moved - before) : -EAGAIN;
}

/* What the device has been given of the old memory is over soon, or the other end is in trouble. */
int lsc_rdma_pair_own(struct lsc_rdma_pair *pair, const void *copy)
{
	struct lsc_rdma_out *out = &pair->out;
	int r = lsc_rdma_drain(pair, DRAIN_NS);

	if (r < 0)
		return r;
	if (out->mr)
		ibv_dereg_mr(out->mr);
	out->mr = NULL;
	out->body = copy;
	out->fd = -1;
	return 0;
}

size_t lsc_rdma_pair_flown(struct lsc_rdma_pair *pair)
{
	struct lsc_rdma_out *out = &pair->out;
	size_t n = out->flown - out->told;

	out->told = out->flown;
	if (out->active && out->flown == out->len) {
		if (out->mr)
			ibv_dereg_mr(out->mr);
		*out = (struct lsc_rdma_out){0};
	}
	return n;
}

void lsc_rdma_drop_bodies(struct lsc_rdma_pair *pair)
{
	if (pair->in.mr)
		ibv_dereg_mr(pair->in.mr);
	if (pair->out.mr)
		ibv_dereg_mr(pair->out.mr);
}
#endif
