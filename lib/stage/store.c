/* store - the images of a directory, opened when they are first asked for */
#include "stage/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec/arrival.h"

/* The futex lies in a mapping that is read-only here, so a watcher that shall end cannot be woken
 * through it: it looks for that once a second. */
#define WATCH_MS 1000

/* --- watching --- */

/* Waits till someone wants to know: false when it shall end. */
static bool is_wanted(struct lsc_store_image *image)
{
	bool stop;

	pthread_mutex_lock(&image->lock);
	while (!image->wanted && !image->stop)
		pthread_cond_wait(&image->wake, &image->lock);
	stop = image->stop;
	pthread_mutex_unlock(&image->lock);
	return !stop;
}

static void *watch(void *data)
{
	struct lsc_store_image *image = data;
	uint32_t n_pieces = image->segment.n_pieces;
	bool whole = false;

	while (!whole && !image->gone && is_wanted(image)) {
		uint32_t seen = lsc_segment_generation(&image->segment);
		int r;

		/* What arrived before `seen` was read may not have been looked at yet. */
		whole = lsc_segment_count(&image->segment) == n_pieces;
		image->store->changed(image->store->data);
		r = whole ? 0 : lsc_segment_wait_change(&image->segment, seen, WATCH_MS);
		if (r == -EPIPE) {
			image->gone = true;
			image->store->changed(image->store->data);
		}
	}
	return NULL;
}

int lsc_store_watch(struct lsc_store_image *image, bool want, struct lsc_err *err)
{
	int r;

	if (!image->segment.arrivals || (!want && !image->watched))
		return 0;
	pthread_mutex_lock(&image->lock);
	if (want && !image->wanted)
		pthread_cond_signal(&image->wake);
	image->wanted = want;
	pthread_mutex_unlock(&image->lock);
	if (image->watched)
		return 0;
	r = pthread_create(&image->watcher, NULL, watch, image);
	if (r)
		return lsc_err_set(err, r, "cannot start a thread: %m");
	image->watched = true;
	return 0;
}

static void stop_watching(struct lsc_store_image *image)
{
	if (!image->watched)
		return;
	pthread_mutex_lock(&image->lock);
	image->stop = true;
	pthread_cond_signal(&image->wake);
	pthread_mutex_unlock(&image->lock);
	pthread_join(image->watcher, NULL);
}

/* --- opening --- */

static void image_free(struct lsc_store_image *image)
{
	stop_watching(image);
	lsc_engine_close(image->engine);
	lsc_image_close(&image->image);
	lsc_segment_close(&image->segment);
	pthread_mutex_destroy(&image->lock);
	pthread_cond_destroy(&image->wake);
	lsc_sampler_release(&image->sampler);
	free(image->logits);
	free(image);
}

static int open_engine(struct lsc_store *store, struct lsc_store_image *image, struct lsc_err *err)
{
	const struct lsc_segment *segment = &image->segment;
	int r = lsc_image_parse(&image->image, segment->manifest, segment->manifest_len, err);

	if (r < 0)
		return r;
	r = lsc_arrival_check(&image->image, segment, err);
	if (r < 0)
		return r;
	r = lsc_sampler_init(&image->sampler, image->image.config.vocab, err);
	if (r < 0)
		return r;
	/* Untouched rows cost nothing. */
	image->logits = malloc((size_t)LSC_STORE_BATCH * image->image.config.vocab *
			       sizeof(*image->logits));
	if (!image->logits)
		return lsc_err_set(err, ENOMEM, "no memory for an image");
	return lsc_engine_open(&image->engine, &image->image, segment->data, &store->engine, err);
}

static struct lsc_store_image *image_new(struct lsc_store *store)
{
	struct lsc_store_image *image = calloc(1, sizeof(*image));

	if (!image)
		return NULL;
	image->store = store;
	image->segment = (struct lsc_segment)LSC_SEGMENT_INIT;
	pthread_mutex_init(&image->lock, NULL);
	pthread_cond_init(&image->wake, NULL);
	return image;
}

int lsc_store_find(struct lsc_store *store, const struct lsc_hash *id,
		   struct lsc_store_image **ret_image, struct lsc_err *err)
{
	struct lsc_store_image *image;
	char name[LSC_SEGMENT_NAME] = "";
	int r;

	for (image = store->images; image; image = image->next)
		if (lsc_hash_equal(&image->image.id, id) && !image->gone) {
			*ret_image = image;
			return 0;
		}
	image = image_new(store);
	if (!image)
		return lsc_err_set(err, ENOMEM, "no memory for an image");
	r = lsc_segment_find(&image->segment, store->dir, id, err);
	if (r == 0) {
		snprintf(name, sizeof(name), "%s", image->segment.name);
		r = open_engine(store, image, err);
	}
	if (r < 0) {
		image_free(image);
		return *name ? lsc_err_prefix(err, "image '%s': ", name) : r;
	}
	image->next = store->images;
	store->images = image;
	*ret_image = image;
	return 0;
}

void lsc_store_sweep(struct lsc_store *store)
{
	struct lsc_store_image **at = &store->images;

	while (*at) {
		struct lsc_store_image *image = *at;

		if (!image->gone) {
			at = &image->next;
			continue;
		}
		*at = image->next;
		image_free(image);
	}
}

void lsc_store_release(struct lsc_store *store)
{
	struct lsc_store_image *image, *next;

	for (image = store->images; image; image = next) {
		next = image->next;
		image_free(image);
	}
	*store = (struct lsc_store)LSC_STORE_INIT;
}
