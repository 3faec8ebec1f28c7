/* The logits of every position that a session runs, into a file. */
#ifndef LSC_TOOLS_EXEC_LOGITS_H
#define LSC_TOOLS_EXEC_LOGITS_H

#include "exec/session.h"

struct exec_logits {
	const char *path; /* NULL: nobody wants them */
	int fd;
	float *rows;
};

#define EXEC_LOGITS_INIT                                                                           \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* path NULL: feeding is lsc_session_feed(), and nothing is written. */
int exec_logits_open(struct exec_logits *logits, const char *path, uint32_t vocab,
		     struct lsc_err *err);

/* Feeds n ids to a session, and writes the logits of their positions. */
int exec_logits_feed(struct exec_logits *logits, struct lsc_session *session, const uint32_t *ids,
		     uint32_t n, uint32_t *ret_token, struct lsc_err *err);

/* A file that was not completed is removed. */
void exec_logits_close(struct exec_logits *logits);
int exec_logits_end(struct exec_logits *logits, struct lsc_err *err);

#endif
