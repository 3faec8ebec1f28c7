/* Where a stream or a peer is, spelled alike by every tool.
 *
 *	-                 standard input or output
 *	fd:N              a descriptor that was inherited
 *	unix:PATH         a Unix socket
 *	tcp://HOST:PORT   or plain HOST:PORT where only a peer can be meant
 *	rdma://HOST:PORT  a peer, by RDMA
 *	memory:NAME       a peer in the same process (tests)
 *	null:             nowhere
 *	PATH              a file (anything else with a '/' or without a ':')
 *
 * HOST is a name, an IPv4 address or an IPv6 address in brackets.
 */
#ifndef LSC_BASE_ENDPOINT_H
#define LSC_BASE_ENDPOINT_H

#include <stdint.h>

#include "base/err.h"

#define LSC_ENDPOINT_TEXT 300

enum lsc_endpoint_kind {
	LSC_ENDPOINT_STDIO,
	LSC_ENDPOINT_FD,
	LSC_ENDPOINT_UNIX,
	LSC_ENDPOINT_TCP,
	LSC_ENDPOINT_RDMA,
	LSC_ENDPOINT_NULL,
	LSC_ENDPOINT_PATH,
	LSC_ENDPOINT_MEMORY,
};

struct lsc_endpoint {
	enum lsc_endpoint_kind kind;
	int fd;                       /* FD */
	uint16_t port;                /* TCP, RDMA; 0 lets the kernel choose when listening */
	char name[LSC_ENDPOINT_TEXT]; /* TCP, RDMA: the host without brackets; UNIX, PATH:
					 the path; MEMORY */
};

int lsc_endpoint_parse(struct lsc_endpoint *ep, const char *text, struct lsc_err *err);

/* The spelling that parses to the same endpoint. */
const char *lsc_endpoint_text(const struct lsc_endpoint *ep, char text[LSC_ENDPOINT_TEXT + 16]);

#endif
