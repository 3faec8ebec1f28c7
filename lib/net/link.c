/* link - records and bodies over a transport: framing, queues, hello, closing
 *
 * What a transport has to do is move bytes without blocking (link_ops.h); link_tcp.c,
 * link_rdma.c and link_memory.c do.
 *
 * Receiving: a record is small and read into rx.buf; the body behind it is read straight to where
 * on_record wants it, with the bytes that follow it going to rx.buf in the same call.  So of a
 * body only what came with its record is copied, READ_BYTES at most.
 *
 * Sending is in link_queue.c.
 *
 * A callback may close its link.  While any of our frames is on the stack (busy), the memory stays,
 * and each of them stops where it finds closed set.
 *
 * A link that refuses what came tells its owner at once, and the peer once the owner has closed it:
 * as an orphan it sends its abort and reads on until the peer has closed, because closing a socket
 * with unread bytes in it would reset the connection, and the reason be lost.
 */
#include "net/link.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macros.h"
#include "net/link_ops.h"
#include "net/tls.h"

#define READ_BYTES       4096
#define READS_A_TURN     16 /* then the other links get their turn */
#define TIMEOUT_NS       10000000000u
#define FINISH_NS        5000000000u
#define IDLE_BUFFER_KEEP 65536 /* larger buffers are given back when they are empty */
#define MAX_WHY          4096  /* of an abort that comes, and the largest errno */
#define MAX_CODE         4095

static const struct lsc_link_ops *const link_ops[] = {
	[LSC_ENDPOINT_MEMORY] = &lsc_link_memory_ops,
	[LSC_ENDPOINT_UNIX] = &lsc_link_tcp_ops,
	[LSC_ENDPOINT_TCP] = &lsc_link_tcp_ops,
#ifdef LSC_HAVE_RDMA
	[LSC_ENDPOINT_RDMA] = &lsc_link_rdma_ops,
#endif
};

const struct lsc_link_ops *lsc_link_ops_of(enum lsc_endpoint_kind kind)
{
	return (size_t)kind < LSC_ARRAY_SIZE(link_ops) ? link_ops[kind] : NULL;
}

static int find_ops(const struct lsc_link_ops **ret_ops, const struct lsc_endpoint *endpoint,
		    const char *what, struct lsc_err *err)
{
	char text[LSC_ENDPOINT_TEXT + 16];

	*ret_ops = lsc_link_ops_of(endpoint->kind);
	if (*ret_ops)
		return 0;
	lsc_endpoint_text(endpoint, text);
	if (endpoint->kind == LSC_ENDPOINT_RDMA)
		return lsc_err_set(err, ENODEV, "'%s': rdma is not built in (WITH_RDMA=yes)", text);
	return lsc_err_set(err, EINVAL, "'%s' is no %s", text, what);
}

/* --- life --- */

static void destroy(struct lsc_link *link)
{
	if (link->orphan)
		lsc_loop_unhook(link->loop, &link->at_free);
	lsc_link_secured(link);
	link->ops->close(link);
	lsc_timer_free(link->flush);
	lsc_timer_free(link->deadline);
	lsc_timer_free(link->read_on);
	lsc_link_drop_queue(link);
	free(link->nonce);
	free(link->proved);
	free(link->tx.sends);
	lsc_buf_release(&link->tx.buf);
	lsc_buf_release(&link->rx.buf);
	lsc_record_release(&link->rx.record);
	free(link);
}

static void enter(struct lsc_link *link)
{
	link->busy++;
}

static void leave(struct lsc_link *link)
{
	if (--link->busy == 0 && link->closed)
		destroy(link);
}

static void make_orphan(struct lsc_link *link);

void lsc_link_close(struct lsc_link *link)
{
	if (!link)
		return;
	assert(!link->closed);
	if (link->parting) {
		link->parting = false;
		link->state = LSC_LINK_OPEN;
		make_orphan(link);
		return;
	}
	link->closed = true;
	if (!link->busy)
		destroy(link);
}

void lsc_link_fail(struct lsc_link *link, const struct lsc_err *err)
{
	struct lsc_err copy = *err;

	if (link->state == LSC_LINK_DOWN || link->closed)
		return;
	link->state = LSC_LINK_DOWN;
	if (link->orphan) {
		lsc_link_close(link);
		return;
	}
	enter(link);
	lsc_timer_disarm(link->flush);
	lsc_timer_disarm(link->deadline);
	if (!link->parting) {
		link->ops->close(link);
		lsc_link_drop_queue(link);
	}
	link->events->on_close(link->data, link, &copy);
	leave(link);
}

void lsc_link_part(struct lsc_link *link, const struct lsc_err *err)
{
	lsc_link_drop_queue(link);
	link->parting = !link->orphan;
	lsc_link_fail(link, err);
}

/* Ends it with words that come without the peer's name. */
static void fail_with(struct lsc_link *link, int code, const char *what)
{
	struct lsc_err err = LSC_ERR_INIT;

	lsc_err_set(&err, code, "%s: %s", link->peer, what);
	lsc_link_fail(link, &err);
}

static void on_flush(void *data);
static void refuse(struct lsc_link *link, int code, const char *why);

static void on_deadline(void *data)
{
	struct lsc_link *link = data;

	if (link->securing)
		fail_with(link, ETIMEDOUT, "timed out in the TLS handshake");
	else if (link->state == LSC_LINK_CONNECTING)
		fail_with(link, ETIMEDOUT, "timed out while connecting");
	else if (link->state == LSC_LINK_PROVING)
		refuse(link, ETIMEDOUT, "timed out waiting for its proof");
	else
		refuse(link, ETIMEDOUT, "timed out waiting for its hello");
}

static int queue_hello(struct lsc_link *link)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int r = lsc_pack_hello(&pack, link->kind);

	return r < 0 ? r : lsc_link_queue(link, &pack, NULL, 0, NULL);
}

struct lsc_link *lsc_link_new(struct lsc_loop *loop, const struct lsc_link_ops *ops,
			      const struct lsc_link_options *options,
			      const struct lsc_link_events *events, void *data)
{
	struct lsc_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	assert(strlen(options->kind) < sizeof(link->kind));
	link->loop = loop;
	link->ops = ops;
	link->events = events;
	link->data = data;
	link->fd = -1;
	strcpy(link->kind, options->kind);
	link->unsent_bytes = options->unsent_bytes;
	if (ops == &lsc_link_tcp_ops)
		link->key = options->key;
	if (ops != &lsc_link_memory_ops) {
		link->proof = options->proof;
		link->find_proof = options->find_proof;
		link->held = link->proof && !link->key;
	}
	link->timeout_ns = options->connect_timeout_ns ? options->connect_timeout_ns : TIMEOUT_NS;
	if (lsc_timer_new(loop, on_flush, link, &link->flush, NULL) < 0 ||
	    lsc_timer_new(loop, on_deadline, link, &link->deadline, NULL) < 0 ||
	    lsc_buf_reserve(&link->rx.buf, READ_BYTES) < 0 || queue_hello(link) < 0) {
		destroy(link);
		return NULL;
	}
	lsc_timer_arm(link->deadline, link->timeout_ns);
	return link;
}

int lsc_link_connect(struct lsc_link **ret_link, struct lsc_loop *loop,
		     const struct lsc_endpoint *peer, const struct lsc_link_options *options,
		     const struct lsc_link_events *events, void *data, struct lsc_err *err)
{
	const struct lsc_link_ops *ops;
	char text[LSC_ENDPOINT_TEXT + 16];
	struct lsc_link *link;
	int r = find_ops(&ops, peer, "peer to connect to (HOST:PORT or unix:PATH)", err);

	if (r < 0)
		return r;
	lsc_endpoint_text(peer, text);
	if (ops->plain && options->key && !options->proof)
		return lsc_err_set(err, EOPNOTSUPP, "'%s': there is no encryption over %s", text,
				   ops->name);
	link = lsc_link_new(loop, ops, options, events, data);
	if (!link)
		return lsc_err_set(err, ENOMEM, "cannot connect to '%s': %m", text);
	strcpy(link->peer, strncmp(text, "tcp://", 6) ? text : text + 6);
	link->endpoint = *peer;
	lsc_timer_arm(link->flush,
		      0); /* which starts it, so that even the first error comes there */
	*ret_link = link;
	return 0;
}

void lsc_link_up(struct lsc_link *link)
{
	link->state = LSC_LINK_HELLO;
	lsc_timer_arm(link->flush, 0);
}

int lsc_link_pair(struct lsc_link *ret_links[2], struct lsc_loop *loop,
		  const struct lsc_link_options *options, const struct lsc_link_events *events,
		  void *const data[2], struct lsc_err *err)
{
	struct lsc_link *a = lsc_link_new(loop, &lsc_link_memory_ops, options, events, data[0]);
	struct lsc_link *b = lsc_link_new(loop, &lsc_link_memory_ops, options, events, data[1]);

	if (!a || !b || lsc_memory_join(a, b, err) < 0) {
		lsc_link_close(a);
		lsc_link_close(b);
		return lsc_err_set(err, ENOMEM, "cannot make a pair of links: %m");
	}
	strcpy(a->peer, "memory:pair");
	strcpy(b->peer, "memory:pair");
	lsc_link_up(a);
	lsc_link_up(b);
	ret_links[0] = a;
	ret_links[1] = b;
	return 0;
}

static void flush(struct lsc_link *link)
{
	int r = lsc_link_write(link);

	link->lost_body = r == -ENODATA || r == -EFAULT;
	if (r == -ENODATA)
		fail_with(link, EIO, "the file that is sent there became shorter");
	else if (r < 0)
		fail_with(link, -r, strerror(-r));
}

static void on_flush(void *data)
{
	struct lsc_link *link = data;

	enter(link);
	if (link->state == LSC_LINK_CONNECTING && !link->securing)
		link->ops->start(link);
	else if (link->state != LSC_LINK_CONNECTING && !link->write_wanted)
		flush(link);
	leave(link);
}

/* --- receiving --- */

/* What to do when a step cannot go on: 1 go on, 0 more bytes are needed, negative errno. */

static int open_up(struct lsc_link *link)
{
	link->state = LSC_LINK_OPEN;
	lsc_timer_disarm(link->deadline);
	if (link->events->on_open)
		link->events->on_open(link->data, link);
	return 1;
}

static int take_hello(struct lsc_link *link, struct lsc_err *err)
{
	int r = lsc_record_hello(&link->rx.record, link->kind, err);

	if (r < 0)
		return r;
	link->minor = lsc_record_hello_minor(&link->rx.record);
	if (link->held || link->nonce) {
		link->state = LSC_LINK_PROVING;
		return 1;
	}
	return open_up(link);
}

static int take_proof(struct lsc_link *link, struct lsc_err *err)
{
	int r = lsc_link_take_proof(link, err);

	return r < 0 ? r : open_up(link);
}

/* An end that speaks TLS to one that does not, or that cannot go on without it. */
static int check_plain(const struct lsc_link *link, struct lsc_err *err)
{
	const uint8_t *data = link->rx.buf.data + link->rx.used;

	if (data[0] == LSC_TLS_HANDSHAKE)
		return lsc_err_set(err, EKEYREJECTED,
				   "speaks TLS, and no --key-file was given here");
	if (data[0] == LSC_TLS_ALERT)
		return lsc_err_set(err, EKEYREJECTED, "wants a key: give --key-file");
	return 0;
}

static int take_abort(struct lsc_link *link, struct lsc_err *err)
{
	const struct lsc_record *record = &link->rx.record;
	uint64_t code = 0;
	const char *why;
	uint32_t len;
	int r = lsc_record_uint(record, "code", MAX_CODE, &code, err);

	if (r == 0)
		r = lsc_record_str(record, "why", MAX_WHY, &why, &len, err);
	if (r < 0)
		return lsc_err_set(err, EPROTO, "%s", err->text);
	link->aborted = true;
	/* What is wrong with an argument here is the protocol's to that end. */
	lsc_err_set(err, code && code != EINVAL ? (int)code : EPROTO, "gave up: %.*s", (int)len,
		    why);
	for (char *at = err->text; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 127)
			*at = '?';
	return -err->code;
}

static int take_record(struct lsc_link *link, struct lsc_err *err)
{
	uint64_t body_len;
	void *body = NULL;
	ssize_t n;
	int r = link->state == LSC_LINK_HELLO ? check_plain(link, err) : 0;

	if (r < 0)
		return r;
	n = lsc_record_parse(&link->rx.record, link->rx.buf.data + link->rx.used,
			     link->rx.buf.len - link->rx.used, err);
	if (n == 0 || n == -ENOMEM)
		return n;
	if (n < 0)
		return lsc_err_set(err, EPROTO, "%s", err->text);
	link->rx.used += n;
	if (link->state == LSC_LINK_HELLO)
		return take_hello(link, err);
	if (lsc_record_is(&link->rx.record, "abort"))
		return take_abort(link, err);
	if (link->state == LSC_LINK_PROVING)
		return take_proof(link, err);
	r = lsc_record_uint_or(&link->rx.record, "body", LSC_BODY_MAX_BYTES, 0, &body_len, err);
	if (r < 0)
		return lsc_err_set(err, EPROTO, "%s", err->text);
	r = link->events->on_record(link->data, link, &link->rx.record, body_len, &body, err);
	if (r < 0)
		return r;
	if (lsc_record_get(&link->rx.record, "body")) { /* of 0 bytes too */
		link->rx.expect = LSC_EXPECT_BODY_HEADER;
		link->rx.body = body;
		link->rx.body_len = link->rx.body_left = body_len;
	}
	return 1;
}

static int take_body_header(struct lsc_link *link, struct lsc_err *err)
{
	uint32_t len;
	ssize_t n = lsc_body_parse(link->rx.buf.data + link->rx.used,
				   link->rx.buf.len - link->rx.used, &len, err);

	if (n == 0)
		return 0;
	if (n < 0)
		return lsc_err_set(err, EPROTO, "%s", err->text);
	if (len != link->rx.body_len)
		return lsc_err_set(err, EPROTO, "a body of %u bytes where %u were announced", len,
				   link->rx.body_len);
	link->rx.used += n;
	link->rx.expect = LSC_EXPECT_BODY;
	return 1;
}

static int take_body(struct lsc_link *link, struct lsc_err *err)
{
	size_t n = LSC_MIN(link->rx.buf.len - link->rx.used, (size_t)link->rx.body_left);
	int r = 1;

	if (link->rx.body) {
		memcpy(link->rx.body, link->rx.buf.data + link->rx.used, n);
		link->rx.body += n;
	}
	link->rx.used += n;
	link->rx.body_left -= n;
	if (link->rx.body_left)
		return 0;
	link->rx.expect = LSC_EXPECT_RECORD;
	if (link->rx.body_len && link->events->on_body)
		r = link->events->on_body(link->data, link, err);
	return r < 0 ? r : 1;
}

static int take(struct lsc_link *link, struct lsc_err *err)
{
	static int (*const steps[])(struct lsc_link *, struct lsc_err *) = {
		[LSC_EXPECT_RECORD] = take_record,
		[LSC_EXPECT_BODY_HEADER] = take_body_header,
		[LSC_EXPECT_BODY] = take_body,
	};
	int r = 1;

	if (link->orphan) { /* nobody listens any more; only the end is waited for */
		link->rx.used = link->rx.buf.len;
		link->rx.expect = LSC_EXPECT_RECORD;
		link->rx.body_left = 0;
		return 0;
	}
	while (r > 0 && !link->closed && !link->orphan && link->state != LSC_LINK_DOWN &&
	       (link->rx.used < link->rx.buf.len ||
		(link->rx.expect == LSC_EXPECT_BODY && !link->rx.body_left)))
		r = steps[link->rx.expect](link, err);
	return r;
}

/* Room behind what is there for a record that is not whole yet. */
static int make_room(struct lsc_link *link)
{
	lsc_buf_consume(&link->rx.buf, link->rx.used);
	link->rx.used = 0;
	if (link->rx.buf.len == 0 && link->rx.buf.cap > IDLE_BUFFER_KEEP)
		lsc_buf_release(&link->rx.buf);
	return lsc_buf_reserve(&link->rx.buf, LSC_MAX(READ_BYTES, link->rx.buf.len));
}

/* Reads once: the body's rest straight into place, what follows into the buffer. */
static ssize_t fill(struct lsc_link *link)
{
	struct iovec iov[2];
	size_t body = 0;
	ssize_t n;
	int count = 0;

	if (make_room(link) < 0)
		return -ENOMEM;
	if (link->rx.expect == LSC_EXPECT_BODY && link->rx.body) {
		body = link->rx.body_left;
		iov[count++] = (struct iovec){link->rx.body, body};
	}
	iov[count++] = (struct iovec){link->rx.buf.data + link->rx.buf.len,
				      LSC_MAX(READ_BYTES, link->rx.buf.len)};
	n = link->ops->readv(link, iov, count);
	if (n <= 0)
		return n;
	if (body) {
		size_t placed = LSC_MIN((size_t)n, body);

		link->rx.body += placed;
		link->rx.body_left -= placed;
		link->rx.buf.len += n - placed;
	} else {
		link->rx.buf.len += n;
	}
	link->rx.buf.data[link->rx.buf.len] = 0;
	return n;
}

/* The peer sends no more: in good order between records. */
static void end(struct lsc_link *link)
{
	struct lsc_err none = LSC_ERR_INIT;

	if (link->orphan)
		lsc_link_close(link);
	else if (link->state == LSC_LINK_HELLO)
		fail_with(link, ECONNRESET, "closed the link before its hello");
	else if (link->state == LSC_LINK_PROVING)
		fail_with(link, ECONNRESET, "closed the link before its proof");
	else if (link->rx.expect != LSC_EXPECT_RECORD || link->rx.used < link->rx.buf.len)
		fail_with(link, ECONNRESET, "closed the link inside a record");
	else
		lsc_link_fail(link, &none);
}

/* Sees to a body that the transport puts in its place: 1 when all of it is there, or there is none,
 * -EAGAIN, or negative errno. */
static ssize_t look_at_body(struct lsc_link *link)
{
	int r;

	if (link->orphan && link->ops->place && !link->rx.placing)
		link->rx.placing = link->ops->place(link, NULL, 0);
	if (!link->rx.placing && link->rx.expect == LSC_EXPECT_BODY && link->rx.body_left &&
	    link->ops->place && link->rx.used == link->rx.buf.len)
		link->rx.placing = link->ops->place(link, link->rx.body, link->rx.body_left);
	if (!link->rx.placing)
		return 0;
	r = link->ops->placed(link, &link->rx.body_left);
	if (r < 0)
		return r;
	if (link->rx.body_left)
		return -EAGAIN;
	link->rx.placing = false;
	return 1;
}

static void read_some(struct lsc_link *link)
{
	struct lsc_err err = LSC_ERR_INIT;

	for (int i = 0; i < READS_A_TURN; i++) {
		ssize_t n = look_at_body(link);

		if (n == 0)
			n = fill(link);
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			const char *why = link->ops->why ? link->ops->why(link) : NULL;

			fail_with(link, -n, why ? why : strerror(-n));
			return;
		}
		if (n == 0) {
			end(link);
			return;
		}
		n = take(link, &err);
		if (link->closed || link->state == LSC_LINK_DOWN)
			return;
		if (n < 0) {
			refuse(link, (int)-n, err.text[0] ? err.text : strerror((int)-n));
			return;
		}
	}
	if (link->ops->read_on)
		link->ops->read_on(link);
}

void lsc_link_ready(struct lsc_link *link, bool readable, bool writable)
{
	enter(link);
	if (writable && link->write_wanted) {
		link->write_wanted = false;
		link->ops->want_write(link, false);
		flush(link);
	}
	if (readable && !link->closed && link->state != LSC_LINK_DOWN)
		read_some(link);
	leave(link);
}

/* --- the rest --- */

static void close_orphan(void *data)
{
	lsc_link_close(data);
}

/* Its queue needs nothing of its owner any more. */
static void make_orphan(struct lsc_link *link)
{
	lsc_link_skip_body(link);
	link->orphan = true;
	link->at_free = (struct lsc_loop_hook){.fn = close_orphan, .data = link};
	lsc_loop_hook(link->loop, &link->at_free);
	lsc_timer_arm(link->deadline, FINISH_NS);
	if (link->state != LSC_LINK_CONNECTING && !link->write_wanted)
		lsc_timer_arm(link->flush, 0);
}

void lsc_link_finish(struct lsc_link *link)
{
	if (!link)
		return;
	if (link->state == LSC_LINK_DOWN || lsc_link_own_queue(link) < 0)
		lsc_link_close(link);
	else
		make_orphan(link);
}

/* Ends it for what the peer did, in words without the peer's name, and tells the peer, unless it
 * was the peer who told us. */
static void refuse(struct lsc_link *link, int code, const char *why)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	int told = code == EBADMSG || code == EINVAL ? EPROTO : code;

	lsc_link_skip_body(link);
	if (!link->aborted && !link->orphan) {
		lsc_link_cut_queue(link);
		link->parting = lsc_link_own_queue(link) == 0 &&
				lsc_link_pack_abort(&pack, told, why) == 0 &&
				lsc_link_queue(link, &pack, NULL, 0, NULL) == 0;
		link->rate = NULL; /* its owner's */
		link->held = false;
	}
	fail_with(link, code, why);
}

uint32_t lsc_link_body_left(const struct lsc_link *link)
{
	return link->rx.body_left;
}

void lsc_link_skip_body(struct lsc_link *link)
{
	if (link->rx.placing && link->rx.body)
		link->ops->skip(link);
	link->rx.body = NULL;
}

bool lsc_link_lost_body(const struct lsc_link *link)
{
	return link->lost_body;
}

const struct lsc_key *lsc_link_key(const struct lsc_link *link)
{
	return link->tls && !link->securing ? link->key : NULL;
}

const uint8_t *lsc_link_proved(const struct lsc_link *link)
{
	return link->proved;
}

unsigned lsc_link_minor(const struct lsc_link *link)
{
	return link->minor;
}

const char *lsc_link_peer(const struct lsc_link *link)
{
	return link->peer;
}

/* --- listening --- */

int lsc_listener_open(struct lsc_listener **ret_listener, struct lsc_loop *loop,
		      const struct lsc_endpoint *at, const struct lsc_link_options *options,
		      const struct lsc_link_events *events,
		      void *(*on_link)(void *data, struct lsc_link *link), void *data,
		      struct lsc_err *err)
{
	const struct lsc_link_ops *ops;
	struct lsc_listener *listener;
	int r = find_ops(&ops, at, "place to listen at", err);

	if (r < 0)
		return r;
	r = ops->listen(&listener, loop, at, err);
	if (r < 0)
		return r;
	assert(strlen(options->kind) < sizeof(listener->kind));
	strcpy(listener->kind, options->kind);
	listener->loop = loop;
	listener->ops = ops;
	listener->options = *options;
	listener->options.kind = listener->kind;
	listener->events = events;
	listener->on_link = on_link;
	listener->data = data;
	*ret_listener = listener;
	return 0;
}

struct lsc_link *lsc_listener_link(struct lsc_listener *listener)
{
	struct lsc_link *link = lsc_link_new(listener->loop, listener->ops, &listener->options,
					     listener->events, NULL);

	if (link) {
		link->accepted = true;
		link->find_data = listener->data;
	}
	return link;
}

void lsc_listener_take(struct lsc_listener *listener, struct lsc_link *link)
{
	void *data;

	enter(link);
	data = listener->on_link(listener->data, link);
	if (data) {
		link->data = data;
		link->listener = link->key ? listener : NULL;
		if (link->key)
			lsc_link_secure(link);
		else
			lsc_link_up(link);
	} else {
		lsc_link_close(link);
	}
	leave(link);
}

void lsc_listener_close(struct lsc_listener *listener)
{
	if (!listener)
		return;
	lsc_listener_leave(listener);
	listener->ops->unlisten(listener);
}

const char *lsc_listener_address(const struct lsc_listener *listener)
{
	return listener->address;
}
