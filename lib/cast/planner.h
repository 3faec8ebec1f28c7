/* A planner: who sends what to whom, as nodes come and go, for the coordinator of a cast.
 *
 * It follows a ring (plan/ring.h), which adapts to what nodes can take, or a fixed schedule
 * (plan/schedule.h), whose ranks are given anew when a node is lost.
 */
#ifndef LSC_CAST_PLANNER_H
#define LSC_CAST_PLANNER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cast/message.h"
#include "plan/schedule.h"

struct lsc_planner;

struct lsc_planner_options {
	bool scheduled; /* by order; else it is a ring */
	enum lsc_order order;
	bool rotate; /* a ring's sources begin at different places, at blocks where that is near */
	uint32_t max_nodes; /* node numbers are below */
	uint32_t n_pieces;
	uint64_t bytes;                 /* of the image */
	const struct lsc_block *blocks; /* of the image, borrowed; may be NULL */
	uint32_t n_blocks;
	double rate; /* for the plans, as are the next three */
	uint64_t timeout_ns, report_ns;
	bool rdma;
};

int lsc_planner_new(struct lsc_planner **ret_planner, const struct lsc_planner_options *options,
		    struct lsc_err *err);
void lsc_planner_free(struct lsc_planner *planner);

/* A node takes part; name is its address, borrowed, and bytes is what it has of the image.  Its
 * plan comes with the next step. */
void lsc_planner_join(struct lsc_planner *planner, uint32_t node, bool source, const char *name,
		      uint64_t bytes, uint64_t now_ns);
/* A node that takes part opens links over RDMA, and takes them: between two such nodes plans name
 * rdma:// addresses. */
void lsc_planner_rdma(struct lsc_planner *planner, uint32_t node);
void lsc_planner_leave(struct lsc_planner *planner, uint32_t node, uint64_t now_ns);

/* What a node says. */
void lsc_planner_progress(struct lsc_planner *planner, uint32_t node,
			  const struct lsc_node_progress *progress, uint64_t now_ns);

/* Thinks it over: whether some plans are new.  why: for people, "" where there is nothing to say.
 */
bool lsc_planner_step(struct lsc_planner *planner, uint64_t now_ns, const char **ret_why);

/* A node's plan, where it is another than this last gave: 1, 0, or -ENOMEM.  It is released by the
 * caller. */
int lsc_planner_plan(struct lsc_planner *planner, uint32_t node, struct lsc_plan *ret_plan);

#endif
