/* What the parts of a fleet share. */
#ifndef LSC_ROUTE_FLEET_OWN_H
#define LSC_ROUTE_FLEET_OWN_H

#include "base/err.h"
#include "route/fleet.h"

/* Gives a node what connects it and asks whether it is there; and begins with that. */
int lsc_fleet_watch(struct lsc_fleet_node *node, struct lsc_err *err);
void lsc_fleet_connect(struct lsc_fleet_node *node);

#endif
