/* link_memory - links between two ends in one process
 *
 * Each end has a ring of bytes on their way to it, and a timer by which the other end wakes it: a
 * whole cast runs in one loop, through the same framing as over a socket.  Listeners are known by
 * name within their loop.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "net/link_ops.h"

#define RING_BYTES                                                                                 \
	8192 /* small: a thousand nodes in one process have tens of thousands of ends              \
	      */

struct lsc_memory_end {
	struct lsc_link *link;
	struct lsc_memory_end *other; /* NULL: gone */
	struct lsc_timer *wake;
	bool ended; /* nothing more comes */
	size_t at, n;
	uint8_t ring[RING_BYTES];
};

static void on_wake(void *data)
{
	struct lsc_memory_end *end = data;

	lsc_link_ready(end->link, end->n > 0 || end->ended, true);
}

static void wake(struct lsc_memory_end *end)
{
	if (end)
		lsc_timer_arm(end->wake, 0);
}

static int make_end(struct lsc_link *link, struct lsc_err *err)
{
	struct lsc_memory_end *end = calloc(1, sizeof(*end));
	int r;

	if (!end)
		return lsc_err_set(err, ENOMEM, "cannot make a link: %m");
	r = lsc_timer_new(link->loop, on_wake, end, &end->wake, err);
	if (r < 0) {
		free(end);
		return r;
	}
	end->link = link;
	link->memory = end;
	return 0;
}

int lsc_memory_join(struct lsc_link *a, struct lsc_link *b, struct lsc_err *err)
{
	int r = make_end(a, err);

	if (r == 0)
		r = make_end(b, err);
	if (r < 0)
		return r;
	a->memory->other = b->memory;
	b->memory->other = a->memory;
	return 0;
}

static size_t take(struct lsc_memory_end *end, uint8_t *data, size_t len)
{
	size_t n = LSC_MIN(len, end->n), first = LSC_MIN(n, RING_BYTES - end->at);

	memcpy(data, end->ring + end->at, first);
	memcpy(data + first, end->ring, n - first);
	end->at = (end->at + n) % RING_BYTES;
	end->n -= n;
	return n;
}

static size_t put(struct lsc_memory_end *end, const uint8_t *data, size_t len)
{
	size_t n = LSC_MIN(len, RING_BYTES - end->n), to = (end->at + end->n) % RING_BYTES;
	size_t first = LSC_MIN(n, RING_BYTES - to);

	memcpy(end->ring + to, data, first);
	memcpy(end->ring, data + first, n - first);
	end->n += n;
	return n;
}

static ssize_t memory_readv(struct lsc_link *link, const struct iovec *iov, int n)
{
	struct lsc_memory_end *end = link->memory;
	size_t got = 0;

	if (end->n == 0)
		return end->ended ? 0 : -EAGAIN;
	for (int i = 0; i < n && end->n; i++)
		got += take(end, iov[i].iov_base, iov[i].iov_len);
	wake(end->other);
	if (end->n || end->ended)
		wake(end);
	return (ssize_t)got;
}

static ssize_t memory_writev(struct lsc_link *link, const struct iovec *iov, int n)
{
	struct lsc_memory_end *other = link->memory->other;
	size_t sent = 0;

	if (!other)
		return -EPIPE;
	if (other->n == RING_BYTES)
		return -EAGAIN;
	for (int i = 0; i < n && other->n < RING_BYTES; i++)
		sent += put(other, iov[i].iov_base, iov[i].iov_len);
	wake(other);
	return (ssize_t)sent;
}

/* The reader wakes the writer whenever it made room. */
static void memory_want_write(struct lsc_link *link, bool want)
{
	(void)link;
	(void)want;
}

static void memory_shut(struct lsc_link *link)
{
	if (!link->memory->other)
		return;
	link->memory->other->ended = true;
	wake(link->memory->other);
}

static void memory_close(struct lsc_link *link)
{
	struct lsc_memory_end *end = link->memory;

	if (!end)
		return;
	if (end->other) {
		memory_shut(link);
		end->other->other = NULL;
	}
	lsc_timer_free(end->wake);
	free(end);
	link->memory = NULL;
}

/* --- by name --- */

struct memory_listener {
	struct lsc_listener base;
	struct memory_listener *next;
};

static struct memory_listener *listeners;
static pthread_mutex_t listeners_lock = PTHREAD_MUTEX_INITIALIZER;

static struct memory_listener *find(struct lsc_loop *loop, const char *address)
{
	struct memory_listener *l;

	pthread_mutex_lock(&listeners_lock);
	for (l = listeners; l; l = l->next)
		if (l->base.loop == loop && !strcmp(l->base.address, address))
			break;
	pthread_mutex_unlock(&listeners_lock);
	return l;
}

static void memory_start(struct lsc_link *link)
{
	struct memory_listener *listener = find(link->loop, link->peer);
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_link *other = NULL;

	lsc_err_set(&err, listener ? ENOMEM : ECONNREFUSED, "cannot connect to '%s': %m",
		    link->peer);
	if (listener)
		other = lsc_listener_link(&listener->base);
	if (!other || lsc_memory_join(link, other, &err) < 0) {
		lsc_link_close(other);
		lsc_link_fail(link, &err);
		return;
	}
	strcpy(other->peer, "memory:");
	lsc_link_up(link);
	lsc_listener_take(&listener->base, other);
}

static int memory_listen(struct lsc_listener **ret_listener, struct lsc_loop *loop,
			 const struct lsc_endpoint *at, struct lsc_err *err)
{
	struct memory_listener *listener;
	char text[LSC_ENDPOINT_TEXT + 16];

	lsc_endpoint_text(at, text);
	if (find(loop, text))
		return lsc_err_set(err, EADDRINUSE, "cannot listen at '%s': %m", text);
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return lsc_err_set(err, ENOMEM, "cannot listen at '%s': %m", text);
	listener->base.loop = loop;
	strcpy(listener->base.address, text);
	pthread_mutex_lock(&listeners_lock);
	listener->next = listeners;
	listeners = listener;
	pthread_mutex_unlock(&listeners_lock);
	*ret_listener = &listener->base;
	return 0;
}

static void memory_unlisten(struct lsc_listener *base)
{
	struct memory_listener *listener = LSC_CONTAINER_OF(base, struct memory_listener, base);
	struct memory_listener **at;

	pthread_mutex_lock(&listeners_lock);
	for (at = &listeners; *at != listener; at = &(*at)->next)
		;
	*at = listener->next;
	pthread_mutex_unlock(&listeners_lock);
	free(listener);
}

const struct lsc_link_ops lsc_link_memory_ops = {
	.name = "memory",
	.start = memory_start,
	.readv = memory_readv,
	.writev = memory_writev,
	.want_write = memory_want_write,
	.shut = memory_shut,
	.close = memory_close,
	.listen = memory_listen,
	.unlisten = memory_unlisten,
};
