/* What data goes over, as people choose it. */
#ifndef LSC_NET_TRANSPORT_H
#define LSC_NET_TRANSPORT_H

#include <stdbool.h>

#include "base/err.h"

enum lsc_transport {
	LSC_TRANSPORT_AUTO, /* RDMA between those that have it, else TCP */
	LSC_TRANSPORT_TCP,
	LSC_TRANSPORT_RDMA,
};

/* "auto", "tcp", "rdma": 0, or -EINVAL. */
int lsc_transport_parse(const char *text, enum lsc_transport *ret, struct lsc_err *err);

/* Whether RDMA is built in and there is a device: 0, or -ENODEV with words. */
int lsc_transport_find_rdma(struct lsc_err *err);

#endif
