/* safetensors - the header, and whether the tensors tile the data */
#include "model/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "model/utf8.h"
#include "stream/jansson.h"

#define PREFIX 8 /* bytes of the header's length */

/* Types we do not read still have a size, so that a file that holds some (masks, counters) can be
 * listed; only a weight of such a type is an error. */
static const struct {
	const char *name;
	enum lsc_dtype dtype;
	unsigned bytes;
} types[] = {
	{"F32", LSC_DTYPE_F32, 4},       {"F16", LSC_DTYPE_F16, 2},
	{"BF16", LSC_DTYPE_BF16, 2},     {"F64", LSC_DTYPE_COUNT, 8},
	{"I64", LSC_DTYPE_COUNT, 8},     {"I32", LSC_DTYPE_COUNT, 4},
	{"I16", LSC_DTYPE_COUNT, 2},     {"I8", LSC_DTYPE_COUNT, 1},
	{"U64", LSC_DTYPE_COUNT, 8},     {"U32", LSC_DTYPE_COUNT, 4},
	{"U16", LSC_DTYPE_COUNT, 2},     {"U8", LSC_DTYPE_COUNT, 1},
	{"BOOL", LSC_DTYPE_COUNT, 1},    {"F8_E4M3", LSC_DTYPE_COUNT, 1},
	{"F8_E5M2", LSC_DTYPE_COUNT, 1},
};

static int bad(const char *name, const char *what, struct lsc_err *err)
{
	return lsc_err_set(err, EBADMSG, "tensor '%.80s' %s", name, what);
}

static int parse_shape(const char *name, const json_t *shape, unsigned size,
		       struct lsc_tensor_source *tensor, uint64_t *ret_bytes, struct lsc_err *err)
{
	uint64_t bytes = size;

	if (!json_is_array(shape) || json_array_size(shape) > LSC_TENSOR_MAX_DIMS)
		return bad(name, "has no shape of at most 8 dimensions", err);
	tensor->n_dims = (uint32_t)json_array_size(shape);
	for (uint32_t i = 0; i < tensor->n_dims; i++) {
		const json_t *dim = json_array_get(shape, i);

		if (!json_is_integer(dim) || json_integer_value(dim) < 0)
			return bad(name, "has a dimension that is no whole number", err);
		tensor->dims[i] = (uint64_t)json_integer_value(dim);
		if (__builtin_mul_overflow(bytes, tensor->dims[i], &bytes))
			return bad(name, "is larger than any file", err);
	}
	*ret_bytes = bytes;
	return 0;
}

static int parse_offsets(const char *name, const json_t *offsets, uint64_t data_len,
			 uint64_t *ret_begin, uint64_t *ret_end, struct lsc_err *err)
{
	const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);

	if (!json_is_array(offsets) || json_array_size(offsets) != 2 || !json_is_integer(begin) ||
	    !json_is_integer(end))
		return bad(name, "has no pair of data_offsets", err);
	if (json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin) ||
	    (uint64_t)json_integer_value(end) > data_len)
		return bad(name, "has data_offsets outside of the data", err);
	*ret_begin = (uint64_t)json_integer_value(begin);
	*ret_end = (uint64_t)json_integer_value(end);
	return 0;
}

static int parse_tensor(const char *name, const json_t *entry, const uint8_t *data,
			uint64_t data_len, struct lsc_tensor_source *tensor, struct lsc_err *err)
{
	const char *dtype = json_string_value(json_object_get(entry, "dtype"));
	uint64_t begin = 0, end = 0, bytes = 0;
	size_t type = 0;
	int r;

	if (!lsc_utf8_is_plain(name, strlen(name)))
		return bad(name, "has a control character in its name", err);
	if (!dtype)
		return bad(name, "has no dtype", err);
	while (type < LSC_ARRAY_SIZE(types) && strcmp(types[type].name, dtype))
		type++;
	if (type == LSC_ARRAY_SIZE(types))
		return lsc_err_set(err, EBADMSG, "tensor '%.80s' has the unknown dtype '%.20s'",
				   name, dtype);
	if ((r = parse_shape(name, json_object_get(entry, "shape"), types[type].bytes, tensor,
			     &bytes, err)) < 0 ||
	    (r = parse_offsets(name, json_object_get(entry, "data_offsets"), data_len, &begin, &end,
			       err)) < 0)
		return r;
	if (end - begin != bytes)
		return lsc_err_set(err, EBADMSG,
				   "tensor '%.80s' has %llu bytes where its shape says %llu", name,
				   (unsigned long long)(end - begin), (unsigned long long)bytes);
	tensor->dtype = types[type].dtype;
	tensor->data = data + begin;
	tensor->bytes = bytes;
	tensor->name = strdup(name);
	return tensor->name ? 0 : lsc_err_set(err, ENOMEM, "cannot hold the tensors: %m");
}

static int by_place(const void *a, const void *b)
{
	const struct lsc_tensor_source *x = a, *y = b;

	if (x->data != y->data)
		return x->data < y->data ? -1 : 1;
	return (x->bytes > y->bytes) - (x->bytes < y->bytes); /* empty ones first */
}

static int check_tiling(struct lsc_tensor_source *tensors, size_t n, const uint8_t *data,
			const uint8_t *end, struct lsc_err *err)
{
	qsort(tensors, n, sizeof(*tensors), by_place);
	for (size_t i = 0; i < n; i++) {
		if (tensors[i].data != data)
			return bad(tensors[i].name, "overlaps another, or leaves a gap before it",
				   err);
		data += tensors[i].bytes;
	}
	if (data != end)
		return lsc_err_set(err, EBADMSG, "%zu bytes at its end belong to no tensor",
				   (size_t)(end - data));
	return 0;
}

static int parse_header(const json_t *header, const uint8_t *data, size_t len,
			struct lsc_tensor_source **tensors, size_t *n, struct lsc_err *err)
{
	size_t first = *n, room = json_object_size(header);
	struct lsc_tensor_source *grown;
	const char *name;
	json_t *entry;

	grown = reallocarray(*tensors, *n + room + 1, sizeof(*grown));
	if (!grown)
		return lsc_err_set(err, ENOMEM, "cannot hold %zu tensors: %m", room);
	*tensors = grown;
	json_object_foreach((json_t *)header, name, entry)
	{
		int r;

		if (!strcmp(name, "__metadata__"))
			continue;
		grown[*n] = (struct lsc_tensor_source){0};
		r = parse_tensor(name, entry, data, len, &grown[*n], err);
		if (r < 0)
			return r;
		++*n;
	}
	return check_tiling(grown + first, *n - first, data, data + len, err);
}

int lsc_safetensors_parse(const uint8_t *data, size_t len, struct lsc_tensor_source **tensors,
			  size_t *n, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_json_put) json_t *header = NULL;
	json_error_t error;
	uint64_t length = 0;

	if (len < PREFIX)
		return lsc_err_set(err, EBADMSG, "%zu bytes are too few for a safetensors file",
				   len);
	for (int i = PREFIX; i-- > 0;)
		length = length << 8 | data[i];
	if (length > LSC_SAFETENSORS_MAX_HEADER || length > len - PREFIX)
		return lsc_err_set(err, EBADMSG,
				   "a header of %llu bytes is over the limit or past the end",
				   (unsigned long long)length);
	if (length == 0 || data[PREFIX] != '{')
		return lsc_err_set(err, EBADMSG, "the header is no JSON object");
	header = json_loadb((const char *)data + PREFIX, length, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(header))
		return lsc_err_set(err, EBADMSG, "the header is no sound JSON object: %s at %d",
				   header ? "another type" : error.text, error.position);
	return parse_header(header, data + PREFIX + length, len - PREFIX - length, tensors, n, err);
}
