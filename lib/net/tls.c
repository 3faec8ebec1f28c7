/* tls - OpenSSL, and nothing of it outside of this file (tls_none.c stands in where it is not
 * there)
 *
 * Both ends have one key, so there are no certificates, names or dates to get wrong: TLS 1.3 with
 * an external pre-shared key and an ephemeral exchange, which keeps what was recorded secret even
 * from who gets the key later.  Whoever cannot prove the key is through before any byte of ours is
 * looked at.  No early data and no tickets: nothing that was recorded is good for a second time.
 *
 * OpenSSL reads the socket through a BIO of ours, and writes into a buffer of ours.  So a write
 * never has to be repeated with the same bytes: what it took is gone for the caller, whose queue
 * may change.  The buffer holds RECORDS records at most, and goes when it is empty.
 */
#include "net/tls.h"

#ifdef LSC_HAVE_TLS
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/macros.h"

#define RECORD      16384u        /* plain bytes of one */
#define RECORDS     4             /* taken at once */
#define READ_BUFFER 65536         /* read ahead: several records in one call */
#define READ_TURN   262144        /* bytes that one readv may take, while others wait */
#define REKEY_BYTES (64ull << 30) /* RFC 8446, 5.5: 2^24.5 records, 379 GiB */
#define IDENTITY    "lsc-1:"      /* lsc-wire(5): and the key's id */
#define SUITES      "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
#define LABEL       "lsc-1 key id"

struct lsc_tls {
	SSL *ssl;
	int fd;
	const struct lsc_key *key;
	bool accepts, up, eof;
	int first;  /* byte that came; -1: none yet */
	int failed; /* errno of the socket, or of the session: for good */
	const char *why;
	bool named; /* the peer offered a key of our kind */
	char identity[sizeof(IDENTITY) - 1 + LSC_KEY_ID], theirs[LSC_KEY_ID];
	struct lsc_buf out;
	size_t out_used;
	uint64_t sent; /* since the last new keys */
};

/* --- the BIO between OpenSSL and the socket --- */

static int bio_read(BIO *bio, char *data, int len)
{
	struct lsc_tls *tls = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	do
		n = recv(tls->fd, data, (size_t)len, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0 && tls->first < 0)
		tls->first = (uint8_t)data[0];
	if (n == 0)
		tls->eof = true;
	else if (n < 0 && errno == EAGAIN)
		BIO_set_retry_read(bio);
	else if (n < 0)
		tls->failed = errno;
	return (int)n;
}

static int bio_write(BIO *bio, const char *data, int len)
{
	struct lsc_tls *tls = BIO_get_data(bio);

	if (lsc_buf_reserve(&tls->out, (size_t)len) < 0) {
		tls->failed = ENOMEM;
		return -1;
	}
	lsc_buf_add(&tls->out, data, (size_t)len);
	return len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *data)
{
	const struct lsc_tls *tls = BIO_get_data(bio);

	(void)number;
	(void)data;
	if (command == BIO_CTRL_EOF)
		return tls->eof;
	return command == BIO_CTRL_FLUSH;
}

/* --- what all sessions share --- */

static struct {
	pthread_once_t once;
	SSL_CTX *context;
	BIO_METHOD *method;
} shared = {.once = PTHREAD_ONCE_INIT};

/* The key as OpenSSL wants it: a session to resume. */
static SSL_SESSION *make_session(SSL *ssl, const struct lsc_key *key)
{
	static const unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
	SSL_SESSION *session = SSL_SESSION_new();

	if (session && cipher &&
	    SSL_SESSION_set1_master_key(session, key->secret, sizeof(key->secret)) &&
	    SSL_SESSION_set_cipher(session, cipher) &&
	    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

static int offer_key(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len,
		     SSL_SESSION **session)
{
	struct lsc_tls *tls = SSL_get_app_data(ssl);

	*id = NULL;
	*id_len = 0;
	*session = NULL;
	if (md && !EVP_MD_is_a(md, "SHA256"))
		return 1; /* not with our key */
	*session = make_session(ssl, tls->key);
	*id = (const unsigned char *)tls->identity;
	*id_len = strlen(tls->identity);
	return *session != NULL;
}

/* The id of whoever has another key is for a message only. */
static void remember(struct lsc_tls *tls, const char *id, size_t len)
{
	if (len != LSC_KEY_ID - 1)
		return;
	for (size_t i = 0; i < len; i++)
		if (!memchr("0123456789abcdef", id[i], 16))
			return;
	memcpy(tls->theirs, id, len);
}

static int find_key(SSL *ssl, const unsigned char *id, size_t len, SSL_SESSION **session)
{
	struct lsc_tls *tls = SSL_get_app_data(ssl);
	size_t head = strlen(IDENTITY);

	*session = NULL;
	if (len < head || memcmp(id, IDENTITY, head))
		return 1;
	tls->named = true;
	remember(tls, (const char *)id + head, len - head);
	if (len != strlen(tls->identity) || memcmp(id, tls->identity, len))
		return 1;
	*session = make_session(ssl, tls->key);
	return *session != NULL;
}

static SSL_CTX *make_context(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());

	if (!context)
		return NULL;
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(context,
			    SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_clear_options(context, SSL_OP_ALLOW_NO_DHE_KEX | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(context, 1);
	SSL_CTX_set_default_read_buffer_len(context, READ_BUFFER);
	SSL_CTX_set_psk_use_session_callback(context, offer_key);
	SSL_CTX_set_psk_find_session_callback(context, find_key);
	if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) &&
	    SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) &&
	    SSL_CTX_set_ciphersuites(context, SUITES) && SSL_CTX_set_num_tickets(context, 0) &&
	    SSL_CTX_set_max_early_data(context, 0))
		return context;
	SSL_CTX_free(context);
	return NULL;
}

static void share(void)
{
	shared.method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lsc socket");
	if (!shared.method)
		return;
	BIO_meth_set_read(shared.method, bio_read);
	BIO_meth_set_write(shared.method, bio_write);
	BIO_meth_set_ctrl(shared.method, bio_ctrl);
	shared.context = make_context();
}

/* --- life --- */

int lsc_tls_check(struct lsc_err *err)
{
	(void)err;
	return 0;
}

int lsc_tls_new(struct lsc_tls **ret_tls, int fd, const struct lsc_key *key, bool accepts,
		struct lsc_err *err)
{
	struct lsc_tls *tls = calloc(1, sizeof(*tls));
	BIO *bio;

	pthread_once(&shared.once, share);
	if (!tls || !shared.context)
		goto fail;
	*tls = (struct lsc_tls){.fd = fd, .key = key, .accepts = accepts, .first = -1};
	snprintf(tls->identity, sizeof(tls->identity), IDENTITY "%s", key->id);
	tls->ssl = SSL_new(shared.context);
	bio = tls->ssl ? BIO_new(shared.method) : NULL;
	if (!bio)
		goto fail;
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_app_data(tls->ssl, tls);
	if (accepts) {
		SSL_set_accept_state(tls->ssl);
	} else {
		SSL_set_connect_state(tls->ssl);
		/* A certificate proves nothing here: no issuer is trusted, so who shows one is
		 * refused. */
		SSL_set_verify(tls->ssl, SSL_VERIFY_PEER, NULL);
	}
	*ret_tls = tls;
	return 0;
fail:
	lsc_tls_free(tls);
	ERR_clear_error();
	return lsc_err_set(err, ENOMEM, "cannot begin TLS: %m");
}

void lsc_tls_free(struct lsc_tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	lsc_buf_release(&tls->out);
	free(tls);
}

/* --- the handshake --- */

static int refuse_as_acceptor(struct lsc_tls *tls, int reason, struct lsc_err *err)
{
	if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_VERSION_TOO_LOW)
		return lsc_err_set(err, EKEYREJECTED, "speaks no TLS 1.3");
	if (reason == SSL_R_BINDER_DOES_NOT_VERIFY)
		return lsc_err_set(err, EKEYREJECTED, "has not the key %s that it names",
				   tls->key->id);
	if (tls->named && strcmp(tls->theirs, tls->key->id))
		return lsc_err_set(err, EKEYREJECTED, "has another key: %s, not %s",
				   tls->theirs[0] ? tls->theirs : "?", tls->key->id);
	if (!tls->named && reason != SSL_R_WRONG_VERSION_NUMBER && !tls->eof)
		return lsc_err_set(err, EKEYREJECTED, "speaks TLS without a key");
	return 0;
}

static int refuse_as_connector(struct lsc_tls *tls, int reason, struct lsc_err *err)
{
	if (tls->first >= 0 && tls->first != LSC_TLS_HANDSHAKE && tls->first != LSC_TLS_ALERT)
		return lsc_err_set(err, EKEYREJECTED,
				   "does not speak TLS: it was started without --key-file");
	if (reason == SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE)
		return lsc_err_set(err, EKEYREJECTED, "refused key %s: it has another one",
				   tls->key->id);
	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
		return lsc_err_set(err, EKEYREJECTED,
				   "shows a certificate, and not that it has key %s", tls->key->id);
	if (reason == SSL_R_UNSUPPORTED_PROTOCOL ||
	    reason == SSL_AD_REASON_OFFSET + SSL_AD_PROTOCOL_VERSION)
		return lsc_err_set(err, EKEYREJECTED, "speaks no TLS 1.3");
	return 0;
}

static int refuse(struct lsc_tls *tls, struct lsc_err *err)
{
	unsigned long code = ERR_peek_error();
	int reason = ERR_GET_REASON(code);
	int r = tls->accepts ? refuse_as_acceptor(tls, reason, err)
			     : refuse_as_connector(tls, reason, err);
	const char *words = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	if (r < 0)
		return r;
	if (tls->failed)
		return lsc_err_set(err, tls->failed, "TLS handshake: %m");
	if (tls->eof)
		return lsc_err_set(err, ECONNRESET, "closed the link during the TLS handshake");
	return lsc_err_set(err, EPROTO, "TLS handshake: %s", words ? words : "failed");
}

int lsc_tls_handshake(struct lsc_tls *tls, struct lsc_err *err)
{
	int n, r;

	ERR_clear_error();
	n = SSL_do_handshake(tls->ssl);
	if (n == 1) {
		/* Without this an end that ignores our key would be as good as one that has it. */
		if (!SSL_session_reused(tls->ssl))
			return lsc_err_set(err, EKEYREJECTED, "does not prove that it has key %s",
					   tls->key->id);
		tls->up = true;
	} else if (SSL_get_error(tls->ssl, n) != SSL_ERROR_WANT_READ) {
		r = refuse(tls, err);
		lsc_tls_flush(tls);
		return r;
	}
	r = lsc_tls_flush(tls);
	return r < 0 ? lsc_err_set(err, -r, "TLS handshake: %m") : n == 1;
}

/* --- moving bytes --- */

static int fail(struct lsc_tls *tls, int result)
{
	int code = SSL_get_error(tls->ssl, result);
	unsigned long error = ERR_peek_error();
	int reason = ERR_GET_REASON(error);

	if (code == SSL_ERROR_WANT_READ)
		return -EAGAIN;
	if (code == SSL_ERROR_ZERO_RETURN)
		return 0;
	if (!tls->failed && (tls->eof || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
		tls->failed = ECONNRESET;
		tls->why = "the link was cut: it did not say that it closes";
	} else if (!tls->failed) {
		tls->failed = EPROTO;
		tls->why = reason == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC
				   ? "what it sent was changed on the way"
			   : reason > SSL_AD_REASON_OFFSET
				   ? "ended TLS: what we sent did not arrive so"
				   : "broke TLS";
	}
	ERR_clear_error();
	return -tls->failed;
}

ssize_t lsc_tls_readv(struct lsc_tls *tls, const struct iovec *iov, int n)
{
	size_t total = 0, got;

	if (tls->failed)
		return -tls->failed;
	for (int i = 0; i < n; i++) {
		for (size_t at = 0; at < iov[i].iov_len; at += got) {
			int r;

			if (total >= READ_TURN)
				return (ssize_t)total;
			ERR_clear_error();
			r = SSL_read_ex(tls->ssl, (char *)iov[i].iov_base + at, iov[i].iov_len - at,
					&got);
			if (!r) {
				r = fail(tls, r);
				return total ? (ssize_t)total : r; /* which comes again */
			}
			total += got;
		}
	}
	return (ssize_t)total;
}

/* The next record's bytes: where they lie, or gathered where they lie apart. */
static size_t next_record(const struct iovec *iov, int n, size_t skip, uint8_t gathered[RECORD],
			  const void **ret_data)
{
	size_t len = 0;

	for (int i = 0; i < n && len < RECORD; i++) {
		const uint8_t *data = iov[i].iov_base;
		size_t part;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		part = LSC_MIN(iov[i].iov_len - skip, RECORD - len);
		if (len == 0 && (part == RECORD || i == n - 1)) {
			*ret_data = data + skip;
			return part;
		}
		memcpy(gathered + len, data + skip, part);
		len += part;
		skip = 0;
	}
	*ret_data = gathered;
	return len;
}

ssize_t lsc_tls_writev(struct lsc_tls *tls, const struct iovec *iov, int n)
{
	uint8_t gathered[RECORD];
	const void *data;
	size_t total = 0, len, put;
	int r = lsc_tls_flush(tls);

	if (r < 0)
		return r;
	if (lsc_tls_unsent(tls))
		return -EAGAIN;
	for (int i = 0; i < RECORDS; i++) {
		len = next_record(iov, n, total, gathered, &data);
		if (len == 0)
			break;
		if (tls->sent >= REKEY_BYTES && (r = lsc_tls_rekey(tls)) < 0)
			return r;
		ERR_clear_error();
		r = SSL_write_ex(tls->ssl, data, len, &put);
		if (!r) {
			r = fail(tls, r);
			return r == 0 || r == -EAGAIN ? -EPROTO : r; /* our BIO takes everything */
		}
		total += put;
		tls->sent += put;
	}
	r = lsc_tls_flush(tls);
	return r < 0 ? r : (ssize_t)total;
}

const char *lsc_tls_why(const struct lsc_tls *tls)
{
	return tls->why;
}

int lsc_tls_flush(struct lsc_tls *tls)
{
	while (lsc_tls_unsent(tls)) {
		ssize_t n = send(tls->fd, tls->out.data + tls->out_used,
				 tls->out.len - tls->out_used, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		tls->out_used += n > 0 ? (size_t)n : 0;
	}
	lsc_buf_release(&tls->out);
	tls->out_used = 0;
	return 0;
}

bool lsc_tls_unsent(const struct lsc_tls *tls)
{
	return tls->out_used < tls->out.len;
}

bool lsc_tls_unread(const struct lsc_tls *tls)
{
	return !tls->failed && SSL_has_pending(tls->ssl);
}

void lsc_tls_shut(struct lsc_tls *tls)
{
	if (tls->up && !tls->failed)
		SSL_shutdown(tls->ssl);
	ERR_clear_error();
}

int lsc_tls_rekey(struct lsc_tls *tls)
{
	tls->sent = 0;
	return SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) ? 0 : -EPROTO;
}

/* --- hashes --- */

void lsc_tls_key_id(const uint8_t secret[LSC_KEY_BYTES], char id[LSC_KEY_ID])
{
	uint8_t mac[LSC_TLS_MAC];

	id[0] = 0;
	if (lsc_tls_hmac(secret, LABEL, strlen(LABEL), mac) < 0)
		return;
	for (int i = 0; i < (LSC_KEY_ID - 1) / 2; i++)
		snprintf(id + (size_t)2 * i, 3, "%02x", mac[i]);
}

int lsc_tls_hmac(const uint8_t secret[LSC_KEY_BYTES], const void *data, size_t len,
		 uint8_t mac[LSC_TLS_MAC])
{
	unsigned n = 0;

	if (HMAC(EVP_sha256(), secret, LSC_KEY_BYTES, data, len, mac, &n) && n == LSC_TLS_MAC)
		return 0;
	ERR_clear_error();
	return -EIO;
}

#endif /* LSC_HAVE_TLS */
