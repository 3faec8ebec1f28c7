/* Wishes: which images are pinned, and how much they matter, kept in DIR/.lsc/wishes, so that they
 * outlive the daemon and the machine's next boot.
 *
 * The file is records, one an image (lsc-stream(5)): `wish` {name, pinned, priority}; it is
 * replaced as a whole.
 */
#ifndef LSC_TIER_WISHES_H
#define LSC_TIER_WISHES_H

#include <stdbool.h>

#include "base/err.h"

struct lsc_wish {
	char *name;
	bool pinned;
	int priority; /* 0: as any */
	struct lsc_wish *next;
};

struct lsc_wishes {
	char *path;
	struct lsc_wish *all;
};

#define LSC_WISHES_INIT                                                                            \
	{                                                                                          \
		NULL, NULL                                                                         \
	}

#define LSC_PRIORITY_MAX 1000000

/* Reads those of a directory; there may be none.  A file that is no such is -EBADMSG. */
int lsc_wishes_open(struct lsc_wishes *wishes, const char *dir, struct lsc_err *err);
void lsc_wishes_close(struct lsc_wishes *wishes);

const struct lsc_wish *lsc_wishes_find(const struct lsc_wishes *wishes, const char *name);

/* Sets one, and writes them all: what fails leaves the file as it was. */
int lsc_wishes_set(struct lsc_wishes *wishes, const char *name, bool pinned, int priority,
		   struct lsc_err *err);

#endif
