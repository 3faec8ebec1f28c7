/* What a cast cost its nodes, as a table for people. */
#ifndef LSC_SEND_COSTS_H
#define LSC_SEND_COSTS_H

#include <stdio.h>

#include "cast/cast.h"

/* After the cast's end: a line for each node that said what it cost. */
void lsc_costs_print(const struct lsc_cast *cast, FILE *file);

#endif
