/* tls_none - what tls.h promises where there is no OpenSSL to keep it with */
#include "net/tls.h"

#ifndef LSC_HAVE_TLS

static int not_built_in(struct lsc_err *err)
{
	return lsc_err_set(err, EOPNOTSUPP, "TLS is not built in (WITH_TLS=yes)");
}

int lsc_tls_check(struct lsc_err *err)
{
	return not_built_in(err);
}

int lsc_tls_new(struct lsc_tls **ret_tls, int fd, const struct lsc_key *key, bool accepts,
		struct lsc_err *err)
{
	(void)ret_tls;
	(void)fd;
	(void)key;
	(void)accepts;
	return not_built_in(err);
}

void lsc_tls_free(struct lsc_tls *tls)
{
	(void)tls;
}

int lsc_tls_handshake(struct lsc_tls *tls, struct lsc_err *err)
{
	(void)tls;
	return not_built_in(err);
}

ssize_t lsc_tls_readv(struct lsc_tls *tls, const struct iovec *iov, int n)
{
	(void)tls;
	(void)iov;
	(void)n;
	return -EOPNOTSUPP;
}

ssize_t lsc_tls_writev(struct lsc_tls *tls, const struct iovec *iov, int n)
{
	return lsc_tls_readv(tls, iov, n);
}

const char *lsc_tls_why(const struct lsc_tls *tls)
{
	(void)tls;
	return NULL;
}

int lsc_tls_flush(struct lsc_tls *tls)
{
	(void)tls;
	return -EOPNOTSUPP;
}

bool lsc_tls_unsent(const struct lsc_tls *tls)
{
	(void)tls;
	return false;
}

bool lsc_tls_unread(const struct lsc_tls *tls)
{
	(void)tls;
	return false;
}

void lsc_tls_shut(struct lsc_tls *tls)
{
	(void)tls;
}

int lsc_tls_rekey(struct lsc_tls *tls)
{
	(void)tls;
	return -EOPNOTSUPP;
}

void lsc_tls_key_id(const uint8_t secret[LSC_KEY_BYTES], char id[LSC_KEY_ID])
{
	(void)secret;
	id[0] = 0;
}

int lsc_tls_hmac(const uint8_t secret[LSC_KEY_BYTES], const void *data, size_t len,
		 uint8_t mac[LSC_TLS_MAC])
{
	(void)secret;
	(void)data;
	(void)len;
	(void)mac;
	return -EOPNOTSUPP;
}

#endif
