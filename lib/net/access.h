/* Who may take part: what tools are told about it on their command lines, and what follows.
 *
 * Addresses of this machine need nothing.  Any other needs a key, which both ends have, or the word
 * that there is to be none.
 */
#ifndef LSC_NET_ACCESS_H
#define LSC_NET_ACCESS_H

#include <stdbool.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "net/key.h"

struct lsc_access {
	const char *key_file; /* --key-file, - is a line of standard input; NULL: the environment's
			       * LSC_KEY_FILE, if set */
	bool insecure;        /* --insecure */
	struct lsc_key own;
	const struct lsc_key *key; /* own, or NULL: links are plain */
};

/* The two rows of a tool's option table, and its parser's answer to them: 0, or
 * ARGP_ERR_UNKNOWN. */
#define LSC_KEY_KEY_FILE 0x3000
#define LSC_KEY_INSECURE 0x3001
#define LSC_ACCESS_ROWS                                                                            \
	{"key-file", LSC_KEY_KEY_FILE, "FILE", 0, "Encrypt links, to those who have this key too", \
	 0},                                                                                       \
	{                                                                                          \
		"insecure", LSC_KEY_INSECURE, NULL, 0,                                             \
			"Use other machines' addresses without a key", 0                           \
	}

bool lsc_access_option(struct lsc_access *access, int key, const char *arg);

/* Reads the key there is to be. */
int lsc_access_open(struct lsc_access *access, struct lsc_err *err);

/* Takes a key that is drawn now, where there is none. */
int lsc_access_draw(struct lsc_access *access, struct lsc_err *err);
void lsc_access_close(struct lsc_access *access);

/* Whether it is an address of this machine, by its spelling: 127.*, ::1, localhost, a path. */
bool lsc_access_is_local(const struct lsc_endpoint *endpoint);

/* Whether to listen at or to connect to it: 0, or -EINVAL with words on what to do. */
int lsc_access_check(const struct lsc_access *access, const struct lsc_endpoint *endpoint,
		     struct lsc_err *err);

#endif
