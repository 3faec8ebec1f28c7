/* parse - numbers with units */
#include "base/parse.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

struct unit {
	const char *name;
	double factor;
};

int lsc_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value,
		   struct lsc_err *err)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end)
		return lsc_err_set(err, EINVAL, "'%s' is not a whole number", text);
	if (errno || value < min || value > max)
		return lsc_err_set(err, EINVAL, "'%s' is not from %llu to %llu", text,
				   (unsigned long long)min, (unsigned long long)max);
	*ret_value = value;
	return 0;
}

int lsc_parse_real(const char *text, double min, double max, double *ret_value, struct lsc_err *err)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !isfinite(value))
		return lsc_err_set(err, EINVAL, "'%s' is not a number", text);
	if (value < min || value > max)
		return lsc_err_set(err, EINVAL, "'%s' is not from %g to %g", text, min, max);
	*ret_value = value;
	return 0;
}

/* A non-negative number, then one of the units (the first row serves the bare number). */
static int parse_unit(const char *text, const char *what, const struct unit *units, size_t n,
		      double *ret_value, struct lsc_err *err)
{
	char *end;
	double value;

	/* strtod also takes hexadecimal, "inf" and "nan": none is meant here */
	if ((!isdigit((unsigned char)text[0]) && text[0] != '.') || tolower(text[1]) == 'x')
		return lsc_err_set(err, EINVAL, "'%s' is not a %s", text, what);
	value = strtod(text, &end);
	for (size_t i = 0; end != text && i < n; i++) {
		if (strcasecmp(end, units[i].name))
			continue;
		value *= units[i].factor;
		if (!isfinite(value) || value >= 9e18)
			break;
		*ret_value = value;
		return 0;
	}
	return lsc_err_set(err, EINVAL, "'%s' is not a %s", text, what);
}

int lsc_parse_size(const char *text, uint64_t *ret_bytes, struct lsc_err *err)
{
	static const struct unit units[] = {
		{"", 1}, {"k", 1024}, {"m", 1048576}, {"g", 1073741824.0}, {"t", 1099511627776.0},
	};
	double value;
	int r = parse_unit(text, "size (like 64M)", units, LSC_ARRAY_SIZE(units), &value, err);

	if (r < 0)
		return r;
	*ret_bytes = (uint64_t)value;
	return 0;
}

int lsc_parse_rate(const char *text, double *ret_bytes_per_s, struct lsc_err *err)
{
	static const struct unit units[] = {
		{"", 1},           {"k", 1024},         {"k/s", 1024},         {"m", 1048576},
		{"m/s", 1048576},  {"g", 1073741824.0}, {"g/s", 1073741824.0}, {"kbit", 1e3 / 8},
		{"mbit", 1e6 / 8}, {"gbit", 1e9 / 8},
	};
	double value;
	int r = parse_unit(text, "rate (like 25M/s or 200mbit)", units, LSC_ARRAY_SIZE(units),
			   &value, err);

	if (r < 0)
		return r;
	if (value < 1)
		return lsc_err_set(err, EINVAL, "rate '%s' is less than a byte a second", text);
	*ret_bytes_per_s = value;
	return 0;
}

int lsc_parse_duration(const char *text, double *ret_seconds, struct lsc_err *err)
{
	static const struct unit units[] = {
		{"", 1}, {"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"min", 60}, {"h", 3600},
	};

	return parse_unit(text, "duration (like 250ms)", units, LSC_ARRAY_SIZE(units), ret_seconds,
			  err);
}
