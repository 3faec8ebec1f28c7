/* TLS 1.3 over a connected socket, each end proving that it has the key: nothing else is spoken.
 *
 * The socket does not block, and neither does this.  What is to go out and does not fit stays here
 * until lsc_tls_flush() gets rid of it; the owner watches for room while lsc_tls_unsent().  What
 * came in may lie here too, where no watch sees it, while lsc_tls_unread().
 *
 * Where TLS is not built in, lsc_tls_check() says so, lsc_tls_new() fails, and the other functions
 * must not be called; lsc_tls_key_id() gives "".
 */
#ifndef LSC_NET_TLS_H
#define LSC_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "net/key.h"

#define LSC_TLS_HANDSHAKE 0x16 /* what its first byte is */
#define LSC_TLS_ALERT     0x15 /* and that of whoever refuses to go on */
#define LSC_TLS_MAC       32

struct lsc_tls;

/* 0, or -EOPNOTSUPP where it is not built in. */
int lsc_tls_check(struct lsc_err *err);

/* Borrows the descriptor and the key.  accepts: the other end connected. */
int lsc_tls_new(struct lsc_tls **ret_tls, int fd, const struct lsc_key *key, bool accepts,
		struct lsc_err *err);
void lsc_tls_free(struct lsc_tls *tls); /* NULL is fine */

/* 1: done; 0: more must come; negative errno: refused, in words without the peer's name.
 * -EKEYREJECTED: the other end has not the key, or speaks no TLS at all. */
int lsc_tls_handshake(struct lsc_tls *tls, struct lsc_err *err);

/* Bytes moved, -EAGAIN or negative errno; readv returns 0 when the peer has closed in good order.
 * A stream that just ends is -ECONNRESET, one that was tampered with -EPROTO. */
ssize_t lsc_tls_readv(struct lsc_tls *tls, const struct iovec *iov, int n);
ssize_t lsc_tls_writev(struct lsc_tls *tls, const struct iovec *iov, int n);

/* The words for an error of readv, or NULL: errno's own. */
const char *lsc_tls_why(const struct lsc_tls *tls);

int lsc_tls_flush(struct lsc_tls *tls); /* 0, also when not all went out, or negative errno */
bool lsc_tls_unsent(const struct lsc_tls *tls);
bool lsc_tls_unread(const struct lsc_tls *tls);

/* Tells the peer that nothing more comes, behind what is there already; needs a flush. */
void lsc_tls_shut(struct lsc_tls *tls);

/* New traffic keys for what we send.  Writing does it by itself as often as AES-GCM needs. */
int lsc_tls_rekey(struct lsc_tls *tls);

/* --- of the same library --- */

/* Names a key: 16 hexadecimal digits of a hash. */
void lsc_tls_key_id(const uint8_t secret[LSC_KEY_BYTES], char id[LSC_KEY_ID]);

/* HMAC-SHA256. */
int lsc_tls_hmac(const uint8_t secret[LSC_KEY_BYTES], const void *data, size_t len,
		 uint8_t mac[LSC_TLS_MAC]);

#endif
