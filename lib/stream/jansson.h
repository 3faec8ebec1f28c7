/* Values of jansson as locals that end with their scope: LSC_CLEANUP(lsc_json_put) json_t *root. */
#ifndef LSC_STREAM_JANSSON_H
#define LSC_STREAM_JANSSON_H

#include <jansson.h>

#include "base/cleanup.h"

static inline void lsc_json_put(json_t **json)
{
	json_decref(*json);
}

#endif
