/* gguf - the header, the metadata and the tensor table of a GGUF file */
#include "model/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "model/utf8.h"

#define MAGIC             "GGUF"
#define DEFAULT_ALIGNMENT 32
#define MAX_ALIGNMENT     (1u << 20)
#define MAX_DIMS          4
#define MIN_KV            13 /* bytes a key-value pair takes at least: length, type, 1 byte */
#define MIN_TENSOR        32 /* likewise: length, dims, one dimension, type, offset */

/* ggml's tensor types by number: the block, and whether we can read it.  The others are sized so
 * that a file that holds some can be listed. */
static const struct {
	uint16_t elements, bytes;
	enum lsc_dtype dtype;
} types[] = {
	[0] = {1, 4, LSC_DTYPE_F32},       [1] = {1, 2, LSC_DTYPE_F16},
	[2] = {32, 18, LSC_DTYPE_Q4_0},    [3] = {32, 20, LSC_DTYPE_Q4_1},
	[6] = {32, 22, LSC_DTYPE_COUNT},   [7] = {32, 24, LSC_DTYPE_COUNT},
	[8] = {32, 34, LSC_DTYPE_Q8_0},    [9] = {32, 36, LSC_DTYPE_COUNT},
	[10] = {256, 84, LSC_DTYPE_COUNT}, [11] = {256, 110, LSC_DTYPE_COUNT},
	[12] = {256, 144, LSC_DTYPE_Q4_K}, [13] = {256, 176, LSC_DTYPE_COUNT},
	[14] = {256, 210, LSC_DTYPE_Q6_K}, [15] = {256, 292, LSC_DTYPE_COUNT},
	[24] = {1, 1, LSC_DTYPE_COUNT},    [25] = {1, 2, LSC_DTYPE_COUNT},
	[26] = {1, 4, LSC_DTYPE_COUNT},    [27] = {1, 8, LSC_DTYPE_COUNT},
	[28] = {1, 8, LSC_DTYPE_COUNT},    [30] = {1, 2, LSC_DTYPE_BF16},
};

/* Bytes of one value; 0 for strings and arrays. */
static const uint8_t value_bytes[LSC_GGUF_TYPE_COUNT] = {
	[LSC_GGUF_U8] = 1,  [LSC_GGUF_I8] = 1,  [LSC_GGUF_U16] = 2, [LSC_GGUF_I16] = 2,
	[LSC_GGUF_U32] = 4, [LSC_GGUF_I32] = 4, [LSC_GGUF_F32] = 4, [LSC_GGUF_BOOL] = 1,
	[LSC_GGUF_U64] = 8, [LSC_GGUF_I64] = 8, [LSC_GGUF_F64] = 8,
};

struct cursor {
	const uint8_t *data;
	size_t len, at;
};

static size_t left(const struct cursor *cursor)
{
	return cursor->len - cursor->at;
}

static uint64_t load(const uint8_t *at, unsigned n)
{
	uint64_t value = 0;

	while (n-- > 0)
		value = value << 8 | at[n];
	return value;
}

static int short_of(const char *what, struct lsc_err *err)
{
	return lsc_err_set(err, EBADMSG, "it ends inside %s", what);
}

static int take_uint(struct cursor *cursor, unsigned n, uint64_t *ret_value, const char *what,
		     struct lsc_err *err)
{
	if (left(cursor) < n)
		return short_of(what, err);
	*ret_value = load(cursor->data + cursor->at, n);
	cursor->at += n;
	return 0;
}

static int take_str(struct cursor *cursor, const char **ret_str, uint64_t *ret_len,
		    const char *what, struct lsc_err *err)
{
	int r = take_uint(cursor, 8, ret_len, what, err);

	if (r < 0)
		return r;
	if (*ret_len > left(cursor))
		return lsc_err_set(err, EBADMSG, "%s of %llu bytes goes past the end", what,
				   (unsigned long long)*ret_len);
	*ret_str = (const char *)cursor->data + cursor->at;
	cursor->at += *ret_len;
	return 0;
}

/* --- metadata --- */

static int take_type(struct cursor *cursor, enum lsc_gguf_type *ret_type, struct lsc_err *err)
{
	uint64_t type = 0;
	int r = take_uint(cursor, 4, &type, "a value's type", err);

	if (r < 0)
		return r;
	if (type >= LSC_GGUF_TYPE_COUNT)
		return lsc_err_set(err, EBADMSG, "value type %llu is not known",
				   (unsigned long long)type);
	*ret_type = type;
	return 0;
}

static int take_values(struct cursor *cursor, enum lsc_gguf_type type, uint64_t n,
		       struct lsc_err *err)
{
	if (type == LSC_GGUF_ARRAY)
		return lsc_err_set(err, EOPNOTSUPP, "arrays of arrays are not supported");
	if (type != LSC_GGUF_STRING) {
		if (n > left(cursor) / value_bytes[type])
			return lsc_err_set(err, EBADMSG, "%llu values go past the end",
					   (unsigned long long)n);
		cursor->at += n * value_bytes[type];
		return 0;
	}
	for (uint64_t i = 0; i < n; i++) {
		const char *str;
		uint64_t len;
		int r = take_str(cursor, &str, &len, "a string", err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int take_value(struct cursor *cursor, struct lsc_gguf_kv *kv, struct lsc_err *err)
{
	enum lsc_gguf_type type = kv->type;
	int r;

	kv->n = 1;
	if (type == LSC_GGUF_ARRAY) {
		if ((r = take_type(cursor, &kv->item_type, err)) < 0 ||
		    (r = take_uint(cursor, 8, &kv->n, "an array's length", err)) < 0)
			return r;
		type = kv->item_type;
	}
	kv->data = cursor->data + cursor->at;
	r = take_values(cursor, type, kv->n, err);
	if (r < 0)
		return r;
	kv->bytes = (size_t)(cursor->data + cursor->at - kv->data);
	if (kv->type == LSC_GGUF_STRING) { /* the text itself, without its length */
		kv->data += 8;
		kv->bytes -= 8;
		kv->n = kv->bytes;
	}
	return 0;
}

static int take_kv(struct cursor *cursor, struct lsc_gguf_kv *kv, struct lsc_err *err)
{
	uint64_t len = 0;
	int r;

	if ((r = take_str(cursor, &kv->key, &len, "a key", err)) < 0)
		return r;
	if (len == 0 || len > 65535)
		return lsc_err_set(err, EBADMSG, "a key of %llu bytes", (unsigned long long)len);
	kv->key_len = (uint32_t)len;
	if ((r = take_type(cursor, &kv->type, err)) < 0 || (r = take_value(cursor, kv, err)) < 0)
		return lsc_err_prefix(err, "key '%.*s': ", (int)LSC_MIN(len, 80), kv->key);
	return 0;
}

/* --- tensors --- */

static int take_dims(struct cursor *cursor, struct lsc_tensor_source *tensor,
		     uint64_t *ret_elements, struct lsc_err *err)
{
	uint64_t n = 0, elements = 1;
	int r = take_uint(cursor, 4, &n, "a tensor's dimensions", err);

	if (r < 0)
		return r;
	if (n > MAX_DIMS)
		return lsc_err_set(err, EBADMSG, "it has %llu dimensions", (unsigned long long)n);
	tensor->n_dims = (uint32_t)n;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t *dim = &tensor->dims[n - 1 - i]; /* the file has the innermost first */

		r = take_uint(cursor, 8, dim, "a tensor's dimensions", err);
		if (r < 0)
			return r;
		if (__builtin_mul_overflow(elements, *dim, &elements))
			return lsc_err_set(err, EBADMSG, "it is larger than any file");
	}
	*ret_elements = elements;
	return 0;
}

/* The offset is kept in bytes until the data's start is known. */
static int take_tensor(struct cursor *cursor, struct lsc_tensor_source *tensor,
		       uint64_t *ret_offset, struct lsc_err *err)
{
	uint64_t elements = 0, type = 0, row;
	int r;

	if ((r = take_dims(cursor, tensor, &elements, err)) < 0 ||
	    (r = take_uint(cursor, 4, &type, "a tensor's type", err)) < 0 ||
	    (r = take_uint(cursor, 8, ret_offset, "a tensor's offset", err)) < 0)
		return r;
	if (type >= LSC_ARRAY_SIZE(types) || types[type].elements == 0)
		return lsc_err_set(err, EBADMSG, "its type %llu is not known",
				   (unsigned long long)type);
	row = tensor->n_dims ? tensor->dims[tensor->n_dims - 1] : 1;
	if (row % types[type].elements != 0)
		return lsc_err_set(err, EBADMSG, "its rows of %llu are no whole blocks of %u",
				   (unsigned long long)row, types[type].elements);
	tensor->dtype = types[type].dtype;
	if (__builtin_mul_overflow(elements / types[type].elements, types[type].bytes,
				   &tensor->bytes))
		return lsc_err_set(err, EBADMSG, "it is larger than any file");
	return 0;
}

static int name_tensor(struct cursor *cursor, struct lsc_tensor_source *tensor, struct lsc_err *err)
{
	const char *name;
	uint64_t len = 0;
	int r = take_str(cursor, &name, &len, "a tensor's name", err);

	if (r < 0)
		return r;
	if (len == 0 || len > 1024 || !lsc_utf8_is_plain(name, len))
		return lsc_err_set(err, EBADMSG,
				   "a tensor's name of %llu bytes, or with a control character",
				   (unsigned long long)len);
	tensor->name = strndup(name, len);
	return tensor->name ? 0 : lsc_err_set(err, ENOMEM, "cannot hold the tensors: %m");
}

/* Where the data begins and how tensors are aligned in it. */
static int find_data(const struct lsc_gguf *gguf, struct cursor *cursor, uint64_t *ret_align,
		     struct lsc_err *err)
{
	int r = lsc_gguf_uint(gguf, "general.alignment", MAX_ALIGNMENT, ret_align, err);

	if (r == -ENOENT)
		*ret_align = DEFAULT_ALIGNMENT;
	else if (r < 0)
		return r;
	if (*ret_align < 8 || (*ret_align & (*ret_align - 1)))
		return lsc_err_set(err, EBADMSG, "general.alignment is %llu: want a power of two",
				   (unsigned long long)*ret_align);
	cursor->at = LSC_MIN(lsc_align_up(cursor->at, *ret_align), cursor->len);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct lsc_tensor_source *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int place_tensors(struct lsc_gguf *gguf, struct cursor *cursor, const uint64_t *offsets,
			 struct lsc_err *err)
{
	uint64_t align = DEFAULT_ALIGNMENT;
	int r = find_data(gguf, cursor, &align, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < gguf->n_tensors; i++) {
		struct lsc_tensor_source *tensor = &gguf->tensors[i];

		if (offsets[i] % align != 0)
			return lsc_err_set(err, EBADMSG, "tensor '%s': offset %llu is not aligned",
					   tensor->name, (unsigned long long)offsets[i]);
		if (offsets[i] > left(cursor) || tensor->bytes > left(cursor) - offsets[i])
			return lsc_err_set(err, EBADMSG, "tensor '%s' goes past the end",
					   tensor->name);
		tensor->data = cursor->data + cursor->at + offsets[i];
	}
	qsort(gguf->tensors, gguf->n_tensors, sizeof(*gguf->tensors), by_name);
	for (size_t i = 1; i < gguf->n_tensors; i++)
		if (!strcmp(gguf->tensors[i - 1].name, gguf->tensors[i].name))
			return lsc_err_set(err, EBADMSG, "tensor '%s' is there twice",
					   gguf->tensors[i].name);
	return 0;
}

static int parse_tensors(struct lsc_gguf *gguf, struct cursor *cursor, uint64_t n,
			 struct lsc_err *err)
{
	uint64_t *offsets = calloc(n + 1, sizeof(*offsets));
	int r = 0;

	gguf->tensors = calloc(n + 1, sizeof(*gguf->tensors));
	if (!offsets || !gguf->tensors)
		r = lsc_err_set(err, ENOMEM, "cannot hold %llu tensors: %m", (unsigned long long)n);
	while (r == 0 && gguf->n_tensors < n) {
		struct lsc_tensor_source *tensor = &gguf->tensors[gguf->n_tensors];

		r = name_tensor(cursor, tensor, err);
		if (r < 0)
			break;
		r = take_tensor(cursor, tensor, &offsets[gguf->n_tensors++], err);
		if (r < 0)
			lsc_err_prefix(err, "tensor '%s': ", tensor->name);
	}
	if (r == 0)
		r = place_tensors(gguf, cursor, offsets, err);
	free(offsets);
	return r;
}

/* --- the whole --- */

static int parse_header(struct cursor *cursor, uint64_t *ret_tensors, uint64_t *ret_kvs,
			struct lsc_err *err)
{
	uint64_t version = 0;
	int r;

	if (cursor->len < 4 || memcmp(cursor->data, MAGIC, 4))
		return lsc_err_set(err, EBADMSG, "it is no GGUF file");
	cursor->at = 4;
	if ((r = take_uint(cursor, 4, &version, "the header", err)) < 0)
		return r;
	if (version != 2 && version != 3)
		return lsc_err_set(err, EBADMSG, "GGUF version %llu is not 2 or 3%s",
				   (unsigned long long)version,
				   version == 2u << 24 || version == 3u << 24
					   ? " (the file is big-endian)"
					   : "");
	if ((r = take_uint(cursor, 8, ret_tensors, "the header", err)) < 0 ||
	    (r = take_uint(cursor, 8, ret_kvs, "the header", err)) < 0)
		return r;
	if (*ret_kvs > left(cursor) / MIN_KV || *ret_tensors > left(cursor) / MIN_TENSOR)
		return lsc_err_set(err, EBADMSG,
				   "%llu keys and %llu tensors are more than the file can hold",
				   (unsigned long long)*ret_kvs, (unsigned long long)*ret_tensors);
	return 0;
}

int lsc_gguf_parse(struct lsc_gguf *gguf, const uint8_t *data, size_t len, struct lsc_err *err)
{
	struct cursor cursor = {data, len, 0};
	uint64_t n_tensors = 0, n_kvs = 0;
	int r = parse_header(&cursor, &n_tensors, &n_kvs, err);

	*gguf = (struct lsc_gguf)LSC_GGUF_INIT;
	if (r < 0)
		return r;
	gguf->kvs = calloc(n_kvs + 1, sizeof(*gguf->kvs));
	if (!gguf->kvs)
		return lsc_err_set(err, ENOMEM, "cannot hold %llu keys: %m",
				   (unsigned long long)n_kvs);
	for (; r == 0 && gguf->n_kvs < n_kvs; gguf->n_kvs++)
		r = take_kv(&cursor, &gguf->kvs[gguf->n_kvs], err);
	if (r == 0)
		r = parse_tensors(gguf, &cursor, n_tensors, err);
	if (r < 0)
		lsc_gguf_release(gguf);
	return r;
}

void lsc_gguf_release(struct lsc_gguf *gguf)
{
	for (size_t i = 0; i < gguf->n_tensors; i++)
		free((char *)gguf->tensors[i].name);
	free(gguf->tensors);
	free(gguf->kvs);
	*gguf = (struct lsc_gguf)LSC_GGUF_INIT;
}

/* --- access --- */

const struct lsc_gguf_kv *lsc_gguf_find(const struct lsc_gguf *gguf, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < gguf->n_kvs; i++)
		if (gguf->kvs[i].key_len == len && !memcmp(gguf->kvs[i].key, key, len))
			return &gguf->kvs[i];
	return NULL;
}

static int64_t to_int(enum lsc_gguf_type type, const uint8_t *at)
{
	unsigned n = value_bytes[type];
	uint64_t value = load(at, n);
	bool is_signed = type == LSC_GGUF_I8 || type == LSC_GGUF_I16 || type == LSC_GGUF_I32 ||
			 type == LSC_GGUF_I64;

	if (is_signed && n < 8 && value >> (8 * n - 1))
		value |= ~0ull << 8 * n;
	return (int64_t)value;
}

static double to_real(enum lsc_gguf_type type, const uint8_t *at)
{
	float single;
	double real;

	if (type == LSC_GGUF_F32) {
		memcpy(&single, at, sizeof(single));
		return (double)single;
	}
	if (type == LSC_GGUF_F64) {
		memcpy(&real, at, sizeof(real));
		return real;
	}
	if (type == LSC_GGUF_U64)
		return (double)load(at, 8);
	return (double)to_int(type, at);
}

static bool is_real(enum lsc_gguf_type type)
{
	return type == LSC_GGUF_F32 || type == LSC_GGUF_F64;
}

static bool is_scalar(enum lsc_gguf_type type)
{
	return type < LSC_GGUF_TYPE_COUNT && value_bytes[type] != 0;
}

int lsc_gguf_uint(const struct lsc_gguf *gguf, const char *key, uint64_t max, uint64_t *ret_value,
		  struct lsc_err *err)
{
	const struct lsc_gguf_kv *kv = lsc_gguf_find(gguf, key);
	int64_t value;

	if (!kv)
		return lsc_err_set(err, ENOENT, "key '%s' is missing", key);
	if (!is_scalar(kv->type) || is_real(kv->type) || kv->type == LSC_GGUF_BOOL)
		return lsc_err_set(err, EBADMSG, "key '%s' is no whole number", key);
	value = to_int(kv->type, kv->data);
	if ((value < 0 && kv->type != LSC_GGUF_U64) || (uint64_t)value > max)
		return lsc_err_set(err, EBADMSG, "key '%s' is %lld: want 0 to %llu", key,
				   (long long)value, (unsigned long long)max);
	*ret_value = (uint64_t)value;
	return 0;
}

int lsc_gguf_real(const struct lsc_gguf *gguf, const char *key, double *ret_value,
		  struct lsc_err *err)
{
	const struct lsc_gguf_kv *kv = lsc_gguf_find(gguf, key);

	if (!kv)
		return lsc_err_set(err, ENOENT, "key '%s' is missing", key);
	if (!is_scalar(kv->type) || kv->type == LSC_GGUF_BOOL)
		return lsc_err_set(err, EBADMSG, "key '%s' is no number", key);
	*ret_value = to_real(kv->type, kv->data);
	return 0;
}

int lsc_gguf_bool(const struct lsc_gguf *gguf, const char *key, bool *ret_value,
		  struct lsc_err *err)
{
	const struct lsc_gguf_kv *kv = lsc_gguf_find(gguf, key);

	if (!kv)
		return lsc_err_set(err, ENOENT, "key '%s' is missing", key);
	if (kv->type != LSC_GGUF_BOOL)
		return lsc_err_set(err, EBADMSG, "key '%s' is not true or false", key);
	*ret_value = kv->data[0] != 0;
	return 0;
}

int lsc_gguf_str(const struct lsc_gguf *gguf, const char *key, const char **ret_str,
		 size_t *ret_len, struct lsc_err *err)
{
	const struct lsc_gguf_kv *kv = lsc_gguf_find(gguf, key);

	if (!kv)
		return lsc_err_set(err, ENOENT, "key '%s' is missing", key);
	if (kv->type != LSC_GGUF_STRING)
		return lsc_err_set(err, EBADMSG, "key '%s' is no string", key);
	*ret_str = (const char *)kv->data;
	*ret_len = kv->bytes;
	return 0;
}

int lsc_gguf_next_str(const struct lsc_gguf_kv *kv, size_t *pos, const char **ret_str,
		      size_t *ret_len)
{
	if (kv->type != LSC_GGUF_ARRAY || kv->item_type != LSC_GGUF_STRING || *pos >= kv->bytes)
		return 0;
	*ret_len = load(kv->data + *pos, 8);
	*ret_str = (const char *)kv->data + *pos + 8;
	*pos += 8 + *ret_len;
	return 1;
}

double lsc_gguf_item_real(const struct lsc_gguf_kv *kv, uint64_t i)
{
	return to_real(kv->item_type, kv->data + i * value_bytes[kv->item_type]);
}

int64_t lsc_gguf_item_int(const struct lsc_gguf_kv *kv, uint64_t i)
{
	return to_int(kv->item_type, kv->data + i * value_bytes[kv->item_type]);
}
