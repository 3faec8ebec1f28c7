/* A census: asks nodes what they hold of an image, and one of them for its manifest, where the
 * image is not here.  Nothing is moved.
 *
 * Of images of one name the one is meant that is here, or else the one that is whole at most nodes,
 * or, where it is at none, that most have pieces of.
 */
#ifndef LSC_SEND_CENSUS_H
#define LSC_SEND_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cast/message.h"
#include "net/loop.h"

struct lsc_census;

/* All of it is borrowed for the life of the census. */
struct lsc_census_options {
	const char *name;          /* of the image at the nodes */
	const struct lsc_hash *id; /* of the one that is here; NULL: none is */
	char *const *nodes;        /* "HOST:PORT" */
	uint32_t n_nodes;
	const struct lsc_key *key; /* that the nodes have too; NULL: links are plain */
	uint64_t timeout_ns;       /* for an answer */

	/* Once: 0; -ENODATA where the image is neither here nor at any node that answered; or what
	 * having its manifest failed with. */
	void (*on_done)(void *data, int result, const struct lsc_err *err);
	void *data;
};

int lsc_census_start(struct lsc_census **ret_census, struct lsc_loop *loop,
		     const struct lsc_census_options *options, struct lsc_err *err);

/* After on_done.  held is NULL where the node did not say, and why tells why. */
struct lsc_census_answer {
	const struct lsc_held *held;
	const char *why;
	bool meant; /* it has the image that is meant, or some of it */
};
struct lsc_census_answer lsc_census_answer(const struct lsc_census *census, uint32_t node);

/* The manifest of an image that is not here. */
const uint8_t *lsc_census_manifest(const struct lsc_census *census, size_t *ret_len);

/* Not from inside on_done().  NULL is fine. */
void lsc_census_free(struct lsc_census *census);

#endif
