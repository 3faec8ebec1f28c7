/* The tier's socket: clients, what they ask for, and whether they may (lsc-tier(5)). */
#ifndef LSC_TIER_SERVER_H
#define LSC_TIER_SERVER_H

#include "base/err.h"
#include "net/loop.h"
#include "tier/rights.h"
#include "tier/stock.h"

struct lsc_server;

struct lsc_server_options {
	const char *socket; /* a path; what listens there already is -EADDRINUSE */
	const struct lsc_rights *rights;
	struct lsc_stock_options stock; /* changed and data are the server's to set */
};

int lsc_server_open(struct lsc_server **ret_server, struct lsc_loop *loop,
		    const struct lsc_server_options *options, struct lsc_err *err);

/* leave: memory stays with the holder.  NULL is fine. */
void lsc_server_close(struct lsc_server *server, bool leave);

#endif
