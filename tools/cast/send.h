/* What `lsc-cast send` was told, and the things it does by that. */
#ifndef LSC_TOOLS_CAST_SEND_H
#define LSC_TOOLS_CAST_SEND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "send/names.h"
#include "send/subject.h"
#include "cli/progress.h"
#include "net/access.h"
#include "net/loop.h"
#include "net/transport.h"

struct send_options {
	const char *image;
	const char *name;
	const char *exec;
	const char *inventory; /* whose nodes are asked, too; NULL */
	struct lsc_names to, sources, exclude, ask;
	bool automatic;   /* sources are those who have it */
	uint32_t n_parts; /* of the sources, the last ones, that have a part of it */
	struct lsc_access access;
	bool cleartext;
	enum lsc_transport transport;
	uint64_t port; /* of nodes that name none; 0: not given */
	int order;     /* as lsc_sending_choose() takes it */
	double rate, link, timeout_s;
	enum lsc_progress_mode progress;
	bool json, dry_run, raw, stats, verify_only;
	const char *launch; /* how; NULL: the nodes serve already */
	const char *dir, *program;
	double launch_timeout_s;
};

/* What is sent, and its name at the nodes.  Each of these returns the exit status or negative
 * errno. */

/* Says what a cast would do; no node is asked. */
int lsc_cast_send_plan(const struct send_options *opt, const struct lsc_subject *subject,
		       const char *name, struct lsc_err *err);

int lsc_cast_send_run(struct send_options *opt, const struct lsc_subject *subject, const char *name,
		      struct lsc_loop *loop, struct lsc_err *err);

/* Asks the nodes what they have, makes sources of those that have it, and then is one of the above.
 * The subject may be closed, and is what others have then. */
int lsc_cast_send_auto(struct send_options *opt, struct lsc_subject *subject, const char *name,
		       struct lsc_loop *loop, struct lsc_err *err);

/* Has the nodes read what they have, and moves nothing. */
int lsc_cast_send_verify(const struct send_options *opt, const struct lsc_subject *subject,
			 const char *name, struct lsc_loop *loop, struct lsc_err *err);

/* Adds the nodes of an inventory that are not among those to ask yet. */
int lsc_cast_send_inventory(struct lsc_names *ask, const char *path, struct lsc_err *err);

#endif
