/* A chore: what is done to the directory of images and takes long, in a thread of its own. */
#ifndef LSC_TIER_CHORE_H
#define LSC_TIER_CHORE_H

#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"

struct lsc_chore;

enum lsc_chore_kind {
	LSC_CHORE_REMOVE,   /* an image */
	LSC_CHORE_SHARE,    /* blocks that images have in common are held once */
	LSC_CHORE_GC,       /* what crashes left goes */
	LSC_CHORE_GC_PARTS, /* and what has arrived of images that nobody receives */
};

struct lsc_chore_result {
	int result; /* 0, or negative errno, with words */
	struct lsc_err err;
	uint64_t freed; /* bytes */
	uint64_t used;  /* that all images use now */
};

typedef void lsc_chore_fn(void *data, const struct lsc_chore_result *result);

/* fn is called from the loop.  name: of the image to be removed. */
int lsc_chore_start(struct lsc_chore **ret_chore, struct lsc_loop *loop, const char *dir,
		    enum lsc_chore_kind kind, const char *name, lsc_chore_fn *fn, void *data,
		    struct lsc_err *err);

/* Frees it, and waits for the thread; fn may call this.  NULL is fine. */
void lsc_chore_stop(struct lsc_chore *chore);

#endif
