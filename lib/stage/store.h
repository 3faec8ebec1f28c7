/* The images of a directory, opened when they are first asked for, each with its engine.
 *
 * An image that is still arriving has a watcher, a thread that sleeps on the segment's futex while
 * someone waits for units, and tells of every change.  Everything but that thread belongs to the
 * thread that made the store.
 */
#ifndef LSC_STAGE_STORE_H
#define LSC_STAGE_STORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "exec/engine.h"
#include "exec/sample.h"
#include "mem/segment.h"
#include "model/image.h"

#define LSC_STORE_BATCH 64 /* works that run together at most */

struct lsc_store_image {
	struct lsc_store_image *next;
	struct lsc_store *store;
	struct lsc_segment segment;
	struct lsc_image image;
	struct lsc_engine *engine;
	struct lsc_sampler sampler;
	float *logits; /* [LSC_STORE_BATCH][vocab] */

	bool watched; /* there is a thread */
	pthread_t watcher;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool wanted, stop; /* under lock: someone waits; the thread shall end */
	atomic_bool gone;  /* nobody receives it any more */
};

struct lsc_store {
	const char *dir; /* borrowed */
	struct lsc_engine_options engine;
	void (*changed)(void *data); /* called by watchers */
	void *data;
	struct lsc_store_image *images;
};

#define LSC_STORE_INIT                                                                             \
	{                                                                                          \
		0                                                                                  \
	}

/* The image with this id: -ENOENT where the directory has none. */
int lsc_store_find(struct lsc_store *store, const struct lsc_hash *id,
		   struct lsc_store_image **ret_image, struct lsc_err *err);

/* From now on (or no longer) someone waits for units of it.  Called with want set before the look
 * that finds them missing, so that no arrival is missed. */
int lsc_store_watch(struct lsc_store_image *image, bool want, struct lsc_err *err);

/* Closes the images that are gone. */
void lsc_store_sweep(struct lsc_store *store);

void lsc_store_release(struct lsc_store *store);

#endif
