/* link_queue - what a link has still to send: records in one buffer, bodies where they lie
 *
 * lsc_link_send() only queues.  At the end of the loop's turn everything queued goes out in as few
 * calls as it takes, however many records there are; a body that lies in a file ends a call where
 * the transport can send from files.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "net/link_ops.h"
#include "net/rate.h"

#define WRITES_A_TURN    16 /* then the other links get their turn */
#define IOVECS           32
#define IDLE_BUFFER_KEEP 65536   /* a larger buffer is given back when it is empty */
#define BODY_LEAST       1048576 /* of bodies that a transport moves by itself */
#define USED_KEEP        4096    /* bytes that are through, before the rest moves to the front */

static struct lsc_link_send *nth_send(struct lsc_link *link, uint32_t i)
{
	return &link->tx.sends[(link->tx.first + i) & (link->tx.cap - 1)];
}

static int grow_sends(struct lsc_link *link)
{
	uint32_t cap = link->tx.cap ? 2 * link->tx.cap : 8;
	struct lsc_link_send *sends = calloc(cap, sizeof(sends[0]));

	if (!sends)
		return -ENOMEM;
	for (uint32_t i = 0; i < link->tx.n; i++)
		sends[i] = *nth_send(link, i);
	free(link->tx.sends);
	link->tx.sends = sends;
	link->tx.first = 0;
	link->tx.cap = cap;
	return 0;
}

/* Puts it behind what is queued. */
static int queue(struct lsc_link *link, const struct lsc_pack *pack, struct lsc_link_send send)
{
	uint8_t header[5];
	size_t header_len = send.body ? lsc_body_header(header, send.body_len) : 0;

	if (link->tx.n == link->tx.cap && grow_sends(link) < 0)
		return -ENOMEM;
	if (lsc_buf_reserve(&link->tx.buf, pack->buf.len + header_len) < 0)
		return -ENOMEM;
	lsc_buf_add(&link->tx.buf, pack->buf.data, pack->buf.len);
	lsc_buf_add(&link->tx.buf, header, header_len);
	send.record_len = (uint32_t)(pack->buf.len + header_len);
	link->tx.n++;
	*nth_send(link, link->tx.n - 1) = send;
	link->tx.queued += send.record_len + (size_t)send.body_len;
	return 0;
}

int lsc_link_queue_early(struct lsc_link *link, const struct lsc_pack *pack)
{
	uint32_t at = link->greeted ? 0 : 1; /* sends that go before it: the hello */
	size_t len = pack->buf.len, offset;
	uint8_t *place;

	assert(link->tx.n >= at && (link->greeted ? link->tx.done == 0 : true));
	if (link->tx.n == link->tx.cap && grow_sends(link) < 0)
		return -ENOMEM;
	if (lsc_buf_reserve(&link->tx.buf, len) < 0)
		return -ENOMEM;
	offset = link->tx.used + (at ? nth_send(link, 0)->record_len : 0);
	place = link->tx.buf.data + offset;
	memmove(place + len, place, link->tx.buf.len - offset);
	memcpy(place, pack->buf.data, len);
	link->tx.buf.len += len;
	link->tx.n++;
	for (uint32_t i = link->tx.n - 1; i > at; i--)
		*nth_send(link, i) = *nth_send(link, i - 1);
	*nth_send(link, at) = (struct lsc_link_send){.record_len = (uint32_t)len, .fd = -1};
	link->tx.queued += len;
	return 0;
}

int lsc_link_queue(struct lsc_link *link, const struct lsc_pack *pack, const void *body,
		   uint32_t body_len, void *cookie)
{
	return queue(link, pack,
		     (struct lsc_link_send){
			     .body = body, .body_len = body_len, .cookie = cookie, .fd = -1});
}

static int queue_and_flush(struct lsc_link *link, const struct lsc_pack *pack,
			   struct lsc_link_send send)
{
	int r;

	assert(!send.body == !send.body_len);
	if (pack->failed)
		return pack->failed;
	if (link->state == LSC_LINK_DOWN || link->closed)
		return -EPIPE;
	r = queue(link, pack, send);
	if (r == 0 && link->state != LSC_LINK_CONNECTING && !link->write_wanted)
		lsc_timer_arm(link->flush, 0);
	return r;
}

int lsc_link_send(struct lsc_link *link, const struct lsc_pack *pack, const void *body,
		  uint32_t body_len, void *cookie)
{
	return queue_and_flush(
		link, pack,
		(struct lsc_link_send){
			.body = body, .body_len = body_len, .cookie = cookie, .fd = -1});
}

int lsc_link_send_file(struct lsc_link *link, const struct lsc_pack *pack, const void *body,
		       uint32_t body_len, int fd, uint64_t offset, void *cookie)
{
	return queue_and_flush(link, pack,
			       (struct lsc_link_send){.body = body,
						      .body_len = body_len,
						      .cookie = cookie,
						      .fd = fd,
						      .offset = offset});
}

int lsc_link_pack_abort(struct lsc_pack *pack, int code, const char *why)
{
	lsc_pack_begin(pack, "abort");
	lsc_pack_uint(pack, "code", (uint64_t)code);
	lsc_pack_str(pack, "why", why);
	return lsc_pack_end(pack);
}

/* What one call sends: memory, then a part of a file. */
struct batch {
	struct iovec iov[IOVECS];
	int n, fd;
	uint64_t offset;
	size_t file_len; /* 0: none */
};

static void add_memory(struct batch *batch, const void *data, size_t len, size_t *limit)
{
	len = LSC_MIN(len, *limit);
	if (len == 0)
		return;
	batch->iov[batch->n++] = (struct iovec){(void *)data, len};
	*limit -= len;
}

/* Whether the transport may move its body: of smaller ones what it costs to agree is more than a
 * copy (24 MB/s against 35, of 256 KiB, over soft-RoCE). */
static bool is_large(const struct lsc_link *link, const struct lsc_link_send *send)
{
	return link->ops->mark && send->body_len >= BODY_LEAST;
}

/* Takes what is to go next, limit bytes at most. */
static void gather(struct lsc_link *link, struct batch *batch, size_t limit)
{
	uint8_t *record = link->tx.buf.data + link->tx.used;
	uint64_t skip = link->tx.done; /* of record and body */
	uint32_t last = link->held ? LSC_MIN(link->tx.n, 1u) : link->tx.n;

	batch->n = 0;
	batch->file_len = 0;
	for (uint32_t i = 0; i < last && batch->n + 2 <= IOVECS && limit; i++) {
		const struct lsc_link_send *send = nth_send(link, i);
		uint64_t of_record;

		if (i && is_large(link, send))
			return;
		of_record = LSC_MIN(skip, (uint64_t)send->record_len);

		skip -= of_record;
		add_memory(batch, record + of_record, send->record_len - of_record, &limit);
		if (send->fd >= 0 && link->ops->sendfile && !link->tls) {
			batch->fd = send->fd;
			batch->offset = send->offset + skip;
			batch->file_len = LSC_MIN(send->body_len - skip, limit);
			return;
		}
		add_memory(batch, send->body + skip, send->body_len - skip, &limit);
		record += send->record_len;
		skip = 0;
	}
}

static ssize_t write_batch(struct lsc_link *link, size_t limit)
{
	struct batch batch;
	ssize_t n;

	gather(link, &batch, limit);
	if (!batch.file_len)
		return link->ops->writev(link, batch.iov, batch.n);
	n = link->ops->sendfile(link, batch.iov, batch.n, batch.fd, batch.offset, batch.file_len);
	return n == 0 ? -ENODATA : n;
}

static void shrink_tx(struct lsc_link *link)
{
	if (link->tx.n == 0) {
		link->tx.buf.len = link->tx.used = 0;
		if (link->tx.buf.cap > IDLE_BUFFER_KEEP)
			lsc_buf_release(&link->tx.buf);
	} else if (link->tx.used > USED_KEEP && link->tx.used > link->tx.buf.len / 2) {
		lsc_buf_consume(&link->tx.buf, link->tx.used);
		link->tx.used = 0;
	}
}

/* Takes n bytes that went off the queue and gives back the cookies of what is through. */
static void advance(struct lsc_link *link, size_t n)
{
	link->tx.queued -= n;
	while (n) {
		struct lsc_link_send send = *nth_send(link, 0);
		uint64_t left = (uint64_t)send.record_len + send.body_len - link->tx.done;

		if (n < left) {
			link->tx.done += n;
			return;
		}
		n -= left;
		link->tx.done = 0;
		link->tx.moving = link->tx.by_stream = false;
		link->tx.used += send.record_len;
		link->greeted = true;
		link->tx.first = (link->tx.first + 1) & (link->tx.cap - 1);
		link->tx.n--;
		shrink_tx(link);
		free(send.owned);
		if ((send.body || send.cookie) && link->events->on_sent && !link->orphan &&
		    !link->closed)
			link->events->on_sent(link->data, link, send.cookie);
		if (link->closed || link->state == LSC_LINK_DOWN)
			return;
	}
}

/* The bytes that the rate lets go now; where none, comes back when there are some. */
static size_t allowed(struct lsc_link *link)
{
	uint64_t wait_ns;
	size_t n;

	if (!link->rate)
		return SIZE_MAX;
	n = lsc_rate_allow(link->rate, lsc_clock_ns(), link->tx.queued, &wait_ns);
	if (n == 0)
		lsc_timer_arm(link->flush, wait_ns);
	return n;
}

/* Goes on with a body that the transport moves, or begins with one: as writev does, or 0 where what
 * is next is of the stream.  Bytes that are begun with are through only when flown() says so. */
static ssize_t move(struct lsc_link *link, size_t limit)
{
	const struct lsc_link_send *send = nth_send(link, 0);
	ssize_t n;

	if (link->tx.moving)
		return link->ops->move(link, limit);
	if (link->tx.by_stream || link->tx.done || !is_large(link, send))
		return 0;
	n = link->ops->mark(link, link->tx.buf.data + link->tx.used, send);
	link->tx.moving = n > 0;
	link->tx.by_stream = n == 0;
	if (n > 0)
		advance(link, (size_t)n);
	return n;
}

/* Takes what the transport has moved meanwhile. */
static void land(struct lsc_link *link)
{
	size_t n = link->tx.moving ? link->ops->flown(link) : 0;

	if (n)
		advance(link, n);
}

int lsc_link_write(struct lsc_link *link)
{
	land(link);
	if (link->closed || link->state == LSC_LINK_DOWN)
		return 0;
	for (int i = 0; link->tx.n && i < WRITES_A_TURN; i++) {
		size_t limit;
		ssize_t n;
		bool moved;

		if (link->held && link->greeted)
			return 0;
		limit = allowed(link);
		if (limit == 0)
			return 0;
		n = move(link, limit);
		moved = n != 0;
		if (n == 0)
			n = write_batch(link, limit);
		if (n == -EAGAIN) {
			link->write_wanted = true;
			link->ops->want_write(link, true);
			return 0;
		}
		if (n < 0)
			return (int)n;
		if (link->rate)
			lsc_rate_spend(link->rate, n);
		if (!moved)
			advance(link, n);
		if (link->closed || link->state == LSC_LINK_DOWN)
			return 0;
	}
	if (link->tx.n) {
		lsc_timer_arm(link->flush, 0);
	} else if (link->orphan && !link->shut) {
		link->shut = true;
		link->ops->shut(link);
	}
	return 0;
}

void lsc_link_drop_queue(struct lsc_link *link)
{
	for (uint32_t i = 0; i < link->tx.n; i++)
		free(link->tx.sends[(link->tx.first + i) & (link->tx.cap - 1)].owned);
	link->tx.n = 0;
	link->tx.queued = 0;
	link->tx.moving = false;
}

int lsc_link_own_queue(struct lsc_link *link)
{
	for (uint32_t i = 0; i < link->tx.n; i++) {
		struct lsc_link_send *send = nth_send(link, i);

		if (!send->body_len)
			continue;
		send->owned = malloc(send->body_len);
		if (!send->owned)
			return -ENOMEM;
		memcpy(send->owned, send->body, send->body_len);
		if (i == 0 && link->tx.moving && link->ops->own(link, send->owned) < 0)
			return -EBUSY;
		send->body = send->owned;
		send->fd = -1;
	}
	return 0;
}

void lsc_link_cut_queue(struct lsc_link *link)
{
	struct lsc_link_send first;

	if (link->tx.n == 0)
		return;
	first = *nth_send(link, 0);
	if (link->tx.done == 0 && link->greeted)
		first = (struct lsc_link_send){0};
	link->tx.n = first.record_len ? 1 : 0;
	link->tx.buf.len = link->tx.used + first.record_len;
	link->tx.queued = (size_t)first.record_len + first.body_len - link->tx.done;
}

size_t lsc_link_queued(const struct lsc_link *link)
{
	return link->tx.queued;
}

void lsc_link_set_rate(struct lsc_link *link, struct lsc_rate *rate)
{
	link->rate = rate;
}
