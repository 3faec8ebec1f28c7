/* What went wrong, in words.
 *
 * Fallible functions return 0 or a count, or a negative errno; the words go into the caller's
 * struct lsc_err, which has a fixed size so that even ENOMEM has some.  A caller that does not
 * want them passes NULL.  lib/ never prints: the tool does, once, through lsc_tool_finish().
 *
 * Codes that mean more than a failed syscall (lsc_tool_finish() maps them to exit statuses):
 *   EINVAL      the command line or an argument is wrong
 *   EBADMSG     input is malformed, or its hash is wrong
 *   EPROTO      the peer broke the protocol or speaks another version
 *   EOPNOTSUPP  the feature, architecture or device is not supported here
 *   EKEYREJECTED the peer has not our key, or wants one that we have not
 *   ETIMEDOUT   trying again may work
 */
#ifndef LSC_BASE_ERR_H
#define LSC_BASE_ERR_H

#include <errno.h>

#define LSC_ERR_TEXT 512

struct lsc_err {
	int code; /* positive errno; 0 while nothing is wrong */
	char text[LSC_ERR_TEXT];
};

#define LSC_ERR_INIT                                                                               \
	{                                                                                          \
		0, ""                                                                              \
	}

/* Stores code and text (truncated to fit; "%m" is code's own text) and returns -code. */
int lsc_err_set(struct lsc_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts words in front of the text there is, to say where it happened; returns -code. */
int lsc_err_prefix(struct lsc_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
