/* What is within a record: values of maps in its arrays; and steps, of which the first that fails
 * ends a function. */
#ifndef LSC_GATE_WITHIN_H
#define LSC_GATE_WITHIN_H

#include <stdbool.h>
#include <stdint.h>

#include <msgpack.h>

#define LSC_TRY(step)                                                                              \
	do {                                                                                       \
		int lsc_try_r = (step);                                                            \
		if (lsc_try_r < 0)                                                                 \
			return lsc_try_r;                                                          \
	} while (0)

/* The value of a key in a map; NULL where there is none, or it is no map. */
const msgpack_object *lsc_within(const msgpack_object *map, const char *key);

/* The same of a type; false where it has not got it. */
bool lsc_within_uint(const msgpack_object *map, const char *key, uint64_t *ret);
bool lsc_within_bool(const msgpack_object *map, const char *key, bool *ret);
bool lsc_within_real(const msgpack_object *map, const char *key, double *ret); /* finite */

#endif
