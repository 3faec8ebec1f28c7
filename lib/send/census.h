/* A census: asks nodes what they have of an image, before there is a cast, and one of them for its
 * manifest.
 *
 * Each is asked over a link of its own (lsc-wire(5), Questions).  One that speaks a version of the
 * protocol without the question is not asked, and that is its answer.
 */
#ifndef LSC_SEND_CENSUS_H
#define LSC_SEND_CENSUS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "cast/want.h"
#include "net/loop.h"

struct lsc_census;

enum lsc_census_state {
	LSC_CENSUS_HELD,    /* all of it, or a part */
	LSC_CENSUS_ABSENT,  /* nothing, or nothing good */
	LSC_CENSUS_OLD,     /* it speaks a version that cannot say */
	LSC_CENSUS_UNKNOWN, /* it was not reached, or did not answer */
};

struct lsc_census_node {
	enum lsc_census_state state;
	struct lsc_held held; /* where it is HELD */
	struct lsc_err why;   /* else: in words, without its name; code 0: it said so itself */
};

/* All of it is borrowed for the life of the census. */
struct lsc_census_options {
	const char *name;   /* of the image at the nodes */
	char *const *nodes; /* "HOST:PORT" */
	uint32_t n_nodes;
	const struct lsc_key *key; /* that the nodes have too; NULL: links are plain */
	uint64_t timeout_ns;       /* without a sign of a node */

	void (*on_done)(void *data); /* from the loop, when all have answered, or will not */
	void *data;
};

int lsc_census_start(struct lsc_census **ret_census, struct lsc_loop *loop,
		     const struct lsc_census_options *options, struct lsc_err *err);

/* After on_done. */
const struct lsc_census_node *lsc_census_node(const struct lsc_census *census, uint32_t node);

/* Then asks a node for the manifest of what it said that it has; on_done is called once more, and
 * lsc_census_manifest() says how it went: it is the census's, and its hash is the id. */
int lsc_census_fetch(struct lsc_census *census, uint32_t node, struct lsc_err *err);
int lsc_census_manifest(const struct lsc_census *census, const void **ret_manifest, size_t *ret_len,
			struct lsc_err *err);

/* Not from inside on_done().  NULL is fine. */
void lsc_census_free(struct lsc_census *census);

#endif
