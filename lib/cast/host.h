/* A host: the serving side of casts, a node as the network sees it.
 *
 * It listens, and takes part in every cast that is offered to it: as a receiver of images into its
 * directory, or as a source of those it has there.  A cast lives as long as the link of the
 * coordinator that offered it; pieces of one that ends early stay, to be taken up by the next.
 */
#ifndef LSC_CAST_HOST_H
#define LSC_CAST_HOST_H

#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "net/loop.h"
#include "net/transport.h"

struct lsc_host;

struct lsc_host_options {
	const char *dir; /* borrowed, as is exec */
	struct lsc_endpoint listen;
	const struct lsc_key *key;    /* that all others have; NULL: links are plain */
	enum lsc_transport transport; /* of data that comes */
	const char *exec;             /* where this node's stage worker listens; NULL */
	uint64_t patience_ns;         /* with those who do not say what they want; 0: 10 s */
};

int lsc_host_open(struct lsc_host **ret_host, struct lsc_loop *loop,
		  const struct lsc_host_options *options, struct lsc_err *err);

/* Ends the casts it is part of, keeping their pieces. */
void lsc_host_close(struct lsc_host *host);

/* Where it really listens. */
const char *lsc_host_address(const struct lsc_host *host);

#endif
