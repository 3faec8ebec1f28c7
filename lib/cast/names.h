/* Names of nodes as people write many at once: "a:7000,b:7000", "node[01-16,20]:7000".
 *
 * Numbers keep the zeros they are written with.  Brackets that hold anything but numbers, ranges
 * and commas ("[::1]:7000") are part of a name.
 */
#ifndef LSC_CAST_NAMES_H
#define LSC_CAST_NAMES_H

#include <stdint.h>

#include "base/err.h"

#define LSC_NAMES_MAX 65536

struct lsc_names {
	char **names;
	uint32_t n, cap;
};

/* Adds what a list spells out; -EINVAL for one that is empty, broken, or over the limit. */
int lsc_names_add(struct lsc_names *names, const char *list, struct lsc_err *err);
void lsc_names_release(struct lsc_names *names);

#endif
