/* link_tls - TLS on a link over a stream socket: the handshake, and who is not let in
 *
 * An accepted link costs nothing but itself until its peer's first byte is there.  That byte tells
 * TLS from anything else; of anything else nothing more is read, unless a cast under way takes
 * cleartext data, whose senders have to prove that they were told of it (link_proof.c).
 *
 * Whoever is refused gets a TLS alert, and the link is read on until he has closed it, for some
 * seconds at most: else the alert could be lost in a reset of the connection.
 */
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/link_ops.h"
#include "net/tls.h"

#define MAX_SECURING 256

/* A fatal alert, insufficient_security, for an end that speaks no TLS: it knows it by the first
 * byte (lsc-wire(5)). */
static const uint8_t refusal[] = {LSC_TLS_ALERT, 3, 3, 0, 2, 2, 71};

static void on_read_on(void *data)
{
	struct lsc_link *link = data;

	if (link->tls && !link->securing && link->state != LSC_LINK_DOWN)
		lsc_link_ready(link, true, false);
}

void lsc_link_watch(struct lsc_link *link)
{
	bool full = link->write_wanted || (link->tls && lsc_tls_unsent(link->tls));

	lsc_watch_modify(link->watch, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* --- those who have yet to show a key --- */

/* More than MAX_SECURING at once are an attack or a mishap: the oldest give way, so that who has
 * the key, and needs a round trip to show it, still gets through. */
static void take_in(struct lsc_link *link)
{
	struct lsc_listener *listener = link->listener;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_link *oldest;

	link->older = listener->newest;
	if (link->older)
		link->older->newer = link;
	else
		listener->oldest = link;
	listener->newest = link;
	if (++listener->n_securing <= MAX_SECURING)
		return;
	oldest = listener->oldest;
	lsc_link_secured(oldest);
	lsc_err_set(&err, ETIMEDOUT, "%s: gave way to others before it had shown a key",
		    oldest->peer);
	lsc_link_fail(oldest, &err);
}

void lsc_link_secured(struct lsc_link *link)
{
	struct lsc_listener *listener = link->listener;

	link->listener = NULL;
	if (!link->securing)
		return;
	link->securing = false;
	if (!listener)
		return;
	*(link->older ? &link->older->newer : &listener->oldest) = link->newer;
	*(link->newer ? &link->newer->older : &listener->newest) = link->older;
	link->older = link->newer = NULL;
	listener->n_securing--;
}

void lsc_listener_leave(struct lsc_listener *listener)
{
	for (struct lsc_link *link = listener->oldest, *next; link; link = next) {
		next = link->newer;
		link->listener = NULL;
		link->older = link->newer = NULL;
	}
	listener->oldest = listener->newest = NULL;
}

/* err has words without the peer's name. */
static void turn_away(struct lsc_link *link, struct lsc_err *err)
{
	lsc_err_prefix(err, "%s: ", link->peer);
	lsc_tls_free(link->tls);
	link->tls = NULL;
	lsc_link_secured(link);
	lsc_link_part(link, err);
}

/* --- the handshake --- */

static void admit_plain(struct lsc_link *link)
{
	struct lsc_err err = LSC_ERR_INIT;

	if (lsc_link_ask_proof(link, &err) < 0) {
		turn_away(link, &err);
		return;
	}
	lsc_link_secured(link);
	lsc_link_up(link);
}

/* Looks at the first byte of who came: whether TLS goes on. */
static bool look(struct lsc_link *link)
{
	struct lsc_err err = LSC_ERR_INIT;
	uint8_t first;
	ssize_t n = recv(link->fd, &first, 1, MSG_PEEK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n == 0)
		lsc_err_set(&err, ECONNRESET, "closed the link before it said anything");
	else if (n < 0)
		lsc_err_set(&err, errno, "%m");
	else if (first == LSC_TLS_HANDSHAKE &&
		 lsc_tls_new(&link->tls, link->fd, link->key, true, &err) == 0)
		return true;
	else if (first != LSC_TLS_HANDSHAKE && link->find_proof &&
		 link->find_proof(link->find_data, NULL)) {
		admit_plain(link);
		return false;
	} else if (first != LSC_TLS_HANDSHAKE) {
		send(link->fd, refusal, sizeof(refusal), MSG_NOSIGNAL);
		lsc_err_set(&err, EKEYREJECTED, "does not speak TLS: it has no key");
	}
	turn_away(link, &err);
	return false;
}

void lsc_link_secure_on(struct lsc_link *link)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	if (!link->tls && !look(link))
		return;
	r = lsc_tls_handshake(link->tls, &err);
	if (r < 0) {
		turn_away(link, &err);
		return;
	}
	lsc_link_watch(link);
	if (r == 0)
		return;
	lsc_link_secured(link);
	lsc_link_up(link);
	lsc_timer_arm(link->read_on, 0); /* more than the handshake may have been read */
}

void lsc_link_secure(struct lsc_link *link)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_timer_new(link->loop, on_read_on, link, &link->read_on, &err);

	link->securing = true;
	if (link->listener)
		take_in(link);
	if (r == 0 && link->accepted)
		return;
	if (r == 0)
		r = lsc_tls_new(&link->tls, link->fd, link->key, false, &err);
	if (r < 0)
		turn_away(link, &err);
	else
		lsc_link_secure_on(link);
}

/* --- while it lasts --- */

int lsc_link_tls_flush(struct lsc_link *link)
{
	int r = lsc_tls_flush(link->tls);

	if (r < 0)
		return r;
	if (lsc_tls_unsent(link->tls))
		return 0;
	if (link->shut)
		shutdown(link->fd, SHUT_WR);
	lsc_link_watch(link);
	return 1;
}

ssize_t lsc_link_tls_writev(struct lsc_link *link, const struct iovec *iov, int n)
{
	ssize_t put = lsc_tls_writev(link->tls, iov, n);

	if (lsc_tls_unsent(link->tls))
		lsc_link_watch(link);
	return put;
}

void lsc_link_tls_read_on(struct lsc_link *link)
{
	if (lsc_tls_unread(link->tls))
		lsc_timer_arm(link->read_on, 0);
}

void lsc_link_tls_shut(struct lsc_link *link)
{
	lsc_tls_shut(link->tls);
	lsc_link_tls_flush(link); /* an error is found when reading */
}

void lsc_link_tls_close(struct lsc_link *link)
{
	if (!link->securing) {
		lsc_tls_shut(link->tls);
		lsc_tls_flush(link->tls);
	}
	lsc_tls_free(link->tls);
	link->tls = NULL;
	lsc_link_secured(link);
}
