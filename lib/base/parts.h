/* The files that an image's bytes lie in, open: `image`, and those that it shares with others.
 *
 * A directory with a table of shares (base/shares.h) may be changed while it is opened.  Whoever
 * takes room away from a file first sees to it that the table says where else the bytes are, and
 * then that nobody has the file open.  So `image` is opened before the table is looked for, and
 * what the table names before it is looked at again: if it is the same still, all that it says
 * holds as long as the files are open or mapped.
 */
#ifndef LSC_BASE_PARTS_H
#define LSC_BASE_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/runs.h"

struct lsc_parts {
	uint64_t bytes;       /* of the image */
	struct lsc_run *runs; /* all of it, in order */
	uint32_t n;
	int *fds; /* of `image` and the files share.N that are used */
	uint32_t n_fds;
};

#define LSC_PARTS_INIT                                                                             \
	{                                                                                          \
		0                                                                                  \
	}

/* Opens what lies in a directory, read-only.  The sizes of files are checked: no byte of a run is
 * behind its file's end.  How large the image is says its table, or else the file. */
int lsc_parts_open(struct lsc_parts *parts, const char *dir, struct lsc_err *err);
void lsc_parts_close(struct lsc_parts *parts);

/* The file that all of it lies in, from its beginning on; -1 where it is several. */
int lsc_parts_fd(const struct lsc_parts *parts);

/* The run that holds a byte; NULL behind the end. */
const struct lsc_run *lsc_parts_at(const struct lsc_parts *parts, uint64_t offset);

/* Reads a part of the image: 0, -EIO where a file was cut, or negative errno. */
int lsc_parts_read(const struct lsc_parts *parts, void *data, size_t len, uint64_t offset);

#endif
