/* Resolving a name without keeping the loop waiting: a resolver may take many seconds, and others
 * are to be served meanwhile. */
#ifndef LSC_NET_RESOLVE_H
#define LSC_NET_RESOLVE_H

#include <netdb.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "net/loop.h"

struct lsc_resolve;

/* result: 0 and a list that is the callee's to free with freeaddrinfo(), or negative errno with
 * words in err. */
typedef void lsc_resolve_fn(void *data, int result, struct addrinfo *list,
			    const struct lsc_err *err);

/* At once where the host is an address: *ret_list is set, and the callee's. Else *ret_list is NULL,
 * and fn is called later, from the loop.  Either way 0. */
int lsc_resolve_start(struct lsc_resolve **ret_resolve, struct lsc_loop *loop,
		      const struct lsc_endpoint *endpoint, lsc_resolve_fn *fn, void *data,
		      struct addrinfo **ret_list, struct lsc_err *err);

/* Frees it; fn is not called any more, and may be what calls this.  NULL is fine. */
void lsc_resolve_stop(struct lsc_resolve *resolve);

/* To listen at; waits as long as it takes. */
int lsc_resolve_now(const struct lsc_endpoint *endpoint, int flags, struct addrinfo **ret_list,
		    struct lsc_err *err);

#endif
