/* Whether what a node has is what a manifest says: all of it is read and held against the hashes,
 * by a few threads, while the loop goes on. */
#ifndef LSC_CAST_CHECK_H
#define LSC_CAST_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"

enum lsc_check_state {
	LSC_CHECK_GOOD,
	LSC_CHECK_BAD,    /* it has this manifest, and not these bytes */
	LSC_CHECK_OTHER,  /* what has this name is something else */
	LSC_CHECK_ABSENT, /* nothing complete has this name */
};

struct lsc_check_result {
	enum lsc_check_state state;
	uint32_t bad_pieces; /* of them, where it is bad; 0 where it is so otherwise */
	uint32_t first_bad;
	char why[400]; /* in words, unless it is good */
};

struct lsc_check;

/* Checks DIR/NAME against the manifest, which is borrowed until lsc_check_stop(), and calls fn from
 * the loop.  What cannot be found out (memory, a disk that fails) is a bad result, in words. */
int lsc_check_start(struct lsc_check **ret_check, struct lsc_loop *loop, const char *dir,
		    const char *name, const void *manifest, size_t manifest_len,
		    void (*fn)(void *data, const struct lsc_check_result *result), void *data,
		    struct lsc_err *err);

/* Frees it, soon where it is at work; fn is not called any more, and may be what calls this.  NULL
 * is fine. */
void lsc_check_stop(struct lsc_check *check);

const char *lsc_check_state_name(enum lsc_check_state state); /* "good" */

#endif
