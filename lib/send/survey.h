/* A survey: asks nodes whether the image that they have is good, and moves nothing.
 *
 * Every node reads all of its image and holds it against the manifest that it is sent; how long
 * that takes is up to its disk, and its progress is the sign that it lives.
 */
#ifndef LSC_SEND_SURVEY_H
#define LSC_SEND_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "cast/check.h"
#include "model/image.h"
#include "net/loop.h"

struct lsc_survey;

/* All of it is borrowed for the life of the survey. */
struct lsc_survey_options {
	const struct lsc_image *image; /* its manifest */
	const char *name;              /* of the image at the nodes */
	char *const *nodes;            /* "HOST:PORT" */
	uint32_t n_nodes;
	const struct lsc_key *key; /* that the nodes have too; NULL: links are plain */
	uint64_t timeout_ns;       /* without a sign of life from a node */

	/* For each node, once: what it has, or (result is NULL) why it did not say. */
	void (*on_answer)(void *data, uint32_t node, const struct lsc_check_result *result,
			  const struct lsc_err *err);
	/* After the last of them.  n_good: nodes whose image is good. */
	void (*on_done)(void *data, uint32_t n_good);
	void *data;
};

int lsc_survey_start(struct lsc_survey **ret_survey, struct lsc_loop *loop,
		     const struct lsc_survey_options *options, struct lsc_err *err);

/* An answer as a line for people, "node1:7000 bad: piece 3 ...", or as a JSON record of type
 * "checked". */
int lsc_survey_tell(const char *node, const struct lsc_check_result *result,
		    const struct lsc_err *err, bool json, struct lsc_buf *line);

/* Not from inside on_answer().  NULL is fine. */
void lsc_survey_free(struct lsc_survey *survey);

#endif
