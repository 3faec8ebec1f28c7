/* A node's tier, as its clients see it: one connection, a question at a time (lsc-tier(5)). */
#ifndef LSC_MEM_LENDER_H
#define LSC_MEM_LENDER_H

#include <stdbool.h>

#include "base/err.h"
#include "stream/packet.h"

struct lsc_lender {
	int fd; /* -1: not connected */
	struct lsc_packet packet;
	struct lsc_pack pack; /* the question */
};

#define LSC_LENDER_INIT                                                                            \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* Whether a directory is a tier's: it begins with `unix:`. */
bool lsc_lender_is(const char *dir);

/* Connects to the tier at unix:PATH, and exchanges hellos. */
int lsc_lender_open(struct lsc_lender *lender, const char *address, struct lsc_err *err);

/* Sends the question that pack holds, with descriptors, which stay the caller's, and gets the first
 * record of its answer.  Where that is `failed`, its code and its words. */
int lsc_lender_ask(struct lsc_lender *lender, const int *fds, unsigned n_fds, struct lsc_err *err);

/* The two apart, and the records that follow: -EPIPE where the tier has ended. */
int lsc_lender_send(struct lsc_lender *lender, const int *fds, unsigned n_fds, struct lsc_err *err);
int lsc_lender_next(struct lsc_lender *lender, struct lsc_err *err);

void lsc_lender_close(struct lsc_lender *lender);

#endif
