/* hf_value - keys of config.json, with what is taken where they are absent */
#include "model/hf_value.h"

const json_t *lsc_hf_get(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_null(value) ? NULL : value;
}

bool lsc_hf_is_absent(const json_t *object, const char *key)
{
	return !json_object_get(object, key);
}

int lsc_hf_uint(const json_t *object, const char *key, const uint32_t *absent, uint32_t *ret_value,
		struct lsc_err *err)
{
	const json_t *value = lsc_hf_get(object, key);

	if (!value && absent) {
		*ret_value = *absent;
		return 0;
	}
	if (!value)
		return lsc_err_set(err, EBADMSG, "key '%s' is missing", key);
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > UINT32_MAX)
		return lsc_err_set(err, EBADMSG, "key '%s' is no whole number in range", key);
	*ret_value = (uint32_t)json_integer_value(value);
	return 0;
}

int lsc_hf_real(const json_t *object, const char *key, float absent, float *ret_value,
		struct lsc_err *err)
{
	const json_t *value = lsc_hf_get(object, key);

	*ret_value = absent;
	if (!value)
		return 0;
	if (!json_is_number(value))
		return lsc_err_set(err, EBADMSG, "key '%s' is no number", key);
	*ret_value = (float)json_number_value(value);
	return 0;
}

int lsc_hf_bool(const json_t *object, const char *key, bool absent, bool *ret_value,
		struct lsc_err *err)
{
	const json_t *value = lsc_hf_get(object, key);

	if (value && !json_is_boolean(value))
		return lsc_err_set(err, EBADMSG, "key '%s' is not true or false", key);
	*ret_value = value ? json_is_true(value) : absent;
	return 0;
}

int lsc_hf_refuse(const char *feature, struct lsc_err *err)
{
	return lsc_err_set(err, EOPNOTSUPP, "%s is not supported", feature);
}
