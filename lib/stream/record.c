/* record - parses records, within limits
 *
 * msgpack-c allocates room for as many elements as an array's head announces, before it has seen
 * one of them.  So each object is first walked over in place (skim), which finds where it ends
 * and holds it to our limits; only then msgpack-c unpacks it.
 */
#include "stream/record.h"

#include <math.h>
#include <string.h>

#include "base/macros.h"

struct skim {
	const uint8_t *data;
	size_t len;
	size_t at;
};

static uint64_t read_be(const uint8_t *data, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | *data++;
	return value;
}

/* What one head says: the bytes of the head, of the payload, and the elements that follow. */
struct head {
	unsigned head;    /* with its length field */
	unsigned length;  /* bytes of the length field, big-endian, after the first byte */
	uint64_t payload; /* fixed part */
	unsigned per;     /* elements per unit of length: 0 bytes, 1 array, 2 map */
};

/* msgpack's first bytes from 0xc0 to 0xdf, in order (the msgpack specification's format table) */
static const struct head heads[32] = {
	{1, 0, 0, 0},  {0, 0, 0, 0}, {1, 0, 0, 0}, {1, 0, 0, 0}, /* nil, -, false, true */
	{2, 1, 0, 0},  {3, 2, 0, 0}, {5, 4, 0, 0},               /* bin 8 16 32 */
	{2, 1, 1, 0},  {3, 2, 1, 0}, {5, 4, 1, 0},               /* ext 8 16 32 */
	{1, 0, 4, 0},  {1, 0, 8, 0},                             /* float 32 64 */
	{1, 0, 1, 0},  {1, 0, 2, 0}, {1, 0, 4, 0}, {1, 0, 8, 0}, /* uint */
	{1, 0, 1, 0},  {1, 0, 2, 0}, {1, 0, 4, 0}, {1, 0, 8, 0}, /* int */
	{1, 0, 2, 0},  {1, 0, 3, 0}, {1, 0, 5, 0}, {1, 0, 9, 0}, /* fixext 1 2 4 8 */
	{1, 0, 17, 0},                                           /* fixext 16 */
	{2, 1, 0, 0},  {3, 2, 0, 0}, {5, 4, 0, 0},               /* str 8 16 32 */
	{3, 2, 0, 1},  {5, 4, 0, 1},                             /* array 16 32 */
	{3, 2, 0, 2},  {5, 4, 0, 2},                             /* map 16 32 */
};

/* Steps over one object's head and payload.  1: done, ret_elements follow; 0: more bytes are
 * needed; -EBADMSG. */
static int skim_one(struct skim *skim, uint64_t *ret_elements)
{
	const uint8_t *at = skim->data + skim->at;
	size_t left = skim->len - skim->at;
	uint64_t payload = 0, elements = 0, length = 0;
	const struct head *head;

	if (left == 0)
		return 0;
	if (at[0] < 0x80 || at[0] >= 0xe0) { /* fixint */
		skim->at++;
		*ret_elements = 0;
		return 1;
	}
	if (at[0] < 0xc0) { /* fixmap, fixarray, fixstr */
		if (at[0] < 0x90)
			elements = 2 * (at[0] & 15);
		else if (at[0] < 0xa0)
			elements = at[0] & 15;
		else
			payload = at[0] & 31;
		if (left < 1 + payload)
			return 0;
		skim->at += 1 + payload;
		*ret_elements = elements;
		return 1;
	}
	head = &heads[at[0] - 0xc0];
	if (head->head == 0)
		return -EBADMSG;
	if (left < head->head)
		return 0;
	if (head->length)
		length = read_be(at + 1, head->length);
	payload = head->per ? 0 : head->payload + length;
	elements = length * head->per;
	if (payload > LSC_RECORD_MAX_BYTES || elements > LSC_RECORD_MAX_BYTES)
		return -EBADMSG;
	if (left < head->head + payload)
		return 0;
	skim->at += head->head + payload;
	*ret_elements = elements;
	return 1;
}

/* Steps over one whole object, going on where it stopped for want of bytes; the same returns. */
static int skim_object(struct lsc_record *record, struct skim *skim)
{
	uint64_t *left = record->left;
	unsigned depth = record->depth;

	skim->at = record->seen;
	if (skim->at == 0) {
		depth = 0;
		left[0] = 1;
	}
	for (;;) {
		uint64_t elements;
		int r;

		while (left[depth] == 0) {
			if (depth == 0)
				return 1;
			depth--;
		}
		r = skim_one(skim, &elements);
		if (r == 0) {
			record->seen = skim->at;
			record->depth = depth;
		}
		if (r <= 0)
			return r;
		if (skim->at > LSC_RECORD_MAX_BYTES)
			return -EBADMSG;
		left[depth]--;
		if (elements == 0)
			continue;
		if (depth == LSC_RECORD_MAX_DEPTH)
			return -EBADMSG;
		left[++depth] = elements;
	}
}

void lsc_record_release(struct lsc_record *record)
{
	if (record->zone)
		msgpack_zone_free(record->zone);
	*record = (struct lsc_record)LSC_RECORD_INIT;
}

static int unpack(struct lsc_record *record, const void *data, size_t len, struct lsc_err *err)
{
	size_t off = 0;

	if (!record->zone)
		record->zone = msgpack_zone_new(4096);
	if (!record->zone)
		return lsc_err_set(err, ENOMEM, "cannot parse a record: %m");
	msgpack_zone_clear(record->zone);
	switch (msgpack_unpack(data, len, &off, record->zone, &record->root)) {
	case MSGPACK_UNPACK_SUCCESS:
		return 0;
	case MSGPACK_UNPACK_NOMEM_ERROR:
		return lsc_err_set(err, ENOMEM, "cannot parse a record: %m");
	default:
		return lsc_err_set(err, EBADMSG, "not a record: broken msgpack");
	}
}

ssize_t lsc_record_parse(struct lsc_record *record, const void *data, size_t len,
			 struct lsc_err *err)
{
	struct skim skim = {data, len, 0};
	uint8_t first = len ? *(const uint8_t *)data : 0x80;
	int r;

	if ((first & 0xf0) != 0x80 && first != 0xde && first != 0xdf)
		return lsc_err_set(err, EBADMSG, "not a record: byte 0x%02x opens no map", first);
	r = skim_object(record, &skim);
	if (r || len >= LSC_RECORD_MAX_BYTES)
		record->seen = 0;
	if (r < 0 || (r == 0 && len >= LSC_RECORD_MAX_BYTES))
		return lsc_err_set(
			err, EBADMSG,
			"not a record: broken msgpack, or over a limit of lsc-stream(5)");
	if (r == 0)
		return 0;
	r = unpack(record, data, skim.at, err);
	if (r < 0)
		return r;
	record->type = NULL;
	r = lsc_record_str(record, "type", 64, &record->type, &record->type_len, err);
	if (r < 0)
		return r;
	return skim.at;
}

ssize_t lsc_body_parse(const void *data, size_t len, uint32_t *ret_len, struct lsc_err *err)
{
	const uint8_t *at = data;
	unsigned length;
	uint64_t value;

	if (len == 0)
		return 0;
	if (at[0] < 0xc4 || at[0] > 0xc6)
		return lsc_err_set(err, EBADMSG, "byte 0x%02x where a body begins", at[0]);
	length = 1u << (at[0] - 0xc4);
	if (len < 1 + length)
		return 0;
	value = read_be(at + 1, length);
	if (value > LSC_BODY_MAX_BYTES)
		return lsc_err_set(err, EBADMSG, "a body of %llu bytes is over the limit",
				   (unsigned long long)value);
	*ret_len = value;
	return 1 + length;
}

static bool str_is(const char *ptr, uint32_t len, const char *text)
{
	return len == strlen(text) && memcmp(ptr, text, len) == 0;
}

bool lsc_record_is(const struct lsc_record *record, const char *type)
{
	return record->type && str_is(record->type, record->type_len, type);
}

const msgpack_object *lsc_record_get(const struct lsc_record *record, const char *key)
{
	const msgpack_object_map *map = &record->root.via.map;

	for (uint32_t i = 0; i < map->size; i++) {
		const msgpack_object *k = &map->ptr[i].key;

		if (k->type == MSGPACK_OBJECT_STR && str_is(k->via.str.ptr, k->via.str.size, key))
			return &map->ptr[i].val;
	}
	return NULL;
}

static int wrong(const struct lsc_record *record, const char *key, const char *what,
		 struct lsc_err *err)
{
	return lsc_err_set(err, EBADMSG, "record '%.*s': key '%s' %s",
			   record->type ? (int)record->type_len : 1,
			   record->type ? record->type : "?", key, what);
}

/* The value of a key that must be there. */
static int need(const struct lsc_record *record, const char *key, const msgpack_object **ret,
		struct lsc_err *err)
{
	*ret = lsc_record_get(record, key);
	return *ret ? 0 : wrong(record, key, "is missing", err);
}

int lsc_record_uint(const struct lsc_record *record, const char *key, uint64_t max,
		    uint64_t *ret_value, struct lsc_err *err)
{
	const msgpack_object *value;
	int r = need(record, key, &value, err);

	if (r < 0)
		return r;
	if (value->type != MSGPACK_OBJECT_POSITIVE_INTEGER || value->via.u64 > max)
		return wrong(record, key, "is not a whole number in range", err);
	*ret_value = value->via.u64;
	return 0;
}

int lsc_record_real(const struct lsc_record *record, const char *key, double *ret_value,
		    struct lsc_err *err)
{
	const msgpack_object *value;
	double real;
	int r = need(record, key, &value, err);

	if (r < 0)
		return r;
	switch (value->type) {
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		real = value->via.f64;
		break;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		real = value->via.u64;
		break;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		real = value->via.i64;
		break;
	default:
		return wrong(record, key, "is not a number", err);
	}
	if (!isfinite(real))
		return wrong(record, key, "is not finite", err);
	*ret_value = real;
	return 0;
}

int lsc_record_str(const struct lsc_record *record, const char *key, uint32_t max_len,
		   const char **ret_str, uint32_t *ret_len, struct lsc_err *err)
{
	const msgpack_object *value;
	int r = need(record, key, &value, err);

	if (r < 0)
		return r;
	if (value->type != MSGPACK_OBJECT_STR || value->via.str.size > max_len)
		return wrong(record, key, "is not a string, or too long", err);
	*ret_str = value->via.str.ptr;
	*ret_len = value->via.str.size;
	return 0;
}

int lsc_record_bin(const struct lsc_record *record, const char *key, uint32_t max_len,
		   const void **ret_data, uint32_t *ret_len, struct lsc_err *err)
{
	const msgpack_object *value;
	int r = need(record, key, &value, err);

	if (r < 0)
		return r;
	if (value->type != MSGPACK_OBJECT_BIN || value->via.bin.size > max_len)
		return wrong(record, key, "is not a binary, or too long", err);
	*ret_data = value->via.bin.ptr;
	*ret_len = value->via.bin.size;
	return 0;
}

int lsc_record_array(const struct lsc_record *record, const char *key, uint32_t max_n,
		     const msgpack_object **ret_items, uint32_t *ret_n, struct lsc_err *err)
{
	const msgpack_object *value;
	int r = need(record, key, &value, err);

	if (r < 0)
		return r;
	if (value->type != MSGPACK_OBJECT_ARRAY || value->via.array.size > max_n)
		return wrong(record, key, "is not an array, or too long", err);
	*ret_items = value->via.array.ptr;
	*ret_n = value->via.array.size;
	return 0;
}

int lsc_record_uint_or(const struct lsc_record *record, const char *key, uint64_t max,
		       uint64_t absent, uint64_t *ret_value, struct lsc_err *err)
{
	if (lsc_record_get(record, key))
		return lsc_record_uint(record, key, max, ret_value, err);
	*ret_value = absent;
	return 0;
}

int lsc_record_real_or(const struct lsc_record *record, const char *key, double absent,
		       double *ret_value, struct lsc_err *err)
{
	if (lsc_record_get(record, key))
		return lsc_record_real(record, key, ret_value, err);
	*ret_value = absent;
	return 0;
}

int lsc_record_bool_or(const struct lsc_record *record, const char *key, bool absent,
		       bool *ret_value, struct lsc_err *err)
{
	const msgpack_object *value = lsc_record_get(record, key);

	if (value && value->type != MSGPACK_OBJECT_BOOLEAN)
		return wrong(record, key, "is not true or false", err);
	*ret_value = value ? value->via.boolean : absent;
	return 0;
}

int lsc_record_text(const struct lsc_record *record, const char *key, char *text, size_t size,
		    struct lsc_err *err)
{
	const char *str;
	uint32_t len;
	int r = lsc_record_str(record, key, size - 1, &str, &len, err);

	if (r < 0)
		return r;
	if (memchr(str, 0, len))
		return wrong(record, key, "holds a zero byte", err);
	memcpy(text, str, len);
	text[len] = 0;
	return 0;
}

/* Kinds that are not named here have seen no change yet that their readers cannot skip. */
unsigned lsc_stream_major(const char *kind)
{
	return strcmp(kind, "cast") ? 1 : 2;
}

unsigned lsc_stream_minor(const char *kind)
{
	return !strcmp(kind, "exec")       ? 3
	       : !strcmp(kind, "requests") ? 2
	       : !strcmp(kind, "cast")     ? 1
					   : 0;
}

int lsc_record_hello(const struct lsc_record *record, const char *kind, struct lsc_err *err)
{
	const msgpack_object *version;
	const char *theirs;
	uint32_t len, n;
	int r;

	if (!lsc_record_is(record, "hello"))
		return lsc_err_set(err, EPROTO, "the stream does not open with a hello");
	r = lsc_record_str(record, "kind", 32, &theirs, &len, err);
	if (r == 0)
		r = lsc_record_array(record, "version", 8, &version, &n, err);
	if (r < 0)
		return r;
	if (!str_is(theirs, len, kind))
		return lsc_err_set(err, EPROTO, "expected a stream of kind '%s', got '%.*s'", kind,
				   (int)len, theirs);
	if (n < 2 || version[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
	    version[1].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return wrong(record, "version", "is not [major, minor]", err);
	if (version[0].via.u64 != lsc_stream_major(kind))
		return lsc_err_set(err, EPROTO,
				   "'%s' stream has version %llu.%llu; this program reads %u.x",
				   kind, (unsigned long long)version[0].via.u64,
				   (unsigned long long)version[1].via.u64, lsc_stream_major(kind));
	return 0;
}

unsigned lsc_record_hello_minor(const struct lsc_record *record)
{
	const msgpack_object *version = lsc_record_get(record, "version");
	uint64_t minor = version->via.array.ptr[1].via.u64;

	return minor < UINT32_MAX ? (unsigned)minor : UINT32_MAX;
}
