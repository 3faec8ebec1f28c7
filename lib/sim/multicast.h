/* A cast that is simulated: the plans of cast/planner.h, or those of others, over wires.
 *
 * Nodes do what lsc-cast's do (cast/outlet.c): they pass a piece on once all of it is there, choose
 * the next one by the same rules, tell who sends to them what came from elsewhere, and report; the
 * coordinator thinks plans over by what it is told.  Messages take the cluster's latency.  Disks,
 * processors and hashing cost nothing, and nothing fails.
 */
#ifndef LSC_SIM_MULTICAST_H
#define LSC_SIM_MULTICAST_H

#include <stdint.h>

#include "base/err.h"
#include "sim/cargo.h"
#include "sim/site.h"
#include "sim/system.h"

struct lsc_multicast_options {
	const struct lsc_site *site;   /* its first nodes take part: sources, then receivers */
	const struct lsc_cargo *cargo; /* as lsc-cast has it */
	uint32_t sources, receivers;
};

/* Times are seconds from the command. */
struct lsc_multicast_result {
	double *done;    /* [receivers]: when each has everything */
	double covered;  /* when there is a whole copy of each block among the receivers */
	double all;      /* when all have everything */
	uint64_t pieces; /* that were sent */
	uint32_t plans;  /* that were made, the first ones among them */
};

void lsc_multicast_release(struct lsc_multicast_result *result);

int lsc_multicast_run(const struct lsc_system *system, const struct lsc_multicast_options *options,
		      struct lsc_multicast_result *ret_result, struct lsc_err *err);

#endif
