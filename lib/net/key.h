/* A key: 32 random bytes that the nodes of a cluster share, and the file that holds them.
 *
 * The file is one line, "lsc-key1 " and 64 hexadecimal digits.  Nobody but its owner may read it.
 */
#ifndef LSC_NET_KEY_H
#define LSC_NET_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define LSC_KEY_BYTES 32
#define LSC_KEY_ID    17 /* with the 0 */

struct lsc_key {
	uint8_t secret[LSC_KEY_BYTES];
	char id[LSC_KEY_ID]; /* names the key, and tells nothing about it; "" without TLS */
};

/* text need not end in a 0; a newline behind the digits is fine, anything else is not. */
int lsc_key_parse(struct lsc_key *key, const char *text, size_t len, struct lsc_err *err);

/* Refuses a file that others may read or write. */
int lsc_key_read(struct lsc_key *key, const char *path, struct lsc_err *err);

/* Reads a line of fd and nothing behind it: a pipe may have more, for others to read.  Waits for as
 * long as that takes.  name is for the words of an error. */
int lsc_key_read_line(struct lsc_key *key, int fd, const char *name, struct lsc_err *err);

/* Draws a key. */
int lsc_key_draw(struct lsc_key *key, struct lsc_err *err);

/* The line of the file.  It is as secret as the key: lsc_key_line_erase() releases it. */
int lsc_key_line(const struct lsc_key *key, struct lsc_buf *line);
void lsc_key_line_erase(struct lsc_buf *line);

/* Makes the file, which must not be there yet. */
int lsc_key_write(const struct lsc_key *key, const char *path, struct lsc_err *err);

/* Leaves no secret in memory; release function of a local key. */
void lsc_key_erase(struct lsc_key *key);

#endif
