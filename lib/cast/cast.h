/* A cast: the coordinator's side, which is a source itself (node 0).
 *
 * It offers the image to every node, and tells each whom to send what; from then on the data flows
 * from node to node, and the coordinator sends its own part, listens, reports, and changes plans.
 * A node that fails is left out, and the others go on.  Nodes that have the image already are sent
 * nothing, and help.
 */
#ifndef LSC_CAST_CAST_H
#define LSC_CAST_CAST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cast/message.h"
#include "mem/segment.h"
#include "model/image.h"
#include "net/loop.h"
#include "net/transport.h"
#include "plan/schedule.h"

struct lsc_cast;

/* All of it is borrowed for the life of the cast. */
struct lsc_cast_options {
	const struct lsc_image *image;     /* with its data */
	const struct lsc_segment *segment; /* says which pieces of it are here; NULL: all */
	const char *name;                  /* of the image at the nodes */
	bool absent;          /* nothing of it is here, data neither: this node only coordinates */
	char *const *sources; /* nodes that have it too: "HOST:PORT" */
	uint32_t n_sources;
	uint32_t n_parts; /* of them, the last ones, that have only a part of it */
	char *const *to;  /* nodes that are to have it */
	uint32_t n_to;
	bool scheduled; /* by order; else plans follow what nodes can take */
	enum lsc_order order;
	bool rotate;               /* else: sources begin at different places of the image */
	double rate;               /* bytes a second that a node may send; 0: as many as it can */
	uint64_t timeout_ns;       /* without a sign of life from a node, or progress of one */
	const struct lsc_key *key; /* that the nodes have too; NULL: links are plain */
	bool cleartext;            /* those for data are, though there is a key */
	enum lsc_transport transport; /* of data; auto where it may not be encrypted is tcp */
	const char *exec;             /* where this node's stage worker listens; NULL */
	int report_fd;    /* for arrival records; -1: none.  A cast goes on without a reader, and
			   * its result says so in the end. */
	bool report_json; /* as JSON lines */

	/* Once, from the loop.  result: 0 when all nodes have it, 1 when only some have, or
	 * negative errno when none has; with words in err. */
	void (*on_done)(void *data, int result, const struct lsc_err *err);
	void (*on_tick)(void *data, const struct lsc_cast *cast); /* some times a second; NULL */
	void *data;
};

/* As records number them: 0 is this node, then the sources, then the receivers. */
struct lsc_cast_node {
	const char *name; /* "HOST:PORT"; "local" for this node */
	bool source;
	uint32_t pieces; /* there and verified */
	uint64_t bytes;  /* with what is on its way */
	bool complete;
	uint32_t had;    /* pieces, when it was ready */
	const char *why; /* it failed; NULL: it did not */
	bool counted;    /* stats are known, which is in the end */
	struct lsc_stats stats;
};

int lsc_cast_start(struct lsc_cast **ret_cast, struct lsc_loop *loop,
		   const struct lsc_cast_options *options, struct lsc_err *err);

const struct lsc_image *lsc_cast_image(const struct lsc_cast *cast);
uint32_t lsc_cast_n_nodes(const struct lsc_cast *cast);
struct lsc_cast_node lsc_cast_node(const struct lsc_cast *cast, uint32_t node);

/* Ends the cast where it is under way, telling the nodes why; on_done is called later.  Where it is
 * over already, arrival records that their reader has not taken are given up. */
void lsc_cast_abort(struct lsc_cast *cast, const char *why);

/* After on_done, not from inside it (before it, all links are cut).  NULL is fine. */
void lsc_cast_free(struct lsc_cast *cast);

#endif
