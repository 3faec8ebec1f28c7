/* The table of what an image has in files of others: the file `shares` of lsc-image(5).
 *
 * Images that have blocks in common hold them once.  One of them has the bytes; in the directory of
 * another lies a link to that file, share.N, and a row here says which part of the image is where
 * in it.  The rest is in the image's own file, `image`, as ever.
 *
 * A table is text, ends with the hash of itself, and is replaced as a whole.
 */
#ifndef LSC_BASE_SHARES_H
#define LSC_BASE_SHARES_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define LSC_SHARES_MAX_ROWS  (1u << 16)
#define LSC_SHARES_MAX_FILES 1024u
#define LSC_SHARES_MAX_BYTES (8u << 20) /* of the table */
#define LSC_SHARES_TAIL      4096u      /* that `image` is longer where there is a table */

struct lsc_share {
	uint64_t offset, bytes; /* in the image: whole pages, but for the image's last */
	uint32_t file;          /* N of share.N */
	uint64_t file_offset;
};

struct lsc_shares {
	uint64_t bytes; /* of the image */
	struct lsc_share *rows;
	uint32_t n;
};

#define LSC_SHARES_INIT                                                                            \
	{                                                                                          \
		0                                                                                  \
	}

void lsc_shares_release(struct lsc_shares *shares);

/* Appends a row behind the others: -ENOMEM, -EFBIG where there are too many. */
int lsc_shares_add(struct lsc_shares *shares, const struct lsc_share *row);

/* Takes a table apart; one that is accepted has rows in order, apart and in the image.  -EPROTO for
 * another version. */
int lsc_shares_parse(struct lsc_shares *shares, const void *text, size_t len, struct lsc_err *err);

/* Appends the table's text. */
int lsc_shares_format(const struct lsc_shares *shares, struct lsc_buf *buf);

/* The row that holds a byte of the image; NULL where `image` does. */
const struct lsc_share *lsc_shares_at(const struct lsc_shares *shares, uint64_t offset);

#endif
