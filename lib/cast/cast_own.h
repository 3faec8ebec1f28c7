/* What the files of a cast share: cast.c, its phases and plans; control.c, the links to its nodes;
 * watch.c, whom of them to believe; cast_options.c. */
#ifndef LSC_CAST_CAST_OWN_H
#define LSC_CAST_CAST_OWN_H

#include "cast/cast.h"
#include "cast/member.h"
#include "cast/planner.h"
#include "cast/report.h"

enum lsc_cast_phase {
	LSC_CAST_OFFERING,
	LSC_CAST_CASTING,
	LSC_CAST_ENDING,
	LSC_CAST_FLUSHING,
	LSC_CAST_DONE,
};

struct lsc_control {
	struct lsc_cast *cast;
	uint32_t index;
	const char *name;
	bool source, part;     /* part: a source that need not have all */
	struct lsc_link *link; /* NULL: this node, or it is closed */
	bool open, ready, joined, complete;
	bool rdma;  /* it can have links over RDMA, and its data is to go over them */
	int failed; /* errno; 0 */
	char why[LSC_CAST_WHY];
	uint32_t pieces, had;
	uint64_t bytes;
	uint64_t heard_ns, progress_ns; /* when it last said something, and got on */
	uint64_t offered;               /* bytes that somebody has ready for it */
	uint32_t offered_by;
	size_t queued;          /* at the last tick */
	uint32_t accuses;       /* whom it has accused, or LSC_NOBODY */
	struct lsc_err trouble; /* what its neighbours say; code 0: nothing */
	bool counted;
	struct lsc_stats stats;
};

struct lsc_cast {
	struct lsc_cast_options o;
	struct lsc_loop *loop;
	struct lsc_cast_id id;
	struct lsc_pass proof; /* of data links, with o.cleartext */
	enum lsc_cast_phase phase;
	struct lsc_control *nodes;
	uint32_t n_nodes, n_complete, n_failed; /* the latter two of receivers */
	uint64_t *held;                         /* pieces that some node has, while offering */
	struct lsc_planner *planner;
	struct lsc_member *member;
	struct lsc_report report;
	struct lsc_pack pack;
	struct lsc_timer *tick, *linger, *replan;
	bool rdma; /* data may go over RDMA */
	bool lost; /* a node that took part, since the others were forgiven */
	uint64_t first_ready_ns, progress_ns; /* when anyone last got on */
	uint64_t report_ns;                   /* from one progress record of a node to the next */
	double cpu_s;
	int result;
	struct lsc_err err; /* of the first failure, or the last word */
};

/* --- cast.c --- */

/* A node takes part no more; whoever is left goes on.  Node 0: the cast is over. */
void lsc_cast_fail(struct lsc_cast *cast, struct lsc_control *node, const struct lsc_err *err);

void lsc_cast_ready(struct lsc_cast *cast, struct lsc_control *node);
void lsc_cast_complete(struct lsc_cast *cast, struct lsc_control *node);
void lsc_cast_progress(struct lsc_cast *cast, struct lsc_control *node,
		       const struct lsc_node_progress *progress);

/* What a node says of another. */
void lsc_cast_fault(struct lsc_cast *cast, struct lsc_control *accuser,
		    const struct lsc_failed *fault);

/* A link closed in the end. */
void lsc_cast_left(struct lsc_cast *cast);

/* --- cast_options.c --- */

int lsc_cast_options_check(const struct lsc_cast_options *options, struct lsc_err *err);
const char *lsc_cast_node_name(const struct lsc_cast_options *options, uint32_t i);

/* --- watch.c --- */

/* Gives up who is silent, or does not get on; to be called at each tick. */
void lsc_cast_watch(struct lsc_cast *cast);

/* Gives those who wait all their time again, where one was lost that they may have waited for. */
void lsc_cast_forgive(struct lsc_cast *cast);

/* --- control.c --- */

int lsc_control_offer(struct lsc_control *node, struct lsc_err *err);
int lsc_control_plan(struct lsc_control *node, const struct lsc_plan *plan);

/* The last word: false where there is nobody to hear it. */
bool lsc_control_end(struct lsc_control *node, int code, const char *why);

/* Whether it is silent for too long; says so in err. */
bool lsc_control_is_silent(struct lsc_control *node, uint64_t now_ns, struct lsc_err *err);

#endif
