/* within - values in the maps that a record holds */
#include "gate/within.h"

#include <math.h>
#include <string.h>

const msgpack_object *lsc_within(const msgpack_object *map, const char *key)
{
	size_t len = strlen(key);

	for (uint32_t i = 0; map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
		const msgpack_object_kv *pair = &map->via.map.ptr[i];

		if (pair->key.type == MSGPACK_OBJECT_STR && pair->key.via.str.size == len &&
		    !memcmp(pair->key.via.str.ptr, key, len))
			return &pair->val;
	}
	return NULL;
}

bool lsc_within_uint(const msgpack_object *map, const char *key, uint64_t *ret)
{
	const msgpack_object *value = lsc_within(map, key);

	if (!value || value->type != MSGPACK_OBJECT_POSITIVE_INTEGER || value->via.u64 > INT64_MAX)
		return false;
	*ret = value->via.u64;
	return true;
}

bool lsc_within_bool(const msgpack_object *map, const char *key, bool *ret)
{
	const msgpack_object *value = lsc_within(map, key);

	if (!value || value->type != MSGPACK_OBJECT_BOOLEAN)
		return false;
	*ret = value->via.boolean;
	return true;
}

bool lsc_within_real(const msgpack_object *map, const char *key, double *ret)
{
	const msgpack_object *value = lsc_within(map, key);

	if (value && value->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
		*ret = (double)value->via.u64;
	else if (value && value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
		*ret = (double)value->via.i64;
	else if (value &&
		 (value->type == MSGPACK_OBJECT_FLOAT64 || value->type == MSGPACK_OBJECT_FLOAT32))
		*ret = value->via.f64;
	else
		return false;
	return isfinite(*ret);
}
