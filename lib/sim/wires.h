/* Wires: transfers between nodes that share their links, and when each is over.
 *
 * A node sends at its up rate and receives at its down rate, and what is between nodes has room for
 * all of them (a switch that does not block).  Transfers under way at once share max-min fairly, as
 * long TCP flows of the same round trip do: none can have more without one that has no more than it
 * having less (Bertsekas and Gallager, Data Networks, 1992, 6.5.2: progressive filling).  Rates are
 * worked out again for those that a change concerns, where there is one: a transfer that follows
 * another between the same nodes at once takes its place.
 *
 * Times are seconds and do not decrease from call to call; sizes are bytes.
 */
#ifndef LSC_SIM_WIRES_H
#define LSC_SIM_WIRES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct lsc_wires;

/* What is due within this of each other is due at once: less than a piece takes anywhere. */
#define LSC_WIRES_TICK 1e-9

int lsc_wires_new(struct lsc_wires **ret_wires, uint32_t nodes, struct lsc_err *err);
void lsc_wires_free(struct lsc_wires *wires);

/* A node's rates, before its first transfer. */
void lsc_wires_set_node(struct lsc_wires *wires, uint32_t node, double up, double down);

/* A path from one node to another, for one transfer at a time. */
int lsc_wires_add(struct lsc_wires *wires, uint32_t from, uint32_t to, uint32_t *ret_path,
		  struct lsc_err *err);

/* A transfer over a path that has none. */
void lsc_wires_start(struct lsc_wires *wires, uint32_t path, double bytes, double now);

/* When the next transfer is over, once everything is started that starts now; LSC_NEVER. */
double lsc_wires_next(struct lsc_wires *wires, double now);

/* A path whose transfer is over by now; false when there is no more. */
bool lsc_wires_take(struct lsc_wires *wires, double now, uint32_t *ret_path);

/* Bytes of a path's transfer that are over. */
double lsc_wires_done(const struct lsc_wires *wires, uint32_t path, double now);

#endif
